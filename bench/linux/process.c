#define _GNU_SOURCE
#include "process.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fail.h"
#include "linux/packet.h"
#include "sides.h"

enum { PROCESSES_MAX = 32, READY_MS = 30000, LAST_WORDS_MS = 100 };

/* All that were started, in order: a server before the driver that talks to it. */
static struct process running[PROCESSES_MAX];
static unsigned running_count;

static void end_all(void)
{
    for (unsigned i = 0; i < running_count; i++) kill((pid_t)running[i].id, SIGKILL);
    for (unsigned i = 0; i < running_count; i++) waitpid((pid_t)running[i].id, NULL, 0);
    running_count = 0;
}

/* ---- in the child ---- */

static int child_control = -1;

bool process_is_child(void)
{
    return child_control >= 0;
}

bool process_receive(struct message *message)
{
    return packet_receive(child_control, message, sizeof *message);
}

void process_send(const struct message *message)
{
    packet_send(child_control, message, sizeof *message);
}

void process_run_child(int count, char **arguments)
{
    (void)count, (void)arguments; /* a child is a fork */
}

static void run_child(int control, pid_t parent, const struct task *task)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1); /* it died before the line above */
    for (unsigned i = 0; i < running_count; i++) close((int)running[i].control);
    running_count = 0;
    child_control = control;
    side_run(task);
    _exit(0);
}

/* ---- in the parent ---- */

/* `words` are its last ones, where they have been received already. */
static void fail_for(const struct process *process, const char *words)
{
    struct message message;
    if (!words && packet_receive((int)process->control, &message, sizeof message) && message.kind == MESSAGE_FAILURE) {
        words = message.failure;
    }
    if (words) fail("%s: %s", process->name, words);
    int status = 0;
    waitpid((pid_t)process->id, &status, 0);
    if (WIFSIGNALED(status)) fail("%s was ended by signal %d", process->name, WTERMSIG(status));
    fail("%s ended with status %d", process->name, WEXITSTATUS(status));
}

/* When a server dies, its driver fails too: the first dead one in the order of starting is the cause. */
static void fail_for_cause(const struct process *suspect, const char *words)
{
    poll(NULL, 0, LAST_WORDS_MS);
    for (unsigned i = 0; running[i].id != suspect->id; i++) {
        struct pollfd wait = { .fd = (int)running[i].control };
        if (poll(&wait, 1, 0) == 1 && wait.revents & POLLHUP) fail_for(&running[i], NULL);
    }
    fail_for(suspect, words);
}

/* Waits for a message of `process`, with an eye on all others. */
static void await(const struct process *process, struct message *message, int timeout_ms)
{
    struct pollfd waits[PROCESSES_MAX];
    for (unsigned i = 0; i < running_count; i++) {
        bool awaited = running[i].id == process->id;
        waits[i] = (struct pollfd){ .fd = (int)running[i].control, .events = awaited ? POLLIN : 0 };
    }
    int count;
    do {
        count = poll(waits, running_count, timeout_ms);
    } while (count < 0 && errno == EINTR);
    if (count <= 0) fail("%s did not answer within %d s", process->name, timeout_ms / 1000);
    for (unsigned i = 0; i < running_count; i++) {
        if (waits[i].revents & (POLLHUP | POLLERR)) fail_for_cause(&running[i], NULL);
    }
    if (!packet_receive((int)process->control, message, sizeof *message)) fail_for_cause(process, NULL);
    if (message->kind == MESSAGE_FAILURE) fail_for_cause(process, message->failure);
}

void process_start(struct process *process, const struct task *task, struct message *ready)
{
    if (running_count == PROCESSES_MAX) fail("more than %d processes", PROCESSES_MAX);
    if (running_count == 0) atexit(end_all);
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) fail_system("socketpair");
    pid_t parent = getpid();
    pid_t child = fork();
    if (child < 0) fail_system("fork");
    if (child == 0) {
        close(pair[0]);
        run_child(pair[1], parent, task);
    }
    close(pair[1]);
    process->id = child;
    process->control = pair[0];
    running[running_count++] = *process;
    await(process, ready, READY_MS);
}

void process_ask(const struct process *process, struct message *message, int timeout_ms)
{
    packet_send((int)process->control, message, sizeof *message);
    await(process, message, timeout_ms);
}

void process_end(const struct process *process)
{
    kill((pid_t)process->id, SIGKILL);
    waitpid((pid_t)process->id, NULL, 0);
    close((int)process->control);
    unsigned which = 0;
    while (running[which].id != process->id) which++;
    running_count--;
    for (; which < running_count; which++) running[which] = running[which + 1];
}

/* ---- alone ---- */

void process_wait_for_stdin(uint64_t until_ns)
{
    char ignored[256];
    for (;;) {
        uint64_t now_ns = clock_ns();
        if (until_ns > 0 && now_ns >= until_ns) return;
        struct pollfd wait = { .fd = STDIN_FILENO, .events = POLLIN };
        poll(&wait, 1, until_ns > 0 ? (int)((until_ns - now_ns) / NS_PER_MS) + 1 : -1);
        if (wait.revents && read(STDIN_FILENO, ignored, sizeof ignored) <= 0) return;
    }
}
