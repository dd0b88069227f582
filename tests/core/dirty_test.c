/* Many connections that something happens to in one pass, with memory to list them and without. */
#include "core/dirty.h"

#include "core/world.h"

enum { MANY = 200 }; /* more than the list has room for at first */

typedef struct crowd {
    world w;
    weir_conn *conns[MANY]; /* as they opened */
    raw_peer peers[MANY];
    unsigned opened, closed;
    bool no_memory;
    bool chained; /* every other one is closed, and closes another when it has gone */
} crowd;

static void remember(weir_conn *conn)
{
    crowd *c = world_data(conn);
    c->conns[c->opened++] = conn;
}

/* Closes ends without a byte sent, so each has gone when it has been reconciled. */
static void close_them(weir_conn *conn, const void *bytes, size_t size)
{
    crowd *c = world_data(conn);
    (void)bytes, (void)size;
    if (c->no_memory) world_refuse(&c->w, 0);
    for (unsigned i = 0; i < MANY; i++)
        if (!c->chained || i % 2 == 0) weir_close(c->conns[i]);
}

/* Chained: the first half closes what a walk over all of them is still to come to, the second what it has passed. */
static void close_another(weir_conn *conn, weir_reason reason)
{
    crowd *c = world_data(conn);
    (void)reason;
    unsigned number = 0;
    while (c->conns[number] != conn) number++;
    c->conns[number] = NULL;
    c->closed++;
    unsigned other = MANY - 1 - number;
    if (c->chained && number % 2 == 0 && c->conns[other]) weir_close(c->conns[other]);
}

static void check(bool no_memory, bool chained)
{
    static crowd c;
    c = (crowd){ .w = { .protocol = { .framing = weir_framing_line(),
                                      .on_open = remember,
                                      .on_message = close_them,
                                      .on_close = close_another,
                                      .data = &c },
                        .manual = true },
                 .no_memory = no_memory,
                 .chained = chained };
    world_start(&c.w);
    for (unsigned i = 0; i < MANY; i++) c.peers[i] = world_connect(&c.w);
    WORLD_AWAIT(&c.w, c.opened == MANY);
    world_settle(&c.w);
    raw_send(c.peers[0], "now\n", 4);
    WORLD_AWAIT(&c.w, c.closed == MANY);
    cr_assert_eq(world_closed(&c.w, WEIR_ECLOSED), MANY);
    cr_assert_eq(c.w.memory.refused > 0, no_memory);
    world_refuse(&c.w, -1);
    for (unsigned i = 0; i < MANY; i++) {
        cr_assert_eq(raw_await_end(c.peers[i]), RAW_FIN);
        raw_close(c.peers[i]);
    }
    c.opened = 0; /* and the next are served as ever */
    c.no_memory = false;
    for (unsigned i = 0; i < MANY; i++) c.peers[i] = world_connect(&c.w);
    WORLD_AWAIT(&c.w, c.opened == MANY);
    raw_send(c.peers[0], "now\n", 4);
    WORLD_AWAIT(&c.w, c.closed == 2 * MANY);
    for (unsigned i = 0; i < MANY; i++) raw_close(c.peers[i]);
    world_stop(&c.w);
}

Test(dirty, all_that_are_closed_in_one_pass_have_their_turn)
{
    check(false, false);
}

Test(dirty, those_that_are_touched_in_the_turns_of_others_have_theirs)
{
    check(false, true);
}

Test(dirty, without_memory_for_the_list_all_have_their_turn)
{
    check(true, false);
}

Test(dirty, without_memory_those_that_are_touched_in_the_turns_of_others_have_theirs)
{
    check(true, true);
}
