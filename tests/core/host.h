/* What a test asks of the system it runs on, beside peers (raw.h): its own process, files, addresses. host_posix.c
 * and host_windows.c implement this page. What a system does not have skips the test that needs it. */
#ifndef WEIR_TEST_HOST_H
#define WEIR_TEST_HOST_H

#include <stdbool.h>
#include <stdint.h>

#include "core/raw.h"

/* ---- the process ---- */

/* host_cpu_us: CPU time of all threads so far, user and system. */
uint64_t host_cpu_us(void);

/* host_descriptor_limit, host_hard_limit: how many descriptors the process may have; how far it may raise that. */
unsigned host_descriptor_limit(void);
unsigned host_hard_limit(void);

/* host_descriptor_table: for how many the kernel's table of the process has room by now. */
unsigned host_descriptor_table(void);

/* host_limit_descriptors: sets the limit; false if the hard one forbids. host_lower_hard_limit: both, for good. */
bool host_limit_descriptors(unsigned limit);
void host_lower_hard_limit(unsigned limit);

/* host_fill_descriptors: opens descriptors until the system gives no more. host_free_descriptors: closes `count` of
 * them. */
void host_fill_descriptors(void);
void host_free_descriptors(unsigned count);

/* host_drop_rights: the process may do no more than an ordinary user; false if that cannot be had. host_regain_rights:
 * as before. */
bool host_drop_rights(void);
void host_regain_rights(void);

/* host_set_comma_locale: 0.5 is written 0,5 from here on; false if no such locale can be had. */
bool host_set_comma_locale(void);

/* host_socket_size: bytes that the backend of this system holds for a socket that is idle. */
extern const unsigned host_socket_size;

/* host_ends_at_once: the backend of this system may close a socket within the submit. */
extern const bool host_ends_at_once;

/* host_codes: what this system calls these accidents, as it rides along for logs. */
extern const struct host_codes {
    int address_in_use, address_not_available, connection_refused;
} host_codes;

/* ---- files ---- */

enum { HOST_PATH_MAX = 100 };

/* host_path: a name for a file that does not exist, short enough for a Unix-domain socket. */
void host_path(char *path);

bool host_exists(const char *path);
void host_make_file(const char *path);
void host_remove(const char *path);

/* host_leave_dead_socket: what a listener leaves behind that was killed. */
void host_leave_dead_socket(const char *path);

/* ---- addresses ---- */

bool host_has_ipv6(void);

/* host_shares_ports: several sockets may listen on one port, which WEIR_PLACEMENT_SPREAD and share_port need. */
bool host_shares_ports(void);

/* host_free_port: an IPv4 port of the loopback where nobody listens. */
uint16_t host_free_port(void);

/* host_connect_from: a peer whose own address is `source`. */
raw_peer host_connect_from(const char *source, const char *host, uint16_t port);

/* host_connect_is_refused: nobody listens there. */
bool host_connect_is_refused(const char *host, uint16_t port);

/* host_full_listener: one that accepts nobody, with a backlog so full that a further connect hears nothing. The fillers
 * go with the process. */
raw_peer host_full_listener(uint16_t *port);

#endif
