/* Child processes: one for each side of each contender, and what is said to them.
 *
 * A child and its parent share a SOCK_SEQPACKET pair, so that a message is one call. A child that fails says why before
 * it exits; one that dies is noticed at the next question to any of them. Children never outlive the parent: they are
 * killed by their ids when it exits, and by the kernel when it is killed. */
#ifndef BENCH_PROCESS_H
#define BENCH_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "driver.h"
#include "machine.h"
#include "usage.h"

enum message_kind {
    MESSAGE_FAILURE, /* from a child: its last words */
    MESSAGE_READY,   /* from a child: it is set up */
    MESSAGE_USAGE,   /* to a server, and its answer */
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

struct message {
    enum message_kind kind;
    union {
        char failure[512];
        uint16_t port;
        struct usage usage;
        struct order order;
        struct outcome outcome;
    };
};

struct process {
    char name[64]; /* for messages: "weir (server)" */
    pid_t pid;
    int control;
};

/* process_start: forks; the child enters `place` and runs `body`. Returns when it has said MESSAGE_READY, which is put
 * into `ready`. */
void process_start(struct process *process, const struct place *place, void (*body)(int control, const void *argument),
                   const void *argument, struct message *ready);

/* process_ask: sends a message, and waits for its answer for at most `timeout_ms`. Fails for any process that died. */
void process_ask(const struct process *process, struct message *message, int timeout_ms);

/* For children. False when the parent has gone. */
bool message_receive(int control, struct message *message);
void message_send(int control, const struct message *message);

#endif
