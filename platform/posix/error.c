#define _POSIX_C_SOURCE 200809L /* strerror_r as POSIX has it, not GNU's */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "os_net.h" /* the codes of getaddrinfo */
#include "platform/error_map.h"
#include "platform/os.h"

_Static_assert(EAI_NONAME < 0 && EAI_AGAIN < 0 && EAI_MEMORY < 0, "a code of getaddrinfo is told from an errno");

int wr_error_from_system(int code)
{
    static const struct {
        int code;
        int error;
    } map[] = {
#define ROW(error, posix, winsock, win32) { posix, error },
        WR_ERROR_MAP(ROW)
#undef ROW
    };
    if (code == 0) return 0;
    for (size_t i = 0; i < sizeof map / sizeof *map; i++) {
        if (map[i].code == code) return map[i].error;
    }
    return WEIR_ESYSTEM;
}

void wr_os_error_text(int system_error, char *text, size_t capacity)
{
    if (capacity == 0) return;
    text[0] = 0;
    /* What does not fit is cut by glibc and left out by others: then the number says more than nothing. */
    if (system_error < 0)
        (void)snprintf(text, capacity, "%s", gai_strerror(system_error));
    else
        (void)strerror_r(system_error, text, capacity);
    text[capacity - 1] = 0;
    if (!text[0]) (void)snprintf(text, capacity, "system error %d", system_error);
}
