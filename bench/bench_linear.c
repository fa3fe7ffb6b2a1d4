/* Linear layers: our kernel on bf16 weights as stored, beside oneDNN's sgemm.
 *
 * The shapes of GLM-4-9B and of model M (hidden 1024), 512 rows (prefill, GFLOP/s against the FMA
 * peak) and 1, 4 and 16 rows (decode, GB/s of stored weights against the DRAM peak). oneDNN has no
 * fast bf16 path without AVX-512: it gets weights widened to fp32, once without and once with the
 * widening in the time, as a program that keeps bf16 weights would have to do. */
#include <stdio.h>
#include <string.h>

#include "help_peak.h"
#include "runtime/base/memory.h"
#include "runtime/ops.h"

#if defined(BENCH_HAS_DNNL)
#include <dnnl.h>
#include <omp.h>
#endif

enum { N_PREFILL_ROWS = 512 };

typedef struct matrix {
    const char *name;
    int64_t n_out;
    int64_t n_in;
} matrix;

static const matrix matrices[] = {{"9B qkv 5120 x 4096", 5120, 4096},
        {"9B gate 13696 x 4096", 13696, 4096}, {"9B down 4096 x 13696", 4096, 13696},
        {"M qkv 1536 x 1024", 1536, 1024}, {"M down 1024 x 3424", 1024, 3424}};

typedef struct job {
    glm_ops ops;
    glm_linear weight;
    glm_rows x;
    glm_rows y;
    int64_t n_rows;
    float *wide; /* oneDNN's weights, [n_out][n_in] */
} job;

static void run_ours(void *context) {
    const job *j = context;
    j->ops.linear(&j->ops, &j->weight, NULL, 0, j->weight.n_out, j->x, j->n_rows, j->y);
}

static void report(const bench_options *options, const job *j, const matrix *m, const char *who,
        bench_rate runs, const bench_peaks *peaks) {
    char what[96];
    (void)snprintf(what, sizeof what, "%s rows %d %s", m->name, (int)j->n_rows, who);
    const double flop = 2.0 * (double)m->n_out * (double)m->n_in * (double)j->n_rows;
    const double bytes = (double)m->n_out * (double)m->n_in * 2.0;
    const bool is_prefill = j->n_rows == N_PREFILL_ROWS;
    const double amount = 1e-9 * (is_prefill ? flop : bytes);
    const bench_figure figure = {.what = what,
            .n_threads = rt_pool_threads(j->ops.pool),
            .rate = {amount * runs.best, amount * runs.median},
            .unit = is_prefill ? "GFLOP/s" : "GB/s",
            .peak = is_prefill ? peaks->gflops : peaks->read_gbps};
    bench_report(options, &figure);
}

#if defined(BENCH_HAS_DNNL)
static void run_onednn(void *context) {
    const job *j = context;
    const int64_t n = j->n_rows;
    const dnnl_status_t status = dnnl_sgemm('N', 'T', n, j->weight.n_out, j->weight.n_in, 1.0f,
            j->x.data, j->x.stride, j->wide, j->weight.n_in, 0.0f, j->y.data, j->y.stride);
    rt_assert(status == dnnl_success);
}

typedef struct widen_job {
    const job *j;
} widen_job;

static void widen_rows(void *context, int64_t item, int thread) {
    (void)thread;
    const job *j = ((const widen_job *)context)->j;
    const uint16_t *from = (const uint16_t *)j->weight.panels + item * j->weight.n_in;
    float *to = j->wide + item * j->weight.n_in;
    for (int64_t k = 0; k < j->weight.n_in; k++) to[k] = rt_bf16_to_float(from[k]);
}

/* The order of the numbers does not matter to the time: rows are widened as they lie. */
static void run_widened_onednn(void *context) {
    const job *j = context;
    widen_job widen = {j};
    rt_pool_run(j->ops.pool, j->weight.n_out, widen_rows, &widen);
    run_onednn(context);
}

static void bench_onednn(
        const bench_options *options, job *j, const matrix *m, const bench_peaks *peaks) {
    const int n_threads = rt_pool_threads(j->ops.pool);
    omp_set_num_threads(n_threads);
    report(options, j, m, "oneDNN f32 weights",
            bench_measure(options, n_threads, 1.0, run_onednn, j), peaks);
    report(options, j, m, "oneDNN widening bf16",
            bench_measure(options, n_threads, 1.0, run_widened_onednn, j), peaks);
}
#endif

static void fill(job *j, const matrix *m) {
    uint16_t *weights = j->weight.panels;
    for (int64_t i = 0; i < m->n_out * m->n_in; i++)
        weights[i] = rt_float_to_bf16((float)(i % 201 - 100) * 0.01f);
    for (int64_t i = 0; i < N_PREFILL_ROWS * j->x.stride; i++)
        j->x.data[i] = (float)(i % 101 - 50) * 0.02f;
}

static void bench_matrix(
        const bench_options *options, const matrix *m, rt_pool *pool, const bench_peaks *peaks) {
    static const int64_t rows[] = {N_PREFILL_ROWS, 1, 4, 16};
    const attn_shape shape = {.n_heads = 1, .n_kv_heads = 1, .head_dim = 16, .kv_dtype = RT_BF16};
    const int64_t weight_bytes = glm_linear_bytes(m->n_out, m->n_in, RT_BF16);
    const int64_t wide_bytes = m->n_out * m->n_in * 4;
    job j = {.x = {.stride = glm_row_stride(m->n_in)}, .y = {.stride = glm_row_stride(m->n_out)}};
    j.weight = (glm_linear){bench_memory(weight_bytes), m->n_out, m->n_in, RT_BF16};
    j.x.data = bench_memory(N_PREFILL_ROWS * j.x.stride * 4);
    j.y.data = bench_memory(N_PREFILL_ROWS * j.y.stride * 4);
    j.wide = bench_memory(wide_bytes);
    bench_must(glm_ops_cpu_create(&shape, options->isa, pool, &j.ops));
    fill(&j, m);
    for (int i = 0; i < 4; i++) {
        j.n_rows = rows[i];
        report(options, &j, m, "ours",
                bench_measure(options, rt_pool_threads(pool), 1.0, run_ours, &j), peaks);
#if defined(BENCH_HAS_DNNL)
        bench_onednn(options, &j, m, peaks);
#endif
    }
    glm_ops_free(&j.ops);
    rt_mem_free(j.wide, wide_bytes);
    rt_mem_free(j.y.data, N_PREFILL_ROWS * j.y.stride * 4);
    rt_mem_free(j.x.data, N_PREFILL_ROWS * j.x.stride * 4);
    rt_mem_free(j.weight.panels, weight_bytes);
}

int main(int argc, char **argv) {
    const bench_options options = bench_parse(argc, argv);
    bench_begin(&options);
    int counts[2];
    const int n_counts = bench_thread_counts(&options, counts);
    for (int i = 0; i < n_counts; i++) {
        rt_pool *pool = bench_pool(counts[i]);
        const bench_peaks peaks = bench_peaks_of(&options, pool);
        const int first = options.is_quick ? 3 : 0;
        for (int m = first; m < 5; m++) bench_matrix(&options, &matrices[m], pool, &peaks);
        rt_pool_free(pool);
    }
    return bench_end(&options);
}
