/* wr_members: which connections of one worker are in which groups. A membership stands in three places: the list of
 * its group, to send along; the list of its connection, to leave all at once; and a hash table, since a connection
 * may be in thousands of groups and a group have tens of thousands of members, and either is left in constant time. */
#ifndef WR_MEMBERS_H
#define WR_MEMBERS_H

#include <stdatomic.h>
#include <weir/conn.h>

#include "platform/memory.h"

typedef struct wr_member wr_member;

/* The members of one group on one worker, in no promised order. */
typedef struct wr_roster {
    wr_member *first;
    _Atomic uint32_t size; /* written by the worker, read by anyone */
} wr_roster;

struct wr_member {
    weir_conn *conn;
    wr_roster *roster;
    wr_member *next, **link;           /* in the roster; `link` is what points here */
    wr_member *conn_next, **conn_link; /* among the connection's */
    wr_member *bucket_next;
};

/* The hash table is a linear one: it grows by one bucket an addition, so that no addition pays for moving all. */
typedef struct wr_members {
    wr_memory *memory;
    wr_member **buckets;
    uint32_t room;   /* of `buckets`, a power of two */
    uint32_t in_use; /* of these; 0: no table */
    uint32_t count;  /* memberships */
} wr_members;

/* wr_roster_size: how many members there are. [any] */
static inline uint32_t wr_roster_size(const wr_roster *roster)
{
    return atomic_load_explicit(&roster->size, memory_order_relaxed);
}

/* wr_members_find: NULL if the connection is not in the roster. */
wr_member *wr_members_find(const wr_members *members, const wr_roster *roster, const weir_conn *conn);

/* wr_members_add: 0 also if it is there. WEIR_ENOMEM: nothing has changed. */
int wr_members_add(wr_members *members, wr_roster *roster, weir_conn *conn);

/* wr_members_remove: ends the membership. The last one of all frees the table. */
void wr_members_remove(wr_members *members, wr_member *member);

/* wr_members_leave_all: ends all memberships of the connection. */
void wr_members_leave_all(wr_members *members, weir_conn *conn);

#endif
