#include "contest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "progress.h"
#include "thread.h"

enum { PATIENCE_MS = 60000, REST_MS = 1000 };

static struct task task_of(const struct contest *contest, const struct contender *contender, bool drives)
{
    struct task task = { .drives = drives, .job = contest->job };
    task.job.placement = contender->placement;
    snprintf(task.workload, sizeof task.workload, "%s", contest->workload->name);
    snprintf(task.peer, sizeof task.peer, "%s", contender->peer->name);
    task.place = contest->workload->contender_drives == drives ? contest->contender_place : contest->other_place;
    return task;
}

static void start(const struct contest *contest, struct contender *contender)
{
    bool drives = contest->workload->contender_drives;
    struct message ready = { 0 };
    if (!contest->workload->alone) {
        struct task task = task_of(contest, contender, false);
        snprintf(contender->server.name, sizeof contender->server.name, "%s %s", drives ? "sink for" : "server",
                 contender->name);
        process_start(&contender->server, &task, &ready);
    }
    struct task task = task_of(contest, contender, true);
    snprintf(task.job.address, sizeof task.job.address, "127.0.0.1:%u", ready.port);
    snprintf(contender->driver.name, sizeof contender->driver.name, "%s %s", drives ? "client" : "load on",
             contender->name);
    process_start(&contender->driver, &task, &ready);
}

/* The driver first, whose end resets what is open. */
static void stop(const struct contest *contest, const struct contender *contender)
{
    process_end(&contender->driver);
    if (!contest->workload->alone) process_end(&contender->server);
}

static const struct outcome *burst(const struct contender *contender, const struct order *order)
{
    static struct message message;
    message.kind = MESSAGE_BURST;
    message.order = *order;
    process_ask(&contender->driver, &message, (int)(order->duration_ns / NS_PER_MS) + PATIENCE_MS);
    return &message.outcome;
}

const struct outcome *contest_burst(const struct contender *contender, uint64_t duration_ns)
{
    return burst(contender, &(struct order){ .duration_ns = duration_ns, .operations = UINT64_MAX });
}

struct usage contest_usage(const struct contender *contender)
{
    static struct message message;
    message.kind = MESSAGE_USAGE;
    process_ask(&contender->server, &message, PATIENCE_MS);
    return message.usage;
}

const struct server_state *contest_state(const struct contender *contender)
{
    static struct message message;
    message.kind = MESSAGE_STATE;
    process_ask(&contender->server, &message, PATIENCE_MS);
    return &message.state;
}

void contest_sample(const struct contest *contest, struct sample *out, const struct outcome *outcome,
                    const struct usage *listening)
{
    const struct histogram *latency = &outcome->tally.latency;
    bool drives = contest->workload->contender_drives;
    *out = (struct sample){
        .operations = outcome->tally.finished,
        .elapsed_ns = outcome->elapsed_ns,
        .contender = drives ? outcome->usage : *listening,
        .other = drives ? *listening : outcome->usage,
        .late = outcome->tally.late,
        .p50_ns = histogram_quantile(latency, 0.50),
        .p99_ns = histogram_quantile(latency, 0.99),
        .p999_ns = histogram_quantile(latency, 0.999),
        .worst_ns = latency->worst_ns,
    };
    memcpy(out->figures, outcome->tally.figures, sizeof out->figures);
}

/* The server's usage is taken while nothing is in flight, so what it spent belongs to the operations that were counted
 * and to no others. */
static void measure(const struct contest *contest, struct contender *contender, struct sample *out)
{
    bool asks = !contest->workload->alone;
    struct usage none = { 0 };
    if (!contest->workload->fresh) burst(contender, &contest->warm_up);
    struct usage before = asks ? contest_usage(contender) : none;
    const struct outcome *outcome = contest_burst(contender, contest->slice_ns);
    struct usage after = asks ? contest_usage(contender) : none;
    if (outcome->tally.finished == 0) fail("%s finished nothing in a whole slice", contender->name);
    struct usage listening = usage_between(&before, &after);
    contest_sample(contest, out, outcome, &listening);
    histogram_merge(&contender->latency, &outcome->tally.latency);
}

/* Whoever has waited meanwhile gets his turn, and does not take it in the next slice. */
static void rest(const struct contest *contest)
{
    if (contest->first) thread_sleep_ms(REST_MS);
}

static void slice(const struct contest *contest, struct contender *contender, struct sample *out)
{
    rest(contest);
    if (contest->workload->fresh) start(contest, contender);
    if (contest->workload->measure) {
        contest->workload->measure(contest, contender, out);
    } else {
        measure(contest, contender, out);
    }
    if (contest->workload->fresh) stop(contest, contender);
}

void contest_run(struct contest *contest)
{
    for (unsigned i = 0; i < contest->count; i++) {
        struct contender *contender = &contest->contenders[i];
        contender->samples = calloc(contest->rounds, sizeof contender->samples[0]);
        if (!contender->samples) fail("out of memory");
        if (!contest->workload->fresh) start(contest, contender);
    }
    /* A B C, then C B A: what drifts during a round favours nobody. */
    for (unsigned round = 0; round < contest->rounds; round++) {
        for (unsigned turn = 0; turn < contest->count; turn++) {
            unsigned which = round % 2 == 0 ? turn : contest->count - 1 - turn;
            slice(contest, &contest->contenders[which], &contest->contenders[which].samples[round]);
            progress_slice(contest, round, which);
        }
        contest->rounds_done = round + 1;
    }
    progress_end();
}
