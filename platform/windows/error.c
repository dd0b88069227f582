#include "os_net.h" /* the codes of Winsock */

#include <stdio.h>
#include <string.h>

#include "platform/error_map.h"
#include "platform/os.h"

/* The codes of WSAGetLastError and of GetLastError do not overlap, so a number can be of either. An NTSTATUS, which a
 * completion port delivers, is neither: WSAGetOverlappedResult translates it. */
int wr_error_from_system(int code)
{
    static const struct {
        int winsock;
        int win32;
        int error;
    } map[] = {
#define ROW(error, posix, winsock, win32) { winsock, win32, error },
        WR_ERROR_MAP(ROW)
#undef ROW
    };
    if (code == 0) return 0;
    for (size_t i = 0; i < sizeof map / sizeof *map; i++) {
        if (map[i].winsock == code || map[i].win32 == code) return map[i].error;
    }
    return WEIR_ESYSTEM;
}

/* without_end: the system ends its sentences with a full stop and a line end. */
static int without_end(const wchar_t *text, DWORD length)
{
    while (length > 0 && wcschr(L" .\r\n", text[length - 1])) length--;
    return (int)length;
}

void wr_os_error_text(int system_error, char *text, size_t capacity)
{
    if (capacity == 0) return;
    wchar_t wide[256];
    char whole[3 * 256 + 1] = ""; /* a UTF-16 unit takes up to three bytes */
    DWORD flags = FORMAT_MESSAGE_FROM_SYSTEM | FORMAT_MESSAGE_IGNORE_INSERTS;
    DWORD length = FormatMessageW(flags, NULL, (DWORD)system_error, 0, wide, sizeof wide / sizeof *wide, NULL);
    int size = WideCharToMultiByte(CP_UTF8, 0, wide, without_end(wide, length), whole, sizeof whole - 1, NULL, NULL);
    whole[size] = 0;
    if (size == 0) (void)snprintf(whole, sizeof whole, "system error %d", system_error);

    size_t fits = strlen(whole);
    if (fits >= capacity) {
        fits = capacity - 1;
        while (fits > 0 && (whole[fits] & 0xC0) == 0x80) fits--; /* not in the middle of a character */
    }
    memcpy(text, whole, fits);
    text[fits] = 0;
}
