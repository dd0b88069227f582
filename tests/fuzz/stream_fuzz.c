/* A stream of foreign bytes through a whole connection: whatever the cuts in which it comes, and wherever the embedder
 * pauses, the messages are those of cutter.h, and so is the reason of the end. Each message is sent back, and what the
 * peer gets is all of them. Where memory runs out, what was delivered up to there is a beginning of that. */
#include "fuzz/cutter.h"
#include "fuzz/fuzz.h"
#include "fuzz/wire.h"

enum { TURNS_MAX = 100000, MESSAGES_MAX = 1 << 16 };

/* What is to come. Bytes are those of the script: only the ends of messages are noted. */
typedef struct forecast {
    size_t ends[MESSAGES_MAX];
    size_t count;
    int error;
} forecast;

/* What has come. */
typedef struct record {
    const forecast *expected;
    const uint8_t *bytes;
    size_t size;      /* of the script */
    size_t delivered; /* bytes */
    size_t messages;
    uint8_t pauses; /* after which of eight messages in turn */
    bool in_pieces; /* WEIR_FRAMING_NONE: cut as it comes */
    weir_conn *paused;
    bool opened, closed;
    int error;
} record;

static void predict(forecast *f, const weir_protocol *protocol, const wire_script *script)
{
    size_t at = 0;
    f->count = 0;
    f->error = script->resets ? WEIR_ECONNRESET : WEIR_EEOF;
    if (protocol->framing.kind == WEIR_FRAMING_NONE) return;
    while (at < script->size) {
        int64_t next = cutter_next(&protocol->framing, protocol->max_message, script->bytes + at, script->size - at);
        if (next < 0) f->error = (int)next;
        if (next == 0 && !script->resets) f->error = WEIR_ETRUNCATED;
        if (next <= 0) return;
        at += (size_t)next;
        FUZZ_CHECK(f->count < MESSAGES_MAX, "too many messages for this test");
        f->ends[f->count++] = at;
    }
}

static void on_open(weir_conn *conn)
{
    record *r = weir_conn_data(conn);
    FUZZ_CHECK(!r->opened && !r->closed, "on_open twice");
    r->opened = true;
}

static void on_message(weir_conn *conn, const void *bytes, size_t size)
{
    record *r = weir_conn_data(conn);
    FUZZ_CHECK(r->opened && !r->closed && !r->paused, "a message at the wrong time");
    FUZZ_CHECK(size > 0 && size <= r->size - r->delivered, "%zu bytes after %zu of %zu", size, r->delivered, r->size);
    FUZZ_CHECK(memcmp(bytes, r->bytes + r->delivered, size) == 0, "other bytes, at %zu", r->delivered);
    r->delivered += size;
    if (!r->in_pieces) {
        FUZZ_CHECK(r->messages < r->expected->count, "a message too many");
        FUZZ_CHECK(r->delivered == r->expected->ends[r->messages], "message %zu ends at %zu, not at %zu", r->messages,
                   r->delivered, r->expected->ends[r->messages]);
    }
    (void)weir_send(conn, bytes, size);
    if (r->pauses >> (r->messages % 8) & 1) {
        weir_conn_pause(conn);
        r->paused = conn;
    }
    r->messages++;
}

static void on_close(weir_conn *conn, weir_reason reason)
{
    record *r = weir_conn_data(conn);
    FUZZ_CHECK(r->opened && !r->closed, "on_close at the wrong time");
    r->closed = true;
    r->paused = NULL;
    r->error = reason.error;
}

static void resume(weir_runtime *runtime, void *data)
{
    record *r = data;
    weir_conn *conn = r->paused;
    (void)runtime;
    r->paused = NULL;
    if (conn) weir_conn_resume(conn);
}

static void check_echo(const record *r)
{
    const wire_sent *sent = wire_sent_now();
    FUZZ_CHECK(sent->closed, "the socket is still open");
    FUZZ_CHECK(sent->size <= r->delivered && memcmp(sent->bytes ? sent->bytes : r->bytes, r->bytes, sent->size) == 0,
               "%zu bytes sent that are not those received", sent->size);
    if (r->error != WEIR_EEOF && r->error != WEIR_ETRUNCATED) return; /* a reset may drop what was owed */
    FUZZ_CHECK(sent->size == r->delivered, "%zu of %zu bytes sent back", sent->size, r->delivered);
    FUZZ_CHECK(!sent->reset, "an orderly end became a reset");
}

/* One connection. `refuse_after` is negative where there is memory enough. */
static void run(weir_runtime *runtime, weir_protocol *protocol, const wire_script *script, const forecast *expected,
                uint8_t pauses, int64_t refuse_after)
{
    record r = { .expected = expected,
                 .bytes = script->bytes,
                 .size = script->size,
                 .pauses = pauses,
                 .in_pieces = protocol->framing.kind == WEIR_FRAMING_NONE };
    bool starved = refuse_after >= 0;
    protocol->data = &r;
    wire_load(script);
    wire_refuse(refuse_after);
    int error = weir_connect(runtime, "127.0.0.1:9", protocol, NULL, NULL);
    for (int turn = 0; error == 0 && !r.closed; turn++) {
        FUZZ_CHECK(turn < TURNS_MAX, "it never ends");
        FUZZ_CHECK(weir_poll(runtime, 0) >= 0, "weir_poll");
        if (r.paused) (void)weir_post(runtime, 0, resume, &r);
    }
    wire_refuse(-1);
    FUZZ_CHECK(error == 0 || (starved && error == WEIR_ENOMEM), "weir_connect: %s", weir_error_name(error));
    FUZZ_CHECK(wire_settled(), "something is left behind");
    if (error) return;
    check_echo(&r);
    if (starved && r.error == WEIR_ENOMEM) return;
    FUZZ_CHECK(r.error == expected->error, "%s instead of %s", weir_error_name(r.error),
               weir_error_name(expected->error));
    FUZZ_CHECK(r.in_pieces || r.messages == expected->count, "%zu of %zu messages", r.messages, expected->count);
    FUZZ_CHECK(!r.in_pieces || r.delivered == script->size, "%zu of %zu bytes", r.delivered, script->size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static weir_runtime *runtime;
    static forecast expected;
    if (!runtime) runtime = wire_runtime();
    fuzz_input input = { data, size };
    weir_protocol protocol = { .on_open = on_open,
                               .on_message = on_message,
                               .on_close = on_close,
                               .framing = cutter_framing(&input),
                               .max_message = 1 + fuzz_u16(&input),
                               .outbox.hard_limit = 1 << 30 };
    wire_script script = { .resets = fuzz_u8(&input) & 1 };
    uint8_t pauses = fuzz_u8(&input), refuse_after = fuzz_u8(&input);
    for (int i = 0; i < WIRE_CUTS; i++) script.cuts[i] = fuzz_u8(&input);
    script.bytes = input.bytes;
    script.size = input.size;
    weir_framing own = protocol.framing;
    if (!cutter_accepts(&own)) {
        FUZZ_CHECK(weir_connect(runtime, "127.0.0.1:9", &protocol, NULL, NULL) == WEIR_EINVAL, "it was accepted");
        return 0;
    }
    weir_protocol filled = protocol;
    filled.framing = own;
    predict(&expected, &filled, &script);
    wire_script whole = script;
    memset(whole.cuts, 0, sizeof whole.cuts);
    run(runtime, &protocol, &whole, &expected, 0, -1);
    run(runtime, &protocol, &script, &expected, 0, -1);
    if (pauses) run(runtime, &protocol, &script, &expected, pauses, -1);
    if (refuse_after) run(runtime, &protocol, &script, &expected, 0, refuse_after - 1);
    return 0;
}
