/* Copies into shared memory that take their time: cp.async, and bulk copies counted by mbarriers.
 *
 * cp.async happens at its wait. A bulk copy happens when nobody else can go on, or at random; in random orders one in 16
 * is so late that others which were asked for behind it are done with. */
#include <stdio.h>
#include <string.h>

#include <algorithm>

#include "emu.h"

namespace {

enum { COUNT_MAX = (1 << 20) - 1 }; /* arrivals, and bytes */

struct mbar {
    uint32_t at;
    int expected;
    int pending;
    int64_t tx;
    uint32_t phase;
    emu_gathered known; /* of everyone who arrived */
    emu_gathered fenced;
    bool is_shared; /* since the last arrival: */
    emu_knowledge told, told_fenced;
    struct
    { /* lanes come with the same knowledge, and go with it: what the last one came and went with */
        emu_knowledge before, after, before_fenced, after_fenced;
    } last;
    int init_thread; /* others must know */
    uint32_t init_clock;
    bool is_fenced; /* fence.mbarrier_init since */
    struct {
        int64_t phase; /* the last that the thread has itself waited for, -2: none */
        uint32_t n_met;
    } waited[EMU_THREADS_MAX];
    struct waiter {
        int thread;
        uint32_t parity;
    };
    std::vector<waiter> waiters;
};

struct bulk {
    uint32_t to;
    const void *from;
    int bytes;
    int bar;
    uint32_t phase;
    bool is_late; /* until nobody else can go on */
};

std::vector<mbar> mbars;
std::vector<bulk> in_flight;
int64_t n_bytes;

int find(uint32_t at, emu_site site) {
    for (size_t i = 0; i < mbars.size(); i++) {
        if (mbars[i].at != at) continue;
        const emu_thread *t = emu_self();
        if (!emu_knows(t, mbars[i].init_thread, mbars[i].init_clock))
            emu_found(site, "race: mbarrier %u used; its initialisation is not known here", at);
        return (int)i;
    }
    emu_found(site, "no mbarrier at shared %u", at);
}

bool is_passed(const mbar &b, uint32_t parity) {
    return (b.phase & 1) != parity;
}

void acquire(emu_thread *t, int bar) {
    mbar &b = mbars[(size_t)bar];
    auto &last = b.last;
    if (!b.is_shared) {
        b.told = emu_share(b.known);
        b.told_fenced = emu_share(b.fenced);
        b.is_shared = true;
        b.last.before = b.last.after = b.told; /* with what nobody comes with */
        last.before_fenced = last.after_fenced = b.told_fenced;
    }
    if (!(last.before == t->known) || last.after.of(emu_mbar_agent(bar)) != b.phase) {
        last.before = t->known;
        last.after = emu_with(emu_joined(t->known, b.told), emu_mbar_agent(bar), b.phase);
    }
    if (!(last.before_fenced == t->fenced)) {
        last.before_fenced = t->fenced;
        last.after_fenced = emu_joined(t->fenced, b.told_fenced);
    }
    t->known = last.after;
    t->fenced = last.after_fenced;
}

void end_phase_if_complete(int bar) {
    mbar &b = mbars[(size_t)bar];
    if (b.pending != 0 || b.tx != 0) return;
    b.phase++;
    b.pending = b.expected;
    const std::vector<mbar::waiter> waiters = b.waiters;
    b.waiters.clear();
    for (const auto &w : waiters)
        if (is_passed(b, w.parity))
            emu_wake(w.thread);
        else
            b.waiters.push_back(w);
}

void complete(size_t index) {
    const bulk copy = in_flight[index];
    in_flight.erase(in_flight.begin() + (long)index);
    mbar &b = mbars[(size_t)copy.bar];
    if (b.phase != copy.phase)
        emu_found(emu_site{"", 0}, "a bulk copy ends in phase %u of mbarrier %u, was issued in %u",
                b.phase, b.at, copy.phase);
    emu_copy_ends(copy.to, copy.bytes, copy.from, emu_mbar_agent(copy.bar), copy.phase + 1, true);
    b.tx -= copy.bytes;
    end_phase_if_complete(copy.bar);
}

} // namespace

void emu_copies_reset() {
    mbars.clear();
    in_flight.clear();
}

int64_t emu_bytes_copied() {
    return n_bytes;
}

void emu_count_copied(int64_t bytes) {
    n_bytes += bytes;
}

void emu_copies_report() {
    for (const mbar &b : mbars)
        fprintf(stderr, "  mbarrier %u: phase %u, %d of %d arrivals to come, %lld bytes to come\n",
                b.at, b.phase, b.pending, b.expected, (long long)b.tx);
}

void emu_copies_block_ends() {
    if (!in_flight.empty()) emu_found(emu_site{"", 0}, "the block ends with bulk copies in flight");
}

/* ---- cp.async -------------------------------------------------------------------------------- */

void emu_cp_async(uint32_t to, const void *from, int src_bytes, emu_site site) {
    if (emu_is_wrong(EMU_BUG_COPY_MISSING, site)) return;
    if ((uintptr_t)from % 16) emu_found(site, "cp.async from %p: not aligned to 16 bytes", from);
    if (src_bytes != 0 && src_bytes != 16) emu_found(site, "cp.async of %d bytes", src_bytes);
    if (src_bytes == 0 && emu_is_wrong(EMU_BUG_ZERO_FILL_MISSING, site)) src_bytes = 16;
    n_bytes += src_bytes;
    emu_copy_begins(to, 16, false, site);
    emu_thread *t = emu_self();
    t->copies.push_back({to, t->open_group, from, src_bytes});
}

void emu_cp_async_commit(emu_site site) {
    if (emu_is_wrong(EMU_BUG_COMMIT_MISSING, site)) return;
    emu_self()->open_group++;
}

void emu_cp_async_wait(int n, emu_site site) {
    emu_thread *t = emu_self();
    if (emu_is_wrong(EMU_BUG_WAIT_MISSING, site)) return;
    if (emu_is_wrong(EMU_BUG_WAIT_WEAK, site)) n++;
    size_t n_done = 0;
    for (const emu_copy &copy : t->copies) {
        if (copy.group + (uint32_t)n >= t->open_group) break;
        unsigned char data[16] = {0};
        if (copy.src_bytes) memcpy(data, copy.from, (size_t)copy.src_bytes);
        emu_copy_ends(copy.to, 16, data, t->index, t->clock, false);
        n_done++;
    }
    t->copies.erase(t->copies.begin(), t->copies.begin() + (long)n_done);
}

/* ---- mbarriers ------------------------------------------------------------------------------- */

void emu_mbar_init(uint32_t bar, int count, emu_site site) {
    if (count < 1 || count > COUNT_MAX) emu_found(site, "an mbarrier for %d arrivals", count);
    emu_smem_is_mbar(bar, site);
    const emu_thread *t = emu_self();
    mbar b = {};
    b.at = bar;
    b.expected = b.pending = count;
    b.init_thread = t->index;
    b.init_clock = t->clock;
    for (auto &waited : b.waited) waited.phase = -2;
    if (mbars.size() == EMU_MBARS_MAX) emu_found(site, "more than %d mbarriers", EMU_MBARS_MAX);
    mbars.push_back(b);
}

void emu_fence_mbar_init(emu_site site) {
    if (emu_is_wrong(EMU_BUG_FENCE_MISSING, site)) return;
    for (mbar &b : mbars)
        if (b.init_thread == emu_self()->index) b.is_fenced = true;
}

static void arrive_once(int bar, int bytes, emu_site site) {
    mbar &b = mbars[(size_t)bar];
    emu_thread *t = emu_self();
    emu_gather(&b.known, t->known, t->index, t->clock);
    emu_gather(&b.fenced, t->fenced, t->index, t->fenced_clock);
    b.is_shared = false;
    emu_tick(t);
    b.tx += bytes;
    if (b.tx > COUNT_MAX)
        emu_found(site, "mbarrier %u: %lld bytes expected in a phase", b.at, (long long)b.tx);
    if (b.pending == 0)
        emu_found(site, "mbarrier %u: more than %d arrivals in a phase", b.at, b.expected);
    b.pending--;
    end_phase_if_complete(bar);
}

void emu_mbar_arrive(uint32_t at, int bytes, emu_site site) {
    const int bar = find(at, site);
    if (emu_is_wrong(EMU_BUG_ARRIVE_MISSING, site)) return;
    if (bytes && emu_is_wrong(EMU_BUG_BYTES_SHORT, site)) bytes -= 16;
    if (emu_is_wrong(EMU_BUG_ARRIVE_TWICE, site)) arrive_once(bar, 0, site);
    arrive_once(bar, bytes, site);
}

/* A parity names a phase to who knows, before it asks, that the one before is over: of the phases that the thread
 * knows to be over, by its own waits and by what others have told it, the next one, or the last. It must not have waited
 * for that already, and must see it before the next one is over as well, which a barrier answers with no. */
static int64_t phase_meant(const mbar &b, int bar, uint32_t parity, emu_site site) {
    const emu_thread *t = emu_self();
    const int64_t n_known = t->known.of(emu_mbar_agent(bar));
    const int64_t phase = (n_known & 1) == parity ? n_known : n_known - 1;
    if (b.waited[t->index].phase == phase)
        emu_found(site,
                "mbarrier %u: phase %lld, for which this thread has waited, or the next but one?",
                b.at, (long long)phase);
    return phase;
}

static void check_in_time(const mbar &b, int64_t phase, emu_site site) {
    if (b.phase > phase + 1)
        emu_found(site, "mbarrier %u: a wait for phase %lld, when %u are over", b.at,
                (long long)phase, b.phase);
}

/* Lanes may come apart wherever nothing makes them meet: those that wait at all have seen the last phase that this one
 * has seen, and it knows. */
static void check_lanes(const mbar &b, emu_site site) {
    const emu_thread *t = emu_self();
    const auto &mine = b.waited[t->index];
    for (int i = t->index / EMU_WARP * EMU_WARP; i < (t->index / EMU_WARP + 1) * EMU_WARP; i++) {
        const auto &other = b.waited[i];
        if (i == t->index || mine.phase == -2 || other.phase == -2 || other.phase > mine.phase)
            continue;
        if (other.phase < mine.phase || other.n_met >= t->n_met)
            emu_found(site, "mbarrier %u: a wait, and thread %d may not have seen phase %lld yet",
                    b.at, i, (long long)mine.phase);
    }
}

void emu_mbar_wait(uint32_t at, uint32_t parity, emu_site site) {
    const int bar = find(at, site);
    if (emu_is_wrong(EMU_BUG_WAIT_MISSING, site)) return;
    if (emu_is_wrong(EMU_BUG_PARITY_WRONG, site)) parity ^= 1;
    mbar &b = mbars[(size_t)bar];
    const int64_t phase = phase_meant(b, bar, parity, site);
    check_in_time(b, phase, site);
    check_lanes(b, site);
    if (!is_passed(b, parity)) {
        b.waiters.push_back({emu_self()->index, parity});
        emu_park("mbarrier wait", site);
        check_in_time(b, phase, site);
    }
    acquire(emu_self(), bar);
    b.waited[emu_self()->index] = {phase, emu_self()->n_met};
}

void emu_bulk_load(uint32_t to, const void *from, int bytes, uint32_t at, emu_site site) {
    const int bar = find(at, site);
    if (!mbars[(size_t)bar].is_fenced)
        emu_found(site, "bulk copy counted by mbarrier %u; no fence since its initialisation", at);
    if (bytes <= 0 || bytes % 16 || (uintptr_t)from % 16)
        emu_found(site, "bulk copy of %d bytes from %p", bytes, from);
    if (emu_is_wrong(EMU_BUG_COPY_MISSING, site)) return;
    n_bytes += bytes;
    emu_copy_begins(to, bytes, true, site);
    const bool is_late = emu_is_random() && emu_random() % 16 == 0;
    in_flight.push_back({to, from, bytes, bar, mbars[(size_t)bar].phase, is_late});
}

bool emu_copy_step(bool is_wanted) {
    if (in_flight.empty()) return false;
    const size_t next = emu_is_random() ? emu_random() % in_flight.size() : 0;
    if (is_wanted || !in_flight[next].is_late) complete(next);
    return true;
}

void emu_fence_async(emu_site site) {
    if (emu_is_wrong(EMU_BUG_FENCE_MISSING, site)) return;
    static struct { /* as of mbarriers, the last one's */
        emu_knowledge fenced, known, both;
    } last;
    emu_thread *t = emu_self();
    if (!(last.fenced == t->fenced && last.known == t->known))
        last = {t->fenced, t->known, emu_joined(t->fenced, t->known)};
    t->fenced = last.both;
    t->fenced_clock = t->clock;
}
