/* The machine's peaks: fp32 FMA, reading DRAM, memcpy; one thread and all of them.
 *
 * The last column of an FMA row is checked against the clock: a core of the last ten years does two
 * vector FMAs a cycle, and the share reported is that of two (portable code, which multiplies and
 * adds, has none). */
#include "help_peak.h"

#include <stdio.h>

static void report(const bench_options *options, const char *what, int n_threads, bench_rate rate,
        const char *unit, double peak) {
    const bench_figure figure = {
            .what = what, .n_threads = n_threads, .rate = rate, .unit = unit, .peak = peak};
    bench_report(options, &figure);
}

static void report_fma(const bench_options *options, rt_pool *pool) {
    for (rt_isa isa = RT_ISA_PORTABLE; isa <= rt_machine_isa(); isa++) {
        const bench_fma fma = bench_peak_fma(options, isa, pool);
        const double of_two_a_cycle =
                fma.per_cycle > 0.0 ? 2.0 * fma.gflops.best / fma.per_cycle : 0;
        char what[64];
        (void)snprintf(what, sizeof what, "fp32 %s; share: of two a cycle",
                isa == RT_ISA_PORTABLE ? "multiply and add portable" : rt_isa_name(isa));
        report(options, what, rt_pool_threads(pool), fma.gflops, "GFLOP/s", of_two_a_cycle);
    }
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
    int counts[2];
    const int n_counts = bench_thread_counts(&options, counts);
    for (int i = 0; i < n_counts; i++) {
        rt_pool *pool = bench_pool(counts[i]);
        report_fma(&options, pool);
        report_memory(&options, &dram, pool);
        rt_pool_free(pool);
    }
    bench_dram_free(&dram);
    return 0;
}
