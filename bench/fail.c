#include "fail.h"

#include <stdarg.h>
#include <stdlib.h>

#include "error.h"

enum { SENTENCE_MAX = 512, WHAT_MAX = 256 };

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
    char sentence[SENTENCE_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    current_sink(sentence);
    exit(1);
}

void fail_code(int code, const char *format, ...)
{
    char what[WHAT_MAX], words[WHAT_MAX - 8];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    error_text(code, words, sizeof words);
    fail("%s: %s", what, words);
}

void fail_system(const char *format, ...)
{
    int code = error_last();
    char what[WHAT_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    fail_code(code, "%s", what);
}

void fail_usage(const char *format, ...)
{
    char sentence[SENTENCE_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    to_stderr(sentence);
    exit(2);
}
