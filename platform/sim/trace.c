/* What has happened: a hash always, text on demand. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "platform/sim/sim.h"

/* FNV-1a (G. Fowler, L. C. Noll, K.-P. Vo), over words of 64 bits with a rotation in place of its bytes. */
static uint64_t mix(uint64_t sum, uint64_t word)
{
    return wr_random_rotate((sum ^ word) * UINT64_C(0x100000001b3), 23);
}

uint64_t wr_sim_sum(uint64_t sum, const void *bytes, size_t size)
{
    const uint8_t *at = bytes;
    sum ^= UINT64_C(0xcbf29ce484222325);
    for (; size >= 8; size -= 8, at += 8) {
        uint64_t word = 0;
        for (int i = 0; i < 8; i++) word |= (uint64_t)at[i] << 8 * i; /* the same on every byte order */
        sum = mix(sum, word);
    }
    for (; size > 0; size--) sum = mix(sum, *at++);
    return sum;
}

static const char *const fault_names[WR_FAULTS] = { "partial",
                                                    "loss",
                                                    "reset",
                                                    "refuse",
                                                    "EMFILE",
                                                    "ENOBUFS",
                                                    "ENOMEM",
                                                    "a datagram is lost",
                                                    "a datagram comes twice",
                                                    "a datagram comes late",
                                                    "resolve" };

typedef struct wr_note_words {
    const char *verb; /* NULL: not in the text */
    const char *unit; /* of the number; NULL: not said. Of a datagram: what leads to the peer */
} wr_note_words;

static const wr_note_words words[] = {
    [WR_NOTE_LISTEN] = { "listens", NULL },
    [WR_NOTE_CONNECT] = { "connects", NULL },
    [WR_NOTE_REFUSED] = { "is refused", NULL },
    [WR_NOTE_CONNECTED] = { "is connected", NULL },
    [WR_NOTE_UNREACHED] = { "tries to connect again", NULL },
    [WR_NOTE_ACCEPT] = { "is accepted", NULL },
    [WR_NOTE_SEND] = { "sends", "bytes" },
    [WR_NOTE_ARRIVE] = { "gets", "bytes" },
    [WR_NOTE_READ] = { "reads", "bytes" },
    [WR_NOTE_FIN] = { "sends FIN", NULL },
    [WR_NOTE_END] = { "gets FIN", NULL },
    [WR_NOTE_RESET] = { "is reset", NULL },
    [WR_NOTE_LOST] = { "misses a reset: cut", NULL },
    [WR_NOTE_HELD] = { "waits for the cut to heal", NULL },
    [WR_NOTE_CLOSE] = { "closes", NULL },
    [WR_NOTE_ABORT] = { "closes with a reset", NULL },
    [WR_NOTE_FAULT] = { "fault:", NULL },
    [WR_NOTE_CUT] = { NULL, NULL }, /* they tell of hosts */
    [WR_NOTE_HEAL] = { NULL, NULL },
    [WR_NOTE_STEP] = { NULL, NULL },
    [WR_NOTE_OPEN] = { "opens", NULL },
    [WR_NOTE_SEND_TO] = { "sends", "to" }, /* a datagram, to or from somebody */
    [WR_NOTE_DATAGRAM] = { "gets", "from" },
    [WR_NOTE_READ_MAIL] = { "reads", "datagrams" },
    [WR_NOTE_OVERFLOW] = { "has no room for", "from" },
    [WR_NOTE_NOBODY] = { "network: nobody takes", "to" },
    [WR_NOTE_CUT_OFF] = { "network: a cut swallows", "to" },
};

static void format_end(const wr_addr *addr, char *text, size_t capacity)
{
    char ip[WR_IP_TEXT_MAX];
    wr_os_ip_format(addr, ip);
    if (addr->family == WR_FAMILY_UNIX)
        (void)snprintf(text, capacity, "unix");
    else if (addr->family == WR_FAMILY_IPV6)
        (void)snprintf(text, capacity, "[%s]:%u", ip, addr->port);
    else
        (void)snprintf(text, capacity, "%s:%u", ip, addr->port);
}

static void tell_line(wr_sim *sim, const char *what)
{
    char line[400];
    (void)snprintf(line, sizeof line, "%" PRIu64 ".%09" PRIu64 " %s", sim->now_ns / 1000000000,
                   sim->now_ns % 1000000000, what);
    sim->options.trace(line, sim->options.trace_data);
}

enum { WHO_SIZE = 2 * WR_IP_TEXT_MAX + 40 };

static void format_file(const wr_sim_file *file, char *text)
{
    char local[WR_IP_TEXT_MAX + 8], remote[WR_IP_TEXT_MAX + 8];
    text[0] = 0;
    if (!file) return;
    format_end(&file->local, local, sizeof local);
    format_end(&file->remote, remote, sizeof remote);
    if (file->kind == WR_FILE_LISTENER || file->kind == WR_FILE_DATAGRAM)
        (void)snprintf(text, WHO_SIZE, "#%" PRIu32 " %s ", file->number, local);
    else
        (void)snprintf(text, WHO_SIZE, "#%" PRIu32 " %s (to %s) ", file->number, local, remote);
}

static void tell(wr_sim *sim, enum wr_sim_note note, const wr_sim_file *file, uint64_t number)
{
    char line[320], who[WHO_SIZE], what[64] = "";
    format_file(file, who);
    if (note == WR_NOTE_FAULT)
        (void)snprintf(what, sizeof what, " %s", fault_names[number]);
    else if (words[note].unit)
        (void)snprintf(what, sizeof what, " %" PRIu64 " %s", number, words[note].unit);
    (void)snprintf(line, sizeof line, "%s%s%s", who, words[note].verb, what);
    tell_line(sim, line);
}

static void mix_note(wr_sim *sim, enum wr_sim_note note, const wr_sim_file *file, uint64_t number)
{
    uint64_t hash = mix(sim->trace_hash, sim->now_ns);
    hash = mix(hash, (uint64_t)note << 32 | (file ? file->number : 0));
    sim->trace_hash = mix(hash, number);
}

void wr_sim_note(wr_sim *sim, enum wr_sim_note note, const wr_sim_file *file, uint64_t number)
{
    mix_note(sim, note, file, number);
    if (sim->options.trace && words[note].verb) tell(sim, note, file, number);
}

void wr_sim_note_datagram(wr_sim *sim, enum wr_sim_note note, const wr_sim_file *file, uint32_t size,
                          const wr_addr *peer)
{
    mix_note(sim, note, file, wr_sim_sum((uint64_t)size << 16 | peer->port, peer->ip, sizeof peer->ip));
    if (!sim->options.trace) return;
    char line[320], who[WHO_SIZE], end[WR_IP_TEXT_MAX + 8];
    format_file(file, who);
    format_end(peer, end, sizeof end);
    (void)snprintf(line, sizeof line, "%s%s %" PRIu32 " bytes %s %s", who, words[note].verb, size, words[note].unit,
                   end);
    tell_line(sim, line);
}

void wr_sim_note_cut(wr_sim *sim, enum wr_sim_note note, const wr_addr *a, const wr_addr *b)
{
    uint64_t hosts = a ? wr_sim_sum(a->family, a->ip, sizeof a->ip) : 0;
    if (b) hosts = wr_sim_sum(hosts ^ b->family, b->ip, sizeof b->ip);
    wr_sim_note(sim, note, NULL, hosts);
    if (!sim->options.trace) return;
    char line[2 * WR_IP_TEXT_MAX + 40], one[WR_IP_TEXT_MAX] = "everybody", other[WR_IP_TEXT_MAX] = "all others";
    if (a) wr_os_ip_format(a, one);
    if (b) wr_os_ip_format(b, other);
    (void)snprintf(line, sizeof line, "network: %s and %s %s", one, other,
                   note == WR_NOTE_CUT ? "are cut" : "are healed");
    tell_line(sim, line);
}

uint64_t wr_sim_trace_hash(const wr_sim *sim)
{
    return sim->trace_hash;
}
