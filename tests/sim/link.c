/* Links to a server that comes and goes, by its address or by a name that not everybody knows at all times. What is
 * sent through a link is lines that count up from 0 on each connection. */
#include <stdlib.h>
#include <string.h>

#include "sim/swarm.h"

enum {
    LINKS = 12,
    BACKOFF_MS_MAX = 20000, /* several attempts fit into the calm */
    LINES = 2000,
};

static const char server_address[] = "10.8.0.1:9100", server_name[] = "server.swarm:9100";

/* A link, and what is known of its connection. */
typedef struct chain {
    swarm_links *links;
    weir_link *link; /* NULL: it was closed */
    weir_link_options options;
    weir_link_state state;
    uint64_t since_ns; /* of the state */
    uint32_t wait_ms;
    unsigned number;
    bool attempted; /* a connection has begun, and had no on_close */
    bool open;
    bool last;          /* it was closed, and a connection that nobody heard of has ended since */
    uint32_t sent, got; /* by the connection that is open, and by the server of it */
} chain;

struct swarm_links {
    swarm *s;
    weir_runtime *client, *server; /* server NULL: it has gone */
    swarm_memory client_memory, server_memory;
    bool dying; /* one of the runtimes is being destroyed: nothing may be asked of it */
    bool is_named;
    unsigned made;
    chain chains[LINKS];
};

static bool may_fail(const swarm *s, int error)
{
    return (error == WEIR_ENOMEM && s->ever[WEIR_SIM_ENOMEM]) ||
           (error == WEIR_EMFILE && (s->ever[WEIR_SIM_EMFILE] || s->ever_full));
}

/* ---- the links' side ---- */

static bool may_follow(weir_link_state before, weir_link_state state)
{
    switch (state) {
    case WEIR_LINK_RESOLVING:
        return before == WEIR_LINK_WAITING;
    case WEIR_LINK_CONNECTING:
        return before == WEIR_LINK_WAITING || before == WEIR_LINK_RESOLVING;
    case WEIR_LINK_UP:
        return before == WEIR_LINK_CONNECTING;
    default: /* WAITING or ENDED */
        return before != WEIR_LINK_ENDED;
    }
}

static void check_wait(const chain *c, const weir_link_status *status)
{
    uint64_t bound = c->options.backoff_ms_min;
    for (uint32_t i = 1; i < status->attempts && bound < c->options.backoff_ms_max; i++) bound *= 2;
    if (bound > c->options.backoff_ms_max) bound = c->options.backoff_ms_max;
    SWARM_CHECK(c->links->s, status->wait_ms >= 1 && status->wait_ms <= bound,
                "link %u waits %u ms after attempt %u, and its bound is %" PRIu64, c->number, status->wait_ms,
                status->attempts, bound);
}

/* Its next attempt begins when it said, to the millisecond: nothing else takes time here. */
static void check_attempt(const chain *c)
{
    swarm *s = c->links->s;
    uint64_t waited_ns = swarm_now(s) - c->since_ns, due_ns = c->wait_ms * SWARM_MS;
    if (c->wait_ms == 0) return; /* the first */
    SWARM_CHECK(s, waited_ns >= due_ns && waited_ns <= due_ns + 3 * SWARM_MS,
                "link %u was to wait %u ms, and waited %" PRIu64 " us", c->number, c->wait_ms, waited_ns / 1000);
}

static void on_state(weir_link *link, weir_link_state state, void *data)
{
    chain *c = data;
    swarm *s = c->links->s;
    weir_link_status status;
    callback_enter(s, "link");
    swarm_mix(s, (uint64_t)c->number << 8 | (uint64_t)state);
    SWARM_CHECK(s, link == c->link, "link %u was closed, and says that it is in state %d", c->number, state);
    swarm_say(s, "link %u: state %d", c->number, state);
    weir_link_get_status(link, &status);
    SWARM_CHECK(s, may_follow(c->state, state), "link %u goes from state %d to %d", c->number, c->state, state);
    SWARM_CHECK(s, status.state == state && (status.conn != 0) == (state == WEIR_LINK_UP),
                "link %u is in state %d, and its status says %d", c->number, state, status.state);
    bool begins = c->state == WEIR_LINK_WAITING && state != WEIR_LINK_ENDED;
    if (begins) check_attempt(c);
    if (begins && state != WEIR_LINK_WAITING) c->attempted = true;
    if (state == WEIR_LINK_WAITING) check_wait(c, &status);
    uint32_t most = c->options.max_attempts;
    SWARM_CHECK(s, state != WEIR_LINK_ENDED || c->links->dying || (most && status.attempts >= most),
                "link %u ends after %u attempts", c->number, status.attempts);
    SWARM_CHECK(s, !c->attempted == (state == WEIR_LINK_WAITING || state == WEIR_LINK_ENDED),
                "link %u is in state %d, and on_close of its connection has %scome", c->number, state,
                c->attempted ? "not " : "");
    c->state = state;
    c->since_ns = swarm_now(s);
    c->wait_ms = status.wait_ms;
    if (!s->quiet && choose(&s->from, 8) == 0) swarm_act(s, INSIDE, NULL);
    callback_leave(s);
}

static void client_open(weir_conn *conn)
{
    chain *c = weir_conn_data(conn);
    swarm *s = c->links->s;
    callback_enter(s, "link's on_open");
    SWARM_CHECK(s, !c->open, "link %u has two connections", c->number);
    SWARM_CHECK(s, !c->link || (c->state == WEIR_LINK_UP && weir_link_conn(c->link) == weir_conn_get_id(conn)),
                "on_open of link %u comes in state %d", c->number, c->state);
    c->open = true;
    c->sent = c->got = 0;
    callback_leave(s);
}

static void client_close(weir_conn *conn, weir_reason reason)
{
    chain *c = weir_conn_data(conn);
    swarm *s = c->links->s;
    callback_enter(s, "link's on_close");
    swarm_mix(s, (uint64_t)-reason.error);
    swarm_say(s, "link %u: its connection ends with %s", c->number, weir_error_name(reason.error));
    SWARM_CHECK(s, c->attempted || (!c->link && !c->last), "on_close of link %u comes twice", c->number);
    SWARM_CHECK(s, !c->link || c->open == (c->state == WEIR_LINK_UP), "on_close of link %u comes in state %d",
                c->number, c->state);
    if (!c->attempted) c->last = true;
    c->attempted = c->open = false;
    if (!s->quiet && choose(&s->from, 8) == 0) swarm_act(s, INSIDE, NULL);
    callback_leave(s);
}

/* ---- the server's ---- */

typedef struct listener_end {
    uint32_t got;
} listener_end;

static void server_message(weir_conn *conn, const void *bytes, size_t size)
{
    swarm_links *links = weir_conn_data(conn);
    listener_end *end = weir_conn_session(conn);
    swarm *s = links->s;
    char *rest;
    callback_enter(s, "link's on_message");
    unsigned number = (unsigned)strtoul(bytes, &rest, 10), count = (unsigned)strtoul(rest, NULL, 10);
    SWARM_CHECK(s, number < links->made && ((const char *)bytes)[size - 1] == '\n', "a line of no link");
    SWARM_CHECK(s, count == end->got, "line %u of link %u comes where %u is due", count, number, end->got);
    end->got++;
    links->chains[number].got = end->got;
    callback_leave(s);
}

/* ---- making and ending ---- */

static void name_server(swarm_links *links, bool is_known)
{
    static const char *const known[] = { "10.8.0.1", "10.8.0.2 10.8.0.1", "192.0.2.7 10.8.0.1 fd00::8" };
    const char *addresses = is_known ? CHOOSE_ONE(&links->s->from, known) : NULL;
    int error = weir_sim_name(links->s->sim, "server.swarm", addresses);
    SWARM_CHECK(links->s, error == 0, "weir_sim_name returns %s", weir_error_name(error));
    links->is_named = is_known;
}

static void start_server(swarm_links *links)
{
    swarm *s = links->s;
    weir_allocator allocator = swarm_allocator(&links->server_memory);
    weir_runtime_options options = {
        .workers = (unsigned)choose_from(&s->from, 1, 2), .stop_timeout_ms = 200, .allocator = &allocator, .sim = s->sim
    };
    const weir_protocol protocol = { .on_message = server_message,
                                     .framing = weir_framing_line(),
                                     .session_size = sizeof(listener_end),
                                     .data = links };
    int error = weir_runtime_create(&links->server, &options);
    if (error == 0) error = weir_listen(links->server, server_address, &protocol, NULL, NULL);
    swarm_say(s, "link: the server comes: %s", weir_error_name(error));
    SWARM_CHECK(s, error == 0 || may_fail(s, error), "the links' server is refused with %s", weir_error_name(error));
    if (error == 0) return;
    swarm_forget_bursts(s);
    weir_runtime_destroy(links->server);
    links->server = NULL;
}

static void end_server(swarm_links *links)
{
    swarm *s = links->s;
    weir_runtime *server = links->server;
    if (!server) return;
    swarm_say(s, "link: the server goes");
    links->server = NULL;
    swarm_forget_bursts(s);
    weir_runtime_destroy(server);
    SWARM_CHECK(s, links->server_memory.blocks == 0, "the links' server has gone, and %" PRIu64 " bytes are left",
                links->server_memory.used);
}

static void make_links(swarm *s)
{
    swarm_links *links = calloc(1, sizeof *links);
    SWARM_CHECK(s, links, "the test is out of memory");
    links->s = links->client_memory.s = links->server_memory.s = s;
    weir_allocator allocator = swarm_allocator(&links->client_memory);
    weir_runtime_options options = { .workers = (unsigned)choose_from(&s->from, 1, 3),
                                     .max_connections =
                                         choose(&s->from, 4) ? 0 : (uint32_t)choose_from(&s->from, 2, 20),
                                     .stop_timeout_ms = 200,
                                     .allocator = &allocator,
                                     .sim = s->sim };
    int error = weir_runtime_create(&links->client, &options);
    SWARM_CHECK(s, error == 0 || may_fail(s, error), "the links' runtime is refused with %s", weir_error_name(error));
    if (error) {
        free(links);
        return;
    }
    s->links = links;
    if (choose(&s->from, 2)) name_server(links, true);
}

static void open_link(swarm_links *links)
{
    swarm *s = links->s;
    if (links->made == LINKS) return;
    chain *c = &links->chains[links->made];
    *c = (chain){ .links = links, .number = links->made };
    c->options = (weir_link_options){ .backoff_ms_min = (uint32_t)choose_from(&s->from, 1, 2000),
                                      .backoff_ms_max = (uint32_t)choose_from(&s->from, 2000, BACKOFF_MS_MAX),
                                      .up_after_ms = (uint32_t)choose_from(&s->from, 1, 10000),
                                      .max_attempts = choose(&s->from, 6) ? 0 : (uint32_t)choose_from(&s->from, 1, 10),
                                      .connect.timeout_ms = (uint32_t)choose_from(&s->from, 50, 20000),
                                      .on_state = on_state,
                                      .data = c };
    const weir_protocol protocol = {
        .on_open = client_open, .on_close = client_close, .data = c, .session_size = (size_t)choose(&s->from, 100)
    };
    const char *address = choose(&s->from, 2) ? server_address : server_name;
    int error = weir_link_open(links->client, address, &protocol, &c->options, &c->link);
    swarm_say(s, "link %u: weir_link_open to %s: %s", c->number, address, weir_error_name(error));
    SWARM_CHECK(s, error == 0 || may_fail(s, error), "weir_link_open returns %s", weir_error_name(error));
    if (error == 0) links->made++;
}

/* ---- what is done ---- */

static void send_lines(chain *c)
{
    swarm *s = c->links->s;
    for (uint64_t n = choose_from(&s->from, 1, 10); n > 0 && c->sent < LINES; n--) {
        char line[32];
        int size = snprintf(line, sizeof line, "%u %u\n", c->number, c->sent);
        int error = weir_link_send(c->link, line, (size_t)size);
        SWARM_CHECK(s, error == 0 || error == WEIR_ESTATE || may_fail(s, error), "weir_link_send returns %s",
                    weir_error_name(error));
        SWARM_CHECK(s, (error == WEIR_ESTATE) == (weir_link_conn(c->link) == 0), "link %u: weir_link_send returns %s",
                    c->number, weir_error_name(error));
        if (error) return;
        if (c->open) c->sent++; /* else on_open is about to come, and to count from 0 */
    }
}

static void close_link(chain *c)
{
    swarm_say(c->links->s, "link %u: weir_link_close", c->number);
    weir_link_close(c->link);
    c->link = NULL;
}

void act_link(swarm *s, swarm_end *end)
{
    (void)end;
    if (!s->links) make_links(s);
    swarm_links *links = s->links;
    if (!links || links->dying) return;
    uint64_t chosen = choose(&s->from, 16);
    if (chosen < 4) {
        open_link(links);
    } else if (chosen == 4) {
        name_server(links, !links->is_named);
    } else if (links->made > 0) {
        chain *c = &links->chains[choose(&s->from, links->made)];
        if (!c->link) return;
        if (chosen == 5)
            close_link(c);
        else if (c->state != WEIR_LINK_UP || c->open)
            send_lines(c);
    }
}

void act_link_server(swarm *s, swarm_end *end)
{
    (void)end;
    swarm_links *links = s->links;
    if (!links) return;
    if (links->server)
        end_server(links);
    else
        start_server(links);
}

/* ---- calm, and the end ---- */

bool link_is_restless(const swarm *s)
{
    for (unsigned i = 0; s->links && i < s->links->made; i++) {
        const chain *c = &s->links->chains[i];
        if (!c->link || c->state == WEIR_LINK_ENDED) continue;
        /* Without the server it is restless too, or will be when it has heard of that. */
        if (!s->links->server || c->state != WEIR_LINK_UP) return true;
    }
    return false;
}

void link_calm_begin(swarm *s)
{
    swarm_links *links = s->links;
    if (!links) return;
    name_server(links, true);
    if (!links->server) start_server(links);
}

void link_calm_end(swarm *s)
{
    swarm_links *links = s->links;
    for (unsigned i = 0; links && i < links->made; i++) {
        chain *c = &links->chains[i];
        SWARM_CHECK(s, c->link || !c->attempted, "link %u was closed, and all has been calm for long", i);
        if (!c->link || c->state == WEIR_LINK_ENDED) continue;
        weir_link_status status;
        weir_link_get_status(c->link, &status);
        /* With fewer places than links some never come up. */
        bool has_place = status.failure.error != WEIR_ELIMIT;
        SWARM_CHECK(s, c->state == WEIR_LINK_UP || !has_place, "link %u is in state %d, and all has been calm for long",
                    i, c->state);
        SWARM_CHECK(s, c->state != WEIR_LINK_UP || c->got == c->sent, "link %u took %u lines, and %u have come", i,
                    c->sent, c->got);
        SWARM_CHECK(s, c->state != WEIR_LINK_UP || status.attempts == 0 || c->since_ns + 11 * SWARM_S > swarm_now(s),
                    "link %u has been up for long, and does not begin its back-off anew", i);
    }
}

void link_destroy(swarm *s)
{
    swarm_links *links = s->links;
    if (!links) return;
    links->dying = true;
    if (choose(&s->from, 2)) end_server(links);
    swarm_forget_bursts(links->s);
    weir_runtime_destroy(links->client);
    for (unsigned i = 0; i < links->made; i++) {
        const chain *c = &links->chains[i];
        SWARM_CHECK(s, !c->attempted && !c->open, "link %u had no on_close, and its runtime has gone", i);
        SWARM_CHECK(s, !c->link || c->state == WEIR_LINK_ENDED, "link %u was in state %d when its runtime went", i,
                    c->state);
    }
    SWARM_CHECK(s, links->client_memory.blocks == 0, "the links' runtime has gone, and %" PRIu64 " bytes are left",
                links->client_memory.used);
    end_server(links);
    free(links);
    s->links = NULL;
}
