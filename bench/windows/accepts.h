/* A listener with a number of AcceptEx always posted. */
#ifndef BENCH_WINDOWS_ACCEPTS_H
#define BENCH_WINDOWS_ACCEPTS_H

#include "windows/socket.h"

enum {
    ACCEPTS_POSTED = 64,                           /* as many connections as arrive at once by default (--window) */
    ACCEPT_ROOM = sizeof(struct sockaddr_in) + 16, /* for an address: 16 bytes more than it needs, says Windows */
};

struct posted_accept {
    OVERLAPPED overlapped; /* first: a packet names it */
    SOCKET socket;
    char addresses[2 * ACCEPT_ROOM];
};

struct accepts {
    SOCKET listener;
    struct posted_accept posted[ACCEPTS_POSTED];
};

/* accepts_begin: listens on 127.0.0.1. The packets of all accepts come to `port` with that key. */
void accepts_begin(struct accepts *accepts, HANDLE port, ULONG_PTR key);

/* accepts_take: the connection that a packet tells of; INVALID_SOCKET if it was reset before it was accepted. Another
 * AcceptEx takes the place of that one.
 * So far the connection can send, receive and be closed; accepts_complete makes it an ordinary socket. */
SOCKET accepts_take(struct accepts *accepts, OVERLAPPED *overlapped);
void accepts_complete(const struct accepts *accepts, SOCKET socket);

#endif
