#include "error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

int error_last(void)
{
    return errno;
}

void error_text(int code, char *text, size_t size)
{
    snprintf(text, size, "%s", strerror(code));
}
