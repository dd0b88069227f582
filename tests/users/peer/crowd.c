/* Clients of an echo server, as many as one likes, all at once: the other end where peer.c cannot run or has too few
 * hands. It stands on weir itself, so that it tests that too.
 *
 * crowd ADDRESS CLIENTS FRAMING END
 *   FRAMING   none, line, u16 or u32. When all clients are connected each sends one message, cut in two, and waits
 * until the whole of it has come back END       what they do when everybody's has: close   send FIN, and wait for the
 * server's reset   reset the connection wait    wait for the server's FIN stuff   read no more and send without end,
 * until the server resets the connection
 *
 * Prints "CLIENTS at once" when every message has come back, and "CLIENTS ended" when every connection has ended as it
 * should; otherwise what went wrong first, and exits with 1. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <weir/weir.h>

enum { DEADLINE_MS = 110000, STUFF_SIZE = 16 << 10, STUFF_PIECES_MAX = 16384, STUFF_EVERY_MS = 1 };

struct message {
    const char *framing, *head, *rest;
    size_t head_size, rest_size;
    weir_framing (*cut)(void); /* NULL: not at all */
};

static const struct message messages[] = {
    { "none", "hel", "lo", 3, 2, NULL },
    { "line", "hello ", "world\n", 6, 6, weir_framing_line },
    { "u16", "\x08\x00\x01", "\x00game", 3, 5, weir_framing_u16le_packet },
    { "u32", "\x00\x00", "\x00\x04game", 2, 6, weir_framing_u32be },
};

enum end { END_CLOSE, END_RESET, END_WAIT, END_STUFF, ENDS };

static const struct {
    const char *name;
    int reason; /* that each connection then ends with */
} ends[ENDS] = {
    [END_CLOSE] = { "close", WEIR_ECLOSED },
    [END_RESET] = { "reset", WEIR_EABORTED },
    [END_WAIT] = { "wait", WEIR_EEOF },
    [END_STUFF] = { "stuff", WEIR_ECONNRESET },
};

/* All on one worker. */
static const struct message *message;
static enum end end;
static weir_conn_id *ids; /* of the clients, as they connect */
static unsigned clients, connected, answered, ended, stuffed;
static bool failed;

/* A client's session: the bytes of its message that have come back. */
struct echo {
    size_t size;
};

static void fail(weir_runtime *runtime, const char *what, const char *why, int system_error)
{
    if (!failed) printf("crowd: %s: %s (%d)\n", what, why, system_error);
    failed = true;
    weir_runtime_stop(runtime);
}

static void too_late(weir_runtime *runtime, void *data)
{
    char state[96];
    (void)data;
    snprintf(state, sizeof state, "%u connected, %u answered, %u ended", connected, answered, ended);
    fail(runtime, "the time is over", state, 0);
}

static void stuff(weir_runtime *runtime, void *data)
{
    static const char bytes[STUFF_SIZE];
    (void)data;
    for (unsigned i = 0; i < connected; i++)
        while (weir_send_to(runtime, ids[i], bytes, sizeof bytes) == 0 && ++stuffed % 16 != 0) {}
    if (stuffed > STUFF_PIECES_MAX)
        fail(runtime, "stuff", "the server takes everything", 0);
    else if (ended < clients)
        weir_post_after(runtime, 0, STUFF_EVERY_MS, stuff, NULL);
}

static void on_open(weir_conn *conn)
{
    weir_runtime *runtime = weir_conn_runtime(conn);

    ids[connected++] = weir_conn_get_id(conn);
    weir_send(conn, message->head, message->head_size);
    for (unsigned i = 0; connected == clients && i < clients; i++)
        weir_send_to(runtime, ids[i], message->rest, message->rest_size);
}

/* Whether `bytes` are the next of the message. */
static bool is_echo(const struct echo *echo, const char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        size_t at = echo->size + i;
        if (at >= message->head_size + message->rest_size) return false;
        if (bytes[i] != (at < message->head_size ? message->head[at] : message->rest[at - message->head_size]))
            return false;
    }
    return true;
}

static void end_all(weir_runtime *runtime)
{
    printf("%u at once\n", clients);
    for (unsigned i = 0; i < clients; i++) {
        if (end == END_CLOSE) weir_close_id(runtime, ids[i]);
        if (end == END_RESET) weir_abort_id(runtime, ids[i]);
    }
    if (end == END_STUFF) stuff(runtime, NULL);
}

static void on_message(weir_conn *conn, const void *bytes, size_t size)
{
    struct echo *echo = weir_conn_session(conn);

    if (!is_echo(echo, bytes, size)) {
        fail(weir_conn_runtime(conn), weir_conn_peer(conn).text, "the wrong bytes came back", 0);
        return;
    }
    echo->size += size;
    if (echo->size < message->head_size + message->rest_size) return;
    if (end == END_STUFF) weir_conn_pause(conn);
    if (++answered == clients) end_all(weir_conn_runtime(conn));
}

static void on_close(weir_conn *conn, weir_reason reason)
{
    const struct echo *echo = weir_conn_session(conn);
    weir_runtime *runtime = weir_conn_runtime(conn);

    if (failed) return;
    if (answered < clients || reason.error != ends[end].reason)
        fail(runtime, echo->size ? "after the echo" : "before the echo", weir_strerror(reason.error),
             reason.system_error);
    else if (++ended == clients)
        weir_runtime_stop(runtime);
}

static int connect_all(weir_runtime *runtime, const char *address)
{
    const weir_protocol protocol = {
        .on_open = on_open,
        .on_message = on_message,
        .on_close = on_close,
        .session_size = sizeof(struct echo),
        .framing = message->cut ? message->cut() : (weir_framing){ 0 },
        .outbox = { .policy = WEIR_SLOW_DROP_NEWEST }, /* stuff goes on when there is room again */
        /* Who reads no more learns of a reset from a send, and has this long for what came before it. */
        .close_timeout_ms = end == END_STUFF ? 100 : DEADLINE_MS,
    };
    weir_failure failure = { 0 };
    const weir_connect_options options = { .timeout_ms = DEADLINE_MS, .failure = &failure };
    int err = 0;

    for (unsigned i = 0; err == 0 && i < clients; i++) err = weir_connect(runtime, address, &protocol, &options, NULL);
    return err;
}

static bool read_arguments(int argc, char **argv)
{
    if (argc != 5) return false;
    clients = (unsigned)strtoul(argv[2], NULL, 10);
    for (size_t i = 0; i < sizeof messages / sizeof messages[0]; i++)
        if (strcmp(messages[i].framing, argv[3]) == 0) message = &messages[i];
    for (end = END_CLOSE; end < ENDS && strcmp(ends[end].name, argv[4]) != 0;) end++;
    return clients > 0 && message && end < ENDS;
}

int main(int argc, char **argv)
{
    weir_runtime *runtime = NULL;

    setvbuf(stdout, NULL, _IONBF, 0);
    if (!read_arguments(argc, argv)) {
        fprintf(stderr, "usage: crowd ADDRESS CLIENTS none|line|u16|u32 close|reset|wait|stuff\n");
        return 2;
    }
    ids = calloc(clients, sizeof *ids);
    int err = ids ? 0 : WEIR_ENOMEM;
    if (err == 0)
        err = weir_runtime_create(&runtime, &(weir_runtime_options){ .workers = 1, .max_connections = clients });
    if (err == 0) err = weir_post_after(runtime, 0, DEADLINE_MS, too_late, NULL);
    if (err == 0) err = connect_all(runtime, argv[1]);
    if (err == 0) err = weir_runtime_run(runtime);
    if (err != 0) printf("crowd: %s\n", weir_strerror(err));
    if (err == 0 && !failed) printf("%u ended\n", ended);
    weir_runtime_destroy(runtime);
    free(ids);
    return err == 0 && !failed ? 0 : 1;
}
