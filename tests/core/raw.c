#include "core/raw.h"

#include "core/raw_os.h"
#include "harness/weir_test.h"

static void (*work)(void *arg);
static void *work_arg;

void raw_while_waiting(void (*function)(void *arg), void *arg)
{
    work = function;
    work_arg = arg;
}

bool raw_wait(raw_peer peer, raw_event event, uint32_t patience_ms)
{
    uint64_t deadline_ms = raw_os_now_ms() + patience_ms;
    for (;;) {
        if (work) work(work_arg);
        uint64_t now_ms = raw_os_now_ms();
        uint32_t left_ms = now_ms < deadline_ms ? (uint32_t)(deadline_ms - now_ms) : 0;
        if (raw_os_poll(peer, event, work && left_ms > 1 ? 1 : left_ms)) return true;
        if (left_ms == 0) return false;
    }
}

void raw_must(raw_peer peer, raw_event event, const char *what)
{
    cr_assert(raw_wait(peer, event, RAW_PATIENCE_MS), "timed out: %s", what);
}

void raw_send(raw_peer peer, const void *bytes, size_t size)
{
    size_t done = 0;
    while (done < size) {
        size_t sent = raw_send_some(peer, (const char *)bytes + done, size - done);
        cr_assert_neq(sent, SIZE_MAX, "the connection ended after %zu of %zu bytes", done, size);
        if (sent == 0) raw_must(peer, RAW_WRITABLE, "the other side does not read");
        done += sent;
    }
}

void raw_send_slowly(raw_peer peer, const void *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        raw_send(peer, (const char *)bytes + i, 1);
        if (work) work(work_arg);
    }
}

void raw_receive(raw_peer peer, void *bytes, size_t size)
{
    size_t done = 0;
    while (done < size) {
        raw_end end;
        size_t got = raw_receive_some(peer, (char *)bytes + done, size - done, &end);
        cr_assert_eq(end, RAW_OPEN, "the connection ended after %zu of %zu bytes", done, size);
        if (got == 0) raw_must(peer, RAW_READABLE, "the bytes do not come");
        done += got;
    }
}

raw_end raw_receive_all(raw_peer peer, void *bytes, size_t capacity, size_t *size)
{
    char rest[16384];
    size_t total = 0;
    for (;;) {
        raw_end end;
        bool keep = total < capacity;
        size_t got =
            raw_receive_some(peer, keep ? (char *)bytes + total : rest, keep ? capacity - total : sizeof rest, &end);
        total += got;
        if (size) *size = total;
        if (end != RAW_OPEN) return end;
        if (got == 0) raw_must(peer, RAW_READABLE, "the end does not come");
    }
}

raw_end raw_await_end(raw_peer peer)
{
    return raw_receive_all(peer, NULL, 0, NULL);
}

bool raw_is_silent(raw_peer peer, uint32_t ms)
{
    return !raw_wait(peer, RAW_READABLE, ms);
}
