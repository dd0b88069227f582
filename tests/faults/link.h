/* A bad network between two ends of one machine, made in user space: each end is a network namespace of its own with a
 * TUN device, and a process carries packets from one to the other, late, slowly, and not all of them. Nothing of it is
 * seen outside, and all of it goes with the processes that use it, however they end. */
#ifndef WR_TEST_LINK_H
#define WR_TEST_LINK_H

#include <stdint.h>

typedef struct link_terms {
    uint64_t delay_us; /* each way */
    uint64_t bytes_a_second;
    unsigned loss_percent;
} link_terms;

/* link_end: moves the calling process, which must have one thread, to a new network with nothing in it but its loopback
 * and one end of the link, with that IPv4 address (the other end shares its first three bytes). Returns the end for
 * link_carry, or -1, and `*why` says what this machine lacks. */
int link_end(const char *address, const char **why);

/* link_carry: carries packets between the ends until `*phase` is `last`. Which of them are lost is always the same. */
void link_carry(int a, int b, const link_terms *terms, _Atomic int *phase, int last);

#endif
