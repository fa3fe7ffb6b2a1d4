/* The machine's peaks: fp32 FMA, tiles of AMX, reading DRAM, memcpy; one thread and all of them.
 *
 * The last columns of an FMA row are checked against the clock, which a chain of dependent
 * multiplications counts (virtual machines hide the cycle counter): the share reported is that of the
 * FMAs a cycle which one undisturbed thread does, 2 on most cores. Below 95 % the run is void, and
 * the program exits with 1. Portable code, which multiplies and adds, has no such share. */
#include "help_peak.h"

#include <stdio.h>

static void report(const bench_options *options, const char *what, int n_threads, bench_rate rate,
        const char *unit, double peak) {
    const bench_figure figure = {
            .what = what, .n_threads = n_threads, .rate = rate, .unit = unit, .peak = peak};
    bench_report(options, &figure);
}

/* Whether any peak was void. */
static bool report_fma(const bench_options *options, rt_pool *pool) {
    bool is_void = false;
    for (rt_isa isa = RT_ISA_PORTABLE; isa <= rt_machine_isa() && isa < RT_ISA_AMX; isa++) {
        const bench_fma fma = bench_peak_fma(options, isa, pool);
        const double of_units =
                fma.per_cycle > 0.0 ? fma.n_units * fma.gflops.best / fma.per_cycle : 0.0;
        char what[64];
        if (fma.n_units > 0)
            (void)snprintf(what, sizeof what, "fp32 %s; share: of %d a cycle at %.2f GHz",
                    rt_isa_name(isa), fma.n_units, fma.hertz * 1e-9);
        else
            (void)snprintf(what, sizeof what, "fp32 multiply and add, %s", rt_isa_name(isa));
        report(options, what, rt_pool_threads(pool), fma.gflops, "GFLOP/s", of_units);
        is_void |= bench_fma_is_void(&fma);
    }
    return is_void;
}

static void report_amx(const bench_options *options, rt_pool *pool) {
    const bench_rate rate = bench_peak_amx(options, pool);
    if (rate.best > 0.0)
        report(options, "bf16 in tiles of AMX", rt_pool_threads(pool), rate, "GFLOP/s", 0.0);
}

static void report_memory(const bench_options *options, const bench_dram *dram, rt_pool *pool) {
    static const int n_streams[] = {1, 4, 8};
    const int n_threads = rt_pool_threads(pool);
    char what[64];
    for (size_t i = 0; i < sizeof n_streams / sizeof *n_streams; i++) {
        (void)snprintf(what, sizeof what, "read DRAM in %d streams a thread", n_streams[i]);
        report(options, what, n_threads, bench_peak_read(options, dram, n_streams[i], pool), "GB/s",
                0.0);
    }
    report(options, "memcpy; read and written bytes", n_threads,
            bench_peak_copy(options, dram, pool), "GB/s", 0.0);
}

int main(int argc, char **argv) {
    const bench_options options = bench_parse(argc, argv);
    bench_begin(&options);
    bench_dram dram = bench_dram_create(&options);
    bool is_void = false;
    int counts[2];
    const int n_counts = bench_thread_counts(&options, counts);
    for (int i = 0; i < n_counts; i++) {
        rt_pool *pool = bench_pool(counts[i]);
        is_void |= report_fma(&options, pool);
        report_amx(&options, pool);
        report_memory(&options, &dram, pool);
        rt_pool_free(pool);
    }
    bench_dram_free(&dram);
    const int unquiet = bench_end(&options);
    if (is_void) (void)printf("# VOID: an FMA peak is below 95 %% of what its core can do\n");
    return is_void && !options.is_quick ? 1 : unquiet;
}
