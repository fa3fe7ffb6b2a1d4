/* The emulation notices what hardware forbids and numbers seldom tell. Each kernel below keeps a rule, or breaks it:
 * broken, it ends with a finding, in the first order of threads; kept, it does not, in several.
 *
 * (That a name ends in _mutants says, as of the others: it is about the emulation, and is not for a GPU.) */
#include "emu/ptx.h"

#include "help_cuda.h"

namespace {

enum { WARP = 32, GROUP = 128, BARS_AT = 4096, SMEM_BYTES = 8192 };

struct rule {
    const char *what;
    int threads;
    void (*kernel)(bool is_broken);
    bool is_early = false; /* the launch */
};

bool is_lane_0() {
    return ptx_thread() % WARP == 0;
}
/* Made by one thread, and known to all. */
void init_bars(ptx_smem bars, int n, int count) {
    for (int i = 0; ptx_thread() == 0 && i < n; i++) ptx_mbar_init(bars + (ptx_smem)(i * 8), count);
    if (ptx_thread() == 0) ptx_fence_mbar_init();
    ptx_syncthreads();
}

alignas(16) unsigned char source[2048];

/* A ring whose slots two warps read in turn, a third warp fills: a slot that is the one's now and the other's next time
 * has a phase that either has not waited for. */
void ring_of_two_readers(bool is_broken) {
    const ptx_smem smem = ptx_smem_base(), full = smem + BARS_AT, empty = full + 64;
    const int slots = is_broken ? 3 : 4, warp = ptx_thread() / WARP;
    init_bars(full, 16, 1);
    for (int round = 0; round < 12; round++) {
        const ptx_smem slot = smem + (ptx_smem)(round % slots * 16),
                       at = (ptx_smem)(round % slots * 8);
        const uint32_t parity = (uint32_t)(round / slots % 2);
        if (warp == 2) {
            ptx_mbar_wait(empty + at, parity ^ 1u);
            ptx_syncwarp();
            if (is_lane_0())
                ptx_mbar_arrive_expect(full + at, 16), ptx_bulk_load(slot, source, 16, full + at);
        } else if (round % 2 == warp) {
            ptx_mbar_wait(full + at, parity);
            ptx_lds32(slot);
            ptx_fence_async();
            ptx_syncwarp();
            if (is_lane_0()) ptx_mbar_arrive(empty + at);
        }
    }
}

/* A warp's lanes wait, one of them copies: another may still be on its way when two phases are over. */
void elected_lane(bool is_broken) {
    const ptx_smem smem = ptx_smem_base(), full = smem + BARS_AT, empty = full + 8;
    init_bars(full, 2, 1);
    for (uint32_t round = 0; round < 4; round++) {
        if (ptx_thread() < WARP) {
            ptx_mbar_wait(empty, round % 2 ^ 1u);
            if (!is_broken) ptx_syncwarp();
            if (is_lane_0())
                ptx_mbar_arrive_expect(full, 16), ptx_bulk_load(smem, source, 16, full);
        } else {
            ptx_mbar_wait(full, round % 2);
            ptx_syncwarp();
            if (is_lane_0()) ptx_mbar_arrive(empty);
        }
    }
}

/* A warp reads, another copies over it: the mbarrier orders threads, and a copy is another proxy's. The same where products
 * have read it since. */
void copy_over_what_was_read(bool is_broken) {
    const ptx_smem smem = ptx_smem_base(), full = smem + BARS_AT, empty = full + 8;
    init_bars(full, 2, 1);
    for (uint32_t round = 0; round < 2; round++) {
        if (ptx_thread() == 0) {
            ptx_mbar_wait(empty, round ^ 1u);
            ptx_mbar_arrive_expect(full, 16), ptx_bulk_load(smem, source, 16, full);
        } else if (ptx_thread() >= WARP) {
            ptx_mbar_wait(full, round);
            ptx_lds32(smem);
            if (!is_broken) ptx_fence_async();
            ptx_syncwarp();
            if (is_lane_0()) ptx_mbar_arrive(empty);
        }
    }
}
void copy_over_what_products_read_too(bool is_broken) {
    const ptx_smem smem = ptx_smem_base(), full = smem + BARS_AT;
    const uint32_t a[4] = {0, 0, 0, 0};
    float d[16];
    init_bars(full, 1, 1);
    for (int i = ptx_thread(); i < BARS_AT / 16; i += GROUP)
        ptx_sts128(smem + (ptx_smem)(i * 16), make_uint4(0, 0, 0, 0));
    ptx_fence_async();
    ptx_syncthreads();
    ptx_lds32(smem);
    if (!is_broken) ptx_fence_async();
    ptx_syncthreads();
    ptx_wgmma_fence();
    ptx_wgmma_f16<32>(d, a, ptx_desc(smem, 16), 0);
    ptx_wgmma_commit();
    ptx_wgmma_wait<0>();
    ptx_syncthreads();
    if (ptx_thread() != 0) return;
    ptx_mbar_arrive_expect(full, 16), ptx_bulk_load(smem, source, 16, full);
    ptx_mbar_wait(full, 0);
}

void phase_twice(bool is_broken) {
    const ptx_smem bar = ptx_smem_base() + BARS_AT;
    init_bars(bar, 1, 1);
    for (int i = 0; ptx_thread() == 0 && i < 1 + is_broken; i++) ptx_mbar_wait(bar, 1);
}

void two_instructions_at_a_barrier(bool is_broken) {
    if (is_broken && ptx_thread() >= WARP)
        ptx_bar_sync<2 * WARP>(1);
    else
        ptx_bar_any<2 * WARP>(1, false);
}

/* 32 threads, and no whole warp. */
void half_warps_at_a_barrier(bool is_broken) {
    if (!is_broken || ptx_thread() % WARP < WARP / 2) {
        if (is_broken)
            ptx_bar_sync<WARP>(1);
        else
            ptx_bar_sync<2 * WARP>(1);
    }
}

void registers_the_wrong_way(bool is_broken) {
    if (is_broken)
        ptx_registers_take<24>(); /* there are more */
    else
        ptx_registers_give<24>();
}

void too_many_bytes(bool is_broken) {
    const ptx_smem bar = ptx_smem_base() + BARS_AT;
    init_bars(bar, 1, 2);
    if (is_broken && ptx_thread() == 0) ptx_mbar_arrive_expect(bar, 1 << 20);
}

void no_arrivals(bool is_broken) {
    init_bars(ptx_smem_base() + BARS_AT, 1, is_broken ? 0 : 1);
}

void unaligned_numbers(bool is_broken) {
    alignas(16) static float numbers[8];
    ptx_store_shared_float4(numbers + (is_broken ? 2 : 4), float4{1.0f, 2.0f, 3.0f, 4.0f});
}

/* A kernel that begins early touches what the ones before may still touch; or nothing, but may be over before they are. */
void early_read(bool is_broken) {
    static float number;
    if (!is_broken) ptx_wait_for_kernels();
    ptx_store_shared_float(&number, 1.0f);
    if (is_broken) ptx_wait_for_kernels();
}
void early_end(bool is_broken) {
    if (!is_broken || ptx_thread() != 7) ptx_wait_for_kernels();
}

/* What wgmma reads, changed on the wrong side of the fence, or between two products of a batch. */
void products(int b_at, const std::function<void(int, float (&)[16], uint32_t (&)[4])> &change) {
    const ptx_smem smem = ptx_smem_base();
    float d[16];
    uint32_t a[4] = {0, 0, 0, 0};
    for (int i = ptx_thread(); i < SMEM_BYTES / 16; i += GROUP)
        ptx_sts128(smem + (ptx_smem)(i * 16), make_uint4(0, 0, 0, 0));
    ptx_fence_async();
    ptx_syncthreads();
    for (int batch = 0; batch < 2; batch++) {
        change(2 * batch, d, a);
        ptx_wgmma_fence();
        change(2 * batch + 1, d, a);
        ptx_wgmma_f16<32>(d, a, ptx_desc(smem + (ptx_smem)b_at, 16), batch);
        ptx_wgmma_commit();
        ptx_wgmma_wait<0>();
    }
}
void operand_behind_the_fence(bool is_broken) {
    products(0, [=](int place, float(&)[16], uint32_t(&a)[4]) { a[3] += place == 2 + is_broken; });
}
void rows_from_the_second_on(bool is_broken) {
    products(is_broken ? 128 : 32, [](int, float(&)[16], uint32_t(&)[4]) {});
}
void accumulator_behind_the_fence(bool is_broken) {
    products(0, [=](int place, float(&d)[16], uint32_t(&)[4]) {
        if (place == 2 + is_broken) d[15] = 2.0f;
    });
}

const rule rules[] = {
        {"a slot is one reader's", 3 * WARP, ring_of_two_readers},
        {"lanes that wait meet before the next phase", 2 * WARP, elected_lane},
        {"what was read is fenced before a copy comes over it", 2 * WARP, copy_over_what_was_read},
        {"and where products have read it, too", GROUP, copy_over_what_products_read_too},
        {"a phase is waited for once", WARP, phase_twice},
        {"a barrier has one instruction", 2 * WARP, two_instructions_at_a_barrier},
        {"a barrier has whole warps", 2 * WARP, half_warps_at_a_barrier},
        {"setmaxnreg.inc is for more registers", GROUP, registers_the_wrong_way},
        {"a phase has less than 1 MiB", WARP, too_many_bytes},
        {"an mbarrier has arrivals", WARP, no_arrivals},
        {"vectors are aligned", WARP, unaligned_numbers},
        {"who begins early waits before it touches anything", WARP, early_read, true},
        {"who begins early does not end before the others", WARP, early_end, true},
        {"a descriptor begins where eight rows do", GROUP, rows_from_the_second_on},
        {"operands are written in front of the fence", GROUP, operand_behind_the_fence},
        {"accumulators are written in front of the fence", GROUP, accumulator_behind_the_fence},
};

/* Exit code of a process of its own. */
int outcome_of(const rule &r, bool is_broken, uint64_t seed) {
    fflush(NULL);
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        if (is_broken && !freopen("/dev/null", "w", stderr)) _Exit(99);
        alarm(60);
        emu_seed(seed);
        emu_run({1, 1, r.threads, SMEM_BYTES + 1023, NULL, 0, r.is_early},
                [&] { r.kernel(is_broken); });
        _Exit(0);
    }
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int outcome_of_no_blocks() {
    const rule nothing = {"a launch has blocks", WARP, NULL};
    fflush(NULL);
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        if (!freopen("/dev/null", "w", stderr)) _Exit(99);
        emu_run({0, 1, nothing.threads, 0}, [] {});
        _Exit(0);
    }
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

} // namespace

int main() {
    int n_wrong = 0;
    for (const rule &r : rules) {
        const bool is_found = outcome_of(r, true, 0) == EMU_EXIT_FOUND;
        bool is_right = true;
        for (uint64_t seed = 0; seed < 4; seed++)
            is_right = is_right && outcome_of(r, false, seed) == 0;
        if (!is_found || !is_right)
            printf("%s: %s\n", r.what,
                    is_found ? "kept, and found broken" : "broken, and NOT NOTICED");
        n_wrong += !is_found || !is_right;
    }
    CHECK(n_wrong == 0);
    CHECK(outcome_of_no_blocks() == EMU_EXIT_FOUND);
    printf("%d rules\n", (int)(sizeof rules / sizeof *rules));
    return 0;
}
