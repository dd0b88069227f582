/* Lines to the embedder's log hook. */
#ifndef WR_LOG_H
#define WR_LOG_H

#include <weir/runtime.h>

/* Functions that take a format are checked by compilers that can. */
#if defined(__GNUC__)
#define WR_PRINTF(text, first) __attribute__((format(printf, text, first)))
#else
#define WR_PRINTF(text, first)
#endif

/* wr_log: one line; cut at 511 bytes. [any] */
void wr_log(const weir_runtime *runtime, weir_log_level level, const char *format, ...) WR_PRINTF(3, 4);

#endif
