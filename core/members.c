#include "core/members.h"

#include <string.h>
#include <weir/error.h>

#include "core/conn.h"

enum { ROOM_MIN = 16, ROOM_MAX = 1 << 28 };

/* Addresses of blocks: their low bits say nothing. Nothing but the place in the table depends on it. */
static uint32_t hash(const wr_roster *roster, const weir_conn *conn)
{
    uint64_t key = (uint64_t)(uintptr_t)conn * UINT64_C(0x9e3779b97f4a7c15) ^ (uint64_t)(uintptr_t)roster;
    key = (key ^ key >> 32) * UINT64_C(0xd6e8feb86659fd93);
    return (uint32_t)(key >> 32);
}

/* The least power of two that `in_use` buckets fit, less one. */
static uint32_t mask_of(uint32_t in_use)
{
    uint32_t mask = in_use - 1;
    for (unsigned shift = 1; shift < 32; shift *= 2) mask |= mask >> shift;
    return mask;
}

/* A bucket that is not in use yet still stands with the one that it will be split from. */
static wr_member **bucket_of(const wr_members *members, const wr_roster *roster, const weir_conn *conn)
{
    uint32_t mask = mask_of(members->in_use);
    uint32_t bucket = hash(roster, conn) & mask;
    if (bucket >= members->in_use) bucket &= mask >> 1;
    return &members->buckets[bucket];
}

wr_member *wr_members_find(const wr_members *members, const wr_roster *roster, const weir_conn *conn)
{
    if (!conn->memberships || !roster->first) return NULL;
    wr_member *member = *bucket_of(members, roster, conn);
    while (member && (member->roster != roster || member->conn != conn)) member = member->bucket_next;
    return member;
}

static bool make_room(wr_members *members)
{
    uint32_t room = members->room ? members->room * 2 : ROOM_MIN;
    if (members->room == ROOM_MAX) return false;
    wr_member **buckets = wr_alloc(members->memory, room * sizeof(wr_member *));
    if (!buckets) return false;
    if (members->room) memcpy((void *)buckets, (void *)members->buckets, members->room * sizeof(wr_member *));
    memset((void *)(buckets + members->room), 0, (room - members->room) * sizeof(wr_member *));
    wr_free(members->memory, (void *)members->buckets, members->room * sizeof(wr_member *));
    members->buckets = buckets;
    members->room = room;
    return true;
}

/* One more bucket takes its share of the one that stood for both. Without memory the chains grow longer instead. */
static void grow(wr_members *members)
{
    if (members->in_use == members->room && !make_room(members)) return;
    uint32_t added = members->in_use++;
    if (added == 0) return;
    wr_member *member = members->buckets[added & mask_of(members->in_use) >> 1];
    members->buckets[added & mask_of(members->in_use) >> 1] = NULL;
    while (member) {
        wr_member *next = member->bucket_next;
        wr_member **bucket = bucket_of(members, member->roster, member->conn);
        member->bucket_next = *bucket;
        *bucket = member;
        member = next;
    }
}

static void set_size(wr_roster *roster, uint32_t size)
{
    atomic_store_explicit(&roster->size, size, memory_order_relaxed);
}

int wr_members_add(wr_members *members, wr_roster *roster, weir_conn *conn)
{
    if (wr_members_find(members, roster, conn)) return 0;
    wr_member *member = wr_alloc(members->memory, sizeof *member);
    if (!member) return WEIR_ENOMEM;
    if (members->count >= members->in_use) grow(members);
    if (members->in_use == 0) {
        wr_free(members->memory, member, sizeof *member);
        return WEIR_ENOMEM;
    }
    wr_member **bucket = bucket_of(members, roster, conn);
    *member = (wr_member){ .conn = conn,
                           .roster = roster,
                           .next = roster->first,
                           .link = &roster->first,
                           .conn_next = conn->memberships,
                           .conn_link = &conn->memberships,
                           .bucket_next = *bucket };
    if (member->next) member->next->link = &member->next;
    if (member->conn_next) member->conn_next->conn_link = &member->conn_next;
    *bucket = roster->first = conn->memberships = member;
    members->count++;
    set_size(roster, wr_roster_size(roster) + 1);
    return 0;
}

static void free_table(wr_members *members)
{
    wr_free(members->memory, (void *)members->buckets, members->room * sizeof(wr_member *));
    *members = (wr_members){ .memory = members->memory };
}

void wr_members_remove(wr_members *members, wr_member *member)
{
    wr_member **link = bucket_of(members, member->roster, member->conn);
    while (*link != member) link = &(*link)->bucket_next;
    *link = member->bucket_next;
    *member->link = member->next;
    if (member->next) member->next->link = member->link;
    *member->conn_link = member->conn_next;
    if (member->conn_next) member->conn_next->conn_link = member->conn_link;
    set_size(member->roster, wr_roster_size(member->roster) - 1);
    wr_free(members->memory, member, sizeof *member);
    if (--members->count == 0) free_table(members);
}

void wr_members_leave_all(wr_members *members, weir_conn *conn)
{
    while (conn->memberships) wr_members_remove(members, conn->memberships);
}
