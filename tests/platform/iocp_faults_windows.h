/* What the tests of the IOCP backend share: a world whose queue calls a Windows that does as it is told. A test says
 * what the next calls do; all others are Windows' own. So the paths are walked that a system, Wine above all, never
 * takes by itself. */
#ifndef WR_IOCP_FAULTS_H
#define WR_IOCP_FAULTS_H

#include "platform/iocp/iocp.h" /* Winsock, before anything that includes windows.h */

#include "cq_world.h"

enum { ALWAYS = -1 };

/* What one function does: the next `at_once` calls that Windows would leave pending are done when they return; then
 * `after` calls are Windows' own; then `times` ones fail with `code`. */
typedef struct fault {
    int at_once;
    int after;
    int times; /* or ALWAYS */
    int code;
    unsigned calls; /* so far */
} fault;

typedef struct faults {
    fault accept_ex, connect_ex, create_socket, wsa_recv, wsa_send, wsa_send_to, recv, recv_from, getpeername;
    fault accept_context, connect_context; /* setsockopt */
    fault accept_result, stream_result;    /* wsa_result, of a listener and of any other socket */
    fault create_port, set_modes, get_packets, post_packet, cancel_io, create_timer;
    bool layered;          /* sockets are of a provider whose handles are no file handles */
    int sends_pend;        /* so many wsa_send_to say that they are pending, and have their packets all the same */
    ULONG send_at_most;    /* bytes a call; 0: all */
    ULONG packets_at_most; /* get_packets fails when it is asked for more; 0: as `get_packets` says */
    SOCKET context;        /* what SO_UPDATE_ACCEPT_CONTEXT was last given */
    DWORD timeout_ms;      /* of the last wait */
    bool alertable;
    DWORD threads; /* for which the port was made */
} faults_of_windows;

extern faults_of_windows faults;

/* IOCP_TEST: a test whose body runs in a fresh world on such a Windows, with no fault yet. */
#define IOCP_TEST(suite, name)                    \
    static void suite##_##name##_body(world *w);  \
    Test(suite, name)                             \
    {                                             \
        faults_in_a_world(suite##_##name##_body); \
    }                                             \
    static void suite##_##name##_body(world *w)

void faults_in_a_world(void (*body)(world *w));

/* faults_ops: the backend on such a Windows. */
extern struct wr_cq_ops faults_ops;

/* faults_no_skip: from here on an operation that is done at once queues a packet too. */
void faults_no_skip(void);

/* faults_await_abort: the process is to end by abort from here on, and that is the test's success. */
void faults_await_abort(void);

#endif
