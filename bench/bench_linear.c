/* Linear layers: our kernels on bf16 weights, beside oneDNN as --linear onednn runs it (runtime/linear_onednn.h).
 *
 *   bench_linear [--no-onednn] [--rows 1,16] [--only "M qkv"] and what help_measure.h lists
 *
 * The shapes of GLM-4-9B, one rank's of 8, and of model M (hidden 1024), 512 rows (prefill, GFLOP/s against the FMA
 * peak) and 1 to 16 rows (decode, GB/s of stored weights). n rows are n FLOP a byte: the peak of decode
 * is the DRAM rate, or what the FMA peak allows where that is less. Copies of a matrix, 256 MiB in all,
 * take turns, so that no cache holds them. Where there are tiles of AMX (--isa amx) both multiply by them, and their peak
 * takes the place of the FMAs'; of ours half is the most that there is to be had (help_roof.h). Elsewhere oneDNN's is that of
 * AVX-512's bf16 products. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "help_roof.h"
#include "help_runs.h"
#include "runtime/base/memory.h"
#include "runtime/linear_choice.h"
#include "runtime/ops.h"

enum { N_PREFILL_ROWS = 512, ROWS_MAX = 8 };

static const int64_t weights_in_turn_bytes = 256 * RT_MIB;

static const char usage[] = "bench_linear [--no-onednn] [--rows 512,1,2,4,8,16] [--only MATRIX] "
                            "and options of help_measure.h";

typedef struct request {
    bool without_onednn;
    const char *only; /* NULL, or part of a matrix's name */
    int n_rows;
    int64_t rows[ROWS_MAX];
} request;

typedef struct matrix {
    const char *name;
    int64_t n_out;
    int64_t n_in;
} matrix;

static const matrix matrices[] = {{"9B qkv 5120 x 4096", 5120, 4096},
        {"9B gate 13696 x 4096", 13696, 4096}, {"9B down 4096 x 13696", 4096, 13696},
        {"M qkv 1536 x 1024", 1536, 1024}, {"M down 1024 x 3424", 1024, 3424},
        {"9B down of 8 ranks 4096 x 1712", 4096, 1712}};
enum { N_MATRICES = sizeof matrices / sizeof *matrices };

typedef struct job {
    glm_ops ops;
    glm_linear weight; /* the copy whose turn it is */
    char *copies;
    int64_t n_copies;
    int64_t turn;
    glm_rows x;
    glm_rows y;
    int64_t n_rows;
    double fp32_of_bf16; /* the peaks of both */
} job;

static int64_t weight_bytes(const glm_linear *weight) {
    return glm_linear_bytes(weight->n_out, weight->n_in, RT_BF16, weight->by);
}

static void run_linear(void *context) {
    job *j = context;
    const int64_t copy_bytes = weight_bytes(&j->weight);
    j->weight.panels = j->copies + j->turn++ % j->n_copies * copy_bytes;
    j->ops.linear(&j->ops, &j->weight, NULL, 0, j->weight.n_out, j->x, j->n_rows, j->y);
}

static void claim(
        bench_roofs *roofs, const job *j, const matrix *m, const char *who, bench_rate runs) {
    char what[96];
    (void)snprintf(what, sizeof what, "%s rows %d %s", m->name, (int)j->n_rows, who);
    const double gflop = 2e-9 * (double)m->n_out * (double)m->n_in * (double)j->n_rows;
    const double gb = 2e-9 * (double)m->n_out * (double)m->n_in;
    const bool is_prefill = j->n_rows == N_PREFILL_ROWS;
    const bool has_tiles = glm_ops_has_tiles(j->ops.isa);
    const double fp32 = j->weight.by == GLM_LINEAR_OWN ? gflop : gflop * j->fp32_of_bf16;
    const double amount = is_prefill ? gflop : gb;
    const bench_figure figure = {.what = what,
            .n_threads = rt_pool_threads(j->ops.pool),
            .rate = {amount * runs.best, amount * runs.median},
            .unit = is_prefill ? "GFLOP/s" : "GB/s"};
    bench_claim(roofs, &figure,
            (bench_cost){.gflop = has_tiles ? 0.0 : fp32 / amount,
                    .tile_gflop = has_tiles ? gflop / amount : 0.0,
                    .gb = gb / amount});
}

static void fill(job *j, const matrix *m) {
    const int64_t n = m->n_out * m->n_in;
    uint16_t *weights = j->weight.panels;
    for (int64_t i = 0; i < n; i++) weights[i] = rt_float_to_bf16((float)(i % 201 - 100) * 0.01f);
    for (int64_t copy = 1; copy < j->n_copies; copy++)
        memcpy(weights + copy * n, weights, (size_t)n * sizeof *weights);
    for (int64_t i = 0; i < N_PREFILL_ROWS * j->x.stride; i++)
        j->x.data[i] = (float)(i % 101 - 50) * 0.02f;
}

static void bench_by(const bench_options *options, job *j, const matrix *m, bench_roofs *roofs,
        glm_linear_by by) {
    j->weight.by = by;
    claim(roofs, j, m, by == GLM_LINEAR_OWN ? "ours" : "oneDNN",
            bench_measure(options, rt_pool_threads(j->ops.pool), 1.0, run_linear, j));
}

static void bench_matrix(const bench_options *options, const request *r, const matrix *m,
        rt_pool *pool, bench_roofs *roofs) {
    const attn_shape shape = {.n_heads = 1, .n_kv_heads = 1, .head_dim = 16, .kv_dtype = RT_BF16};
    job j = {.weight = {.n_out = m->n_out, .n_in = m->n_in, .dtype = RT_BF16},
            .x = {.stride = glm_row_stride(m->n_in)},
            .y = {.stride = glm_row_stride(m->n_out)}};
    const int64_t bytes = rt_max64(glm_linear_bytes(m->n_out, m->n_in, RT_BF16, GLM_LINEAR_OWN),
            glm_linear_bytes(
                    m->n_out, m->n_in, RT_BF16, GLM_LINEAR_ONEDNN)); /* which pads inputs */
    j.n_copies = options->is_quick ? 1 : rt_div_up(weights_in_turn_bytes, bytes);
    j.copies = bench_memory(j.n_copies * bytes);
    j.weight.panels = j.copies;
    j.x.data = bench_memory(N_PREFILL_ROWS * j.x.stride * 4);
    j.y.data = bench_memory(N_PREFILL_ROWS * j.y.stride * 4);
    bench_must(glm_ops_cpu_create(&shape, options->isa, pool, &j.ops));
    if (!r->without_onednn) {
        bench_must(glm_ops_add_onednn(&j.ops, &m->n_in, 1));
        j.fp32_of_bf16 = roofs->before.gflops / bench_peak_bf16(options, pool);
    }
    fill(&j, m);
    for (int i = 0; i < r->n_rows; i++) {
        j.n_rows = r->rows[i];
        bench_by(options, &j, m, roofs, GLM_LINEAR_OWN);
        if (!r->without_onednn) bench_by(options, &j, m, roofs, GLM_LINEAR_ONEDNN);
    }
    glm_ops_free(&j.ops);
    rt_mem_free(j.y.data, N_PREFILL_ROWS * j.y.stride * 4);
    rt_mem_free(j.x.data, N_PREFILL_ROWS * j.x.stride * 4);
    rt_mem_free(j.copies, j.n_copies * bytes);
    bench_roofs_again(options, pool, roofs);
}

static void parse_rows(const char *text, request *r) {
    r->n_rows = 0;
    for (char *end = NULL; *text; text = *end ? end + 1 : end) {
        const int64_t n = strtoll(text, &end, 10);
        if (end == text || n < 1 || n > N_PREFILL_ROWS || r->n_rows == ROWS_MAX)
            bench_must(rt_fail(RT_EUSAGE, "usage: %s", usage));
        r->rows[r->n_rows++] = n;
    }
}

/* Takes its own options out of argv; returns how many are left. */
static int parse(int argc, char **argv, request *r) {
    int n = 1;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--no-onednn") == 0)
            r->without_onednn = true;
        else if (strcmp(argv[i], "--rows") == 0)
            parse_rows(runs_value(argc, argv, &i, usage), r);
        else if (strcmp(argv[i], "--only") == 0)
            r->only = runs_value(argc, argv, &i, usage);
        else
            argv[n++] = argv[i];
    }
    return n;
}

/* Where it is not there, its figures are left out. */
static void look_for_onednn(request *r) {
    char text[256];
    if (r->without_onednn) return;
    r->without_onednn = !glm_linear_describe_onednn(text, sizeof text);
    (void)fprintf(stderr, "%s\n", text);
}

int main(int argc, char **argv) {
    request r = {.n_rows = 6, .rows = {N_PREFILL_ROWS, 1, 2, 4, 8, 16}};
    const int n_left = parse(argc, argv, &r);
    const bench_options options = bench_parse(n_left, argv);
    bench_begin(&options);
    look_for_onednn(&r);
    int counts[2];
    const int n_counts = bench_thread_counts(&options, counts);
    for (int i = 0; i < n_counts; i++) {
        rt_pool *pool = bench_pool(counts[i]);
        bench_roofs roofs = bench_roofs_begin(&options, pool);
        const int first = options.is_quick ? 3 : 0;
        for (int m = first; m < N_MATRICES; m++)
            if (!r.only || strstr(matrices[m].name, r.only))
                bench_matrix(&options, &r, &matrices[m], pool, &roofs);
        bench_roofs_end(&roofs);
        rt_pool_free(pool);
    }
    return bench_end(&options);
}
