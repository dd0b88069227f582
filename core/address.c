#include "core/address.h"

#include <stdio.h>
#include <string.h>

#include "platform/os.h"

/* Every parser below returns NULL, or a static sentence that says what is wrong. */

static const char *parse_port(wr_addr *addr, const char *text)
{
    if (!*text) return "no port after ':'";
    if (*text < '0' || *text > '9') return "the port is not a number";
    if (text[0] == '0' && text[1] >= '0' && text[1] <= '9') return "the port begins with a superfluous 0";
    uint32_t port = 0;
    for (; *text >= '0' && *text <= '9'; text++) {
        port = port * 10 + (uint32_t)(*text - '0');
        if (port > UINT16_MAX) return "the port is above 65535";
    }
    if (*text) return "something follows the port";
    addr->port = (uint16_t)port;
    return NULL;
}

static const char *parse_unix(wr_endpoint *out, const char *path)
{
    size_t length = strlen(path);
    if (length == 0) return "no path after unix:";
    if (length > WR_UNIX_PATH_MAX) return "the path after unix: is longer than 107 bytes";
    out->addr.family = WR_FAMILY_UNIX;
    memcpy(out->path, path, length);
    return NULL;
}

/* parse_brackets: [IPv6]:port; `text` is what follows the '['. */
static const char *parse_brackets(wr_addr *addr, const char *text)
{
    const char *end = strchr(text, ']');
    if (!end) return "'[' without ']'";
    size_t length = (size_t)(end - text);
    if (length == 0) return "no address between '[' and ']'";

    bool numeric = wr_os_ip_parse(text, length, addr);
    if (!memchr(text, ':', length)) return "only an IPv6 address stands in brackets";
    if (!numeric) {
        const char *percent = memchr(text, '%', length);
        wr_addr unscoped = { 0 };
        if (percent && wr_os_ip_parse(text, (size_t)(percent - text), &unscoped) && unscoped.family == WR_FAMILY_IPV6)
            return "the scope after '%' is no network interface here";
        return "not an IPv6 address between '[' and ']'";
    }
    if (!end[1]) return "no port: expected [address]:port";
    if (end[1] != ':') return "something stands between ']' and the port";
    return parse_port(addr, end + 2);
}

static const char *parse_plain(wr_addr *addr, const char *text)
{
    const char *colon = strchr(text, ':');
    if (!colon) return "no port: expected address:port";
    size_t length = (size_t)(colon - text);
    if (wr_os_ip_parse(text, length, addr)) return parse_port(addr, colon + 1);
    if (strchr(colon + 1, ':')) return "more than one ':'; an IPv6 address stands in brackets, as in [::1]:7777";
    if (length == 0) return "no address before the port; 0.0.0.0 stands for all";
    if (strspn(text, "0123456789.") == length)
        return "not an IPv4 address: four numbers from 0 to 255, without leading 0";
    return "the host is not a numeric address; names, such as localhost, are not looked up";
}

int wr_address_parse(wr_endpoint *out, const char *text, const char **why)
{
    wr_endpoint parsed = { 0 };
    const char *wrong;
    if (!*text)
        wrong = "the address is empty";
    else if (strncmp(text, "unix:", 5) == 0)
        wrong = parse_unix(&parsed, text + 5);
    else if (*text == '[')
        wrong = parse_brackets(&parsed.addr, text + 1);
    else
        wrong = parse_plain(&parsed.addr, text);

    if (wrong) {
        *why = wrong;
        return WEIR_EADDRESS;
    }
    *out = parsed;
    return 0;
}

void wr_address_format(weir_address *out, const wr_addr *addr, const char *path)
{
    memset(out, 0, sizeof *out);
    switch (addr->family) {
    case WR_FAMILY_IPV4:
    case WR_FAMILY_IPV6: {
        bool ipv6 = addr->family == WR_FAMILY_IPV6;
        char ip[WR_IP_TEXT_MAX];
        wr_os_ip_format(addr, ip);
        out->family = ipv6 ? WEIR_FAMILY_IPV6 : WEIR_FAMILY_IPV4;
        memcpy(out->ip, addr->ip, sizeof out->ip);
        out->scope = addr->scope;
        out->port = addr->port;
        (void)snprintf(out->host, sizeof out->host, "%s", ip);
        (void)snprintf(out->text, sizeof out->text, ipv6 ? "[%s]:%u" : "%s:%u", ip, (unsigned)addr->port);
        break;
    }
    case WR_FAMILY_UNIX:
        out->family = WEIR_FAMILY_UNIX;
        (void)snprintf(out->host, sizeof out->host, "%s", path ? path : "");
        (void)snprintf(out->text, sizeof out->text, "unix:%s", out->host);
        break;
    default:
        break;
    }
}

int weir_address_parse(weir_address *out, const char *text, const char **why)
{
    if (!out || !text) return WEIR_EINVAL;
    wr_endpoint endpoint;
    const char *wrong;
    int error = wr_address_parse(&endpoint, text, &wrong);
    if (error) {
        if (why) *why = wrong;
        return error;
    }
    wr_address_format(out, &endpoint.addr, endpoint.path);
    return 0;
}
