#include "help_peak.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "runtime/base/memory.h"
#include "runtime/base/size.h"

/* ---- FMA ------------------------------------------------------------------------------------- */

/* One round: CHAINS independent FMAs, more than latency x units of any core so far. */
typedef struct fma_kernel {
    int lanes;
    int chains;
    float (*run)(int64_t n_rounds);
    double (*cycles_per_second)(void);
} fma_kernel;

static float portable_run(int64_t n_rounds) {
    enum { CHAINS = 8, LANES = 4 };
    typedef float vector __attribute__((vector_size(4 * LANES)));
    vector acc[CHAINS] = {{0}};
    volatile float seed = 0.999f;
    const vector a = seed - (vector){0};
    for (int64_t i = 0; i < n_rounds; i++)
#pragma GCC unroll 8
        for (int c = 0; c < CHAINS; c++) acc[c] = acc[c] * a + a;
    for (int c = 1; c < CHAINS; c++) acc[0] += acc[c];
    return acc[0][0];
}

static double cycles_unknown(void) {
    return 0.0;
}

#if defined(__x86_64__)
static double thread_seconds(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* A multiplication of integers takes 3 cycles on every Intel core since Nehalem and every AMD core
 * since Zen: a chain of them counts cycles where a virtual machine hides the counter. One FMA
 * beside each four keeps the core at the clock it has under such vectors.
 * Source: Fog, Instruction tables, agner.org/optimize. */
enum { CYCLE_ROUNDS = 4000000, CYCLES_A_ROUND = 4 * 3 };
#define FOUR_MULTIPLICATIONS(x)                       \
    __asm__ volatile("imul %0, %0\n\timul %0, %0\n\t" \
                     "imul %0, %0\n\timul %0, %0"     \
                     : "+r"(x))

#define DEFINE_FMA_KERNEL(isa, features, vector, set1, fmadd, add, first, n_chains) \
    __attribute__((target(features))) static float isa##_run(int64_t n_rounds) {    \
        vector acc[n_chains];                                                       \
        volatile float seed = 0.999f;                                               \
        const vector a = set1(seed);                                                \
        for (int c = 0; c < (n_chains); c++) acc[c] = set1((float)c);               \
        for (int64_t i = 0; i < n_rounds; i++)                                      \
            _Pragma("GCC unroll 32") for (int c = 0; c < (n_chains); c++) acc[c] =  \
                    fmadd(acc[c], a, a);                                            \
        for (int c = 1; c < (n_chains); c++) acc[0] = add(acc[0], acc[c]);          \
        return first(acc[0]);                                                       \
    }                                                                               \
    __attribute__((target(features))) static double isa##_cycles(void) {            \
        volatile float seed = 0.999f;                                               \
        const vector a = set1(seed);                                                \
        vector acc = a;                                                             \
        uint64_t x = 3;                                                             \
        const double started = thread_seconds();                                    \
        for (int i = 0; i < CYCLE_ROUNDS; i++) {                                    \
            FOUR_MULTIPLICATIONS(x);                                                \
            acc = fmadd(acc, a, a);                                                 \
        }                                                                           \
        const double seconds = thread_seconds() - started;                          \
        seed = first(acc);                                                          \
        return (double)CYCLES_A_ROUND * CYCLE_ROUNDS / seconds;                     \
    }
DEFINE_FMA_KERNEL(avx2, "avx2,fma", __m256, _mm256_set1_ps, _mm256_fmadd_ps, _mm256_add_ps,
        _mm256_cvtss_f32, 12)
DEFINE_FMA_KERNEL(avx512, "avx512f", __m512, _mm512_set1_ps, _mm512_fmadd_ps, _mm512_add_ps,
        _mm512_cvtss_f32, 24)
#endif

#if defined(__x86_64__)
/* vdpbf16ps adds two products to each of 16 sums. */
enum { BF16_CHAINS = 24, BF16_PRODUCTS = 32 };
__attribute__((target("avx512f,avx512bf16"))) static float bf16_run(int64_t n_rounds) {
    __m512 acc[BF16_CHAINS];
    volatile float seed = 0.999f;
    const __m512bh a = _mm512_cvtne2ps_pbh(_mm512_set1_ps(seed), _mm512_set1_ps(seed));
    for (int c = 0; c < BF16_CHAINS; c++) acc[c] = _mm512_set1_ps((float)c);
    for (int64_t i = 0; i < n_rounds; i++)
#pragma GCC unroll 32
        for (int c = 0; c < BF16_CHAINS; c++) acc[c] = _mm512_dpbf16_ps(acc[c], a, a);
    for (int c = 1; c < BF16_CHAINS; c++) acc[0] = _mm512_add_ps(acc[0], acc[c]);
    return _mm512_cvtss_f32(acc[0]);
}
#endif

#if defined(BENCH_WITH_AMX)
/* A product of two tiles: 16 x 16 sums of 32. Four tiles of sums in turn, which hides how long one takes. */
enum { AMX_CHAINS = 4, AMX_PRODUCTS = 16 * 16 * 32 };
__attribute__((target("avx512f,amx-tile,amx-bf16"))) static float amx_run(int64_t n_rounds) {
    /* ldtilecfg's: a palette, the bytes of a line of each tile, from byte 16, its lines, from byte 48 */
    uint8_t shape[64] = {1};
    uint8_t tile[1024];
    float sums[16 * 16];
    for (int t = 0; t < 8; t++) {
        shape[16 + 2 * t] = 64;
        shape[48 + t] = 16;
    }
    memset(tile, 0x3c, sizeof tile); /* ordinary numbers */
    __asm__ volatile("" ::: "memory"); /* what these read is written */
    _tile_loadconfig(shape);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_loadd(4, tile, 64);
    _tile_loadd(5, tile, 64);
    _tile_loadd(6, tile, 64);
    _tile_loadd(7, tile, 64);
    for (int64_t i = 0; i < n_rounds; i++) {
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, sums, 64);
    _tile_release();
    return sums[0];
}
#endif

static fma_kernel kernel_of(rt_isa isa) {
#if defined(__x86_64__)
    if (isa >= RT_ISA_AVX512) return (fma_kernel){16, 24, avx512_run, avx512_cycles};
    if (isa == RT_ISA_AVX2) return (fma_kernel){8, 12, avx2_run, avx2_cycles};
#endif
    return (fma_kernel){4, 8, portable_run, cycles_unknown};
}

enum { PIECES_A_THREAD = 8 };

typedef struct fma_job {
    fma_kernel kernel;
    rt_pool *pool;
    int64_t rounds_per_piece;
} fma_job;

static void fma_piece(void *context, int64_t item, int thread) {
    (void)item;
    (void)thread;
    const fma_job *job = context;
    volatile float sink = job->kernel.run(job->rounds_per_piece);
    (void)sink;
}

static void fma_all(void *context) {
    const fma_job *job = context;
    rt_pool_run(
            job->pool, (int64_t)PIECES_A_THREAD * rt_pool_threads(job->pool), fma_piece, context);
}

/* One thread by its own CPU time: FMAs a second, which being descheduled does not lower. */
static double fmas_per_cpu_second(const fma_job *job) {
#if defined(__x86_64__)
    const double started = thread_seconds();
    volatile float sink = job->kernel.run(job->rounds_per_piece);
    (void)sink;
    return (double)job->rounds_per_piece * job->kernel.chains / (thread_seconds() - started);
#else
    (void)job;
    return 0.0;
#endif
}

/* The clock, and how many FMAs one thread does a cycle of it. */
static void count_units(const bench_options *options, const fma_job *job, bench_fma *fma) {
    double fmas_per_s = 0.0;
    for (int i = 0; i < options->n_repeats; i++) {
        const double hertz = job->kernel.cycles_per_second();
        const double rate = fmas_per_cpu_second(job);
        fma->hertz = hertz > fma->hertz ? hertz : fma->hertz;
        fmas_per_s = rate > fmas_per_s ? rate : fmas_per_s;
    }
    if (fma->hertz <= 0.0) return;
    const double per_cycle = fmas_per_s / fma->hertz;
    fma->n_units = per_cycle > 1.5 ? 2 : 1;
}

bench_fma bench_peak_fma(const bench_options *options, rt_isa isa, rt_pool *pool) {
    fma_job job = {.kernel = kernel_of(isa),
            .pool = pool,
            .rounds_per_piece = options->is_quick ? 100000 : 4000000};
    const int n_threads = rt_pool_threads(pool);
    const double vector_fmas =
            (double)job.rounds_per_piece * job.kernel.chains * PIECES_A_THREAD * n_threads;
    const double gflop = 2e-9 * vector_fmas * job.kernel.lanes;
    bench_fma fma = {.gflops = bench_measure(options, n_threads, gflop, fma_all, &job)};
    count_units(options, &job, &fma);
    if (fma.hertz > 0.0)
        fma.per_cycle = fma.gflops.best * 1e9 / (2.0 * job.kernel.lanes) / n_threads / fma.hertz;
    return fma;
}

/* GFLOP/s of a kernel whose rounds are chains x lanes products. */
static bench_rate peak_of(
        const bench_options *options, rt_pool *pool, fma_kernel kernel, int64_t rounds_per_piece) {
    fma_job job = {.kernel = kernel,
            .pool = pool,
            .rounds_per_piece = options->is_quick ? rounds_per_piece / 20 : rounds_per_piece};
    const int n_threads = rt_pool_threads(pool);
    const double products = (double)job.rounds_per_piece * kernel.chains * kernel.lanes *
                            PIECES_A_THREAD * n_threads;
    return bench_measure(options, n_threads, 2e-9 * products, fma_all, &job);
}

double bench_peak_bf16(const bench_options *options, rt_pool *pool) {
#if defined(__x86_64__)
    const fma_kernel kernel = {BF16_PRODUCTS, BF16_CHAINS, bf16_run, cycles_unknown};
    if (__builtin_cpu_supports("avx512bf16")) return peak_of(options, pool, kernel, 2000000).best;
#endif
    (void)options;
    (void)pool;
    return 0.0;
}

bench_rate bench_peak_amx(const bench_options *options, rt_pool *pool) {
#if defined(BENCH_WITH_AMX)
    const fma_kernel kernel = {AMX_PRODUCTS, AMX_CHAINS, amx_run, cycles_unknown};
    if (rt_machine_isa() == RT_ISA_AMX) return peak_of(options, pool, kernel, 1000000);
#endif
    (void)options;
    (void)pool;
    return (bench_rate){0};
}

bool bench_fma_is_void(const bench_fma *fma) {
    return fma->n_units > 0 && fma->per_cycle < 0.95 * fma->n_units;
}

/* ---- DRAM ------------------------------------------------------------------------------------ */

bench_dram bench_dram_create(const bench_options *options) {
    const int64_t cache = (int64_t)sysconf(_SC_LEVEL3_CACHE_SIZE);
    const int64_t n_bytes =
            options->is_quick ? 64 * RT_MIB : rt_round_up(rt_max64(RT_GIB, 4 * cache), RT_GIB);
    bench_dram dram = {.bytes = bench_memory(n_bytes), .n_bytes = n_bytes};
    memset(dram.bytes, 1, (size_t)n_bytes);
    return dram;
}

void bench_dram_free(bench_dram *dram) {
    rt_mem_free(dram->bytes, dram->n_bytes);
}

/* Add up a piece, line by line from n_streams places of it in turn. Compiled for each number of
 * streams and for the widest vectors: with 16-byte loads a core of 2024 stays at half its rate. */
#define DEFINE_READ(name, features, n_streams, line_vectors)                             \
    features static uint64_t name(const char *bytes, int64_t n_bytes) {                  \
        enum { LINE = 64, BYTES = LINE / (line_vectors) };                               \
        typedef uint64_t vector __attribute__((vector_size(BYTES)));                     \
        const int64_t stream_bytes = n_bytes / (n_streams) / LINE * LINE;                \
        vector sum[4] = {{0}};                                                           \
        for (int64_t at = 0; at < stream_bytes; at += LINE)                              \
            _Pragma("GCC unroll 8") for (int s = 0; s < (n_streams); s++)                \
                    _Pragma("GCC unroll 4") for (int v = 0; v < (line_vectors); v++) {   \
                vector words;                                                            \
                memcpy(&words, bytes + s * stream_bytes + at + BYTES * v, sizeof words); \
                sum[(s + v) % 4] += words;                                               \
            }                                                                            \
        sum[0] += sum[1] + sum[2] + sum[3];                                              \
        return sum[0][0] + sum[0][1];                                                    \
    }
#define DEFINE_READS(isa, features, line_vectors)                                            \
    DEFINE_READ(isa##_read_1, features, 1, line_vectors)                                     \
    DEFINE_READ(isa##_read_4, features, 4, line_vectors)                                     \
    DEFINE_READ(isa##_read_8, features, 8, line_vectors)                                     \
    static read_kernel *isa##_read(int n_streams) {                                          \
        return n_streams == 1 ? isa##_read_1 : n_streams == 4 ? isa##_read_4 : isa##_read_8; \
    }
typedef uint64_t read_kernel(const char *bytes, int64_t n_bytes);
DEFINE_READS(portable, , 4)
#if defined(__x86_64__)
DEFINE_READS(avx2, __attribute__((target("avx2"))), 2)
DEFINE_READS(avx512, __attribute__((target("avx512f"))), 1)
#endif

typedef struct dram_job {
    const bench_dram *dram;
    rt_pool *pool;
    read_kernel *kernel;
} dram_job;

static read_kernel *read_kernel_of(int n_streams) {
#if defined(__x86_64__)
    if (rt_machine_isa() >= RT_ISA_AVX512) return avx512_read(n_streams);
    if (rt_machine_isa() == RT_ISA_AVX2) return avx2_read(n_streams);
#endif
    return portable_read(n_streams);
}

static void read_item(void *context, int64_t item, int thread) {
    (void)thread;
    const dram_job *job = context;
    const int64_t n_pieces = (int64_t)PIECES_A_THREAD * rt_pool_threads(job->pool);
    const int64_t piece_bytes = job->dram->n_bytes / n_pieces;
    const char *piece = job->dram->bytes + item * piece_bytes;
    volatile uint64_t sink = job->kernel(piece, piece_bytes);
    (void)sink;
}

static void read_all(void *context) {
    const dram_job *job = context;
    rt_pool_run(
            job->pool, (int64_t)PIECES_A_THREAD * rt_pool_threads(job->pool), read_item, context);
}

bench_rate bench_peak_read(
        const bench_options *options, const bench_dram *dram, int n_streams, rt_pool *pool) {
    dram_job job = {.dram = dram, .pool = pool, .kernel = read_kernel_of(n_streams)};
    return bench_measure(
            options, rt_pool_threads(pool), 1e-9 * (double)dram->n_bytes, read_all, &job);
}

static void copy_item(void *context, int64_t item, int thread) {
    (void)thread;
    const dram_job *job = context;
    const int64_t n_pieces = (int64_t)PIECES_A_THREAD * rt_pool_threads(job->pool);
    const int64_t half = job->dram->n_bytes / 2;
    const int64_t piece_bytes = half / n_pieces;
    char *from = job->dram->bytes + item * piece_bytes;
    memcpy(from + half, from, (size_t)piece_bytes);
}

static void copy_all(void *context) {
    const dram_job *job = context;
    rt_pool_run(
            job->pool, (int64_t)PIECES_A_THREAD * rt_pool_threads(job->pool), copy_item, context);
}

bench_rate bench_peak_copy(const bench_options *options, const bench_dram *dram, rt_pool *pool) {
    dram_job job = {.dram = dram, .pool = pool};
    return bench_measure(
            options, rt_pool_threads(pool), 1e-9 * (double)dram->n_bytes, copy_all, &job);
}

/* ---- both ------------------------------------------------------------------------------------ */

/* Quick runs are too short to be judged. */
static double fma_peak(const bench_options *options, rt_pool *pool) {
    enum { ATTEMPTS = 3 };
    bench_fma best = {0};
    for (int i = 0; i < ATTEMPTS; i++) {
        const bench_fma fma = bench_peak_fma(options, options->isa, pool);
        if (fma.gflops.best > best.gflops.best) best = fma;
        if (options->is_quick || !bench_fma_is_void(&best)) return best.gflops.best;
    }
    (void)printf(
            "# VOID: the FMA peak reached %.2f of %d FMAs a cycle (95 %% are needed): something "
            "else runs here, or the clock changes\n",
            best.per_cycle, best.n_units);
    return best.gflops.best;
}

bench_peaks bench_peaks_of(const bench_options *options, rt_pool *pool) {
    static const int n_streams[] = {1, 4, 8};
    bench_peaks peaks = {.gflops = fma_peak(options, pool)};
    if (options->isa == RT_ISA_AMX) peaks.amx_gflops = bench_peak_amx(options, pool).best;
    bench_dram dram = bench_dram_create(options);
    for (size_t i = 0; i < sizeof n_streams / sizeof *n_streams; i++) {
        const double rate = bench_peak_read(options, &dram, n_streams[i], pool).best;
        peaks.read_gbps = rate > peaks.read_gbps ? rate : peaks.read_gbps;
    }
    bench_dram_free(&dram);
    return peaks;
}
