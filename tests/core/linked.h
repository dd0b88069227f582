/* What the tests of links in the simulator share: a server at 10.0.0.1:80, which may be up or down, and a client's
 * runtime with one link, whose states are written down. */
#ifndef WR_TEST_LINKED_H
#define WR_TEST_LINKED_H

#include <weir/sim.h>
#include <weir/weir.h>

#include "harness/weir_test.h"

#define MS UINT64_C(1000000)
#define S  UINT64_C(1000000000)

enum { LINKED_NOTES_MAX = 1024 };

typedef struct linked_note {
    weir_link_state state;
    uint64_t ns;
    uint32_t wait_ms, attempts;
} linked_note;

typedef struct linked {
    /* What a test may set before linked_open. */
    weir_sim_options network;
    weir_link_options options; /* on_state and data are linked_open's */
    const char *address;       /* NULL: 10.0.0.1:80 */
    unsigned close_at;         /* the link is closed by its own callback at the note of that number, from 1; 0: not */
    bool server_drops;         /* the server closes each connection at once */

    weir_sim *sim;
    weir_runtime *server, *client;
    weir_listener *listener;
    weir_link *link; /* NULL: it was closed */
    linked_note notes[LINKED_NOTES_MAX];
    unsigned note_count;
    unsigned ups; /* notes of UP */
    /* Of the link's connections. */
    unsigned opened, closed, heard;
    int error;       /* of the last on_close */
    unsigned echoed; /* messages that the server got */
} linked;

/* linked_open: the world, both runtimes, and the link; no server listens. */
void linked_open(linked *l);

/* linked_serve: the server listens; linked_unserve: it ends, with all its connections. */
void linked_serve(linked *l);
void linked_unserve(linked *l);

/* linked_run: for that long. */
void linked_run(linked *l, uint64_t ns);

/* linked_await: until the link is in that state; the test fails if it is not within an hour. */
void linked_await(linked *l, weir_link_state state);

weir_link_status linked_status(linked *l);

/* linked_end: destroys everything. */
void linked_end(linked *l);

#endif
