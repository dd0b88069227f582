/* What raw_windows.c and host_windows.c share. */
#ifndef WR_TEST_RAW_WINDOWS_H
#define WR_TEST_RAW_WINDOWS_H

#include <winsock2.h>
#include <ws2tcpip.h>

#include <windows.h>

#include "core/raw_os.h"

/* raw_windows_peer: of a new socket. */
raw_peer raw_windows_peer(SOCKET os);

/* raw_windows_socket: a stream socket that does not block. */
SOCKET raw_windows_socket(int family);

/* raw_windows_address: of a numeric host; returns its length. */
socklen_t raw_windows_address(struct sockaddr_storage *out, const char *host, uint16_t port);

/* raw_windows_connect: 0, or why there is no connection. */
int raw_windows_connect(SOCKET os, const struct sockaddr_storage *address, socklen_t length, uint32_t patience_ms);

#endif
