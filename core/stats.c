#include "core/stats.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/log.h"
#include "core/runtime.h"

static uint64_t load(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

void wr_histogram_read(const wr_histogram *histogram, uint64_t *buckets, uint64_t *ns_sum)
{
    for (int i = 0; i < WEIR_STATS_BUCKETS; i++) buckets[i] += load(&histogram->buckets[i]);
    *ns_sum += load(&histogram->ns_sum);
}

static void add_worker(const wr_worker *worker, weir_stats *out)
{
    const wr_counters *counters = &worker->counters;
#define WR_COUNTER(name, kind, help) out->name += load(&counters->name);
    WEIR_STATS(WR_COUNTER)
#undef WR_COUNTER
    out->connections += atomic_load_explicit(&worker->shared.load, memory_order_relaxed);
    out->memory += load(&worker->owner.arena.memory.used) + wr_slots_count(&worker->slots) * sizeof(wr_slot);
    out->sends_dead += load(&worker->shared.dead_sends);
    out->group_sends_empty += load(&worker->shared.empty_group_sends);
    out->sends_dropped += load(&worker->shared.refused_sends);
    out->udp_dropped += load(&worker->shared.udp_dropped);
    for (int i = 0; i < WEIR_STATS_REASONS; i++) out->closed[i] += load(&counters->closed[i]);
    wr_histogram_read(&counters->pass, out->pass_us, &out->pass_ns_sum);
    wr_histogram_read(&counters->tick_late, out->tick_late_us, &out->tick_late_ns_sum);
    uint64_t longest = load(&counters->tick_ns_max);
    if (longest > out->tick_ns_max) out->tick_ns_max = longest;
}

int weir_stats_read_worker(const weir_runtime *runtime, unsigned worker, weir_stats *out)
{
    memset(out, 0, sizeof *out);
    if (worker >= runtime->worker_count) return WEIR_EINVAL;
    add_worker(&runtime->workers[worker], out);
    return 0;
}

void weir_stats_read(const weir_runtime *runtime, weir_stats *out)
{
    memset(out, 0, sizeof *out);
    for (unsigned i = 0; i < runtime->worker_count; i++) add_worker(&runtime->workers[i], out);
}

/* snprintf, again and again into one text, counting also what no longer fits. */
typedef struct wr_text {
    char *bytes;
    size_t capacity, length;
} wr_text;

static void print(wr_text *text, const char *format, ...) WR_PRINTF(2, 3);

static void print(wr_text *text, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    size_t room = text->length < text->capacity ? text->capacity - text->length : 0;
    int length = vsnprintf(room ? text->bytes + text->length : NULL, room, format, arguments);
    va_end(arguments);
    if (length > 0) text->length += (size_t)length;
}

static void print_metric(wr_text *text, const char *name, const char *suffix, const char *kind, const char *help,
                         const weir_stats *workers, unsigned count, size_t offset)
{
    print(text, "# HELP weir_%s%s %s\n# TYPE weir_%s%s %s\n", name, suffix, help, name, suffix, kind);
    for (unsigned i = 0; i < count; i++) {
        uint64_t value;
        memcpy(&value, (const char *)&workers[i] + offset, sizeof value);
        print(text, "weir_%s%s{worker=\"%u\"} %llu\n", name, suffix, i, (unsigned long long)value);
    }
}

static void print_closed(wr_text *text, const weir_stats *workers, unsigned count)
{
    print(text, "# HELP weir_closed_total Connections that ended, by reason\n# TYPE weir_closed_total counter\n");
    for (unsigned i = 0; i < count; i++)
        for (int reason = 1; reason < WEIR_STATS_REASONS; reason++)
            if (workers[i].closed[reason])
                print(text, "weir_closed_total{worker=\"%u\",reason=\"%s\"} %llu\n", i,
                      weir_error_name(-reason) + sizeof "WEIR_" - 1, (unsigned long long)workers[i].closed[reason]);
}

/* Seconds are printed as whole numbers: a double would follow the embedder's locale, and have a comma in some. */
static void print_seconds(wr_text *text, const char *name, const char *suffix, unsigned worker, uint64_t ns)
{
    print(text, "weir_%s%s{worker=\"%u\"} %llu.%09u\n", name, suffix, worker, (unsigned long long)(ns / 1000000000),
          (unsigned)(ns % 1000000000));
}

static void print_histogram(wr_text *text, const char *name, unsigned worker, const uint64_t *buckets, uint64_t ns_sum)
{
    uint64_t sum = 0;
    for (int bucket = 0; bucket < WEIR_STATS_BUCKETS; bucket++) {
        sum += buckets[bucket];
        if (bucket == WEIR_STATS_BUCKETS - 1) break;
        print(text, "weir_%s_bucket{worker=\"%u\",le=\"%u.%06u\"} %llu\n", name, worker, (1U << bucket) / 1000000,
              (1U << bucket) % 1000000, (unsigned long long)sum);
    }
    print(text, "weir_%s_bucket{worker=\"%u\",le=\"+Inf\"} %llu\n", name, worker, (unsigned long long)sum);
    print_seconds(text, name, "_sum", worker, ns_sum);
    print(text, "weir_%s_count{worker=\"%u\"} %llu\n", name, worker, (unsigned long long)sum);
}

static void print_times(wr_text *text, const weir_stats *workers, unsigned count)
{
    print(text, "# HELP weir_pass_seconds Time that a pass of the loop works\n# TYPE weir_pass_seconds histogram\n");
    for (unsigned i = 0; i < count; i++)
        print_histogram(text, "pass_seconds", i, workers[i].pass_us, workers[i].pass_ns_sum);
    print(text, "# HELP weir_tick_late_seconds How late ticks began\n# TYPE weir_tick_late_seconds histogram\n");
    for (unsigned i = 0; i < count; i++)
        print_histogram(text, "tick_late_seconds", i, workers[i].tick_late_us, workers[i].tick_late_ns_sum);
    print(text, "# HELP weir_tick_seconds_max The longest callback of a tick\n# TYPE weir_tick_seconds_max gauge\n");
    for (unsigned i = 0; i < count; i++) print_seconds(text, "tick_seconds", "_max", i, workers[i].tick_ns_max);
}

size_t weir_stats_text(const weir_runtime *runtime, char *text, size_t capacity)
{
    wr_text out = { .bytes = text, .capacity = capacity };
    if (capacity) text[0] = 0;
    unsigned count = runtime->worker_count;
    weir_stats *workers = wr_heap_alloc(&runtime->heap, count * sizeof *workers);
    if (!workers) return 0;
    for (unsigned i = 0; i < count; i++) (void)weir_stats_read_worker(runtime, i, &workers[i]);
#define WR_SUFFIX_counter "_total"
#define WR_SUFFIX_gauge   ""
#define WR_METRIC(name, kind, help) \
    print_metric(&out, #name, WR_SUFFIX_##kind, #kind, help, workers, count, offsetof(weir_stats, name));
    WEIR_STATS(WR_METRIC)
#undef WR_METRIC
    print_closed(&out, workers, count);
    print_times(&out, workers, count);
    wr_heap_free(&runtime->heap, workers, count * sizeof *workers);
    return out.length;
}
