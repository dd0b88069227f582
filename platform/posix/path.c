#define _POSIX_C_SOURCE 200809L

#include <sys/stat.h>
#include <unistd.h>

#include "platform/os.h"

void wr_os_path_remove(const char *path)
{
    /* Somebody may have put a file of his own in the place of the listener's socket. */
    struct stat file;
    if (lstat(path, &file) == 0 && S_ISSOCK(file.st_mode)) (void)unlink(path);
}
