#include "error.h"

#include <windows.h>

#include <stdio.h>
#include <string.h>

int error_last(void)
{
    return (int)GetLastError(); /* WSAGetLastError is the same */
}

void error_text(int code, char *text, size_t size)
{
    char words[256] = "";
    DWORD flags = FORMAT_MESSAGE_FROM_SYSTEM | FORMAT_MESSAGE_IGNORE_INSERTS;
    DWORD length = FormatMessageA(flags, NULL, (DWORD)code, 0, words, sizeof words, NULL);
    while (length > 0 && strchr(" .\r\n", words[length - 1])) words[--length] = '\0';
    snprintf(text, size, "%s%serror %d", words, length > 0 ? ", " : "", code);
}
