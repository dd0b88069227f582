/* Addresses: text from an embedder's configuration, and what the kernel says of a peer. */
#include <netinet/in.h>
#include <sys/socket.h>

#include "core/address.h"
#include "fuzz/fuzz.h"
#include "platform/common/socket.h"

/* What is accepted is said again in the same words, except that IPv6 has many spellings. */
static void check_accepted(const weir_address *address, const char *text)
{
    weir_address again;
    const char *why = NULL;
    FUZZ_CHECK(weir_address_parse(&again, address->text, &why) == 0, "\"%s\" became \"%s\": %s", text, address->text,
               why);
    FUZZ_CHECK(memcmp(&again, address, sizeof again) == 0, "\"%s\" became \"%s\", and that \"%s\"", text, address->text,
               again.text);
    bool one_spelling = address->family != WEIR_FAMILY_IPV6 && *text != '[';
    FUZZ_CHECK(!one_spelling || strcmp(address->text, text) == 0, "\"%s\" became \"%s\"", text, address->text);
    FUZZ_CHECK(address->family == WEIR_FAMILY_IPV4 || address->family == WEIR_FAMILY_IPV6 ||
                   (address->family == WEIR_FAMILY_UNIX && address->port == 0),
               "family %d", (int)address->family);
    FUZZ_CHECK(strstr(address->text, address->host), "\"%s\" is not in \"%s\"", address->host, address->text);
}

/* What may be connected to is what may be listened to, and names, which mean the same when they are said again. */
static void check_remote(const char *text, int error)
{
    wr_endpoint endpoint, again;
    char name[WR_NAME_MAX + 1], name_again[WR_NAME_MAX + 1], said[WR_NAME_MAX + 8];
    const char *why = NULL;
    int remote_error = wr_address_parse_remote(&endpoint, name, text, &why);
    FUZZ_CHECK(remote_error == 0 || (remote_error == WEIR_EADDRESS && why && *why && error), "\"%s\"", text);
    if (remote_error) return;
    FUZZ_CHECK((error != 0) == (name[0] != 0), "\"%s\" has the name \"%s\"", text, name);
    if (!name[0]) return;
    FUZZ_CHECK(strspn(name, "0123456789.") < strlen(name), "\"%s\" is a number", name);
    (void)snprintf(said, sizeof said, "%s:%u", name, (unsigned)endpoint.addr.port);
    FUZZ_CHECK(wr_address_parse_remote(&again, name_again, said, &why) == 0 && strcmp(name, name_again) == 0 &&
                   again.addr.port == endpoint.addr.port,
               "\"%s\" became \"%s\"", text, said);
}

static void check_text(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1); /* of its very size, for AddressSanitizer */
    FUZZ_CHECK(text, "out of memory");
    memcpy(text, data, size);
    text[size] = 0;
    weir_address address, untouched;
    memset(&address, 0x5a, sizeof address);
    untouched = address;
    const char *why = NULL;
    int error = weir_address_parse(&address, text, &why);
    check_remote(text, error);
    if (error) {
        FUZZ_CHECK(error == WEIR_EADDRESS && why && *why, "\"%s\": %s", text, weir_error_name(error));
        FUZZ_CHECK(memcmp(&address, &untouched, sizeof address) == 0, "a refused text was written");
        FUZZ_CHECK(weir_address_parse(&address, text, NULL) == WEIR_EADDRESS, "it depends on `why`");
    } else {
        FUZZ_CHECK(!why, "accepted, and yet: %s", why);
        check_accepted(&address, text);
    }
    free(text);
}

/* An address of the kernel's goes to weir's form and back, and to text and back. */
static void check_sockaddr(const uint8_t *data, size_t size)
{
    struct sockaddr_storage storage, written;
    memset(&storage, 0, sizeof storage);
    memcpy(&storage, data, size < sizeof storage ? size : sizeof storage);
    static const sa_family_t families[] = { AF_INET, AF_INET6, AF_UNIX, AF_UNSPEC };
    if (storage.ss_family & 0x8000) storage.ss_family = families[storage.ss_family % 4];
    wr_addr addr, again;
    wr_sockaddr_read(&addr, &storage);
    if (addr.family != WR_FAMILY_IPV4 && addr.family != WR_FAMILY_IPV6) return;
    (void)wr_sockaddr_write(&written, &addr, NULL);
    wr_sockaddr_read(&again, &written);
    FUZZ_CHECK(memcmp(&addr, &again, sizeof addr) == 0, "it does not come back from the kernel's form");
    weir_address address;
    wr_address_format(&address, &addr, NULL);
    check_accepted(&address, address.text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 0 && data[0] == 0)
        check_sockaddr(data + 1, size - 1);
    else
        check_text(data, size);
    return 0;
}
