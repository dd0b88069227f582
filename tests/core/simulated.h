/* What the tests of <weir/sim.h> share: an echo server at 10.0.0.1:80 and clients, in a simulator. */
#ifndef WR_SIMULATED_H
#define WR_SIMULATED_H

#include <weir/sim.h>
#include <weir/weir.h>

#include "harness/weir_test.h"

enum { SERVER_WORKERS = 2 };

#define MS UINT64_C(1000000)
#define S  UINT64_C(1000000000)

/* What one side's callbacks have seen. */
typedef struct simulated_side {
    unsigned opened, messages, closed;
    uint64_t bytes;
    int error;                      /* of the last on_close */
    int system_error;               /* likewise */
    weir_conn_id id;                /* of the last one that opened */
    uint64_t opened_ns, message_ns, /* virtual, of the last one */
        closed_ns;
    unsigned accept_errors;
} simulated_side;

typedef struct simulated {
    /* What a test may set before simulated_open. */
    weir_sim_options network;
    weir_protocol server_protocol, client_protocol; /* callbacks and data are simulated_open's; but on_message of the
                                                       server, which echoes, if a test sets none */
    weir_listen_options listen_options;

    weir_sim *sim;
    weir_runtime *server, *clients;
    simulated_side at_server, at_client;
} simulated;

/* simulated_open: all of it must succeed. */
void simulated_open(simulated *s);

/* simulated_connect: one more client. */
weir_conn_id simulated_connect(simulated *s);

/* simulated_say: a client sends; from the next run on. */
void simulated_say(simulated *s, weir_conn_id client, const char *text);

/* simulated_close: destroys everything. */
void simulated_close(simulated *s);

/* simulated_sides: whose callbacks are running: of weir_conn_data. */
simulated *simulated_of(weir_conn *conn);

#endif
