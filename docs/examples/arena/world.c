#include "world.h"
#include "protocol.h"

_Static_assert((WORLD_SIZE - 1) / PLACE_GRAIN <= UINT16_MAX, "a place fits into a record");

bool world_step_is_fair(int dx, int dy)
{
    int64_t x = dx, y = dy;
    return x * x + y * y <= (int64_t)STEP_MAX * STEP_MAX;
}

static uint32_t go(uint32_t from, int step)
{
    int64_t to = (int64_t)from + step;
    if (to < 0) return 0;
    return to < WORLD_SIZE ? (uint32_t)to : WORLD_SIZE - 1;
}

struct place world_move(struct place from, int dx, int dy)
{
    return (struct place){ go(from.x, dx), go(from.y, dy) };
}

uint16_t world_seen(uint32_t exact)
{
    return (uint16_t)(exact / PLACE_GRAIN);
}

/* Splitmix64. */
uint64_t world_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}
