/* weir_swarm: runs scenarios, each from one seed. swarm.h says what they are. */
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "platform/bug.h"
#include "platform/os.h"
#include "sim/swarm.h"

static const char USAGE[] = "usage: weir_swarm [--first N] [--seeds N] [--seconds S] [--twice N]\n"
                            "       weir_swarm --seed N [--trace]\n"
                            "Runs random scenarios in the simulator and checks what weir promises; ends with 1 at the "
                            "first broken promise, and\n"
                            "says which command repeats it.\n"
                            "  --first N    the first seed; 1\n"
                            "  --seeds N    how many; 1000\n"
                            "  --seconds S  as many as fit into that time instead\n"
                            "  --twice N    runs every N-th one a second time, which must do the same; 16; 0: none\n"
                            "  --seed N     this one alone, twice\n"
                            "  --trace      tell all that happens\n"
#ifdef WEIR_BUGS
                            "  --bug NAME   with this bug in weir: ends with 0 if a seed finds it\n"
                            "  --list-bugs  which there are\n"
#endif
    ;

enum { WATCH_MS = 20000, WATCH_STEP_MS = 500 };

typedef struct arguments {
    uint64_t first, seeds, seconds, twice;
    bool trace;
    const char *bug; /* NULL: none */
} arguments;

static arguments options = { .first = 1, .seeds = 1000, .twice = 16 };

static const char *program;
static _Atomic uint64_t current; /* seed, for those who only see that it goes wrong */

static void tell_how_to_repeat(uint64_t seed)
{
    (void)fflush(stdout);
    fprintf(stderr, "repeat it with:  %s %s%s%s--seed %" PRIu64 " --trace\n", program, options.bug ? "--bug " : "",
            options.bug ? options.bug : "", options.bug ? " " : "", seed);
    (void)fflush(stderr);
}

/* With a bug, that is what was hoped for. */
static int verdict(uint64_t seed)
{
    if (!options.bug) return 1;
    printf("bug %s: found within %" PRIu64 " seeds\n", options.bug, seed - options.first + 1);
    (void)fflush(stdout);
    return 0;
}

static void failed(const swarm *s, const char *text)
{
    uint64_t now_ns = swarm_now(s);
    (void)fflush(stdout);
    fprintf(stderr, "seed %" PRIu64 " at %" PRIu64 ".%09" PRIu64 " s: %s\n", s->options.seed, now_ns / SWARM_S,
            now_ns % SWARM_S, text);
    tell_how_to_repeat(s->options.seed);
    exit(verdict(s->options.seed));
}

/* A crash, an assertion, or a rule of the simulator's: which seed it was is all that is left to say. */
static void crashed(int number)
{
    uint64_t seed = current;
    fprintf(stderr, "seed %" PRIu64 ": the program ends by signal %d\n", seed, number);
    tell_how_to_repeat(seed);
    _Exit(verdict(seed));
}

/* A scenario takes some milliseconds. */
static void watch(void *unused)
{
    uint64_t seed = 0;
    (void)unused;
    for (unsigned ms = 0;; ms += WATCH_STEP_MS) {
        if (seed != current) ms = 0;
        seed = current;
        if (ms >= WATCH_MS) {
            fprintf(stderr, "seed %" PRIu64 ": does not end\n", seed);
            tell_how_to_repeat(seed);
            _Exit(verdict(seed));
        }
        wr_os_sleep_ms(WATCH_STEP_MS);
    }
}

static uint64_t parse(const char *text)
{
    char *end;
    uint64_t number = strtoull(text, &end, 10);
    if (*text != 0 && *end == 0) return number;
    fprintf(stderr, "weir_swarm: no number: %s\n%s", text, USAGE);
    exit(2);
}

#ifdef WEIR_BUGS
enum wr_bug wr_bug;

static const struct {
    const char *name, *text;
} bugs[] = {
#define BUG_ROW(name, text) { #name, text },
    WR_BUGS(BUG_ROW)
#undef BUG_ROW
};

static void list_bugs(void)
{
    for (size_t i = 0; i < sizeof bugs / sizeof *bugs; i++) printf("%-22s %s\n", bugs[i].name, bugs[i].text);
}

static bool use_bug(const char *name)
{
    for (size_t i = 0; i < sizeof bugs / sizeof *bugs; i++) {
        if (strcmp(bugs[i].name, name) != 0) continue;
        wr_bug = (enum wr_bug)(i + 1);
        options.bug = name;
    }
    return options.bug;
}

static bool parse_bug(int argc, char **argv, int *i)
{
    if (strcmp(argv[*i], "--list-bugs") == 0) {
        list_bugs();
        exit(0);
    }
    return strcmp(argv[*i], "--bug") == 0 && *i + 1 < argc && use_bug(argv[++*i]);
}
#else
static bool parse_bug(int argc, char **argv, const int *i)
{
    (void)argc, (void)argv, (void)i;
    return false;
}
#endif

static void parse_arguments(arguments *out, int argc, char **argv)
{
    const struct {
        const char *name;
        uint64_t *value;
    } numbers[] = { { "--first", &out->first },
                    { "--seeds", &out->seeds },
                    { "--seconds", &out->seconds },
                    { "--twice", &out->twice } };
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            printf("%s", USAGE);
            exit(0);
        }
        if (strcmp(argv[i], "--trace") == 0) {
            out->trace = true;
            continue;
        }
        bool is_known = false;
        for (size_t n = 0; n < sizeof numbers / sizeof *numbers && i + 1 < argc; n++) {
            if (strcmp(argv[i], numbers[n].name) != 0) continue;
            *numbers[n].value = parse(argv[++i]);
            is_known = true;
            break;
        }
        if (!is_known && strcmp(argv[i], "--seed") == 0 && i + 1 < argc) {
            out->first = parse(argv[++i]);
            out->seeds = out->twice = 1;
            is_known = true;
        }
        if (is_known || parse_bug(argc, argv, &i)) continue;
        fprintf(stderr, "weir_swarm: not understood: %s\n%s", argv[i], USAGE);
        exit(2);
    }
}

static swarm_result run(uint64_t seed, bool trace)
{
    current = seed;
    return swarm_run_scenario(&(swarm_options){ .seed = seed, .trace = trace, .failed = failed }, choice_of_seed(seed));
}

static void check_twice(uint64_t seed, const swarm_result *once)
{
    swarm_result again = run(seed, false);
    if (again.hash == once->hash) return;
    fprintf(stderr, "seed %" PRIu64 ": a second run is another: %016" PRIx64 ", then %016" PRIx64 "\n", seed,
            once->hash, again.hash);
    tell_how_to_repeat(seed);
    exit(1);
}

int main(int argc, char **argv)
{
    program = argv[0];
    parse_arguments(&options, argc, argv);
    (void)signal(SIGABRT, crashed);
    (void)signal(SIGSEGV, crashed);
    (void)signal(SIGFPE, crashed);
    wr_thread watcher;
    if (wr_thread_start(&watcher, "watcher", watch, NULL) != 0) return 2;
    uint64_t begun_ns = wr_os_now_ns(), count = 0, ends = 0, messages = 0, datagrams = 0, virtual_s = 0, hash = 0;
    for (;; count++) {
        bool is_over =
            options.seconds ? wr_os_now_ns() - begun_ns >= options.seconds * SWARM_S : count >= options.seeds;
        if (is_over) break;
        uint64_t seed = options.first + count;
        swarm_result result = run(seed, options.trace);
        if (options.twice && count % options.twice == 0) check_twice(seed, &result);
        hash = (hash ^ result.hash) * UINT64_C(0x100000001b3);
        ends += result.ends;
        messages += result.messages;
        datagrams += result.datagrams;
        virtual_s += result.virtual_ns / SWARM_S;
    }
    if (options.bug) {
        printf("bug %s: NOT found within %" PRIu64 " seeds\n", options.bug, count);
        return 1;
    }
    double seconds = (double)(wr_os_now_ns() - begun_ns) / 1e9;
    printf("%" PRIu64 " seeds from %" PRIu64 ": no broken promise; %" PRIu64 " ends of connections, %" PRIu64
           " messages, %" PRIu64 " datagrams, %" PRIu64 " virtual s in %.1f s; hash %016" PRIx64 "\n",
           count, options.first, ends, messages, datagrams, virtual_s, seconds, hash);
    return 0;
}
