/* Shared memory and what is known about each of its 32-bit words: once for 16 bytes that were always read and written
 * together, as most are. */
#include <string.h>

#include "emu.h"

namespace {

enum { READERS_MAX = 6, CHUNK = 16, CHUNK_WORDS = CHUNK / 4 };
enum : uint8_t { FRESH, WHOLE, SPLIT }; /* not looked at yet; the first word is about all four */

struct stamp {
    int16_t agent;
    uint32_t clock;
};

struct alignas(64) word {
    uint8_t valid; /* a bit a byte */
    bool is_in_flight;
    bool is_async; /* written by the async proxy */
    bool is_mbar;
    uint8_t n_readers;
    stamp writer;
    stamp readers[READERS_MAX];
};

enum { BYTES_MAX = EMU_SMEM_BYTES_MAX + 4096 };
alignas(64) unsigned char bytes_of[BYTES_MAX];
word words[BYTES_MAX / CHUNK][CHUNK_WORDS];
uint8_t how[BYTES_MAX / CHUNK];
uint32_t begin, end;

const unsigned char poison =
        0xfe; /* as bf16 or fp32: finite, enormous; NaN would hide behind masks */

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

void become(word *w, uint8_t valid, bool is_in_flight, bool is_async, stamp writer) {
    w->valid = valid;
    w->is_in_flight = is_in_flight;
    w->is_async = is_async;
    w->is_mbar = false;
    w->n_readers = 0;
    w->writer = writer;
}

/* The readers that whoever comes now does not know, and the newcomer. What an engine knows of threads is no fence. */
void add_reader(word *w, const emu_thread *t, stamp reader) {
    int n = 0;
    for (int i = 0; i < w->n_readers; i++)
        if (!emu_knows(t, w->readers[i].agent, w->readers[i].clock) ||
                (is_thread(w->readers[i]) && !is_thread(reader)))
            w->readers[n++] = w->readers[i];
    if (n == READERS_MAX)
        n--; /* an unknown reader forgotten: a race may be missed, none invented */
    w->readers[n++] = reader;
    w->n_readers = (uint8_t)n;
}

void check_readable(const word *w, const emu_thread *t, uint32_t at, bool is_async, emu_site site) {
    if (w->is_mbar) emu_found(site, "shared %u read as data: an mbarrier is there", at);
    if (w->is_in_flight) emu_found(site, "shared %u read while a copy into it is in flight", at);
    if (w->valid != 0xf) emu_found(site, "shared %u read, never written", at);
    if (!emu_knows(t, w->writer.agent, w->writer.clock))
        emu_found(site, "race: shared %u read; the write by agent %d is not known here", at,
                w->writer.agent);
    if (is_async && !w->is_async && !emu_has_fenced(t, w->writer.agent, w->writer.clock))
        emu_found(site,
                "shared %u read by the async proxy; no fence.proxy.async since agent %d wrote", at,
                w->writer.agent);
}

void check_writable(const word *w, const emu_thread *t, uint32_t at, bool is_async, emu_site site) {
    if (w->is_mbar) emu_found(site, "shared %u overwritten: an mbarrier is there", at);
    if (w->is_in_flight)
        emu_found(site, "shared %u overwritten while a copy into it is in flight", at);
    if (w->valid && !emu_knows(t, w->writer.agent, w->writer.clock))
        emu_found(site, "race: shared %u overwritten; the write by agent %d is not known here", at,
                w->writer.agent);
    if (w->valid && is_async && !w->is_async &&
            !emu_has_fenced(t, w->writer.agent, w->writer.clock))
        emu_found(site,
                "shared %u overwritten by the async proxy; no fence.proxy.async since it was "
                "written",
                at);
    for (int i = 0; i < w->n_readers; i++) {
        const stamp reader = w->readers[i];
        if (!emu_knows(t, reader.agent, reader.clock))
            emu_found(site, "race: shared %u overwritten; the read by agent %d is not known here",
                    at, reader.agent);
        if (is_async && is_thread(reader) && !emu_has_fenced(t, reader.agent, reader.clock))
            emu_found(site,
                    "shared %u overwritten by the async proxy; no fence.proxy.async since agent %d "
                    "read",
                    at, reader.agent);
    }
}

int alignment_of(int bytes) {
    return bytes >= CHUNK ? CHUNK : bytes;
}

/* The word that is about the 16 bytes at a place; NULL: each is for itself. */
word *whole_at(uint32_t at) {
    const uint32_t chunk = at / CHUNK;
    if (how[chunk] == SPLIT) return NULL;
    if (how[chunk] == FRESH) {
        become(&words[chunk][0], 0, false, false, {0, 0});
        how[chunk] = WHOLE;
    }
    return &words[chunk][0];
}

/* A word, for itself from now on. */
word *word_at(uint32_t at) {
    const uint32_t chunk = at / CHUNK;
    word *of = words[chunk];
    if (const word *whole = whole_at(at)) {
        for (int i = 1; i < CHUNK_WORDS; i++) of[i] = *whole;
        how[chunk] = SPLIT;
    }
    return &of[at % CHUNK / 4];
}

/* Of each word there, or of all four of 16 bytes as one. */
template <typename WORK> void for_words(uint32_t at, int bytes, const WORK &work) {
    for (uint32_t a = at; a < at + (uint32_t)bytes;) {
        word *whole = bytes % CHUNK == 0 ? whole_at(a) : NULL;
        if (whole) {
            work(whole, a);
            a += CHUNK;
        } else {
            work(word_at(a), a);
            a += 4;
        }
    }
}

/* They are all alike then. */
template <typename CHECK>
void overwrite(uint32_t at, int bytes, const word &like, const CHECK &check) {
    for_words(at, bytes, [&](word *w, uint32_t a) {
        check(w, a);
        become(w, like.valid, like.is_in_flight, like.is_async, like.writer);
        if (bytes % CHUNK == 0 && a % CHUNK == CHUNK - 4) { /* the last of four */
            become(&words[a / CHUNK][0], like.valid, like.is_in_flight, like.is_async, like.writer);
            how[a / CHUNK] = WHOLE;
        }
    });
}

/* Between shared memory and registers: a word or four, mostly. */
void copy_registers(void *to, const void *from, int bytes) {
    if (bytes == 4)
        memcpy(to, from, 4);
    else if (bytes == CHUNK)
        memcpy(to, from, CHUNK);
    else
        memcpy(to, from, (size_t)bytes);
}

void read(uint32_t at, int bytes, void *to, bool is_async, stamp reader, emu_site site) {
    const emu_thread *t = emu_self();
    for_words(at, bytes, [&](word *w, uint32_t a) {
        check_readable(w, t, a, is_async, site);
        add_reader(w, t, reader);
    });
    copy_registers(to, bytes_of + at, bytes);
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
    memset(how + begin / CHUNK, FRESH, ((size_t)bytes + CHUNK - 1) / CHUNK);
}

uint32_t emu_smem_begin() {
    return begin;
}

void emu_read(uint32_t at, int bytes, void *to, emu_site site) {
    check_range(at, bytes, alignment_of(bytes), "read", site);
    const emu_thread *t = emu_self();
    read(at, bytes, to, false, {(int16_t)t->index, t->clock}, site);
}

void emu_write(uint32_t at, int bytes, const void *from, emu_site site) {
    check_range(at, bytes, alignment_of(bytes), "write", site);
    const emu_thread *t = emu_self();
    const word like = {0xf, false, false, false, 0, {(int16_t)t->index, t->clock}, {}};
    overwrite(at, bytes, like,
            [&](const word *w, uint32_t a) { check_writable(w, t, a, false, site); });
    copy_registers(bytes_of + at, from, bytes);
}

void emu_read_async(uint32_t at, int bytes, void *to, uint32_t engine_clock, emu_site site) {
    check_range(at, bytes, alignment_of(bytes), "wgmma operand", site);
    const int engine = emu_engine_agent(emu_self()->index / EMU_GROUP);
    read(at, bytes, to, true, {(int16_t)engine, engine_clock}, site);
}

void emu_copy_begins(uint32_t at, int bytes, bool is_async, emu_site site) {
    check_range(at, bytes, CHUNK, "copy", site);
    const emu_thread *t = emu_self();
    const word like = {0, true, is_async, false, 0, {0, 0}, {}};
    overwrite(at, bytes, like,
            [&](const word *w, uint32_t a) { check_writable(w, t, a, is_async, site); });
    memset(bytes_of + at, poison, (size_t)bytes);
}

void emu_copy_ends(
        uint32_t at, int bytes, const void *from, int agent, uint32_t clock, bool is_async) {
    const word like = {0xf, false, is_async, false, 0, {(int16_t)agent, clock}, {}};
    overwrite(at, bytes, like, [](const word *, uint32_t) {});
    memcpy(bytes_of + at, from, (size_t)bytes);
}

void emu_smem_is_mbar(uint32_t at, emu_site site) {
    check_range(at, 8, 8, "mbarrier", site);
    word_at(at)->is_mbar = word_at(at + 4)->is_mbar = true;
}
