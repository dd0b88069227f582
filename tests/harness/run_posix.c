/* One process a test on POSIX systems: a fork, in a process group of its own, so that what a test starts ends with it.
 */
#define _GNU_SOURCE /* prctl's constants, sigtimedwait, strsignal */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "harness/run.h"

uint64_t wr_run_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* The end of a child is waited for with sigtimedwait, which needs the signal blocked. */
static void child_signal(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGCHLD);
}

static void run_in_child(const wr_child *child, const sigset_t *signals)
{
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* no test outlives a runner that is killed */
    sigprocmask(SIG_SETMASK, signals, NULL);
    dup2(fileno(child->output), STDOUT_FILENO);
    dup2(fileno(child->output), STDERR_FILENO);
    wr_test_run(child->test);
}

bool wr_child_start(wr_child *child, const wr_test *test)
{
    sigset_t set, former;
    child_signal(&set);
    sigprocmask(SIG_BLOCK, &set, &former);
    sigdelset(&former, SIGCHLD); /* blocked by the child before this one */

    *child = (wr_child){ .test = test, .output = tmpfile() };
    if (!child->output) {
        perror("a file for the test's output");
        return false;
    }
    fflush(stdout); /* or the child prints it again */
    pid_t pid = fork();
    if (pid == 0) run_in_child(child, &former);
    if (pid < 0) {
        perror("fork");
        fclose(child->output);
        return false;
    }
    setpgid(pid, pid); /* here too: whichever comes first, before anyone needs the group */
    child->process = pid;
    return true;
}

static bool take_end(const wr_child *child, wr_child_end *end)
{
    int status;
    if (waitpid((pid_t)child->process, &status, WNOHANG) <= 0) return false;
    kill((pid_t)-child->process, SIGKILL); /* what it started and left behind */
    *end = (wr_child_end){ .status = WIFEXITED(status) ? WEXITSTATUS(status) : WR_EXIT_FAILED };
    if (WIFSIGNALED(status)) snprintf(end->crash, sizeof end->crash, "%s", strsignal(WTERMSIG(status)));
    return true;
}

int wr_child_wait(wr_child *children, int count, uint64_t deadline_ms, wr_child_end *end)
{
    sigset_t set;
    child_signal(&set);
    for (;;) {
        for (int i = 0; i < count; i++) {
            if (children[i].test && take_end(&children[i], end)) return i;
        }
        uint64_t now_ms = wr_run_now_ms();
        if (now_ms >= deadline_ms) return -1;
        uint64_t left_ms = deadline_ms - now_ms;
        struct timespec timeout = { .tv_sec = (time_t)(left_ms / 1000), .tv_nsec = (long)(left_ms % 1000) * 1000000 };
        sigtimedwait(&set, NULL, &timeout); /* what it returns does not matter: the loop looks again */
    }
}

void wr_child_kill(wr_child *child)
{
    kill((pid_t)-child->process, SIGKILL);
}
