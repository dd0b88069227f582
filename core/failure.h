/* What went wrong, for the embedder who asked to know (weir_failure). */
#ifndef WR_FAILURE_H
#define WR_FAILURE_H

#include <weir/address.h>

#include "platform/cq.h"

typedef struct wr_failure {
    weir_failure *out; /* may be NULL */
    const char *what;  /* "listen", "connect" */
    const char *address;
} wr_failure;

/* wr_failure_begin: clears `out`. */
wr_failure wr_failure_begin(weir_failure *out, const char *what, const char *address);

/* wr_failure_option: refused before the system was asked, with a sentence that says why. Returns `error`. */
int wr_failure_option(wr_failure *failure, int error, const char *why);

/* wr_failure_system: the system refused at `step`. Returns `error`. */
int wr_failure_system(wr_failure *failure, int error, enum wr_step step, int system_error);

/* wr_failure_ended: an attempt to connect, or the connection, has ended at `step`; system_error may be 0. */
void wr_failure_ended(const wr_failure *failure, weir_step step, int error, int system_error);

#endif
