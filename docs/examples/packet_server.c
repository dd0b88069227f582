/* A game server of packets [u16 size][u16 id][body]: players in one room fight a boss.
 *
 * packet_server [ADDRESS]        default: 0.0.0.0:7777
 *
 * What is a connection's own is done on its worker; what all share, the boss, goes through a strand. The guides
 * docs/guide/from-servercore.md and docs/guide/strands.md take their code from here. Ends on Ctrl-C. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <weir/weir.h>

enum packet_id {
    C_LOGIN = 1, /* u32 player: the first packet, within five seconds */
    C_CHAT,      /* text, which the others get as S_CHAT */
    C_ATTACK,    /* u32 damage */
    S_WELCOME = 101,
    S_CHAT,
    S_BOSS, /* u32 health, to all after each hit; 0: it is dead, and back after a second */
};

enum { HEADER_SIZE = 4, CHAT_MAX = 200, BOSS_HEALTH = 100, RESPAWN_MS = 1000 };

struct world {
    weir_runtime *runtime;
    weir_group *room;
    weir_strand *boss_strand;
    uint32_t boss_health; /* of functions on boss_strand alone */
};

struct session {
    uint32_t player; /* 0: has not logged in */
};

static uint32_t read_u32(const unsigned char *bytes)
{
    return bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

static void write_u32(unsigned char *bytes, uint32_t number)
{
    for (int i = 0; i < 4; i++) bytes[i] = (unsigned char)(number >> (8 * i));
}

/* ---- to one and to all ---- */

static void send_packet(weir_conn *conn, uint16_t id, const void *body, size_t size)
{
    weir_buf *packet = weir_buf_packet(id, body, size);
    if (packet) weir_send_buf(conn, packet);
    weir_buf_release(packet);
}

static void broadcast(struct world *world, uint16_t id, const void *body, size_t size, weir_conn_id except)
{
    weir_buf *packet = weir_buf_packet(id, body, size); /* one copy, however many get it */
    if (packet) weir_group_send_except(world->room, packet, except);
    weir_buf_release(packet); /* NULL is fine */
}

/* ---- the boss: on its strand ---- */

static void tell_health(struct world *world)
{
    unsigned char body[4];
    write_u32(body, world->boss_health);
    broadcast(world, S_BOSS, body, sizeof body, 0);
}

struct hit {
    struct world *world;
    uint32_t damage;
};

static void respawn(weir_runtime *runtime, void *data)
{
    struct world *world = data;
    (void)runtime;
    world->boss_health = BOSS_HEALTH;
    tell_health(world);
}

static void on_respawn_time(weir_timer *timer, void *data)
{
    struct world *world = data;
    (void)timer;
    int err = weir_strand_post(world->boss_strand, respawn, world);
    if (err != 0) fprintf(stderr, "no boss comes: %s\n", weir_strerror(err));
}

static void take_hit(weir_runtime *runtime, void *data)
{
    struct hit hit = *(struct hit *)data;
    struct world *world = hit.world;
    free(data);
    if (world->boss_health == 0) return;
    world->boss_health -= hit.damage < world->boss_health ? hit.damage : world->boss_health;
    tell_health(world);
    if (world->boss_health > 0) return;
    const weir_timer_options later = { .delay_ms = RESPAWN_MS, .on_timer = on_respawn_time, .data = world };
    int err = weir_timer_start(runtime, &later, NULL); /* frees itself when it has fired */
    if (err != 0) fprintf(stderr, "no boss comes: %s\n", weir_strerror(err));
}

/* ---- packets: on the connection's worker ---- */

static void handle_login(weir_conn *conn, const unsigned char *body, size_t size)
{
    struct world *world = weir_conn_data(conn);
    struct session *session = weir_conn_session(conn);
    session->player = read_u32(body);
    if (weir_group_add(world->room, conn) != 0) { /* leaves by itself when the connection ends */
        weir_abort(conn);
        return;
    }
    send_packet(conn, S_WELCOME, body, size);
    printf("player %u is here\n", (unsigned)session->player);
}

static void handle_chat(weir_conn *conn, const unsigned char *body, size_t size)
{
    broadcast(weir_conn_data(conn), S_CHAT, body, size, weir_conn_get_id(conn));
}

static void handle_attack(weir_conn *conn, const unsigned char *body, size_t size)
{
    struct world *world = weir_conn_data(conn);
    struct hit *hit = malloc(sizeof *hit);
    (void)size;
    if (!hit) return;
    *hit = (struct hit){ .world = world, .damage = read_u32(body) };
    if (weir_strand_post(world->boss_strand, take_hit, hit) != 0) free(hit); /* it is full: this hit misses */
}

static const struct handler {
    void (*handle)(weir_conn *conn, const unsigned char *body, size_t size);
    size_t size_min, size_max; /* of the body */
} handlers[] = {
    [C_LOGIN] = { handle_login, 4, 4 },
    [C_CHAT] = { handle_chat, 1, CHAT_MAX },
    [C_ATTACK] = { handle_attack, 4, 4 },
};

static void on_message(weir_conn *conn, const void *bytes, size_t size)
{
    const unsigned char *packet = bytes; /* one, whole: framing has seen to it */
    const struct session *session = weir_conn_session(conn);
    unsigned id = packet[2] | (unsigned)packet[3] << 8;
    const struct handler *handler = id < sizeof handlers / sizeof *handlers ? &handlers[id] : NULL;
    size -= HEADER_SIZE;
    if (!handler || !handler->handle || size < handler->size_min || size > handler->size_max ||
        (session->player == 0) != (id == C_LOGIN)) {
        weir_abort(conn); /* no client of ours says that */
        return;
    }
    handler->handle(conn, packet + HEADER_SIZE, size);
}

static void on_close(weir_conn *conn, weir_reason reason)
{
    const struct session *session = weir_conn_session(conn);
    printf("player %u has gone: %s\n", (unsigned)session->player, weir_strerror(reason.error));
}

/* ---- the server ---- */

static int serve(struct world *world, const char *address)
{
    const weir_protocol protocol = {
        .on_message = on_message,
        .on_close = on_close,
        .data = world,
        .session_size = sizeof(struct session),
        .framing = weir_framing_u16le_packet(),
        .max_message = HEADER_SIZE + CHAT_MAX,
        .handshake_timeout_ms = 5000,
        .idle_timeout_ms = 60000,
        .outbox = { .soft_limit = 64 << 10, .hard_limit = 256 << 10 },
    };
    weir_listener *listener = NULL;
    int err = weir_group_create(world->runtime, &world->room);
    if (err == 0) err = weir_strand_create(world->runtime, NULL, &world->boss_strand);
    if (err == 0) err = weir_listen(world->runtime, address, &protocol, NULL, &listener);
    if (err != 0) return err;
    printf("listening on %s\n", weir_listener_address(listener).text);
    return weir_runtime_run(world->runtime); /* one worker a core, until Ctrl-C; then flushes and joins */
}

int main(int argc, char **argv)
{
    struct world world = { .boss_health = BOSS_HEALTH };
    setvbuf(stdout, NULL, _IONBF, 0); /* each line is seen at once, through a pipe too */
    int err = weir_runtime_create(&world.runtime, &(weir_runtime_options){ .stop_on_signals = true });
    if (err == 0) err = serve(&world, argc > 1 ? argv[1] : "0.0.0.0:7777");
    if (err != 0) fprintf(stderr, "packet_server: %s\n", weir_strerror(err));
    weir_runtime_destroy(world.runtime);
    return err != 0;
}
