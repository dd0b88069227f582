#define _GNU_SOURCE /* F_DUPFD_CLOEXEC, SOCK_CLOEXEC */

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "platform/error_map.h"
#include "platform/os.h"

/* The limit is read, then written: two runtimes made at once must not lower what the other has raised. */
static pthread_mutex_t limit_lock = PTHREAD_MUTEX_INITIALIZER;

static uint32_t clamp(rlim_t limit)
{
    return limit >= UINT32_MAX ? UINT32_MAX : (uint32_t)limit; /* RLIM_INFINITY is the largest of all */
}

uint32_t wr_os_descriptor_limit(void)
{
    struct rlimit limit;
    return getrlimit(RLIMIT_NOFILE, &limit) == 0 ? clamp(limit.rlim_cur) : UINT32_MAX;
}

/* raise_limit: the soft limit towards `count`, as far as the hard one lets it. */
static void raise_limit(uint32_t count)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || clamp(limit.rlim_cur) >= count) return;
    limit.rlim_cur = clamp(limit.rlim_max) < count ? limit.rlim_max : count;
    (void)setrlimit(RLIMIT_NOFILE, &limit); /* what it came to is read again by the caller */
}

/* grow_table: the kernel sizes its table by the highest descriptor that was ever open, so opens that one for a moment.
 * The one to copy is a socket because a process in a sandbox that runs this library may surely open those. */
static int grow_table(uint32_t size)
{
    int some = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (some < 0) return wr_error_from_system(errno);
    int highest = fcntl(some, F_DUPFD_CLOEXEC, (int)(size - 1));
    /* EMFILE: the highest one is in use, so the table has that size already. */
    int error = highest < 0 && errno != EMFILE ? wr_error_from_system(errno) : 0;
    if (highest >= 0) (void)close(highest);
    (void)close(some);
    return error;
}

int wr_os_descriptors_reserve(uint32_t count)
{
    pthread_mutex_lock(&limit_lock);
    raise_limit(count);
    uint32_t limit = wr_os_descriptor_limit();
    pthread_mutex_unlock(&limit_lock);

    uint32_t size = count < limit ? count : limit;
    if (size > INT32_MAX) size = INT32_MAX; /* a descriptor is an int */
    int error = size > 0 ? grow_table(size) : 0;
    if (error) return error;
    return size < count ? WEIR_ELIMIT : 0;
}
