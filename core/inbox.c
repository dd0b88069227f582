/* weir_inbox: the queue, and the thread that takes from it. */
#include "core/inbox.h"

#include <assert.h>
#include <string.h>

#include "core/address.h"
#include "core/runtime.h"

enum { DEFAULT_MAX_BYTES = 16 << 20 };

static size_t inbox_size(unsigned ports)
{
    return sizeof(weir_inbox) + ports * sizeof(wr_inbox_port);
}

int weir_inbox_create(weir_runtime *runtime, const weir_inbox_options *options, weir_inbox **out)
{
    weir_inbox_options none = { 0 };
    if (!options) options = &none;
    if (!runtime || !out) return WEIR_EINVAL;
    *out = NULL;
    size_t size = inbox_size(runtime->worker_count);
    weir_inbox *inbox = wr_heap_alloc(&runtime->heap, size);
    if (!inbox) return WEIR_ENOMEM;
    memset(inbox, 0, size);
    inbox->runtime = runtime;
    inbox->heap = runtime->heap;
    inbox->max_bytes = options->max_bytes ? options->max_bytes : DEFAULT_MAX_BYTES;
    inbox->low_bytes = inbox->max_bytes / 2;
    inbox->on_ready = options->on_ready;
    inbox->data = options->data;
    inbox->simulated = runtime->options.sim;
    inbox->port_count = runtime->worker_count;
    wr_mutex_init(&inbox->lock);
    wr_cond_init(&inbox->filled);
    for (unsigned i = 0; i < inbox->port_count; i++) wr_inbox_port_init(&inbox->ports[i], inbox, &runtime->workers[i]);
    wr_mutex_lock(&runtime->lock);
    inbox->next = runtime->inboxes;
    runtime->inboxes = inbox;
    wr_mutex_unlock(&runtime->lock);
    *out = inbox;
    return 0;
}

static void wake(weir_inbox *inbox)
{
    wr_mutex_lock(&inbox->lock);
    wr_cond_wake(&inbox->filled);
    wr_mutex_unlock(&inbox->lock);
}

void wr_inboxes_end(weir_runtime *runtime)
{
    wr_mutex_lock(&runtime->lock);
    weir_inbox *inbox = runtime->inboxes;
    runtime->inboxes = NULL;
    wr_mutex_unlock(&runtime->lock);
    while (inbox) {
        weir_inbox *next = inbox->next;
        wr_mutex_lock(&inbox->lock);
        inbox->runtime = NULL;
        wr_cond_wake(&inbox->filled);
        wr_mutex_unlock(&inbox->lock);
        inbox = next;
    }
}

/* ---- what the workers do ---- */

/* Two pairs of a store and a load stand crosswise, here and at the consumer, and are in one order for all threads:
 * `newest` and `sleeping`, in weir_inbox_wait; `full` and `bytes`, in settle and wr_inbox_relieve. One of the two
 * threads always sees what the other has done. */
void wr_inbox_push(weir_inbox *inbox, wr_inbox_node *node)
{
    size_t bytes = node->charge ? atomic_fetch_add(&inbox->shared.bytes, node->charge) + node->charge : 0;
    wr_node *newest = atomic_load_explicit(&inbox->shared.newest, memory_order_relaxed);
    do {
        node->link.next = newest;
    } while (!atomic_compare_exchange_weak(&inbox->shared.newest, &newest, &node->link));
    if (bytes >= inbox->max_bytes && !atomic_load_explicit(&inbox->shared.full, memory_order_relaxed)) {
        atomic_store(&inbox->shared.full, true);
        wr_inbox_relieve(inbox); /* it may all have been taken meanwhile, by who saw no need to tell us */
    }
    if (newest) return;
    if (atomic_load(&inbox->shared.sleeping)) wake(inbox);
    if (inbox->on_ready) inbox->on_ready(inbox->data);
}

/* ---- what the consumer does ---- */

static void settle(weir_inbox *inbox, uint32_t charge)
{
    if (charge == 0) return;
    atomic_fetch_sub(&inbox->shared.bytes, charge);
    wr_inbox_relieve(inbox);
}

/* The last event's bytes were valid until now. */
static void free_last(weir_inbox *inbox)
{
    wr_inbox_block *block = inbox->consumer.block;
    wr_inbox_entry *gone = inbox->consumer.gone;
    if (block && inbox->consumer.read == block->used) {
        uint32_t charge = block->node.charge;
        inbox->consumer.block = NULL;
        wr_heap_free(&inbox->heap, block, sizeof *block + block->capacity);
        settle(inbox, charge);
    }
    if (gone) {
        uint32_t charge = gone->close.charge;
        inbox->consumer.gone = NULL;
        wr_heap_free(&inbox->heap, gone, sizeof *gone);
        settle(inbox, charge);
    }
}

static wr_inbox_node *take(weir_inbox *inbox)
{
    if (!inbox->consumer.oldest) {
        if (!atomic_load_explicit(&inbox->shared.newest, memory_order_relaxed)) return NULL;
        inbox->consumer.oldest = wr_node_reverse(atomic_exchange(&inbox->shared.newest, NULL));
    }
    wr_node *link = inbox->consumer.oldest;
    inbox->consumer.oldest = link->next;
    return WR_CONTAINER_OF(link, wr_inbox_node, link);
}

static weir_event make_event(weir_event_kind kind, wr_inbox_entry *entry)
{
    return (weir_event){ .kind = kind, .conn = entry->id, .data = entry->data, .user = entry->user, .entry = entry };
}

static void next_of_block(weir_inbox *inbox, weir_event *event)
{
    wr_inbox_block *block = inbox->consumer.block;
    const uint32_t *words = &block->words[inbox->consumer.read / sizeof *words];
    *event = make_event(WEIR_EVENT_MESSAGE, block->entry);
    event->size = words[0];
    event->bytes = words + 1;
    inbox->consumer.read += wr_inbox_room(words[0]);
    assert(inbox->consumer.read <= block->used);
}

bool weir_inbox_next(weir_inbox *inbox, weir_event *event)
{
    free_last(inbox);
    if (!inbox->consumer.block) {
        wr_inbox_node *node = take(inbox);
        if (!node) return false;
        if (node->kind == WR_INBOX_OPEN) {
            *event = make_event(WEIR_EVENT_OPEN, WR_CONTAINER_OF(node, wr_inbox_entry, open));
            return true;
        }
        if (node->kind == WR_INBOX_CLOSE) {
            inbox->consumer.gone = WR_CONTAINER_OF(node, wr_inbox_entry, close);
            *event = make_event(WEIR_EVENT_CLOSE, inbox->consumer.gone);
            event->reason = inbox->consumer.gone->reason;
            return true;
        }
        inbox->consumer.block = WR_CONTAINER_OF(node, wr_inbox_block, node);
        inbox->consumer.read = 0;
    }
    next_of_block(inbox, event);
    return true;
}

/* Whether weir_inbox_next has something. */
static bool has_event(weir_inbox *inbox)
{
    const wr_inbox_block *block = inbox->consumer.block;
    return (block && inbox->consumer.read < block->used) || inbox->consumer.oldest ||
           atomic_load(&inbox->shared.newest);
}

/* Under the lock. False: the time is over. */
static bool sleep_until(weir_inbox *inbox, bool has_deadline, uint64_t deadline_ns)
{
    if (!has_deadline) {
        wr_cond_wait(&inbox->filled, &inbox->lock);
        return true;
    }
    uint64_t now_ns = wr_os_now_ns();
    if (now_ns >= deadline_ns) return false;
    wr_cond_wait_ms(&inbox->filled, &inbox->lock, (uint32_t)((deadline_ns - now_ns + 999999) / 1000000));
    return true;
}

int weir_inbox_wait(weir_inbox *inbox, int timeout_ms)
{
    assert(!wr_worker_here());
    free_last(inbox); /* what it holds may be what others wait for */
    if (has_event(inbox)) return 0;
    bool may_sleep = timeout_ms != 0 && !inbox->simulated;
    uint64_t deadline_ns = timeout_ms > 0 ? wr_os_now_ns() + (uint64_t)timeout_ms * 1000000 : 0;
    wr_mutex_lock(&inbox->lock);
    atomic_store(&inbox->shared.sleeping, true);
    while (!has_event(inbox) && inbox->runtime && may_sleep)
        may_sleep = sleep_until(inbox, timeout_ms > 0, deadline_ns);
    atomic_store(&inbox->shared.sleeping, false);
    bool ended = !inbox->runtime;
    wr_mutex_unlock(&inbox->lock);
    if (has_event(inbox)) return 0;
    return ended ? WEIR_ESTOPPED : WEIR_ETIMEDOUT;
}

size_t weir_inbox_bytes(const weir_inbox *inbox)
{
    return atomic_load_explicit(&inbox->shared.bytes, memory_order_relaxed);
}

weir_address weir_event_peer(const weir_event *event)
{
    weir_address address;
    wr_address_format(&address, &event->entry->peer, NULL);
    return address;
}

void weir_event_set_user(weir_event *event, void *user)
{
    event->user = event->entry->user = user;
}

void weir_inbox_destroy(weir_inbox *inbox)
{
    weir_event event;
    if (!inbox) return;
    assert(!inbox->runtime);
    while (weir_inbox_next(inbox, &event)) continue;
    assert(atomic_load(&inbox->shared.bytes) == 0);
    wr_heap heap = inbox->heap;
    wr_cond_destroy(&inbox->filled);
    wr_mutex_destroy(&inbox->lock);
    wr_heap_free(&heap, inbox, inbox_size(inbox->port_count));
}
