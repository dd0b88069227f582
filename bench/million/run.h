/* A run: how it is laid out, how high it went, and what was seen there. */
#ifndef MILLION_RUN_H
#define MILLION_RUN_H

#include <stdio.h>

#include "million/crew.h"

enum { SERVERS_MAX = 250, CLIENTS_MAX = 250, POINTS = 10 };

/* What /proc/meminfo tells of the whole machine, in bytes. */
struct system_facts {
    uint64_t free; /* and what files take that could be dropped: "MemAvailable" counts the inodes of sockets as such */
    uint64_t slab;
};

/* A stretch of the climb, by its end. */
struct point {
    uint64_t held;
    double accepts_s;
    double cpu_us; /* of a server, for each accept of the stretch */
    uint64_t rss;  /* of all servers */
    uint64_t free;
};

struct run {
    uint64_t wanted, held;
    uint64_t most_a_server, most_a_client;
    unsigned servers_count, clients_count;
    struct member servers[SERVERS_MAX], clients[CLIENTS_MAX];
    struct place server_place, client_place;
    uint16_t port;
    char stopped_by[160]; /* empty: nothing did */
    struct histogram connects, sample, sweep;
    struct system_facts before, high, after;
    struct server_facts servers_before, servers_high, servers_swept, servers_after;
    uint64_t climb_ns, sweep_ns, close_ns;
    struct point points[POINTS + 1];
    unsigned points_count;
};

/* report.c */
void report_header(const struct run *run);
void report_point(const struct point *point);
void report_end(const struct run *run);
void report_json(const struct run *run, FILE *file);

#endif
