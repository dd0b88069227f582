/* What platform/common/ needs of the system to read and write addresses and to ask a socket for its own. The one place
 * that includes Winsock, because its headers bear no other order. */
#ifndef WR_OS_NET_H
#define WR_OS_NET_H

#define INCL_WINSOCK_API_TYPEDEFS 1 /* LPFN_WSASEND and so on: windows/calls.h */
#include <winsock2.h>
#include <ws2tcpip.h>

#include <mswsock.h>
#include <windows.h>

#include <afunix.h>
#include <iphlpapi.h>
#include <netioapi.h>
#include <stdbool.h>
#include <stdint.h>

typedef SOCKET wr_os_socket;

/* wr_scope_name: never: the system's own tools print an interface's number after an address, and read nothing else. */
static inline bool wr_scope_name(uint32_t scope, char name[IF_NAMESIZE])
{
    (void)scope;
    (void)name;
    return false;
}

#endif
