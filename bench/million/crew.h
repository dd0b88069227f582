/* The processes of a run and what is said to them. A million connections need two million descriptors, and a process
 * may have far fewer: so there are many servers, which share a port, and many clients.
 *
 * A member is a fork. It and the parent talk through a SOCK_SEQPACKET pair, one whole message a call; a member that
 * fails says why before it exits, and none outlives the parent. */
#ifndef MILLION_CREW_H
#define MILLION_CREW_H

#include <stdbool.h>
#include <stdint.h>

#include "histogram.h"
#include "place.h"

/* What a server has, and has seen. */
struct server_facts {
    uint64_t open;         /* connections, now */
    uint64_t accepted;     /* ever */
    uint64_t closed_by_us; /* on_close with any other reason than the peer's end */
    uint64_t closed_by_peer;
    uint64_t memory; /* bytes that weir has from its allocator */
    uint64_t rss;    /* bytes of the process, in all */
    uint64_t cpu_ns;
    uint64_t fullest, emptiest; /* of a sum over servers: the most and the fewest that one of them has open */
};

/* What a client has, and what its last order came to. */
struct client_facts {
    uint64_t open;
    int error;                /* the system's code for the connect that stopped it; 0: none did */
    bool lost;                /* an answer did not come, or was wrong, on a connection that was thought to be open */
    struct histogram latency; /* of the order: of connects or of round trips */
};

enum word_kind {
    WORD_FAILED, /* from a member: its last words */
    WORD_READY,  /* from a member: it is set up; a server tells its port */
    WORD_FACTS,  /* to a server */
    WORD_CLIMB,  /* to a client: have `count` connections open, beyond those that are */
    WORD_ECHO,   /* to a client: one message there and back on `count` of its connections, spread evenly over all */
    WORD_CLOSE,  /* to a client: close all of them */
};

struct word {
    enum word_kind kind;
    uint64_t count;
    union {
        uint16_t port;
        struct server_facts server;
        struct client_facts client;
        char failure[256];
    };
};

struct member {
    char name[32];
    int id;
    int control;
};

/* member_start: forks a member that runs `body` with `data` at `place`, and returns when it has said WORD_READY. */
void member_start(struct member *member, void (*body)(const void *data), const void *data, const struct place *place,
                  struct word *ready);

/* member_tell sends, member_hear waits for the answer; in between the parent may tell others. */
void member_tell(const struct member *member, const struct word *word);
void member_hear(const struct member *member, struct word *word);

/* crew_end: ends all members and waits for them. Also done at exit. */
void crew_end(void);

/* For members. crew_hear is false when the parent has gone. */
bool crew_hear(struct word *word);
void crew_tell(const struct word *word);

/* The two kinds of members. */
struct server_plan {
    uint16_t port; /* 0: any, for the first one */
    uint32_t connections;
};
void server_body(const void *plan);

struct client_plan {
    uint16_t port;
    uint32_t number; /* of this client: each has source addresses of its own */
    uint32_t connections;
};
void client_body(const void *plan);

#endif
