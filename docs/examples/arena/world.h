/* Where players are and how they move: what the server decides and a client foretells, in whole numbers, so that both
 * come to the same place. */
#ifndef ARENA_WORLD_H
#define ARENA_WORLD_H

#include <stdbool.h>
#include <stdint.h>

/* An exact place, in 256ths of a unit, from 0 to WORLD_SIZE - 1. */
struct place {
    uint32_t x, y;
};

/* world_step_is_fair: whether somebody can go that far in one tick. */
bool world_step_is_fair(int dx, int dy);

/* world_move: where such a step leads; at the edge of the world it ends. */
struct place world_move(struct place from, int dx, int dy);

/* world_seen: a coordinate as a snapshot tells it, in units of PLACE_GRAIN. */
uint16_t world_seen(uint32_t exact);

/* world_random: the next of a sequence of numbers that its seed decides. For games, not for secrets. */
uint64_t world_random(uint64_t *state);

#endif
