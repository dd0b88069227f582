/* post: messages from producers' threads to a worker, all in the contender's process. Each producer has a window of
 * them under way: it posts half of it, and goes on with the other half while the worker takes the first one. */
#include <stdlib.h>

#include "fail.h"
#include "thread.h"
#include "workload.h"

struct producer {
    unsigned number;
    struct semaphore *go;      /* to its thread: a burst begins */
    struct semaphore *credits; /* halves of the window that are free */
    uint64_t posted;           /* in this burst; its thread's */
    char apart[64];            /* what follows is the worker's, and in a cache line of its own */
    uint64_t received;
    char apart_too[64];
};

static struct {
    const struct peer_post *peer;
    void *state;
    unsigned half, count;
    struct limit limit; /* of each producer */
    struct semaphore *done;
    struct producer producers[JOB_PRODUCERS_MAX];
} load;

void post_received(unsigned producer)
{
    struct producer *from = &load.producers[producer];
    if (++from->received % load.half == 0) semaphore_post(from->credits);
}

static void post_half(struct producer *producer)
{
    semaphore_wait(producer->credits);
    for (unsigned i = 0; i < load.half; i++) load.peer->post(load.state, producer->number);
    producer->posted += load.half;
}

static void produce(void *data)
{
    struct producer *producer = data;
    for (;;) {
        semaphore_wait(producer->go);
        while (clock_ns() < load.limit.until_ns && producer->posted + load.half <= load.limit.operations) {
            post_half(producer);
        }
        /* All has arrived when both halves are free. */
        for (unsigned i = 0; i < 2; i++) semaphore_wait(producer->credits);
        for (unsigned i = 0; i < 2; i++) semaphore_post(producer->credits);
        semaphore_post(load.done);
    }
}

static void *open_post(const struct job *job)
{
    load.half = job->window / 2;
    load.count = job->producers;
    load.done = semaphore_create();
    load.state = load.peer->open(job);
    for (unsigned i = 0; i < load.count; i++) {
        struct producer *producer = &load.producers[i];
        producer->number = i;
        producer->go = semaphore_create();
        producer->credits = semaphore_create();
        for (unsigned j = 0; j < 2; j++) semaphore_post(producer->credits);
        thread_start(produce, producer);
    }
    return &load;
}

static void burst(void *state, const struct limit *limit, struct tally *tally)
{
    (void)state;
    load.limit = (struct limit){ limit->until_ns, limit->operations / load.count };
    for (unsigned i = 0; i < load.count; i++) {
        load.producers[i].posted = 0;
        semaphore_post(load.producers[i].go);
    }
    for (unsigned i = 0; i < load.count; i++) semaphore_wait(load.done);
    for (unsigned i = 0; i < load.count; i++) tally->started += load.producers[i].posted;
    tally->finished = tally->started;
}

static bool has(const struct peer *peer)
{
    return peer->post.open != NULL;
}

static const struct driver *driver(const struct peer *peer)
{
    static const struct driver post = { open_post, burst };
    load.peer = &peer->post;
    return &post;
}

const struct workload workload_post = {
    .name = "post",
    .what = "messages from other threads to a worker of the contender's",
    .operation = "message",
    .contender_drives = true,
    .alone = true,
    .options = OPTION(WINDOW) | OPTION(PRODUCERS),
    .usual = { .window = 1024, .producers = 1 },
    .least_window = 2,
    .most_window = 4096,
    .note = "CPU time is that of all threads: of posting, of waking up, and of taking.",
    .has = has,
    .driver = driver,
};
