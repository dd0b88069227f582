#include "core/service.h"

#include "core/conn.h"
#include "core/framing.h"
#include "core/inbox.h"

enum {
    DEFAULT_MAX_MESSAGE = 64 * 1024,
    DEFAULT_CLOSE_TIMEOUT_MS = 5000,
    DEFAULT_SOFT_LIMIT = 256 * 1024,
    DEFAULT_SOFT_LIMIT_MS = 10000,
    DEFAULT_HARD_LIMIT = 1024 * 1024,
};

static const char *refuse(const weir_protocol *protocol)
{
    if (protocol->session_size > WR_SESSION_MAX) return "session_size is over 1 MiB";
    if (protocol->max_message > WR_MESSAGE_MAX) return "max_message is over 256 MiB";
    if (protocol->handshake_timeout_ms > WR_TIMEOUT_MAX) return "handshake_timeout_ms is over 2^30";
    if (protocol->idle_timeout_ms > WR_TIMEOUT_MAX) return "idle_timeout_ms is over 2^30";
    if (protocol->close_timeout_ms > WR_TIMEOUT_MAX) return "close_timeout_ms is over 2^30";
    if (protocol->outbox.soft_limit > WR_OUTBOX_MAX) return "outbox.soft_limit is over 1 GiB";
    if (protocol->outbox.hard_limit > WR_OUTBOX_MAX) return "outbox.hard_limit is over 1 GiB";
    if (protocol->outbox.soft_limit_ms > WR_TIMEOUT_MAX) return "outbox.soft_limit_ms is over 2^30";
    if ((unsigned)protocol->outbox.policy > WEIR_SLOW_PAUSE) return "outbox.policy is no weir_slow_policy";
    if (protocol->outbox.policy == WEIR_SLOW_NOTIFY && !protocol->on_slow)
        return "outbox.policy is WEIR_SLOW_NOTIFY, but there is no on_slow";
    return NULL;
}

static const char *refuse_inbox(const weir_runtime *runtime, const weir_protocol *protocol)
{
    if (!protocol->inbox) return NULL;
    if (protocol->on_open || protocol->on_message || protocol->on_close)
        return "there is an inbox, and on_open, on_message or on_close beside it";
    return protocol->inbox->runtime == runtime ? NULL : "the inbox is of another runtime";
}

int wr_service_init(wr_service *service, const weir_runtime *runtime, const weir_protocol *protocol, const char **why)
{
    *service = (wr_service){ .protocol = *protocol };
    weir_protocol *p = &service->protocol;
    *why = refuse(p);
    if (!*why) *why = refuse_inbox(runtime, p);
    if (*why) return WEIR_EINVAL;
    if (wr_framing_check(&p->framing, why) != 0) return WEIR_EINVAL;
    if (!p->max_message) p->max_message = DEFAULT_MAX_MESSAGE;
    if (!p->close_timeout_ms) p->close_timeout_ms = DEFAULT_CLOSE_TIMEOUT_MS;
    if (!p->outbox.soft_limit) p->outbox.soft_limit = DEFAULT_SOFT_LIMIT;
    if (!p->outbox.soft_limit_ms) p->outbox.soft_limit_ms = DEFAULT_SOFT_LIMIT_MS;
    if (!p->outbox.hard_limit) p->outbox.hard_limit = DEFAULT_HARD_LIMIT;
    if (p->outbox.hard_limit < p->outbox.soft_limit) p->outbox.hard_limit = p->outbox.soft_limit;
    service->conn_size = (uint32_t)(WR_SESSION_OFFSET + p->session_size);
    if (p->inbox) service->conn_size += (uint32_t)wr_inbox_seat_size(p);
    return 0;
}
