/* The simulator's queues when it drives them: who is due, when, and how it ends. */
#include "sim_world.h"

#include <stdlib.h>

/* An owner of a queue that does as little as an owner can. */
typedef struct owner {
    wr_sim *sim;
    wr_cq *cq;
    wr_memory memory;
    wr_op post;
    struct owner *mate; /* whom it posts to in each pass; NULL: nobody */
    uint64_t period_ns; /* asks for a pass so often; 0: never */
    unsigned passes, posts;
    uint64_t last_ns; /* of the world, at the last pass */
    char *order;      /* where it writes its name at a pass */
    char name;
} owner;

static uint64_t pass(void *data)
{
    owner *o = data;
    wr_completion out[8];
    unsigned count;
    do {
        count = wr_cq_wait(o->cq, out, 8, WR_DEADLINE_NEVER); /* does not block here */
        o->posts += count;
    } while (count > 0);
    o->passes++;
    o->last_ns = wr_sim_now_ns(o->sim);
    if (o->order) *o->order++ = o->name;
    if (o->mate && !o->mate->post.pending) wr_cq_post(o->mate->cq, &o->mate->post);
    return o->period_ns ? wr_cq_now(o->cq) + o->period_ns : WR_DEADLINE_NEVER;
}

static void owner_open(owner *o, wr_sim *sim)
{
    o->sim = sim;
    o->memory = wr_malloc_memory();
    cr_assert_eq(wr_cq_create(&wr_cq_sim, &o->cq, &(wr_cq_options){ .memory = &o->memory, .sim = sim }), 0);
    wr_sim_attach(o->cq, pass, o);
    wr_cq_post(o->cq, &o->post);
}

static wr_sim *make(uint64_t seed)
{
    wr_sim *sim;
    cr_assert_eq(wr_sim_create(&sim, &(wr_sim_options){ .seed = seed }), 0);
    return sim;
}

Test(sim_step, is_idle_when_nothing_can_happen)
{
    wr_sim *sim = make(1);
    cr_assert_eq(wr_sim_step(sim, WR_SIM_FOREVER), WR_SIM_IDLE);
    owner o = { 0 };
    owner_open(&o, sim);
    cr_assert_eq(wr_sim_step(sim, 0), WR_SIM_STEPPED);
    cr_assert_eq(o.passes, 1);
    cr_assert_eq(o.posts, 1);
    cr_assert_eq(wr_sim_step(sim, 5 * (uint64_t)S), WR_SIM_IDLE);
    cr_assert_eq(wr_sim_now_ns(sim), 0); /* it stands still */
    wr_sim_skip(sim, 7);
    wr_sim_skip(sim, 3);
    cr_assert_eq(wr_sim_now_ns(sim), 7);
    wr_cq_destroy(o.cq);
    wr_sim_destroy(sim);
}

Test(sim_step, wakes_an_owner_when_it_asked_to_be)
{
    wr_sim *sim = make(1);
    owner o = { .period_ns = 3 * MS };
    owner_open(&o, sim);
    while (wr_sim_step(sim, 10 * MS) == WR_SIM_STEPPED) cr_assert_lt(o.passes, 10);
    cr_assert_eq(o.passes, 4); /* at 0, 3, 6 and 9 ms */
    cr_assert_eq(o.last_ns, 9 * MS);
    cr_assert_eq(wr_sim_now_ns(sim), 10 * MS);
    cr_assert_eq(wr_sim_step(sim, 12 * MS), WR_SIM_STEPPED); /* what is due at that very time is done */
    cr_assert_eq(wr_sim_step(sim, 12 * MS), WR_SIM_REACHED);
    cr_assert_eq(wr_sim_step(sim, 5 * MS), WR_SIM_REACHED); /* in the past: nothing */
    cr_assert_eq(wr_sim_now_ns(sim), 12 * MS);
    wr_cq_destroy(o.cq);
    wr_sim_destroy(sim);
}

Test(sim_step, lets_owners_that_keep_each_other_busy_take_turns)
{
    wr_sim *sim = make(1);
    owner a = { 0 }, b = { .mate = &a };
    a.mate = &b;
    owner_open(&a, sim);
    owner_open(&b, sim);
    for (int i = 0; i < 1000; i++) cr_assert_eq(wr_sim_step(sim, WR_SIM_FOREVER), WR_SIM_STEPPED);
    cr_assert_eq(wr_sim_now_ns(sim), 0);
    cr_assert(a.passes > 300 && b.passes > 300, "%u and %u", a.passes, b.passes);
    wr_cq_destroy(a.cq);
    wr_cq_destroy(b.cq);
    wr_sim_destroy(sim);
}

Test(sim_step, lets_the_seed_choose_who_comes_next)
{
    enum { OWNERS = 3, SEEDS = 60 };
    unsigned first[OWNERS] = { 0 };
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        wr_sim *sim = make(seed);
        owner owners[OWNERS];
        char orders[OWNERS] = "";
        for (int i = 0; i < OWNERS; i++) {
            owners[i] = (owner){ .name = (char)(i + 1), .order = &orders[i] };
            owner_open(&owners[i], sim);
        }
        cr_assert_eq(wr_sim_step(sim, 0), WR_SIM_STEPPED);
        for (int i = 0; i < OWNERS; i++) first[i] += owners[i].passes;
        while (wr_sim_step(sim, 0) == WR_SIM_STEPPED) continue;
        for (int i = 0; i < OWNERS; i++) {
            cr_assert_eq(owners[i].passes, 1);
            wr_cq_destroy(owners[i].cq);
        }
        wr_sim_destroy(sim);
    }
    for (int i = 0; i < OWNERS; i++) cr_assert(first[i] > SEEDS / 6, "%u of %d", first[i], SEEDS);
}

static uint64_t strike(void *data)
{
    owner *o = data;
    wr_completion out;
    (void)wr_cq_wait(o->cq, &out, 1, WR_DEADLINE_NOW);
    o->posts += wr_sim_strikes(o->sim, WR_FAULT_REFUSE);
    return WR_DEADLINE_NEVER;
}

Test(sim_step, spares_what_is_set_up_between_steps_from_ratios)
{
    wr_sim *sim;
    wr_sim_options options = { .per_mille = { [WR_FAULT_REFUSE] = 1000 } };
    cr_assert_eq(wr_sim_create(&sim, &options), 0);
    cr_assert(wr_sim_strikes(sim, WR_FAULT_REFUSE)); /* nobody asked for that */
    options.spares_setup = true;
    wr_sim_change(sim, &options);
    cr_assert_not(wr_sim_strikes(sim, WR_FAULT_REFUSE));
    wr_sim_set_live(sim, true);
    cr_assert(wr_sim_strikes(sim, WR_FAULT_REFUSE));
    wr_sim_set_live(sim, false);

    owner o = { .sim = sim, .memory = wr_malloc_memory() };
    cr_assert_eq(wr_cq_create(&wr_cq_sim, &o.cq, &(wr_cq_options){ .memory = &o.memory, .sim = sim }), 0);
    wr_sim_attach(o.cq, strike, &o);
    wr_cq_post(o.cq, &o.post);
    cr_assert_eq(wr_sim_step(sim, 0), WR_SIM_STEPPED);
    cr_assert_eq(o.posts, 1);

    enum wr_sim_fault all = WR_FAULT_REFUSE;
    wr_sim_change(sim, &(wr_sim_options){ .spares_setup = true, .script = sim_all_of, .script_data = &all });
    cr_assert(wr_sim_strikes(sim, WR_FAULT_REFUSE)); /* a script means what it says */
    wr_cq_destroy(o.cq);
    wr_sim_destroy(sim);
}

/* A queue that nobody drives moves the world on in its waits, and with it those that are. */
Test(sim_step, goes_on_in_the_wait_of_a_queue_by_itself)
{
    world w;
    sim_open(&w, &(wr_sim_options){ 0 });
    owner o = { .period_ns = 3 * MS };
    owner_open(&o, w.sim);
    world_pump(&w, world_in_ms(&w, 10));
    cr_assert_eq(o.passes, 4);
    cr_assert_eq(wr_sim_now_ns(w.sim), 10 * MS);
    wr_cq_destroy(o.cq);
    sim_close(&w);
}

Test(sim_step, returns_from_a_wait_for_what_can_never_come)
{
    world w;
    sim_open(&w, &(wr_sim_options){ 0 });
    cr_assert_eq(world_pump(&w, WR_DEADLINE_NEVER), 0); /* no other thread could help */
    sim_close(&w);
}
