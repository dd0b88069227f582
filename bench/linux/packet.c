#include "linux/packet.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/types.h>

bool packet_receive(int fd, void *packet, size_t size)
{
    ssize_t got;
    do {
        got = recv(fd, packet, size, 0);
    } while (got < 0 && errno == EINTR);
    return got == (ssize_t)size;
}

void packet_send(int fd, const void *packet, size_t size)
{
    ssize_t sent = send(fd, packet, size, MSG_NOSIGNAL);
    (void)sent;
}
