/* wr_service: a protocol as the embedder gave it, checked, with its defaults filled in. Of a listener, or of a
 * dialer. */
#ifndef WR_SERVICE_H
#define WR_SERVICE_H

#include <weir/connector.h>

enum {
    WR_SESSION_MAX = 1 << 20,
    WR_MESSAGE_MAX = 256 << 20,
    WR_OUTBOX_MAX = 1 << 30,
    WR_TIMEOUT_MAX = 1 << 30, /* twelve days: connections keep times in 32 bits of milliseconds */
};

typedef struct weir_listener weir_listener;

typedef struct wr_service {
    weir_protocol protocol;
    weir_listener *listener; /* whose connections they are; NULL for those that were opened */
    weir_dialer *dialer;     /* which opened them; NULL for those that were accepted */
    uint32_t conn_size;      /* bytes of each, its session included, and its seat in an inbox */
} wr_service;

/* wr_service_init: for connections of this runtime. WEIR_EINVAL, with `*why` a static sentence. */
int wr_service_init(wr_service *service, const weir_runtime *runtime, const weir_protocol *protocol, const char **why);

#endif
