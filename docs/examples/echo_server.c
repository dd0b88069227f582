/* An echo server with every limit that weir knows on the command line: something to point a load at, and to watch.
 *
 * echo_server [OPTIONS]        --help lists them */
#include "options.h"
#include <stdio.h>
#include <stdlib.h>
#include <weir/weir.h>

enum { FRAMING_NONE, FRAMING_LINE, FRAMING_U16, FRAMING_U32 };

static const char *const framings[] = {
    [FRAMING_NONE] = "none", [FRAMING_LINE] = "line", [FRAMING_U16] = "u16", [FRAMING_U32] = "u32", NULL
};

static const char *const placements[] = {
    [WEIR_PLACEMENT_DEFAULT] = "default",
    [WEIR_PLACEMENT_SPREAD] = "spread",
    [WEIR_PLACEMENT_BALANCED] = "balanced",
    NULL,
};

static const char *const slow_policies[] = {
    [WEIR_SLOW_DISCONNECT] = "disconnect",
    [WEIR_SLOW_DROP_NEWEST] = "drop",
    [WEIR_SLOW_NOTIFY] = "notify",
    [WEIR_SLOW_PAUSE] = "pause",
    NULL,
};

/* All that the command line decides. */
struct settings {
    struct option_texts addresses;
    weir_runtime_options runtime;
    weir_listen_options listen;
    weir_protocol protocol;
    uint32_t stats_s;
};

static void on_message(weir_conn *conn, const void *bytes, size_t size)
{
    weir_send(conn, bytes, size);
}

static void on_slow(weir_conn *conn, size_t queued)
{
    printf("slow: %zu bytes wait for %s\n", queued, weir_conn_peer(conn).text);
}

static void on_accept_error(weir_listener *listener, weir_reason reason)
{
    fprintf(stderr, "accept on %s: %s (%d)\n", weir_listener_address(listener).text, weir_strerror(reason.error),
            reason.system_error);
}

static void read_settings(struct settings *settings, int argc, char **argv)
{
    weir_protocol *protocol = &settings->protocol;
    weir_listen_options *limits = &settings->listen;
    unsigned framing = FRAMING_NONE, placement = WEIR_PLACEMENT_DEFAULT, slow = WEIR_SLOW_DISCONNECT;

    const struct option options[] = {
        { "--address", "ADDR", "listen here; may be given more than once; 0.0.0.0:7777",
          .texts = &settings->addresses },
        { "--workers", "N", "threads; 0: one a core", .number = &settings->runtime.workers, .max = 256 },
        { "--framing", NULL, "what a message is", .choice = &framing, .choices = framings },
        { "--placement", NULL, "which worker gets a client", .choice = &placement, .choices = placements },
        { "--max-connections", "N", "open at once, in all", .number = &settings->runtime.max_connections },
        { "--max-per-address", "N", "open at once from one IP address", .number = &limits->max_per_address },
        { "--accept-rate", "N", "new connections a second", .number = &limits->accept_rate },
        { "--max-message", "BYTES", "a longer message ends its connection", .number = &protocol->max_message },
        { "--idle-timeout-ms", "MS", "for the next byte", .number = &protocol->idle_timeout_ms },
        { "--handshake-timeout-ms", "MS", "for the first message", .number = &protocol->handshake_timeout_ms },
        { "--soft-limit", "BYTES", "queued for one client, for a while", .size = &protocol->outbox.soft_limit },
        { "--soft-limit-ms", "MS", "how long a while is", .number = &protocol->outbox.soft_limit_ms },
        { "--hard-limit", "BYTES", "queued for one client, ever", .size = &protocol->outbox.hard_limit },
        { "--slow", NULL, "what happens beyond these limits", .choice = &slow, .choices = slow_policies },
        { "--stats", "SECONDS", "print the counters this often, for Prometheus", .number = &settings->stats_s },
        { 0 },
    };
    options_read("sends every message back; an option left out, or 0, is weir's default.", options, argc, argv);

    if (framing == FRAMING_LINE) protocol->framing = weir_framing_line();
    if (framing == FRAMING_U16) protocol->framing = weir_framing_u16le_packet();
    if (framing == FRAMING_U32) protocol->framing = weir_framing_u32be();
    limits->placement = (weir_placement)placement;
    protocol->outbox.policy = (weir_slow_policy)slow;
    if (settings->addresses.count == 0) settings->addresses.at[settings->addresses.count++] = "0.0.0.0:7777";
}

/* Prints the counters, and comes again: a timer on worker 0. */
static void print_stats(weir_runtime *runtime, void *data)
{
    const struct settings *settings = data;
    /* A number may gain a digit between the call that measures and the one that writes. */
    size_t capacity = weir_stats_text(runtime, NULL, 0) + 256;
    char *text = malloc(capacity);

    if (text != NULL) {
        weir_stats_text(runtime, text, capacity);
        fputs(text, stdout);
        free(text);
    }
    weir_post_after(runtime, 0, settings->stats_s * UINT64_C(1000), print_stats, data);
}

static int listen_all(weir_runtime *runtime, const struct settings *settings)
{
    int err = 0;
    for (size_t i = 0; err == 0 && i < settings->addresses.count; i++) {
        weir_listener *listener = NULL;
        err = weir_listen(runtime, settings->addresses.at[i], &settings->protocol, &settings->listen, &listener);
        if (err == 0) printf("listening on %s\n", weir_listener_address(listener).text);
    }
    return err;
}

int main(int argc, char **argv)
{
    weir_failure failure = { 0 };
    struct settings settings = {
        .runtime = { .stop_on_signals = true },
        .listen = { .on_accept_error = on_accept_error, .failure = &failure },
        .protocol = { .on_message = on_message, .on_slow = on_slow },
    };
    weir_runtime *runtime = NULL;

    setvbuf(stdout, NULL, _IONBF, 0); /* each line is seen at once, through a pipe too */
    read_settings(&settings, argc, argv);

    int err = weir_runtime_create(&runtime, &settings.runtime);
    if (err == 0) err = listen_all(runtime, &settings);
    if (err == 0 && settings.stats_s != 0)
        err = weir_post_after(runtime, 0, settings.stats_s * UINT64_C(1000), print_stats, &settings);
    if (err == 0) err = weir_runtime_run(runtime);
    if (err != 0) fprintf(stderr, "echo_server: %s\n", failure.error == err ? failure.text : weir_strerror(err));
    weir_runtime_destroy(runtime);
    return err == 0 ? 0 : 1;
}
