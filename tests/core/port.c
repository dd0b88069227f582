#include "core/port.h"

#include <stdio.h>
#include <string.h>

#include "core/host.h"

port *port_of(const weir_udp_socket *socket)
{
    return weir_udp_socket_data(socket);
}

weir_udp_peer port_peer(raw_peer peer)
{
    char text[32];
    weir_address address;
    (void)snprintf(text, sizeof text, "127.0.0.1:%u", raw_port(peer));
    cr_assert_eq(weir_address_parse(&address, text, NULL), 0);
    return weir_udp_peer_of(&address);
}

static void on_datagram(weir_udp_socket *socket, const weir_udp_peer *from, const void *bytes, size_t size)
{
    port *p = port_of(socket);
    cr_assert_eq(weir_udp_socket_port(socket), p->udp);
    cr_assert_eq(weir_udp_socket_runtime(socket), p->w.runtime);
    cr_assert_lt(weir_udp_socket_worker(socket), weir_runtime_workers(p->w.runtime));
    if (p->w.runtime_options.workers <= 1) p->from = *from;
    if (p->keeps) {
        cr_assert_leq(p->bytes + size, PORT_KEPT_MAX);
        memcpy(p->kept + p->bytes, bytes, size);
    }
    if (p->on_datagram) p->on_datagram(socket, from, bytes, size);
    if (p->echoes) (void)weir_udp_send(socket, from, bytes, size);
    p->bytes += size;
    atomic_fetch_add(&p->datagrams, 1);
}

static void on_stop(weir_udp_socket *socket)
{
    port *p = port_of(socket);
    atomic_fetch_add(&p->stopped, 1);
    if (p->on_stop) p->on_stop(socket);
}

static void on_close(weir_udp_socket *socket, weir_reason reason)
{
    port *p = port_of(socket);
    p->error = reason.error;
    p->system_error = reason.system_error;
    if (p->on_close) p->on_close(socket);
    atomic_fetch_add(&p->closed, 1);
}

int port_open(port *p)
{
    weir_udp_protocol protocol = { .data = p };
    if (!p->silent) {
        protocol.on_datagram = on_datagram;
        protocol.on_stop = on_stop;
        protocol.on_close = on_close;
    }
    int error = weir_udp_open(p->w.runtime, p->address ? p->address : "127.0.0.1:0", &protocol, &p->options, &p->udp);
    if (error) return error;
    p->number = weir_udp_address(p->udp).port;
    unsigned each = host_shares_ports() ? weir_runtime_workers(p->w.runtime) : 1;
    p->sockets += p->options.sockets ? p->options.sockets : each;
    return 0;
}

void port_start(port *p)
{
    p->w.no_listener = true;
    world_start(&p->w);
    cr_assert_eq(port_open(p), 0);
}

void port_stop(port *p)
{
    world_stop(&p->w);
    if (!p->silent) cr_assert_eq(p->closed, p->sockets, "%u sockets have closed", p->closed);
}
