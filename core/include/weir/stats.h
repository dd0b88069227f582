/* Counters: what a runtime did and has, in numbers. Each worker keeps its own, readers take no lock. */
#ifndef WEIR_STATS_H
#define WEIR_STATS_H

#include <weir/conn.h>

#ifdef __cplusplus
extern "C" {
#endif

/* X(name, kind, help): kind is counter (only grows) or gauge (as it is now). */
#define WEIR_STATS(X)                                                                        \
    X(connections, gauge, "Connections now: connecting, open and closing")                   \
    X(accepted, counter, "Connections accepted and served")                                  \
    X(connected, counter, "Connections opened by weir_connect")                              \
    X(connect_errors, counter, "Connections that weir_connect could not open")               \
    X(refused_limit, counter, "Accepted and closed at once: max_connections")                \
    X(refused_address, counter, "Accepted and closed at once: max_per_address")              \
    X(refused_memory, counter, "Accepted and closed at once: out of memory")                 \
    X(accept_errors, counter, "Accepts that failed")                                         \
    X(accept_pauses, counter, "Pauses of a listener: descriptors, accept_rate, full inbox")  \
    X(inbox_stops, counter, "Times that a connection stopped reading: full inbox")           \
    X(messages_received, counter, "Whole messages delivered")                                \
    X(bytes_received, counter, "Bytes received")                                             \
    X(bytes_sent, counter, "Bytes that the kernel took")                                     \
    X(sends, counter, "Gathered writes")                                                     \
    X(sends_dropped, counter, "Messages dropped or refused: slow peer")                      \
    X(sends_dead, counter, "Messages of other threads to connections that had gone")         \
    X(group_deliveries, counter, "Messages of weir_group_send queued for a member")          \
    X(group_sends_empty, counter, "Messages of weir_group_send to no member")                \
    X(posts, counter, "Messages from other threads")                                         \
    X(ticks, counter, "Ticks that ran")                                                      \
    X(ticks_skipped, counter, "Ticks that came too late to run")                             \
    X(tick_overruns, counter, "Ticks whose callback was still running at the next one")      \
    X(passes, counter, "Passes of the worker's loop")                                        \
    X(memory, gauge, "Bytes that the workers hold: connections, sockets, outboxes, buffers") \
    X(queued, gauge, "Bytes sent that the kernel has not yet taken")                         \
    X(udp_sockets, gauge, "UDP sockets now")                                                 \
    X(udp_received, counter, "Datagrams delivered")                                          \
    X(udp_bytes_received, counter, "Bytes of them")                                          \
    X(udp_truncated, counter, "Datagrams dropped: longer than max_datagram")                 \
    X(udp_sent, counter, "Datagrams that the system took")                                   \
    X(udp_bytes_sent, counter, "Bytes of them")                                              \
    X(udp_refused, counter, "Datagrams that the system refused")                             \
    X(udp_dropped, counter, "Datagrams dropped before the system saw them: max_queued")      \
    X(udp_queued, gauge, "Bytes of datagrams that wait, each counting 64 more")

enum {
    WEIR_STATS_REASONS = 64, /* room for every WEIR_E… number */
    WEIR_STATS_BUCKETS = 24, /* bucket i counts passes of under 2^i microseconds; the last one all longer ones */
};

/* A snapshot. Each number is exact; numbers of one snapshot may be some microseconds apart. */
typedef struct weir_stats {
#define WEIR_STATS_FIELD(name, kind, help) uint64_t name;
    WEIR_STATS(WEIR_STATS_FIELD)
#undef WEIR_STATS_FIELD
    uint64_t closed[WEIR_STATS_REASONS];       /* connections that ended, by reason: closed[-WEIR_ESLOW] */
    uint64_t pass_us[WEIR_STATS_BUCKETS];      /* histogram of the time that a pass works, without its wait */
    uint64_t pass_ns_sum;                      /* and its sum, in nanoseconds */
    uint64_t tick_late_us[WEIR_STATS_BUCKETS]; /* histogram of how late ticks began; see weir_tick_report for one */
    uint64_t tick_late_ns_sum;                 /* and its sum */
    uint64_t tick_ns_max;                      /* the longest callback of a tick; of all workers the longest */
} weir_stats;

/* weir_stats_read: the sum over all workers. [any] */
WEIR_API void weir_stats_read(const weir_runtime *runtime, weir_stats *out);

/* weir_stats_read_worker: those of worker number `worker`, from 0. [any]
 * WEIR_EINVAL: no such worker. */
WEIR_API int weir_stats_read_worker(const weir_runtime *runtime, unsigned worker, weir_stats *out);

/* weir_stats_text: writes all of it in Prometheus' text format (version 0.0.4), a label a worker. Like snprintf:
 * returns the length of the whole text, writes at most `capacity` bytes with a final 0; text may be NULL if capacity is
 * 0. 0 when out of memory. [any] https://prometheus.io/docs/instrumenting/exposition_formats/ */
WEIR_API size_t weir_stats_text(const weir_runtime *runtime, char *text, size_t capacity);

#ifdef __cplusplus
}
#endif

#endif
