#include "core/linked.h"

/* ---- the link's side ---- */

static linked *linked_of(const weir_conn *conn)
{
    return weir_conn_data(conn);
}

static void on_open(weir_conn *conn)
{
    linked *l = linked_of(conn);
    l->opened++;
    cr_assert_eq(l->notes[l->note_count - 1].state, WEIR_LINK_UP, "UP comes first");
    if (!l->link) return;
    cr_assert_eq(weir_conn_link(conn), l->link);
    cr_assert_eq(weir_link_conn(l->link), weir_conn_get_id(conn));
}

static void on_message(weir_conn *conn, const void *bytes, size_t size)
{
    (void)bytes;
    linked_of(conn)->heard += (unsigned)size;
}

static void on_close(weir_conn *conn, weir_reason reason)
{
    linked *l = linked_of(conn);
    l->closed++;
    l->error = reason.error;
}

/* What may follow what. */
static bool may_follow(weir_link_state before, weir_link_state now)
{
    switch (now) {
    case WEIR_LINK_WAITING:
        return before != WEIR_LINK_ENDED;
    case WEIR_LINK_RESOLVING:
        return before == WEIR_LINK_WAITING;
    case WEIR_LINK_CONNECTING:
        return before == WEIR_LINK_WAITING || before == WEIR_LINK_RESOLVING;
    case WEIR_LINK_UP:
        return before == WEIR_LINK_CONNECTING;
    default:
        return before != WEIR_LINK_ENDED;
    }
}

static void on_state(weir_link *link, weir_link_state state, void *data)
{
    linked *l = data;
    cr_assert_eq(link, l->link, "it was closed, and nothing of it comes any more");
    cr_assert_eq(weir_link_runtime(link), l->client);
    weir_link_status status = linked_status(l);
    cr_assert_eq(status.state, state);
    cr_assert_eq(status.conn != 0, state == WEIR_LINK_UP);
    cr_assert_lt(l->note_count, LINKED_NOTES_MAX);
    weir_link_state before = l->note_count ? l->notes[l->note_count - 1].state : WEIR_LINK_WAITING;
    cr_assert(may_follow(before, state), "%d after %d", state, before);
    l->notes[l->note_count++] = (linked_note){ state, weir_sim_now_ns(l->sim), status.wait_ms, status.attempts };
    l->ups += state == WEIR_LINK_UP;
    if (l->note_count != l->close_at) return;
    weir_link_close(link);
    l->link = NULL;
}

/* ---- the server's ---- */

static void server_open(weir_conn *conn)
{
    if (linked_of(conn)->server_drops) weir_abort(conn);
}

static void server_message(weir_conn *conn, const void *bytes, size_t size)
{
    linked_of(conn)->echoed++;
    weir_send(conn, bytes, size);
}

void linked_serve(linked *l)
{
    const weir_protocol protocol = { .on_open = server_open, .on_message = server_message, .data = l };
    cr_assert_eq(weir_runtime_create(&l->server, &(weir_runtime_options){ .sim = l->sim }), 0);
    cr_assert_eq(weir_listen(l->server, "10.0.0.1:80", &protocol, NULL, &l->listener), 0);
}

void linked_unserve(linked *l)
{
    weir_runtime_destroy(l->server);
    l->server = NULL;
}

/* ---- both ---- */

void linked_open(linked *l)
{
    const weir_protocol protocol = { .on_open = on_open, .on_message = on_message, .on_close = on_close, .data = l };
    cr_assert_eq(weir_sim_create(&l->sim, &l->network), 0);
    cr_assert_eq(weir_runtime_create(&l->client, &(weir_runtime_options){ .workers = 2, .sim = l->sim }), 0);
    l->options.on_state = on_state;
    l->options.data = l;
    const char *address = l->address ? l->address : "10.0.0.1:80";
    cr_assert_eq(weir_link_open(l->client, address, &protocol, &l->options, &l->link), 0);
}

void linked_run(linked *l, uint64_t ns)
{
    cr_assert_eq(weir_sim_advance(l->sim, ns), 0);
}

typedef struct wanted {
    const linked *l;
    weir_link_state state;
} wanted;

static bool is_there(void *data)
{
    const wanted *w = data;
    return w->l->note_count > 0 && w->l->notes[w->l->note_count - 1].state == w->state;
}

void linked_await(linked *l, weir_link_state state)
{
    wanted w = { l, state };
    uint64_t until_ns = weir_sim_now_ns(l->sim) + 3600 * S;
    cr_assert_eq(weir_sim_run_until(l->sim, is_there, &w, until_ns), 0, "state %d never came", state);
}

weir_link_status linked_status(linked *l)
{
    weir_link_status status;
    weir_link_get_status(l->link, &status);
    return status;
}

void linked_end(linked *l)
{
    weir_runtime_destroy(l->client);
    weir_runtime_destroy(l->server);
    weir_sim_destroy(l->sim);
    cr_assert_leq(l->opened, l->closed, "what opened has closed");
}
