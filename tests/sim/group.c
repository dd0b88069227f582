/* Groups: the actions, and the books of who is a member and what each member's peer must get. All runs on one thread
 * here, so that the sends to a group have one order, in which they reach every member. */
#include <string.h>

#include "core/group.h"
#include "core/worker.h"
#include "sim/swarm.h"

/* ---- choosing ---- */

static bool is_usable(const swarm_group *group)
{
    return group->group && group->runtime->runtime && !group->runtime->dying;
}

static swarm_group *choose_group(swarm *s)
{
    if (s->made_groups == 0) return NULL;
    swarm_group *group = &s->groups[choose(&s->from, s->made_groups)];
    return is_usable(group) ? group : NULL;
}

/* What a group sends must make sense to the other end, which must be known, since the messages do not name it. */
static bool may_join(const swarm_group *group, const swarm_end *end)
{
    return !end->raw && end->state == END_OPEN && end->runtime == group->runtime && end->format == group->format &&
           end->peer && end->local.family != WEIR_FAMILY_UNIX && !end->spoiled;
}

/* Each end comes and goes either by its id or in callbacks: the two overtake each other. */
static bool moves_by_id(const swarm_group *group, const swarm_end *end)
{
    return (group->number + end->number) % 2 == 0;
}

static swarm_end *choose_mover(swarm *s, const swarm_group *group)
{
    if (s->made_ends == 0) return NULL;
    unsigned first = (unsigned)choose(&s->from, s->made_ends);
    for (unsigned i = 0; i < s->made_ends; i++) {
        swarm_end *end = s->ends[(first + i) % s->made_ends];
        if (may_join(group, end) && moves_by_id(group, end)) return end;
    }
    return NULL;
}

/* One that the end may join in a callback. */
static const swarm_group *choose_group_for(swarm *s, const swarm_end *end)
{
    if (s->made_groups == 0) return NULL;
    unsigned first = (unsigned)choose(&s->from, s->made_groups);
    for (unsigned i = 0; i < s->made_groups; i++) {
        const swarm_group *group = &s->groups[(first + i) % s->made_groups];
        if (is_usable(group) && may_join(group, end) && !moves_by_id(group, end)) return group;
    }
    return NULL;
}

/* ---- coming and going ---- */

static void join(const swarm_group *group, swarm_end *end)
{
    swarm_membership *membership = &end->groups[group->number];
    if (membership->is_member) return;
    membership->is_member = membership->was_member = true;
    membership->left_at_once = false;
    membership->first = group->count;
}

static void leave(const swarm_group *group, swarm_end *end)
{
    swarm_membership *membership = &end->groups[group->number];
    if (!membership->is_member) return;
    membership->is_member = false;
    membership->end = group->count;
}

void act_group_create(swarm *s, swarm_end *end)
{
    (void)end;
    if (s->made_groups == SWARM_GROUPS || s->made_ends == 0) return;
    /* For some end, whether it comes or not. */
    const swarm_end *guest = s->ends[choose(&s->from, s->made_ends)];
    swarm_runtime *runtime = guest->runtime;
    if (!runtime || !runtime->runtime || runtime->dying) return;
    swarm_group *made = &s->groups[s->made_groups];
    *made = (swarm_group){ .runtime = runtime, .number = s->made_groups, .format = guest->format };
    int error = weir_group_create(runtime->runtime, &made->group);
    SWARM_CHECK(s, error == 0 || (error == WEIR_ENOMEM && s->ever[WEIR_SIM_ENOMEM]), "weir_group_create returns %s",
                weir_error_name(error));
    if (error) return;
    SWARM_CHECK(s, weir_group_size(made->group) == 0, "a new group has members");
    s->made_groups++;
}

void act_group_join(swarm *s, swarm_end *end)
{
    const swarm_group *group = choose_group_for(s, end);
    if (!group) return;
    int error = weir_group_add(group->group, end->conn);
    swarm_say(s, "end %u: weir_group_add to group %u: %s", end->number, group->number, weir_error_name(error));
    SWARM_CHECK(s, error == 0 || error == WEIR_ECLOSED || (error == WEIR_ENOMEM && s->ever[WEIR_SIM_ENOMEM]),
                "weir_group_add returns %s", weir_error_name(error));
    if (error) return;
    SWARM_CHECK(s, weir_group_has(group->group, end->conn), "end %u was added to group %u, and is not in it",
                end->number, group->number);
    join(group, end);
}

void act_group_leave(swarm *s, swarm_end *end)
{
    const swarm_group *group = choose_group(s);
    if (!group || end->runtime != group->runtime || moves_by_id(group, end)) return;
    swarm_say(s, "end %u: weir_group_remove from group %u", end->number, group->number);
    weir_group_remove(group->group, end->conn);
    SWARM_CHECK(s, !weir_group_has(group->group, end->conn), "end %u was removed from group %u, and is in it",
                end->number, group->number);
    leave(group, end);
    end->groups[group->number].left_at_once = true;
}

static void check_by_id(swarm *s, const swarm_end *end, const swarm_group *group, const char *what, int error)
{
    swarm_say(s, "end %u: %s, group %u: %s", end->number, what, group->number, weir_error_name(error));
    SWARM_CHECK(s, error == 0 || error == WEIR_ESLOW || (error == WEIR_ENOMEM && s->ever[WEIR_SIM_ENOMEM]),
                "%s returns %s", what, weir_error_name(error));
}

void act_group_add_id(swarm *s, swarm_end *unused)
{
    (void)unused;
    const swarm_group *group = choose_group(s);
    swarm_end *end = group ? choose_mover(s, group) : NULL;
    if (!end) return;
    int error = weir_group_add_id(group->group, end->id);
    check_by_id(s, end, group, "weir_group_add_id", error);
    if (error == 0) join(group, end);
}

void act_group_remove_id(swarm *s, swarm_end *unused)
{
    (void)unused;
    const swarm_group *group = choose_group(s);
    swarm_end *end = group ? choose_mover(s, group) : NULL;
    if (!end) return;
    int error = weir_group_remove_id(group->group, end->id);
    check_by_id(s, end, group, "weir_group_remove_id", error);
    if (error == 0) leave(group, end);
}

void act_group_destroy(swarm *s, swarm_end *unused)
{
    (void)unused;
    swarm_group *group = choose_group(s);
    if (!group) return;
    swarm_say(s, "group %u: weir_group_destroy", group->number);
    weir_group_destroy(group->group);
    group->group = NULL;
    for (unsigned i = 0; i < s->made_ends; i++) leave(group, s->ends[i]);
}

/* ---- sending ---- */

/* The end that is left out: now and then, and mostly a member. */
static const swarm_end *choose_exception(swarm *s, const swarm_group *group)
{
    if (choose(&s->from, 4) || s->made_ends == 0) return NULL;
    const swarm_end *end = s->ends[choose(&s->from, s->made_ends)];
    return end->runtime == group->runtime && end->id ? end : NULL;
}

/* The worker whose members a send reaches at once: where it is made, if nothing is on its way there. */
static const wr_worker *find_direct(const swarm_group *group)
{
    const wr_worker *here = wr_worker_here();
    if (!here || here->runtime != group->runtime->runtime) return NULL;
    const wr_group_part *part = &group->group->parts[here->index];
    return part->moves == 0 && part->sends == 0 ? here : NULL;
}

/* It stands in order with what is sent to those members in callbacks. */
static void note_direct(swarm *s, const swarm_group *group, const wr_worker *direct, const swarm_end *except)
{
    for (unsigned i = 0; i < s->made_ends; i++) {
        swarm_end *end = s->ends[i];
        swarm_membership *membership = &end->groups[group->number];
        if (end->runtime != group->runtime || end->worker != direct->index || end == except) continue;
        if (end->state != END_OPEN || !membership->is_member) continue;
        membership->casts = group->count + 1;
        membership->before = end->sent[DIRECT].count;
    }
}

static void send_to_all(swarm *s, swarm_group *group, uint32_t size)
{
    const wr_worker *direct = find_direct(group);
    const swarm_end *except = choose_exception(s, group);
    message_label label = { .end = MESSAGE_GROUPS + group->number, .place = group->count, .size = size };
    weir_buf *buf = weir_buf_create(size);
    SWARM_CHECK(s, buf, "the test is out of memory");
    message_write(group->format, &label, weir_buf_bytes(buf));
    int error = except ? weir_group_send_except(group->group, buf, except->id) : weir_group_send(group->group, buf);
    weir_buf_release(buf);
    swarm_say(s, "group %u: send %u of %u bytes: %s", group->number, group->count, size, weir_error_name(error));
    SWARM_CHECK(s, error == 0 || error == WEIR_ESLOW || (error == WEIR_ENOMEM && s->ever[WEIR_SIM_ENOMEM]),
                "weir_group_send returns %s", weir_error_name(error));
    if (error == WEIR_ENOMEM) return; /* nobody gets it: its number is the next one's */
    if (direct) note_direct(s, group, direct, except);
    group->casts[group->count++] =
        (swarm_cast){ .except = except ? (int32_t)except->number : -1, .partial = error != 0 };
}

static bool take_cast(swarm *s, const swarm_group *group)
{
    if (s->budget == 0 || group->count == SWARM_CASTS) return false;
    s->budget--;
    return true;
}

void act_group_send(swarm *s, swarm_end *unused)
{
    (void)unused;
    swarm_group *group = choose_group(s);
    if (!group) return;
    uint32_t most = group->format->most < 3000 ? group->format->most : 3000;
    uint32_t size = (uint32_t)choose_from(&s->from, group->format->least, most);
    uint64_t sends = choose(&s->from, 6) ? 1 : choose_from(&s->from, 2, 30); /* now and then a flood */
    while (sends-- > 0 && take_cast(s, group)) send_to_all(s, group, size);
}

/* ---- what comes ---- */

/* Whether that send need not have come to the other end of `member`. */
static bool may_miss(const swarm_group *group, const swarm_end *member, uint32_t number)
{
    const swarm_cast *cast = &group->casts[number];
    return cast->partial || cast->except == (int32_t)member->number || !end_ends_when_slow(member);
}

/* The first send from `from` on, before `to`, that must have come; `to`: none. */
static uint32_t first_due(const swarm_group *group, const swarm_end *member, uint32_t to)
{
    const swarm_membership *membership = &member->groups[group->number];
    uint32_t number = membership->next > membership->first ? membership->next : membership->first;
    while (number < to && may_miss(group, member, number)) number++;
    return number < to ? number : to;
}

void group_take(swarm_end *end, const message_label *label)
{
    swarm *s = end->s;
    uint32_t g = label->end - MESSAGE_GROUPS, number = label->place;
    SWARM_CHECK(s, g < s->made_groups, "end %u gets a message of group %u, of %u", end->number, g, s->made_groups);
    const swarm_group *group = &s->groups[g];
    swarm_end *member = end->peer;
    SWARM_CHECK(s, member && member->groups[g].was_member,
                "end %u gets a message of group %u, and its peer is not in it", end->number, g);
    swarm_membership *membership = &member->groups[g];
    SWARM_CHECK(s, number < group->count, "end %u gets send %u of %u to group %u", end->number, number, group->count,
                g);
    SWARM_CHECK(s, number >= membership->next, "end %u gets send %u to group %u again, or late", end->number, number,
                g);
    SWARM_CHECK(s, membership->is_member || number < membership->end,
                "end %u gets send %u to group %u, which its peer left before send %u", end->number, number, g,
                membership->end);
    SWARM_CHECK(s, group->casts[number].except != (int32_t)member->number,
                "end %u gets send %u to group %u, that its peer was left out of", end->number, number, g);
    uint32_t due = first_due(group, member, number);
    SWARM_CHECK(s, due == number, "end %u gets send %u to group %u, and %u has not come", end->number, number, g, due);
    SWARM_CHECK(s, number + 1 != membership->casts || end->got[DIRECT] >= membership->before,
                "end %u gets send %u to group %u before what its peer was sent earlier in callbacks", end->number,
                number, g);
    membership->next = number + 1;
    group->runtime->from_groups++;
}

void group_check_before(const swarm_end *end, const swarm_sent *item)
{
    const swarm_end *member = end->peer;
    for (unsigned g = 0; g < end->s->made_groups; g++) {
        uint32_t due = first_due(&end->s->groups[g], member, item->casts[g]);
        SWARM_CHECK(end->s, due >= item->casts[g],
                    "end %u gets a message that was sent in a callback before send %u to group %u, which was earlier",
                    end->number, due, g);
    }
}

/* All that was sent to a group while it was a member has come. */
void group_check_owed(const swarm_end *end)
{
    const swarm_end *member = end->peer;
    for (unsigned g = 0; g < end->s->made_groups; g++) {
        const swarm_group *group = &end->s->groups[g];
        const swarm_membership *membership = &member->groups[g];
        if (!membership->was_member) continue;
        /* What was on its way to its worker when it left in a callback need not have come. */
        if (!membership->is_member && membership->left_at_once) continue;
        uint32_t to = membership->is_member ? group->count : membership->end;
        uint32_t due = first_due(group, member, to);
        SWARM_CHECK(end->s, due >= to, "end %u has not got send %u to group %u, and all has been calm for long",
                    end->number, due, g);
    }
}

void group_judge_sizes(swarm *s)
{
    for (unsigned g = 0; g < s->made_groups; g++) {
        const swarm_group *group = &s->groups[g];
        if (!is_usable(group)) continue;
        size_t members = 0, size = weir_group_size(group->group);
        for (unsigned i = 0; i < s->made_ends; i++)
            members += s->ends[i]->state == END_OPEN && s->ends[i]->groups[g].is_member;
        SWARM_CHECK(s, size == members, "group %u has %u members, and says %u", g, (unsigned)members, (unsigned)size);
    }
}
