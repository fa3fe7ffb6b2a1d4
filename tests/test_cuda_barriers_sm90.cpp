/* mbarriers order a ring of slots that warps, their copies and bulk copies fill and others read: every number that is read
 * is the one of its round.
 *
 * Method: two slots, a warpgroup that fills them, one that reads. In another round another warp writes a word, or a
 * bulk copy does; or of either warpgroup one warp alone, by what Hopper's kernels do so. Many random schedules. On a GPU this is
 * also what racecheck is tried with: it has no race. */
#include "help_cuda_machine.h"

#include "help_cuda.h"

namespace {

enum {
    WARP = 32,
    GROUP = 128,
    SLOTS = 2,
    WORDS = GROUP,
    ROUNDS = 12,
    FULL_AT = SLOTS * WORDS * 4,
    EMPTY_AT = FULL_AT + SLOTS * 8,
    SMEM_BYTES = EMPTY_AT + SLOTS * 8
};

enum filling { BY_STORES, BY_COPIES, BY_TURNS, BY_ASYNC };
enum reading { A_WORD, A_CHUNK, MATRICES };

struct ring_case {
    filling how;
    reading read;
    int n_filling, n_reading; /* warps, one lane of each arrives */
};

struct ring_args {
    const uint32_t *from; /* [ROUNDS][WORDS] of number() */
    uint32_t *n_wrong;    /* of each thread that reads */
    ring_case of;
};

PTX_DEVICE uint32_t number(int round, int word) {
    return (uint32_t)(round << 8 | word);
}
PTX_DEVICE bool is_copied(filling how, int round) {
    return how == BY_COPIES || (how == BY_TURNS && round / SLOTS % 2 != 0);
}

PTX_DEVICE void fill(const ring_args &p, int round, ptx_smem slot, ptx_smem full) {
    const int t = ptx_thread() % GROUP, word = (t + WARP * round) % WORDS;
    if (is_copied(p.of.how, round)) {
        if (t == 0) {
            ptx_mbar_arrive_expect(full, WORDS * 4);
            ptx_bulk_load(slot, p.from + round * WORDS, WORDS * 4, full);
        } else if (t % WARP == 0)
            ptx_mbar_arrive(full);
        return;
    }
    if (p.of.how == BY_ASYNC) {
        ptx_cp_async(slot + (ptx_smem)(t * 16), p.from + round * WORDS + t * 4, 16);
        ptx_cp_async_commit();
        ptx_cp_async_wait<0>();
    } else {
        ptx_sts32(slot + (ptx_smem)(word * 4), number(round, word));
        ptx_fence_async(); /* the next may be a bulk copy */
    }
    ptx_syncwarp();
    if (t % WARP == 0) ptx_mbar_arrive(full);
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

static __global__ void __launch_bounds__(2 * GROUP) ring_kernel(const ring_args p) {
    const ptx_smem smem = ptx_smem_base();
    const int t = ptx_thread() % GROUP, warp = ptx_of_warp(t / WARP);
    uint32_t n_wrong = 0;
    for (int i = 0; ptx_thread() == 0 && i < SLOTS; i++) {
        ptx_mbar_init(smem + FULL_AT + (ptx_smem)(i * 8), p.of.n_filling);
        ptx_mbar_init(smem + EMPTY_AT + (ptx_smem)(i * 8), p.of.n_reading);
    }
    if (ptx_thread() == 0) ptx_fence_mbar_init();
    ptx_syncthreads();
    for (int round = 0; round < ROUNDS; round++) {
        const int i = round % SLOTS;
        const uint32_t parity = (uint32_t)(round / SLOTS % 2);
        const ptx_smem slot = smem + (ptx_smem)(i * WORDS * 4);
        const ptx_smem full = smem + FULL_AT + (ptx_smem)(i * 8),
                       empty = smem + EMPTY_AT + (ptx_smem)(i * 8);
        if (ptx_thread() >= GROUP && warp < p.of.n_filling) {
            ptx_mbar_wait(empty, parity ^ 1u);
            ptx_syncwarp(); /* no lane waits for a phase that is long over */
            fill(p, round, slot, full);
        } else if (ptx_thread() < GROUP && warp < p.of.n_reading) {
            ptx_mbar_wait(full, parity);
            n_wrong += wrong_of(p.of.read, round, slot);
            ptx_fence_async();
            ptx_syncwarp();
            if (t % WARP == 0) ptx_mbar_arrive(empty);
        }
    }
    if (ptx_thread() < GROUP) p.n_wrong[t] = n_wrong;
}

} // namespace

int main() {
    enum { ALL = GROUP / WARP };
    const ring_case cases[] = {{BY_STORES, A_WORD, ALL, ALL}, {BY_COPIES, A_WORD, ALL, ALL},
            {BY_TURNS, A_WORD, ALL, ALL}, {BY_COPIES, A_WORD, 1, ALL},
            {BY_COPIES, A_CHUNK, 1, ALL},  /* decode's pages */
            {BY_ASYNC, MATRICES, 1, ALL},  /* prefill's queries */
            {BY_STORES, A_CHUNK, ALL, 1}}; /* its rows */
    enum { N_CASES = sizeof cases / sizeof cases[0] };
    cuda_buffer<uint32_t> from(ROUNDS * WORDS), n_wrong(GROUP);
    for (int i = 0; i < ROUNDS * WORDS; i++) from[i] = (uint32_t)(i / WORDS << 8 | i % WORDS);
    for (int i = 0; i < N_CASES * (cuda_is_fast() ? 6 : 60); i++) {
        emu_seed((uint64_t)i);
        const ring_args args = {from.data, n_wrong.data, cases[i % N_CASES]};
        CHECK(!ptx_launch(ring_kernel, {1, 1, 2 * GROUP, SMEM_BYTES}, NULL, args));
        cuda_wait();
        for (int t = 0; t < GROUP; t++) CHECK(n_wrong[t] == 0);
    }
    return 0;
}
