#include "platform/os.h"

void wr_os_path_remove(const char *path)
{
    (void)path; /* no backend has WR_CAP_UNIX here, so no listener has made a file */
}
