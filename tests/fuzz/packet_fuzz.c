/* The arena's packets (docs/examples/arena): what the parser accepts is what the writer makes, with every number in its
 * bounds; and a room and a client's view take whatever it accepts. */
#include "docs/examples/arena/room.h"
#include "docs/examples/arena/view.h"
#include "fuzz/fuzz.h"

static void check_written(const struct packet *packet, const uint8_t *bytes, size_t size)
{
    weir_buf *buf = packet_write(packet);
    if (buf == NULL) abort();
    FUZZ_CHECK(weir_buf_size(buf) == size && memcmp(weir_buf_bytes(buf), bytes, size) == 0, "packet %d of %zu bytes",
               (int)packet->id, size);
    weir_buf_release(buf);
}

static void check_view(struct view *view, const struct snapshot *snapshot)
{
    struct view before = *view;
    if (view_apply(view, snapshot) != NULL) {
        FUZZ_CHECK(before.tick == view->tick && before.begun == view->begun &&
                       memcmp(before.here, view->here, sizeof before.here) == 0 &&
                       memcmp(before.records, view->records, sizeof before.records) == 0,
                   "what was refused has changed the view");
        return;
    }
    FUZZ_CHECK(view->tick == snapshot->tick, "tick %u", view->tick);
    for (unsigned i = 0; i < snapshot->record_count; i++)
        FUZZ_CHECK(view->here[snapshot->records[i].player], "player %u", snapshot->records[i].player);
}

/* As the server does it: whoever is let go is replaced. */
static void play(struct room *room, const struct packet *packet)
{
    enum verdict verdict = ACCEPTED;
    if (packet->id == PACKET_INPUT)
        verdict = room_input(room, 0, packet->as.input.number, packet->as.input.dx, packet->as.input.dy);
    else if (packet->id == PACKET_CHAT)
        verdict = room_chat(room, 0);
    else if (packet->id != PACKET_JOIN)
        return;
    FUZZ_CHECK(room->players[0].place.x < WORLD_SIZE && room->players[0].place.y < WORLD_SIZE, "out of the world");
    if (verdict != CHEATED && verdict != MALFORMED && packet->id != PACKET_JOIN) return;
    struct snapshot snapshot;
    room_leave(room, 0);
    FUZZ_CHECK(room_enter(room) == 0, "the place is free");
    room_step(room, &snapshot);
}

/* The input is a stream of packets, cut as weir_framing_u16le_packet does; the last one may be anything. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct view view = { 0 };
    struct room room;
    room_open(&room, 1, 30, size);
    FUZZ_CHECK(room_enter(&room) == 0, "it is empty");
    while (size > 0) {
        struct packet packet;
        size_t told = size >= 2 ? (size_t)(data[0] | data[1] << 8) : size;
        if (told < 2 || told > size) told = size;
        if (packet_read(&packet, data, told)) {
            check_written(&packet, data, told);
            if (packet.id == PACKET_SNAPSHOT) check_view(&view, &packet.as.snapshot);
            play(&room, &packet);
        }
        data += told;
        size -= told;
    }
    return 0;
}
