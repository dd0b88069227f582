/* What platform/common/ needs of the system to read and write addresses and to ask a socket for its own. Feature test
 * macros are the including file's. */
#ifndef WR_OS_NET_H
#define WR_OS_NET_H

#include <arpa/inet.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

/* Two codes that glibc shows to _GNU_SOURCE alone, and that its getaddrinfo returns to all. */
#ifndef EAI_NODATA
#define EAI_NODATA (-5)
#endif
#ifndef EAI_ADDRFAMILY
#define EAI_ADDRFAMILY (-9)
#endif

typedef int wr_os_socket;

/* wr_scope_name: an interface as people here write it after an address; false: by its number. */
static inline bool wr_scope_name(uint32_t scope, char name[IF_NAMESIZE])
{
    return if_indextoname(scope, name) != NULL; /* NULL: it is gone meanwhile */
}

#endif
