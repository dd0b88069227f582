/* The errors of the system. linux/ and windows/ implement this page. */
#ifndef BENCH_ERROR_H
#define BENCH_ERROR_H

#include <stddef.h>

/* error_last: the code of what failed last on this thread. */
int error_last(void);

/* error_text: the system's words for a code. */
void error_text(int code, char *text, size_t size);

#endif
