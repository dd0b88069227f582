/* Lookups of names while the system's resolver is slow, broken or stuck. */
#define _POSIX_C_SOURCE 200809L /* for the codes of getaddrinfo */
#include <errno.h>
#include <netdb.h>
#include <string.h>

#include "core/connecting.h"
#include "harness/calls.h"

static weir_conn_id connect_name(world *w, const char *address, const weir_connect_options *options)
{
    weir_conn_id id;
    weir_protocol protocol = world_wrap(w, &w->protocol);
    cr_assert_eq(weir_connect(w->runtime, address, &protocol, options, &id), 0);
    return id;
}

Test(resolver, numeric_addresses_never_come_to_it)
{
    uint16_t port;
    raw_peer listener = raw_listen(8, &port);
    world w = { .no_listener = true };
    world_start(&w);
    call_hold(true);
    connect_to(&w, port, NULL);
    WORLD_AWAIT(&w, w.opened == 1);
    cr_assert_eq(call_held(), 0);
    call_hold(false);
    raw_close(listener);
    world_stop(&w);
}

static void echo(weir_conn *conn, const void *bytes, size_t size)
{
    weir_send(conn, bytes, size);
}

Test(resolver, holds_up_no_worker)
{
    world w = { .protocol.on_message = echo };
    world_start(&w);
    call_hold(true);
    connect_name(&w, "slow.example:80", NULL);
    WORLD_AWAIT(&w, call_held() == 1);
    raw_peer peer = world_connect(&w);
    char heard[5];
    raw_send(peer, "hello", 5);
    raw_receive(peer, heard, 5);
    raw_close(peer);
    call_hold(false);
    WORLD_AWAIT(&w, w.closed_unopened == 1 && w.closed == 2);
    world_stop(&w);
}

Test(resolver, its_errors_are_the_reasons_of_connections)
{
    static const struct {
        int code, error, system_error;
    } cases[] = {
        { EAI_NONAME, WEIR_EAI_NONAME, EAI_NONAME }, { EAI_AGAIN, WEIR_EAI_AGAIN, EAI_AGAIN },
        { EAI_FAIL, WEIR_EAI_FAIL, EAI_FAIL },       { EAI_MEMORY, WEIR_ENOMEM, EAI_MEMORY },
        { EAI_SYSTEM, WEIR_EMFILE, EMFILE },         { EAI_BADFLAGS, WEIR_ESYSTEM, EAI_BADFLAGS },
    };
    world w = { .no_listener = true };
    world_start(&w);
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        call_fails(CALL_GETADDRINFO, cases[i].code, 0, 1);
        connect_name(&w, "db.example:80", NULL);
        WORLD_AWAIT(&w, w.closed == i + 1);
        cr_assert_eq(w.error, cases[i].error, "%d: %s", cases[i].code, weir_error_name(w.error));
        cr_assert_eq(w.system_error, cases[i].system_error);
    }
    cr_assert_eq(w.opened, 0);
    world_stop(&w);
}

Test(resolver, that_cannot_be_started_is_a_lack_of_memory_until_it_can)
{
    world w = { .no_listener = true };
    world_start(&w);
    call_fails(CALL_PTHREAD_CREATE, EAGAIN, 0, 1);
    connect_name(&w, "localhost:1", NULL);
    WORLD_AWAIT(&w, w.closed == 1);
    cr_assert_eq(w.error, WEIR_ENOMEM);
    connect_name(&w, "localhost:1", NULL);
    WORLD_AWAIT(&w, w.closed == 2);
    cr_assert_eq(w.error, WEIR_ECONNREFUSED);
    world_stop(&w);
}

Test(resolver, refuses_lookups_beyond_max_lookups_and_answers_the_others)
{
    enum { MOST = 5, ASKED = 20 };
    world w = { .no_listener = true, .runtime_options = { .max_lookups = MOST, .workers = 2 } };
    world_start(&w);
    call_hold(true);
    connect_name(&w, "localhost:1", NULL);
    WORLD_AWAIT(&w, call_held() == 1);
    for (unsigned i = 0; i < ASKED; i++) connect_name(&w, "localhost:1", NULL);
    WORLD_AWAIT(&w, w.closed == ASKED - MOST);
    cr_assert_eq(world_closed(&w, WEIR_ELIMIT), ASKED - MOST);
    call_hold(false);
    WORLD_AWAIT(&w, w.closed == ASKED + 1);
    cr_assert_eq(world_closed(&w, WEIR_ECONNREFUSED), MOST + 1);
    world_stop(&w);
}

Test(resolver, that_is_stuck_keeps_no_connection_from_its_end)
{
    world w = { .no_listener = true, .runtime_options.workers = 2 };
    world_start(&w);
    call_hold(true);
    weir_conn_id current = connect_name(&w, "localhost:1", NULL);
    WORLD_AWAIT(&w, call_held() == 1);
    weir_conn_id first = connect_name(&w, "localhost:1", NULL), middle = connect_name(&w, "localhost:1", NULL);
    weir_conn_id last = connect_name(&w, "localhost:1", NULL);
    connect_name(&w, "localhost:1", &(weir_connect_options){ .timeout_ms = 50 });
    cr_assert_eq(weir_close_id(w.runtime, middle), 0);
    WORLD_AWAIT(&w, w.closed == 2);
    cr_assert_eq(world_closed(&w, WEIR_ETIMEDOUT), 1);
    cr_assert_eq(weir_close_id(w.runtime, current), 0);
    cr_assert_eq(weir_abort_id(w.runtime, last), 0);
    cr_assert_eq(weir_close_id(w.runtime, first), 0);
    WORLD_AWAIT(&w, w.closed == 5);
    cr_assert_eq(world_closed(&w, WEIR_ECLOSED), 3);
    cr_assert_eq(world_closed(&w, WEIR_EABORTED), 1);
    call_hold(false);
    connect_name(&w, "localhost:1", NULL);
    WORLD_AWAIT(&w, world_closed(&w, WEIR_ECONNREFUSED) == 1);
    world_stop(&w);
}

Test(resolver, that_is_stuck_holds_up_the_end_of_a_runtime_for_a_second_at_most)
{
    world w = { .no_listener = true };
    world_start(&w);
    call_hold(true);
    connect_name(&w, "localhost:1", NULL);
    WORLD_AWAIT(&w, call_held() == 1);
    uint64_t began_ns = wr_os_now_ns();
    world_stop(&w); /* all its memory is back, although the thread is still in there */
    cr_assert_lt(wr_os_now_ns() - began_ns, UINT64_C(20000000000));
    cr_assert_eq(w.error, WEIR_ESTOPPED);
    cr_assert_eq(call_held(), 1);
    call_hold(false);
    WORLD_AWAIT(&w, call_held() == 0); /* and goes its way */
}

Test(resolver, a_link_closed_while_it_is_stuck_ends_at_once)
{
    world w = { .no_listener = true };
    world_start(&w);
    call_hold(true);
    weir_link *link;
    weir_protocol protocol = world_wrap(&w, &w.protocol);
    cr_assert_eq(weir_link_open(w.runtime, "localhost:1", &protocol, NULL, &link), 0);
    WORLD_AWAIT(&w, call_held() == 1);
    weir_link_status status;
    weir_link_get_status(link, &status);
    cr_assert_eq(status.state, WEIR_LINK_RESOLVING);
    weir_link_close(link);
    WORLD_AWAIT(&w, w.closed == 1);
    cr_assert_eq(w.error, WEIR_ECLOSED);
    call_hold(false);
    world_stop(&w);
}
