/* What the tests of the inbox share: a world whose connections have an inbox, and the logic thread, which is the test.
 *
 *   logic l = { .protocol = { .idle_timeout_ms = 100 } };
 *   logic_start(&l);
 *   raw_peer peer = world_connect(&l.w);
 *   LOGIC_AWAIT(&l, l.opened == 1);
 *
 * Every event is checked: the order of kinds, and that lines which are numbers count up from 0 for each connection. */
#ifndef WR_TEST_LOGIC_H
#define WR_TEST_LOGIC_H

#include "core/world.h"

typedef struct logic_player logic_player; /* the `user` of a connection's events */

typedef struct logic {
    world w; /* no_listener is set */
    /* What a test may set before logic_start. */
    weir_protocol protocol; /* lines; its inbox is logic_start's */
    weir_inbox_options options;
    bool numbers; /* the lines are */

    unsigned opened, closed, closed_unopened;
    uint64_t messages, bytes;
    weir_conn_id id;                      /* of the last event */
    weir_reason reason;                   /* of the last CLOSE */
    size_t most_bytes;                    /* that weir_inbox_bytes said */
    uint64_t least_numbers, most_numbers; /* see logic_compare */
    logic_player *players;
} logic;

/* logic_start: the world, the inbox, and a listener on 127.0.0.1 with it. */
void logic_start(logic *l);

/* logic_take: one event, if there is one. logic_drain: all that are there; how many. */
bool logic_take(logic *l);
unsigned logic_drain(logic *l);

/* logic_compare: fills least_numbers and most_numbers: of the open connections, how many numbers have come from the one
 * with the fewest, and from the one with the most. */
void logic_compare(logic *l);

/* logic_stop: destroys the runtime, and only then takes what is left: each connection's CLOSE. */
void logic_stop(logic *l);

#define LOGIC_AWAIT(l, condition)                                                          \
    do {                                                                                   \
        uint64_t logic_deadline_ns = wr_os_now_ns() + (uint64_t)RAW_PATIENCE_MS * 1000000; \
        for (logic_drain(l); !(condition); logic_drain(l)) {                               \
            cr_assert_lt(wr_os_now_ns(), logic_deadline_ns, "never came: %s", #condition); \
            if ((l)->w.manual)                                                             \
                world_turn(&(l)->w);                                                       \
            else                                                                           \
                (void)weir_inbox_wait((l)->w.inbox, 1);                                    \
        }                                                                                  \
    } while (0)

/* raw_numbers: a sender of lines that count up; raw_numbers_send: as many as the kernel takes, up to `until`. */
typedef struct raw_numbers {
    raw_peer peer;
    uint64_t next;
    char rest[4096];
    size_t rest_size, rest_sent;
} raw_numbers;

bool raw_numbers_send(raw_numbers *numbers, uint64_t until);

#endif
