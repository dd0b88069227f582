/* Breaks one rule of platform/cq.h in the simulator, which is to notice: break_rule NAME. Without a name it lists them,
 * each with what the simulator is to say. sim_rules_test.c runs it once a rule, since a broken rule ends the process.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "platform/os.h"
#include "platform/sim.h"

static wr_memory memory;
static wr_sim *sim;
static wr_cq *cq;
static wr_op op, other, accept, closing;
static wr_sock listener, a, b; /* `a` is connected to `b` */
static wr_sock udp;
static wr_detached detached; /* nobody's yet */
static char bytes[2000] = "hello";
static wr_slice slice = { .data = bytes, .size = 5 };
static wr_datagram datagram = { .data = bytes, .size = 5 };
static wr_send_batch batch = { .first = &datagram };

static void must(bool holds)
{
    if (holds) return;
    fprintf(stderr, "the test itself does not work\n");
    exit(2);
}

static wr_completion await(const wr_op *wanted)
{
    wr_completion out;
    do must(wr_cq_wait(cq, &out, 1, WR_DEADLINE_NEVER) == 1);
    while (out.op != wanted);
    return out;
}

static wr_detached connect_to(const wr_addr *address, wr_sock *client)
{
    const wr_connect_params params = { .remote = address };
    wr_cq_accept(cq, listener, &accept);
    wr_detached accepted = { 0 };
    wr_cq_connect(cq, &params, &op);
    for (bool connected = false; !connected || !accepted.os;) {
        wr_completion out;
        must(wr_cq_wait(cq, &out, 1, WR_DEADLINE_NEVER) == 1 && out.error == 0);
        if (out.op == &accept) {
            accepted = out.socket;
        } else {
            *client = out.connected;
            connected = true;
        }
    }
    wr_cq_cancel(cq, &accept);
    await(&accept);
    return accepted;
}

static void set_up(void)
{
    wr_listen_params params = { .local.addr = { .ip = { 10, 0, 0, 1 }, .family = WR_FAMILY_IPV4 }, .backlog = 8 };
    wr_listen_result result;
    wr_sock unused;
    memory = wr_malloc_memory();
    must(wr_sim_create(&sim, &(wr_sim_options){ .window = 1000 }) == 0);
    must(wr_cq_create(&wr_cq_sim, &cq, &(wr_cq_options){ .memory = &memory, .sim = sim }) == 0);
    must(wr_cq_listen(cq, &params, &result) == 0);
    must(wr_cq_adopt(cq, result.socket, &listener) == 0);
    must(wr_cq_adopt(cq, connect_to(&result.bound, &a), &b) == 0);
    detached = connect_to(&result.bound, &unused);
    must(wr_cq_udp_open(cq, &(wr_udp_params){ .local = params.local.addr }, &result) == 0);
    must(wr_cq_adopt(cq, result.socket, &udp) == 0);
    datagram.peer = result.bound;
}

static uint8_t *lease(void)
{
    wr_cq_send(cq, a, &other, &slice);
    wr_cq_recv(cq, b, &op);
    uint8_t *buffer = NULL;
    for (bool sent = false; !sent || !buffer;) {
        wr_completion out;
        must(wr_cq_wait(cq, &out, 1, WR_DEADLINE_NEVER) == 1);
        if (out.op == &op)
            buffer = out.buffer;
        else
            sent = true;
    }
    return buffer;
}

static void end_b(void)
{
    wr_cq_close(cq, b, &closing, false);
    await(&closing);
}

/* A send that the window does not take. */
static void send_much(wr_op *with)
{
    slice.size = sizeof bytes;
    wr_cq_send(cq, a, with, &slice);
}

/* ---- the rules ---- */

static void two_recvs(void)
{
    wr_cq_recv(cq, a, &op);
    wr_cq_recv(cq, a, &other);
}

static void stop_no_recv(void)
{
    wr_cq_recv_stop(cq, a);
}

static void stop_before_bytes(void)
{
    op.multishot = true;
    wr_cq_recv(cq, a, &op);
    wr_cq_recv_stop(cq, a);
}

/* It goes on or not, as the seed says: until it does. */
static void stop_too_late(void)
{
    op.multishot = true;
    while (!op.pending) wr_cq_buf_return(cq, lease());
    wr_completion out;
    (void)wr_cq_wait(cq, &out, 1, WR_DEADLINE_NOW);
    wr_cq_recv_stop(cq, b);
}

static void two_sends(void)
{
    send_much(&op);
    send_much(&other);
}

static void two_accepts(void)
{
    wr_cq_accept(cq, listener, &op);
    wr_cq_accept(cq, listener, &other);
}

static void resubmit(void)
{
    wr_cq_recv(cq, a, &op);
    wr_cq_recv(cq, b, &op);
}

static void post_twice(void)
{
    wr_cq_post(cq, &op);
    wr_cq_post(cq, &op);
}

static void operation_changed(void)
{
    wr_cq_recv(cq, a, &op);
    op.pending = false;
    wr_cq_close(cq, a, &closing, false);
}

static void recv_after_close(void)
{
    end_b();
    wr_cq_recv(cq, b, &op);
}

static void close_twice(void)
{
    wr_cq_close(cq, b, &closing, false);
    wr_cq_close(cq, b, &op, false);
}

static void prompt_close_of_a_recv(void)
{
    wr_cq_recv(cq, b, &op);
    closing.prompt = true;
    wr_cq_close(cq, b, &closing, false);
}

/* The send is over, and not yet delivered. */
static void prompt_close_of_a_result(void)
{
    wr_cq_send(cq, b, &op, &slice);
    closing.prompt = true;
    wr_cq_close(cq, b, &closing, false);
}

static void local_after_close(void)
{
    wr_addr local;
    end_b();
    wr_cq_local(cq, b, &local);
}

static void zeroed_handle(void)
{
    wr_cq_recv(cq, (wr_sock){ 0 }, &op);
}

static void accept_on_stream(void)
{
    wr_cq_accept(cq, a, &op);
}

static void recv_on_listener(void)
{
    wr_cq_recv(cq, listener, &op);
}

static void empty_slice(void)
{
    slice.size = 0;
    wr_cq_send(cq, a, &op, &slice);
}

static void no_slices(void)
{
    wr_cq_send(cq, a, &op, NULL);
}

static void bytes_changed(void)
{
    wr_cq_send(cq, a, &op, &slice);
    bytes[0] = 'j';
    await(&op);
}

static void shutdown_during_send(void)
{
    send_much(&op);
    wr_cq_shutdown(cq, a);
}

static void send_after_shutdown(void)
{
    wr_cq_shutdown(cq, a);
    wr_cq_send(cq, a, &op, &slice);
}

static void cancel_recv(void)
{
    wr_cq_recv(cq, a, &op);
    wr_cq_cancel(cq, &op);
}

static void buffer_twice(void)
{
    uint8_t *buffer = lease();
    wr_cq_buf_return(cq, buffer);
    wr_cq_buf_return(cq, buffer);
}

static void foreign_buffer(void)
{
    wr_cq_buf_return(cq, (uint8_t *)bytes);
}

static void buffer_kept(void)
{
    (void)lease();
    wr_cq_destroy(cq);
}

static void adopt_twice(void)
{
    wr_sock sock;
    must(wr_cq_adopt(cq, detached, &sock) == 0);
    (void)wr_cq_adopt(cq, detached, &sock);
}

static void adopt_discarded(void)
{
    wr_sock sock;
    wr_cq_discard(cq, detached);
    (void)wr_cq_adopt(cq, detached, &sock);
}

static void discard_adopted(void)
{
    wr_sock sock;
    must(wr_cq_adopt(cq, detached, &sock) == 0);
    wr_cq_discard(cq, detached);
}

static void adopt_invented(void)
{
    wr_sock sock;
    (void)wr_cq_adopt(cq, (wr_detached){ .os = INTPTR_MAX }, &sock);
}

static void detached_kept(void)
{
    wr_cq_destroy(cq);
    wr_sim_destroy(sim);
}

static void post_after_destroy(void)
{
    wr_cq_destroy(cq);
    wr_cq_post(cq, &op);
}

static void wait_after_destroy(void)
{
    wr_completion out;
    wr_cq_destroy(cq);
    (void)wr_cq_wait(cq, &out, 1, WR_DEADLINE_NOW);
}

static void destroy_twice(void)
{
    wr_cq_destroy(cq);
    wr_cq_destroy(cq);
}

static void world_before_queue(void)
{
    wr_sim_destroy(sim);
}

static void no_room(void)
{
    (void)wr_cq_wait(cq, NULL, 0, WR_DEADLINE_NOW);
}

static void post_from_thread(void *data)
{
    (void)data;
    wr_cq_post(cq, &op);
}

static void other_thread(void)
{
    wr_thread thread;
    must(wr_thread_start(&thread, "stranger", post_from_thread, NULL) == 0);
    wr_thread_join(&thread);
}

static uint64_t do_nothing(void *owner)
{
    (void)owner;
    return WR_DEADLINE_NEVER;
}

static void attach_twice(void)
{
    wr_sim_attach(cq, do_nothing, NULL);
    wr_sim_attach(cq, do_nothing, NULL);
}

static uint64_t step_inside(void *owner)
{
    (void)owner;
    (void)wr_sim_step(sim, WR_SIM_FOREVER);
    return WR_DEADLINE_NEVER;
}

static void step_from_step(void)
{
    wr_sim_attach(cq, step_inside, NULL);
    wr_cq_post(cq, &op);
    (void)wr_sim_step(sim, WR_SIM_FOREVER);
}

static void drive_threads(void)
{
    wr_cq *threaded;
    must(wr_cq_create(&wr_cq_sim, &threaded, &(wr_cq_options){ .memory = &memory }) == 0);
    wr_sim_attach(threaded, do_nothing, NULL);
}

static void two_recv_froms(void)
{
    wr_cq_recv_from(cq, udp, &op, 100);
    wr_cq_recv_from(cq, udp, &other, 100);
}

static void two_send_tos(void)
{
    wr_send_batch second = batch;
    wr_cq_send_to(cq, udp, &op, &batch);
    wr_cq_send_to(cq, udp, &other, &second);
}

static void recv_from_on_stream(void)
{
    wr_cq_recv_from(cq, a, &op, 100);
}

static void send_to_on_listener(void)
{
    wr_cq_send_to(cq, listener, &op, &batch);
}

static void send_on_datagram_socket(void)
{
    wr_cq_send(cq, udp, &op, &slice);
}

static void recv_from_of_nothing(void)
{
    wr_cq_recv_from(cq, udp, &op, 0);
}

static void no_datagrams(void)
{
    batch.first = NULL;
    wr_cq_send_to(cq, udp, &op, &batch);
}

static void datagram_without_bytes(void)
{
    datagram.data = NULL;
    wr_cq_send_to(cq, udp, &op, &batch);
}

static void datagram_changed(void)
{
    wr_cq_send_to(cq, udp, &op, &batch);
    bytes[2]++;
    await(&op);
}

static void peer_changed(void)
{
    wr_cq_send_to(cq, udp, &op, &batch);
    datagram.peer.port++;
    await(&op);
}

static const wr_datagram *lease_datagrams(void)
{
    wr_cq_send_to(cq, udp, &other, &batch);
    await(&other);
    wr_cq_recv_from(cq, udp, &op, 100);
    return await(&op).datagrams;
}

static void datagrams_twice(void)
{
    const wr_datagram *leased = lease_datagrams();
    wr_cq_datagrams_return(cq, leased);
    wr_cq_datagrams_return(cq, leased);
}

static void datagrams_kept(void)
{
    (void)lease_datagrams();
    wr_cq_destroy(cq);
}

static void recv_from_after_close(void)
{
    wr_cq_close(cq, udp, &closing, false);
    wr_cq_recv_from(cq, udp, &op, 100);
}

/* X(name, what the simulator is to say). */
#define RULES(X)                                                                                   \
    X(two_recvs, "a socket has one recv in flight")                                                \
    X(stop_no_recv, "a recv that has just gone on is stopped")                                     \
    X(stop_before_bytes, "a recv that has just gone on is stopped")                                \
    X(stop_too_late, "a recv that has just gone on is stopped")                                    \
    X(two_sends, "a socket has one send in flight")                                                \
    X(two_accepts, "a listener has one accept in flight")                                          \
    X(resubmit, "an operation is not submitted while it is in flight")                             \
    X(post_twice, "an operation is not submitted while it is in flight")                           \
    X(operation_changed, "an operation is the backend's until its final completion")               \
    X(recv_after_close, "a handle is not used after its close")                                    \
    X(close_twice, "a handle is not used after its close")                                         \
    X(prompt_close_of_a_recv, "a close is prompt where nothing else is in flight")                 \
    X(prompt_close_of_a_result, "a close is prompt where nothing else is in flight")               \
    X(local_after_close, "a handle is not used after its close")                                   \
    X(zeroed_handle, "a handle is one of this queue's")                                            \
    X(accept_on_stream, "an accept is for a listener")                                             \
    X(recv_on_listener, "bytes go over streams")                                                   \
    X(empty_slice, "a slice has bytes")                                                            \
    X(no_slices, "a send has bytes")                                                               \
    X(bytes_changed, "what is sent stays as it is until the completion")                           \
    X(shutdown_during_send, "no send is in flight at a shutdown")                                  \
    X(send_after_shutdown, "nothing is sent after the FIN")                                        \
    X(cancel_recv, "only accepts and connects are cancelled")                                      \
    X(buffer_twice, "a buffer that was leased is returned, once, and to its own queue")            \
    X(foreign_buffer, "a buffer that was leased is returned, once, and to its own queue")          \
    X(buffer_kept, "a queue is destroyed when its buffers are back")                               \
    X(adopt_twice, "a detached socket is adopted or discarded once")                               \
    X(adopt_discarded, "a detached socket is adopted or discarded once")                           \
    X(discard_adopted, "a detached socket is adopted or discarded once")                           \
    X(adopt_invented, "a detached socket is one of this world's")                                  \
    X(detached_kept, "each detached socket is adopted or discarded before its world is destroyed") \
    X(post_after_destroy, "a queue is not used after its destruction")                             \
    X(wait_after_destroy, "a queue is not used after its destruction")                             \
    X(destroy_twice, "a queue is destroyed once")                                                  \
    X(world_before_queue, "a world is destroyed after its queues")                                 \
    X(no_room, "a wait has room for a completion")                                                 \
    X(other_thread, "a world without `threads` is used by the thread that made it")                \
    X(attach_twice, "a queue is attached once")                                                    \
    X(step_from_step, "a world is not stepped from inside one of its own steps")                   \
    X(drive_threads, "a world with `threads` drives no queues")                                    \
    X(two_recv_froms, "a socket has one recv in flight")                                           \
    X(two_send_tos, "a socket has one send in flight")                                             \
    X(recv_from_on_stream, "datagrams go over their own sockets")                                  \
    X(send_to_on_listener, "datagrams go over their own sockets")                                  \
    X(send_on_datagram_socket, "bytes go over streams")                                            \
    X(recv_from_of_nothing, "a recv_from has room for a byte")                                     \
    X(no_datagrams, "a send_to has a datagram")                                                    \
    X(datagram_without_bytes, "a datagram's bytes are somewhere")                                  \
    X(datagram_changed, "what is sent stays as it is until the completion")                        \
    X(peer_changed, "what is sent stays as it is until the completion")                            \
    X(datagrams_twice, "a buffer that was leased is returned, once, and to its own queue")         \
    X(datagrams_kept, "a queue is destroyed when its buffers are back")                            \
    X(recv_from_after_close, "a handle is not used after its close")

int main(int argc, char **argv)
{
    static const struct {
        const char *name, *text;
        void (*break_it)(void);
    } rules[] = {
#define RULE(name, text) { #name, text, name },
        RULES(RULE)
#undef RULE
    };
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        if (argc < 2) printf("%s %s\n", rules[i].name, rules[i].text);
        if (argc < 2 || strcmp(rules[i].name, argv[1]) != 0) continue;
        set_up();
        rules[i].break_it();
        puts("nobody noticed");
        return 0;
    }
    return argc < 2 ? 0 : 2;
}
