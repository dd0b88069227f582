#define _GNU_SOURCE
#include "million/crew.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fail.h"
#include "linux/packet.h"
#include "machine.h"

enum { MEMBERS_MAX = 512, ANSWER_MS = 120000 };

static struct member running[MEMBERS_MAX];
static unsigned running_count;
static int parent_control = -1; /* a member's end */

/* ---- in a member ---- */

bool crew_hear(struct word *word)
{
    return packet_receive(parent_control, word, sizeof *word);
}

void crew_tell(const struct word *word)
{
    packet_send(parent_control, word, sizeof *word);
}

static void last_words(const char *sentence)
{
    struct word word = { .kind = WORD_FAILED };
    snprintf(word.failure, sizeof word.failure, "%s", sentence);
    crew_tell(&word);
    _Exit(1);
}

/* ---- in the parent ---- */

void crew_end(void)
{
    for (unsigned i = 0; i < running_count; i++) kill(running[i].id, SIGKILL);
    for (unsigned i = 0; i < running_count; i++) waitpid(running[i].id, NULL, 0);
    running_count = 0;
}

void member_start(struct member *member, void (*body)(const void *data), const void *data, const struct place *place,
                  struct word *ready)
{
    if (running_count == MEMBERS_MAX) fail("more than %d processes", MEMBERS_MAX);
    if (running_count == 0) atexit(crew_end);
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) fail_system("socketpair");
    pid_t parent = getpid();
    pid_t child = fork();
    if (child < 0) fail_system("fork");
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) _exit(1); /* it died before the line above */
        close(pair[0]);
        for (unsigned i = 0; i < running_count; i++) close(running[i].control);
        running_count = 0;
        parent_control = pair[1];
        fail_set_sink(last_words);
        machine_enter(place);
        body(data);
        _exit(0);
    }
    close(pair[1]);
    member->id = child;
    member->control = pair[0];
    running[running_count++] = *member;
    member_hear(member, ready);
}

void member_tell(const struct member *member, const struct word *word)
{
    packet_send(member->control, word, sizeof *word);
}

void member_hear(const struct member *member, struct word *word)
{
    struct pollfd wait = { .fd = member->control, .events = POLLIN };
    int count;
    do {
        count = poll(&wait, 1, ANSWER_MS);
    } while (count < 0 && errno == EINTR);
    if (count <= 0) fail("%s did not answer within %d s", member->name, ANSWER_MS / 1000);
    if (!packet_receive(member->control, word, sizeof *word)) fail("%s has died", member->name);
    if (word->kind == WORD_FAILED) fail("%s: %s", member->name, word->failure);
}
