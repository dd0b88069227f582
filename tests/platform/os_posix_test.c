/* What platform/os.h promises and only POSIX can show: signals, limits, names, files. */
#define _GNU_SOURCE

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness/weir_test.h"
#include "platform/os.h"

/* Threads and the clock. */

static void read_name(void *arg)
{
    (void)pthread_getname_np(pthread_self(), arg, 16);
}

Test(thread, shows_the_first_15_bytes_of_its_name)
{
    char name[16] = "";
    wr_thread thread;
    cr_assert_eq(wr_thread_start(&thread, "weir-worker-1234", read_name, name), 0);
    wr_thread_join(&thread);
    cr_assert_str_eq(name, "weir-worker-123");
}

Test(thread, without_room_for_its_stack_is_out_of_memory)
{
    pthread_attr_t attributes;
    cr_assert_eq(pthread_attr_init(&attributes), 0);
    cr_assert_eq(pthread_attr_setstacksize(&attributes, (size_t)1 << 47), 0);
    cr_assert_eq(pthread_setattr_default_np(&attributes), 0);
    wr_thread thread;
    cr_assert_eq(wr_thread_start(&thread, "too big", read_name, NULL), WEIR_ENOMEM);
}

Test(cores, are_those_that_the_process_may_run_on)
{
    cpu_set_t mine, one;
    cr_assert_eq(sched_getaffinity(0, sizeof mine, &mine), 0);
    cr_assert_eq(wr_os_cores(), (unsigned)CPU_COUNT(&mine));
    CPU_ZERO(&one);
    for (size_t i = 0; CPU_COUNT(&one) == 0; i++) {
        if (CPU_ISSET(i, &mine)) CPU_SET(i, &one);
    }
    cr_assert_eq(sched_setaffinity(0, sizeof one, &one), 0);
    cr_assert_eq(wr_os_cores(), 1);
}

static atomic_int alarms;

static void on_alarm(int number)
{
    (void)number;
    atomic_fetch_add(&alarms, 1);
}

Test(clock, signals_do_not_cut_a_sleep_short)
{
    struct sigaction action = { .sa_handler = on_alarm };
    struct itimerval every_2_ms = { { 0, 2000 }, { 0, 2000 } };
    cr_assert_eq(sigaction(SIGALRM, &action, NULL), 0);
    cr_assert_eq(setitimer(ITIMER_REAL, &every_2_ms, NULL), 0);
    uint64_t before = wr_os_now_ns();
    wr_os_sleep_ms(100);
    cr_assert_geq(wr_os_now_ns() - before, 100000000U);
    (void)usleep(1); /* ThreadSanitizer holds handlers back until a call that it knows */
    cr_assert_gt(atomic_load(&alarms), 0);
}

/* Addresses. */

Test(ip, an_interface_may_be_named)
{
    struct if_nameindex *interfaces = if_nameindex();
    if (!interfaces || interfaces->if_index == 0) cr_skip_test("no network interface");
    char text[WR_IP_TEXT_MAX], again[WR_IP_TEXT_MAX];
    (void)snprintf(text, sizeof text, "fe80::1%%%s", interfaces->if_name);
    wr_addr addr = { 0 };
    cr_assert(wr_os_ip_parse(text, strlen(text), &addr), "%s", text);
    cr_assert_eq(addr.scope, interfaces->if_index);
    wr_os_ip_format(&addr, again);
    cr_assert_str_eq(again, text);

    wr_addr by_number = { 0 };
    (void)snprintf(text, sizeof text, "fe80::1%%%u", interfaces->if_index);
    cr_assert(wr_os_ip_parse(text, strlen(text), &by_number), "%s", text);
    cr_assert_eq(by_number.scope, addr.scope);
    if_freenameindex(interfaces);
}

/* Descriptors. */

static void limit_descriptors(rlim_t soft, rlim_t hard)
{
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &(struct rlimit){ soft, hard }), 0);
}

/* table_size: how many descriptors the kernel's table has room for. */
static unsigned table_size(void)
{
    char line[128];
    unsigned size = 0;
    FILE *status = fopen("/proc/self/status", "r");
    cr_assert_not_null(status);
    while (fgets(line, sizeof line, status) && sscanf(line, "FDSize: %u", &size) != 1) continue;
    (void)fclose(status);
    return size;
}

static int open_descriptors(void)
{
    int count = 0;
    DIR *folder = opendir("/proc/self/fd");
    cr_assert_not_null(folder);
    while (readdir(folder)) count++;
    (void)closedir(folder);
    return count;
}

Test(descriptors, a_reserve_raises_the_limit_and_grows_the_table_at_once)
{
    limit_descriptors(64, 4096);
    cr_assert_eq(wr_os_descriptor_limit(), 64);
    cr_assert_lt(table_size(), 3000);
    int before = open_descriptors();
    cr_assert_eq(wr_os_descriptors_reserve(3000), 0);
    cr_assert_eq(wr_os_descriptor_limit(), 3000);
    cr_assert_geq(table_size(), 3000);
    cr_assert_eq(open_descriptors(), before, "nothing is left open");
}

Test(descriptors, a_reserve_never_lowers_the_limit)
{
    limit_descriptors(1000, 1000);
    const uint32_t counts[] = { 100, 0, 999, 1000 };
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        cr_assert_eq(wr_os_descriptors_reserve(counts[i]), 0);
        cr_assert_eq(wr_os_descriptor_limit(), 1000, "after %u", counts[i]);
    }
}

Test(descriptors, a_reserve_over_the_hard_limit_takes_what_there_is_and_says_so)
{
    limit_descriptors(64, 2000);
    cr_assert_eq(wr_os_descriptors_reserve(2001), WEIR_ELIMIT);
    cr_assert_eq(wr_os_descriptor_limit(), 2000);
    cr_assert_geq(table_size(), 2000);
    cr_assert_eq(wr_os_descriptors_reserve(UINT32_MAX), WEIR_ELIMIT);
}

Test(descriptors, a_reserve_finds_the_last_descriptor_in_use)
{
    limit_descriptors(300, 300);
    cr_assert_eq(dup2(0, 299), 299);
    cr_assert_eq(wr_os_descriptors_reserve(300), 0);
    cr_assert_neq(fcntl(299, F_GETFD), -1, "it is still open");
}

Test(descriptors, a_reserve_without_a_free_descriptor_says_so)
{
    limit_descriptors(100, 100);
    int taken[100], count = 0;
    while ((taken[count] = dup(0)) >= 0) count++;
    cr_assert_eq(wr_os_descriptors_reserve(100), WEIR_EMFILE);
    while (count > 0) (void)close(taken[--count]); /* LeakSanitizer, at the end of the process, needs some */
}

/* Files. */

Test(path, a_listeners_socket_is_removed_and_nothing_else)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    char folder[] = "/tmp/weir-os-XXXXXX", file[64], link[64];
    cr_assert_not_null(mkdtemp(folder));
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s/socket", folder);
    (void)snprintf(file, sizeof file, "%s/file", folder);
    (void)snprintf(link, sizeof link, "%s/link", folder);
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(listener, (const struct sockaddr *)&address, sizeof address), 0);
    cr_assert_eq(close(open(file, O_CREAT | O_WRONLY | O_CLOEXEC, 0600)), 0);
    cr_assert_eq(symlink(address.sun_path, link), 0);

    wr_os_path_remove(file);
    wr_os_path_remove(link);
    cr_assert_eq(access(file, F_OK), 0, "a file is not ours");
    cr_assert_eq(access(link, F_OK), 0, "a link is not ours, whatever it leads to");
    wr_os_path_remove(address.sun_path);
    cr_assert_eq(access(address.sun_path, F_OK), -1);
    wr_os_path_remove(address.sun_path); /* harmless */

    (void)close(listener);
    cr_assert_eq(unlink(file), 0);
    cr_assert_eq(unlink(link), 0);
    cr_assert_eq(rmdir(folder), 0);
}

/* Signals. */

enum { WATCHES_MAX = 8 };

static atomic_int former_calls;

static void on_former(int number)
{
    (void)number;
    atomic_fetch_add(&former_calls, 1);
}

/* set_former: what SIGINT and SIGTERM do before weir comes. */
static void set_former(void)
{
    struct sigaction action = { .sa_handler = on_former };
    cr_assert_eq(sigaction(SIGINT, &action, NULL), 0);
    cr_assert_eq(sigaction(SIGTERM, &action, NULL), 0);
}

static bool handles(int number, void (*handler)(int))
{
    struct sigaction action;
    cr_assert_eq(sigaction(number, NULL, &action), 0);
    return action.sa_handler == handler;
}

static void count_notify(void *arg)
{
    atomic_fetch_add((atomic_int *)arg, 1);
}

Test(signals, the_first_signal_notifies_and_the_second_has_its_former_effect)
{
    const int orders[][2] = { { SIGINT, SIGTERM }, { SIGTERM, SIGINT }, { SIGINT, SIGINT }, { SIGTERM, SIGTERM } };
    for (size_t i = 0; i < sizeof orders / sizeof *orders; i++) {
        atomic_int calls = 0;
        atomic_store(&former_calls, 0);
        set_former();
        cr_assert_eq(wr_os_signals_watch(count_notify, &calls), 0);
        (void)raise(orders[i][0]);
        cr_assert_eq(calls, 1);
        cr_assert_eq(atomic_load(&former_calls), 0);
        (void)raise(orders[i][1]);
        cr_assert_eq(calls, 1);
        cr_assert_eq(atomic_load(&former_calls), 1);
        wr_os_signals_unwatch(&calls);
    }
}

Test(signals, the_second_signal_ends_a_process_that_had_no_handler)
{
    pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        atomic_int calls = 0;
        (void)signal(SIGTERM, SIG_DFL);
        if (wr_os_signals_watch(count_notify, &calls) != 0) _exit(1);
        (void)raise(SIGTERM);
        if (calls != 1) _exit(2);
        (void)raise(SIGTERM);
        _exit(3);
    }
    int status;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM, "status %#x", (unsigned)status);
}

Test(signals, all_of_eight_watches_are_told_and_a_ninth_is_refused)
{
    atomic_int calls[WATCHES_MAX + 1] = { 0 };
    set_former();
    for (int i = 0; i < WATCHES_MAX; i++) cr_assert_eq(wr_os_signals_watch(count_notify, &calls[i]), 0);
    cr_assert_eq(wr_os_signals_watch(count_notify, &calls[WATCHES_MAX]), WEIR_ESTATE);
    wr_os_signals_unwatch(&calls[3]);
    (void)raise(SIGINT);
    for (int i = 0; i < WATCHES_MAX; i++) cr_assert_eq(calls[i], i == 3 ? 0 : 1, "watch %d", i);
    cr_assert_eq(calls[WATCHES_MAX], 0);
    cr_assert_eq(wr_os_signals_watch(count_notify, &calls[WATCHES_MAX]), 0, "one place is free again");
}

Test(signals, the_last_unwatch_brings_the_former_effect_back)
{
    atomic_int first = 0, second = 0;
    set_former();
    cr_assert_eq(wr_os_signals_watch(count_notify, &first), 0);
    cr_assert_eq(wr_os_signals_watch(count_notify, &second), 0);
    wr_os_signals_unwatch(&first);
    cr_assert(!handles(SIGINT, on_former) && !handles(SIGTERM, on_former));
    wr_os_signals_unwatch(&second);
    cr_assert(handles(SIGINT, on_former) && handles(SIGTERM, on_former));
    (void)raise(SIGINT);
    cr_assert_eq(first + second, 0);
}

Test(signals, an_unwatch_of_nothing_is_harmless)
{
    atomic_int calls = 0;
    set_former();
    wr_os_signals_unwatch(&calls);
    cr_assert(handles(SIGINT, on_former));
    cr_assert_eq(wr_os_signals_watch(count_notify, &calls), 0);
    wr_os_signals_unwatch(NULL);
    (void)raise(SIGINT);
    cr_assert_eq(calls, 1, "the other watch is untouched");
}

Test(signals, a_watch_after_a_signal_takes_the_next_one)
{
    atomic_int first = 0, second = 0;
    set_former();
    cr_assert_eq(wr_os_signals_watch(count_notify, &first), 0);
    (void)raise(SIGINT);
    cr_assert_eq(wr_os_signals_watch(count_notify, &second), 0);
    (void)raise(SIGINT);
    cr_assert_eq(second, 1);
    cr_assert_eq(atomic_load(&former_calls), 0);
    (void)raise(SIGINT);
    cr_assert_eq(atomic_load(&former_calls), 1);
}

Test(signals, a_handler_that_was_put_over_ours_stays)
{
    atomic_int calls = 0;
    cr_assert_eq(wr_os_signals_watch(count_notify, &calls), 0);
    set_former();
    wr_os_signals_unwatch(&calls);
    cr_assert(handles(SIGINT, on_former) && handles(SIGTERM, on_former));
}

Test(signals, a_handler_that_puts_ours_back_late_does_no_harm)
{
    atomic_int calls = 0;
    set_former();
    cr_assert_eq(wr_os_signals_watch(count_notify, &calls), 0);
    struct sigaction over = { .sa_handler = SIG_IGN }, ours;
    cr_assert_eq(sigaction(SIGINT, &over, &ours), 0);
    wr_os_signals_unwatch(&calls);
    cr_assert_eq(sigaction(SIGINT, &ours, NULL), 0);

    cr_assert_eq(wr_os_signals_watch(count_notify, &calls), 0);
    (void)raise(SIGINT);
    cr_assert_eq(calls, 1);
    (void)raise(SIGINT);
    cr_assert_eq(atomic_load(&former_calls), 1, "the former effect is that of the beginning");
}

static void spoil_errno(void *arg)
{
    (void)arg;
    errno = EDOM;
}

Test(signals, the_interrupted_code_keeps_its_errno)
{
    set_former();
    cr_assert_eq(wr_os_signals_watch(spoil_errno, NULL), 0);
    errno = ERANGE;
    int raised = raise(SIGINT), after = errno;
    cr_assert_eq(raised, 0);
    cr_assert_eq(after, ERANGE);
}

struct slow {
    atomic_bool entered, leave, unwatched, stop;
};

static void stay(void *arg)
{
    struct slow *slow = arg;
    atomic_store(&slow->entered, true);
    while (!atomic_load(&slow->leave)) (void)sched_yield();
}

static void doze(void *arg)
{
    struct slow *slow = arg;
    while (!atomic_load(&slow->stop)) wr_os_sleep_ms(1);
}

static void unwatch(void *arg)
{
    struct slow *slow = arg;
    wr_os_signals_unwatch(slow);
    atomic_store(&slow->unwatched, true);
}

Test(signals, an_unwatch_waits_for_a_notify_on_another_thread)
{
    struct slow slow = { 0 };
    wr_thread dozer, unwatcher;
    set_former();
    cr_assert_eq(wr_os_signals_watch(stay, &slow), 0);
    cr_assert_eq(wr_thread_start(&dozer, "dozer", doze, &slow), 0);
    cr_assert_eq(pthread_kill(dozer.os, SIGINT), 0);
    while (!atomic_load(&slow.entered)) wr_os_sleep_ms(1);

    cr_assert_eq(wr_thread_start(&unwatcher, "unwatcher", unwatch, &slow), 0);
    wr_os_sleep_ms(100);
    cr_assert_not(atomic_load(&slow.unwatched), "the notify is still running");
    atomic_store(&slow.leave, true);
    wr_thread_join(&unwatcher);
    atomic_store(&slow.stop, true);
    wr_thread_join(&dozer);
}

/* Signals from one thread while another watches and unwatches. */
struct storm {
    atomic_bool stop;
    atomic_int notified, late;
};

struct storm_watch {
    struct storm *storm;
    atomic_bool ended;
};

static void notice(void *arg)
{
    struct storm_watch *watch = arg;
    atomic_fetch_add(&watch->storm->notified, 1);
    if (atomic_load(&watch->ended)) atomic_fetch_add(&watch->storm->late, 1);
}

static void send_signals(void *arg)
{
    struct storm *storm = arg;
    for (int i = 0; !atomic_load(&storm->stop); i++) {
        (void)kill(getpid(), i % 2 ? SIGINT : SIGTERM);
        (void)sched_yield();
    }
}

Test(signals, a_storm_of_them_reaches_no_watch_that_has_ended, .timeout = 60)
{
    enum { ROUNDS_MIN = 3000, NOTIFIED_MIN = 20 };
    static struct storm storm;
    static struct storm_watch watches[2];
    wr_thread sender;
    set_former();
    cr_assert_eq(wr_thread_start(&sender, "sender", send_signals, &storm), 0);
    for (int i = 0; i < ROUNDS_MIN || atomic_load(&storm.notified) < NOTIFIED_MIN; i++) {
        struct storm_watch *watch = &watches[i % 2];
        watch->storm = &storm;
        atomic_store(&watch->ended, false);
        cr_assert_eq(wr_os_signals_watch(notice, watch), 0);
        (void)sched_yield();
        wr_os_signals_unwatch(watch);
        atomic_store(&watch->ended, true);
    }
    atomic_store(&storm.stop, true);
    wr_thread_join(&sender);
    cr_assert_eq(atomic_load(&storm.late), 0);
    cr_assert(handles(SIGINT, on_former) && handles(SIGTERM, on_former));
}
