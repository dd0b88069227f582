/* What an embedder hands to weir_listen and weir_connect: any text, any numbers. Whatever they are, the answer is one
 * of the documented ones, a failure is told in words, and nothing stays behind. */
#include "fuzz/cutter.h"
#include "fuzz/fuzz.h"
#include "fuzz/wire.h"

enum { TEXT_MAX = 300, LOCALS = 3 };

static void on_slow(weir_conn *conn, size_t queued)
{
    (void)conn;
    (void)queued;
}

/* Small numbers, and those at the ends of a type. */
static uint32_t take_number(fuzz_input *input)
{
    uint8_t kind = fuzz_u8(input);
    return kind < 128 ? kind : kind < 192 ? UINT32_MAX - (kind - 128u) : fuzz_u32(input);
}

static weir_protocol take_protocol(fuzz_input *input)
{
    weir_protocol protocol = { .framing = cutter_framing(input),
                               .session_size = take_number(input),
                               .max_message = take_number(input),
                               .handshake_timeout_ms = take_number(input),
                               .idle_timeout_ms = take_number(input),
                               .close_timeout_ms = take_number(input),
                               .outbox = { .soft_limit = take_number(input),
                                           .soft_limit_ms = take_number(input),
                                           .hard_limit = take_number(input),
                                           .policy = (weir_slow_policy)(fuzz_u8(input) % 5) } };
    if (fuzz_u8(input) & 1) protocol.on_slow = on_slow;
    return protocol;
}

static void check_failure(int error, const weir_failure *failure)
{
    FUZZ_CHECK(error <= 0 && strcmp(weir_error_name(error), "WEIR_?") != 0, "%d is no error of weir's", error);
    FUZZ_CHECK(failure->error == error, "%d was returned, %d is told", error, failure->error);
    FUZZ_CHECK((error == 0) == (failure->text[0] == 0), "%s: \"%s\"", weir_error_name(error), failure->text);
    FUZZ_CHECK(memchr(failure->text, 0, sizeof failure->text), "the sentence has no end");
    FUZZ_CHECK((error == 0) == (failure->step == WEIR_STEP_NONE), "step %d", (int)failure->step);
}

static void listen_once(weir_runtime *runtime, const char *text, const weir_protocol *protocol, fuzz_input *input)
{
    weir_failure failure;
    weir_listener *listener = NULL;
    weir_listen_options options = { .max_connections = take_number(input),
                                    .max_per_address = take_number(input),
                                    .accept_rate = take_number(input),
                                    .backlog = take_number(input),
                                    .placement = (weir_placement)(fuzz_u8(input) % 5),
                                    .failure = &failure };
    uint8_t flags = fuzz_u8(input);
    options.ipv6_only = flags & 1;
    options.share_port = flags & 2;
    memset(&failure, 0x5a, sizeof failure);
    int error = weir_listen(runtime, text, protocol, &options, &listener);
    check_failure(error, &failure);
    FUZZ_CHECK((error == 0) == (listener != NULL), "%s", weir_error_name(error));
    if (error) return;
    weir_address address = weir_listener_address(listener);
    FUZZ_CHECK(address.family == WEIR_FAMILY_UNIX || address.port != 0, "no port was chosen");
    FUZZ_CHECK(weir_poll(runtime, 0) >= 0, "weir_poll");
    if (flags & 4) weir_listener_close(listener);
}

static void connect_once(weir_runtime *runtime, const char *text, const weir_protocol *protocol, fuzz_input *input)
{
    weir_failure failure;
    weir_address locals[LOCALS];
    weir_conn_id id = 0;
    memset(locals, 0, sizeof locals);
    uint8_t flags = fuzz_u8(input), count = fuzz_u8(input);
    for (int i = 0; i < LOCALS; i++) {
        locals[i].family = (weir_family)(fuzz_u8(input) % 8);
        locals[i].port = fuzz_u16(input);
    }
    weir_connect_options options = { .timeout_ms = take_number(input),
                                     .worker = fuzz_u8(input) % 4,
                                     .local_addresses = flags & 1 ? NULL : locals,
                                     .local_address_count = count < 250 ? count % (LOCALS + 1u) : 65537,
                                     .failure = &failure };
    memset(&failure, 0x5a, sizeof failure);
    int error = weir_connect(runtime, text, protocol, &options, &id);
    check_failure(error, &failure);
    FUZZ_CHECK((error == 0) == (id != 0), "%s", weir_error_name(error));
    if (error == 0) FUZZ_CHECK(weir_poll(runtime, 0) >= 0, "weir_poll");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input input = { data, size };
    char text[TEXT_MAX + 1];
    size_t length = fuzz_u16(&input) % (TEXT_MAX + 1);
    for (size_t i = 0; i < length; i++) text[i] = (char)fuzz_u8(&input);
    text[length] = 0;
    weir_runtime *runtime = wire_runtime();
    weir_protocol protocol = take_protocol(&input);
    wire_load(&(wire_script){ .bytes = data, .size = size });
    if (fuzz_u8(&input) & 1)
        connect_once(runtime, text, &protocol, &input);
    else
        listen_once(runtime, text, &protocol, &input);
    weir_runtime_destroy(runtime);
    FUZZ_CHECK(wire_memory() == 0, "%zu bytes leak", wire_memory());
    return 0;
}
