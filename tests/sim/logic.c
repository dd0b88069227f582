/* A server with an inbox and its clients, which share it: what comes to it is lines that count up from 0 on each
 * connection, both ways, and is taken at random moments. The first line of a client's says which it is. */
#include <stdlib.h>
#include <string.h>

#include "sim/swarm.h"

enum {
    PAIRS = 24,
    LINE_MAX = 3000,
    LINES = 400,
    WORKERS_MAX = 3,
    QUEUED = 17 * 1024 + LINE_MAX, /* a worker's, beyond max_bytes */
    ADDRESS_ROOM = 32,
};

/* One end of a connection; the `user` of its events. */
typedef struct line_end {
    struct line_end *peer; /* NULL: not known yet, or it has gone before */
    weir_conn_id id;
    uint32_t sent, got;
    unsigned number; /* of the pair */
    bool connects;
    bool open, closed;
    bool asked; /* to end */
} line_end;

struct swarm_logic {
    swarm *s;
    weir_runtime *runtime;
    weir_inbox *inbox;
    swarm_memory memory;
    unsigned worker_count, made, accepted;
    size_t max_bytes;
    bool dying; /* being destroyed: only its inbox may be used */
    line_end clients[PAIRS], servers[PAIRS];
    char address[ADDRESS_ROOM];
    char line[LINE_MAX];
};

/* ---- making and ending ---- */

static bool may_fail(const swarm *s, int error)
{
    return (error == WEIR_ENOMEM && s->ever[WEIR_SIM_ENOMEM]) ||
           (error == WEIR_EMFILE && (s->ever[WEIR_SIM_EMFILE] || s->ever_full));
}

static weir_protocol make_protocol(swarm_logic *logic)
{
    weir_protocol protocol = { .inbox = logic->inbox, .framing = weir_framing_line(), .data = logic };
    if (choose(&logic->s->from, 3) == 0) protocol.idle_timeout_ms = (uint32_t)choose_from(&logic->s->from, 500, 5000);
    return protocol;
}

static int begin(swarm_logic *logic)
{
    swarm *s = logic->s;
    weir_allocator allocator = swarm_allocator(&logic->memory);
    logic->worker_count = (unsigned)choose_from(&s->from, 1, WORKERS_MAX);
    logic->max_bytes = choose_from(&s->from, 1, choose(&s->from, 2) ? 2000 : 100000);
    weir_runtime_options options = {
        .workers = logic->worker_count, .stop_timeout_ms = 500, .allocator = &allocator, .sim = s->sim
    };
    int error = weir_runtime_create(&logic->runtime, &options);
    if (error) return error;
    error = weir_inbox_create(logic->runtime, &(weir_inbox_options){ .max_bytes = logic->max_bytes }, &logic->inbox);
    if (error) return error;
    weir_protocol protocol = make_protocol(logic);
    (void)snprintf(logic->address, sizeof logic->address, "10.9.%u.1:9000", s->made_logics);
    return weir_listen(logic->runtime, logic->address, &protocol, NULL, NULL);
}

static void make_logic(swarm *s)
{
    if (s->logic) return;
    swarm_logic *logic = calloc(1, sizeof *logic);
    SWARM_CHECK(s, logic, "the test is out of memory");
    logic->s = logic->memory.s = s;
    s->logic = logic;
    s->made_logics++;
    int error = begin(logic);
    swarm_say(s, "logic: %u workers, an inbox of %" PRIu64 " bytes: %s", logic->worker_count,
              (uint64_t)logic->max_bytes, weir_error_name(error));
    SWARM_CHECK(s, error == 0 || may_fail(s, error), "a server with an inbox is refused with %s",
                weir_error_name(error));
    if (error) logic_destroy(s);
}

static void connect_one(swarm *s)
{
    swarm_logic *logic = s->logic;
    if (!logic || logic->dying || logic->made == PAIRS) return;
    line_end *end = &logic->clients[logic->made];
    *end = (line_end){ .number = logic->made, .connects = true };
    weir_protocol protocol = make_protocol(logic);
    int error = weir_connect(logic->runtime, logic->address, &protocol, NULL, &end->id);
    SWARM_CHECK(s, error == 0 || may_fail(s, error), "weir_connect with an inbox returns %s", weir_error_name(error));
    if (error == 0) logic->made++;
}

/* ---- what is done ---- */

static line_end *choose_line_end(swarm_logic *logic)
{
    unsigned count = logic->made + logic->accepted;
    if (count == 0) return NULL;
    unsigned i = (unsigned)choose(&logic->s->from, count);
    return i < logic->made ? &logic->clients[i] : &logic->servers[i - logic->made];
}

static void send_lines(swarm *s)
{
    swarm_logic *logic = s->logic;
    line_end *end = logic && !logic->dying ? choose_line_end(logic) : NULL;
    if (!end || !end->open || end->asked) return;
    for (uint64_t n = choose_from(&s->from, 1, 40); n > 0 && end->sent < LINES; n--) {
        size_t size = (size_t)snprintf(logic->line, LINE_MAX, "%u %u ", end->sent, end->number);
        size_t more = (size_t)choose(&s->from, choose(&s->from, 10) ? 30 : LINE_MAX - size - 1);
        memset(logic->line + size, 'x', more);
        size += more;
        logic->line[size++] = '\n';
        int error = weir_send_to(logic->runtime, end->id, logic->line, size);
        SWARM_CHECK(s, error == 0 || error == WEIR_ESLOW || may_fail(s, error), "weir_send_to returns %s",
                    weir_error_name(error));
        if (error) return;
        end->sent++;
    }
}

static void end_one(swarm *s)
{
    swarm_logic *logic = s->logic;
    line_end *end = logic && !logic->dying ? choose_line_end(logic) : NULL;
    if (!end || end->closed) return;
    int error = choose(&s->from, 3) ? weir_close_id(logic->runtime, end->id) : weir_abort_id(logic->runtime, end->id);
    SWARM_CHECK(s, error == 0 || may_fail(s, error), "to end a connection by its id returns %s",
                weir_error_name(error));
    if (error == 0) end->asked = true;
}

/* ---- taking ---- */

static line_end *find_client(swarm_logic *logic, weir_conn_id id)
{
    for (unsigned i = 0; i < logic->made; i++)
        if (logic->clients[i].id == id) return &logic->clients[i];
    return NULL;
}

/* Of one that weir has accepted, more often than there are books for if it could come twice. */
static line_end *make_server(swarm_logic *logic, weir_conn_id id)
{
    SWARM_CHECK(logic->s, logic->accepted < logic->made, "more connections were accepted than opened");
    line_end *end = &logic->servers[logic->accepted++];
    *end = (line_end){ .id = id };
    return end;
}

static void take_line(swarm_logic *logic, line_end *end, const weir_event *event)
{
    swarm *s = logic->s;
    char *rest;
    unsigned count = (unsigned)strtoul(event->bytes, &rest, 10);
    unsigned number = (unsigned)strtoul(rest, NULL, 10);
    SWARM_CHECK(s, count == end->got, "line %u of a connection comes where %u is due", count, end->got);
    SWARM_CHECK(s, ((const char *)event->bytes)[event->size - 1] == '\n', "a line has no end");
    if (!end->connects && end->got == 0) {
        SWARM_CHECK(s, number < logic->made, "a line of nobody's");
        end->number = number;
        end->peer = &logic->clients[number];
        end->peer->peer = end;
    }
    SWARM_CHECK(s, end->connects || number == end->number, "a line of another connection");
    end->got++;
}

static void take_event(swarm_logic *logic, weir_event *event)
{
    swarm *s = logic->s;
    line_end *end = event->user;
    swarm_mix(s, event->conn ^ (uint64_t)event->kind << 40 ^ event->size);
    if (!end) {
        SWARM_CHECK(s, event->kind != WEIR_EVENT_MESSAGE, "a message comes before OPEN");
        end = find_client(logic, event->conn);
        SWARM_CHECK(s, end || event->kind == WEIR_EVENT_OPEN, "a CLOSE alone, of one that was accepted");
        if (!end) end = make_server(logic, event->conn);
        weir_event_set_user(event, end);
    }
    SWARM_CHECK(s, end->id == event->conn && !end->closed && event->data == logic, "an event of another connection");
    switch (event->kind) {
    case WEIR_EVENT_OPEN:
        SWARM_CHECK(s, !end->open, "OPEN comes twice");
        end->open = true;
        break;
    case WEIR_EVENT_MESSAGE:
        take_line(logic, end, event);
        break;
    case WEIR_EVENT_CLOSE:
        SWARM_CHECK(s, event->reason.error < 0, "a CLOSE without a reason");
        SWARM_CHECK(s, end->open || event->reason.error != WEIR_EEOF, "a CLOSE alone, and not for a failure");
        end->closed = true;
        end->open = false;
        break;
    }
}

static unsigned drain(swarm *s, uint32_t most)
{
    swarm_logic *logic = s->logic;
    weir_event event;
    unsigned count = 0;
    if (!logic || !logic->inbox) return 0;
    uint64_t bytes = weir_inbox_bytes(logic->inbox);
    SWARM_CHECK(s, bytes <= logic->max_bytes + logic->worker_count * QUEUED + PAIRS * 2 * 200,
                "an inbox holds %" PRIu64 " bytes, of %" PRIu64, bytes, (uint64_t)logic->max_bytes);
    while (count < most && weir_inbox_next(logic->inbox, &event)) {
        take_event(logic, &event);
        count++;
    }
    return count;
}

/* ---- the end ---- */

/* Everything that is left comes after the end. */
void logic_destroy(swarm *s)
{
    swarm_logic *logic = s->logic;
    if (!logic || logic->dying) return;
    swarm_say(s, "logic: weir_runtime_destroy");
    logic->dying = true;
    swarm_forget_bursts(s);
    weir_runtime_destroy(logic->runtime);
    if (logic->inbox) {
        drain(s, UINT32_MAX);
        SWARM_CHECK(s, weir_inbox_wait(logic->inbox, -1) == WEIR_ESTOPPED, "an inbox goes on after its runtime");
    }
    for (unsigned i = 0; i < logic->made; i++)
        SWARM_CHECK(s, logic->clients[i].closed, "client %u has no CLOSE after the end of its runtime", i);
    for (unsigned i = 0; i < logic->accepted; i++)
        SWARM_CHECK(s, logic->servers[i].closed, "an end that was accepted has no CLOSE after its runtime");
    weir_inbox_destroy(logic->inbox);
    SWARM_CHECK(s, logic->memory.blocks == 0, "an inbox and its runtime have gone, and %" PRIu64 " bytes are left",
                logic->memory.used);
    free(logic);
    s->logic = NULL;
}

/* Nothing that was sent is missing, where both ends still stand. */
void logic_calm(swarm *s)
{
    swarm_logic *logic = s->logic;
    if (!logic) return;
    for (int turn = 0; turn < 1000 && (drain(s, UINT32_MAX) > 0 || turn < 5); turn++) swarm_run(s, SWARM_S);
    SWARM_CHECK(s, weir_inbox_bytes(logic->inbox) == 0, "an inbox is empty, and holds bytes");
    for (unsigned i = 0; i < logic->made; i++) {
        const line_end *end = &logic->clients[i], *peer = end->peer;
        SWARM_CHECK(s, end->open || end->closed, "client %u neither opened nor closed", i);
        if (!peer || !end->open || !peer->open || end->asked || peer->asked) continue;
        SWARM_CHECK(s, peer->got == end->sent && end->got == peer->sent,
                    "client %u: of %u lines %u came; and of %u, %u", i, end->sent, peer->got, peer->sent, end->got);
    }
}

/* ---- rows of the table ---- */

void act_logic(swarm *s, swarm_end *end)
{
    (void)end;
    if (!s->logic)
        make_logic(s);
    else if (choose(&s->from, 3) == 0)
        logic_destroy(s);
}

void act_logic_more(swarm *s, swarm_end *end)
{
    (void)end;
    uint64_t chosen = choose(&s->from, 20);
    if (chosen == 0)
        end_one(s);
    else if (chosen < 5)
        connect_one(s);
    else if (chosen < 12)
        (void)drain(s, (uint32_t)choose(&s->from, 100));
    else
        send_lines(s);
}
