#include "process.h"

#include <windows.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include "fail.h"
#include "sides.h"
#include "thread.h"

enum { PROCESSES_MAX = 32, READY_MS = 30000, LAST_WORDS_MS = 100, ENDING_MS = 1000, COMMAND_MAX = 1024 };

static const char child_option[] = "--child"; /* and the handle of its end of the channel */

/* All that were started, in order: a server before the driver that talks to it. */
static struct process running[PROCESSES_MAX];
static unsigned running_count;
static HANDLE job; /* they are in it */

static HANDLE handle_of(intptr_t number)
{
    return (HANDLE)number;
}

/* ---- the channel: a named pipe in message mode ---- */

/* Both ends are overlapped: on another kind a child's read, which waits for the next question, would hold up a write.
 */
static HANDLE new_event(void)
{
    HANDLE event = CreateEventW(NULL, TRUE, FALSE, NULL);
    if (!event) fail_system("an event");
    return event;
}

/* What comes of an operation that was begun: true if it moved a whole message. */
static bool finish(HANDLE pipe, OVERLAPPED *overlapped, bool begun)
{
    DWORD moved = 0;
    bool done = begun && GetOverlappedResult(pipe, overlapped, &moved, TRUE);
    CloseHandle(overlapped->hEvent);
    return done && moved == sizeof(struct message);
}

static bool begin_read(HANDLE pipe, struct message *message, OVERLAPPED *overlapped)
{
    *overlapped = (OVERLAPPED){ .hEvent = new_event() };
    return ReadFile(pipe, message, sizeof *message, NULL, overlapped) || GetLastError() == ERROR_IO_PENDING;
}

static bool receive_from(HANDLE pipe, struct message *message)
{
    OVERLAPPED overlapped;
    bool begun = begin_read(pipe, message, &overlapped);
    return finish(pipe, &overlapped, begun);
}

/* A failure is that the other end has gone, which the next receive tells. */
static void send_to(HANDLE pipe, const struct message *message)
{
    OVERLAPPED overlapped = { .hEvent = new_event() };
    bool begun = WriteFile(pipe, message, sizeof *message, NULL, &overlapped) || GetLastError() == ERROR_IO_PENDING;
    finish(pipe, &overlapped, begun);
}

/* The child's end is the only handle here that can be inherited, besides what this process has inherited itself. */
static void open_channel(HANDLE *parent_end, HANDLE *child_end)
{
    static unsigned channels;
    const DWORD size = 4 * sizeof(struct message); /* nobody waits until the other one reads */
    wchar_t name[64];
    swprintf(name, sizeof name / sizeof *name, L"\\\\.\\pipe\\weir-bench-%lu-%u", GetCurrentProcessId(), channels++);
    *parent_end = CreateNamedPipeW(name, PIPE_ACCESS_DUPLEX | FILE_FLAG_OVERLAPPED | FILE_FLAG_FIRST_PIPE_INSTANCE,
                                   PIPE_TYPE_MESSAGE | PIPE_READMODE_MESSAGE | PIPE_REJECT_REMOTE_CLIENTS, 1, size,
                                   size, 0, NULL);
    if (*parent_end == INVALID_HANDLE_VALUE) fail_system("a named pipe");
    SECURITY_ATTRIBUTES inherited = { .nLength = sizeof inherited, .bInheritHandle = TRUE };
    *child_end =
        CreateFileW(name, GENERIC_READ | GENERIC_WRITE, 0, &inherited, OPEN_EXISTING, FILE_FLAG_OVERLAPPED, NULL);
    DWORD mode = PIPE_READMODE_MESSAGE;
    if (*child_end == INVALID_HANDLE_VALUE || !SetNamedPipeHandleState(*child_end, &mode, NULL, NULL)) {
        fail_system("the child's end of a named pipe");
    }
}

/* ---- in the child ---- */

static HANDLE child_control;

bool process_is_child(void)
{
    return child_control != NULL;
}

bool process_receive(struct message *message)
{
    return receive_from(child_control, message);
}

void process_send(const struct message *message)
{
    send_to(child_control, message);
}

void process_run_child(int count, char **arguments)
{
    static struct message message;
    if (count != 2 || strcmp(arguments[0], child_option) != 0) return;
    HANDLE control = handle_of((intptr_t)strtoll(arguments[1], NULL, 10));
    if (GetFileType(control) != FILE_TYPE_PIPE || !receive_from(control, &message) || message.kind != MESSAGE_TASK) {
        fail_usage("%s is between weir-bench and its own processes", child_option);
    }
    child_control = control;
    struct task task = message.task;
    side_run(&task);
    _Exit(0);
}

/* ---- in the parent ---- */

/* `words` are its last ones, where they have been received already. */
static void fail_for(const struct process *process, const char *words)
{
    const DWORD exceptions = 0xC0000000; /* the smallest number of one; a process that it ends has it as its status */
    struct message message;
    if (!words && receive_from(handle_of(process->control), &message) && message.kind == MESSAGE_FAILURE) {
        words = message.failure;
    }
    if (words) fail("%s: %s", process->name, words);
    DWORD status = 0;
    WaitForSingleObject(handle_of(process->id), LAST_WORDS_MS);
    GetExitCodeProcess(handle_of(process->id), &status);
    if (status >= exceptions) fail("%s was ended by exception 0x%08lX", process->name, status);
    fail("%s ended with status %lu", process->name, status);
}

/* When a server dies, its driver fails too: the first dead one in the order of starting is the cause. */
static void fail_for_cause(const struct process *suspect, const char *words)
{
    Sleep(LAST_WORDS_MS);
    for (unsigned i = 0; running[i].id != suspect->id; i++) {
        if (WaitForSingleObject(handle_of(running[i].id), 0) == WAIT_OBJECT_0) fail_for(&running[i], NULL);
    }
    fail_for(suspect, words);
}

/* Waits for a message of `process`, with an eye on all others. */
static void await(const struct process *process, struct message *message, int timeout_ms)
{
    HANDLE control = handle_of(process->control), waits[1 + PROCESSES_MAX];
    OVERLAPPED overlapped;
    bool begun = begin_read(control, message, &overlapped);
    if (!begun) fail_for_cause(process, NULL);
    waits[0] = overlapped.hEvent;
    for (unsigned i = 0; i < running_count; i++) waits[1 + i] = handle_of(running[i].id);
    DWORD which = WaitForMultipleObjects(1 + running_count, waits, FALSE, (DWORD)timeout_ms);
    if (which != WAIT_OBJECT_0) CancelIoEx(control, &overlapped); /* a message that is there already stays one */
    bool whole = finish(control, &overlapped, begun);

    if (which == WAIT_TIMEOUT && !whole) fail("%s did not answer within %d s", process->name, timeout_ms / 1000);
    if (which > WAIT_OBJECT_0 && which <= WAIT_OBJECT_0 + running_count) {
        const struct process *dead = &running[which - WAIT_OBJECT_0 - 1];
        if (dead->id != process->id) fail_for_cause(dead, NULL);
    }
    if (!whole) fail_for_cause(process, NULL);
    if (message->kind == MESSAGE_FAILURE) fail_for_cause(process, message->failure);
}

/* The job ends with its last handle, which is closed at the end of this process however that comes, and all that is in
 * it with the job. */
static void create_job(void)
{
    JOBOBJECT_EXTENDED_LIMIT_INFORMATION limits = { .BasicLimitInformation.LimitFlags =
                                                        JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE };
    job = CreateJobObjectW(NULL, NULL);
    if (!job || !SetInformationJobObject(job, JobObjectExtendedLimitInformation, &limits, sizeof limits)) {
        fail_system("a job object");
    }
}

/* Where this process exits in good order, they have ended before it. */
static void end_all(void)
{
    TerminateJobObject(job, 1);
    for (unsigned i = 0; i < running_count; i++) WaitForSingleObject(handle_of(running[i].id), ENDING_MS);
}

/* A new process of this program that has not begun to run. Wine now and then cannot create one while others end, and
 * can a moment later. */
static PROCESS_INFORMATION create_child(HANDLE control)
{
    wchar_t program[MAX_PATH], command[COMMAND_MAX];
    DWORD length = GetModuleFileNameW(NULL, program, MAX_PATH);
    if (length == 0 || length == MAX_PATH) fail_system("the name of this program");
    swprintf(command, COMMAND_MAX, L"\"%ls\" %hs %lld", program, child_option, (long long)(intptr_t)control);
    STARTUPINFOW start = { .cb = sizeof start };
    PROCESS_INFORMATION child;
    for (int tries = 0; tries < 2; tries++) {
        if (CreateProcessW(program, command, NULL, NULL, TRUE, CREATE_SUSPENDED, NULL, NULL, &start, &child))
            return child;
        if (GetLastError() != ERROR_INTERNAL_ERROR) break;
    }
    fail_system("a process");
}

void process_start(struct process *process, const struct task *task, struct message *ready)
{
    if (running_count == PROCESSES_MAX) fail("more than %d processes", PROCESSES_MAX);
    if (!job) {
        create_job();
        atexit(end_all);
        SetErrorMode(SEM_FAILCRITICALERRORS | SEM_NOGPFAULTERRORBOX); /* inherited: a crash opens no window */
    }
    HANDLE parent_end, child_end;
    open_channel(&parent_end, &child_end);
    PROCESS_INFORMATION child = create_child(child_end);
    if (!AssignProcessToJobObject(job, child.hProcess)) {
        TerminateProcess(child.hProcess, 1);
        fail_system("a process in its job");
    }
    ResumeThread(child.hThread);
    CloseHandle(child.hThread);
    CloseHandle(child_end);
    process->id = (intptr_t)child.hProcess;
    process->control = (intptr_t)parent_end;
    running[running_count++] = *process;

    static struct message message = { .kind = MESSAGE_TASK };
    message.task = *task;
    send_to(parent_end, &message);
    await(process, ready, READY_MS);
}

void process_ask(const struct process *process, struct message *message, int timeout_ms)
{
    send_to(handle_of(process->control), message);
    await(process, message, timeout_ms);
}

void process_end(const struct process *process)
{
    TerminateProcess(handle_of(process->id), 1);
    WaitForSingleObject(handle_of(process->id), INFINITE);
    CloseHandle(handle_of(process->id));
    CloseHandle(handle_of(process->control));
    unsigned which = 0;
    while (running[which].id != process->id) which++;
    running_count--;
    for (; which < running_count; which++) running[which] = running[which + 1];
}

/* ---- alone ---- */

static void read_stdin(void *ended)
{
    char ignored[256];
    DWORD got;
    while (ReadFile(GetStdHandle(STD_INPUT_HANDLE), ignored, sizeof ignored, &got, NULL) && got > 0) continue;
    SetEvent(ended);
}

/* stdin can be a pipe, a file or a console, and has nothing in common to wait for: so a thread reads it. */
void process_wait_for_stdin(uint64_t until_ns)
{
    HANDLE ended = new_event();
    thread_start(read_stdin, ended);
    uint64_t now_ns = clock_ns();
    DWORD left_ms = until_ns > now_ns ? (DWORD)((until_ns - now_ns) / NS_PER_MS) + 1 : 0;
    WaitForSingleObject(ended, until_ns > 0 ? left_ms : INFINITE);
}
