/* A send that fails although the connection lives: what the peer may then take for the end of the stream, and when the
 * connection goes. In the simulator, since no kernel runs out of buffers on demand. */
#include <weir/sim.h>

#include "core/world.h"

enum { HANDSHAKE_MS = 300, CLOSE_MS = 5000 };

#define MS UINT64_C(1000000)

typedef struct scene {
    weir_sim *sim;
    weir_runtime *runtime;
    bool is_short;   /* of buffers: sends fail */
    bool closes;     /* the server, at once after its send */
    size_t received; /* by the client */
    int server_error, client_error;
    uint64_t server_closed_ns;
} scene;

static bool strikes(weir_sim_fault fault, uint64_t number, void *data)
{
    (void)number;
    return fault == WEIR_SIM_ENOBUFS && ((scene *)data)->is_short;
}

static void server_open(weir_conn *conn)
{
    scene *s = weir_conn_data(conn);
    s->is_short = true;
    cr_assert_eq(weir_send(conn, "all of it\n", 10), 0);
    if (s->closes) weir_close(conn);
}

static void server_close(weir_conn *conn, weir_reason reason)
{
    scene *s = weir_conn_data(conn);
    s->server_error = reason.error;
    s->server_closed_ns = weir_sim_now_ns(s->sim);
}

static void client_message(weir_conn *conn, const void *bytes, size_t size)
{
    (void)bytes;
    ((scene *)weir_conn_data(conn))->received += size;
}

static void client_close(weir_conn *conn, weir_reason reason)
{
    ((scene *)weir_conn_data(conn))->client_error = reason.error;
}

/* Until the client has its end, or a virtual minute has passed. */
static void play(scene *s, uint32_t handshake_timeout_ms)
{
    weir_sim_options network = { .script = strikes, .script_data = s };
    weir_protocol server = { .on_open = server_open,
                             .on_close = server_close,
                             .data = s,
                             .handshake_timeout_ms = handshake_timeout_ms,
                             .close_timeout_ms = CLOSE_MS };
    weir_protocol client = { .on_message = client_message, .on_close = client_close, .data = s };
    cr_assert_eq(weir_sim_create(&s->sim, &network), 0);
    weir_runtime_options options = { .sim = s->sim };
    cr_assert_eq(weir_runtime_create(&s->runtime, &options), 0);
    cr_assert_eq(weir_listen(s->runtime, "10.0.0.1:7777", &server, NULL, NULL), 0);
    cr_assert_eq(weir_connect(s->runtime, "10.0.0.1:7777", &client, NULL, NULL), 0);
    cr_assert_eq(weir_sim_run(s->sim, 60000 * MS), 0);
    weir_runtime_destroy(s->runtime);
    weir_sim_destroy(s->sim);
}

Test(send_failed, is_followed_by_a_reset_and_no_end_of_stream_when_the_connection_is_closed)
{
    scene s = { .closes = true };
    play(&s, 0);
    cr_assert_eq(s.server_error, WEIR_ECLOSED);
    cr_assert_eq(s.received, 0);
    cr_assert_eq(s.client_error, WEIR_ECONNRESET, "the peer was told that it had all: %s",
                 weir_error_name(s.client_error));
}

Test(send_failed, ends_the_connection_when_close_timeout_has_passed)
{
    scene s = { .closes = false };
    play(&s, 0);
    cr_assert_eq(s.server_error, WEIR_ENOBUFS);
    cr_assert_eq(s.client_error, WEIR_ECONNRESET);
    cr_assert_eq(s.server_closed_ns, CLOSE_MS * MS);
}

Test(send_failed, does_not_put_the_handshake_deadline_off)
{
    scene s = { .closes = false };
    play(&s, HANDSHAKE_MS);
    cr_assert_eq(s.server_error, WEIR_ENOBUFS);
    cr_assert_eq(s.server_closed_ns, HANDSHAKE_MS * MS);
}
