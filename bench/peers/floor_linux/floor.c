/* The floor: what readiness-based code by hand can do on this system, and so the measure of all others. One thread (or
 * so many, which share nothing but the port), one epoll instance each, and of each choice the one that was measured to
 * be the cheapest (in CPU time an operation, the other choice against this one):
 *  - one accept a wake-up, since under light load a second one finds nothing (accepting until EAGAIN: 1.23), and
 *    batches once a row of wake-ups has shown that connections queue up;
 *  - edge-triggered, and a read that did not fill the buffer emptied the socket (reading until EAGAIN: 1.07 to 1.09);
 *  - EPOLLOUT only after a send that fell short (changing it around each reply: 1.20);
 *  - a connect that the kernel has finished meanwhile is found by a second connect() (waiting in epoll: 1.05).
 * It is correct: partial reads and writes, the end of the stream, errors, a peer that does not read. */
#define _GNU_SOURCE
#include <sys/epoll.h>
#include <unistd.h>

#include "peers/floor_linux/floor.h"

enum { READS_MAX = 4 }; /* full buffers of one connection before the others have their turn */

static const char *version(void)
{
    return "by hand";
}

static void close_at_once(struct floor_server *server, int fd)
{
    (void)server;
    close(fd);
}

static void echo(struct floor_server *server, int fd, uint32_t events)
{
    /* With an end or an error in the same edge a short read is not the last word: it will not be told again. */
    bool to_the_end = events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR);
    for (unsigned i = 0; i < READS_MAX; i++) {
        size_t got = floor_receive(server, fd);
        if (got == 0 || !floor_send(server, fd, server->buffer, got)) return;
        if (got < FLOOR_BUFFER && !to_the_end) return;
    }
    floor_again(server, fd);
}

static void serve_accept(const struct job *job)
{
    static const struct floor_kind closing = { .opened = close_at_once };
    floor_serve(job, &closing, job->workers);
}

static void serve_echo(const struct job *job)
{
    static const struct floor_kind echoing = { .opened = floor_watch, .readable = echo };
    floor_serve(job, &echoing, job->workers);
}

const struct peer peer_floor = {
    .name = "floor",
    .version = version,
    .takes_workers = true,
    .serve_accept = serve_accept,
    .serve_echo = serve_echo,
    .serve_broadcast = floor_serve_broadcast,
    .connect = { floor_client_open, floor_client_burst },
    .timers = { floor_timers_open, floor_timers_arm, floor_timers_run },
    .post = { floor_post_open, floor_post_post },
    .shares = floor_shares,
};
