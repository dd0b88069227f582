#include "core/address.h"

#include <stdio.h>
#include <string.h>

#include "platform/os.h"

enum { LABEL_MAX = 63 };

/* What may still be a name: wr_address_parse_remote knows this sentence by its address. */
static const char is_a_name[] = "the host is not a numeric address; names, such as localhost, are only connected to";

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

static const char *parse_unix(wr_addr *addr, const char *path)
{
    size_t length = strlen(path);
    if (length == 0) return "no path after unix:";
    if (length > WR_UNIX_PATH_MAX) return "the path after unix: is longer than 107 bytes";
    addr->family = WR_FAMILY_UNIX;
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
    return is_a_name;
}

int wr_address_parse(wr_endpoint *out, const char *text, const char **why)
{
    wr_addr addr = { 0 };
    const char *path = "", *wrong;
    if (!*text)
        wrong = "the address is empty";
    else if (*text == 'u' && strncmp(text, "unix:", 5) == 0)
        wrong = parse_unix(&addr, path = text + 5);
    else if (*text == '[')
        wrong = parse_brackets(&addr, text + 1);
    else
        wrong = parse_plain(&addr, text);

    if (wrong) {
        *why = wrong;
        return WEIR_EADDRESS;
    }
    out->addr = addr;
    memcpy(out->path, path, strlen(path) + 1);
    return 0;
}

/* parse_name: the host of `text` as a name, in lengths that DNS bears (RFC 1035), and the port. Underscores are taken
 * too: container networks give such names. */
static const char *parse_name(char *name, uint16_t *port, const char *text)
{
    wr_addr addr = { 0 };
    const char *wrong = "the host is neither a numeric address nor a name";
    size_t length = strcspn(text, ":"), label = 0;
    if (length > WR_NAME_MAX) return "the host's name is longer than 253 bytes";
    for (size_t i = 0; i < length; i++) {
        bool is_letter = (text[i] >= 'a' && text[i] <= 'z') || (text[i] >= 'A' && text[i] <= 'Z');
        bool is_other = (text[i] >= '0' && text[i] <= '9') || text[i] == '_' || (text[i] == '-' && label > 0);
        if (text[i] == '.' ? label == 0 : !is_letter && !is_other) return wrong;
        label = text[i] == '.' ? 0 : label + 1;
        if (label > LABEL_MAX) return "a part of the host's name is longer than 63 bytes";
    }
    const char *bad_port = parse_port(&addr, text + length + 1);
    if (bad_port) return bad_port;
    memcpy(name, text, length);
    name[length] = 0;
    *port = addr.port;
    return NULL;
}

int wr_address_parse_remote(wr_endpoint *out, char name[WR_NAME_MAX + 1], const char *text, const char **why)
{
    name[0] = 0;
    int error = wr_address_parse(out, text, why);
    if (error == 0 || *why != is_a_name) return error;
    out->addr = (wr_addr){ .family = WR_FAMILY_NONE };
    out->path[0] = 0;
    *why = parse_name(name, &out->addr.port, text);
    return *why ? WEIR_EADDRESS : 0;
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
