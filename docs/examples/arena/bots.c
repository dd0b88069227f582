#include "bots.h"
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>

enum {
    CONNECT_EVERY_MS = 10,
    JOIN_LIMIT_MS = 60000, /* for all to be in their rooms, once the last has begun */
    SILENCE_LIMIT_MS = 10000,
    REJOIN_AFTER_MS = 500,
};

struct bots {
    weir_runtime *runtime;
    struct bots_options options;
    unsigned workers;
    struct tally *tallies;    /* one a worker */
    uint32_t started;         /* bots whose first connection was begun; worker 0 */
    uint64_t began_ns;        /* when the first was; worker 0 */
    _Atomic uint32_t playing; /* bots in their rooms */
    _Atomic uint32_t ended;   /* bots that come back no more */
    _Atomic uint32_t rejoined, dropped;
    atomic_bool measures;  /* all have been in their rooms at once */
    atomic_bool finishing; /* the time is over */
    struct bot all[];
};

/* ---- connections ---- */

static void end(struct bots *bots)
{
    if (atomic_fetch_add(&bots->ended, 1) + 1 == bots->options.bots) weir_runtime_stop(bots->runtime);
}

static void finish(weir_runtime *runtime, void *data)
{
    struct bots *bots = data;
    atomic_store(&bots->finishing, true);
    weir_runtime_stop(runtime);
}

/* The time of play begins when the last has come in. */
static void note_playing(struct bots *bots)
{
    if (atomic_fetch_add(&bots->playing, 1) + 1 != bots->options.bots || atomic_exchange(&bots->measures, true)) return;
    if (bots->options.seconds == 0) return;
    int err = weir_post_after(bots->runtime, 0, bots->options.seconds * UINT64_C(1000), finish, bots);
    if (err != 0) finish(bots->runtime, bots);
}

static void on_open(weir_conn *conn)
{
    struct bot *bot = weir_conn_data(conn);
    bot->tally = &bot->bots->tallies[weir_conn_worker(conn)];
    bot_open(bot, conn);
}

static void on_message(weir_conn *conn, const void *bytes, size_t size)
{
    struct bot *bot = weir_conn_data(conn);
    bool was_playing = bot->game.is_playing;
    bot_receive(bot, conn, bytes, size, atomic_load_explicit(&bot->bots->measures, memory_order_relaxed));
    if (bot->game.is_playing && !was_playing) note_playing(bot->bots);
}

static void connect_again(weir_runtime *runtime, void *data);

/* Whether it does, a little later. */
static bool comes_back(struct bot *bot)
{
    struct bots *bots = bot->bots;
    if (!bots->options.rejoins || weir_post_after(bots->runtime, 0, REJOIN_AFTER_MS, connect_again, bot) != 0)
        return false;
    atomic_fetch_add(&bots->rejoined, 1);
    return true;
}

static void drop(struct bot *bot, const char *what, weir_reason reason)
{
    atomic_fetch_add(&bot->bots->dropped, 1);
    bot_complain(bot, "%s: %s (%d)", what, weir_strerror(reason.error), reason.system_error);
}

static void on_close(weir_conn *conn, weir_reason reason)
{
    struct bot *bot = weir_conn_data(conn);
    struct bots *bots = bot->bots;
    bot->tally = &bots->tallies[weir_conn_worker(conn)];
    if (bot->game.is_playing) atomic_fetch_sub(&bots->playing, 1);
    bot->game.is_playing = false;
    bool is_expected = bot->told_closing || atomic_load(&bots->finishing) || reason.error == WEIR_ESTOPPED;
    if (!is_expected && comes_back(bot)) return;
    if (!is_expected) drop(bot, "lost its connection", reason);
    end(bots);
}

static void connect_bot(struct bot *bot)
{
    const weir_protocol protocol = { .on_open = on_open,
                                     .on_message = on_message,
                                     .on_close = on_close,
                                     .data = bot,
                                     .framing = weir_framing_u16le_packet(),
                                     .idle_timeout_ms = SILENCE_LIMIT_MS };
    int err = weir_connect(bot->bots->runtime, bot->bots->options.address, &protocol, NULL, NULL);
    if (err == 0 || err == WEIR_ESTOPPED || comes_back(bot)) return; /* what comes of it shows in on_open or on_close */
    bot->tally = &bot->bots->tallies[0];
    drop(bot, "cannot connect", (weir_reason){ .error = err });
    end(bot->bots);
}

static void connect_again(weir_runtime *runtime, void *data)
{
    (void)runtime;
    connect_bot(data);
}

static void check_joined(weir_runtime *runtime, void *data)
{
    struct bots *bots = data;
    if (!atomic_load(&bots->measures)) weir_runtime_stop(runtime); /* bots_judge counts those who are not in */
}

/* As many as are due by now: the rate is kept on average also where the timer comes late. */
static void connect_some(weir_timer *timer, void *data)
{
    struct bots *bots = data;
    uint64_t now_ns = weir_now_ns(bots->runtime);
    if (bots->started == 0) bots->began_ns = now_ns;
    uint64_t due = 1 + (now_ns - bots->began_ns) / 1000000 * bots->options.rate / 1000;
    while (bots->started < bots->options.bots && bots->started < due) connect_bot(&bots->all[bots->started++]);
    if (bots->started < bots->options.bots) return;
    weir_timer_cancel(timer);
    if (!bots->options.rejoins) weir_post_after(bots->runtime, 0, JOIN_LIMIT_MS, check_joined, bots);
}

int bots_open(struct bots **out, weir_runtime *runtime, const struct bots_options *options)
{
    struct bots *bots = calloc(1, sizeof *bots + options->bots * sizeof *bots->all);
    *out = bots;
    if (bots == NULL) return WEIR_ENOMEM;
    bots->runtime = runtime;
    bots->options = *options;
    bots->workers = weir_runtime_workers(runtime);
    bots->tallies = calloc(bots->workers, sizeof *bots->tallies);
    if (bots->tallies == NULL) return WEIR_ENOMEM;
    for (uint32_t i = 0; i < options->bots; i++)
        bots->all[i] = (struct bot){
            .bots = bots, .number = i, .room = (uint16_t)(i % options->rooms), .random = i, .tally = bots->tallies
        };
    return weir_timer_start(
        runtime, &(weir_timer_options){ .repeat_ms = CONNECT_EVERY_MS, .on_timer = connect_some, .data = bots }, NULL);
}

void bots_free(struct bots *bots)
{
    if (bots == NULL) return;
    free(bots->tallies);
    free(bots);
}

uint32_t bots_playing(const struct bots *bots)
{
    return atomic_load(&bots->playing);
}

bool bots_ended(const struct bots *bots)
{
    return atomic_load(&bots->ended) == bots->options.bots;
}

/* ---- the result ---- */

static void add_tally(struct tally *into, const struct tally *from)
{
    into->snapshots += from->snapshots;
    into->inputs += from->inputs;
    into->said += from->said;
    into->heard += from->heard;
    into->pongs += from->pongs;
    into->violations += from->violations;
    histogram_merge(&into->round_trip, &from->round_trip);
    histogram_merge(&into->jitter, &from->jitter);
}

/* The newest tick that any bot of this one's room has seen. */
static uint32_t newest_tick(const struct bots *bots, const struct bot *bot)
{
    uint32_t newest = 0;
    for (uint32_t i = bot->room; i < bots->options.bots; i += bots->options.rooms)
        if (bots->all[i].game.view.tick > newest) newest = bots->all[i].game.view.tick;
    return newest;
}

/* By a second or more. */
static bool is_behind(const struct bots *bots, const struct bot *bot)
{
    return newest_tick(bots, bot) - bot->game.view.tick > bot->game.hz;
}

bool bots_are_level(const struct bots *bots)
{
    if (bots_playing(bots) < bots->options.bots) return false;
    for (uint32_t i = 0; i < bots->options.bots; i++)
        if (is_behind(bots, &bots->all[i])) return false;
    return true;
}

static uint64_t count_behind(const struct bots *bots)
{
    uint64_t behind = 0;
    for (uint32_t i = 0; i < bots->options.bots; i++) {
        const struct bot *bot = &bots->all[i];
        if (!is_behind(bots, bot)) continue;
        if (bot->told_closing && !bot->game.view.begun) continue; /* it came back too late to be let in */
        printf("bot %" PRIu32 " in room %u: expected to have seen tick %" PRIu32 " and is at %" PRIu32 "\n", i,
               bot->room, newest_tick(bots, bot), bot->game.view.tick);
        behind++;
    }
    return behind;
}

void bots_judge(const struct bots *bots, struct bots_result *out)
{
    *out = (struct bots_result){ .rejoined = atomic_load(&bots->rejoined), .dropped = atomic_load(&bots->dropped) };
    for (unsigned i = 0; i < bots->workers; i++) add_tally(&out->tally, &bots->tallies[i]);
    out->ticks_least = UINT32_MAX;
    for (uint32_t i = 0; i < bots->options.bots; i++) {
        const struct bot *bot = &bots->all[i];
        out->told += bot->told_closing;
        if (bot->measured < out->ticks_least) out->ticks_least = bot->measured;
        if (bot->measured > out->ticks_most) out->ticks_most = bot->measured;
    }
    out->violations = out->tally.violations + count_behind(bots);
    if (!atomic_load(&bots->measures)) {
        printf("the bots were never all in their rooms\n");
        out->violations++;
    }
    if (out->told > 0 && out->told + out->dropped < bots->options.bots) {
        printf("of %" PRIu32 " bots, only %" PRIu32 " were told that the server closes\n", bots->options.bots,
               out->told);
        out->violations++;
    }
}

static void print_times(const char *name, const struct histogram *histogram, FILE *file)
{
    static const struct {
        const char *name;
        unsigned per_mille;
    } shown[] = { { "p50", 500 }, { "p90", 900 }, { "p99", 990 }, { "p99.9", 999 }, { "max", 1000 } };
    fprintf(file, "%-14s", name);
    for (size_t i = 0; i < sizeof shown / sizeof shown[0]; i++)
        fprintf(file, "  %s %.2f", shown[i].name, (double)histogram_percentile(histogram, shown[i].per_mille) / 1e6);
    fprintf(file, "  of %" PRIu64 "\n", histogram->count);
}

void bots_print(const struct bots_result *result, FILE *file)
{
    const struct tally *tally = &result->tally;
    print_times("round trip ms", &tally->round_trip, file);
    print_times("tick jitter ms", &tally->jitter, file);
    fprintf(file, "ticks a bot %" PRIu32 " to %" PRIu32 ", snapshots %" PRIu64 ", own steps seen %" PRIu64 "\n",
            result->ticks_least, result->ticks_most, tally->snapshots, tally->inputs);
    fprintf(file, "texts said %" PRIu64 " heard %" PRIu64 ", pings answered %" PRIu64 "\n", tally->said, tally->heard,
            tally->pongs);
    fprintf(file, "told of the close %" PRIu32 ", rejoined %" PRIu32 ", dropped %" PRIu32 ", violations %" PRIu64 "\n",
            result->told, result->rejoined, result->dropped, result->violations);
}
