/* slow: what clients that never read do to those that do. The good ones send messages that come back, each at its time
 * (messages.h). Beside them are others that ask as steadily, 50 times a second for 16 KiB each time, and never read an
 * answer: what they are owed first fills the kernel's buffers, of up to 4 MiB each, for some 5 s, and then is the
 * contender's matter. It may stop reading from them, or let them go; one that was let go comes back at its next
 * question. Since the kernel has a bound for all buffers together, only one contender is up at a time. */
#include <stdlib.h>

#include "messages.h"
#include "net.h"
#include "workload.h"

enum { QUESTION = 16384, QUESTION_MS = 20 };

enum { LET_GO, FIGURES };

static const struct figure figures[] = {
    [LET_GO] = { "let_go", "let go", 0, false },
    [FIGURES] = { 0 },
};

struct load {
    struct messages *messages;
    struct address server;
    unsigned slow;
    unsigned next;   /* whose turn it is */
    uint64_t due_ns; /* and when */
    uint64_t let_go; /* in this burst */
    uint8_t question[QUESTION];
    intptr_t clients[]; /* the slow ones */
};

static void *load_open(const struct job *job)
{
    struct load *load = calloc(1, sizeof *load + job->slow * sizeof load->clients[0]);
    if (!load) fail("out of memory");
    load->messages = messages_open(job);
    load->server = address_of(job->address);
    load->slow = job->slow;
    for (unsigned i = 0; i < load->slow; i++) load->clients[i] = net_deaf_open(&load->server);
    return load;
}

/* The questions that are due. Behind by more than a second, as on a machine that has stood still, the loop leaves out
 * what it missed. */
static void ask(void *data, uint64_t now_ns)
{
    struct load *load = data;
    const uint64_t round_ns = QUESTION_MS * (uint64_t)NS_PER_MS;
    if (load->slow == 0 || load->due_ns > now_ns) return;
    if (now_ns - load->due_ns > NS_PER_S) load->due_ns = now_ns;
    while (load->due_ns <= now_ns) {
        intptr_t *client = &load->clients[load->next];
        if (net_deaf_send(*client, load->question, QUESTION) == NET_GONE) {
            net_deaf_close(*client);
            *client = net_deaf_open(&load->server);
            load->let_go++;
        }
        load->next = (load->next + 1) % load->slow;
        load->due_ns += round_ns / load->slow;
    }
}

static void load_burst(void *state, const struct limit *limit, struct tally *tally)
{
    struct load *load = state;
    load->let_go = 0;
    load->due_ns = clock_ns();
    messages_burst(load->messages, limit, tally, ask, load);
    tally->figures[LET_GO] = (double)load->let_go;
}

const struct workload workload_slow = {
    .name = "slow",
    .what = "messages that the contender sends back, beside clients that never read what they ask for",
    .operation = "message",
    .fresh = true,
    .options = OPTION(CONNECTIONS) | OPTION(SIZE) | OPTION(WINDOW) | OPTION(RATE) | OPTION(SLOW) | OPTION(WORKERS),
    .usual = { .window = 64, .connections = 50, .size = 64, .rate = 5000, .slow = 100 },
    .most_window = 1024,
    .rounds = 2,
    .slice_ms = 8000,
    .figures = figures,
    .note = "let go: clients that did not read, whose connections the contender ended. Their questions are in the CPU "
            "time.",
    .server = SERVER_ECHO,
    .load = { load_open, load_burst },
};
