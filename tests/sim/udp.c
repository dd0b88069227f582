/* UDP ports: datagrams that say whose they are, and the books of who has sent what to whom. */
#include <string.h>

#include "sim/swarm.h"

enum { PORT_FIRST = 20000, SMALL = 500, DEFAULT_DATAGRAM = 2048, LEAST_QUEUED = 16384, OVERHEAD = 600 };

static const message_format format = {
    .framing = { .kind = WEIR_FRAMING_NONE }, .max_message = 65507, .least = MESSAGE_BODY_MIN, .most = 65507
};

static bool is_usable(const swarm_port *port)
{
    return port->udp && port->runtime->runtime && !port->runtime->dying;
}

/* Nobody has asked it to end. */
static bool is_open(const swarm_port *port)
{
    return is_usable(port) && !port->asked_close && !port->runtime->stopping;
}

static swarm_port *choose_port(swarm *s)
{
    if (s->made_ports == 0) return NULL;
    unsigned first = (unsigned)choose(&s->from, s->made_ports);
    for (unsigned i = 0; i < s->made_ports; i++) {
        swarm_port *port = &s->ports[(first + i) % s->made_ports];
        if (is_usable(port)) return port;
    }
    return NULL;
}

/* ---- what comes ---- */

/* A peer comes to one worker, for as long as all sockets of the port are there. By both ends' addresses, of which those
 * that are bound to all have several. */
static void check_worker(swarm *s, swarm_port *port, const swarm_port *sender, unsigned worker)
{
    if (!is_open(port) || sender->is_any || port->is_any) return;
    uint8_t *served = &port->served_by[sender->number];
    SWARM_CHECK(s, *served == 0 || *served == worker + 1,
                "port %u: worker %u gets a datagram of port %u, whose former ones came to worker %u", port->number,
                worker, sender->number, *served - 1U);
    *served = (uint8_t)(worker + 1);
}

static void check_datagram(swarm *s, swarm_port *port, const message_label *label, const weir_udp_peer *from,
                           unsigned worker)
{
    SWARM_CHECK(s, label->end < s->made_ports && label->place < s->made_datagrams,
                "port %u gets datagram %u of port %u, which nobody sent", port->number, label->place, label->end);
    swarm_datagram *datagram = &s->datagrams[label->place];
    const swarm_port *sender = &s->ports[label->end];
    SWARM_CHECK(s, datagram->from == label->end && datagram->size == label->size && datagram->accepted,
                "port %u gets a datagram %u that was not sent so", port->number, label->place);
    SWARM_CHECK(s, datagram->to == port->number, "port %u gets datagram %u, which was sent to port %u", port->number,
                label->place, datagram->to);
    weir_address address = weir_udp_peer_address(from);
    SWARM_CHECK(
        s, address.port == sender->address.port && (sender->is_any || strcmp(address.text, sender->address.text) == 0),
        "port %u gets datagram %u from %s, and it was sent from %s", port->number, label->place, address.text,
        sender->address.text);
    datagram->came++;
    SWARM_CHECK(s, datagram->came <= (s->ever[WEIR_SIM_DATAGRAM_DUPLICATE] ? 2 : 1), "datagram %u comes %u times",
                label->place, datagram->came);
    SWARM_CHECK(s, label->size <= port->max_datagram, "port %u gets a datagram of %u bytes, and max_datagram is %u",
                port->number, label->size, port->max_datagram);
    check_worker(s, port, sender, worker);
}

static void reply(swarm *s, weir_udp_socket *socket, const swarm_port *port, swarm_port *to, const weir_udp_peer *peer);

static void on_datagram(weir_udp_socket *socket, const weir_udp_peer *from, const void *bytes, size_t size)
{
    swarm_port *port = weir_udp_socket_data(socket);
    swarm *s = port->s;
    unsigned worker = weir_udp_socket_worker(socket);
    message_label label;
    callback_enter(s, "udp: on_datagram");
    SWARM_CHECK(s, worker < SWARM_WORKERS && !port->closed[worker], "port %u gets a datagram after its on_close",
                port->number);
    SWARM_CHECK(s,
                weir_udp_socket_port(socket) == port->udp && weir_udp_socket_runtime(socket) == port->runtime->runtime,
                "port %u: the socket is another's", port->number);
    const char *wrong = message_read(&format, bytes, size, &label);
    SWARM_CHECK(s, !wrong, "port %u gets %s", port->number, wrong);
    swarm_mix(s, (uint64_t)label.place << 32 | (uint64_t)port->number << 8 | worker);
    swarm_say(s, "port %u: datagram %u of port %u, %u bytes", port->number, label.place, label.end, label.size);
    check_datagram(s, port, &label, from, worker);
    port->runtime->datagrams++;
    if (!s->quiet && choose(&s->from, 3) == 0) reply(s, socket, port, &s->ports[label.end], from);
    if (!s->quiet && choose(&s->from, 4) == 0) swarm_act(s, INSIDE, NULL);
    callback_leave(s);
}

static void on_stop(weir_udp_socket *socket)
{
    swarm_port *port = weir_udp_socket_data(socket);
    swarm *s = port->s;
    unsigned worker = weir_udp_socket_worker(socket);
    callback_enter(s, "udp: on_stop");
    swarm_say(s, "port %u: on_stop on worker %u", port->number, worker);
    SWARM_CHECK(s, port->runtime->stopping, "port %u gets an on_stop, and its runtime does not stop", port->number);
    SWARM_CHECK(s, !port->told_stop[worker] && !port->closed[worker], "port %u gets an on_stop too many", port->number);
    port->told_stop[worker] = true;
    if (!s->quiet && choose(&s->from, 2)) swarm_act(s, INSIDE, NULL);
    callback_leave(s);
}

static void on_close(weir_udp_socket *socket, weir_reason reason)
{
    swarm_port *port = weir_udp_socket_data(socket);
    swarm *s = port->s;
    unsigned worker = weir_udp_socket_worker(socket);
    callback_enter(s, "udp: on_close");
    swarm_mix(s, (uint64_t)port->number << 8 | worker);
    swarm_say(s, "port %u: on_close on worker %u: %s", port->number, worker, weir_error_name(reason.error));
    SWARM_CHECK(s, !port->closed[worker], "port %u has a second on_close on worker %u", port->number, worker);
    SWARM_CHECK(s,
                (reason.error == WEIR_ECLOSED && port->asked_close) ||
                    (reason.error == WEIR_ESTOPPED && port->runtime->stopping),
                "port %u ends with %s", port->number, weir_error_name(reason.error));
    port->closed[worker] = true;
    port->closes++;
    callback_leave(s);
}

/* ---- opening and closing ---- */

static void choose_address(swarm *s, swarm_port *port, char *text, size_t room)
{
    unsigned number = PORT_FIRST + port->number;
    unsigned kind = (unsigned)choose(&s->from, 8);
    port->is_any = kind < 2;
    if (kind == 0)
        (void)snprintf(text, room, "[::]:%u", number);
    else if (kind == 1)
        (void)snprintf(text, room, "0.0.0.0:%u", number);
    else if (kind == 2)
        (void)snprintf(text, room, "127.0.0.1:%u", number);
    else if (kind == 3)
        (void)snprintf(text, room, "[fd02::%u:%u]:%u", port->runtime->number, port->number, number);
    else
        (void)snprintf(text, room, "10.2.%u.%u:%u", port->runtime->number, (unsigned)choose_from(&s->from, 1, 3),
                       number);
}

/* What others send to: one of the addresses of a port that is bound to all of them. */
static weir_udp_peer target_of(const swarm_port *port)
{
    weir_address address = port->address;
    const char *host = address.family == WEIR_FAMILY_IPV4 ? "10.2.9.1" : "fd02::9:1";
    if (port->is_any) {
        char text[64];
        const char *wrap = address.family == WEIR_FAMILY_IPV4 ? "%s:%u" : "[%s]:%u";
        (void)snprintf(text, sizeof text, *wrap == '[' ? "[%s]:%u" : "%s:%u", host, address.port);
        (void)weir_address_parse(&address, text, NULL);
    }
    return weir_udp_peer_of(&address);
}

static weir_udp_options choose_options(swarm *s, const swarm_port *port)
{
    choice *from = &s->from;
    weir_udp_options options = { .sockets = (unsigned)choose(from, port->runtime->worker_count + 1) };
    if (choose(from, 3) == 0) options.max_datagram = (uint32_t)choose_from(from, MESSAGE_BODY_MIN, 3000);
    if (choose(from, 8) == 0) options.max_datagram = 65507;
    if (choose(from, 2) == 0) options.max_queued = (uint32_t)choose_from(from, LEAST_QUEUED, 200000);
    if (choose(from, 3) == 0) options.receive_buffer = (uint32_t)choose_from(from, 1, 60000);
    options.ipv6_only = port->is_any && choose(from, 2);
    options.coalesce = choose(from, 2);
    return options;
}

void act_udp_open(swarm *s, swarm_end *end)
{
    (void)end;
    swarm_runtime *runtime = swarm_choose_runtime(s, true);
    if (!runtime || s->made_ports == SWARM_PORTS) return;
    swarm_port *port = &s->ports[s->made_ports];
    *port = (swarm_port){ .s = s, .runtime = runtime, .number = s->made_ports };
    char text[64];
    choose_address(s, port, text, sizeof text);
    weir_udp_options options = choose_options(s, port);
    if (text[0] != '[') options.ipv6_only = false;
    weir_udp_protocol protocol = { .on_datagram = on_datagram, .on_stop = on_stop, .on_close = on_close, .data = port };
    int error = weir_udp_open(runtime->runtime, text, &protocol, &options, &port->udp);
    swarm_say(s, "port %u: weir_udp_open on %s: %s", port->number, text, weir_error_name(error));
    SWARM_CHECK(s,
                error == 0 || (error == WEIR_EMFILE && (s->ever[WEIR_SIM_EMFILE] || s->ever_full)) ||
                    (error == WEIR_ENOMEM && s->ever[WEIR_SIM_ENOMEM]) || (error == WEIR_ESTOPPED && runtime->stopping),
                "weir_udp_open on %s returns %s", text, weir_error_name(error));
    SWARM_CHECK(s, error || !runtime->stopping, "weir_udp_open succeeds in a runtime that is stopping");
    if (error) return;
    port->address = weir_udp_address(port->udp);
    port->target = target_of(port);
    port->sockets = options.sockets ? options.sockets : runtime->worker_count;
    port->max_datagram = options.max_datagram ? options.max_datagram : DEFAULT_DATAGRAM;
    port->max_queued = options.max_queued ? options.max_queued : 1 << 20;
    port->room = options.receive_buffer ? options.receive_buffer : 100000;
    s->made_ports++;
}

void act_udp_close(swarm *s, swarm_end *end)
{
    (void)end;
    swarm_port *port = choose_port(s);
    if (!port) return;
    swarm_say(s, "port %u: weir_udp_close", port->number);
    port->asked_close = true;
    weir_udp_close(port->udp);
}

/* ---- sending ---- */

/* The one has words of the other's family. */
static bool speaks(const swarm_port *port, const weir_udp_peer *peer)
{
    if (port->address.family == WEIR_FAMILY_IPV4) return peer->family == WEIR_FAMILY_IPV4;
    return peer->family == WEIR_FAMILY_IPV6;
}

static swarm_datagram *begin_datagram(swarm *s, const swarm_port *port, swarm_port *to, uint32_t size)
{
    if (to) to->expected += size + OVERHEAD;
    swarm_datagram *datagram = &s->datagrams[s->made_datagrams];
    *datagram = (swarm_datagram){ .from = port->number, .to = to ? to->number : SWARM_PORTS, .size = size };
    message_label label = { .end = port->number, .place = s->made_datagrams, .size = size };
    message_write(&format, &label, s->bytes);
    s->made_datagrams++;
    return datagram;
}

static void check_send(swarm *s, const swarm_port *port, swarm_datagram *datagram, int error)
{
    swarm_say(s, "port %u: datagram %u, %u bytes, to port %u: %s", port->number, s->made_datagrams - 1, datagram->size,
              datagram->to, weir_error_name(error));
    SWARM_CHECK(s,
                error == 0 || error == WEIR_ELIMIT || (error == WEIR_ENOMEM && s->ever[WEIR_SIM_ENOMEM]) ||
                    (error == WEIR_ECLOSED && !is_open(port)),
                "a send of port %u returns %s", port->number, weir_error_name(error));
    datagram->accepted = error == 0;
}

/* Whether it must come, if nothing goes wrong with the network and both stay. */
static bool is_due(const swarm_port *port, const swarm_port *to, const swarm_datagram *datagram)
{
    return to && datagram->accepted && is_open(port) && is_open(to) && speaks(port, &to->target) &&
           datagram->size <= to->max_datagram;
}

static void send_one(swarm *s, const swarm_port *port, swarm_port *to, uint32_t size)
{
    static const weir_udp_peer nobody = { .ip = { 10, 9, 9, 9 }, .port = 9, .family = WEIR_FAMILY_IPV4 };
    const weir_udp_peer *peer = to ? &to->target : &nobody;
    swarm_datagram *datagram = begin_datagram(s, port, to, size);
    int error;
    if (choose(&s->from, 4) == 0) {
        weir_buf *buf = weir_buf_create(size);
        SWARM_CHECK(s, buf, "the test is out of memory");
        memcpy(weir_buf_bytes(buf), s->bytes, size);
        error = weir_udp_send_buf_to(port->udp, peer, buf);
        weir_buf_release(buf);
    } else {
        error = weir_udp_send_to(port->udp, peer, s->bytes, size);
    }
    check_send(s, port, datagram, error);
    datagram->due = is_due(port, to, datagram);
}

static uint32_t choose_size(swarm *s)
{
    switch (choose(&s->from, 8)) {
    case 0:
        return (uint32_t)choose_from(&s->from, MESSAGE_BODY_MIN, format.most);
    case 1:
        return (uint32_t)choose_from(&s->from, MESSAGE_BODY_MIN, 4000);
    default:
        return (uint32_t)choose_from(&s->from, MESSAGE_BODY_MIN, SMALL);
    }
}

static bool take_datagram(swarm *s)
{
    if (s->budget == 0 || s->made_datagrams == SWARM_DATAGRAMS) return false;
    s->budget--;
    return true;
}

static void reply(swarm *s, weir_udp_socket *socket, const swarm_port *port, swarm_port *to, const weir_udp_peer *peer)
{
    if (!take_datagram(s)) return;
    swarm_datagram *datagram = begin_datagram(s, port, to, choose_size(s));
    check_send(s, port, datagram, weir_udp_send(socket, peer, s->bytes, datagram->size));
}

void act_udp_send(swarm *s, swarm_end *end)
{
    (void)end;
    const swarm_port *port = choose_port(s);
    if (!port) return;
    bool to_nobody = chance(&s->from, 20);
    swarm_port *to = to_nobody ? NULL : &s->ports[choose(&s->from, s->made_ports)];
    uint32_t size = choose_size(s);
    uint64_t sends = choose(&s->from, 4) ? 1 : choose_from(&s->from, 2, 40); /* now and then a burst */
    while (sends-- > 0 && take_datagram(s)) send_one(s, port, to, size);
}

/* ---- judging ---- */

/* All that was sent to it finds room in its buffer, even if nobody reads it and all meet in one socket's. */
static bool has_room(const swarm_port *port)
{
    return port->expected <= port->room;
}

/* What could have kept a datagram from its way. */
static bool had_troubles(const swarm *s)
{
    return s->ever[WEIR_SIM_DATAGRAM_LOSS] || s->ever[WEIR_SIM_DATAGRAM_DUPLICATE] || s->ever[WEIR_SIM_ENOBUFS] ||
           s->ever[WEIR_SIM_ENOMEM] || s->ever_cut;
}

static void check_came(const swarm *s, unsigned first, const char *when)
{
    for (unsigned i = first; i < s->made_datagrams; i++) {
        const swarm_datagram *datagram = &s->datagrams[i];
        if (!datagram->due || !is_open(&s->ports[datagram->from])) continue;
        if (!is_open(&s->ports[datagram->to]) || !has_room(&s->ports[datagram->to])) continue;
        SWARM_CHECK(s, datagram->came == 1, "datagram %u of port %u has come to port %u %u times, %s", i,
                    datagram->from, datagram->to, datagram->came, when);
    }
}

void udp_judge_calm(swarm *s)
{
    if (!had_troubles(s)) check_came(s, 0, "and nothing has gone wrong");
    for (unsigned i = 0; i < s->made_ports; i++) {
        const swarm_port *port = &s->ports[i];
        bool is_over = port->asked_close || port->runtime->stopping;
        SWARM_CHECK(s, port->closes == (is_over ? port->sockets : 0), "port %u has had %u of %u on_closes",
                    port->number, port->closes, is_over ? port->sockets : 0);
    }
}

void udp_speak(swarm *s)
{
    s->calm_datagrams = s->made_datagrams;
    for (unsigned i = 0; i < s->made_ports; i++) s->ports[i].expected = 0;
    for (unsigned i = 0; i < s->made_ports; i++)
        for (unsigned k = 0; k < s->made_ports && is_open(&s->ports[i]); k++)
            if (is_open(&s->ports[k]) && s->made_datagrams < SWARM_DATAGRAMS)
                send_one(s, &s->ports[i], &s->ports[k], (uint32_t)choose_from(&s->from, MESSAGE_BODY_MIN, 200));
}

void udp_judge_orderly(swarm *s)
{
    check_came(s, s->calm_datagrams, "in calm weather");
}

void udp_forget(const swarm_runtime *runtime)
{
    swarm *s = runtime->s;
    for (unsigned i = 0; i < s->made_ports; i++) {
        swarm_port *port = &s->ports[i];
        if (port->runtime != runtime) continue;
        SWARM_CHECK(s, port->closes == port->sockets, "port %u has gone, and has had %u of %u on_closes", port->number,
                    port->closes, port->sockets);
        port->udp = NULL;
    }
}

uint64_t udp_most_memory(const swarm_runtime *runtime)
{
    const swarm *s = runtime->s;
    uint64_t most = 0;
    for (unsigned i = 0; i < s->made_ports; i++)
        if (s->ports[i].runtime == runtime)
            most += s->ports[i].sockets * (4 * (uint64_t)s->ports[i].max_queued + 400000) + 2000;
    return most;
}
