/* mbarriers order a ring of slots that warps and bulk copies fill and others read: every number that is read is the
 * one of its round.
 *
 * Method: two slots, a warpgroup that fills them, one that reads. In another round another warp writes a word, or a
 * bulk copy does. Many random schedules. On a GPU this is also what racecheck is tried with: it has no race. */
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

enum filling { BY_STORES, BY_COPIES, BY_TURNS };

struct ring_args {
    const uint32_t *from; /* [ROUNDS][WORDS] of number() */
    uint32_t *n_wrong;    /* of each thread that reads */
    filling how;
};

PTX_DEVICE uint32_t number(int round, int word) {
    return (uint32_t)(round << 8 | word);
}
PTX_DEVICE bool is_copied(filling how, int round) {
    return how == BY_COPIES || (how == BY_TURNS && round / SLOTS % 2 != 0);
}

PTX_DEVICE void fill(const ring_args &p, int round, ptx_smem slot, ptx_smem full) {
    const int t = ptx_thread() % GROUP, word = (t + WARP * round) % WORDS;
    if (is_copied(p.how, round)) {
        if (t == 0) {
            ptx_mbar_arrive_expect(full, WORDS * 4);
            ptx_bulk_load(slot, p.from + round * WORDS, WORDS * 4, full);
        } else if (t % WARP == 0)
            ptx_mbar_arrive(full);
        return;
    }
    ptx_sts32(slot + (ptx_smem)(word * 4), number(round, word));
    ptx_fence_async(); /* the next may be a bulk copy */
    ptx_syncwarp();
    if (t % WARP == 0) ptx_mbar_arrive(full);
}

static __global__ void __launch_bounds__(2 * GROUP) ring_kernel(const ring_args p) {
    const ptx_smem smem = ptx_smem_base();
    const int t = ptx_thread() % GROUP;
    uint32_t n_wrong = 0;
    for (int i = 0; ptx_thread() == 0 && i < 2 * SLOTS; i++)
        ptx_mbar_init(smem + FULL_AT + (ptx_smem)(i * 8), GROUP / WARP);
    if (ptx_thread() == 0) ptx_fence_mbar_init();
    ptx_syncthreads();
    for (int round = 0; round < ROUNDS; round++) {
        const int i = round % SLOTS;
        const uint32_t parity = (uint32_t)(round / SLOTS % 2);
        const ptx_smem slot = smem + (ptx_smem)(i * WORDS * 4);
        const ptx_smem full = smem + FULL_AT + (ptx_smem)(i * 8),
                       empty = smem + EMPTY_AT + (ptx_smem)(i * 8);
        if (ptx_thread() >= GROUP) {
            ptx_mbar_wait(empty, parity ^ 1u);
            ptx_syncwarp(); /* no lane waits for a phase that is long over */
            fill(p, round, slot, full);
        } else {
            ptx_mbar_wait(full, parity);
            n_wrong += ptx_lds32(slot + (ptx_smem)(t * 4)) != number(round, t);
            ptx_fence_async();
            ptx_syncwarp();
            if (t % WARP == 0) ptx_mbar_arrive(empty);
        }
    }
    if (ptx_thread() < GROUP) p.n_wrong[t] = n_wrong;
}

} // namespace

int main() {
    cuda_buffer<uint32_t> from(ROUNDS * WORDS), n_wrong(GROUP);
    for (int i = 0; i < ROUNDS * WORDS; i++) from[i] = (uint32_t)(i / WORDS << 8 | i % WORDS);
    for (int i = 0; i < (cuda_is_fast() ? 18 : 180); i++) {
        emu_seed((uint64_t)i);
        const ring_args args = {from.data, n_wrong.data, (filling)(i % 3)};
        CHECK(!ptx_launch(ring_kernel, {1, 1, 2 * GROUP, SMEM_BYTES}, NULL, args));
        cuda_wait();
        for (int t = 0; t < GROUP; t++) CHECK(n_wrong[t] == 0);
    }
    return 0;
}
