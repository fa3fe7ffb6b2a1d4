/* What threads know of one another: clocks of agents, joined where they meet. */
#include <string.h>

#include <algorithm>
#include <vector>

#include "emu.h"

emu_known emu_knowledge::nothing;

static std::vector<emu_known *> &spare() {
    static std::vector<emu_known *> *all =
            new std::vector<emu_known *>; /* longer than what is static */
    return *all;
}

void emu_knowledge::give_back(emu_known *known) {
    spare().push_back(known);
}

/* Nobody's yet, and with whatever is in it. */
static emu_known *take() {
    emu_known *known;
    if (spare().empty()) {
        known = new emu_known;
    } else {
        known = spare().back();
        spare().pop_back();
    }
    known->n_owners = 0;
    return known;
}

/* There are as many threads as the block has. */
static void join(uint32_t *__restrict to, const uint32_t *__restrict from) {
    const int n = emu_n_threads();
    for (int i = 0; i < n; i++) to[i] = std::max(to[i], from[i]);
    for (int i = EMU_THREADS_MAX; i < EMU_AGENTS_MAX; i++) to[i] = std::max(to[i], from[i]);
}

void emu_gather_none(emu_gathered *to) {
    if (to->is_some) memset(to->at, 0, sizeof to->at);
    to->is_some = false;
    to->last = emu_knowledge();
}

void emu_gather(emu_gathered *to, const emu_knowledge &known, int index, uint32_t clock) {
    if (known.is_nothing() && clock == 0) return;
    to->is_some = true;
    if (!(known == to->last)) {
        join(to->at, known.at()->at);
        to->last = known;
    }
    to->at[index] = std::max(to->at[index], clock);
}

emu_knowledge emu_share(const emu_gathered &from) {
    if (!from.is_some) return emu_knowledge();
    emu_known *known = take();
    memcpy(known->at, from.at, sizeof known->at);
    return emu_knowledge(known);
}

emu_knowledge emu_joined(const emu_knowledge &a, const emu_knowledge &b) {
    if (a == b || b.is_nothing()) return a;
    if (a.is_nothing()) return b;
    emu_known *known = take();
    memcpy(known->at, a.at()->at, sizeof known->at);
    join(known->at, b.at()->at);
    return emu_knowledge(known);
}

emu_knowledge emu_with(const emu_knowledge &known, int agent, uint32_t clock) {
    if (known.of(agent) == clock) return known;
    emu_known *other = take();
    memcpy(other->at, known.at()->at, sizeof other->at);
    other->at[agent] = clock;
    return emu_knowledge(other);
}
