#define _GNU_SOURCE
#include "faults/link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "faults/storm.h"

enum {
    PACKET_MAX = 2048, /* a TUN device's are of 1,500 at most */
    QUEUE_MAX = 256,   /* packets on their way in one direction; a router drops what is over too */
};

typedef struct packet {
    uint64_t due_ns;
    size_t size;
    unsigned char bytes[PACKET_MAX];
} packet;

typedef struct direction {
    int from, to;
    uint64_t free_ns; /* when the line is free for the next packet */
    unsigned first, count;
    packet queue[QUEUE_MAX];
} direction;

static int lack(const char *what, const char **why)
{
    static char text[128];
    (void)snprintf(text, sizeof text, "%s: %s", what, strerror(errno));
    *why = text;
    return -1;
}

/* As root, or as one who may be root of a namespace. */
static bool enter_network(void)
{
    return unshare(CLONE_NEWNET) == 0 || unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0;
}

static bool bring_up(int any, const char *name, const char *address)
{
    struct ifreq request;
    struct sockaddr_in in = { .sin_family = AF_INET };
    memset(&request, 0, sizeof request);
    (void)snprintf(request.ifr_name, sizeof request.ifr_name, "%s", name);
    if (address) {
        in.sin_addr.s_addr = inet_addr(address);
        memcpy(&request.ifr_addr, &in, sizeof in);
        if (ioctl(any, SIOCSIFADDR, &request) != 0) return false;
        in.sin_addr.s_addr = htonl(0xffffff00);
        memcpy(&request.ifr_netmask, &in, sizeof in);
        if (ioctl(any, SIOCSIFNETMASK, &request) != 0) return false;
    }
    request.ifr_flags = IFF_UP | IFF_RUNNING;
    return ioctl(any, SIOCSIFFLAGS, &request) == 0;
}

int link_end(const char *address, const char **why)
{
    if (!enter_network()) return lack("it needs a network namespace of its own", why);
    int tun = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (tun < 0) return lack("it needs /dev/net/tun", why);
    struct ifreq request = { .ifr_flags = IFF_TUN | IFF_NO_PI };
    (void)snprintf(request.ifr_name, sizeof request.ifr_name, "weir0");
    int any = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool made = any >= 0 && ioctl(tun, TUNSETIFF, &request) == 0 && bring_up(any, "lo", NULL) &&
                bring_up(any, "weir0", address);
    int error = errno;
    if (any >= 0) (void)close(any);
    if (made) return tun;
    (void)close(tun);
    errno = error;
    return lack("it needs a TUN device", why);
}

/* ---- carrying ---- */

static unsigned random_percent(void)
{
    static uint64_t state = 1;
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return (unsigned)((state * 0x2545f4914f6cdd1dULL >> 32) % 100);
}

static void take_packets(direction *d, const link_terms *terms)
{
    packet arriving;
    for (;;) {
        ssize_t size = read(d->from, arriving.bytes, sizeof arriving.bytes);
        if (size <= 0) return;
        if (random_percent() < terms->loss_percent || d->count == QUEUE_MAX) continue;
        uint64_t now_ns = storm_now_ns();
        if (d->free_ns < now_ns) d->free_ns = now_ns;
        d->free_ns += (uint64_t)size * 1000000000 / terms->bytes_a_second;
        packet *p = &d->queue[(d->first + d->count++) % QUEUE_MAX];
        p->due_ns = d->free_ns + terms->delay_us * 1000;
        p->size = (size_t)size;
        memcpy(p->bytes, arriving.bytes, p->size);
    }
}

static void give_packets(direction *d)
{
    while (d->count > 0 && d->queue[d->first].due_ns <= storm_now_ns()) {
        const packet *p = &d->queue[d->first];
        (void)!write(d->to, p->bytes, p->size); /* what does not go is one more that is lost */
        d->first = (d->first + 1) % QUEUE_MAX;
        d->count--;
    }
}

void link_carry(int a, int b, const link_terms *terms, _Atomic int *phase, int last)
{
    static direction there, back;
    there.from = back.to = a;
    there.to = back.from = b;
    while (*phase != last) {
        struct pollfd entries[] = { { .fd = a, .events = POLLIN }, { .fd = b, .events = POLLIN } };
        (void)poll(entries, 2, there.count + back.count > 0 ? 1 : 5);
        take_packets(&there, terms);
        take_packets(&back, terms);
        give_packets(&there);
        give_packets(&back);
    }
}
