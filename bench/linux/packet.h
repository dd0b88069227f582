/* A whole message a call, through a SOCK_SEQPACKET pair. */
#ifndef BENCH_LINUX_PACKET_H
#define BENCH_LINUX_PACKET_H

#include <stdbool.h>
#include <stddef.h>

/* packet_receive: waits for one of exactly `size` bytes. False when the other end has gone. */
bool packet_receive(int fd, void *packet, size_t size);

/* packet_send: if the other end has gone, the next receive tells. */
void packet_send(int fd, const void *packet, size_t size);

#endif
