/* weir: a server framework for games. This header brings in all of the public face but the simulator.
 *
 * Conventions, everywhere:
 * - A function that can fail returns 0 (or a count), or a negative WEIR_E… (weir/error.h).
 * - An options struct that is all zero asks for the good defaults; NULL stands for an all-zero one. Options are copied.
 * - Each prototype says who may call it:
 *     [any]     any thread, at any time between the creation and the destruction of the runtime
 *     [worker]  only from a callback on the connection's own worker; debug builds assert it
 *     [owner]   the thread that created the object, never from a callback
 * - Callbacks run on a worker, without any lock held; those of one connection never run at the same time. They must
 *   not block: a worker serves thousands of connections.
 * - Units stand last in a name (`idle_timeout_ms`); sizes and limits without a unit are bytes. */
#ifndef WEIR_WEIR_H
#define WEIR_WEIR_H

#include <weir/address.h>
#include <weir/buffer.h>
#include <weir/conn.h>
#include <weir/connector.h>
#include <weir/error.h>
#include <weir/framing.h>
#include <weir/group.h>
#include <weir/inbox.h>
#include <weir/link.h>
#include <weir/listener.h>
#include <weir/runtime.h>
#include <weir/stats.h>
#include <weir/strand.h>
#include <weir/tick.h>
#include <weir/timer.h>
#include <weir/udp.h>
#include <weir/version.h>

#endif
