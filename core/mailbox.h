/* wr_message: work that a thread hands to a worker. The worker's queue carries it (wr_cq_post), so a busy worker is
 * woken once for many. */
#ifndef WR_MAILBOX_H
#define WR_MAILBOX_H

#include "platform/cq.h"

typedef struct wr_worker wr_worker;
typedef struct wr_message wr_message;

/* Embedded, first, in what is to be handed over; zeroed apart from these two. */
struct wr_message {
    wr_op op;
    void (*run)(wr_worker *worker, wr_message *message);  /* on the worker; the message is then run's */
    void (*drop)(wr_worker *worker, wr_message *message); /* instead, when the worker has ended: frees it */
};

/* wr_message_post: [any] The message is the worker's from here on. Never fails. */
void wr_message_post(wr_worker *worker, wr_message *message);

#endif
