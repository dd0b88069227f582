#include "fail.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void to_stderr(const char *sentence)
{
    fprintf(stderr, "weir-bench: %s\n", sentence);
}

static fail_sink current_sink = to_stderr;

void fail_set_sink(fail_sink sink)
{
    current_sink = sink;
}

void fail(const char *format, ...)
{
    char sentence[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    current_sink(sentence);
    exit(1);
}

void fail_system(const char *format, ...)
{
    int error = errno;
    char what[384];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    fail("%s: %s", what, strerror(error));
}

void fail_usage(const char *format, ...)
{
    char sentence[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    to_stderr(sentence);
    exit(2);
}
