#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <string.h>

#include "platform/common/socket.h"
#include "platform/error_map.h"
#include "platform/os.h"

static int family_of(enum wr_family family)
{
    return family == WR_FAMILY_IPV4 ? AF_INET : family == WR_FAMILY_IPV6 ? AF_INET6 : AF_UNSPEC;
}

static int failed(int code, int *system_error)
{
#ifdef EAI_SYSTEM
    if (code == EAI_SYSTEM) code = errno ? errno : EIO;
#endif
    *system_error = code;
    return wr_error_from_system(code);
}

/* Without AI_ADDRCONFIG: of what cannot be reached the system thinks last, a connect to it fails at once, and where
 * there is no network but the loopback that flag finds nothing at all. */
int wr_os_resolve(const char *name, enum wr_family family, wr_addr *out, unsigned capacity, int *system_error)
{
    struct addrinfo hints = { .ai_family = family_of(family), .ai_socktype = SOCK_STREAM }, *list = NULL;
    *system_error = 0;
    int code = getaddrinfo(name, NULL, &hints, &list);
    if (code != 0) return failed(code, system_error);
    unsigned count = 0;
    for (const struct addrinfo *item = list; item && count < capacity; item = item->ai_next) {
        struct sockaddr_storage address = { 0 };
        if (item->ai_addrlen > sizeof address) continue;
        memcpy(&address, item->ai_addr, item->ai_addrlen);
        wr_sockaddr_read(&out[count], &address);
        count += out[count].family != WR_FAMILY_NONE;
    }
    freeaddrinfo(list);
    return count > 0 ? (int)count : WEIR_EAI_NONAME;
}
