/* WEIR_SLOW_PAUSE to the virtual millisecond: its deadlines, two that wait for each other, and a send that fails. */
#include <string.h>
#include <weir/sim.h>
#include <weir/weir.h>

#include "harness/weir_test.h"

enum {
    SOFT = 64 * 1024,
    SOFT_MS = 10000,
    HARD = 1024 * 1024,
    HANDSHAKE_MS = 300,
    AWAY_MS = 2000, /* for so long the client does not read */
};

#define MS UINT64_C(1000000)

/* A server, and one client who asks in lines. */
typedef struct scene {
    weir_sim *sim;
    weir_runtime *runtime;
    const char *question; /* the client's, as soon as it is there; NULL: none */
    bool is_away;         /* the client: it does not read for AWAY_MS */
    bool is_short;        /* of buffers: sends fail */
    weir_conn *client;
    unsigned messages;   /* that the server got */
    uint64_t message_ns; /* when it got the last one */
    int error;           /* of the server's connection */
    uint64_t closed_ns;  /* likewise */
} scene;

static const weir_outbox_options pausing = {
    .soft_limit = SOFT, .soft_limit_ms = SOFT_MS, .hard_limit = HARD, .policy = WEIR_SLOW_PAUSE
};

static char many[2 * SOFT];

static bool strikes(weir_sim_fault fault, uint64_t number, void *data)
{
    (void)number;
    return fault == WEIR_SIM_ENOBUFS && ((scene *)data)->is_short;
}

static void note_message(weir_conn *conn, const void *bytes, size_t size)
{
    scene *s = weir_conn_data(conn);
    (void)bytes, (void)size;
    s->messages++;
    s->message_ns = weir_sim_now_ns(s->sim);
}

static void welcome(weir_conn *conn)
{
    cr_assert_eq(weir_send(conn, many, sizeof many), 0);
}

static void on_close(weir_conn *conn, weir_reason reason)
{
    scene *s = weir_conn_data(conn);
    s->error = reason.error;
    s->closed_ns = weir_sim_now_ns(s->sim);
}

static void come_back(weir_runtime *runtime, void *data)
{
    scene *s = data;
    (void)runtime;
    cr_assert_eq(s->error, 0, "it was let go while nobody heard it: %s", weir_error_name(s->error));
    cr_assert_eq(s->messages, 0);
    weir_conn_resume(s->client);
}

static void ask(weir_conn *conn)
{
    scene *s = weir_conn_data(conn);
    s->client = conn;
    if (s->question) cr_assert_eq(weir_send(conn, s->question, strlen(s->question)), 0);
    if (!s->is_away) return;
    weir_conn_pause(conn);
    cr_assert_eq(weir_post_after(s->runtime, 0, AWAY_MS, come_back, s), 0);
}

/* A virtual minute. */
static void play(scene *s, weir_protocol server, weir_protocol client)
{
    weir_sim_options network = { .window = 16 * 1024, .script = strikes, .script_data = s };
    server.data = client.data = s;
    server.outbox = client.outbox = pausing;
    server.on_close = on_close;
    cr_assert_eq(weir_sim_create(&s->sim, &network), 0);
    weir_runtime_options options = { .workers = 1, .sim = s->sim };
    cr_assert_eq(weir_runtime_create(&s->runtime, &options), 0);
    cr_assert_eq(weir_listen(s->runtime, "10.0.0.1:80", &server, NULL, NULL), 0);
    cr_assert_eq(weir_connect(s->runtime, "10.0.0.1:80", &client, NULL, NULL), 0);
    cr_assert_eq(weir_sim_advance(s->sim, 60000 * MS), 0);
    int error = s->error;
    weir_runtime_destroy(s->runtime);
    weir_sim_destroy(s->sim);
    s->error = error; /* not that of the stop */
}

/* ---- the handshake: its message may have come, and lie here or in the kernel ---- */

static void stay_away(scene *s)
{
    s->is_away = true;
    play(s,
         (weir_protocol){ .on_open = welcome,
                          .on_message = note_message,
                          .framing = weir_framing_line(),
                          .handshake_timeout_ms = HANDSHAKE_MS },
         (weir_protocol){ .on_open = ask });
}

Test(slow_pause_sim, a_first_message_that_came_while_nobody_heard_is_in_time)
{
    scene s = { .question = "here I am\n" };
    stay_away(&s);
    cr_assert_eq(s.messages, 1);
    cr_assert_geq(s.message_ns, AWAY_MS * MS);
    cr_assert_eq(s.error, 0);
}

Test(slow_pause_sim, one_that_has_not_come_has_its_time_from_when_it_is_heard)
{
    scene s = { .question = NULL };
    stay_away(&s);
    cr_assert_eq(s.error, WEIR_EHANDSHAKE);
    cr_assert_geq(s.closed_ns, (AWAY_MS + HANDSHAKE_MS) * MS);
    cr_assert_leq(s.closed_ns, (AWAY_MS + 2 * HANDSHAKE_MS) * MS);
}

/* ---- two of a kind ---- */

static void echo(weir_conn *conn, const void *bytes, size_t size)
{
    ((scene *)weir_conn_data(conn))->messages++;
    (void)weir_send(conn, bytes, size);
}

/* Each is owed more than fits between the two, and neither reads before the other one does. */
Test(slow_pause_sim, two_that_wait_for_each_other_part_when_soft_limit_ms_is_over)
{
    scene s = { .question = NULL };
    play(&s, (weir_protocol){ .on_open = welcome, .on_message = echo },
         (weir_protocol){ .on_open = welcome, .on_message = echo });
    cr_assert_eq(s.error, WEIR_ESLOW);
    cr_assert_geq(s.closed_ns, SOFT_MS * MS);
    cr_assert_leq(s.closed_ns, (SOFT_MS + 100) * MS);
}

/* ---- a send that fails ---- */

static void answer_in_vain(weir_conn *conn, const void *bytes, size_t size)
{
    scene *s = weir_conn_data(conn);
    note_message(conn, bytes, size);
    s->is_short = true;
    (void)weir_send(conn, many, sizeof many);
}

Test(slow_pause_sim, what_came_before_a_send_failed_is_delivered)
{
    scene s = { .question = "one\ntwo\nthree\n" };
    play(&s, (weir_protocol){ .on_message = answer_in_vain, .framing = weir_framing_line() },
         (weir_protocol){ .on_open = ask });
    cr_assert_eq(s.messages, 3);
    cr_assert_eq(s.error, WEIR_ENOBUFS);
}
