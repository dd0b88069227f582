/* wr_lease: what a RECV_FROM lends to the caller: the list of datagrams and, behind it, their bytes; one block of a
 * pool.
 *
 * How many datagrams a system call may bring follows from how long each may be: all the bytes are one piece, divided
 * anew for each call. Of a lease that is mostly empty the rest was never touched, so it is address space and not
 * memory. */
#ifndef WR_LEASE_H
#define WR_LEASE_H

#include "platform/cq.h"

enum {
    WR_LEASE_BYTES = 256 * 1024,
    WR_LEASE_CALL_MAX = 32, /* datagrams, or runs of them, that one system call brings */
    WR_LEASES_KEPT = 1,     /* free ones a queue: a caller that returns each before the next receive needs no second */
};

typedef struct wr_lease {
    wr_datagram items[WR_DATAGRAMS_LEASED]; /* the first is what the caller has of the lease */
    uint8_t bytes[WR_LEASE_BYTES];
} wr_lease;

/* wr_lease_place: the distance between two places for datagrams of up to `size` bytes: each begins aligned. */
static inline uint32_t wr_lease_place(uint32_t size)
{
    return (size + 15) & ~UINT32_C(15);
}

/* wr_lease_room: how many such places there are for one system call; `size` is at least 1. */
static inline unsigned wr_lease_room(uint32_t size)
{
    uint32_t room = WR_LEASE_BYTES / wr_lease_place(size);
    return room < WR_LEASE_CALL_MAX ? room : WR_LEASE_CALL_MAX;
}

#endif
