/* The floor's messages between threads: a stack that producers push onto without a lock and that the worker takes
 * whole, and an eventfd in its epoll instance, written by the one that finds the stack empty. A producer has as many
 * messages as may be under way, and uses them in turn: nothing is allocated. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "linux/socket.h"
#include "peers/floor_linux/floor.h"
#include "thread.h"

struct post {
    struct post *next;
    unsigned producer;
};

/* A producer's. */
struct lane {
    struct post *posts;
    unsigned next;
    char apart[64]; /* from the next one, in the caches */
};

struct mailbox {
    _Atomic(struct post *) newest;
    char apart[64];
    unsigned window;
    int epoll, event;
    struct lane lanes[];
};

/* Turns the stack round: the oldest first. */
static struct post *in_order(struct post *newest)
{
    struct post *oldest = NULL;
    while (newest) {
        struct post *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    return oldest;
}

static void work(void *data)
{
    struct mailbox *mailbox = data;
    for (;;) {
        struct epoll_event event;
        uint64_t ignored;
        int count = epoll_wait(mailbox->epoll, &event, 1, -1);
        if (count < 0 && errno != EINTR) fail_system("epoll_wait");
        if (count < 1 || read(mailbox->event, &ignored, sizeof ignored) != (ssize_t)sizeof ignored) continue;
        struct post *next;
        for (struct post *post = in_order(atomic_exchange(&mailbox->newest, NULL)); post; post = next) {
            next = post->next;
            post_received(post->producer); /* from here on it may be used again */
        }
    }
}

void *floor_post_open(const struct job *job)
{
    struct mailbox *mailbox = calloc(1, sizeof *mailbox + job->producers * sizeof mailbox->lanes[0]);
    if (!mailbox) fail("out of memory");
    mailbox->window = job->window;
    for (unsigned i = 0; i < job->producers; i++) {
        struct post *posts = calloc(job->window, sizeof posts[0]);
        if (!posts) fail("out of memory");
        for (unsigned j = 0; j < job->window; j++) posts[j].producer = i;
        mailbox->lanes[i].posts = posts;
    }
    mailbox->epoll = epoll_open();
    mailbox->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (mailbox->event < 0) fail_system("eventfd");
    epoll_watch(mailbox->epoll, mailbox->event, EPOLLIN, 0);
    thread_start(work, mailbox);
    return mailbox;
}

void floor_post_post(void *state, unsigned producer)
{
    struct mailbox *mailbox = state;
    struct lane *lane = &mailbox->lanes[producer];
    struct post *post = &lane->posts[lane->next];
    lane->next = lane->next + 1 < mailbox->window ? lane->next + 1 : 0;
    struct post *found = atomic_load_explicit(&mailbox->newest, memory_order_relaxed);
    do {
        post->next = found;
    } while (!atomic_compare_exchange_weak(&mailbox->newest, &found, post));
    uint64_t one = 1;
    if (!found && write(mailbox->event, &one, sizeof one) != (ssize_t)sizeof one) fail_system("eventfd");
}
