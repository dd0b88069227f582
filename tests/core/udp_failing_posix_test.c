/* What embedders of UDP see when system calls fail that the kernel cannot be made to fail. */
#include <errno.h>
#include <string.h>

#include "core/port.h"
#include "harness/calls.h"

static void send_three(weir_udp_socket *socket, const weir_udp_peer *from, const void *bytes, size_t size)
{
    (void)bytes;
    (void)size;
    cr_assert_eq(weir_udp_send(socket, from, "a", 1), 0);
    cr_assert_eq(weir_udp_send(socket, from, "bb", 2), 0);
    cr_assert_eq(weir_udp_send(socket, from, "ccc", 3), 0);
}

Test(udp_failing, a_receive_that_ends_for_good_closes_its_socket_with_the_reason)
{
    port p = { .w.manual = true };
    port_start(&p);
    world_settle(&p.w);
    raw_peer peer = raw_udp("127.0.0.1");
    call_fails(CALL_RECVMMSG, EFAULT, 0, 1);
    raw_udp_send(peer, "127.0.0.1", p.number, "x", 1);
    WORLD_AWAIT(&p.w, p.closed == 1);
    cr_assert_eq(p.error, WEIR_EFAULT);
    cr_assert_eq(p.system_error, EFAULT);
    raw_close(peer);
    port_stop(&p);
}

Test(udp_failing, a_receive_without_buffers_pauses_and_goes_on)
{
    port p = { .w.manual = true, .echoes = true };
    char heard[4];
    port_start(&p);
    world_settle(&p.w);
    raw_peer peer = raw_udp("127.0.0.1");
    call_fails(CALL_RECVMMSG, ENOBUFS, 0, 1);
    raw_udp_send(peer, "127.0.0.1", p.number, "x", 1);
    cr_assert_eq(raw_udp_receive(peer, heard, sizeof heard, NULL), 1);
    cr_assert_eq(call_failures(CALL_RECVMMSG), 1);
    cr_assert_eq(p.closed, 0);
    raw_close(peer);
    port_stop(&p);
}

Test(udp_failing, a_send_that_fails_drops_its_batch_and_the_next_one_goes)
{
    port p = { .w.manual = true, .on_datagram = send_three };
    char heard[4];
    port_start(&p);
    world_settle(&p.w);
    raw_peer peer = raw_udp("127.0.0.1");
    call_fails(CALL_SENDMMSG, EAGAIN, 0, 1);
    call_fails(CALL_EPOLL_CTL, ENOMEM, 0, 1);
    raw_udp_send(peer, "127.0.0.1", p.number, "x", 1);
    WORLD_AWAIT(&p.w, world_stats(&p.w).udp_dropped == 3);
    cr_assert_eq(world_stats(&p.w).udp_queued, 0);
    raw_udp_send(peer, "127.0.0.1", p.number, "x", 1);
    for (size_t size = 1; size <= 3; size++) cr_assert_eq(raw_udp_receive(peer, heard, sizeof heard, NULL), size);
    raw_close(peer);
    port_stop(&p);
}

/* What is sent while a batch waits joins the next one; what cannot leave before the deadline is dropped and counted. */
Test(udp_failing, a_close_waits_for_room_no_longer_than_its_deadline)
{
    port p = { .w = { .manual = true, .runtime_options.stop_timeout_ms = 100 }, .on_datagram = send_three };
    port_start(&p);
    world_settle(&p.w);
    raw_peer peer = raw_udp("127.0.0.1");
    call_fails(CALL_SENDMMSG, EAGAIN, 0, CALL_FOR_EVER);
    raw_udp_send(peer, "127.0.0.1", p.number, "x", 1);
    raw_udp_send(peer, "127.0.0.1", p.number, "x", 1);
    WORLD_AWAIT(&p.w, p.datagrams == 2);
    raw_udp_send(peer, "127.0.0.1", p.number, "x", 1);
    WORLD_AWAIT(&p.w, p.datagrams == 3);
    cr_assert_eq(world_stats(&p.w).udp_queued, 3 * (1 + 2 + 3 + 3 * 64));
    uint64_t before_ns = wr_os_now_ns();
    weir_udp_close(p.udp);
    WORLD_AWAIT(&p.w, p.closed == 1);
    cr_assert_geq(wr_os_now_ns() - before_ns, 99000000);
    cr_assert_eq(p.error, WEIR_ECLOSED);
    cr_assert_eq(world_stats(&p.w).udp_dropped, 9);
    cr_assert_eq(world_stats(&p.w).udp_queued, 0);
    call_fails(CALL_SENDMMSG, 0, 0, 0);
    raw_close(peer);
    port_stop(&p);
}

static unsigned warnings;

static void log_line(weir_log_level level, const char *text, void *data)
{
    (void)data;
    warnings += level == WEIR_LOG_WARNING && strstr(text, "UDP receive failed") != NULL;
}

Test(udp_failing, a_receive_that_cannot_be_registered_is_tried_again)
{
    port p = { .w = { .manual = true, .runtime_options.log = log_line }, .echoes = true };
    char heard[4];
    call_fails(CALL_EPOLL_CTL, ENOMEM, 1, 1); /* the queue's own comes first */
    port_start(&p);
    raw_peer peer = raw_udp("127.0.0.1");
    raw_udp_send(peer, "127.0.0.1", p.number, "x", 1);
    cr_assert_eq(raw_udp_receive(peer, heard, sizeof heard, NULL), 1);
    cr_assert_eq(call_failures(CALL_EPOLL_CTL), 1);
    cr_assert_eq(warnings, 1);
    raw_close(peer);
    port_stop(&p);
}
