/* The floor's room: its members in an array, and to send to all of them is a loop of send(). */
#define _GNU_SOURCE
#include <stdlib.h>

#include "peers/floor_linux/floor.h"

static int *members; /* descriptors; conns[fd].place says where in here */
static unsigned member_count;
static uint8_t *packet;
static uint64_t packets;

static void join(struct floor_server *server, int fd)
{
    static const uint8_t joined = BROADCAST_JOINED;
    floor_watch(server, fd);
    server->conns[fd].place = member_count;
    members[member_count++] = fd;
    floor_send(server, fd, &joined, 1);
}

static void leave(struct floor_server *server, int fd)
{
    unsigned place = server->conns[fd].place;
    members[place] = members[--member_count];
    server->conns[members[place]].place = place;
}

/* From the last one on: the one that a failed send takes out of the array is replaced by one that has the packet. */
static void tell_all(struct floor_server *server)
{
    broadcast_fill(packet, server->job->size, ++packets);
    for (unsigned i = member_count; i-- > 0;) floor_send(server, members[i], packet, server->job->size);
}

static void commanded(struct floor_server *server, int fd, uint32_t events)
{
    (void)events;
    size_t commands = floor_receive(server, fd);
    for (size_t i = 0; i < commands; i++) tell_all(server);
}

void floor_serve_broadcast(const struct job *job)
{
    static const struct floor_kind room = { join, commanded, leave };
    members = calloc(job_descriptors(job), sizeof members[0]);
    packet = malloc(job->size);
    if (!members || !packet) fail("out of memory");
    floor_serve(job, &room, 1);
}
