/* What the machine can do at most, measured in the same process as what is compared with it.
 *
 *   FMA    independent fused multiply-adds of the widest vectors, nothing else
 *   bf16   the same with AVX-512's products of bf16 pairs, for what multiplies in bf16
 *   AMX    products of tiles of bf16 that stay in registers, TDPBF16PS; nothing else
 *   DRAM   reading memory far larger than the caches, on huge pages, in 1, 4 or 8 streams a thread, by
 *          the widest vectors
 *   copy   memcpy of such memory, bytes read and bytes written both counted */
#ifndef HELP_PEAK_H
#define HELP_PEAK_H

#include "help_measure.h"

typedef struct bench_fma {
    bench_rate gflops;
    double per_cycle; /* vector FMAs a cycle and thread; 0 where cycles cannot be counted */
    int n_units;  /* what one undisturbed thread does a cycle, rounded: 2, or 1 where the vectors
                         are wider than the units (512 bits on Zen 4); 0: unknown */
    double hertz; /* of the core under such vectors; 0: unknown */
} bench_fma;

/* A peak below 95 % of the units' rate was disturbed: shares of it would flatter. */
bool bench_fma_is_void(const bench_fma *fma);

/* `isa` chooses the vectors: that of the kernels to be judged, or the best. */
bench_fma bench_peak_fma(const bench_options *options, rt_isa isa, rt_pool *pool);

/* GFLOP/s, the best; 0 where the CPU has no such instructions. */
double bench_peak_bf16(const bench_options *options, rt_pool *pool);

/* GFLOP/s; 0 where there are no such tiles, or the operating system does not grant them. */
bench_rate bench_peak_amx(const bench_options *options, rt_pool *pool);

/* Memory to read and copy, written once, so that every page is there. */
typedef struct bench_dram {
    char *bytes;
    int64_t n_bytes;
} bench_dram;
bench_dram bench_dram_create(const bench_options *options);
void bench_dram_free(bench_dram *dram);

bench_rate bench_peak_read(
        const bench_options *options, const bench_dram *dram, int n_streams, rt_pool *pool);
bench_rate bench_peak_copy(const bench_options *options, const bench_dram *dram, rt_pool *pool);

/* The best of each for a pool: GFLOP/s and GB/s (10^9), what other benchmarks take shares of. A void
 * FMA peak is measured again, three times at most, then said in a line that begins "# VOID". */
typedef struct bench_peaks {
    double gflops;     /* FMA */
    double amx_gflops; /* 0: options->isa is below RT_ISA_AMX */
    double read_gbps;
} bench_peaks;
bench_peaks bench_peaks_of(const bench_options *options, rt_pool *pool);

#endif
