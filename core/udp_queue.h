/* wr_udp_queue: the datagrams that a UDP socket has sent and that the system was not offered yet.
 *
 * They lie one behind the other in chunks of the worker's pool, each with its copy of the bytes or with a reference to
 * a shared buffer, in a list as the backend takes it. All that was sent in a pass goes in one flight; what is sent
 * meanwhile waits. An empty queue holds no memory. */
#ifndef WR_UDP_QUEUE_H
#define WR_UDP_QUEUE_H

#include <weir/buffer.h>

#include "platform/cq.h"
#include "platform/memory.h"

enum { WR_UDP_CHARGE = 64 }; /* what a datagram counts beside its bytes: about what it holds */

static inline uint32_t wr_udp_charge(size_t size)
{
    return (uint32_t)size + WR_UDP_CHARGE;
}

typedef struct wr_udp_chunk wr_udp_chunk;

typedef struct wr_udp_list {
    wr_udp_chunk *chunks, *last_chunk;
    wr_datagram *first, *last;
    uint32_t count;
    uint32_t charge; /* bytes that they count */
} wr_udp_list;

typedef struct wr_udp_queue {
    wr_udp_list flight; /* with the backend */
    wr_udp_list waiting;
} wr_udp_queue;

/* wr_udp_queue_push: appends a datagram: a reference to `buf`, or with NULL a copy of the bytes. WEIR_ENOMEM: nothing
 * has changed. */
int wr_udp_queue_push(wr_udp_queue *queue, wr_pool *chunks, const wr_addr *peer, const void *bytes, uint32_t size,
                      weir_buf *buf);

/* wr_udp_queue_launch: puts all that waits in flight, and returns the first; NULL when nothing waits. None may be in
 * flight. */
const wr_datagram *wr_udp_queue_launch(wr_udp_queue *queue);

/* wr_udp_queue_landed: the flight has its result: frees it, and returns how many datagrams it had. */
uint32_t wr_udp_queue_landed(wr_udp_queue *queue, wr_pool *chunks);

/* wr_udp_queue_drop: frees what waits, and returns how many datagrams that were. */
uint32_t wr_udp_queue_drop(wr_udp_queue *queue, wr_pool *chunks);

static inline uint32_t wr_udp_queue_charge(const wr_udp_queue *queue)
{
    return queue->flight.charge + queue->waiting.charge;
}

#endif
