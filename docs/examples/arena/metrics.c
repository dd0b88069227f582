#include "metrics.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    OWN_MAX = 8 << 10,  /* of the arena's own counters */
    SLACK = 256,        /* digits that weir's may gain while they are written */
    REQUEST_MAX = 4096, /* of its first line */
    TIMEOUT_MS = 5000,  /* for that */
};

struct text_buffer {
    char *at;
    size_t left;
};

/* Takes in what snprintf has just written there, and said the length of. */
static void advance(struct text_buffer *out, int length)
{
    if (length < 0 || (size_t)length >= out->left) return; /* OWN_MAX is too small: the rest is missing */
    out->at += length;
    out->left -= (size_t)length;
}

static void print_counter(struct text_buffer *out, const char *name, const char *help, const _Atomic uint64_t *counter)
{
    advance(out, snprintf(out->at, out->left,
                          "# HELP arena_%s_total %s\n# TYPE arena_%s_total counter\narena_%s_total %" PRIu64 "\n", name,
                          help, name, name, counted(counter)));
}

static void print_goodbye(struct text_buffer *out, const char *reason, const _Atomic uint64_t *counter)
{
    advance(out, snprintf(out->at, out->left, "arena_goodbyes_total{reason=\"%s\"} %" PRIu64 "\n", reason,
                          counted(counter)));
}

static void print_own(struct text_buffer *out, const struct server *server)
{
    const struct counters *counters = server_counters(server);
    advance(out, snprintf(out->at, out->left,
                          "# HELP arena_players Players in the rooms\n# TYPE arena_players gauge\narena_players %zu\n",
                          server_players(server)));
#define COUNTERS_PRINT(name, help) print_counter(out, #name, help, &counters->name);
    COUNTERS(COUNTERS_PRINT)
#undef COUNTERS_PRINT
    advance(out, snprintf(out->at, out->left,
                          "# HELP arena_goodbyes_total Players let go\n# TYPE arena_goodbyes_total counter\n"));
#define GOODBYE_PRINT(name, text) print_goodbye(out, #name, &counters->goodbyes[GOODBYE_##name]);
    GOODBYES(GOODBYE_PRINT)
#undef GOODBYE_PRINT
}

char *metrics_text(const struct server *server, const weir_runtime *runtime, size_t *size)
{
    size_t capacity = weir_stats_text(runtime, NULL, 0) + SLACK;
    char *text = malloc(capacity + OWN_MAX);
    if (text == NULL) return NULL;
    weir_stats_text(runtime, text, capacity);
    size_t weirs = strlen(text);
    struct text_buffer out = { text + weirs, OWN_MAX };
    print_own(&out, server);
    *size = (size_t)(out.at - text);
    return text;
}

/* The first line of a request says all that matters here; weir_close drops the others. */
static void on_message(weir_conn *conn, const void *bytes, size_t size)
{
    size_t length = 0;
    (void)bytes, (void)size;
    char *text = metrics_text(weir_conn_data(conn), weir_conn_runtime(conn), &length);
    if (text != NULL) {
        static const char head[] = "HTTP/1.0 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n\r\n";
        weir_send(conn, head, sizeof head - 1);
        weir_send(conn, text, length);
        free(text);
    }
    weir_close(conn);
}

int metrics_open(struct server *server, weir_runtime *runtime, const char *address, weir_failure *failure)
{
    const weir_protocol protocol = { .on_message = on_message,
                                     .data = server,
                                     .framing = weir_framing_line(),
                                     .max_message = REQUEST_MAX,
                                     .handshake_timeout_ms = TIMEOUT_MS };
    return weir_listen(runtime, address, &protocol, &(weir_listen_options){ .failure = failure }, NULL);
}
