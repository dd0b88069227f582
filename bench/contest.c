#include "contest.h"

#include <stdio.h>
#include <stdlib.h>

#include "fail.h"
#include "progress.h"

enum { PATIENCE_MS = 15000 };

/* Both sides of one contender. All of them are up during the whole contest, and asleep outside their own slices. */
static void start(struct contest *contest, struct contender *contender)
{
    bool drives = contest->workload->contender_drives;
    const char *other = drives ? "sink for" : "load on";
    struct task task = { .job = contest->job };
    struct message ready;

    snprintf(task.workload, sizeof task.workload, "%s", contest->workload->name);
    snprintf(task.peer, sizeof task.peer, "%s", contender->peer->name);
    task.place = drives ? contest->other_place : contest->contender_place;
    snprintf(contender->server.name, sizeof contender->server.name, "%s %s", drives ? other : "server",
             contender->name);
    process_start(&contender->server, &task, &ready);

    task.drives = true;
    task.place = drives ? contest->contender_place : contest->other_place;
    snprintf(task.job.address, sizeof task.job.address, "127.0.0.1:%u", ready.port);
    snprintf(contender->driver.name, sizeof contender->driver.name, "%s %s", drives ? "client" : other,
             contender->name);
    process_start(&contender->driver, &task, &ready);
    contender->samples = calloc(contest->rounds, sizeof contender->samples[0]);
    if (!contender->samples) fail("out of memory");
}

static void burst(struct contender *contender, uint64_t duration_ns, struct message *message)
{
    message->kind = MESSAGE_BURST;
    message->order = (struct order){ .duration_ns = duration_ns, .operations = UINT64_MAX };
    process_ask(&contender->driver, message, (int)(duration_ns / NS_PER_MS) + PATIENCE_MS);
}

static struct usage server_usage(const struct contender *contender)
{
    static struct message message;
    message.kind = MESSAGE_USAGE;
    process_ask(&contender->server, &message, PATIENCE_MS);
    return message.usage;
}

/* The server's usage is taken while nothing is in flight, so what it spent belongs to the operations that were counted
 * and to no others. */
static void measure(const struct contest *contest, struct contender *contender, struct sample *out)
{
    static struct message message;
    burst(contender, contest->warm_up_ns, &message);
    struct usage before = server_usage(contender);
    burst(contender, contest->slice_ns, &message);
    struct usage after = server_usage(contender);

    const struct outcome *outcome = &message.outcome;
    const struct histogram *latency = &outcome->tally.latency;
    if (outcome->tally.finished == 0) fail("%s finished nothing in a whole slice", contender->name);
    struct usage server = usage_between(&before, &after);
    bool drives = contest->workload->contender_drives;
    *out = (struct sample){
        .operations = outcome->tally.finished,
        .elapsed_ns = outcome->elapsed_ns,
        .contender = drives ? outcome->usage : server,
        .other = drives ? server : outcome->usage,
        .p50_ns = histogram_quantile(latency, 0.50),
        .p99_ns = histogram_quantile(latency, 0.99),
        .p999_ns = histogram_quantile(latency, 0.999),
        .worst_ns = latency->worst_ns,
    };
    histogram_merge(&contender->latency, latency);
}

void contest_run(struct contest *contest)
{
    for (unsigned i = 0; i < contest->count; i++) start(contest, &contest->contenders[i]);
    /* A B C, then C B A: what drifts during a round favours nobody. */
    for (unsigned round = 0; round < contest->rounds; round++) {
        for (unsigned turn = 0; turn < contest->count; turn++) {
            unsigned which = round % 2 == 0 ? turn : contest->count - 1 - turn;
            struct contender *contender = &contest->contenders[which];
            measure(contest, contender, &contender->samples[round]);
            progress_slice(contest, round, which);
        }
        contest->rounds_done = round + 1;
    }
    progress_end();
}
