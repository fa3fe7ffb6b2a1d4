/* Pages to canonical rows and back, in GB/s of the page's bytes, beside memcpy of as many: what the
 * KV store pays, a core, before it compresses and after it reads; the same for sealed pages, and
 * sealing itself, in GB/s of the bf16 pages that go in. 2 KV heads, head_dim 128.
 *
 * Method: 64 MiB of pages and as many of rows, larger than the caches of a core; the rows of the
 * first page are checked to come back; then the three are timed one after the other, the share
 * being of memcpy. Every thread of the pool has pages of its own. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attention/attention.h"
#include "help_measure.h"
#include "runtime/base/memory.h"
#include "runtime/base/size.h"

enum { KV_HEADS = 2, HEAD_DIM = 128, PAGE = ATTN_PAGE_TOKENS };

typedef struct job {
    attn_shape shape;
    rt_pool *pool;
    int64_t n_pages;
    int64_t page_bytes;
    char *pages;
    char *rows;      /* [n_pages][kv_head][K, V][128][HEAD_DIM] */
    char *open_page; /* lossy */
} job;

static void unpack_item(void *context, int64_t item, int thread) {
    (void)thread;
    const job *j = context;
    const int64_t half = j->page_bytes / (2 * KV_HEADS);
    for (int32_t head = 0; head < KV_HEADS; head++) {
        char *k = j->rows + item * j->page_bytes + 2 * head * half;
        attn_page_unpack(&j->shape, j->pages + item * j->page_bytes, head, 0, PAGE, k, k + half);
    }
}

static void pack_item(void *context, int64_t item, int thread) {
    (void)thread;
    const job *j = context;
    const int64_t half = j->page_bytes / (2 * KV_HEADS);
    for (int32_t head = 0; head < KV_HEADS; head++) {
        const char *k = j->rows + item * j->page_bytes + 2 * head * half;
        attn_page_pack(&j->shape, j->pages + item * j->page_bytes, head, 0, PAGE, k, k + half);
    }
}

/* `rows` are canonical bytes. */
static void unpack_sealed_item(void *context, int64_t item, int thread) {
    (void)thread;
    const job *j = context;
    const int64_t bytes = attn_page_canonical_bytes(&j->shape);
    for (int32_t head = 0; head < KV_HEADS; head++)
        attn_page_unpack_sealed(&j->shape, j->pages + item * j->page_bytes, head,
                j->rows + item * j->page_bytes + head * bytes);
}

static void pack_sealed_item(void *context, int64_t item, int thread) {
    (void)thread;
    const job *j = context;
    const int64_t bytes = attn_page_canonical_bytes(&j->shape);
    for (int32_t head = 0; head < KV_HEADS; head++)
        attn_page_pack_sealed(&j->shape, j->pages + item * j->page_bytes, head,
                j->rows + item * j->page_bytes + head * bytes);
}

static void seal_item(void *context, int64_t item, int thread) {
    (void)thread;
    const job *j = context;
    attn_page_seal(&j->shape, j->open_page, j->pages + item * j->page_bytes);
}

static void copy_item(void *context, int64_t item, int thread) {
    (void)thread;
    const job *j = context;
    memcpy(j->rows + item * j->page_bytes, j->pages + item * j->page_bytes, (size_t)j->page_bytes);
}

typedef struct loop {
    const job *job;
    rt_pool_work *item;
} loop;

static void run_loop(void *context) {
    const loop *l = context;
    rt_pool_run(l->job->pool, l->job->n_pages, l->item, (void *)(uintptr_t)l->job);
}

static void check_round_trip(job *j) {
    char *before = bench_memory(j->page_bytes);
    memcpy(before, j->pages, (size_t)j->page_bytes);
    unpack_item(j, 0, 0);
    memset(j->pages, 0, (size_t)j->page_bytes);
    pack_item(j, 0, 0);
    if (memcmp(before, j->pages, (size_t)j->page_bytes) != 0) {
        (void)fprintf(stderr, "bench_page_pack: a page does not come back\n");
        exit(1);
    }
    rt_mem_free(before, j->page_bytes);
}

static job job_create(const bench_options *options, rt_pool *pool, rt_dtype dtype) {
    job j = {.shape = {.n_heads = KV_HEADS,
                     .n_kv_heads = KV_HEADS,
                     .head_dim = HEAD_DIM,
                     .kv_dtype = dtype},
            .pool = pool};
    j.page_bytes = attn_page_bytes(&j.shape);
    j.n_pages = (options->is_quick ? 1 : 64) * RT_MIB / j.page_bytes;
    j.pages = bench_memory(j.n_pages * j.page_bytes);
    j.rows = bench_memory(j.n_pages * j.page_bytes);
    j.open_page = bench_memory(attn_open_page_bytes(&j.shape));
    /* Written, all of it: memory that was not is one and the same page of zeros. */
    for (int64_t i = 0; i < j.n_pages * j.page_bytes; i++) j.pages[i] = (char)(i * 131 + i / 251);
    for (int64_t i = 0; i < attn_open_page_bytes(&j.shape) / 2; i++)
        ((uint16_t *)(void *)j.open_page)[i] = rt_float_to_bf16((float)(i * 131 % 1009) - 500.0f);
    return j;
}

static void job_free(job *j) {
    rt_mem_free(j->pages, j->n_pages * j->page_bytes);
    rt_mem_free(j->rows, j->n_pages * j->page_bytes);
    rt_mem_free(j->open_page, attn_open_page_bytes(&j->shape));
}

typedef struct named_work {
    const char *verb;
    rt_pool_work *item;
    bool is_sealing; /* rates are of open pages */
} named_work;

static void measure(const bench_options *options, rt_pool *pool, rt_dtype dtype) {
    static const named_work rows[] = {{"memcpy", copy_item, false}, {"unpack", unpack_item, false},
            {"pack", pack_item, false}};
    static const named_work sealed[] = {{"memcpy", copy_item, false},
            {"unpack sealed", unpack_sealed_item, false}, {"pack sealed", pack_sealed_item, false},
            {"seal", seal_item, true}};
    job j = job_create(options, pool, dtype);
    const bool is_lossy = attn_is_lossy(&j.shape);
    if (!is_lossy) check_round_trip(&j);
    const named_work *works = is_lossy ? sealed : rows;
    const size_t n_works = is_lossy ? sizeof sealed / sizeof *sealed : sizeof rows / sizeof *rows;
    const int n = rt_pool_threads(pool);
    double peak = 0.0;
    for (size_t i = 0; i < n_works; i++) {
        const int64_t page_bytes =
                works[i].is_sealing ? attn_open_page_bytes(&j.shape) : j.page_bytes;
        loop l = {&j, works[i].item};
        const bench_rate rate =
                bench_measure(options, n, 1e-9 * (double)(j.n_pages * page_bytes), run_loop, &l);
        if (i == 0) peak = rate.best;
        char what[64];
        (void)snprintf(what, sizeof what, "%s %s", works[i].verb, rt_dtype_name(dtype));
        const bench_figure figure = {.what = what,
                .n_threads = n,
                .rate = rate,
                .unit = "GB/s",
                .peak = works[i].is_sealing ? 0.0 : peak};
        bench_report(options, &figure);
    }
    job_free(&j);
}

int main(int argc, char **argv) {
    const bench_options options = bench_parse(argc, argv);
    bench_begin(&options);
    int counts[2];
    const int n_counts = bench_thread_counts(&options, counts);
    for (int i = 0; i < n_counts; i++) {
        rt_pool *pool = bench_pool(counts[i]);
        measure(&options, pool, RT_BF16);
        measure(&options, pool, RT_F32);
        measure(&options, pool, RT_INT8);
        measure(&options, pool, RT_INT4);
        measure(&options, pool, RT_FP8);
        rt_pool_free(pool);
    }
    return 0;
}
