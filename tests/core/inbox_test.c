/* Inboxes: the events of connections for the logic thread, which is the test. */
#include "core/logic.h"

#include <string.h>

static void next(logic *l, weir_event *event)
{
    cr_assert_eq(weir_inbox_wait(l->w.inbox, RAW_PATIENCE_MS), 0);
    cr_assert(weir_inbox_next(l->w.inbox, event));
}

static void expect_message(logic *l, const char *text)
{
    weir_event event;
    next(l, &event);
    cr_assert_eq(event.kind, WEIR_EVENT_MESSAGE);
    cr_assert_eq(event.size, strlen(text));
    cr_assert_arr_eq(event.bytes, text, event.size);
    cr_assert_eq(event.user, l);
}

Test(inbox, the_events_of_a_connection_come_in_order)
{
    logic l = { .options.max_bytes = 1 << 20 };
    weir_event event;
    logic_start(&l);
    cr_assert_not(weir_inbox_next(l.w.inbox, &event));
    raw_peer peer = world_connect(&l.w);
    next(&l, &event);
    cr_assert_eq(event.kind, WEIR_EVENT_OPEN);
    cr_assert_eq(event.data, &l);
    cr_assert_null(event.user);
    weir_address address = weir_event_peer(&event);
    cr_assert_eq(address.port, raw_port(peer));
    cr_assert_str_eq(address.host, "127.0.0.1");
    weir_conn_id id = event.conn;
    weir_event_set_user(&event, &l);
    raw_send(peer, "a\nsecond\n\nunfin", 15);
    expect_message(&l, "a\n");
    expect_message(&l, "second\n");
    expect_message(&l, "\n");
    raw_send(peer, "ished\n", 6);
    expect_message(&l, "unfinished\n");
    cr_assert_eq(weir_send_to(l.w.runtime, id, "answer", 6), 0);
    char answer[6];
    raw_receive(peer, answer, 6);
    cr_assert_arr_eq(answer, "answer", 6);
    raw_close(peer);
    next(&l, &event);
    cr_assert_eq(event.kind, WEIR_EVENT_CLOSE);
    cr_assert_eq(event.conn, id);
    cr_assert_eq(event.reason.error, WEIR_EEOF);
    cr_assert_eq(event.user, &l);
    cr_assert_eq(weir_event_peer(&event).port, address.port);
    cr_assert_not(weir_inbox_next(l.w.inbox, &event));
    cr_assert_eq(weir_inbox_bytes(l.w.inbox), 0);
    cr_assert_eq(world_stats(&l.w).messages_received, 4);
    logic_stop(&l);
}

Test(inbox, a_message_over_its_limit_passes)
{
    enum { SIZE = 40000 };
    static char text[SIZE + 1];
    logic l = { .options.max_bytes = 100 };
    weir_event event;
    logic_start(&l);
    raw_peer peer = world_connect(&l.w);
    next(&l, &event);
    weir_event_set_user(&event, &l);
    memset(text, 'x', SIZE);
    for (size_t size = 1; size <= SIZE; size = size * 2 + 1) {
        text[size - 1] = '\n';
        text[size] = 0;
        raw_send(peer, text, size);
        expect_message(&l, text);
        text[size - 1] = text[size] = 'x';
    }
    raw_close(peer);
    next(&l, &event);
    cr_assert_eq(event.kind, WEIR_EVENT_CLOSE);
    logic_stop(&l);
}

static void on_open(weir_conn *conn)
{
    (void)conn;
}

static void on_message(weir_conn *conn, const void *bytes, size_t size)
{
    (void)conn, (void)bytes, (void)size;
}

static void on_close(weir_conn *conn, weir_reason reason)
{
    (void)conn, (void)reason;
}

static void expect_refused(logic *l, const weir_protocol *protocol, const char *why)
{
    weir_failure failure = { 0 };
    weir_listen_options listen = { .failure = &failure };
    cr_assert_eq(weir_listen(l->w.runtime, "127.0.0.1:0", protocol, &listen, NULL), WEIR_EINVAL);
    cr_assert_not_null(strstr(failure.text, why), "%s", failure.text);
    weir_connect_options connect = { .failure = &failure };
    cr_assert_eq(weir_connect(l->w.runtime, "127.0.0.1:9", protocol, &connect, NULL), WEIR_EINVAL);
    cr_assert_not_null(strstr(failure.text, why), "%s", failure.text);
}

Test(inbox, what_cannot_work_is_refused)
{
    logic l = { 0 };
    weir_inbox *none = NULL;
    weir_runtime *other;
    logic_start(&l);
    expect_refused(&l, &(weir_protocol){ .inbox = l.w.inbox, .on_open = on_open }, "there is an inbox");
    expect_refused(&l, &(weir_protocol){ .inbox = l.w.inbox, .on_message = on_message }, "there is an inbox");
    expect_refused(&l, &(weir_protocol){ .inbox = l.w.inbox, .on_close = on_close }, "there is an inbox");
    cr_assert_eq(weir_inbox_create(NULL, NULL, &none), WEIR_EINVAL);
    cr_assert_eq(weir_inbox_create(l.w.runtime, NULL, NULL), WEIR_EINVAL);
    cr_assert_eq(weir_runtime_create(&other, NULL), 0);
    cr_assert_eq(weir_inbox_create(other, NULL, &none), 0);
    expect_refused(&l, &(weir_protocol){ .inbox = none }, "of another runtime");
    weir_runtime_destroy(other);
    weir_inbox_destroy(none);
    weir_inbox_destroy(NULL);
    world_refuse(&l.w, 0);
    cr_assert_eq(weir_inbox_create(l.w.runtime, NULL, &none), WEIR_ENOMEM);
    cr_assert_null(none);
    world_refuse(&l.w, -1);
    logic_stop(&l);
}

Test(inbox, a_wait_ends_in_time)
{
    logic l = { 0 };
    logic_start(&l);
    cr_assert_eq(weir_inbox_wait(l.w.inbox, 0), WEIR_ETIMEDOUT);
    uint64_t begin_ns = wr_os_now_ns();
    cr_assert_eq(weir_inbox_wait(l.w.inbox, 30), WEIR_ETIMEDOUT);
    cr_assert_geq(wr_os_now_ns() - begin_ns, 30 * 1000000);
    logic_stop(&l);
}

/* A thread that waits for ever; it counts what it is woken for. */
typedef struct waiter {
    logic *l;
    wr_thread thread;
    _Atomic unsigned opened, messages, closed;
    _Atomic int ended_with;
} waiter;

static void wait_for_all(void *data)
{
    waiter *me = data;
    weir_event event;
    int error;
    while ((error = weir_inbox_wait(me->l->w.inbox, -1)) == 0) {
        while (weir_inbox_next(me->l->w.inbox, &event)) {
            if (event.kind == WEIR_EVENT_OPEN) atomic_fetch_add(&me->opened, 1);
            if (event.kind == WEIR_EVENT_MESSAGE) atomic_fetch_add(&me->messages, 1);
            if (event.kind == WEIR_EVENT_CLOSE) atomic_fetch_add(&me->closed, 1);
        }
    }
    atomic_store(&me->ended_with, error);
}

Test(inbox, a_thread_that_waits_is_woken_by_each_event_and_by_the_end)
{
    enum { TIMES = 200 };
    logic l = { .w.runtime_options.workers = 2 };
    waiter me = { .l = &l };
    logic_start(&l);
    cr_assert_eq(wr_thread_start(&me.thread, "waiter", wait_for_all, &me), 0);
    raw_peer peer = world_connect(&l.w);
    for (unsigned i = 0; i < TIMES; i++) {
        raw_send(peer, "x\n", 2);
        WORLD_AWAIT(&l.w, me.messages == i + 1);
    }
    cr_assert_eq(me.opened, 1);
    weir_runtime_destroy(l.w.runtime);
    l.w.runtime = NULL;
    wr_thread_join(&me.thread);
    cr_assert_eq(me.ended_with, WEIR_ESTOPPED);
    cr_assert_eq(me.closed, 1);
    raw_close(peer);
    world_stop(&l.w);
}

static void count(void *data)
{
    unsigned *calls = data;
    ++*calls;
}

Test(inbox, on_ready_comes_once_for_an_inbox_that_was_empty)
{
    unsigned calls = 0;
    logic l = { .w.manual = true, .options = { .on_ready = count, .data = &calls } };
    logic_start(&l);
    raw_peer peer = world_connect(&l.w);
    raw_send(peer, "a\nb\nc\n", 6);
    WORLD_AWAIT(&l.w, world_stats(&l.w).messages_received == 3);
    cr_assert_eq(calls, 1);
    cr_assert_eq(logic_drain(&l), 4);
    raw_send(peer, "d\n", 2);
    WORLD_AWAIT(&l.w, world_stats(&l.w).messages_received == 4);
    raw_send(peer, "e\n", 2);
    WORLD_AWAIT(&l.w, world_stats(&l.w).messages_received == 5);
    cr_assert_eq(calls, 2);
    cr_assert_eq(logic_drain(&l), 2);
    raw_close(peer);
    LOGIC_AWAIT(&l, l.closed == 1);
    cr_assert_eq(calls, 3);
    logic_stop(&l);
}

Test(inbox, a_connection_that_is_opened_has_one_too)
{
    logic l = { .numbers = true };
    weir_conn_id id;
    logic_start(&l);
    cr_assert_eq(weir_connect(l.w.runtime, weir_listener_address(l.w.listener).text, &l.protocol, NULL, &id), 0);
    LOGIC_AWAIT(&l, l.opened == 2); /* both ends */
    cr_assert_eq(weir_send_to(l.w.runtime, id, "0\n1\n2\n", 6), 0);
    LOGIC_AWAIT(&l, l.messages == 3);
    cr_assert_neq(l.id, id);
    cr_assert_eq(weir_close_id(l.w.runtime, id), 0);
    LOGIC_AWAIT(&l, l.closed == 2);
    logic_stop(&l);
}

Test(inbox, a_connection_that_could_not_be_opened_has_its_close_alone)
{
    logic l = { 0 };
    char address[32];
    weir_conn_id id;
    logic_start(&l);
    (void)strcpy(address, weir_listener_address(l.w.listener).text);
    weir_listener_close(l.w.listener);
    WORLD_AWAIT(&l.w, !raw_try_connect("127.0.0.1", l.w.port, 1000, &(raw_peer){ 0 }));
    cr_assert_eq(weir_connect(l.w.runtime, address, &l.protocol, NULL, &id), 0);
    LOGIC_AWAIT(&l, l.closed_unopened == 1);
    cr_assert_eq(l.reason.error, WEIR_ECONNREFUSED);
    cr_assert_eq(l.id, id);
    logic_stop(&l);
}

Test(inbox, two_inboxes_keep_their_listeners_apart)
{
    logic l = { 0 };
    weir_inbox *second;
    weir_listener *there;
    weir_event event;
    logic_start(&l);
    cr_assert_eq(weir_inbox_create(l.w.runtime, NULL, &second), 0);
    const weir_protocol protocol = { .inbox = second };
    cr_assert_eq(weir_listen(l.w.runtime, "127.0.0.1:0", &protocol, NULL, &there), 0);
    raw_peer peer = raw_connect("127.0.0.1", weir_listener_address(there).port, 0);
    raw_send(peer, "all at once", 11);
    cr_assert_eq(weir_inbox_wait(second, RAW_PATIENCE_MS), 0);
    cr_assert(weir_inbox_next(second, &event));
    cr_assert_eq(event.kind, WEIR_EVENT_OPEN);
    cr_assert_null(event.data);
    cr_assert_eq(logic_drain(&l), 0);
    raw_close(peer);
    weir_runtime_destroy(l.w.runtime);
    l.w.runtime = NULL;
    weir_inbox_destroy(second);
    world_stop(&l.w);
}

Test(inbox, what_was_not_taken_stays_after_the_runtime)
{
    enum { PEERS = 20 };
    logic l = { .w.runtime_options = { .workers = 2, .stop_timeout_ms = 200 }, .numbers = true };
    raw_peer peers[PEERS];
    logic_start(&l);
    for (int i = 0; i < PEERS; i++) {
        peers[i] = world_connect(&l.w);
        raw_send(peers[i], "0\n1\n2\n", 6);
    }
    WORLD_AWAIT(&l.w, world_stats(&l.w).messages_received == PEERS * 3);
    weir_runtime_destroy(l.w.runtime);
    l.w.runtime = NULL;
    cr_assert_eq(logic_drain(&l), PEERS * 5);
    cr_assert_eq(l.opened, PEERS);
    cr_assert_eq(l.closed, PEERS);
    cr_assert_eq(l.messages, PEERS * 3);
    cr_assert_eq(l.reason.error, WEIR_ESTOPPED);
    for (int i = 0; i < PEERS; i++) raw_close(peers[i]);
    world_stop(&l.w);
}

Test(inbox, what_nobody_takes_goes_with_it)
{
    logic l = { 0 };
    logic_start(&l);
    raw_peer peer = world_connect(&l.w);
    raw_send(peer, "a\nb\n", 4);
    WORLD_AWAIT(&l.w, world_stats(&l.w).messages_received == 2);
    weir_event event;
    cr_assert(weir_inbox_next(l.w.inbox, &event));
    cr_assert(weir_inbox_next(l.w.inbox, &event)); /* in the middle of what came together */
    cr_assert_eq(event.kind, WEIR_EVENT_MESSAGE);
    raw_close(peer);
    world_stop(&l.w);
}

/* ---- memory ---- */

/* With the n-th allocation failing. False: there were fewer. `*harmless` counts those that ended nobody. */
static bool attempt(int64_t n, unsigned *harmless)
{
    logic l = { .w = { .manual = true, .runtime_options.stop_timeout_ms = 500 }, .numbers = true };
    logic_start(&l);
    world_settle(&l.w);
    world_refuse_once(&l.w, n);
    raw_peer peer = world_connect(&l.w);
    raw_send(peer, "0\n1\n", 4);
    LOGIC_AWAIT(&l, l.messages == 2 || l.closed == 1 || world_stats(&l.w).refused_memory == 1);
    if (l.messages == 2) {
        raw_send(peer, "2\n3", 3);
        LOGIC_AWAIT(&l, l.messages == 3 || l.closed == 1);
    }
    bool failed = l.w.memory.refused > 0;
    world_refuse(&l.w, -1);
    world_settle(&l.w);
    if (failed && world_stats(&l.w).connections == 1) {
        ++*harmless;
    } else if (failed && l.opened) {
        LOGIC_AWAIT(&l, l.closed == 1);
        cr_assert_eq(l.reason.error, WEIR_ENOMEM);
    }
    raw_peer newcomer = world_connect(&l.w); /* nobody else has noticed */
    raw_send(newcomer, "0\n", 2);
    uint64_t before = l.messages;
    LOGIC_AWAIT(&l, l.messages == before + 1);
    raw_close(newcomer);
    raw_close(peer);
    logic_stop(&l);
    return failed;
}

Test(inbox, each_allocation_that_fails_ends_who_needed_it_and_its_close_still_comes, .timeout = 60)
{
    int64_t n = 0;
    unsigned harmless = 0;
    while (attempt(n, &harmless)) n++;
    cr_assert_geq(n, 4, "only %d allocations", (int)n); /* the connection, its events, two reads, a tail */
    cr_assert_leq(harmless, 1, "%u allocations that nobody needed", harmless); /* one: core/dirty.h */
}
