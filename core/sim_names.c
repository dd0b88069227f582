/* Names of hosts in the simulator. They are the embedder's, so malloc has them, and no fault of the world's strikes
 * them. */
#include <stdlib.h>
#include <string.h>

#include "core/resolver.h"
#include "core/sim.h"

struct wr_sim_name {
    wr_sim_name *next;
    unsigned count;
    wr_addr addresses[WR_LOOKUP_ADDRESSES];
    char text[WR_NAME_MAX + 1];
};

void wr_sim_names_free(weir_sim *sim)
{
    for (wr_sim_name *name; (name = sim->names);) {
        sim->names = name->next;
        free(name);
    }
}

static wr_sim_name **find(weir_sim *sim, const char *text)
{
    wr_sim_name **link = &sim->names;
    while (*link && strcmp((*link)->text, text) != 0) link = &(*link)->next;
    return link;
}

static bool parse_addresses(wr_sim_name *name, const char *text)
{
    for (text += strspn(text, " "); *text; text += strspn(text, " ")) {
        size_t length = strcspn(text, " ");
        if (name->count == WR_LOOKUP_ADDRESSES) return false;
        if (!wr_os_ip_parse(text, length, &name->addresses[name->count++])) return false;
        text += length;
    }
    return name->count > 0;
}

int weir_sim_name(weir_sim *sim, const char *name, const char *addresses)
{
    if (!name || !*name || strlen(name) > WR_NAME_MAX) return WEIR_EINVAL;
    wr_sim_name given = { .count = 0 };
    if (addresses && !parse_addresses(&given, addresses)) return WEIR_EADDRESS;
    memcpy(given.text, name, strlen(name));
    wr_sim_name **link = find(sim, name), *old = *link;
    if (!addresses) {
        if (!old) return 0;
        *link = old->next;
        free(old);
        return 0;
    }
    if (!old && !(old = *link = calloc(1, sizeof *old))) return WEIR_ENOMEM;
    given.next = old->next;
    *old = given;
    return 0;
}

uint32_t wr_sim_resolve_delay_ms(weir_sim *sim)
{
    uint32_t least = sim->options.resolve_ms_min, most = sim->options.resolve_ms_max;
    if (most == 0) most = least;
    uint32_t delay_ms = least + (uint32_t)wr_sim_draw(sim->world, (uint64_t)(most - least) + 1);
    return delay_ms ? delay_ms : 1;
}

int wr_sim_resolve(weir_sim *sim, const char *name, enum wr_family family, wr_addr *out, unsigned capacity)
{
    if (wr_sim_strikes(sim->world, WR_FAULT_RESOLVE)) return WEIR_EAI_AGAIN;
    const wr_sim_name *found = *find(sim, name);
    unsigned count = 0;
    for (unsigned i = 0; found && i < found->count && count < capacity; i++) {
        bool is_wanted = family == WR_FAMILY_NONE || found->addresses[i].family == family;
        if (is_wanted) out[count++] = found->addresses[i];
    }
    return count > 0 ? (int)count : WEIR_EAI_NONAME;
}
