#include "progress.h"

#include <stdio.h>

#include "machine.h"
#include "text.h"

enum { PLAIN_LINES = 5 }; /* where nobody watches */

static void print_line(const struct contest *contest, unsigned round, unsigned which)
{
    fprintf(stderr, "%s: round %u/%u", contest->workload->name, round + 1, contest->rounds);
    for (unsigned i = 0; i < contest->count; i++) {
        const struct contender *contender = &contest->contenders[i];
        const struct sample *sample = &contender->samples[round];
        if (sample->operations == 0 && round > 0) sample--; /* its turn in this round is yet to come */
        double rate = sample->elapsed_ns ? (double)sample->operations * NS_PER_S / (double)sample->elapsed_ns : 0;
        fprintf(stderr, "  %s%s %s/s", i == which ? ">" : " ", contender->name, text_grouped(rate).text);
    }
}

void progress_slice(const struct contest *contest, unsigned round, unsigned which)
{
    if (machine_has_terminal()) {
        fputs("\r\033[K", stderr);
        print_line(contest, round, which);
        fflush(stderr);
        return;
    }
    unsigned last = round % 2 == 0 ? contest->count - 1 : 0;
    unsigned step = (contest->rounds + PLAIN_LINES - 1) / PLAIN_LINES;
    if (which != last || ((round + 1) % step != 0 && round + 1 != contest->rounds)) return;
    print_line(contest, round, contest->count);
    fputc('\n', stderr);
}

void progress_end(void)
{
    if (machine_has_terminal()) fputs("\r\033[K", stderr);
}
