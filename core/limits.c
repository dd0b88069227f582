#include "core/limits.h"

#include <assert.h>
#include <string.h>

enum { ADDRESSES_MIN = 64, NS_A_SECOND = 1000000000 };

struct wr_counted_address {
    uint8_t key[8]; /* IPv4: four bytes; IPv6: the /64 */
    uint8_t family; /* WR_FAMILY_NONE: free */
    uint32_t count;
};

void wr_limits_init(wr_limits *limits, const wr_heap *heap)
{
    memset(limits, 0, sizeof *limits);
    limits->heap = heap;
    wr_mutex_init(&limits->lock);
}

void wr_limits_destroy(wr_limits *limits)
{
    wr_heap_free(limits->heap, limits->addresses, limits->address_room * sizeof *limits->addresses);
    wr_mutex_destroy(&limits->lock);
}

static struct wr_counted_address key_of(const wr_addr *peer)
{
    struct wr_counted_address key = { .family = peer->family };
    memcpy(key.key, peer->ip, peer->family == WR_FAMILY_IPV4 ? 4 : 8);
    return key;
}

/* Fibonacci hashing of the eight bytes (Knuth, TAOCP 6.4). Linear probing degrades gently if somebody aims at it: a
 * probe is eight bytes, and the table is as large as the listener's connections at most. */
static uint32_t home_of(const struct wr_counted_address *key, uint32_t room)
{
    uint64_t bits;
    memcpy(&bits, key->key, sizeof bits);
    return (uint32_t)(((bits ^ key->family) * UINT64_C(0x9e3779b97f4a7c15)) >> 32) & (room - 1);
}

static bool is_same(const struct wr_counted_address *a, const struct wr_counted_address *b)
{
    return a->family == b->family && memcmp(a->key, b->key, sizeof a->key) == 0;
}

/* Where the key stands, or the free place where it would. */
static struct wr_counted_address *find(wr_limits *limits, const struct wr_counted_address *key)
{
    uint32_t i = home_of(key, limits->address_room);
    while (limits->addresses[i].family != WR_FAMILY_NONE && !is_same(&limits->addresses[i], key))
        i = (i + 1) & (limits->address_room - 1);
    return &limits->addresses[i];
}

/* Keeps a quarter of the table free. */
static bool reserve(wr_limits *limits)
{
    if ((limits->address_count + 1) * 4 <= limits->address_room * 3) return true;
    struct wr_counted_address *old = limits->addresses;
    uint32_t old_room = limits->address_room;
    uint32_t room = old_room ? old_room * 2 : ADDRESSES_MIN;
    struct wr_counted_address *addresses = wr_heap_alloc(limits->heap, room * sizeof *addresses);
    if (!addresses) return false;
    memset(addresses, 0, room * sizeof *addresses);
    limits->addresses = addresses;
    limits->address_room = room;
    for (uint32_t i = 0; i < old_room; i++)
        if (old[i].family != WR_FAMILY_NONE) *find(limits, &old[i]) = old[i];
    wr_heap_free(limits->heap, old, old_room * sizeof *old);
    return true;
}

/* Removes an entry and moves up those behind it that would no longer be found (Knuth, TAOCP 6.4, algorithm R). */
static void remove_entry(wr_limits *limits, struct wr_counted_address *entry)
{
    uint32_t mask = limits->address_room - 1;
    uint32_t hole = (uint32_t)(entry - limits->addresses);
    for (uint32_t i = (hole + 1) & mask; limits->addresses[i].family != WR_FAMILY_NONE; i = (i + 1) & mask) {
        uint32_t home = home_of(&limits->addresses[i], limits->address_room);
        if (((i - home) & mask) < ((i - hole) & mask)) continue; /* its home lies behind the hole */
        limits->addresses[hole] = limits->addresses[i];
        hole = i;
    }
    limits->addresses[hole] = (struct wr_counted_address){ .family = WR_FAMILY_NONE };
    limits->address_count--;
}

static bool counts_addresses(const wr_limits *limits, const wr_addr *peer)
{
    return limits->max_per_address != 0 && peer->family != WR_FAMILY_UNIX;
}

static enum wr_admission enter_address(wr_limits *limits, const wr_addr *peer)
{
    struct wr_counted_address key = key_of(peer);
    enum wr_admission result = WR_ADMITTED;
    wr_mutex_lock(&limits->lock);
    if (!reserve(limits)) {
        result = WR_NO_MEMORY;
    } else {
        struct wr_counted_address *entry = find(limits, &key);
        if (entry->family == WR_FAMILY_NONE) {
            *entry = key;
            limits->address_count++;
        }
        if (entry->count >= limits->max_per_address)
            result = WR_OVER_ADDRESS;
        else
            entry->count++;
    }
    wr_mutex_unlock(&limits->lock);
    return result;
}

static void leave_address(wr_limits *limits, const wr_addr *peer)
{
    struct wr_counted_address key = key_of(peer);
    wr_mutex_lock(&limits->lock);
    struct wr_counted_address *entry = find(limits, &key);
    assert(entry->family != WR_FAMILY_NONE && entry->count > 0);
    if (--entry->count == 0) remove_entry(limits, entry);
    wr_mutex_unlock(&limits->lock);
}

enum wr_admission wr_limits_enter_limited(wr_limits *limits, const wr_addr *peer)
{
    if (limits->max_connections &&
        atomic_fetch_add_explicit(&limits->connections, 1, memory_order_relaxed) >= limits->max_connections) {
        atomic_fetch_sub_explicit(&limits->connections, 1, memory_order_relaxed);
        return WR_OVER_CONNECTIONS;
    }
    if (!counts_addresses(limits, peer)) return WR_ADMITTED;
    enum wr_admission result = enter_address(limits, peer);
    if (result != WR_ADMITTED && limits->max_connections)
        atomic_fetch_sub_explicit(&limits->connections, 1, memory_order_relaxed);
    return result;
}

void wr_limits_leave_limited(wr_limits *limits, const wr_addr *peer)
{
    if (limits->max_connections) atomic_fetch_sub_explicit(&limits->connections, 1, memory_order_relaxed);
    if (counts_addresses(limits, peer)) leave_address(limits, peer);
}

/* The generic cell rate algorithm (ITU-T I.371): one number, the time at which the next accept would be due. */
uint64_t wr_limits_pace_limited(wr_limits *limits, uint64_t now_ns)
{
    uint64_t interval = NS_A_SECOND / limits->accept_rate;
    uint64_t burst = NS_A_SECOND / 10;
    if (burst < interval) burst = interval;
    uint64_t due = atomic_load_explicit(&limits->due_ns, memory_order_relaxed);
    uint64_t next;
    do {
        next = (due > now_ns ? due : now_ns) + interval;
    } while (!atomic_compare_exchange_weak_explicit(&limits->due_ns, &due, next, memory_order_relaxed,
                                                    memory_order_relaxed));
    /* Another one now would make its own interval due too: it fits if all of them lie within the burst. */
    return next + interval > now_ns + burst ? next + interval - burst - now_ns : 0;
}
