/* A worker's side of an inbox: queueing what happens on its connections, and holding those for which there is no room.
 *
 * A connection is held when it has brought bytes and the inbox is full, so that nothing is done to the many that are
 * silent. The message that lets the held ones go on is at most once under way:
 *
 *   IDLE -> WAITING   the worker has held a connection
 *   WAITING -> POSTED whoever finds that there is room again posts the message
 *   POSTED -> IDLE    it has come */
#include <assert.h>
#include <string.h>

#include "core/conn.h"
#include "core/inbox.h"
#include "core/runtime.h"
#include "platform/bug.h"

enum { IDLE, WAITING, POSTED };

enum {
    BLOCK_MAX = 16 * 1024, /* messages of one block, in bytes, unless the first is larger: what is queued unasked */
    RESUMED_MAX = 64,      /* connections a message: other work of the worker's comes in between */
};

/* ---- a connection's seat ---- */

static wr_inbox_seat *seat_of(weir_conn *conn)
{
    size_t session = (wr_conn_protocol(conn)->session_size + 15) & ~(size_t)15;
    return (wr_inbox_seat *)(void *)((char *)conn + WR_SESSION_OFFSET + session);
}

size_t wr_inbox_seat_size(const weir_protocol *protocol)
{
    if (!protocol->inbox) return 0;
    return ((protocol->session_size + 15) & ~(size_t)15) - protocol->session_size + sizeof(wr_inbox_seat);
}

int wr_inbox_join(weir_conn *conn)
{
    const weir_protocol *protocol = wr_conn_protocol(conn);
    wr_inbox_entry *entry = wr_heap_alloc(&protocol->inbox->heap, sizeof *entry);
    if (!entry) return WEIR_ENOMEM;
    *entry = (wr_inbox_entry){ .open.kind = WR_INBOX_OPEN,
                               .close = { .kind = WR_INBOX_CLOSE, .charge = sizeof *entry },
                               .data = protocol->data };
    seat_of(conn)->entry = entry;
    return 0;
}

static void unhold(weir_conn *conn)
{
    wr_inbox_seat *seat = seat_of(conn);
    wr_inbox_port *port = &wr_conn_protocol(conn)->inbox->ports[conn->worker->index];
    *seat->link = seat->next;
    if (seat->next)
        seat_of(seat->next)->link = seat->link;
    else
        port->held_end = seat->link;
    seat->link = NULL;
    conn->held = false;
}

void wr_inbox_leave(weir_conn *conn)
{
    wr_inbox_seat *seat = seat_of(conn);
    assert(!seat->block);
    if (conn->held) unhold(conn);
    if (seat->entry) wr_heap_free(&wr_conn_protocol(conn)->inbox->heap, seat->entry, sizeof *seat->entry);
}

void wr_inbox_open(weir_conn *conn)
{
    wr_inbox_entry *entry = seat_of(conn)->entry;
    entry->id = weir_conn_get_id(conn);
    entry->peer = wr_conn_peer(conn);
    wr_inbox_push(wr_conn_protocol(conn)->inbox, &entry->open);
}

void wr_inbox_close(weir_conn *conn)
{
    wr_inbox_entry *entry = seat_of(conn)->entry;
    seat_of(conn)->entry = NULL;
    entry->reason = (weir_reason){ conn->error, conn->system_error };
    if (!entry->id) { /* it never opened; else the consumer may be reading these */
        entry->id = weir_conn_get_id(conn);
        entry->peer = wr_conn_peer(conn);
    }
    wr_inbox_push(wr_conn_protocol(conn)->inbox, &entry->close);
}

/* ---- messages ---- */

static void push_block(weir_conn *conn)
{
    wr_inbox_seat *seat = seat_of(conn);
    wr_inbox_block *block = seat->block;
    if (!block) return;
    seat->block = NULL;
    wr_inbox_push(wr_conn_protocol(conn)->inbox, &block->node);
}

/* For a message of that size, and as many of the same as the rest of the read may have. */
static wr_inbox_block *make_block(weir_conn *conn, size_t size, size_t rest)
{
    size_t room = wr_inbox_room(size);
    size_t capacity = room * (1 + rest / size);
    if (capacity > BLOCK_MAX) capacity = room > BLOCK_MAX ? room : BLOCK_MAX;
    wr_inbox_block *block = wr_heap_alloc(&wr_conn_protocol(conn)->inbox->heap, sizeof *block + capacity);
    if (!block) return NULL;
    *block = (wr_inbox_block){ .node = { .kind = WR_INBOX_BLOCK, .charge = (uint32_t)(sizeof *block + capacity) },
                               .entry = seat_of(conn)->entry,
                               .capacity = (uint32_t)capacity };
    return block;
}

static void hold(weir_conn *conn);

int wr_inbox_message(weir_conn *conn, const void *bytes, size_t size, size_t rest)
{
    const weir_inbox *inbox = wr_conn_protocol(conn)->inbox;
    wr_inbox_seat *seat = seat_of(conn);
    uint32_t room = wr_inbox_room(size);
    if (seat->block && seat->block->capacity - seat->block->used < room) push_block(conn);
    if (!seat->block) seat->block = make_block(conn, size, wr_inbox_is_full(inbox) ? 0 : rest);
    wr_inbox_block *block = seat->block;
    if (!block) return WEIR_ENOMEM;
    uint32_t *words = &block->words[block->used / sizeof *words];
    words[0] = (uint32_t)size;
    memcpy(words + 1, bytes, size);
    block->used += room;
    if (wr_inbox_is_full(inbox)) hold(conn);
    return 0;
}

void wr_inbox_begin(weir_conn *conn)
{
    if (!conn->held && conn->state == WR_CONN_OPEN && wr_inbox_is_full(wr_conn_protocol(conn)->inbox)) hold(conn);
}

void wr_inbox_finish(weir_conn *conn)
{
    push_block(conn);
    wr_inbox_begin(conn);
}

/* ---- room ---- */

/* Under the inbox' lock, and not after its end: the worker may be gone then. */
static void wake_port(wr_inbox_port *port)
{
    int waiting = WAITING;
    if (WR_BUG(inbox_forgets)) return;
    if (atomic_compare_exchange_strong(&port->state, &waiting, POSTED)) wr_message_post(port->worker, &port->resume);
}

void wr_inbox_relieve(weir_inbox *inbox)
{
    if (!atomic_load(&inbox->shared.full) || atomic_load(&inbox->shared.bytes) > inbox->low_bytes) return;
    wr_mutex_lock(&inbox->lock);
    while (atomic_load(&inbox->shared.full) && atomic_load(&inbox->shared.bytes) <= inbox->low_bytes) {
        atomic_store(&inbox->shared.full, false);
        for (unsigned i = 0; inbox->runtime && i < inbox->port_count; i++) wake_port(&inbox->ports[i]);
        /* Who has filled it meanwhile may have found it full still, and said nothing. */
        if (atomic_load(&inbox->shared.bytes) >= inbox->max_bytes) atomic_store(&inbox->shared.full, true);
    }
    wr_mutex_unlock(&inbox->lock);
}

/* To be woken; the room may have come just now, when nobody knew that this port waits. */
static void await_room(wr_inbox_port *port)
{
    if (atomic_load(&port->state) != IDLE) return;
    atomic_store(&port->state, WAITING);
    if (wr_inbox_is_full(port->inbox)) return;
    wr_mutex_lock(&port->inbox->lock);
    wake_port(port);
    wr_mutex_unlock(&port->inbox->lock);
}

static void hold(weir_conn *conn)
{
    wr_inbox_port *port = &wr_conn_protocol(conn)->inbox->ports[conn->worker->index];
    wr_inbox_seat *seat = seat_of(conn);
    conn->held = true;
    seat->next = NULL;
    seat->link = port->held_end;
    *port->held_end = conn;
    port->held_end = &seat->next;
    wr_add(&conn->worker->counters.inbox_stops, 1);
    await_room(port);
}

/* What it has brought already comes first, and may fill the inbox: then it is held again, behind the others. */
static void resume(weir_conn *conn)
{
    unhold(conn);
    wr_conn_hear(conn);
    if (conn->stashed && !wr_conn_is_paused(conn) && conn->state == WR_CONN_OPEN) wr_conn_unstash(conn);
}

static void resume_held(wr_worker *worker, wr_message *message)
{
    wr_inbox_port *port = WR_CONTAINER_OF(message, wr_inbox_port, resume);
    (void)worker;
    atomic_store(&port->state, IDLE);
    for (int i = 0; i < RESUMED_MAX && port->held && !wr_inbox_is_full(port->inbox); i++) resume(port->held);
    if (port->held) await_room(port); /* also when there still is some: then it comes again at once */
}

void wr_inbox_port_init(wr_inbox_port *port, weir_inbox *inbox, wr_worker *worker)
{
    *port = (wr_inbox_port){ .resume.run = resume_held, .inbox = inbox, .worker = worker, .held_end = &port->held };
}
