/* Groups: connections that are sent to together, such as the players of a room, wherever their workers are.
 *
 * A send costs one message a worker and keeps one copy of the bytes, however many the members. Each member's own outbox
 * limits apply, so one that reads slowly is policed by its own protocol and holds up nobody. A connection may be in any
 * number of groups; it has left all of them by the time of its on_close. Groups go with their runtime.
 *
 * What is promised of order:
 * - The sends of one thread to one group reach each member in order, each once. So do its weir_group_add_id and
 *   weir_group_remove_id among them: who was added before a send gets it, who was removed before does not.
 * - weir_group_send and weir_send_to of one thread that is no worker's reach a connection in order.
 * - In callbacks a send to the members on the same worker stands in order with weir_send to them, unless something of
 *   the group's from another thread is still on its way to this worker: then it queues behind that, and a weir_send
 *   that follows overtakes it.
 * - Nothing is promised between sends of different threads. Whoever joins may still get what was on its way then. */
#ifndef WEIR_GROUP_H
#define WEIR_GROUP_H

#include <weir/conn.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A set of connections of one runtime. */
typedef struct weir_group weir_group;

/* weir_group_create: an empty group. It goes with the runtime, or earlier with weir_group_destroy. [any]
 * WEIR_EINVAL: runtime or out is NULL. WEIR_ENOMEM. */
WEIR_API int weir_group_create(weir_runtime *runtime, weir_group **out);

/* weir_group_destroy: ends the group before its runtime's end. What was sent to it before still arrives; its members
 * stay connected. Nobody may use it in a call that begins later or is not yet over. NULL is fine. Never fails. [any] */
WEIR_API void weir_group_destroy(weir_group *group);

/* weir_group_add: makes the connection a member, from the next send on; 0 also if it is one already. [worker]
 * WEIR_ECLOSED: it is closing. WEIR_ENOMEM: it is not a member, and nothing else changes. WEIR_EINVAL: the group is of
 * another runtime, or NULL. */
WEIR_API int weir_group_add(weir_group *group, weir_conn *conn);

/* weir_group_remove: ends the membership at once: a send that is still on its way to this worker does not reach it.
 * Harmless if there is none. [worker] */
WEIR_API void weir_group_remove(weir_group *group, weir_conn *conn);

/* weir_group_has: whether it is a member at this moment. [worker] */
WEIR_API bool weir_group_has(const weir_group *group, const weir_conn *conn);

/* weir_group_add_id, weir_group_remove_id: the same from anywhere, in order with this thread's sends to the group;
 * harmless for a connection that has gone. If there is no memory for the membership when it is made, the connection
 * ends with WEIR_ENOMEM. [any]
 * WEIR_ESLOW: weir_runtime_options.group_backlog is reached at its worker. WEIR_ENOMEM: the request could not be
 * queued. WEIR_EINVAL: `id` never came from the group's runtime, or group is NULL. */
WEIR_API int weir_group_add_id(weir_group *group, weir_conn_id id);
WEIR_API int weir_group_remove_id(weir_group *group, weir_conn_id id);

/* weir_group_send: sends the buffer to every member, as weir_send_buf does; the caller keeps its reference. A member's
 * own limits apply when its worker comes to it, in callbacks too not before this has returned; what they refuse counts
 * in stats.sends_dropped. What is sent to a group without members, as all are once the runtime has stopped, counts in
 * stats.group_sends_empty. [any]
 * WEIR_ESLOW: a worker is so far behind that weir_runtime_options.group_backlog is reached; its members do not get this
 * one, and each counts in stats.sends_dropped; those of other workers do. WEIR_ENOMEM: nobody gets it. WEIR_EINVAL:
 * group or buf is NULL. */
WEIR_API int weir_group_send(weir_group *group, weir_buf *buf);

/* weir_group_send_except: to all but one, such as the one whose move it tells. An id of no member, or 0, leaves out
 * nobody. Otherwise as weir_group_send. [any] */
WEIR_API int weir_group_send_except(weir_group *group, weir_buf *buf, weir_conn_id except);

/* weir_group_size: how many members it has; exact while none comes or goes. What weir_group_add_id has on its way does
 * not count yet. [any] */
WEIR_API size_t weir_group_size(const weir_group *group);

#ifdef __cplusplus
}
#endif

#endif
