#include "core/room.h"

#include <string.h>

#include "core/slots.h"

void room_open(room *r, unsigned connections, unsigned members)
{
    r->w.listen_options.placement = WEIR_PLACEMENT_BALANCED;
    world_start(&r->w);
    cr_assert_eq(weir_group_create(r->w.runtime, &r->group), 0);
    for (; r->count < connections; r->count++) {
        r->peers[r->count] = world_connect(&r->w);
        WORLD_AWAIT(&r->w, r->w.opened == r->count + 1);
        r->ids[r->count] = r->w.id;
    }
    for (unsigned i = 0; i < members; i++) cr_assert_eq(room_add(r, r->group, i), 0);
}

void room_close(room *r)
{
    for (unsigned i = 0; i < r->count; i++)
        if (r->ids[i]) raw_close(r->peers[i]);
    WORLD_AWAIT(&r->w, r->w.closed == r->w.opened + r->w.closed_unopened);
    world_stop(&r->w);
}

void room_leave(room *r, unsigned number)
{
    r->ids[number] = 0;
}

typedef struct deed {
    room *r;
    weir_group *group;
    weir_conn_id id;
    int result;
} deed;

static void do_add(void *data)
{
    deed *d = data;
    d->result = weir_group_add(d->group, world_conn(&d->r->w, d->id));
}

static void do_remove(void *data)
{
    deed *d = data;
    weir_group_remove(d->group, world_conn(&d->r->w, d->id));
}

static void do_has(void *data)
{
    deed *d = data;
    d->result = weir_group_has(d->group, world_conn(&d->r->w, d->id));
}

static int run_on_worker(room *r, weir_group *group, unsigned number, void (*run)(void *data))
{
    deed d = { .r = r, .group = group, .id = r->ids[number] };
    world_run(&r->w, wr_id_worker(d.id), run, &d);
    return d.result;
}

int room_add(room *r, weir_group *group, unsigned number)
{
    return run_on_worker(r, group, number, do_add);
}

void room_remove(room *r, weir_group *group, unsigned number)
{
    (void)run_on_worker(r, group, number, do_remove);
}

bool room_has(room *r, weir_group *group, unsigned number)
{
    return run_on_worker(r, group, number, do_has) != 0;
}

int room_say_except(weir_group *group, const char *text, weir_conn_id except)
{
    weir_buf *buf = weir_buf_copy(text, strlen(text));
    cr_assert_not_null(buf);
    int error = weir_group_send_except(group, buf, except);
    weir_buf_release(buf);
    return error;
}

int room_say(weir_group *group, const char *text)
{
    return room_say_except(group, text, 0);
}

void room_hears(room *r, unsigned number, const char *text)
{
    char heard[256] = "";
    cr_assert_lt(strlen(text), sizeof heard);
    raw_receive(r->peers[number], heard, strlen(text));
    cr_assert_str_eq(heard, text, "peer %u", number);
}

bool room_is_silent(room *r, unsigned number)
{
    char byte;
    raw_end end;
    return raw_receive_some(r->peers[number], &byte, 1, &end) == 0 && end == RAW_OPEN;
}
