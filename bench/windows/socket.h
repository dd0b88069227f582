/* Sockets and completion ports as the hand-written sides of Windows use them: the load generator, the sink and the
 * floor. All sockets are overlapped, of IPv4, and not inherited. */
#ifndef BENCH_WINDOWS_SOCKET_H
#define BENCH_WINDOWS_SOCKET_H

#include <winsock2.h>
#include <ws2tcpip.h>

#include <mswsock.h>
#include <windows.h>

#include <stdbool.h>

#include "address.h"

/* What Winsock has only by asking for it. */
struct winsock {
    LPFN_ACCEPTEX accept_ex;
    LPFN_CONNECTEX connect_ex;
};

/* winsock_get: the first call starts Winsock, and must not run twice at a time. */
const struct winsock *winsock_get(void);

struct sockaddr_in socket_address(const struct address *address);
SOCKET socket_create(void);

/* socket_listen: a listening socket on 127.0.0.1. */
SOCKET socket_listen(void);
uint16_t socket_port(SOCKET listener);

/* socket_connect: begins to connect to `to` from the next source address, and to send what is to be sent then. A packet
 * comes in any case.
 * socket_connected: it has come, without an error: makes the socket an ordinary one. */
void socket_connect(SOCKET socket, const struct sockaddr_in *to, const void *data, DWORD size, OVERLAPPED *overlapped);
void socket_connected(SOCKET socket);

void socket_set_no_delay(SOCKET socket);
void socket_set_non_blocking(SOCKET socket);

/* socket_reset: closes with a reset. Neither end is left in TIME_WAIT, and the port is free at once.
 * socket_reset_at_end: the same whenever the socket is closed. */
void socket_reset(SOCKET socket);
void socket_reset_at_end(SOCKET socket);

/* socket_result: the code with which an operation ended whose packet has come: 0 for success. */
int socket_result(SOCKET socket, OVERLAPPED *overlapped);

/* socket_pends: an overlapped call returned `result`; true if a packet will tell the outcome, which without skipping is
 * also so when it succeeded at once. */
bool socket_pends(int result);

/* port_open: a completion port for one thread. port_join: packets of the socket come there, with that key.
 * port_join_skipping: and what succeeds at once queues none. False where a layered provider does not keep to that. */
HANDLE port_open(void);
void port_join(HANDLE port, SOCKET socket, ULONG_PTR key);
bool port_join_skipping(HANDLE port, SOCKET socket, ULONG_PTR key);

/* port_wait: how many packets came; 0 if there were none within `timeout_ms` (INFINITE: no limit). */
unsigned port_wait(HANDLE port, OVERLAPPED_ENTRY *packets, unsigned capacity, DWORD timeout_ms);

#endif
