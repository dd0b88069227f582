/* One process a test on Windows, which has no fork: the program starts itself with --run, in a job object, so that what
 * a test starts ends with it, and all of it with the runner. */
#include <windows.h>

#include <fcntl.h>
#include <io.h>
#include <string.h>

#include "harness/run.h"

enum { COMMAND_MAX = 2048 };

uint64_t wr_run_now_ms(void)
{
    return GetTickCount64();
}

static void complain(const char *what)
{
    fprintf(stderr, "%s: error %lu\n", what, GetLastError());
}

/* A temporary file that goes with its last handle. Not tmpfile, which wants to write to the root of the disk. */
static FILE *make_output(void)
{
    wchar_t folder[MAX_PATH], path[MAX_PATH];
    if (!GetTempPathW(MAX_PATH, folder) || !GetTempFileNameW(folder, L"weir", 0, path)) return NULL;
    HANDLE file = CreateFileW(path, GENERIC_READ | GENERIC_WRITE | DELETE, FILE_SHARE_READ | FILE_SHARE_DELETE, NULL,
                              CREATE_ALWAYS, FILE_ATTRIBUTE_TEMPORARY | FILE_FLAG_DELETE_ON_CLOSE, NULL);
    if (file == INVALID_HANDLE_VALUE) return NULL;
    return _fdopen(_open_osfhandle((intptr_t)file, _O_TEXT), "w+");
}

static HANDLE make_job(void)
{
    HANDLE job = CreateJobObjectW(NULL, NULL);
    JOBOBJECT_EXTENDED_LIMIT_INFORMATION limits = { .BasicLimitInformation.LimitFlags =
                                                        JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE };
    if (job && SetInformationJobObject(job, JobObjectExtendedLimitInformation, &limits, sizeof limits)) return job;
    if (job) CloseHandle(job);
    return NULL;
}

/* A new process of this program that runs the test, and has not begun to. */
static bool create_process(const wr_test *test, HANDLE output, PROCESS_INFORMATION *process)
{
    wchar_t program[MAX_PATH], command[COMMAND_MAX];
    if (!GetModuleFileNameW(NULL, program, MAX_PATH)) return false;
    _snwprintf(command, COMMAND_MAX, L"\"%ls\" --run %hs/%hs", program, test->suite, test->name);
    command[COMMAND_MAX - 1] = 0;
    STARTUPINFOW start = { .cb = sizeof start,
                           .dwFlags = STARTF_USESTDHANDLES,
                           .hStdInput = GetStdHandle(STD_INPUT_HANDLE),
                           .hStdOutput = output,
                           .hStdError = output };
    return CreateProcessW(program, command, NULL, NULL, TRUE, CREATE_SUSPENDED, NULL, NULL, &start, process);
}

/* The same, with the output inheritable for just that time: no other test shall hold it. Wine now and then cannot
 * create a process while others end, and can a moment later. */
static bool start_process(const wr_test *test, HANDLE output, PROCESS_INFORMATION *process)
{
    SetHandleInformation(output, HANDLE_FLAG_INHERIT, HANDLE_FLAG_INHERIT);
    bool started = create_process(test, output, process) ||
                   (GetLastError() == ERROR_INTERNAL_ERROR && create_process(test, output, process));
    DWORD error = GetLastError();
    SetHandleInformation(output, HANDLE_FLAG_INHERIT, 0);
    SetLastError(error);
    return started;
}

bool wr_child_start(wr_child *child, const wr_test *test)
{
    SetErrorMode(SEM_FAILCRITICALERRORS | SEM_NOGPFAULTERRORBOX); /* inherited: a crash opens no window */
    *child = (wr_child){ .test = test, .output = make_output() };
    if (!child->output) {
        complain("a file for the test's output");
        return false;
    }
    HANDLE job = make_job();
    PROCESS_INFORMATION process;
    if (!job || !start_process(test, (HANDLE)_get_osfhandle(_fileno(child->output)), &process)) {
        complain("a process for the test");
        if (job) CloseHandle(job);
        fclose(child->output);
        return false;
    }
    if (!AssignProcessToJobObject(job, process.hProcess)) complain("a job for the test"); /* which runs all the same */
    ResumeThread(process.hThread);
    CloseHandle(process.hThread);
    child->process = (intptr_t)process.hProcess;
    child->group = (intptr_t)job;
    return true;
}

/* With this status a process has ended before any code of its own ran: now and then Wine cannot load its libraries, on
 * a busy machine, and can a moment later. */
static bool could_not_begin(const wr_child_end *end)
{
    const DWORD dll_init_failed = 0xC0000142;
    return (DWORD)end->status == dll_init_failed;
}

/* Once a test. */
static bool start_again(wr_child *child)
{
    wr_child again;
    if (child->restarted || !wr_child_start(&again, child->test)) return false;
    again.deadline_ms = child->deadline_ms;
    again.restarted = true;
    fclose(child->output);
    *child = again;
    return true;
}

static void take_end(const wr_child *child, wr_child_end *end)
{
    const DWORD exceptions = 0xC0000000; /* the smallest number of one; a process that it ends has it as its status */
    DWORD status = WR_EXIT_FAILED;
    GetExitCodeProcess((HANDLE)child->process, &status);
    *end = (wr_child_end){ .status = (int)status };
    if (status >= exceptions) snprintf(end->crash, sizeof end->crash, "exception 0x%08lX", status);
    CloseHandle((HANDLE)child->process);
    CloseHandle((HANDLE)child->group); /* ends what it started and left behind */
}

int wr_child_wait(wr_child *children, int count, uint64_t deadline_ms, wr_child_end *end)
{
    HANDLE processes[MAXIMUM_WAIT_OBJECTS];
    int numbers[MAXIMUM_WAIT_OBJECTS];
    DWORD running = 0;
    for (int i = 0; i < count && running < MAXIMUM_WAIT_OBJECTS; i++) {
        if (!children[i].test) continue;
        processes[running] = (HANDLE)children[i].process;
        numbers[running++] = i;
    }
    uint64_t now_ms = wr_run_now_ms();
    uint64_t left_ms = deadline_ms > now_ms ? deadline_ms - now_ms : 0;
    DWORD timeout_ms = left_ms < INFINITE ? (DWORD)left_ms : INFINITE;
    DWORD result = WaitForMultipleObjects(running, processes, FALSE, timeout_ms);
    if (result >= running) return -1; /* WAIT_TIMEOUT */
    wr_child *ended = &children[numbers[result]];
    take_end(ended, end);
    if (could_not_begin(end) && start_again(ended)) return wr_child_wait(children, count, deadline_ms, end);
    return numbers[result];
}

void wr_child_kill(wr_child *child)
{
    TerminateProcess((HANDLE)child->process, WR_EXIT_FAILED);
}
