/* Messages between threads as users of libraries that only wake a loop up write them: two arrays under a mutex, one
 * that producers fill and one that the worker empties, so that nothing is allocated; and a wake-up only by the one who
 * finds it empty. */
#ifndef BENCH_PEERS_MAILBOX_H
#define BENCH_PEERS_MAILBOX_H

#include <pthread.h>
#include <stdlib.h>

#include "peer.h"

struct mailbox {
    pthread_mutex_t mutex;
    unsigned *posted, *taken; /* the producers of messages; there is room for all that may be under way */
    unsigned count;           /* of those posted */
};

static inline void mailbox_open(struct mailbox *mailbox, const struct job *job)
{
    size_t room = (size_t)job->producers * job->window;
    mailbox->posted = calloc(room, sizeof mailbox->posted[0]);
    mailbox->taken = calloc(room, sizeof mailbox->taken[0]);
    if (!mailbox->posted || !mailbox->taken) fail("out of memory");
    mailbox->count = 0;
    int error = pthread_mutex_init(&mailbox->mutex, NULL);
    if (error != 0) fail_code(error, "pthread_mutex_init");
}

/* True if the worker is to be woken up. */
static inline bool mailbox_post(struct mailbox *mailbox, unsigned producer)
{
    pthread_mutex_lock(&mailbox->mutex);
    bool first = mailbox->count == 0;
    mailbox->posted[mailbox->count++] = producer;
    pthread_mutex_unlock(&mailbox->mutex);
    return first;
}

/* Receives all that are there; the worker's. */
static inline void mailbox_receive(struct mailbox *mailbox)
{
    pthread_mutex_lock(&mailbox->mutex);
    unsigned count = mailbox->count;
    unsigned *taken = mailbox->posted;
    mailbox->posted = mailbox->taken;
    mailbox->taken = taken;
    mailbox->count = 0;
    pthread_mutex_unlock(&mailbox->mutex);
    for (unsigned i = 0; i < count; i++) post_received(taken[i]);
}

#endif
