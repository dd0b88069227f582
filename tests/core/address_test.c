/* Addresses between text and what the platform takes. */
#include <string.h>

#include "core/address.h"
#include "harness/weir_test.h"
#include "platform/os.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

#define PATH_107                                                                                            \
    "/a234567890123456789012345678901234567890123456789/b234567890123456789012345678901234567890123456789/" \
    "c23456"

Test(address, numeric_addresses_are_read)
{
    const struct {
        const char *text;
        uint8_t family;
        uint16_t port;
        uint32_t scope;
        uint8_t ip[16];
    } good[] = {
        { "0.0.0.0:7777", WR_FAMILY_IPV4, 7777, 0, { 0 } },
        { "127.0.0.1:0", WR_FAMILY_IPV4, 0, 0, { 127, 0, 0, 1 } },
        { "10.20.30.40:65535", WR_FAMILY_IPV4, 65535, 0, { 10, 20, 30, 40 } },
        { "[::]:1", WR_FAMILY_IPV6, 1, 0, { 0 } },
        { "[::1]:7777", WR_FAMILY_IPV6, 7777, 0, { [15] = 1 } },
        { "[fe80::1%4000000000]:7", WR_FAMILY_IPV6, 7, 4000000000, { 0xfe, 0x80, [15] = 1 } },
        { "[::ffff:1.2.3.4]:80", WR_FAMILY_IPV4, 80, 0, { 1, 2, 3, 4 } },
    };
    for (size_t i = 0; i < COUNT(good); i++) {
        wr_endpoint endpoint;
        const char *why = "";
        memset(&endpoint, 0xaa, sizeof endpoint);
        cr_assert_eq(wr_address_parse(&endpoint, good[i].text, &why), 0, "%s: %s", good[i].text, why);
        cr_assert_eq(endpoint.addr.family, good[i].family, "%s", good[i].text);
        cr_assert_eq(endpoint.addr.port, good[i].port, "%s", good[i].text);
        cr_assert_eq(endpoint.addr.scope, good[i].scope, "%s", good[i].text);
        cr_assert_arr_eq(endpoint.addr.ip, good[i].ip, sizeof good[i].ip, "%s", good[i].text);
        cr_assert_str_eq(endpoint.path, "");
    }
}

Test(address, a_unix_path_may_have_107_bytes)
{
    wr_endpoint endpoint;
    const char *why = "";
    memset(&endpoint, 0xaa, sizeof endpoint);
    cr_assert_eq(strlen(PATH_107), WR_UNIX_PATH_MAX);
    cr_assert_eq(wr_address_parse(&endpoint, "unix:" PATH_107, &why), 0, "%s", why);
    cr_assert_eq(endpoint.addr.family, WR_FAMILY_UNIX);
    cr_assert_eq(endpoint.addr.port, 0);
    cr_assert_str_eq(endpoint.path, PATH_107);
    cr_assert_eq(wr_address_parse(&endpoint, "unix:a b:[c", &why), 0, "a path may hold anything");
    cr_assert_str_eq(endpoint.path, "a b:[c");
}

/* Each mistake, and words that its sentence must have. */
static const struct {
    const char *text;
    const char *says;
} mistakes[] = {
    { "", "is empty" },
    { "127.0.0.1", "no port" },
    { "localhost", "no port" },
    { "[::1]", "no port" },
    { "127.0.0.1:", "no port" },
    { "[::1]:", "no port" },
    { "127.0.0.1:http", "not a number" },
    { "127.0.0.1:+80", "not a number" },
    { "127.0.0.1:-1", "not a number" },
    { "127.0.0.1: 80", "not a number" },
    { "[::1]:x", "not a number" },
    { "127.0.0.1:080", "superfluous 0" },
    { "127.0.0.1:00", "superfluous 0" },
    { "127.0.0.1:65536", "above 65535" },
    { "127.0.0.1:4294967376", "above 65535" },           /* 80 in 32 bits */
    { "127.0.0.1:18446744073709551696", "above 65535" }, /* 80 in 64 bits */
    { "[::1]:99999", "above 65535" },
    { "127.0.0.1:80x", "follows the port" },
    { "127.0.0.1:80 ", "follows the port" },
    { "127.0.0.1:80:90", "follows the port" },
    { "127.0.0.1:0x50", "follows the port" },
    { "[::1]:80/", "follows the port" },
    { "[::1", "without ']'" },
    { "[", "without ']'" },
    { "[::1:7777", "without ']'" },
    { "[]:80", "no address between" },
    { "[::1]80", "between ']' and the port" },
    { "[::1] :80", "between ']' and the port" },
    { "[::1]]:80", "between ']' and the port" },
    { "[::1::2]:80", "not an IPv6 address" },
    { "[12345::]:80", "not an IPv6 address" },
    { "[ ::1]:80", "not an IPv6 address" },
    { "[::ffff:1.2.3.4%1]:80", "not an IPv6 address" },
    { "[127.0.0.1]:80", "only an IPv6 address" },
    { "[localhost]:80", "only an IPv6 address" },
    { "[fe80::1%no-such-if]:80", "scope" },
    { "[fe80::1%]:80", "scope" },
    { "[fe80::1%0]:80", "scope" },
    { "[fe80::zz%1]:80", "not an IPv6 address" },
    { "::1:7777", "brackets" },
    { "::", "brackets" },
    { "fe80::1%eth0", "brackets" },
    { "2001:db8::1:80", "brackets" },
    { ":80", "no address before" },
    { "1.2.3:80", "not an IPv4 address" },
    { "1.2.3.4.5:80", "not an IPv4 address" },
    { "1.2.3.256:80", "not an IPv4 address" },
    { "010.0.0.1:80", "not an IPv4 address" },
    { "7777:80", "not an IPv4 address" },
    { "localhost:80", "localhost" },
    { "example.org:80", "not a numeric address" },
    { " 127.0.0.1:80", "not a numeric address" },
    { "127.0.0.1 :80", "not a numeric address" },
    { "+127.0.0.1:80", "not a numeric address" },
    { "0x7f.0.0.1:80", "not a numeric address" },
    { "127.0.0.1%1:80", "not a numeric address" },
    { "*:80", "not a numeric address" },
    { "UNIX:/x", "not a numeric address" },
    { "unix:", "no path" },
    { "unix:" PATH_107 "x", "longer than 107" },
};

Test(address, each_mistake_has_its_own_sentence)
{
    for (size_t i = 0; i < COUNT(mistakes); i++) {
        wr_endpoint endpoint, before;
        const char *why = NULL;
        memset(&endpoint, 0xaa, sizeof endpoint);
        memset(&before, 0xaa, sizeof before);
        cr_assert_eq(wr_address_parse(&endpoint, mistakes[i].text, &why), WEIR_EADDRESS, "\"%s\"", mistakes[i].text);
        cr_assert_not_null(why);
        cr_assert_not_null(strstr(why, mistakes[i].says), "\"%s\": \"%s\" does not say \"%s\"", mistakes[i].text, why,
                           mistakes[i].says);
        cr_assert_arr_eq(&endpoint, &before, sizeof before, "\"%s\" left its traces", mistakes[i].text);
    }
}

static weir_address formatted(const char *text)
{
    weir_address address;
    const char *why = "";
    memset(&address, 0xaa, sizeof address);
    cr_assert_eq(weir_address_parse(&address, text, &why), 0, "%s: %s", text, why);
    return address;
}

Test(address, the_public_form_has_text_host_port_and_family)
{
    const struct {
        const char *given, *text, *host;
        uint16_t port;
        weir_family family;
    } cases[] = {
        { "127.0.0.1:7777", "127.0.0.1:7777", "127.0.0.1", 7777, WEIR_FAMILY_IPV4 },
        { "[::FFFF:127.0.0.1]:80", "127.0.0.1:80", "127.0.0.1", 80, WEIR_FAMILY_IPV4 },
        { "[0:0::1]:65535", "[::1]:65535", "::1", 65535, WEIR_FAMILY_IPV6 },
        { "[FE80::1%4000000000]:1", "[fe80::1%4000000000]:1", "fe80::1%4000000000", 1, WEIR_FAMILY_IPV6 },
        { "unix:/run/x.sock", "unix:/run/x.sock", "/run/x.sock", 0, WEIR_FAMILY_UNIX },
        { "unix:" PATH_107, "unix:" PATH_107, PATH_107, 0, WEIR_FAMILY_UNIX },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        weir_address address = formatted(cases[i].given);
        cr_assert_str_eq(address.text, cases[i].text);
        cr_assert_str_eq(address.host, cases[i].host);
        cr_assert_eq(address.port, cases[i].port);
        cr_assert_eq(address.family, cases[i].family);
        weir_address again = formatted(address.text);
        cr_assert_arr_eq(&again, &address, sizeof address, "%s reads back otherwise", address.text);
    }
}

Test(address, the_longest_ipv6_text_fits)
{
    wr_addr addr = { .family = WR_FAMILY_IPV6, .scope = UINT32_MAX, .port = 65535 };
    memset(addr.ip, 0xff, sizeof addr.ip);
    weir_address address;
    wr_address_format(&address, &addr, NULL);
    cr_assert_str_eq(address.text, "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff%4294967295]:65535");
}

Test(address, an_unknown_and_a_nameless_end_can_be_formatted)
{
    weir_address address;
    memset(&address, 0xaa, sizeof address);
    wr_address_format(&address, &(wr_addr){ .family = WR_FAMILY_NONE, .port = 5 }, NULL);
    cr_assert_eq(address.family, WEIR_FAMILY_NONE);
    cr_assert_eq(address.port, 0);
    cr_assert_str_eq(address.text, "");
    cr_assert_str_eq(address.host, "");

    wr_address_format(&address, &(wr_addr){ .family = WR_FAMILY_UNIX }, NULL);
    cr_assert_eq(address.family, WEIR_FAMILY_UNIX);
    cr_assert_str_eq(address.text, "unix:");
    cr_assert_str_eq(address.host, "");
}

Test(address, a_refused_text_leaves_the_result_alone)
{
    weir_address address = formatted("127.0.0.1:7777"), before = address;
    const char *why = NULL;
    cr_assert_eq(weir_address_parse(&address, "localhost:7777", &why), WEIR_EADDRESS);
    cr_assert_not_null(strstr(why, "localhost"));
    cr_assert_eq(weir_address_parse(&address, "nonsense", NULL), WEIR_EADDRESS, "why may be NULL");
    cr_assert_arr_eq(&address, &before, sizeof before);
}

Test(address, without_a_text_or_a_place_there_is_nothing_to_do)
{
    weir_address address;
    const char *why = NULL;
    cr_assert_eq(weir_address_parse(NULL, "127.0.0.1:7777", &why), WEIR_EINVAL);
    cr_assert_eq(weir_address_parse(&address, NULL, &why), WEIR_EINVAL);
}

/* ---- names, where they may stand ---- */

static const struct {
    const char *text;
    const char *name; /* "": numeric */
    uint16_t port;
} remotes[] = {
    { "127.0.0.1:80", "", 80 },
    { "[::1]:81", "", 81 },
    { "localhost:7000", "localhost", 7000 },
    { "db.internal:1", "db.internal", 1 },
    { "DB-2.Internal.:65535", "DB-2.Internal.", 65535 },
    { "my_service_1:0", "my_service_1", 0 },
    { "xn--mnchen-3ya.example:80", "xn--mnchen-3ya.example", 80 },
    { "1.2.3.example:80", "1.2.3.example", 80 },
    { "a:80", "a", 80 },
};

Test(remote_address, is_numeric_or_a_name_with_a_port)
{
    for (size_t i = 0; i < COUNT(remotes); i++) {
        wr_endpoint endpoint;
        char name[WR_NAME_MAX + 1];
        const char *why = "";
        cr_assert_eq(wr_address_parse_remote(&endpoint, name, remotes[i].text, &why), 0, "%s: %s", remotes[i].text,
                     why);
        cr_assert_str_eq(name, remotes[i].name);
        cr_assert_eq(endpoint.addr.port, remotes[i].port);
        cr_assert_eq(endpoint.addr.family == WR_FAMILY_NONE, name[0] != 0);
    }
}

Test(remote_address, is_refused_with_a_sentence_where_it_is_neither)
{
    static const struct {
        const char *text, *word;
    } bad[] = {
        { "", "empty" },
        { "localhost", "no port" },
        { "localhost:", "no port" },
        { "localhost:http", "not a number" },
        { "localhost:65536", "above 65535" },
        { "localhost:80x", "something follows" },
        { "local host:80", "neither" },
        { "-dash:80", "neither" },
        { "a..b:80", "neither" },
        { ".a:80", "neither" },
        { "m\xc3\xbcnchen:80", "neither" },
        { "a/b:80", "neither" },
        { "a:b:80", "more than one" },
        { "1.2.3:80", "not an IPv4 address" },
        { "[db]:80", "only an IPv6 address" },
        { ":80", "no address" },
        { "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa:80", "63 bytes" },
    };
    wr_endpoint endpoint;
    char name[WR_NAME_MAX + 1], text[300];
    for (size_t i = 0; i < COUNT(bad); i++) {
        const char *why = "";
        cr_expect_eq(wr_address_parse_remote(&endpoint, name, bad[i].text, &why), WEIR_EADDRESS, "%s", bad[i].text);
        cr_expect_not_null(strstr(why, bad[i].word), "%s: %s", bad[i].text, why);
    }
    for (size_t length = 252; length <= 256; length++) {
        const char *why = "";
        for (size_t i = 0; i < length; i++) text[i] = i % 50 == 49 ? '.' : 'n';
        memcpy(text + length, ":80", 4);
        int error = wr_address_parse_remote(&endpoint, name, text, &why);
        cr_assert_eq(error, length <= WR_NAME_MAX ? 0 : WEIR_EADDRESS, "%u: %s", (unsigned)length, why);
        if (error) cr_assert_not_null(strstr(why, "253"));
    }
}
