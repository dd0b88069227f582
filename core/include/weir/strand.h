/* Strands: work that is serialised without a lock: what is posted to one strand never runs twice at once, on whichever
 * worker it runs. For a room whose members live on several workers: all that changes the room goes through its strand.
 */
#ifndef WEIR_STRAND_H
#define WEIR_STRAND_H

#include <weir/runtime.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weir_strand weir_strand;

typedef struct weir_strand_options {
    uint32_t max_queued; /* functions that wait for their turn at most; 0: 65,536 */
} weir_strand_options;

/* weir_strand_create: `options` may be NULL. It lives until weir_strand_destroy, or weir_runtime_destroy. [any]
 * WEIR_EINVAL: no `out`. WEIR_ENOMEM. */
WEIR_API int weir_strand_create(weir_runtime *runtime, const weir_strand_options *options, weir_strand **out);

/* weir_strand_post: runs `run(runtime, data)` on some worker, after what was posted to the strand before, by this
 * thread or as far as this one knows by another, has returned; and sees all that those did. Never from inside this
 * call. Successive ones may run on different workers. What is still queued when the workers end does not run. [any]
 * WEIR_EINVAL: run is NULL. WEIR_ELIMIT: max_queued wait already; nothing was queued. WEIR_ENOMEM. WEIR_ESTOPPED. */
WEIR_API int weir_strand_post(weir_strand *strand, weir_post_fn run, void *data);

/* weir_strand_destroy: what was posted before still runs, then it is freed; it must not be posted to from here on. Also
 * from its own functions. NULL is fine. [any] */
WEIR_API void weir_strand_destroy(weir_strand *strand);

#ifdef __cplusplus
}
#endif

#endif
