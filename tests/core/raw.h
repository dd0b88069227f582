/* The witness: peers over plain blocking-style sockets of the system, with nothing of weir under them, so that what a
 * test believes does not rest on the code it tests.
 *
 * Whatever goes wrong here, a deadline too, fails the test; functions that may find an end say so. raw.c,
 * and raw_posix.c or raw_windows.c, implement this page; the page itself names no system's type. Any thread may use a
 * peer, one at a time. */
#ifndef WR_TEST_RAW_H
#define WR_TEST_RAW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define RAW_SLOWDOWN 4
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define RAW_SLOWDOWN 4
#endif
#endif
#if defined(_WIN32) && !defined(RAW_SLOWDOWN)
#define RAW_SLOWDOWN 4 /* Wine: all go through one server process */
#endif
#ifndef RAW_SLOWDOWN
#define RAW_SLOWDOWN 1
#endif

enum { RAW_PATIENCE_MS = 10000 * RAW_SLOWDOWN }; /* a deadline to fail by, not a time that a test takes */

typedef struct raw_peer {
    intptr_t os;
} raw_peer;

/* How a stream ended, or that it has not. */
typedef enum raw_end { RAW_OPEN, RAW_FIN, RAW_RESET } raw_end;

/* raw_while_waiting: calls `work` over and over while a function of this page waits: for a runtime that the test itself
 * must drive. NULL: nothing. Set it while no other thread uses a peer. */
void raw_while_waiting(void (*work)(void *arg), void *arg);

/* raw_connect: to a numeric IPv4 or IPv6 host. `receive_buffer`: the kernel's, as small as it lets; 0: its default. */
raw_peer raw_connect(const char *host, uint16_t port, int receive_buffer);

/* raw_try_connect: the same, but false if it is refused, or not there within `patience_ms`. */
bool raw_try_connect(const char *host, uint16_t port, uint32_t patience_ms, raw_peer *out);

/* raw_connect_unix: to a Unix-domain socket. */
raw_peer raw_connect_unix(const char *path);

/* raw_listen: on 127.0.0.1 and a port that the system chooses. raw_accept: waits for a connection. */
raw_peer raw_listen(int backlog, uint16_t *port);
raw_peer raw_accept(raw_peer listener);

/* raw_receive_buffer: makes the receive buffer of what a listener accepts small. */
void raw_receive_buffer(raw_peer listener, int size);

/* raw_send: all of it. raw_send_slowly: the same in a segment a byte. */
void raw_send(raw_peer peer, const void *bytes, size_t size);
void raw_send_slowly(raw_peer peer, const void *bytes, size_t size);

/* raw_send_some: as much as goes without waiting, maybe 0; SIZE_MAX when the connection has ended. */
size_t raw_send_some(raw_peer peer, const void *bytes, size_t size);

/* raw_finish: FIN; the peer still reads. */
void raw_finish(raw_peer peer);

/* raw_tells_reset_after_finish: whether a reset that comes after raw_finish is told from a FIN. Wine does not. */
bool raw_tells_reset_after_finish(void);

/* raw_receive: exactly that many bytes. */
void raw_receive(raw_peer peer, void *bytes, size_t size);

/* raw_receive_some: what is there, without waiting: 0 with *end RAW_OPEN if there is nothing. */
size_t raw_receive_some(raw_peer peer, void *bytes, size_t capacity, raw_end *end);

/* raw_receive_all: reads until the end and says how that came. The first `capacity` bytes go to `bytes`; *size (may be
 * NULL) counts all. */
raw_end raw_receive_all(raw_peer peer, void *bytes, size_t capacity, size_t *size);

/* raw_await_end: the same for bytes that do not matter. */
raw_end raw_await_end(raw_peer peer);

/* raw_is_silent: nothing comes, and no end, for that long. */
bool raw_is_silent(raw_peer peer, uint32_t ms);

/* raw_close: with FIN, or with RST if there is something unread. raw_reset: with RST in any case. */
void raw_close(raw_peer peer);
void raw_reset(raw_peer peer);

/* raw_udp: a UDP socket at that numeric host, on a port that the system chooses. */
raw_peer raw_udp(const char *host);

/* raw_udp_send: one datagram. raw_udp_receive: waits for one; returns its size, and in *port (may be NULL) whose it
 * was.
 */
void raw_udp_send(raw_peer peer, const char *host, uint16_t port, const void *bytes, size_t size);
size_t raw_udp_receive(raw_peer peer, void *bytes, size_t capacity, uint16_t *port);

/* raw_port: of this end. */
uint16_t raw_port(raw_peer peer);

/* raw_descriptors: how many this process has open; on Windows, how many sockets. */
unsigned raw_descriptors(void);

#endif
