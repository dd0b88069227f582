/* The runtime and the process's signals: untouched unless asked, and back afterwards. */
#define _GNU_SOURCE /* sigaction, fork */
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/world.h"

static const weir_runtime_options stops = { .workers = 2, .max_connections = 64, .stop_on_signals = true };

static weir_runtime *make(const weir_runtime_options *options)
{
    weir_runtime *runtime;
    cr_assert_eq(weir_runtime_create(&runtime, options), 0);
    return runtime;
}

static struct sigaction effect(int number)
{
    struct sigaction action;
    cr_assert_eq(sigaction(number, NULL, &action), 0);
    return action;
}

static void set_effect(int number, void (*handler)(int number))
{
    struct sigaction action = { .sa_handler = handler };
    cr_assert_eq(sigaction(number, &action, NULL), 0);
}

static volatile sig_atomic_t caught;

static void catch_it(int number)
{
    (void)number;
    caught++;
}

Test(runtime_signals, are_untouched_unless_asked)
{
    static const int numbers[] = { SIGINT, SIGTERM, SIGPIPE, SIGHUP, SIGUSR1, SIGCHLD, SIGALRM };
    enum { COUNT = sizeof numbers / sizeof *numbers };
    struct sigaction before[COUNT];
    sigset_t mask_before, mask_after;
    set_effect(SIGPIPE, SIG_DFL);
    set_effect(SIGUSR1, catch_it);
    for (int i = 0; i < COUNT; i++) before[i] = effect(numbers[i]);
    cr_assert_eq(sigprocmask(SIG_BLOCK, NULL, &mask_before), 0);
    world w = { .runtime_options.workers = 2 };
    world_start(&w);
    for (int i = 0; i < COUNT; i++)
        cr_assert(effect(numbers[i]).sa_handler == before[i].sa_handler, "%s", strsignal(numbers[i]));
    world_stop(&w);
    for (int i = 0; i < COUNT; i++)
        cr_assert(effect(numbers[i]).sa_handler == before[i].sa_handler, "%s", strsignal(numbers[i]));
    cr_assert_eq(sigprocmask(SIG_BLOCK, NULL, &mask_after), 0);
    for (int number = 1; number < NSIG; number++)
        cr_assert_eq(sigismember(&mask_after, number), sigismember(&mask_before, number));
}

static const size_t owed = 2 << 20;

static void send_much(weir_conn *conn, const void *bytes, size_t size)
{
    (void)bytes;
    (void)size;
    static const char block[65536];
    for (size_t sent = 0; sent < owed; sent += sizeof block) cr_assert_eq(weir_send(conn, block, sizeof block), 0);
}

static void check_signal(int number)
{
    world w = { .protocol = { .on_message = send_much, .outbox = { .soft_limit = 16 << 20, .hard_limit = 16 << 20 } },
                .runtime_options = { .stop_on_signals = true, .workers = 2, .stop_timeout_ms = 60000 } };
    set_effect(number, catch_it);
    caught = 0;
    world_start(&w);
    raw_peer peer = world_connect_small(&w);
    raw_send(peer, "x", 1);
    WORLD_AWAIT(&w, w.messages == 1);
    cr_assert_eq(kill(getpid(), number), 0);
    static char heard[65536];
    for (size_t got = 0; got < owed; got += sizeof heard) {
        raw_receive(peer, heard, sizeof heard);
        if (got % (sizeof heard * 4) == 0) weir_sleep_ms(5);
    }
    cr_assert_eq(raw_await_end(peer), RAW_FIN);
    raw_close(peer);
    cr_assert_eq(weir_runtime_wait(w.runtime), 0);
    cr_assert_eq(w.error, WEIR_ESTOPPED);
    cr_assert_eq(caught, 0, "the first one is weir's");
    cr_assert_eq(raise(number), 0);
    cr_assert_eq(caught, 1, "the second one has its former effect");
    world_stop(&w);
    cr_assert_eq(raise(number), 0);
    cr_assert_eq(caught, 2);
}

Test(runtime_signals, sigterm_stops_and_what_is_owed_is_flushed)
{
    check_signal(SIGTERM);
}

Test(runtime_signals, sigint_stops_and_what_is_owed_is_flushed)
{
    check_signal(SIGINT);
}

Test(runtime_signals, run_returns_after_one)
{
    weir_runtime *runtime =
        make(&(weir_runtime_options){ .workers = 1, .max_connections = 64, .stop_on_signals = true });
    cr_assert_eq(raise(SIGTERM), 0);
    cr_assert_eq(weir_runtime_run(runtime), 0);
    weir_runtime_destroy(runtime);
}

Test(runtime_signals, poll_goes_on_until_one_and_then_says_stopped)
{
    weir_runtime *runtime =
        make(&(weir_runtime_options){ .manual = true, .max_connections = 64, .stop_on_signals = true });
    cr_assert_eq(weir_poll(runtime, 0), 0);
    cr_assert_eq(raise(SIGINT), 0);
    int result = 0;
    for (int i = 0; i < 100 && result >= 0; i++) result = weir_poll(runtime, 1);
    cr_assert_eq(result, WEIR_ESTOPPED);
    weir_runtime_destroy(runtime);
}

/* The default effect is the death of the process, so this takes another one. */
Test(runtime_signals, a_second_one_kills_a_server_that_hangs)
{
    pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        weir_runtime *runtime;
        (void)signal(SIGTERM, SIG_DFL);
        if (weir_runtime_create(&runtime, &stops) != 0) _exit(3);
        (void)raise(SIGTERM);
        (void)raise(SIGTERM); /* a server that never comes to its stop */
        _exit(4);
    }
    int status;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM, "status %x", (unsigned)status);
}

Test(runtime_signals, handlers_are_back_after_the_destroy)
{
    set_effect(SIGTERM, catch_it);
    set_effect(SIGINT, SIG_IGN);
    weir_runtime *runtime = make(&stops);
    cr_assert(effect(SIGTERM).sa_handler != catch_it);
    cr_assert(effect(SIGINT).sa_handler != SIG_IGN);
    weir_runtime_destroy(runtime);
    cr_assert(effect(SIGTERM).sa_handler == catch_it);
    cr_assert(effect(SIGINT).sa_handler == SIG_IGN);
}

Test(runtime_signals, one_stops_all_of_eight_runtimes_and_a_ninth_is_refused)
{
    weir_runtime *runtimes[8], *ninth = NULL;
    weir_runtime *bystander = make(&(weir_runtime_options){ .workers = 1, .max_connections = 64 });
    set_effect(SIGTERM, catch_it);
    for (int i = 0; i < 8; i++) {
        runtimes[i] = make(&stops);
        cr_assert_eq(weir_runtime_start(runtimes[i]), 0);
    }
    unsigned descriptors = raw_descriptors();
    cr_assert_eq(weir_runtime_create(&ninth, &stops), WEIR_ESTATE);
    cr_assert_null(ninth);
    cr_assert_eq(raw_descriptors(), descriptors);
    cr_assert_eq(kill(getpid(), SIGTERM), 0);
    for (int i = 0; i < 8; i++) cr_assert_eq(weir_runtime_wait(runtimes[i]), 0);
    for (int i = 0; i < 8; i++) weir_runtime_destroy(runtimes[i]);
    cr_assert_eq(weir_connect(bystander, "127.0.0.1:1", &(weir_protocol){ 0 }, NULL, NULL), 0, "has not stopped");
    weir_runtime *later = make(&stops);
    weir_runtime_destroy(later);
    weir_runtime_destroy(bystander);
    cr_assert(effect(SIGTERM).sa_handler == catch_it);
}

static weir_runtime *stopped_by_handler;

static void stop_it(int number)
{
    (void)number;
    weir_runtime_stop(stopped_by_handler);
}

Test(runtime_signals, stop_may_be_called_in_the_embedders_own_handler)
{
    for (int i = 0; i < 20; i++) {
        world w = { .runtime_options.workers = 2 };
        world_start(&w);
        raw_peer peer = world_connect(&w);
        WORLD_AWAIT(&w, w.opened == 1);
        stopped_by_handler = w.runtime;
        set_effect(SIGUSR1, stop_it);
        cr_assert_eq(kill(getpid(), SIGUSR1), 0);
        cr_assert_eq(weir_runtime_wait(w.runtime), 0);
        cr_assert_eq(w.error, WEIR_ESTOPPED);
        raw_close(peer);
        world_stop(&w);
    }
}

static void send_on_and_on(weir_conn *conn, const void *bytes, size_t size)
{
    for (int i = 0; i < 50; i++) (void)weir_send(conn, bytes, size);
}

Test(runtime_signals, no_sigpipe_whatever_the_peers_do)
{
    set_effect(SIGPIPE, SIG_DFL); /* deadly */
    static char block[60000];
    world w = { .protocol = { .on_message = send_on_and_on, .outbox.hard_limit = 64 << 20 } };
    world_start(&w);
    for (unsigned i = 0; i < 50; i++) {
        raw_peer peer = world_connect_small(&w);
        WORLD_AWAIT(&w, w.opened == i + 1);
        weir_conn_id id = w.id;
        raw_send(peer, block, sizeof block);
        WORLD_AWAIT(&w, w.messages > i);
        if (i % 2)
            raw_reset(peer);
        else
            raw_close(peer);
        for (int n = 0; n < 20; n++) (void)weir_send_to(w.runtime, id, block, sizeof block);
        WORLD_AWAIT(&w, w.closed == i + 1);
    }
    world_stop(&w);
}
