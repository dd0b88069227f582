/* The books of each end of a connection. */
#include <stdlib.h>
#include <string.h>

#include "sim/swarm.h"

swarm_end *end_make(swarm *s)
{
    if (s->made_ends == SWARM_ENDS) return NULL;
    swarm_end *end = calloc(1, sizeof *end);
    SWARM_CHECK(s, end, "the test is out of memory");
    end->s = s;
    end->number = s->made_ends;
    end->born_ns = swarm_now(s);
    s->ends[s->made_ends++] = end;
    return end;
}

void end_free(swarm_end *end)
{
    for (int channel = 0; channel < CHANNELS; channel++) free(end->sent[channel].items);
    free(end);
}

/* ---- who is whose peer ---- */

static bool is_nameless(const swarm_end *end)
{
    return end->remote.family == WEIR_FAMILY_UNIX || end->local.family == WEIR_FAMILY_UNIX;
}

static bool belong_together(const swarm_end *accepted, const swarm_end *connected)
{
    return accepted->listener && !connected->listener && !is_nameless(accepted) && connected->local.family != 0 &&
           strcmp(accepted->remote.text, connected->local.text) == 0;
}

static void marry(swarm_end *a, swarm_end *b)
{
    SWARM_CHECK(a->s, !a->peer && !b->peer, "two connections have the same addresses");
    a->peer = b;
    b->peer = a;
    if (a->strict || b->strict) a->strict = b->strict = true;
}

void end_meet(swarm_end *end)
{
    for (unsigned i = 0; i < end->s->made_ends; i++) {
        swarm_end *other = end->s->ends[i];
        if (other->peer || other == end) continue;
        if (!belong_together(end, other) && !belong_together(other, end)) continue;
        marry(end, other);
        return;
    }
}

/* ---- what is sent ---- */

void end_accepted(swarm_end *end, enum swarm_channel channel, uint32_t size, int buffer)
{
    swarm_ledger *ledger = &end->sent[channel];
    if (ledger->count == ledger->room) {
        ledger->room = ledger->room ? 2 * ledger->room : 16;
        ledger->items = realloc(ledger->items, ledger->room * sizeof *ledger->items);
        SWARM_CHECK(end->s, ledger->items, "the test is out of memory");
    }
    swarm_sent *item = &ledger->items[ledger->count++];
    *item = (swarm_sent){ .size = size, .buffer = buffer, .after = end->sent[DIRECT].count };
    for (unsigned g = 0; channel == DIRECT && g < SWARM_GROUPS; g++) item->casts[g] = (uint16_t)end->groups[g].casts;
}

message_label end_label(const swarm_end *end, enum swarm_channel channel, uint32_t size)
{
    return (message_label){ .end = end->number, .channel = channel, .place = end->sent[channel].count, .size = size };
}

/* ---- what comes ---- */

/* A shared buffer says only which it is: its place is the first that is still to come. */
static uint32_t place_of_shared(const swarm_end *end, const swarm_end *peer, const message_label *label)
{
    const swarm_ledger *ledger = &peer->sent[label->channel];
    uint32_t place = end->got[label->channel];
    while (place < ledger->count && ledger->items[place].buffer != (int32_t)label->place) place++;
    return place;
}

/* Of Unix-domain sockets only what arrives tells who is connected to whom. */
static void meet_by_message(swarm_end *end, const message_label *label)
{
    swarm *s = end->s;
    if (end->peer || label->end >= s->made_ends || !is_nameless(end)) return;
    swarm_end *sender = s->ends[label->end];
    if (is_nameless(sender) && !sender->peer && !sender->listener != !end->listener) marry(end, sender);
}

/* Whether messages to it by id may be refused without its end, so that later ones still come. */
static bool may_skip(const swarm_end *sender)
{
    return sender->runtime && !end_ends_when_slow(sender);
}

static void take_message(swarm_end *end, const message_label *label)
{
    swarm *s = end->s;
    bool is_shared = label->end == MESSAGE_SHARED;
    if (!is_shared && label->end >= MESSAGE_GROUPS) {
        group_take(end, label);
        return;
    }
    if (!is_shared) meet_by_message(end, label);
    swarm_end *peer = end->peer;
    SWARM_CHECK(s, peer, "end %u gets a message of end %u, and is connected to nobody", end->number, label->end);
    SWARM_CHECK(s, is_shared || label->end == peer->number, "end %u gets a message of end %u, but is connected to %u",
                end->number, label->end, peer->number);
    const swarm_ledger *ledger = &peer->sent[label->channel];
    uint32_t place = is_shared ? place_of_shared(end, peer, label) : label->place;
    uint32_t *got = &end->got[label->channel];
    SWARM_CHECK(s, place < ledger->count, "end %u gets message %u of %u that end %u has sent", end->number, place,
                ledger->count, peer->number);
    SWARM_CHECK(s, place >= *got, "end %u gets message %u of end %u again", end->number, place, peer->number);
    SWARM_CHECK(s, place == *got || (label->channel == REMOTE && may_skip(peer)),
                "end %u gets message %u of end %u, and %u has not come (%s)", end->number, place, peer->number, *got,
                label->channel == DIRECT ? "sent in callbacks" : "sent by id");
    const swarm_sent *item = &ledger->items[place];
    SWARM_CHECK(s, item->size == label->size && item->buffer == (is_shared ? (int32_t)label->place : -1),
                "end %u gets message %u of end %u with another size or content", end->number, place, peer->number);
    SWARM_CHECK(s, label->channel == DIRECT || end->got[DIRECT] >= item->after,
                "end %u gets message %u of end %u before what was sent earlier", end->number, place, peer->number);
    if (label->channel == DIRECT) group_check_before(end, item);
    end->skipped += place - *got;
    *got = place + 1;
}

void end_take(swarm_end *end, const uint8_t *bytes, size_t size)
{
    swarm *s = end->s;
    const char *wrong;
    message_label label;
    SWARM_CHECK(s, size > 0, "end %u gets an empty message", end->number);
    if (end->format->framing.kind != WEIR_FRAMING_NONE && !end->raw) {
        wrong = message_read(end->format, bytes, size, &label);
        SWARM_CHECK(s, !wrong, "end %u gets %s", end->number, wrong);
        take_message(end, &label);
        return;
    }
    SWARM_CHECK(s, size <= end->format->max_message || end->raw, "end %u gets more than max_message", end->number);
    while (size > 0) {
        bool whole;
        size_t used = message_feed(end->format, &end->piece, bytes, size, &whole, &wrong);
        if (wrong && end->raw && (!end->peer || end->peer->spoiled)) end->deaf = true; /* it is nonsense indeed */
        if (end->deaf) return;
        SWARM_CHECK(s, !wrong, "end %u gets %s", end->number, wrong);
        bytes += used;
        size -= used;
        if (!whole) continue;
        take_message(end, &end->piece.label);
        end->piece = (message_piece){ .have = 0 };
    }
}

void end_check_all_came(const swarm_end *end, const char *when)
{
    const swarm_end *peer = end->peer;
    if (!peer || peer->spoiled) return;
    SWARM_CHECK(end->s, end->got[DIRECT] == peer->sent[DIRECT].count,
                "end %u has %u of %u messages that end %u has sent in callbacks, %s", end->number, end->got[DIRECT],
                peer->sent[DIRECT].count, peer->number, when);
    /* A raw peer may have closed its half, which closes the other end before they come to it. */
    SWARM_CHECK(end->s, end->raw || end->got[REMOTE] >= peer->remote_due || may_skip(peer),
                "end %u has %u of %u messages that were sent by id through end %u, %s", end->number, end->got[REMOTE],
                peer->remote_due, peer->number, when);
    SWARM_CHECK(end->s, end->piece.have == 0, "end %u has a piece of a message of end %u, %s", end->number,
                peer->number, when);
}

uint64_t end_idle_since_ns(const swarm_end *end)
{
    uint64_t since_ns = end->message_ns > end->opened_ns ? end->message_ns : end->opened_ns;
    return end->resumed_ns > since_ns ? end->resumed_ns : since_ns;
}
