/* Listening and connecting. */
#include <string.h>

#include "sim/swarm.h"

swarm_runtime *swarm_choose_runtime(swarm *s, bool also_stopping)
{
    unsigned first = (unsigned)choose(&s->from, s->made_runtimes);
    for (unsigned i = 0; i < s->made_runtimes; i++) {
        swarm_runtime *runtime = &s->runtimes[(first + i) % s->made_runtimes];
        if (runtime->runtime && !runtime->dying && (also_stopping || !runtime->stopping)) return runtime;
    }
    return NULL;
}

static void choose_address(swarm *s, const swarm_runtime *runtime, unsigned number, char *text, size_t room)
{
    switch (choose(&s->from, 8)) {
    case 3:
        (void)snprintf(text, room, "127.0.0.1:%u", 7000 + number);
        break;
    case 4:
        (void)snprintf(text, room, "[::]:%u", 7000 + number);
        break;
    case 0:
        (void)snprintf(text, room, "[fd00::%u:%u]:%u", runtime->number, number, 7000 + number);
        break;
    case 1:
        (void)snprintf(text, room, "unix:/swarm-%u", number);
        break;
    case 2:
        (void)snprintf(text, room, "10.0.%u.1:0", runtime->number);
        break;
    default:
        (void)snprintf(text, room, "10.0.%u.1:%u", runtime->number, 7000 + number);
    }
}

static weir_listen_options choose_listen_options(swarm *s, bool is_unix)
{
    choice *from = &s->from;
    weir_listen_options options = { .on_accept_error = callback_accept_error };
    if (choose(from, 4) == 0) options.max_connections = (uint32_t)choose_from(from, 1, 5);
    if (choose(from, 4) == 0) options.max_per_address = (uint32_t)choose_from(from, 1, 5);
    if (choose(from, 6) == 0) options.accept_rate = (uint32_t)choose_from(from, 2, 200);
    if (choose(from, 6) == 0) options.backlog = (uint32_t)choose_from(from, 1, 5);
    options.placement = (weir_placement)choose(from, 3);
    if (is_unix && options.placement == WEIR_PLACEMENT_SPREAD) options.placement = WEIR_PLACEMENT_DEFAULT;
    return options;
}

/* One that was closed has the address until its worker comes to it; and some take all addresses. */
static bool had_listener(const swarm *s, const char *text)
{
    weir_address address, other;
    int error = weir_address_parse(&address, text, NULL);
    SWARM_CHECK(s, error == 0, "the address %s is not understood", text);
    for (unsigned i = 0; i < s->made_listeners; i++) {
        (void)weir_address_parse(&other, s->listeners[i].address, NULL);
        bool is_path = address.family == WEIR_FAMILY_UNIX || other.family == WEIR_FAMILY_UNIX;
        if (is_path ? strcmp(address.text, other.text) == 0 : address.port == other.port) return true;
    }
    return false;
}

void swarm_listen(swarm *s)
{
    swarm_runtime *runtime = swarm_choose_runtime(s, true);
    if (!runtime || s->made_listeners == SWARM_LISTENERS) return;
    swarm_listener *listener = &s->listeners[s->made_listeners];
    *listener = (swarm_listener){ .s = s, .runtime = runtime, .number = s->made_listeners, .tokens = 1e9 };
    /* Whoever listens at an address later speaks the same. */
    unsigned place = (unsigned)choose_from(&s->from, 0, SWARM_LISTENERS);
    listener->format = &s->formats[place % SWARM_FORMATS];
    choose_address(s, runtime, place, listener->address, sizeof listener->address);
    listener->options = choose_listen_options(s, strncmp(listener->address, "unix", 4) == 0);
    listener->protocol = callback_protocol(s, listener->format, listener, false);
    int error =
        weir_listen(runtime->runtime, listener->address, &listener->protocol, &listener->options, &listener->listener);
    swarm_say(s, "listener %u: weir_listen on %s: %s", listener->number, listener->address, weir_error_name(error));
    bool may_be_taken = had_listener(s, listener->address);
    SWARM_CHECK(s,
                error == 0 || (error == WEIR_EADDRINUSE && may_be_taken) ||
                    (error == WEIR_EMFILE && (s->ever[WEIR_SIM_EMFILE] || s->ever_full)) ||
                    (error == WEIR_ENOMEM && s->ever[WEIR_SIM_ENOMEM]) || (error == WEIR_ESTOPPED && runtime->stopping),
                "weir_listen on %s returns %s", listener->address, weir_error_name(error));
    SWARM_CHECK(s, error || !runtime->stopping, "weir_listen succeeds in a runtime that is stopping");
    if (error) return;
    (void)snprintf(listener->address, sizeof listener->address, "%s", weir_listener_address(listener->listener).text);
    s->made_listeners++;
}

static void add_locals(swarm_end *end, const weir_address *target, weir_connect_options *options, weir_address *locals)
{
    choice *from = &end->s->from;
    if (target->family == WEIR_FAMILY_UNIX) return;
    options->local_addresses = locals;
    options->local_address_count = (uint32_t)choose(from, 3);
    end->is_from_nowhere = options->local_address_count > 0;
    for (uint32_t i = 0; i < options->local_address_count; i++) {
        char text[64];
        bool is_foreign = target->family == WEIR_FAMILY_IPV4 && !end->strict && chance(from, 16);
        unsigned host = (unsigned)choose_from(from, 1, 20);
        if (is_foreign)
            (void)snprintf(text, sizeof text, "192.0.2.%u:0", host);
        else if (target->family == WEIR_FAMILY_IPV4)
            (void)snprintf(text, sizeof text, "10.1.%u.%u:0", end->runtime->number, host);
        else
            (void)snprintf(text, sizeof text, "[fd01::%u:%u]:0", end->runtime->number, host);
        int error = weir_address_parse(&locals[i], text, NULL);
        SWARM_CHECK(end->s, error == 0, "the address %s is not understood", text);
        end->is_from_nowhere = end->is_from_nowhere && is_foreign;
    }
}

/* Those that are on their way to their worker have no on_open yet. */
static bool may_be_full(const swarm_runtime *runtime)
{
    uint32_t most = runtime->options.max_connections;
    return most && (runtime->alive >= most || !runtime->s->quiet);
}

/* The connection is the only one of its dialer's, which goes at once, or with the runtime. */
static int dial(swarm_end *end, const char *address, const weir_connect_options *options, weir_conn_id *id)
{
    weir_dialer *dialer;
    int error = weir_dialer_create(end->runtime->runtime, address, &end->protocol, options, &dialer);
    if (error) return error;
    error = weir_dialer_connect(dialer, id);
    if (choose(&end->s->from, 4)) weir_dialer_destroy(dialer);
    return error;
}

static void begin_connect(swarm *s, swarm_end *end, const char *address)
{
    swarm_runtime *runtime = end->runtime;
    weir_address locals[2], target = { .family = WEIR_FAMILY_NONE };
    weir_connect_options options = { .timeout_ms = end->connect_timeout_ms };
    (void)weir_address_parse(&target, address, NULL);
    add_locals(end, &target, &options, locals);
    options.worker = (uint32_t)choose(&s->from, runtime->worker_count + 1);
    weir_conn_id id;
    bool dials = choose(&s->from, 2);
    int error = dials ? dial(end, address, &options, &id)
                      : weir_connect(runtime->runtime, address, &end->protocol, &options, &id);
    swarm_say(s, "end %u: %s from runtime %u to %s: %s", end->number, dials ? "weir_dialer_connect" : "weir_connect",
              runtime->number, address, weir_error_name(error));
    SWARM_CHECK(s,
                error == 0 || (error == WEIR_ENOMEM && s->ever[WEIR_SIM_ENOMEM]) ||
                    (error == WEIR_ELIMIT && may_be_full(runtime)) || (error == WEIR_ESTOPPED && runtime->stopping),
                "weir_connect returns %s", weir_error_name(error));
    SWARM_CHECK(s, error || !runtime->stopping, "weir_connect succeeds in a runtime that is stopping");
    if (error) { /* there is no such connection */
        end->state = END_GONE;
        end->strict = false;
        return;
    }
    end->id = id;
    runtime->connects++;
    runtime->alive++;
}

void swarm_connect(swarm *s, swarm_listener *target, bool strict)
{
    swarm_runtime *runtime = swarm_choose_runtime(s, !strict);
    if (!runtime) return;
    swarm_end *end = end_make(s);
    if (!end) return;
    end->runtime = runtime;
    end->target = target;
    end->format = target ? target->format : &s->formats[0];
    end->connect_timeout_ms = strict ? 60000 : (uint32_t)choose_from(&s->from, 50, 20000);
    end->protocol = callback_protocol(s, end->format, end, true);
    end->strict = strict && runtime->options.max_connections == 0;
    if (strict) {
        end->protocol.handshake_timeout_ms = end->protocol.idle_timeout_ms = 0;
        end->protocol.close_timeout_ms = 20000;
    }
    begin_connect(s, end, target ? target->address : "192.0.2.1:7");
}
