/* Many connections that something happens to in one pass, with memory to list them and without. */
#include "core/dirty.h"

#include <string.h>

#include "core/connecting.h"

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

/* ---- ended by its own on_open ---- */

enum { BRIEF = 8 };

typedef struct brief {
    world w;
    weir_conn *first;        /* it stays */
    char log[2 * BRIEF + 1]; /* of the others: o: on_open, c: on_close */
    bool says;               /* each tells the first of itself */
    void (*ends)(weir_conn *conn);
} brief;

static void note(brief *b, char what)
{
    size_t length = strlen(b->log);
    cr_assert_lt(length, 2 * BRIEF);
    b->log[length] = what;
}

static void come_and_go(weir_conn *conn)
{
    brief *b = world_data(conn);
    if (!b->first) {
        b->first = conn;
        return;
    }
    note(b, 'o');
    if (b->says) cr_assert_eq(weir_send(b->first, "one more\n", 9), 0);
    b->ends(conn);
}

static void note_end(weir_conn *conn, weir_reason reason)
{
    brief *b = world_data(conn);
    (void)reason;
    if (b->first == conn) return;
    note(b, 'c');
}

/* They are all there in one pass. `expected`: where the system may close at once; elsewhere each opens and closes. */
static void check_brief(brief *b, const char *expected)
{
    uint16_t port;
    raw_peer listener = raw_listen(BRIEF + 1, &port);
    b->w.protocol = (weir_protocol){ .on_open = come_and_go, .on_close = note_end, .data = b };
    b->w.manual = b->w.no_listener = true;
    world_start(&b->w);
    connect_to(&b->w, port, NULL);
    WORLD_AWAIT(&b->w, b->w.opened == 1);
    raw_peer first = raw_accept(listener);
    world_settle(&b->w);
    for (unsigned i = 0; i < BRIEF; i++) connect_to(&b->w, port, NULL);
    WORLD_AWAIT(&b->w, b->w.closed == BRIEF);
    if (host_ends_at_once) cr_assert_str_eq(b->log, expected);
    cr_assert_eq(b->w.opened, BRIEF + 1);
    if (b->says) {
        char heard[9 * BRIEF];
        raw_receive(first, heard, sizeof heard);
        cr_assert_arr_eq(heard + sizeof heard - 9, "one more\n", 9);
    }
    raw_close(first);
    WORLD_AWAIT(&b->w, b->w.closed == BRIEF + 1);
    raw_close(listener);
    world_stop(&b->w);
}

Test(dirty, what_its_on_open_aborts_has_gone_before_the_next_comes)
{
    static brief b = { .ends = weir_abort };
    check_brief(&b, "ococococococococ");
}

Test(dirty, what_its_on_open_closes_has_gone_before_the_next_comes)
{
    static brief b = { .ends = weir_close };
    check_brief(&b, "ococococococococ");
}

Test(dirty, what_goes_at_once_has_done_what_it_did_to_others)
{
    static brief b = { .ends = weir_abort, .says = true };
    check_brief(&b, "ococococococococ");
}
