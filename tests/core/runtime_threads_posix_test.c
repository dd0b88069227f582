/* A runtime that the system gives too few threads. */
#define _GNU_SOURCE /* RLIMIT_NPROC, setresuid */
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/world.h"

enum { NOBODY = 65534, WORKERS = 4, EXIT_UNLIMITED = 50 };

static _Atomic unsigned closed;

static void count_close(weir_conn *conn, weir_reason reason)
{
    (void)conn;
    if (reason.error != WEIR_ECONNREFUSED && reason.error != WEIR_ESTOPPED) _exit(10);
    closed++;
}

static void stop(weir_runtime *runtime, void *data)
{
    (void)data;
    weir_runtime_stop(runtime);
}

/* In a process of an ordinary user's, since the limit does not hold for root; it says by its status what went wrong. */
static _Noreturn void start_with_few_threads(bool runs)
{
    if (getuid() == 0 && setresuid(NOBODY, NOBODY, NOBODY) != 0) _exit(EXIT_UNLIMITED);
    const weir_protocol protocol = { .on_close = count_close };
    unsigned failures = 0;
    for (rlim_t limit = 1; limit <= 3; limit++) { /* never all that it needs */
        weir_runtime *runtime;
        if (setrlimit(RLIMIT_NPROC, &(struct rlimit){ .rlim_cur = limit, .rlim_max = 64 }) != 0) _exit(11);
        if (weir_runtime_create(&runtime, &(weir_runtime_options){ .workers = WORKERS, .max_connections = 64 }) != 0)
            _exit(12);
        if (weir_listen(runtime, "127.0.0.1:0", &protocol, NULL, NULL) != 0) _exit(13);
        closed = 0;
        for (uint32_t worker = 1; worker <= WORKERS; worker++)
            if (weir_connect(runtime, "127.0.0.1:1", &protocol, &(weir_connect_options){ .worker = worker }, NULL) != 0)
                _exit(14);
        if (weir_post_after(runtime, 0, 5000, stop, NULL) != 0) _exit(20); /* should nothing be limited here */
        int error = runs ? weir_runtime_run(runtime) : weir_runtime_start(runtime);
        if (error == 0) _exit(EXIT_UNLIMITED);
        if (error != WEIR_ENOMEM) _exit(16);
        if (weir_runtime_start(runtime) != WEIR_ESTATE || weir_runtime_wait(runtime) != WEIR_ESTATE) _exit(17);
        if (weir_listen(runtime, "127.0.0.1:0", &protocol, NULL, NULL) != WEIR_ESTOPPED) _exit(18);
        failures++;
        if (closed != WORKERS) _exit(15);
        weir_runtime_destroy(runtime);
    }
    _exit(failures == 3 ? 0 : 19);
}

static void check(bool runs)
{
    pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) start_with_few_threads(runs);
    int status;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFEXITED(status), "status %x", (unsigned)status);
    if (WEXITSTATUS(status) == EXIT_UNLIMITED) cr_skip_test("the number of threads cannot be limited here");
    cr_assert_eq(WEXITSTATUS(status), 0);
}

Test(runtime_threads, that_cannot_be_started_stop_those_that_were)
{
    check(false);
}

Test(runtime_threads, that_cannot_be_started_beside_the_callers_stop_those_that_were)
{
    check(true);
}
