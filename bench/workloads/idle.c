/* idle: what connections cost that do nothing. In a server that has just begun all of them are opened, held for a
 * second, and then used once, for a message there and back. In between it is read how much memory has grown: by the
 * library's own count, of the process, and of the kernel. */
#include <math.h>
#include <stdlib.h>

#include "contest.h"
#include "memory.h"
#include "net.h"

enum { OPENED, HELD, USED };                                 /* what each burst of the load does */
enum { OWN, RESIDENT, RESIDENT_USED, KERNEL, CPU, FIGURES }; /* a connection's share, but for CPU */

static const struct figure figures[] = {
    [OWN] = { "own_bytes", "own B", 0, false },
    [RESIDENT] = { "resident_bytes", "RSS B", 0, false },
    [RESIDENT_USED] = { "resident_used_bytes", "RSS used B", 0, false },
    [KERNEL] = { "kernel_bytes", "kernel B", 0, false },
    [CPU] = { "idle_cpu_us", "idle us/s", 0, false },
    [FIGURES] = { 0 },
};

struct load {
    struct address server;
    struct net *net;
    unsigned connections, size;
    unsigned step;
    uint8_t *message, *answer;
};

static void *load_open(const struct job *job)
{
    struct load *load = calloc(1, sizeof *load);
    if (!load) fail("out of memory");
    load->server = address_of(job->address);
    load->net = net_create(job->connections);
    load->connections = job->connections;
    load->size = job->size;
    load->message = calloc(1, job->size);
    load->answer = calloc(1, job->size);
    if (!load->message || !load->answer) fail("out of memory");
    return load;
}

/* Nothing may come while nothing is sent. */
static void hold(struct load *load, uint64_t until_ns)
{
    struct net_event event;
    for (uint64_t now_ns = clock_ns(); now_ns < until_ns; now_ns = clock_ns()) {
        int left_ms = (int)((until_ns - now_ns) / NS_PER_MS) + 1;
        if (net_wait(load->net, &event, 1, left_ms) > 0) fail("an idle connection ended, or got something");
    }
}

static void use(struct load *load, unsigned index)
{
    struct net_event event;
    if (net_send(load->net, index, load->message, load->size) != load->size) fail("a message does not fit a socket");
    for (size_t got = 0; got < load->size;) {
        if (net_wait(load->net, &event, 1, SILENCE_MS) == 0) fail("no byte came back for %d s", SILENCE_MS / 1000);
        got += net_receive(load->net, index, load->answer, load->size - got);
    }
}

static void load_burst(void *state, const struct limit *limit, struct tally *tally)
{
    struct load *load = state;
    unsigned step = load->step++;
    tally->started = load->connections;
    for (unsigned i = 0; i < load->connections && step != HELD; i++) {
        if (step == OPENED) net_open(load->net, i, &load->server);
        if (step == USED) use(load, i);
    }
    hold(load, limit->until_ns);
    tally->finished = tally->started;
}

static double share(uint64_t before, uint64_t after, unsigned connections)
{
    return after > before ? (double)(after - before) / connections : 0;
}

static void measure(const struct contest *contest, struct contender *contender, struct sample *out)
{
    enum { SETTLE_MS = 300 }; /* until the server has accepted the last ones, and has freed what it freed */
    const unsigned count = contest->job.connections;
    uint64_t kernel_before = 0, kernel_after = 0;
    bool kernel = memory_kernel(&kernel_before);
    struct server_state begun = *contest_state(contender);
    contest_burst(contender, SETTLE_MS * (uint64_t)NS_PER_MS);
    struct server_state opened = *contest_state(contender);
    memory_kernel(&kernel_after);

    struct usage before = contest_usage(contender);
    const struct outcome *held = contest_burst(contender, NS_PER_S);
    struct usage after = contest_usage(contender);
    struct usage spent = usage_between(&before, &after);
    contest_sample(contest, out, held, &spent);
    contest_burst(contender, SETTLE_MS * (uint64_t)NS_PER_MS);
    struct server_state used = *contest_state(contender);

    out->figures[OWN] = opened.held > 0 ? share(begun.held, opened.held, count) : NAN;
    out->figures[RESIDENT] = share(begun.resident, opened.resident, count);
    out->figures[RESIDENT_USED] = share(begun.resident, used.resident, count);
    out->figures[KERNEL] = kernel ? share(kernel_before, kernel_after, count) : NAN;
    out->figures[CPU] = (double)spent.cpu_ns / NS_PER_US * NS_PER_S / (double)held->elapsed_ns;
}

const struct workload workload_idle = {
    .name = "idle",
    .what = "memory of connections that do nothing, in a server that has just begun",
    .operation = "connection held for a second",
    .fresh = true,
    .only_figures = true,
    .options = OPTION(CONNECTIONS) | OPTION(SIZE),
    .usual = { .connections = 19000, .size = 64 },
    .rounds = 3,
    .figures = figures,
    .note =
        "Growth for each connection. own: by the library's own count, or else malloc's; RSS: of the process, before "
        "the first byte;\nused: after one message there and back; kernel: slab, of both ends. idle: CPU time of all "
        "in a second of nothing.",
    .server = SERVER_ECHO,
    .load = { load_open, load_burst },
    .measure = measure,
};
