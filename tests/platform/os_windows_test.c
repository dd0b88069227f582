/* What platform/os.h comes to on Windows; os_test.c has what it promises everywhere. */
#include "os_net.h" /* Winsock, before anything that includes windows.h */

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "harness/weir_test.h"
#include "platform/os.h"

enum { WATCHES_MAX = 8, PATIENCE_MS = 10000 };

/* mingw-w64 10 has this in its library, but not in its headers. */
WINBASEAPI HRESULT WINAPI GetThreadDescription(HANDLE thread, PWSTR *name);

/* Threads and cores. */

static void read_own_name(void *arg)
{
    PWSTR name = NULL;
    cr_assert_geq(GetThreadDescription(GetCurrentThread(), &name), 0);
    (void)WideCharToMultiByte(CP_UTF8, 0, name, -1, arg, 32, NULL, NULL);
    (void)LocalFree(name);
}

Test(thread, shows_the_first_15_bytes_of_its_name)
{
    const char *const names[][2] = { { "worker 1", "worker 1" }, { "a name that is too long", "a name that is " } };
    for (int i = 0; i < 2; i++) {
        char seen[32] = "";
        wr_thread thread;
        cr_assert_eq(wr_thread_start(&thread, names[i][0], read_own_name, seen), 0);
        wr_thread_join(&thread);
        cr_assert_str_eq(seen, names[i][1]);
    }
}

Test(cores, are_those_that_the_process_may_run_on)
{
    DWORD_PTR own, all;
    cr_assert(GetProcessAffinityMask(GetCurrentProcess(), &own, &all));
    cr_assert(SetProcessAffinityMask(GetCurrentProcess(), own & (~own + 1)), "error %lu", GetLastError());
    cr_assert_eq(wr_os_cores(), 1);
}

/* Addresses. */

Test(ip, an_interface_may_be_named_and_is_shown_by_its_number)
{
    char name[IF_NAMESIZE], text[128], formatted[WR_IP_TEXT_MAX];
    NET_IFINDEX index = 1;
    while (index < 256 && !if_indextoname(index, name)) index++;
    if (index == 256) cr_skip_test("this host has no interfaces");
    wr_addr addr = { 0 };
    (void)snprintf(text, sizeof text, "fe80::1%%%.64s", name);
    cr_assert(wr_os_ip_parse(text, strlen(text), &addr), "%s", text);
    cr_assert_eq(addr.scope, index);
    (void)snprintf(text, sizeof text, "fe80::1%%%lu", index);
    wr_os_ip_format(&addr, formatted);
    cr_assert_str_eq(formatted, text);
}

/* Descriptors, files, errors. */

Test(descriptors, have_no_limit)
{
    cr_assert_eq(wr_os_descriptor_limit(), UINT32_MAX);
    cr_assert_eq(wr_os_descriptors_reserve(1000000), 0);
}

Test(path, nothing_is_removed)
{
    char folder[MAX_PATH], path[MAX_PATH];
    cr_assert(GetTempPathA(sizeof folder, folder) && GetTempFileNameA(folder, "wr", 0, path));
    wr_os_path_remove(path);
    cr_assert(DeleteFileA(path), "it was no socket");
}

Test(error_text, is_one_line_for_a_code_of_winsock_too)
{
    const int codes[] = { ERROR_ACCESS_DENIED, WSAECONNREFUSED, WSAEADDRINUSE };
    for (int i = 0; i < 3; i++) {
        char text[256];
        wr_os_error_text(codes[i], text, sizeof text);
        size_t length = strlen(text);
        cr_assert_gt(length, 5, "%d", codes[i]);
        cr_assert_null(strpbrk(text, "\r\n"), "\"%s\"", text);
        cr_assert_neq(text[length - 1], '.', "\"%s\"", text);
    }
}

/* Signals: the events of a console of the test's own, so that no other process hears them. */

static atomic_int former_calls;

static BOOL WINAPI on_former(DWORD event)
{
    (void)event;
    atomic_fetch_add(&former_calls, 1);
    return TRUE;
}

static void set_former(void)
{
    (void)FreeConsole();
    if (!AllocConsole()) cr_skip_test("there is no console to be had");
    cr_assert(SetConsoleCtrlHandler(on_former, TRUE));
}

static void await_count(atomic_int *count, int value)
{
    for (int i = 0; i < PATIENCE_MS && atomic_load(count) < value; i++) Sleep(1);
    cr_assert_eq(atomic_load(count), value);
}

/* An event, and the call that it must lead to. */
static void press_ctrl_c(atomic_int *count, int value)
{
    cr_assert(GenerateConsoleCtrlEvent(CTRL_C_EVENT, 0), "error %lu", GetLastError());
    await_count(count, value);
}

static void count_notify(void *arg)
{
    atomic_fetch_add((atomic_int *)arg, 1);
}

Test(signals, the_first_event_notifies_and_the_second_has_its_former_effect)
{
    atomic_int calls = 0;
    set_former();
    cr_assert_eq(wr_os_signals_watch(count_notify, &calls), 0);
    press_ctrl_c(&calls, 1);
    cr_assert_eq(atomic_load(&former_calls), 0);
    press_ctrl_c(&former_calls, 1);
    cr_assert_eq(atomic_load(&calls), 1);
}

Test(signals, all_of_eight_watches_are_told_and_a_ninth_is_refused)
{
    atomic_int calls[WATCHES_MAX + 1] = { 0 };
    set_former();
    for (int i = 0; i < WATCHES_MAX; i++) cr_assert_eq(wr_os_signals_watch(count_notify, &calls[i]), 0);
    cr_assert_eq(wr_os_signals_watch(count_notify, &calls[WATCHES_MAX]), WEIR_ESTATE);
    wr_os_signals_unwatch(&calls[3]);
    press_ctrl_c(&calls[WATCHES_MAX - 1], 1);
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
    press_ctrl_c(&second, 1);
    wr_os_signals_unwatch(&second);
    press_ctrl_c(&former_calls, 1);
    cr_assert_eq(first, 0);
    cr_assert_eq(second, 1);
}

Test(signals, a_watch_after_an_event_takes_the_next_one)
{
    atomic_int calls = 0;
    set_former();
    for (int i = 1; i <= 3; i++) {
        cr_assert_eq(wr_os_signals_watch(count_notify, &calls), 0);
        press_ctrl_c(&calls, i);
        wr_os_signals_unwatch(&calls);
    }
    cr_assert_eq(atomic_load(&former_calls), 0);
}

Test(signals, an_unwatch_of_nothing_is_harmless)
{
    int nothing;
    wr_os_signals_unwatch(&nothing);
    wr_os_signals_unwatch(NULL);
}

static atomic_int entered, left;

static void linger(void *arg)
{
    (void)arg;
    atomic_fetch_add(&entered, 1);
    Sleep(50);
    atomic_fetch_add(&left, 1);
}

Test(signals, an_unwatch_waits_for_a_notify_that_is_running)
{
    int token;
    set_former();
    cr_assert_eq(wr_os_signals_watch(linger, &token), 0);
    press_ctrl_c(&entered, 1);
    wr_os_signals_unwatch(&token);
    cr_assert_eq(atomic_load(&left), 1);
}
