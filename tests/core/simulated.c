#include "core/simulated.h"

#include <string.h>

simulated *simulated_of(weir_conn *conn)
{
    return weir_conn_data(conn);
}

static simulated_side *side_of(weir_conn *conn)
{
    simulated *s = simulated_of(conn);
    return weir_conn_runtime(conn) == s->server ? &s->at_server : &s->at_client;
}

static void on_open(weir_conn *conn)
{
    simulated_side *side = side_of(conn);
    side->opened++;
    side->id = weir_conn_get_id(conn);
    side->opened_ns = weir_sim_now_ns(simulated_of(conn)->sim);
}

static void note_message(weir_conn *conn, size_t size)
{
    simulated_side *side = side_of(conn);
    side->messages++;
    side->bytes += size;
    side->message_ns = weir_sim_now_ns(simulated_of(conn)->sim);
}

static void echo(weir_conn *conn, const void *bytes, size_t size)
{
    note_message(conn, size);
    weir_send(conn, bytes, size);
}

static void on_message(weir_conn *conn, const void *bytes, size_t size)
{
    (void)bytes;
    note_message(conn, size);
}

static void on_close(weir_conn *conn, weir_reason reason)
{
    simulated_side *side = side_of(conn);
    side->closed++;
    side->error = reason.error;
    side->system_error = reason.system_error;
    side->closed_ns = weir_sim_now_ns(simulated_of(conn)->sim);
}

void simulated_open(simulated *s)
{
    cr_assert_eq(weir_sim_create(&s->sim, &s->network), 0);
    cr_assert_eq(weir_runtime_create(&s->server, &(weir_runtime_options){ .workers = SERVER_WORKERS, .sim = s->sim }),
                 0);
    cr_assert_eq(weir_runtime_create(&s->clients, &(weir_runtime_options){ .sim = s->sim }), 0);
    s->server_protocol.on_open = s->client_protocol.on_open = on_open;
    s->server_protocol.on_close = s->client_protocol.on_close = on_close;
    s->server_protocol.data = s->client_protocol.data = s;
    if (!s->server_protocol.on_message) s->server_protocol.on_message = echo;
    s->client_protocol.on_message = on_message;
    cr_assert_eq(weir_listen(s->server, "10.0.0.1:80", &s->server_protocol, &s->listen_options, NULL), 0);
}

weir_conn_id simulated_connect(simulated *s)
{
    weir_conn_id id;
    cr_assert_eq(weir_connect(s->clients, "10.0.0.1:80", &s->client_protocol, NULL, &id), 0);
    return id;
}

void simulated_say(simulated *s, weir_conn_id client, const char *text)
{
    cr_assert_eq(weir_send_to(s->clients, client, text, strlen(text)), 0);
}

void simulated_close(simulated *s)
{
    weir_runtime_destroy(s->clients);
    weir_runtime_destroy(s->server);
    weir_sim_destroy(s->sim);
}
