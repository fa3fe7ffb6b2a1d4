/* Attention: prefill in GFLOP/s against the FMA peak, decode in GB/s against the DRAM read rate or
 * what the FMA peak allows; by tiles of AMX (all pages but f32) against the peak of those, of which half is the most that there is to
 * be had (help_roof.h). head_dim 128, groups of 8 and of 4, bf16 pages; and int8,
 * int4 and fp8 pages, 32K keys, a group of 8.
 *
 *   bench_attention [--only TEXT] and what help_measure.h lists
 *
 * --only: figures whose name has TEXT in it, as "decode bf16 group 4".
 *
 * Prefill: a chunk of 128 tokens that ends at 32K or 128K keys; 4 FLOP for each visible (query,
 * key, dim). Decode: one token for each of 1 .. 16 sequences whose pages are all shared, over as
 * many layers as fill 512 MiB, so that no cache holds them; bytes are those of the pages, once. A
 * query of a group of 8 does 8 FLOP for each byte of bf16: with one thread that is already more than the
 * FMA peak allows at the DRAM rate. So the share is that of the lower roof, which the line names, beside what it
 * is of each. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attention/attention.h"
#include "help_roof.h"
#include "help_runs.h"
#include "runtime/base/memory.h"
#include "runtime/base/size.h"

static const char usage[] = "bench_attention [--only TEXT] and options of help_measure.h";

static const int32_t n_queries[] = {0, 1, 2, 4, 8, 16}; /* 0: prefill */
enum { N_FIGURES = sizeof n_queries / sizeof *n_queries };

enum { KV_HEADS = 2, HEAD_DIM = 128, CHUNK = 128, SEQS_MAX = 16, PAGE = ATTN_PAGE_TOKENS };

enum { NAME_BYTES = 96 };

typedef struct cell {
    int32_t group;
    int64_t n_tokens;
    rt_dtype kv_dtype;
} cell;

static void name_figure(const cell *of, int32_t queries, char what[NAME_BYTES]) {
    const int n =
            snprintf(what, NAME_BYTES, "%s %s group %d keys %lldK", queries ? "decode" : "prefill",
                    rt_dtype_name(of->kv_dtype), of->group, (long long)of->n_tokens / 1024);
    if (queries) (void)snprintf(what + n, NAME_BYTES - (size_t)n, " queries %d", queries);
}

/* Layers of pages, in one piece of memory. */
typedef struct cache {
    attn_shape shape;
    int64_t n_tokens;
    int64_t n_layers;
    int64_t n_bytes;
    char *memory;
    void **pages; /* [n_layers][n_tokens / 128] */
    void *open_page; /* lossy: the last one of every layer, open; the others are copies of it, sealed */
} cache;

/* Numbers of magnitude 1 to 2, either sign: scores spread by about 3, nothing underflows. */
static uint16_t random_bf16(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    const uint64_t bits = *state >> 40;
    return (uint16_t)(0x3f80u | (bits & 0x7fu) | ((bits & 0x80u) << 8));
}

static void fill_floats(float *to, int64_t n) {
    uint64_t state = 7;
    for (int64_t i = 0; i < n; i++) to[i] = rt_bf16_to_float(random_bf16(&state));
}

static void fill_page(const cache *c, void *page, uint64_t *state) {
    uint16_t *numbers = attn_is_lossy(&c->shape) ? c->open_page : page;
    for (int64_t i = 0; i < attn_open_page_bytes(&c->shape) / 2; i++)
        numbers[i] = random_bf16(state);
    if (attn_is_lossy(&c->shape)) attn_page_seal(&c->shape, c->open_page, page);
}

/* As many layers as fill about n_bytes. */
static cache cache_create(int32_t group, int64_t n_tokens, rt_dtype kv_dtype, int64_t n_bytes) {
    cache c = {.shape = {.n_heads = KV_HEADS * group,
                       .n_kv_heads = KV_HEADS,
                       .head_dim = HEAD_DIM,
                       .rope_dim = HEAD_DIM / 2,
                       .rope_base = 1e8,
                       .kv_dtype = kv_dtype},
            .n_tokens = n_tokens};
    const int64_t page_bytes = attn_page_bytes(&c.shape);
    c.n_layers = rt_max64(n_bytes / (n_tokens / PAGE * page_bytes), 1);
    const int64_t n_pages = c.n_layers * (n_tokens / PAGE);
    c.n_bytes = n_pages * page_bytes;
    c.memory = bench_memory(c.n_bytes);
    c.open_page = bench_memory(attn_open_page_bytes(&c.shape));
    bench_must(rt_calloc(n_pages, (int64_t)sizeof(void *), "pages", &c.pages));
    uint64_t state = 1;
    for (int64_t page = 0; page < n_pages; page++) {
        c.pages[page] = c.memory + page * page_bytes;
        fill_page(&c, c.pages[page], &state);
    }
    return c;
}

static void cache_free(cache *c) {
    rt_mem_free(c->memory, c->n_bytes);
    rt_mem_free(c->open_page, attn_open_page_bytes(&c->shape));
    free(c->pages);
}

static attn_segment layer_of(const cache *c, int64_t layer) {
    return (attn_segment){.pages = c->pages + layer * (c->n_tokens / PAGE),
            .n_tokens = c->n_tokens,
            .open_pages = &c->open_page,
            .open_pos = c->n_tokens - PAGE};
}

/* ---- prefill --------------------------------------------------------------------------------- */

typedef struct prefill_job {
    attn_cpu *cpu;
    const cache *c;
    float *q;
    attn_state state;
} prefill_job;

static void prefill_chunk(void *context) {
    prefill_job *job = context;
    const attn_segment keys = layer_of(job->c, 0);
    attn_reset(job->cpu, &job->state, CHUNK);
    attn_prefill(job->cpu, job->q, (int64_t)job->c->shape.n_heads * HEAD_DIM, CHUNK,
            keys.n_tokens - CHUNK, &keys, &job->state);
    attn_finish(job->cpu, &job->state, CHUNK, NULL);
}

static double prefill_gflop(const cache *c) {
    const double keys = (double)CHUNK * ((double)c->n_tokens - (CHUNK - 1) / 2.0);
    return 4e-9 * keys * c->shape.n_heads * HEAD_DIM;
}

static void bench_prefill(const bench_options *options, const cell *of, const cache *c,
        rt_pool *pool, bench_roofs *roofs) {
    const int64_t n_rows = (int64_t)CHUNK * c->shape.n_heads;
    float *memory = bench_memory((2 * n_rows * HEAD_DIM + 2 * n_rows) * 4);
    prefill_job job = {.c = c,
            .q = memory,
            .state = {.out = memory + n_rows * HEAD_DIM,
                    .max = memory + 2 * n_rows * HEAD_DIM,
                    .sum = memory + 2 * n_rows * HEAD_DIM + n_rows}};
    fill_floats(job.q, n_rows * HEAD_DIM);
    bench_must(attn_cpu_create(&c->shape, options->isa, pool, &job.cpu));
    char what[NAME_BYTES];
    name_figure(of, 0, what);
    const int n_threads = rt_pool_threads(pool);
    const bench_figure figure = {.what = what,
            .n_threads = n_threads,
            .rate = bench_measure(options, n_threads, prefill_gflop(c), prefill_chunk, &job),
            .unit = "GFLOP/s"};
    bench_claim(roofs, &figure, bench_cost_of_attention(options, &c->shape, 1.0));
    attn_cpu_free(job.cpu);
    rt_mem_free(memory, (2 * n_rows * HEAD_DIM + 2 * n_rows) * 4);
}

/* ---- decode ---------------------------------------------------------------------------------- */

typedef struct decode_job {
    attn_cpu *cpu;
    const cache *c;
    int32_t n_seqs;
    float *q;
    float *out;
    void *scratch;
} decode_job;

static void decode_layers(void *context) {
    const decode_job *job = context;
    const cache *c = job->c;
    for (int64_t layer = 0; layer < c->n_layers; layer++) {
        attn_segment keys[SEQS_MAX];
        for (int32_t i = 0; i < job->n_seqs; i++) keys[i] = layer_of(c, layer);
        attn_decode(job->cpu, job->q, (int64_t)c->shape.n_heads * HEAD_DIM, keys, job->n_seqs,
                job->out, job->scratch);
    }
}

static void claim_decode(const bench_options *options, bench_roofs *roofs, const cell *of,
        const decode_job *job, bench_rate passes, int n_threads) {
    const cache *c = job->c;
    const double gb = 1e-9 * (double)c->n_bytes;
    const double gflop = 4e-9 * (double)c->n_layers * (double)c->n_tokens * c->shape.n_heads *
                         HEAD_DIM * job->n_seqs;
    char what[NAME_BYTES];
    name_figure(of, job->n_seqs, what);
    const bench_figure figure = {.what = what,
            .n_threads = n_threads,
            .rate = {gb * passes.best, gb * passes.median},
            .unit = "GB/s"};
    bench_cost cost = bench_cost_of_attention(options, &c->shape, gflop / gb);
    cost.gb = 1.0;
    bench_claim(roofs, &figure, cost);
}

static void bench_decode(const bench_options *options, const cell *of, const cache *c,
        int32_t n_seqs, rt_pool *pool, bench_roofs *roofs) {
    const int64_t n_row = (int64_t)c->shape.n_heads * HEAD_DIM;
    const int64_t scratch_bytes = attn_decode_scratch_bytes(&c->shape, c->n_tokens, SEQS_MAX);
    const int64_t float_bytes = 2 * SEQS_MAX * n_row * 4;
    decode_job job = {.c = c,
            .n_seqs = n_seqs,
            .q = bench_memory(float_bytes),
            .scratch = bench_memory(scratch_bytes)};
    job.out = job.q + SEQS_MAX * n_row;
    fill_floats(job.q, SEQS_MAX * n_row);
    bench_must(attn_cpu_create(&c->shape, options->isa, pool, &job.cpu));
    const int n_threads = rt_pool_threads(pool);
    claim_decode(options, roofs, of, &job,
            bench_measure(options, n_threads, 1.0, decode_layers, &job), n_threads);
    attn_cpu_free(job.cpu);
    rt_mem_free(job.scratch, scratch_bytes);
    rt_mem_free(job.q, float_bytes);
}

/* ---- all of it ------------------------------------------------------------------------------- */

static bool is_wanted(const char *only, const cell *of, int32_t queries) {
    char what[NAME_BYTES];
    name_figure(of, queries, what);
    return !only || strstr(what, only);
}

static void bench_cell(const bench_options *options, const char *only, const cell *of,
        rt_pool *pool, bench_roofs *roofs) {
    bool is_any = false;
    for (int i = 0; i < N_FIGURES; i++) is_any |= is_wanted(only, of, n_queries[i]);
    if (!is_any) return;
    const int64_t n_bytes = options->is_quick ? 1 : 512 * RT_MIB;
    cache c =
            cache_create(of->group, options->is_quick ? 4096 : of->n_tokens, of->kv_dtype, n_bytes);
    for (int i = 0; i < N_FIGURES; i++) {
        if (!is_wanted(only, of, n_queries[i])) continue;
        if (n_queries[i] == 0)
            bench_prefill(options, of, &c, pool, roofs);
        else
            bench_decode(options, of, &c, n_queries[i], pool, roofs);
    }
    cache_free(&c);
    bench_roofs_again(options, pool, roofs);
}

/* Takes --only out of argv; returns how many are left. */
static int parse(int argc, char **argv, const char **only) {
    int n = 1;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--only") == 0)
            *only = runs_value(argc, argv, &i, usage);
        else
            argv[n++] = argv[i];
    }
    return n;
}

int main(int argc, char **argv) {
    static const cell cells[] = {{8, 32 * 1024, RT_BF16}, {8, 128 * 1024, RT_BF16},
            {4, 32 * 1024, RT_BF16}, {4, 128 * 1024, RT_BF16}, {8, 32 * 1024, RT_INT8},
            {8, 32 * 1024, RT_INT4}, {8, 32 * 1024, RT_FP8}};
    const char *only = NULL;
    const int n_left = parse(argc, argv, &only);
    const bench_options options = bench_parse(n_left, argv);
    bench_begin(&options);
    int counts[2];
    const int n_counts = bench_thread_counts(&options, counts);
    for (int i = 0; i < n_counts; i++) {
        rt_pool *pool = bench_pool(counts[i]);
        bench_roofs roofs = bench_roofs_begin(&options, pool);
        for (size_t j = 0; j < sizeof cells / sizeof *cells; j++)
            bench_cell(&options, only, &cells[j], pool, &roofs);
        bench_roofs_end(&roofs);
        rt_pool_free(pool);
    }
    return bench_end(&options);
}
