/* Strands: serialised on many workers, in order, bounded, and ended cleanly. */
#include "core/worker.h"
#include "core/world.h"

/* A runtime without a listener; on so many workers. */
static void start(world *w, unsigned workers)
{
    w->no_listener = true;
    w->runtime_options.workers = workers;
    world_start(w);
}

static weir_strand *make(world *w, uint32_t max_queued)
{
    weir_strand *strand;
    cr_assert_eq(weir_strand_create(w->runtime, &(weir_strand_options){ .max_queued = max_queued }, &strand), 0);
    return strand;
}

enum { POSTERS = 4, POSTS = 10000, ROOMS = 3 };

/* What a strand guards: nothing here is atomic but what the test waits for. */
typedef struct room {
    weir_strand *strand;
    unsigned count, running, next[POSTERS];
    bool in_disorder, at_once;
    uint64_t workers; /* that it has run on, a bit each */
    _Atomic unsigned served;
} room;

typedef struct parcel {
    room *to;
    unsigned poster, number;
} parcel;

typedef struct poster {
    wr_thread thread;
    unsigned number;
    parcel parcels[POSTS];
} poster;

static room rooms[ROOMS];
static poster posters[POSTERS];

static void receive(weir_runtime *runtime, void *data)
{
    (void)runtime;
    const parcel *p = data;
    room *to = p->to;
    if (to->running++ != 0) to->at_once = true;
    if (p->number < to->next[p->poster]) to->in_disorder = true;
    to->next[p->poster] = p->number + 1;
    to->workers |= UINT64_C(1) << wr_worker_here()->index;
    to->count++;
    to->running--;
    atomic_fetch_add(&to->served, 1);
}

static void post_all(void *arg)
{
    poster *from = arg;
    for (unsigned i = 0; i < POSTS; i++) {
        parcel *p = &from->parcels[i];
        *p = (parcel){ .to = &rooms[i % ROOMS], .poster = from->number, .number = i };
        int error;
        while ((error = weir_strand_post(p->to->strand, receive, p)) == WEIR_ELIMIT) weir_sleep_ms(1);
        cr_assert_eq(error, 0);
    }
}

static unsigned served(void)
{
    unsigned sum = 0;
    for (int i = 0; i < ROOMS; i++) sum += rooms[i].served;
    return sum;
}

Test(strand, serialises_what_several_threads_post_on_several_workers)
{
    world w = { 0 };
    start(&w, 4);
    for (int i = 0; i < ROOMS; i++) rooms[i].strand = make(&w, i == 0 ? 100 : 0);
    for (unsigned i = 0; i < POSTERS; i++) {
        posters[i].number = i;
        cr_assert_eq(wr_thread_start(&posters[i].thread, "poster", post_all, &posters[i]), 0);
    }
    for (unsigned i = 0; i < POSTERS; i++) wr_thread_join(&posters[i].thread);
    WORLD_AWAIT(&w, served() == POSTERS * POSTS);
    for (int i = 0; i < ROOMS; i++) {
        cr_assert_eq(rooms[i].count, rooms[i].served, "a sum without a lock");
        cr_assert_not(rooms[i].at_once || rooms[i].in_disorder);
    }
    world_stop(&w); /* which frees them */
}

/* ---- from one turn to the next ---- */

typedef struct chain {
    weir_strand *strand;
    unsigned left;
    bool inside, nested;
    uint64_t workers;
    _Atomic bool done;
} chain;

static void pass_on(weir_runtime *runtime, void *data)
{
    chain *c = data;
    (void)runtime;
    if (c->inside) c->nested = true;
    c->inside = true;
    c->workers |= UINT64_C(1) << wr_worker_here()->index;
    if (--c->left > 0)
        cr_assert_eq(weir_strand_post(c->strand, pass_on, c), 0);
    else
        c->done = true;
    c->inside = false;
}

Test(strand, a_function_may_post_to_its_own_strand_and_is_not_interrupted)
{
    world w = { 0 };
    start(&w, 2);
    chain c = { .strand = make(&w, 1), .left = 1000 }; /* with one place, which is free when it runs */
    cr_assert_eq(weir_strand_post(c.strand, pass_on, &c), 0);
    WORLD_AWAIT(&w, c.done);
    cr_assert_not(c.nested);
    weir_strand_destroy(c.strand);
    world_stop(&w);
}

static void note_worker(weir_runtime *runtime, void *data)
{
    chain *c = data;
    (void)runtime;
    c->workers |= UINT64_C(1) << wr_worker_here()->index;
    c->left--;
    c->done = c->left == 0;
}

Test(strand, moves_between_workers)
{
    world w = { 0 };
    start(&w, 3);
    chain c = { .strand = make(&w, 0), .left = 0 };
    for (int i = 0; i < 6; i++) {
        c.left = 1;
        c.done = false;
        cr_assert_eq(weir_strand_post(c.strand, note_worker, &c), 0);
        WORLD_AWAIT(&w, c.done);
        world_turn(&w); /* its turn is over */
    }
    cr_assert_neq(c.workers & (c.workers - 1), 0, "at least two");
    weir_strand_destroy(NULL);
    world_stop(&w);
}

/* ---- the bound ---- */

static void count(weir_runtime *runtime, void *data)
{
    (void)runtime;
    atomic_fetch_add((_Atomic unsigned *)data, 1);
}

Test(strand, that_is_full_refuses_until_it_has_room)
{
    enum { MOST = 200 };
    _Atomic unsigned counted = 0;
    world w = { .manual = true };
    start(&w, 1);
    weir_strand *strand = make(&w, MOST), *other = make(&w, MOST);
    for (unsigned i = 0; i < MOST; i++) cr_assert_eq(weir_strand_post(strand, count, &counted), 0);
    cr_assert_eq(weir_strand_post(strand, count, &counted), WEIR_ELIMIT);
    cr_assert_eq(weir_strand_post(other, count, &counted), 0);
    WORLD_AWAIT(&w, counted == MOST + 1);
    cr_assert_eq(weir_strand_post(strand, count, &counted), 0);
    WORLD_AWAIT(&w, counted == MOST + 2);
    world_stop(&w);
}

static void flood(weir_runtime *runtime, void *data)
{
    chain *c = data;
    (void)runtime;
    if (!c->done) cr_assert_eq(weir_strand_post(c->strand, flood, c), 0);
}

static void end_flood(weir_runtime *runtime, void *data)
{
    (void)runtime;
    ((chain *)data)->done = true;
}

Test(strand, that_never_ends_holds_up_nobody)
{
    world w = { .protocol = { .framing = weir_framing_line() } };
    world_start(&w);
    chain c = { .strand = make(&w, 0) };
    for (int i = 0; i < 1000; i++) cr_assert_eq(weir_strand_post(c.strand, flood, &c), 0);
    raw_peer peer = world_connect(&w);
    raw_send(peer, "hello\n", 6);
    WORLD_AWAIT(&w, w.messages == 1);
    cr_assert_eq(weir_strand_post(c.strand, end_flood, &c), 0);
    WORLD_AWAIT(&w, c.done);
    raw_close(peer);
    world_stop(&w);
}

/* ---- the end ---- */

typedef struct last {
    weir_strand *strand;
    _Atomic unsigned counted;
} last;

static void destroy_it(weir_runtime *runtime, void *data)
{
    (void)runtime;
    last *l = data;
    weir_strand_destroy(l->strand);
    l->counted++;
}

Test(strand, runs_what_was_posted_before_its_end)
{
    enum { POSTED = 1000 };
    world w = { 0 };
    start(&w, 2);
    uint64_t memory = w.memory.used;
    for (int round = 0; round < 2; round++) {
        last l = { .strand = make(&w, 0) };
        for (int i = 0; i < POSTED; i++) cr_assert_eq(weir_strand_post(l.strand, count, &l.counted), 0);
        if (round == 0)
            weir_strand_destroy(l.strand);
        else
            cr_assert_eq(weir_strand_post(l.strand, destroy_it, &l), 0); /* in its own function */
        WORLD_AWAIT(&w, l.counted == POSTED + (unsigned)round);
        WORLD_AWAIT(&w, w.memory.used <= memory);
    }
    world_stop(&w);
}

Test(strand, of_a_runtime_that_ends_is_freed_with_what_it_had_to_run)
{
    _Atomic unsigned counted = 0;
    world w = { .manual = true };
    start(&w, 1);
    weir_strand *strand = make(&w, 0), *ended = make(&w, 0);
    (void)make(&w, 0); /* idle */
    weir_runtime_stop(w.runtime);
    while (weir_poll(w.runtime, 0) != WEIR_ESTOPPED) continue;
    cr_assert_eq(weir_strand_post(strand, count, &counted), WEIR_ESTOPPED);
    weir_strand_destroy(ended); /* harmless after the end */
    world_stop(&w);

    world never_run = { .manual = true };
    start(&never_run, 1);
    strand = make(&never_run, 0);
    for (int i = 0; i < 1000; i++) cr_assert_eq(weir_strand_post(strand, count, &counted), 0);
    weir_strand_destroy(strand);
    weir_runtime_stop(never_run.runtime);
    world_stop(&never_run); /* the world counts the memory */
}

Test(strand, is_refused_with_the_reason)
{
    _Atomic unsigned counted = 0;
    world w = { 0 };
    start(&w, 1);
    weir_strand *strand = make(&w, 1), *none = (void *)&w;
    cr_assert_eq(weir_strand_create(w.runtime, NULL, NULL), WEIR_EINVAL);
    cr_assert_eq(weir_strand_post(strand, NULL, NULL), WEIR_EINVAL);
    world_refuse(&w, 0);
    cr_assert_eq(weir_strand_create(w.runtime, NULL, &none), WEIR_ENOMEM);
    cr_assert_null(none);
    cr_assert_eq(weir_strand_post(strand, count, &counted), WEIR_ENOMEM);
    cr_assert_eq(weir_strand_post(strand, count, &counted), WEIR_ENOMEM); /* and not full by those */
    world_refuse(&w, -1);
    cr_assert_eq(weir_strand_post(strand, count, &counted), 0);
    WORLD_AWAIT(&w, counted == 1);
    world_stop(&w);
}
