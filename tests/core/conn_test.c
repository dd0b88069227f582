#include "core/world.h"

Test(conn, on_open_comes_first_and_on_close_last)
{
    world w = { .protocol = { .framing = weir_framing_line() } };
    world_start(&w);
    raw_peer peer = world_connect(&w);
    raw_send(peer, "one\ntwo\n", 8);
    WORLD_AWAIT(&w, w.messages == 2);
    raw_close(peer);
    WORLD_AWAIT(&w, w.closed == 1);
    cr_assert_eq(w.error, WEIR_EEOF);
    world_stop(&w);
}
