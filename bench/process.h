/* Child processes: one for each side of each contender, and what is said to them. linux/ and windows/ implement this
 * page.
 *
 * A child and its parent share a channel that keeps messages apart, so that a message is one call: a SOCK_SEQPACKET
 * pair, or a named pipe in message mode. A child that fails says why before it exits; one that dies is noticed at the
 * next question to any of them. Children never outlive the parent: they are ended by their ids or their job when it
 * exits, and by the kernel when it is killed. */
#ifndef BENCH_PROCESS_H
#define BENCH_PROCESS_H

#include <stdbool.h>
#include <stdint.h>

#include "driver.h"
#include "place.h"
#include "usage.h"

/* What a child is to be: plain values, which also a child that does not share this one's memory can be told. */
struct task {
    bool drives;                 /* the driving side; else the listening one */
    char workload[16], peer[16]; /* by their names in the registry */
    struct job job;
    struct place place;
};

enum message_kind {
    MESSAGE_TASK,    /* to a child that begins as a new program */
    MESSAGE_FAILURE, /* from a child: its last words */
    MESSAGE_READY,   /* from a child: it is set up */
    MESSAGE_USAGE,   /* to a server, and its answer */
    MESSAGE_STATE,   /* to a server, and its answer */
    MESSAGE_BURST,   /* to a driver, and its answer */
};

/* How long a driver is to run, and what came of it. */
struct order {
    uint64_t duration_ns;
    uint64_t operations; /* at most */
};

struct outcome {
    uint64_t elapsed_ns;
    struct usage usage; /* of the driver's own process */
    struct tally tally;
};

/* What a server has, when it has nothing to do. */
struct server_state {
    uint64_t held;                    /* bytes, by the library's own count or by malloc's; 0 where neither has one */
    uint64_t resident;                /* bytes of its process */
    uint64_t shares[JOB_WORKERS_MAX]; /* connections of each worker; 0 where the contender does not say */
};

struct message {
    enum message_kind kind;
    union {
        struct task task;
        char failure[512];
        uint16_t port;
        struct usage usage;
        struct server_state state;
        struct order order;
        struct outcome outcome;
    };
};

struct process {
    char name[64];    /* for messages: "server weir" */
    intptr_t id;      /* the system's: a process's id, or a handle */
    intptr_t control; /* the parent's end of the channel */
};

/* process_start: starts a child that calls side_run (sides.h). Returns when it has said MESSAGE_READY, which is put
 * into `ready`. */
void process_start(struct process *process, const struct task *task, struct message *ready);

/* process_ask: sends a message, and waits for its answer for at most `timeout_ms`. Fails for any process that died. */
void process_ask(const struct process *process, struct message *message, int timeout_ms);

/* process_end: ends it, and waits until it has gone. */
void process_end(const struct process *process);

/* process_run_child: where a child begins as a new program and these arguments are one's, runs it and never returns. */
void process_run_child(int count, char **arguments);

/* For children. process_receive is false when the parent has gone. */
bool process_is_child(void);
bool process_receive(struct message *message);
void process_send(const struct message *message);

/* process_wait_for_stdin: until stdin has ended or, unless that is 0, `until_ns` (by clock_ns) has come. */
void process_wait_for_stdin(uint64_t until_ns);

#endif
