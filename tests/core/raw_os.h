/* What the peers (raw.h) leave to the system beside the functions there that raw_posix.c and raw_windows.c implement;
 * and what they get from raw.c. */
#ifndef WR_TEST_RAW_OS_H
#define WR_TEST_RAW_OS_H

#include "core/raw.h"

typedef enum raw_event { RAW_READABLE, RAW_WRITABLE } raw_event;

/* raw_os_poll: whether the peer becomes that within `timeout_ms`; an end or an error is either. */
bool raw_os_poll(raw_peer peer, raw_event event, uint32_t timeout_ms);

/* raw_os_now_ms: a monotonic clock. */
uint64_t raw_os_now_ms(void);

/* raw_wait: raw_os_poll that does the test's work meanwhile; raw_must: the test fails, with `what`, if it does not
 * become that. */
bool raw_wait(raw_peer peer, raw_event event, uint32_t patience_ms);
void raw_must(raw_peer peer, raw_event event, const char *what);

#endif
