/* mbarriers order a ring of slots that warps, their copies and bulk copies fill and others read: every number that is read
 * is the one of its round.
 *
 * Method: two slots, a warpgroup that fills them, one that reads; all warps of either or one alone, as Hopper's kernels have
 * it. A slot is handed over as they do it, by one lane for its warp, or by each lane, and where it is copied before
 * or behind the copy. Many random schedules. On the emulation, which finds each race, also hand-overs that are races.
 *
 *   test_cuda_barriers_sm90 rings          their names, and whether they are races
 *   test_cuda_barriers_sm90 RING HAND_OVER one of them, once: on a GPU racecheck is tried with each (tests/gpu_races.sh) */
#include "help_cuda_machine.h"

#include "help_cuda.h"

#include <sys/wait.h>
#include <unistd.h>

namespace {

enum {
    WARP = 32,
    GROUP = 128,
    ALL = GROUP / WARP,
    SLOTS = 2,
    WORDS = GROUP,
    ROUNDS = 12,
    FULL_AT = SLOTS * WORDS * 4,
    EMPTY_AT = FULL_AT + SLOTS * 8,
    SMEM_BYTES = EMPTY_AT + SLOTS * 8,
    MEETING = 1 /* named barrier */
};

enum filling { BY_STORES, BY_COPIES, BY_TURNS, BY_ASYNC };
enum reading { A_WORD, A_CHUNK, MATRICES };

struct ring {
    const char *name;
    filling how;
    reading read;
    int n_filling, n_reading; /* warps */
    bool is_tried;            /* with every hand-over */
};
const ring rings[] = {{"words", BY_STORES, A_WORD, ALL, ALL, false},
        {"turns", BY_TURNS, A_WORD, ALL, ALL, false},  /* stores, then bulk copies, and so on */
        {"pages", BY_COPIES, A_CHUNK, 1, ALL, true},   /* as decode's */
        {"queries", BY_ASYNC, MATRICES, 1, ALL, true}, /* as prefill's */
        {"rows", BY_STORES, A_CHUNK, ALL, 1, true}};   /* as prefill's */

enum race { NO_RACE, READ_EARLY, WRITTEN_EARLY, LANES_APART };
struct hand_over {
    const char *name;
    bool is_by_all; /* lanes: or by one for its warp, behind __syncwarp */
    bool is_behind; /* the copy: who copies arrives behind it, or before */
    bool is_met;    /* all meet once a round, besides */
    race has; /* a slot is read, or written, before the wait for it; the __syncwarp is missing */
};
const hand_over hand_overs[] = {{"one", false, false, false, NO_RACE}, /* as shipped */
        {"one,behind", false, true, false, NO_RACE}, {"each", true, false, false, NO_RACE},
        {"each,behind", true, true, false, NO_RACE}, {"one,met", false, false, true, NO_RACE},
        /* No phase of these is missed, so that none hangs. */
        {"one,read-early", false, false, false, READ_EARLY},
        {"one,written-early", false, true, false, WRITTEN_EARLY},
        {"one,apart", false, false, false, LANES_APART},
        {"each,read-early", true, true, false, READ_EARLY},
        {"each,written-early", true, true, false, WRITTEN_EARLY}};

struct ring_args {
    const uint32_t *from; /* [ROUNDS][WORDS] of number() */
    uint32_t *n_wrong;    /* of each thread that reads */
    ring of;
    hand_over by;
};

PTX_DEVICE uint32_t number(int round, int word) {
    return (uint32_t)(round << 8 | word);
}
PTX_DEVICE bool is_copied(filling how, int round) {
    return how == BY_COPIES || (how == BY_TURNS && round / SLOTS % 2 != 0);
}

PTX_DEVICE void write(const ring_args &p, int round, ptx_smem slot, ptx_smem full) {
    const int t = ptx_thread() % GROUP, word = (t + WARP * round) % WORDS;
    if (is_copied(p.of.how, round)) {
        if (t == 0 && !p.by.is_behind) ptx_mbar_arrive_expect(full, WORDS * 4);
        if (t == 0) ptx_bulk_load(slot, p.from + round * WORDS, WORDS * 4, full);
    } else if (p.of.how == BY_ASYNC) {
        ptx_cp_async(slot + (ptx_smem)(t * 16), p.from + round * WORDS + t * 4, 16);
        ptx_cp_async_commit();
        ptx_cp_async_wait<0>();
    } else {
        ptx_sts32(slot + (ptx_smem)(word * 4), number(round, word));
        ptx_fence_async(); /* the next may be a bulk copy */
    }
}

/* By a warp, of what its lanes have read or written. */
PTX_DEVICE void arrive(const hand_over &by, ptx_smem bar) {
    if (by.has != LANES_APART) ptx_syncwarp();
    if (by.is_by_all || ptx_thread() % WARP == 0) ptx_mbar_arrive(bar);
}
PTX_DEVICE void arrive_written(const ring_args &p, int round, ptx_smem full) {
    if (!is_copied(p.of.how, round)) return arrive(p.by, full);
    const int t = ptx_thread() % GROUP;
    if (t == 0 && p.by.is_behind) ptx_mbar_arrive_expect(full, WORDS * 4);
    if (t != 0 && (p.by.is_by_all || t % WARP == 0)) ptx_mbar_arrive(full);
}

/* How many of the numbers that this thread reads are not the round's. Of a chunk a lane, and of matrices, a warp reads all. */
PTX_DEVICE uint32_t wrong_of(reading how, int round, ptx_smem slot) {
    const int t = ptx_thread() % GROUP, lane = t % WARP;
    if (how == A_WORD) return ptx_lds32(slot + (ptx_smem)(t * 4)) != number(round, t);
    if (how == A_CHUNK) {
        const uint4 v = ptx_lds128(slot + (ptx_smem)(lane * 16));
        return (v.x != number(round, 4 * lane)) + (v.y != number(round, 4 * lane + 1)) +
               (v.z != number(round, 4 * lane + 2)) + (v.w != number(round, 4 * lane + 3));
    }
    uint32_t words[4], n_wrong = 0;
    ptx_ldmatrix(words, slot + (ptx_smem)(lane * 16));
    for (int i = 0; i < 4; i++) n_wrong += words[i] != number(round, i * WARP + lane);
    return n_wrong;
}

PTX_DEVICE void fill(const ring_args &p, int round, uint32_t parity, ptx_smem slot, ptx_smem full,
        ptx_smem empty) {
    if (p.by.has == WRITTEN_EARLY) {
        if (round >= SLOTS) ptx_mbar_wait(full, parity ^ 1u); /* what was written before is there */
        ptx_syncwarp();
        write(p, round, slot, full);
    }
    ptx_mbar_wait(empty, parity ^ 1u);
    ptx_syncwarp(); /* no lane waits for a phase that is long over */
    if (p.by.has != WRITTEN_EARLY) write(p, round, slot, full);
    arrive_written(p, round, full);
}
PTX_DEVICE uint32_t read(const ring_args &p, int round, uint32_t parity, ptx_smem slot,
        ptx_smem full, ptx_smem empty) {
    uint32_t n_wrong = 0;
    if (p.by.has == READ_EARLY) n_wrong = wrong_of(p.of.read, round, slot);
    ptx_mbar_wait(full, parity);
    if (p.by.has == LANES_APART) ptx_syncwarp();
    if (p.by.has != READ_EARLY) n_wrong = wrong_of(p.of.read, round, slot);
    ptx_fence_async();
    arrive(p.by, empty);
    return n_wrong;
}

static __global__ void __launch_bounds__(2 * GROUP) ring_kernel(const ring_args p) {
    const ptx_smem smem = ptx_smem_base();
    const int t = ptx_thread() % GROUP, warp = ptx_of_warp(t / WARP);
    const int lanes = p.by.is_by_all ? WARP : 1;
    uint32_t n_wrong = 0;
    for (int i = 0; ptx_thread() == 0 && i < SLOTS; i++) {
        ptx_mbar_init(smem + FULL_AT + (ptx_smem)(i * 8), p.of.n_filling * lanes);
        ptx_mbar_init(smem + EMPTY_AT + (ptx_smem)(i * 8), p.of.n_reading * lanes);
    }
    if (ptx_thread() == 0) ptx_fence_mbar_init();
    ptx_syncthreads();
    for (int round = 0; round < ROUNDS; round++) {
        const int i = round % SLOTS;
        const uint32_t parity = (uint32_t)(round / SLOTS % 2);
        const ptx_smem slot = smem + (ptx_smem)(i * WORDS * 4);
        const ptx_smem full = smem + FULL_AT + (ptx_smem)(i * 8),
                       empty = smem + EMPTY_AT + (ptx_smem)(i * 8);
        if (ptx_thread() >= GROUP && warp < p.of.n_filling)
            fill(p, round, parity, slot, full, empty);
        else if (ptx_thread() < GROUP && warp < p.of.n_reading)
            n_wrong += read(p, round, parity, slot, full, empty);
        if (p.by.is_met) ptx_bar_sync<2 * GROUP>(MEETING);
    }
    if (ptx_thread() < GROUP) p.n_wrong[t] = n_wrong;
}

/* Whether that is another than those before, and asked for. */
bool is_meant(const ring &of, const hand_over &by) {
    const bool has_copies = of.how == BY_COPIES || of.how == BY_TURNS;
    if (by.is_behind && !has_copies && by.has == NO_RACE) return false;
    return of.is_tried || (!by.is_met && by.has == NO_RACE);
}

/* Whether all numbers were right. */
bool runs(const ring &of, const hand_over &by) {
    cuda_buffer<uint32_t> from(ROUNDS * WORDS), n_wrong(GROUP);
    for (int i = 0; i < ROUNDS * WORDS; i++) from[i] = (uint32_t)(i / WORDS << 8 | i % WORDS);
    const ring_args args = {from.data, n_wrong.data, of, by};
    CHECK(!ptx_launch(ring_kernel, {1, 1, 2 * GROUP, SMEM_BYTES}, NULL, args));
    cuda_wait();
    bool is_right = true;
    for (int t = 0; t < GROUP; t++) is_right = is_right && n_wrong[t] == 0;
    return is_right;
}

/* By the emulation, in another process: it ends with what it finds. */
bool is_found(const ring &of, const hand_over &by) {
    fflush(NULL);
    const pid_t child = fork();
    if (child == 0) {
        if (!freopen("/dev/null", "w", stderr)) _exit(1);
        runs(of, by);
        _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) == 3;
}

int try_all() {
    for (const ring &of : rings)
        for (const hand_over &by : hand_overs) {
            if (!is_meant(of, by)) continue;
            if (by.has != NO_RACE) {
                if (!CUDA_ON_GPU && !is_found(of, by))
                    return fprintf(stderr, "%s %s: no race is found\n", of.name, by.name), 1;
                continue;
            }
            for (int i = 0; i < (cuda_is_fast() ? 4 : 40); i++) {
                emu_seed((uint64_t)i);
                if (!runs(of, by))
                    return fprintf(stderr, "%s %s: wrong numbers\n", of.name, by.name), 1;
            }
            emu_seed(0);
        }
    return 0;
}

/* Names given: that one, once; or else they are printed, with what there is to be said of them. */
int try_one(const char *ring_name, const char *hand_over_name) {
    for (const ring &of : rings)
        for (const hand_over &by : hand_overs) {
            if (!is_meant(of, by)) continue;
            if (!hand_over_name) {
                printf("%s %s %s\n", of.name, by.name, by.has == NO_RACE ? "right" : "race");
            } else if (strcmp(of.name, ring_name) == 0 && strcmp(by.name, hand_over_name) == 0) {
                const bool is_right = runs(of, by);
                printf("# %s numbers\n", is_right ? "right" : "wrong");
                return is_right || by.has != NO_RACE ? 0 : 1;
            }
        }
    return hand_over_name ? 2 : 0;
}

} // namespace

int main(int argc, char **argv) {
    if (argc > 1) return try_one(argv[1], argc > 2 ? argv[2] : NULL);
    return try_all();
}
