/* Shared memory and what is known about each of its 32-bit words; global memory between blocks. */
#include <stdio.h>
#include <string.h>

#include <algorithm>
#include <unordered_map>

#include "emu.h"

namespace {

enum { READERS_MAX = 6 };

struct stamp {
    int16_t agent;
    uint32_t clock;
};

struct word {
    uint8_t valid; /* a bit a byte */
    bool is_in_flight;
    bool is_async; /* written by the async proxy */
    bool is_mbar;
    uint8_t n_readers;
    stamp writer;
    stamp readers[READERS_MAX];
};

unsigned char bytes_of[EMU_SMEM_BYTES_MAX + 4096];
word words[(EMU_SMEM_BYTES_MAX + 4096) / 4];
uint32_t begin, end;

const unsigned char poison =
        0xfe; /* as bf16 or fp32: finite, enormous; NaN would hide behind masks */

bool is_known(const emu_clock *clock, stamp s) {
    return clock->at[s.agent] >= s.clock;
}

void check_range(uint32_t at, int bytes, int alignment, const char *what, emu_site site) {
    if (at < begin || at + (uint32_t)bytes > end)
        emu_found(
                site, "%s of %d bytes at shared %u: outside [%u, %u)", what, bytes, at, begin, end);
    if (at % (uint32_t)alignment)
        emu_found(site, "%s at shared %u: not aligned to %d bytes", what, at, alignment);
}

bool is_thread(stamp s) {
    return s.agent < EMU_THREADS_MAX;
}

/* The readers that whoever comes now does not know, and the newcomer. What an engine knows of threads is no fence. */
void add_reader(word *w, const emu_clock *known, stamp reader) {
    int n = 0;
    for (int i = 0; i < w->n_readers; i++)
        if (!is_known(known, w->readers[i]) || (is_thread(w->readers[i]) && !is_thread(reader)))
            w->readers[n++] = w->readers[i];
    if (n == READERS_MAX)
        n--; /* an unknown reader forgotten: a race may be missed, none invented */
    w->readers[n++] = reader;
    w->n_readers = (uint8_t)n;
}

void check_readable(const word *w, uint32_t at, bool is_async, emu_site site) {
    const emu_thread *t = emu_self();
    if (w->is_mbar) emu_found(site, "shared %u read as data: an mbarrier is there", at);
    if (w->is_in_flight) emu_found(site, "shared %u read while a copy into it is in flight", at);
    if (w->valid != 0xf) emu_found(site, "shared %u read, never written", at);
    if (!is_known(&t->clock, w->writer))
        emu_found(site, "race: shared %u read; the write by agent %d is not known here", at,
                w->writer.agent);
    if (is_async && !w->is_async && !is_known(&t->fenced, w->writer))
        emu_found(site,
                "shared %u read by the async proxy; no fence.proxy.async since agent %d wrote", at,
                w->writer.agent);
}

void check_writable(const word *w, uint32_t at, bool is_async, emu_site site) {
    const emu_thread *t = emu_self();
    if (w->is_mbar) emu_found(site, "shared %u overwritten: an mbarrier is there", at);
    if (w->is_in_flight)
        emu_found(site, "shared %u overwritten while a copy into it is in flight", at);
    if (w->valid && !is_known(&t->clock, w->writer))
        emu_found(site, "race: shared %u overwritten; the write by agent %d is not known here", at,
                w->writer.agent);
    if (w->valid && is_async && !w->is_async && !is_known(&t->fenced, w->writer))
        emu_found(site,
                "shared %u overwritten by the async proxy; no fence.proxy.async since it was "
                "written",
                at);
    for (int i = 0; i < w->n_readers; i++) {
        if (!is_known(&t->clock, w->readers[i]))
            emu_found(site, "race: shared %u overwritten; the read by agent %d is not known here",
                    at, w->readers[i].agent);
        if (is_async && is_thread(w->readers[i]) && !is_known(&t->fenced, w->readers[i]))
            emu_found(site,
                    "shared %u overwritten by the async proxy; no fence.proxy.async since agent %d "
                    "read",
                    at, w->readers[i].agent);
    }
}

int alignment_of(int bytes) {
    return bytes >= 16 ? 16 : bytes;
}

} // namespace

void emu_smem_reset(int bytes) {
    /* Any multiple of 16 that is none of 1024, and room for what rounding up takes. */
    begin = emu_is_random() ? 16u * (uint32_t)(1 + emu_random() % 63) : 1008;
    end = begin + (uint32_t)bytes;
    if (bytes > EMU_SMEM_BYTES_MAX)
        emu_found(emu_site{"", 0}, "%d bytes of shared memory; there are %d", bytes,
                (int)EMU_SMEM_BYTES_MAX);
    /* What is beyond is never looked at: it was found out above, or is by check_range. */
    memset(bytes_of + begin, poison, (size_t)bytes);
    memset(words + begin / 4, 0, ((size_t)bytes + 3) / 4 * sizeof *words);
}

uint32_t emu_smem_begin() {
    return begin;
}

void emu_read(uint32_t at, int bytes, void *to, emu_site site) {
    check_range(at, bytes, alignment_of(bytes), "read", site);
    const emu_thread *t = emu_self();
    for (uint32_t a = at; a < at + (uint32_t)bytes; a += 4) {
        word *w = &words[a / 4];
        check_readable(w, a, false, site);
        add_reader(w, &t->clock, stamp{(int16_t)t->index, t->clock.at[t->index]});
    }
    memcpy(to, bytes_of + at, (size_t)bytes);
}

void emu_write(uint32_t at, int bytes, const void *from, emu_site site) {
    check_range(at, bytes, alignment_of(bytes), "write", site);
    const emu_thread *t = emu_self();
    for (uint32_t a = at; a < at + (uint32_t)bytes; a += 4) {
        word *w = &words[a / 4];
        check_writable(w, a, false, site);
        *w = word{0xf, false, false, false, 0, {(int16_t)t->index, t->clock.at[t->index]}, {}};
    }
    memcpy(bytes_of + at, from, (size_t)bytes);
}

void emu_read_async(uint32_t at, int bytes, void *to, uint32_t engine_clock, emu_site site) {
    check_range(at, bytes, alignment_of(bytes), "wgmma operand", site);
    const emu_thread *t = emu_self();
    for (uint32_t a = at; a < at + (uint32_t)bytes; a += 4) {
        word *w = &words[a / 4];
        check_readable(w, a, true, site);
        add_reader(
                w, &t->clock, stamp{(int16_t)emu_engine_agent(t->index / EMU_GROUP), engine_clock});
    }
    memcpy(to, bytes_of + at, (size_t)bytes);
}

void emu_copy_begins(uint32_t at, int bytes, bool is_async, emu_site site) {
    check_range(at, bytes, 16, "copy", site);
    for (uint32_t a = at; a < at + (uint32_t)bytes; a += 4) {
        check_writable(&words[a / 4], a, is_async, site);
        words[a / 4] = word{0, true, is_async, false, 0, {0, 0}, {}};
    }
    memset(bytes_of + at, poison, (size_t)bytes);
}

void emu_copy_ends(
        uint32_t at, int bytes, const void *from, int agent, uint32_t clock, bool is_async) {
    for (uint32_t a = at; a < at + (uint32_t)bytes; a += 4)
        words[a / 4] = word{0xf, false, is_async, false, 0, {(int16_t)agent, clock}, {}};
    memcpy(bytes_of + at, from, (size_t)bytes);
}

void emu_smem_is_mbar(uint32_t at, emu_site site) {
    check_range(at, 8, 8, "mbarrier", site);
    words[at / 4].is_mbar = words[at / 4 + 1].is_mbar = true;
}

/* ---- between blocks --------------------------------------------------------------------------- *
 *
 * Blocks run one after the other here, so what could go wrong on a GPU is only that a block reads
 * what it has no right to know. A ticket publishes the clock of its thread, and that of every
 * ticket it has seen; a thread of another block knows a store if it knows (its own clock, from the
 * moment of the draw) a thread of its block that drew a ticket after the store was published. */

namespace {

struct owner {
    int64_t block;
    stamp writer;
};
struct published {
    int64_t block;
    emu_clock clock;
};
struct draw {
    stamp by; /* thread of the running block */
    size_t n_published;
};

std::unordered_map<const void *, owner> owners;
std::vector<published> publications; /* in the order of the tickets */
std::vector<draw> draws;             /* of the running block */
int64_t block;

} // namespace

void emu_forget_global() {
    owners.clear();
}

void emu_global_reset() {
    for (auto &o : owners) o.second.block = -1;
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
    owners[to] = owner{block, {(int16_t)t->index, t->clock.at[t->index]}};
    *to = value;
}

float emu_global_load(const float *from, emu_site site) {
    emu_require_waited("global number read", site);
    const emu_thread *t = emu_self();
    const auto found = owners.find(from);
    if (found == owners.end()) emu_found(site, "global number read that no block has written");
    const owner &o = found->second;
    if (o.block < 0) return *from;
    bool is_right = o.block == block && is_known(&t->clock, o.writer);
    for (const draw &d : draws)
        if (!is_right && is_known(&t->clock, d.by))
            for (size_t i = 0; i < d.n_published; i++)
                is_right = is_right || (publications[i].block == o.block &&
                                               is_known(&publications[i].clock, o.writer));
    if (!is_right)
        emu_found(site,
                "race: global number read; the write by block %lld thread %d is not known here",
                (long long)o.block, o.writer.agent);
    return *from;
}

uint32_t emu_global_ticket(uint32_t *counter, emu_site site) {
    emu_require_waited("ticket drawn", site);
    emu_thread *t = emu_self();
    if (!emu_is_wrong(EMU_BUG_TICKET_EARLY, site)) publications.push_back({block, t->clock});
    emu_tick(t);
    draws.push_back({{(int16_t)t->index, t->clock.at[t->index]}, publications.size()});
    return (*counter)++;
}
