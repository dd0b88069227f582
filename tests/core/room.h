/* What the tests of groups share: a world whose connections are in a group. */
#ifndef WR_TEST_ROOM_H
#define WR_TEST_ROOM_H

#include <weir/group.h>

#include "core/world.h"

enum { ROOM_MAX = 200 };

typedef struct room {
    world w; /* what a test may set before room_open */
    weir_group *group;
    unsigned count;
    raw_peer peers[ROOM_MAX];
    weir_conn_id ids[ROOM_MAX];
} room;

/* room_open: so many connections, of which the first `members` are in the group. */
void room_open(room *r, unsigned connections, unsigned members);

/* room_close: all peers that are left close; nothing may leak. */
void room_close(room *r);

/* room_leave: this peer is no longer room_close's. */
void room_leave(room *r, unsigned number);

/* room_add and so on: the function of weir by that name, called on the connection's worker while the test waits. */
int room_add(room *r, weir_group *group, unsigned number);
void room_remove(room *r, weir_group *group, unsigned number);
bool room_has(room *r, weir_group *group, unsigned number);

/* room_say: weir_group_send of a copy of this text; what it returned. */
int room_say(weir_group *group, const char *text);
int room_say_except(weir_group *group, const char *text, weir_conn_id except);

/* room_hears: the text is the next that comes to the peer. room_is_silent: nothing has come to it. */
void room_hears(room *r, unsigned number, const char *text);
bool room_is_silent(room *r, unsigned number);

#endif
