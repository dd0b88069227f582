/* The load of the workloads `echo` and `slow`: connections that stay open, with messages that come back as they are.
 * Every byte is compared: an answer that is quick and wrong must not win.
 *
 * Closed loop (job->rate is 0): each connection keeps job->window messages in flight, and the next one begins when one
 * is back. Paced: message k is to begin at k / rate after the start of the burst, on each connection in turn, and its
 * latency counts from there, whenever it could leave. So a server that stalls is charged for all that should have
 * happened meanwhile. */
#ifndef BENCH_MESSAGES_H
#define BENCH_MESSAGES_H

#include "driver.h"

struct messages;

struct messages *messages_open(const struct job *job);

/* messages_burst: `step`, if not NULL, is called with `data` once in every pass of the loop. */
void messages_burst(struct messages *messages, const struct limit *limit, struct tally *tally,
                    void (*step)(void *data, uint64_t now_ns), void *data);

#endif
