/* Many bots on one runtime: they connect at a bounded rate, play, and report what they saw. */
#ifndef ARENA_BOTS_H
#define ARENA_BOTS_H

#include "bot.h"
#include <stdio.h>

struct bots_options {
    const char *address;
    uint32_t bots, rooms; /* bot n joins room n % rooms */
    uint32_t rate;        /* connections that are begun in a second; not 0 */
    uint32_t seconds;     /* of play, once all have joined; 0: until the server closes */
    bool rejoins;         /* whose connection is lost comes back, as a new player; else that is a violation */
};

/* bots_open: begins, with the runtime, which it stops at the end. WEIR_E…; also then they must be freed. */
int bots_open(struct bots **out, weir_runtime *runtime, const struct bots_options *options);

/* bots_free: after weir_runtime_destroy. NULL is fine. */
void bots_free(struct bots *bots);

/* bots_playing: how many are in their rooms now. */
uint32_t bots_playing(const struct bots *bots);

/* bots_are_level: whether all are in their rooms, and none is a second behind the others there. Only while no thread
 * runs the bots: in the simulator, between two steps. */
bool bots_are_level(const struct bots *bots);

/* bots_ended: whether all have left for good. */
bool bots_ended(const struct bots *bots);

/* What they saw together. */
struct bots_result {
    struct tally tally;
    uint64_t violations;              /* those of the tally, and those that only the whole shows */
    uint32_t told;                    /* bots that were told that the server closes */
    uint32_t rejoined;                /* connections that were lost, and made again */
    uint32_t dropped;                 /* bots that were lost for good, or never came in; each is a violation */
    uint32_t ticks_least, ticks_most; /* that a bot got while all were playing */
};

/* bots_judge: adds it all up. No bot may be a second behind the others of its room; and when the server has closed, all
 * must have been told. After the runtime's end, or its destruction. */
void bots_judge(const struct bots *bots, struct bots_result *out);

/* bots_print: for people. */
void bots_print(const struct bots_result *result, FILE *file);

#endif
