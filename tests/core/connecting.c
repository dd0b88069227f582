#include "core/connecting.h"

#include <stdio.h>
#include <string.h>

weir_conn_id connect_to(world *w, uint16_t port, const weir_connect_options *options)
{
    char address[32];
    weir_conn_id id = 0;
    wr_mutex_lock(&w->lock); /* any thread may call this, and world_wrap keeps a list */
    weir_protocol protocol = world_wrap(w, &w->protocol);
    wr_mutex_unlock(&w->lock);
    (void)snprintf(address, sizeof address, "127.0.0.1:%u", port);
    int error = weir_connect(w->runtime, address, &protocol, options, &id);
    cr_assert_eq(error, 0, "%s: %s", address, weir_error_name(error));
    cr_assert_neq(id, 0);
    return id;
}

/* Of a dialer as of a connection, and in the same words. */
static void refused_as_dialer(const world *w, const char *address, weir_connect_options options, int expected,
                              const char *text)
{
    weir_failure failure = { .error = 1, .system_error = 77, .step = WEIR_STEP_LISTEN };
    weir_dialer *dialer = (weir_dialer *)&failure;
    const weir_protocol protocol = { 0 };
    options.failure = &failure;
    cr_expect_eq(weir_dialer_create(w->runtime, address, &protocol, &options, &dialer), expected);
    cr_expect_eq(failure.error, expected);
    cr_expect_eq(failure.step, WEIR_STEP_OPTIONS);
    cr_expect_eq(failure.system_error, 0);
    cr_expect_str_eq(failure.text, text);
    cr_expect_null(dialer);
}

void refused_by_weir(const world *w, const char *address, weir_connect_options options, int expected, const char *word)
{
    weir_failure failure = { .error = 1, .system_error = 77, .step = WEIR_STEP_LISTEN };
    weir_conn_id id = 12345;
    const weir_protocol protocol = { 0 };
    options.failure = &failure;
    int error = weir_connect(w->runtime, address, &protocol, &options, &id);
    cr_expect_eq(error, expected, "%s: %s", address ? address : "NULL", weir_error_name(error));
    cr_expect_eq(failure.error, error);
    cr_expect_eq(failure.step, WEIR_STEP_OPTIONS);
    cr_expect_eq(failure.system_error, 0);
    cr_expect_not_null(strstr(failure.text, word), "\"%s\" does not say %s", failure.text, word);
    cr_expect_eq(id, 12345, "out is touched");
    if (expected != WEIR_ELIMIT) refused_as_dialer(w, address, options, expected, failure.text);
}

weir_address local_address(const char *text)
{
    weir_address address;
    const char *why = "";
    cr_assert_eq(weir_address_parse(&address, text, &why), 0, "%s: %s", text, why);
    return address;
}
