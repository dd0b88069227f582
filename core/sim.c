#include "core/sim.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/runtime.h"

enum {
    PER_MILLE_MAX = 1000,
    STEPS_MAX = 10000000,     /* in which the clock does not move: those who keep each other so busy never end */
    DEFAULT_LATENCY_US = 100, /* never none: time would not move while bytes go to and fro */
};

/* The public names of faults are the platform's. */
_Static_assert((int)WEIR_SIM_PARTIAL == (int)WR_FAULT_PARTIAL && (int)WEIR_SIM_LOSS == (int)WR_FAULT_LOSS &&
                   (int)WEIR_SIM_RESET == (int)WR_FAULT_RESET && (int)WEIR_SIM_REFUSE == (int)WR_FAULT_REFUSE &&
                   (int)WEIR_SIM_EMFILE == (int)WR_FAULT_EMFILE && (int)WEIR_SIM_ENOBUFS == (int)WR_FAULT_ENOBUFS &&
                   (int)WEIR_SIM_ENOMEM == (int)WR_FAULT_ENOMEM &&
                   (int)WEIR_SIM_DATAGRAM_LOSS == (int)WR_FAULT_DATAGRAM_LOSS &&
                   (int)WEIR_SIM_DATAGRAM_DUPLICATE == (int)WR_FAULT_DATAGRAM_COPY &&
                   (int)WEIR_SIM_DATAGRAM_REORDER == (int)WR_FAULT_DATAGRAM_LATE &&
                   (int)WEIR_SIM_RESOLVE == (int)WR_FAULT_RESOLVE && (int)WR_FAULTS == WEIR_SIM_RESOLVE + 1,
               "one list of faults");

static bool ask_script(enum wr_sim_fault fault, uint64_t number, void *data)
{
    const weir_sim *sim = data;
    return sim->options.script((weir_sim_fault)fault, number, sim->options.script_data);
}

/* WEIR_EINVAL, or the world's options. */
static int translate(weir_sim *sim, const weir_sim_options *options, wr_sim_options *out)
{
    const uint32_t per_mille[WR_FAULTS] = {
        [WR_FAULT_PARTIAL] = options->partial_per_mille,
        [WR_FAULT_LOSS] = options->loss_per_mille,
        [WR_FAULT_RESET] = options->reset_per_mille,
        [WR_FAULT_REFUSE] = options->refuse_per_mille,
        [WR_FAULT_EMFILE] = options->emfile_per_mille,
        [WR_FAULT_ENOBUFS] = options->enobufs_per_mille,
        [WR_FAULT_ENOMEM] = options->enomem_per_mille,
        [WR_FAULT_DATAGRAM_LOSS] = options->datagram_loss_per_mille,
        [WR_FAULT_DATAGRAM_COPY] = options->datagram_duplicate_per_mille,
        [WR_FAULT_DATAGRAM_LATE] = options->datagram_reorder_per_mille,
        [WR_FAULT_RESOLVE] = options->resolve_per_mille,
    };
    uint32_t latency_us_min = options->latency_us_min, latency_us_max = options->latency_us_max;
    if (latency_us_max == 0) {
        if (latency_us_min == 0) latency_us_min = DEFAULT_LATENCY_US;
        latency_us_max = latency_us_min;
    }
    if (latency_us_max < latency_us_min) return WEIR_EINVAL;
    if (options->resolve_ms_max && options->resolve_ms_max < options->resolve_ms_min) return WEIR_EINVAL;
    *out = (wr_sim_options){ .seed = options->seed,
                             .latency_us_min = latency_us_min,
                             .latency_us_max = latency_us_max,
                             .bytes_per_second = options->bytes_per_second,
                             .window = options->window,
                             .max_sockets = options->max_sockets,
                             .spares_setup = true,
                             .script = options->script ? ask_script : NULL,
                             .script_data = sim,
                             .trace = options->trace,
                             .trace_data = options->trace_data };
    for (int fault = 0; fault < WR_FAULTS; fault++) {
        if (per_mille[fault] > PER_MILLE_MAX) return WEIR_EINVAL;
        out->per_mille[fault] = (uint16_t)per_mille[fault];
    }
    return 0;
}

int weir_sim_create(weir_sim **out, const weir_sim_options *options)
{
    weir_sim_options none = { 0 };
    if (!out) return WEIR_EINVAL;
    if (!options) options = &none;
    *out = NULL;
    weir_sim *sim = malloc(sizeof *sim);
    if (!sim) return WEIR_ENOMEM;
    *sim = (weir_sim){ .options = *options };
    wr_sim_options world;
    int error = translate(sim, options, &world);
    if (error == 0) error = wr_sim_create(&sim->world, &world);
    if (error) {
        free(sim);
        return error;
    }
    *out = sim;
    return 0;
}

void weir_sim_destroy(weir_sim *sim)
{
    if (!sim) return;
    assert(sim->runtimes == 0);
    wr_sim_destroy(sim->world);
    wr_sim_names_free(sim);
    free(sim);
}

int weir_sim_change(weir_sim *sim, const weir_sim_options *options)
{
    weir_sim_options none = { 0 };
    if (!options) options = &none;
    wr_sim_options world;
    int error = translate(sim, options, &world);
    if (error) return error;
    sim->options = *options;
    wr_sim_change(sim->world, &world);
    return 0;
}

/* ---- the workers ---- */

static uint64_t step_worker(void *owner)
{
    wr_worker *worker = owner;
    if (worker->owner.finished) { /* what comes now comes too late */
        wr_worker_drop_messages(worker);
        return WR_DEADLINE_NEVER;
    }
    wr_worker_step(worker, WR_DEADLINE_NOW);
    if (!worker->owner.finished) return wr_worker_deadline(worker);
    wr_runtime_check_ended(worker->runtime);
    return WR_DEADLINE_NEVER;
}

void wr_sim_drive(weir_runtime *runtime)
{
    if (runtime->options.manual) return;
    for (unsigned i = 0; i < runtime->worker_count; i++)
        wr_sim_attach(runtime->workers[i].cq, step_worker, &runtime->workers[i]);
}

/* ---- running ---- */

static bool never(void *data)
{
    (void)data;
    return false;
}

static bool has_ended(void *runtime)
{
    return wr_runtime_has_ended(runtime);
}

/* 0: `done`, or the time came. WEIR_ETIMEDOUT: it is idle. WEIR_ELIMIT: STEPS_MAX. */
static int run(weir_sim *sim, bool (*done)(void *data), void *data, uint64_t until_ns, bool *reached)
{
    *reached = false;
    uint64_t now_ns = wr_sim_now_ns(sim->world);
    uint32_t steps = 0;
    while (!done(data)) {
        if (++steps > STEPS_MAX) return WEIR_ELIMIT;
        switch (wr_sim_step(sim->world, until_ns)) {
        case WR_SIM_STEPPED:
            if (wr_sim_now_ns(sim->world) == now_ns) break;
            now_ns = wr_sim_now_ns(sim->world);
            steps = 0;
            break;
        case WR_SIM_REACHED:
            *reached = true;
            return 0;
        case WR_SIM_IDLE:
            return WEIR_ETIMEDOUT;
        }
    }
    return 0;
}

int weir_sim_run(weir_sim *sim, uint64_t until_ns)
{
    bool reached;
    if (wr_worker_here()) return WEIR_ESTATE;
    int error = run(sim, never, NULL, until_ns, &reached);
    return error == WEIR_ETIMEDOUT ? 0 : error;
}

int weir_sim_run_until(weir_sim *sim, bool (*done)(void *data), void *data, uint64_t until_ns)
{
    bool reached;
    if (wr_worker_here()) return WEIR_ESTATE;
    int error = run(sim, done, data, until_ns, &reached);
    return reached ? WEIR_ETIMEDOUT : error;
}

int weir_sim_advance(weir_sim *sim, uint64_t ns)
{
    uint64_t now_ns = wr_sim_now_ns(sim->world);
    uint64_t until_ns = ns < WEIR_SIM_FOREVER - now_ns ? now_ns + ns : WEIR_SIM_FOREVER - 1;
    int error = weir_sim_run(sim, until_ns);
    if (error == 0) wr_sim_skip(sim->world, until_ns);
    return error;
}

int wr_sim_serve(weir_runtime *runtime)
{
    bool reached;
    if (wr_worker_here()) return WEIR_ESTATE;
    int error = run(runtime->options.sim, has_ended, runtime, WEIR_SIM_FOREVER, &reached);
    return error == WEIR_ETIMEDOUT ? WEIR_ESTATE : error;
}

/* ---- the rest ---- */

uint64_t weir_sim_now_ns(const weir_sim *sim)
{
    return sim ? wr_sim_now_ns(sim->world) : 0;
}

uint64_t weir_sim_trace_hash(const weir_sim *sim)
{
    return sim ? wr_sim_trace_hash(sim->world) : 0;
}

static bool parse_host(const char *text, wr_addr *out)
{
    *out = (wr_addr){ .family = WR_FAMILY_NONE };
    return wr_os_ip_parse(text, strlen(text), out);
}

int weir_sim_partition(weir_sim *sim, const char *a, const char *b)
{
    wr_addr one, other;
    if (!a || !parse_host(a, &one) || (b && !parse_host(b, &other))) return WEIR_EADDRESS;
    return wr_sim_cut(sim->world, &one, b ? &other : NULL);
}

int weir_sim_heal(weir_sim *sim, const char *a, const char *b)
{
    wr_addr one, other;
    if ((a && !parse_host(a, &one)) || (b && !parse_host(b, &other))) return WEIR_EADDRESS;
    wr_sim_heal(sim->world, a ? &one : NULL, b ? &other : NULL);
    return 0;
}
