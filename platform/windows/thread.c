#include <windows.h>

#include <assert.h>
#include <errno.h>
#include <process.h>
#include <string.h>

#include "platform/os.h"

static_assert(sizeof(SRWLOCK) == sizeof(struct wr_mutex), "wr_mutex has room for a SRWLOCK");
static_assert(_Alignof(SRWLOCK) == _Alignof(struct wr_mutex), "wr_mutex is aligned like a SRWLOCK");

static_assert(sizeof(CONDITION_VARIABLE) == sizeof(struct wr_cond), "wr_cond has room for a CONDITION_VARIABLE");
static_assert(_Alignof(CONDITION_VARIABLE) == _Alignof(struct wr_cond), "wr_cond is aligned like one");

static SRWLOCK *lock_of(wr_mutex *mutex)
{
    return (SRWLOCK *)&mutex->os;
}

void wr_mutex_init(wr_mutex *mutex)
{
    InitializeSRWLock(lock_of(mutex));
}

void wr_mutex_destroy(wr_mutex *mutex)
{
    (void)mutex; /* it owns nothing */
}

void wr_mutex_lock(wr_mutex *mutex)
{
    AcquireSRWLockExclusive(lock_of(mutex));
}

void wr_mutex_unlock(wr_mutex *mutex)
{
    ReleaseSRWLockExclusive(lock_of(mutex));
}

static CONDITION_VARIABLE *condition_of(wr_cond *cond)
{
    return (CONDITION_VARIABLE *)&cond->os;
}

void wr_cond_init(wr_cond *cond)
{
    InitializeConditionVariable(condition_of(cond));
}

void wr_cond_destroy(wr_cond *cond)
{
    (void)cond; /* it owns nothing */
}

void wr_cond_wait(wr_cond *cond, wr_mutex *mutex)
{
    BOOL slept = SleepConditionVariableSRW(condition_of(cond), lock_of(mutex), INFINITE, 0);
    assert(slept); /* without a time limit, nothing can go wrong */
    (void)slept;
}

void wr_cond_wait_ms(wr_cond *cond, wr_mutex *mutex, uint32_t ms)
{
    DWORD limit = ms < INFINITE ? ms : INFINITE - 1;
    (void)SleepConditionVariableSRW(condition_of(cond), lock_of(mutex), limit, 0); /* it fails when the time is over */
}

void wr_cond_wake(wr_cond *cond)
{
    WakeAllConditionVariable(condition_of(cond));
}

/* set_name: for debuggers; a thread without a name works as well. The name is ASCII, so its bytes are its UTF-16. Not
 * linked: the first systems that have the function (Windows 10 1607, Server 2016) have it in this DLL alone, and a
 * program that wants it from kernel32.dll does not start there. */
static void set_name(const char *name)
{
    typedef HRESULT(WINAPI * set_description)(HANDLE thread, const wchar_t *name);
    HMODULE base = GetModuleHandleW(L"kernelbase.dll");
    FARPROC found = base ? GetProcAddress(base, "SetThreadDescription") : NULL;
    if (!found) return;
    wchar_t wide[sizeof((wr_thread *)0)->name];
    size_t i = 0;
    do wide[i] = (unsigned char)name[i];
    while (name[i++]);
    (void)((set_description)(void (*)(void))found)(GetCurrentThread(), wide);
}

static unsigned __stdcall thread_main(void *data)
{
    wr_thread *thread = data;
    set_name(thread->name);
    thread->main(thread->arg);
    return 0;
}

int wr_thread_start(wr_thread *thread, const char *name, void (*main)(void *arg), void *arg)
{
    size_t length = strnlen(name, sizeof thread->name - 1);
    memcpy(thread->name, name, length);
    thread->name[length] = 0;
    thread->main = main;
    thread->arg = arg;

    /* Not CreateThread: the C library then finds no place for its own state in the thread, and ends the process. */
    uintptr_t handle = _beginthreadex(NULL, 0, thread_main, thread, 0, NULL);
    thread->os = (HANDLE)handle;
    if (handle) return 0;
    return errno == EAGAIN || errno == EACCES || errno == ENOMEM ? WEIR_ENOMEM : WEIR_ESYSTEM;
}

void wr_thread_join(wr_thread *thread)
{
    DWORD result = WaitForSingleObject(thread->os, INFINITE);
    assert(result == WAIT_OBJECT_0); /* else it is no thread of ours */
    (void)result;
    (void)CloseHandle(thread->os);
}

void wr_thread_detach(wr_thread *thread)
{
    (void)CloseHandle(thread->os);
}

unsigned wr_os_cores(void)
{
    DWORD_PTR own = 0, all;
    unsigned count = 0;
    if (GetProcessAffinityMask(GetCurrentProcess(), &own, &all)) {
        for (; own; own &= own - 1) count++;
    }
    /* The mask is of one group of up to 64 cores; it is 0 for a process that runs in several groups, and so on all. */
    if (count == 0) count = GetActiveProcessorCount(ALL_PROCESSOR_GROUPS);
    return count > 0 ? count : 1;
}
