/* Global memory between blocks.
 *
 * Blocks run one after the other here, so what could go wrong on a GPU is only that a block reads
 * what it has no right to know. A ticket publishes the clock of its thread, and that of every
 * ticket it has seen; a thread of another block knows a store if it knows (its own clock, from the
 * moment of the draw) a thread of its block that drew a ticket after the store was published. */
#include <unordered_map>

#include "emu.h"

namespace {

struct doing {
    int thread;
    uint32_t clock;
};
struct owner {
    int64_t launch;
    int64_t block;
    doing write;
};
struct published { /* what a thread knew, and its own clock */
    int64_t block;
    emu_knowledge known;
    doing by;
};
struct draw {
    doing by; /* thread of the running block */
    size_t n_published;
};

std::unordered_map<const void *, owner> owners;
std::vector<published> publications; /* in the order of the tickets */
std::vector<draw> draws;             /* of the running block */
int64_t launch;
int64_t block;

bool knows(const emu_thread *t, const doing &what) {
    return emu_knows(t, what.thread, what.clock);
}

bool knows(const published &p, const doing &what) {
    return (what.thread == p.by.thread ? p.by.clock : p.known.of(what.thread)) >= what.clock;
}

} // namespace

void emu_forget_global() {
    owners.clear();
}

void emu_global_reset() {
    launch++;
    publications.clear();
    draws.clear();
    block = 0;
}

void emu_global_block_ends() {
    draws.clear();
    block++;
}

void emu_global_store(float *to, float value, emu_site site) {
    emu_require_waited("global number written", site);
    const emu_thread *t = emu_self();
    owners[to] = owner{launch, block, {t->index, t->clock}};
    *to = value;
}

float emu_global_load(const float *from, emu_site site) {
    emu_require_waited("global number read", site);
    const emu_thread *t = emu_self();
    const auto found = owners.find(from);
    if (found == owners.end()) emu_found(site, "global number read that no block has written");
    const owner &o = found->second;
    if (o.launch < launch) return *from;
    bool is_right = o.block == block && knows(t, o.write);
    for (const draw &d : draws)
        if (!is_right && knows(t, d.by))
            for (size_t i = 0; i < d.n_published; i++)
                is_right = is_right ||
                           (publications[i].block == o.block && knows(publications[i], o.write));
    if (!is_right)
        emu_found(site,
                "race: global number read; the write by block %lld thread %d is not known here",
                (long long)o.block, o.write.thread);
    return *from;
}

uint32_t emu_global_ticket(uint32_t *counter, emu_site site) {
    emu_require_waited("ticket drawn", site);
    emu_thread *t = emu_self();
    if (!emu_is_wrong(EMU_BUG_TICKET_EARLY, site))
        publications.push_back({block, t->known, {t->index, t->clock}});
    emu_tick(t);
    draws.push_back({{t->index, t->clock}, publications.size()});
    return (*counter)++;
}
