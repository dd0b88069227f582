/* A bot: a player that walks about, talks, and believes nothing. It checks all that it receives against what the
 * protocol promises:
 *
 * - no tick is missing, and nobody goes who was not there;
 * - it is itself in each snapshot, and stands where its own steps, as far as they are acknowledged, have led it;
 * - what is said in the room comes without a gap, each speaker's texts in order, and its own all come back;
 * - pings are answered with the time that they asked with;
 * - it is not let go, unless the server closes and says so.
 *
 * What it does follows from its number and from what it receives, so in the simulator it repeats. */
#ifndef ARENA_BOT_H
#define ARENA_BOT_H

#include "histogram.h"
#include "view.h"
#include <stdio.h> /* on Windows it says which formats printf takes */
#include <weir/weir.h>

/* Functions that take a format are checked by compilers that can. */
#if defined(__MINGW_PRINTF_FORMAT)
#define BOT_PRINTF(text, first) __attribute__((format(__MINGW_PRINTF_FORMAT, text, first)))
#elif defined(__GNUC__)
#define BOT_PRINTF(text, first) __attribute__((format(printf, text, first)))
#else
#define BOT_PRINTF(text, first)
#endif

struct bots;

/* What the bots of one worker have seen together. */
struct tally {
    uint64_t snapshots, inputs, said, heard, pongs; /* inputs: acknowledged ones */
    uint64_t violations;
    struct histogram round_trip, jitter; /* of pings; of the time between two ticks, from what it should be */
};

/* What it keeps of one connection. */
struct bot_game {
    bool is_welcome, is_playing; /* the snapshot behind the welcome has come too */
    uint8_t player;
    uint16_t hz;
    struct view view;
    struct place place;             /* where its acknowledged steps have led */
    uint32_t sent, acknowledged;    /* steps */
    int16_t steps[INPUT_WINDOW][2]; /* those under way, by number */
    uint64_t arrived_ns;            /* the last snapshot; 0: none that counts */
    uint64_t pinged_ns;             /* a ping is under way; 0: none */
    uint32_t chats;                 /* the room's number of the last text */
    uint32_t heard[PLAYERS_MAX];    /* by player: the speaker's own number of its last text; 0: none so far */
    uint32_t own_heard;             /* of its own texts, the last that came back */
};

struct bot {
    struct bots *bots;
    uint32_t number;
    uint16_t room;
    bool told_closing; /* by CLOSING, or by the goodbye for that reason */
    uint64_t random;
    uint32_t said;       /* its own texts, in all its connections */
    uint32_t measured;   /* ticks, while times were counted */
    struct tally *tally; /* of its worker */
    struct bot_game game;
};

/* bot_open: a connection is there: it asks to join, as a new player. */
void bot_open(struct bot *bot, weir_conn *conn);

/* bot_receive: takes a packet in, checks it, and plays on. `measures`: times are counted. */
void bot_receive(struct bot *bot, weir_conn *conn, const void *bytes, size_t size, bool measures);

/* bot_complain: counts a violation and says which; the first few are printed. */
void bot_complain(struct bot *bot, const char *format, ...) BOT_PRINTF(2, 3);

#endif
