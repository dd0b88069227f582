#define _POSIX_C_SOURCE 200809L

#include <stdio.h>
#include <string.h>

#include "os_net.h"
#include "platform/os.h"

/* decimal: all of `text` as a number; 0 if it is none, or too large. */
static uint32_t decimal(const char *text)
{
    uint64_t number = 0;
    for (; *text; text++) {
        if (*text < '0' || *text > '9') return 0;
        number = number * 10 + (uint64_t)(*text - '0');
        if (number > UINT32_MAX) return 0;
    }
    return (uint32_t)number;
}

/* scope_parse: an interface by name or number; 0, which is no interface, if `text` is neither. Names go first: an
 * interface may be called "7", and is formatted by its name. */
static uint32_t scope_parse(const char *text)
{
    uint32_t index = if_nametoindex(text);
    return index ? index : decimal(text);
}

static bool ipv6_parse(char *text, wr_addr *addr)
{
    char *percent = strchr(text, '%');
    if (percent) *percent = 0;

    struct in6_addr ip;
    if (inet_pton(AF_INET6, text, &ip) != 1) return false;
    if (IN6_IS_ADDR_V4MAPPED(&ip)) {
        if (percent) return false; /* IPv4 has no scopes */
        addr->family = WR_FAMILY_IPV4;
        memcpy(addr->ip, ip.s6_addr + 12, 4);
        return true;
    }
    addr->family = WR_FAMILY_IPV6;
    memcpy(addr->ip, ip.s6_addr, 16);
    if (percent) addr->scope = scope_parse(percent + 1);
    return !percent || addr->scope != 0;
}

bool wr_os_ip_parse(const char *text, size_t length, wr_addr *addr)
{
    char copy[WR_IP_TEXT_MAX];
    if (length >= sizeof copy || memchr(text, 0, length)) return false;
    memcpy(copy, text, length);
    copy[length] = 0;

    wr_addr parsed = { .port = addr->port };
    if (inet_pton(AF_INET, copy, parsed.ip) == 1)
        parsed.family = WR_FAMILY_IPV4;
    else if (!ipv6_parse(copy, &parsed))
        return false;
    *addr = parsed;
    return true;
}

void wr_os_ip_format(const wr_addr *addr, char *text)
{
    text[0] = 0;
    if (addr->family == WR_FAMILY_IPV4) {
        (void)inet_ntop(AF_INET, addr->ip, text, WR_IP_TEXT_MAX);
    } else if (addr->family == WR_FAMILY_IPV6) {
        (void)inet_ntop(AF_INET6, addr->ip, text, WR_IP_TEXT_MAX);
        if (addr->scope == 0) return;
        size_t length = strlen(text);
        char name[IF_NAMESIZE];
        if (wr_scope_name(addr->scope, name))
            (void)snprintf(text + length, WR_IP_TEXT_MAX - length, "%%%s", name);
        else
            (void)snprintf(text + length, WR_IP_TEXT_MAX - length, "%%%u", (unsigned)addr->scope);
    }
}
