/* WR_BUG: known bugs, each behind a switch, to show that the tests find them (tests/sim/). Only a build with WEIR_BUGS
 * has them: that of weir_swarm_bugs, and no library. Elsewhere WR_BUG is false, and nothing of them is left. */
#ifndef WR_BUG_H
#define WR_BUG_H

#include <stdbool.h>

/* X(name, what goes wrong) */
#define WR_BUGS(X)                                                                                     \
    X(stale_generation, "what is sent to the id of a connection that has gone reaches the next one")   \
    X(slot_reused, "the next connection in a slot has the id of the former one")                       \
    X(double_completion, "the end of a connection is served twice")                                    \
    X(lost_wakeup, "what was queued while a send was in flight is sent when something else happens")   \
    X(eof_swallowed, "the peer's end is not told when it comes right behind bytes")                    \
    X(zero_frame, "a frame shorter than its own header is no error")                                   \
    X(reset_on_close, "a close does not wait for the peer, and its reset destroys what was sent")      \
    X(half_close_drops_sends, "the peer's end drops what is queued for it")                            \
    X(remote_uncounted, "bytes that other threads have queued do not count against the hard limit")    \
    X(partial_write, "a write that was cut short goes on at the wrong place")                          \
    X(timer_not_rearmed, "a timer that fires too early for its deadline is not set again")             \
    X(listener_dies, "a listener that paused for want of a descriptor does not accept again")          \
    X(limit_leaks, "a connection that never opened keeps its place under its listener's limits")       \
    X(fin_after_failed_send, "a connection whose send failed is closed as if all had been sent")       \
    X(owing_for_ever, "a connection that was paused because its peer did not read is not heard again") \
    X(group_overtakes, "a send to a group in a callback overtakes one that is on its way")             \
    X(group_misses_added, "who was added to a group by its id does not get what is sent right then")   \
    X(fanout_overtaken, "a send to a member overtakes what was sent to its group in the same pass")    \
    X(inbox_forgets, "connections that wait for room in an inbox are not told that there is some")     \
    X(datagram_twice, "the last datagram of a batch that was cut short comes with the next one again") \
    X(datagrams_kept, "a batch of datagrams that comes to a closing socket is never given back")       \
    X(udp_stays_paused, "a UDP socket that paused for want of memory does not receive again")          \
    X(link_hammers, "a link does not wait before its next attempt")                                    \
    X(link_speaks_on, "a link that was closed still says what becomes of it")

#ifdef WEIR_BUGS
#define WR_BUG_VALUE(name, text) WR_BUG_##name,
enum wr_bug { WR_BUG_none, WR_BUGS(WR_BUG_VALUE) };
extern enum wr_bug wr_bug; /* the one that this program has */
#define WR_BUG(name) (wr_bug == WR_BUG_##name)
#else
#define WR_BUG(name) false
#endif

#endif
