#include "core/logic.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct logic_player {
    logic_player *next, **link;
    uint64_t count;
    weir_conn_id id;
};

void logic_start(logic *l)
{
    l->w.no_listener = true;
    world_start(&l->w);
    cr_assert_eq(weir_inbox_create(l->w.runtime, &l->options, &l->w.inbox), 0);
    l->protocol.inbox = l->w.inbox;
    l->protocol.framing = weir_framing_line();
    l->protocol.data = l;
    weir_failure failure = { 0 };
    weir_listen_options options = { .failure = &failure, .placement = WEIR_PLACEMENT_BALANCED };
    cr_assert_eq(weir_listen(l->w.runtime, "127.0.0.1:0", &l->protocol, &options, &l->w.listener), 0, "%s",
                 failure.text);
    l->w.port = weir_listener_address(l->w.listener).port;
}

static void open_player(logic *l, weir_event *event)
{
    cr_assert_null(event->user, "OPEN twice");
    logic_player *player = calloc(1, sizeof *player);
    cr_assert_not_null(player);
    player->id = event->conn;
    player->next = l->players;
    player->link = &l->players;
    if (player->next) player->next->link = &player->next;
    l->players = player;
    weir_event_set_user(event, player);
    cr_assert_eq(event->user, player);
    l->opened++;
}

static void close_player(logic *l, const weir_event *event)
{
    logic_player *player = event->user;
    l->reason = event->reason;
    cr_assert_lt(event->reason.error, 0);
    if (!player) {
        l->closed_unopened++;
        return;
    }
    *player->link = player->next;
    if (player->next) player->next->link = player->link;
    free(player);
    l->closed++;
}

static void check_message(logic *l, const weir_event *event)
{
    logic_player *player = event->user;
    cr_assert_not_null(player, "a message before OPEN");
    cr_assert_eq((uintptr_t)event->bytes % 4, 0);
    const char *text = event->bytes;
    cr_assert(event->size > 0 && text[event->size - 1] == '\n');
    if (l->numbers) cr_assert_eq(strtoull(text, NULL, 10), player->count, "a message is lost, doubled or late");
    player->count++;
    l->messages++;
    l->bytes += event->size;
}

bool logic_take(logic *l)
{
    weir_event event;
    size_t bytes = weir_inbox_bytes(l->w.inbox);
    if (bytes > l->most_bytes) l->most_bytes = bytes;
    if (!weir_inbox_next(l->w.inbox, &event)) return false;
    l->id = event.conn;
    cr_assert(event.data == l && event.conn);
    const logic_player *player = event.user;
    cr_assert(!player || player->id == event.conn, "of another connection");
    if (event.kind == WEIR_EVENT_OPEN)
        open_player(l, &event);
    else if (event.kind == WEIR_EVENT_CLOSE)
        close_player(l, &event);
    else
        check_message(l, &event);
    return true;
}

unsigned logic_drain(logic *l)
{
    unsigned count = 0;
    while (logic_take(l)) count++;
    return count;
}

void logic_compare(logic *l)
{
    l->least_numbers = UINT64_MAX;
    l->most_numbers = 0;
    for (const logic_player *player = l->players; player; player = player->next) {
        if (player->count < l->least_numbers) l->least_numbers = player->count;
        if (player->count > l->most_numbers) l->most_numbers = player->count;
    }
}

void logic_stop(logic *l)
{
    raw_while_waiting(NULL, NULL);
    weir_runtime_destroy(l->w.runtime);
    l->w.runtime = NULL;
    logic_drain(l);
    cr_assert_eq(weir_inbox_bytes(l->w.inbox), 0);
    cr_assert_eq(weir_inbox_wait(l->w.inbox, 1000), WEIR_ESTOPPED);
    cr_assert_eq(l->opened, l->closed, "%u opened, %u closed", l->opened, l->closed);
    world_stop(&l->w);
}

bool raw_numbers_send(raw_numbers *numbers, uint64_t until)
{
    while (numbers->next < until || numbers->rest_sent < numbers->rest_size) {
        if (numbers->rest_sent == numbers->rest_size) {
            numbers->rest_size = numbers->rest_sent = 0;
            while (numbers->next < until && numbers->rest_size + 32 < sizeof numbers->rest)
                numbers->rest_size += (size_t)snprintf(numbers->rest + numbers->rest_size, 32, "%llu\n",
                                                       (unsigned long long)numbers->next++);
        }
        size_t sent =
            raw_send_some(numbers->peer, numbers->rest + numbers->rest_sent, numbers->rest_size - numbers->rest_sent);
        cr_assert_neq(sent, SIZE_MAX);
        if (sent == 0) return false;
        numbers->rest_sent += sent;
    }
    return true;
}
