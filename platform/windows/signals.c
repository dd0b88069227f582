#include <windows.h>

#include "platform/os.h"

enum { WATCHES_MAX = 8 };

/* What stands for SIGINT and SIGTERM here is a console's event, which the system tells to a list of handlers, on a
 * thread of its own, until one says that it was meant. So the handler may take a lock, and what it calls runs under it:
 * that is how an unwatch knows that no call is running any more.
 *
 * The handler is put into the list once and never taken out. Windows holds its own lock while handlers run, one of
 * which may wait for the process's end (below): whoever then took out a handler would never get there. Where nobody
 * watches, or the first event has come, ours says that none is meant for it, and the former effect follows. */
static SRWLOCK watches_lock = SRWLOCK_INIT;
static struct watch {
    void (*notify)(void *arg); /* NULL: free */
    void *arg;
} watches[WATCHES_MAX];
static bool armed; /* no event has come since the last watch began */

/* take: tells all watches; false if there are none, or if they have been told. */
static bool take(void)
{
    bool taken = false;
    AcquireSRWLockExclusive(&watches_lock);
    for (int i = 0; armed && i < WATCHES_MAX; i++) {
        if (!watches[i].notify) continue;
        watches[i].notify(watches[i].arg);
        taken = true;
    }
    armed = false;
    ReleaseSRWLockExclusive(&watches_lock);
    return taken;
}

static BOOL WINAPI on_event(DWORD event)
{
    if (event != CTRL_C_EVENT && event != CTRL_BREAK_EVENT && event != CTRL_CLOSE_EVENT) return FALSE;
    if (!take()) return FALSE;
    /* When the console is closed the process is ended as this returns. So it does not: the program has what the system
     * allows (5 s) to end by itself. */
    if (event == CTRL_CLOSE_EVENT) Sleep(INFINITE);
    return TRUE;
}

/* install: for InitOnceExecuteOnce, which tries again after a failure. The handler outlives all watches, so a library
 * that it is in must never be unloaded. */
static BOOL CALLBACK install(INIT_ONCE *once, void *parameter, void **context)
{
    (void)once;
    (void)parameter;
    (void)context;
    HMODULE self;
    DWORD flags = GET_MODULE_HANDLE_EX_FLAG_PIN | GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS;
    return GetModuleHandleExW(flags, (const wchar_t *)(uintptr_t)on_event, &self) &&
           SetConsoleCtrlHandler(on_event, TRUE);
}

int wr_os_signals_watch(void (*notify)(void *arg), void *arg)
{
    static INIT_ONCE installed = INIT_ONCE_STATIC_INIT;
    /* Before our lock is taken: this waits for the system's, and a handler that has that waits for ours. */
    if (!InitOnceExecuteOnce(&installed, install, NULL, NULL)) return WEIR_ESYSTEM;

    int error = WEIR_ESTATE;
    AcquireSRWLockExclusive(&watches_lock);
    for (int i = 0; i < WATCHES_MAX; i++) {
        if (watches[i].notify) continue;
        watches[i] = (struct watch){ .notify = notify, .arg = arg };
        armed = true;
        error = 0;
        break;
    }
    ReleaseSRWLockExclusive(&watches_lock);
    return error;
}

void wr_os_signals_unwatch(void *arg)
{
    AcquireSRWLockExclusive(&watches_lock);
    for (int i = 0; i < WATCHES_MAX; i++) {
        if (watches[i].arg == arg) watches[i] = (struct watch){ .notify = NULL };
    }
    ReleaseSRWLockExclusive(&watches_lock);
}
