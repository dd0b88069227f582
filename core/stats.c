#include "core/stats.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/log.h"
#include "core/runtime.h"

void wr_counters_pass(wr_counters *counters, uint64_t ns)
{
    uint64_t us = ns / 1000;
    unsigned bucket = 0;
    while (bucket < WEIR_STATS_BUCKETS - 1 && us >> bucket) bucket++;
    wr_add(&counters->pass_us[bucket], 1);
    wr_add(&counters->pass_ns_sum, ns);
}

static uint64_t load(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
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
    for (int i = 0; i < WEIR_STATS_REASONS; i++) out->closed[i] += load(&counters->closed[i]);
    for (int i = 0; i < WEIR_STATS_BUCKETS; i++) out->pass_us[i] += load(&counters->pass_us[i]);
    out->pass_ns_sum += load(&counters->pass_ns_sum);
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
static void print_passes(wr_text *text, const weir_stats *workers, unsigned count)
{
    print(text, "# HELP weir_pass_seconds Time that a pass of the loop works\n# TYPE weir_pass_seconds histogram\n");
    for (unsigned i = 0; i < count; i++) {
        uint64_t sum = 0;
        for (int bucket = 0; bucket < WEIR_STATS_BUCKETS; bucket++) {
            sum += workers[i].pass_us[bucket];
            if (bucket == WEIR_STATS_BUCKETS - 1) break;
            print(text, "weir_pass_seconds_bucket{worker=\"%u\",le=\"%u.%06u\"} %llu\n", i, (1U << bucket) / 1000000,
                  (1U << bucket) % 1000000, (unsigned long long)sum);
        }
        print(text, "weir_pass_seconds_bucket{worker=\"%u\",le=\"+Inf\"} %llu\n", i, (unsigned long long)sum);
        uint64_t ns = workers[i].pass_ns_sum;
        print(text, "weir_pass_seconds_sum{worker=\"%u\"} %llu.%09u\n", i, (unsigned long long)(ns / 1000000000),
              (unsigned)(ns % 1000000000));
        print(text, "weir_pass_seconds_count{worker=\"%u\"} %llu\n", i, (unsigned long long)sum);
    }
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
    print_passes(&out, workers, count);
    wr_heap_free(&runtime->heap, workers, count * sizeof *workers);
    return out.length;
}
