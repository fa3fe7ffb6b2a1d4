/* Lossy pages: what a query reads depends on its position only, not on chunks, windows or company.
 *
 * Method: as the runtime does it. Each token decoded alone, with every earlier page sealed and only
 * its own page open, is what is right. Then the same tokens prefilled in chunks of several sizes,
 * over one segment and over random windows, with no open page but the chunk's and no sealed page
 * that is not full; and decoded together, each with pages of its own but for the shared ones, in
 * random windows. Pages that must not be read are NULL. memcmp throughout. */
#include <string.h>

#include "help_attention.h"
#include "runtime/base/memory.h"
#include "runtime/base/size.h"

enum { HEADS = 6, KV_HEADS = 2, HEAD_DIM = 80, ROW = HEADS * HEAD_DIM };
enum { PAGE = ATTN_PAGE_TOKENS, SPLIT = ATTN_SPLIT_TOKENS, SEQS = 32, PAGES_MAX = 64 };

/* The pages as they are once `length` tokens are there and the queries are [pos, length). */
typedef struct view {
    void *pages[PAGES_MAX];
    void *open_pages[PAGES_MAX]; /* from open_pos on */
    int64_t open_pos;
} view;

static void show(const ath_layer *layer, int64_t pos, int64_t length, view *v) {
    memset(v, 0, sizeof *v);
    v->open_pos = pos / PAGE * PAGE;
    for (int64_t page = 0; page * PAGE < length; page++) {
        if ((page + 1) * PAGE <= length) v->pages[page] = layer->pages[page];
        if (page * PAGE >= v->open_pos)
            v->open_pages[page - v->open_pos / PAGE] = layer->open_pages[page];
    }
}

/* Keys [from, to). Without open pages where no query can be among them. */
static attn_segment window_of(view *v, int64_t from, int64_t to) {
    return (attn_segment){.pages = v->pages + from / PAGE,
            .first_pos = from,
            .n_tokens = to - from,
            .open_pages = to > v->open_pos ? v->open_pages : NULL,
            .open_pos = v->open_pos};
}

typedef struct fixture {
    ath_layer layer;
    ath_kernels kernels;
    int64_t pos; /* of the first query */
    int64_t n;
    float *q;
    float *alone; /* what is right, [n][ROW] */
    float *out;
    attn_state state;
} fixture;

static void fixture_create(fixture *f, rt_isa isa, rt_dtype kv_dtype, int64_t pos, int64_t n) {
    const attn_shape shape = ath_shape(HEADS, KV_HEADS, HEAD_DIM, kv_dtype);
    *f = (fixture){.layer = ath_layer_create(&shape, pos + n, 201),
            .kernels = ath_open(&shape, isa, 2),
            .pos = pos,
            .n = n,
            .q = ath_normals(n * ROW, 203),
            .alone = ath_zeros(n * ROW),
            .out = ath_zeros(n * ROW),
            .state = ath_state_create(&shape, n)};
    f->state.part_max = ath_zeros(n * HEADS);
    f->state.part_sum = ath_zeros(n * HEADS);
    f->state.part_out = ath_zeros(n * ROW);
    for (int64_t t = 0; t < n; t++) {
        view v;
        show(&f->layer, pos + t, pos + t + 1, &v);
        const attn_segment keys = window_of(&v, 0, pos + t + 1);
        ath_decode(&f->kernels, f->q + t * ROW, &keys, 1, f->alone + t * ROW);
    }
}

static void fixture_free(fixture *f) {
    free(f->state.part_max);
    free(f->state.part_sum);
    free(f->state.part_out);
    ath_state_free(&f->state);
    free(f->q);
    free(f->alone);
    free(f->out);
    ath_close(&f->kernels);
    ath_layer_free(&f->layer);
}

/* Tokens [t, t + n) of the queries in one call a window; windows of up to `most` pages. */
static void prefill_chunk(fixture *f, int64_t t, int64_t n, int64_t most, uint64_t *random) {
    view v;
    const int64_t pos = f->pos + t;
    const int64_t length = pos + n;
    show(&f->layer, pos, length, &v);
    attn_reset(f->kernels.cpu, &f->state, n);
    int64_t next = 0;
    for (int64_t from = 0; from < length; from = next) {
        next = rt_min64(from + PAGE * (1 + random_below(random, most)), length);
        const attn_segment keys = window_of(&v, from, next);
        attn_prefill(f->kernels.cpu, f->q + t * ROW, ROW, n, pos, &keys, &f->state);
    }
    attn_finish(f->kernels.cpu, &f->state, n, NULL);
    memcpy(f->out + t * ROW, f->state.out, (size_t)(n * ROW) * sizeof *f->out);
}

static void check_chunks(fixture *f) {
    static const int64_t chunks[] = {1, 7, 100, 128, 129, 1000};
    static const int64_t windows[] = {1 << 20, 20, 3};
    uint64_t random = 205;
    for (size_t c = 0; c < sizeof chunks / sizeof *chunks; c++)
        for (size_t w = 0; w < sizeof windows / sizeof *windows; w++) {
            const bool is_slow = chunks[c] < 100 && (w > 0 || ath_is_fast());
            if (is_slow || (ath_is_fast() && w == 1)) continue;
            for (int64_t t = 0; t < f->n; t += chunks[c])
                prefill_chunk(f, t, rt_min64(chunks[c], f->n - t), windows[w], &random);
            CHECK(ath_same(f->alone, f->out, f->n * ROW));
        }
}

/* The last SEQS queries as sequences of one step, each a token longer than the one before. */
static void decode_together(fixture *f, int64_t most, uint64_t *random) {
    static view views[SEQS];
    int64_t lengths[SEQS];
    const int64_t first = f->n - SEQS;
    for (int i = 0; i < SEQS; i++) {
        lengths[i] = f->pos + first + i + 1;
        show(&f->layer, lengths[i] - 1, lengths[i], &views[i]);
    }
    const int64_t bytes = attn_decode_scratch_bytes(&f->layer.shape, f->layer.n_tokens, SEQS);
    void *scratch = NULL;
    CHECK(rt_mem_alloc(bytes, "decode scratch", &scratch) == RT_OK);
    const attn_decode_step step = {.q = f->q + first * ROW,
            .stride = ROW,
            .lengths = lengths,
            .n_seqs = SEQS,
            .scratch = scratch};
    attn_decode_begin(f->kernels.cpu, &step);
    int64_t next = 0;
    for (int64_t from = 0; from < f->layer.n_tokens; from = next) {
        next = from + PAGE * (1 + random_below(random, most));
        attn_segment windows[SEQS];
        for (int i = 0; i < SEQS; i++)
            windows[i] =
                    window_of(&views[i], rt_min64(from, lengths[i]), rt_min64(next, lengths[i]));
        attn_decode_window(f->kernels.cpu, &step, windows);
    }
    attn_decode_finish(f->kernels.cpu, &step, f->out);
    CHECK(ath_same(f->alone + first * ROW, f->out, (int64_t)SEQS * ROW));
    rt_mem_free(scratch, bytes);
}

static void check(rt_isa isa, rt_dtype kv_dtype, int64_t pos, int64_t n) {
    const attn_shape shape = ath_shape(HEADS, KV_HEADS, HEAD_DIM, kv_dtype);
    if (!ath_has(isa, &shape)) return;
    fixture f;
    fixture_create(&f, isa, kv_dtype, pos, n);
    check_chunks(&f);
    uint64_t random = 207;
    for (int64_t most = 1; most < 100; most *= 3) decode_together(&f, most, &random);
    fixture_free(&f);
}

int main(void) {
    for (rt_isa isa = RT_ISA_PORTABLE; isa <= rt_machine_isa(); isa++) {
        /* Tokens in the middle pass the end of a split; the last 32, that of a page. */
        if (!ath_is_fast()) check(isa, RT_INT8, SPLIT - 150, 290);
        check(isa, RT_INT4, 0, 400);
        if (!ath_is_fast()) check(isa, RT_FP8, 100, 160);
        if (ath_is_fast()) check(isa, RT_INT8, SPLIT - 16, 32);
    }
    return 0;
}
