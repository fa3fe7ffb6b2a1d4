/* Decode may see the keys in windows cut at any page, a different one for each sequence: same bits.
 *
 * Method: sequences on one book with tails of their own, decoded one by one over all their keys;
 * then together in windows. Windows are cut once at every page boundary in turn, then at random, in
 * step and each sequence on its own; pages are shown through a small buffer that is filled with NaN
 * again after each window, as the store's is, sequences that share a page sharing its copy. */
#include <string.h>

#include "help_attention.h"
#include "runtime/base/memory.h"
#include "runtime/base/size.h"

enum { HEADS = 8, KV_HEADS = 2 };
enum { SEQS = 14, BOOK = 8500, PAGE = ATTN_PAGE_TOKENS, PAGES_MAX = BOOK / PAGE + 10 };

typedef struct fixture {
    ath_kernels kernels;
    int64_t row; /* numbers of a query token */
    ath_layer book;
    ath_sequence seqs[SEQS];
    int64_t lengths[SEQS];
    float *q;
    float *alone;
    float *together;
    void *scratch;
    int64_t scratch_bytes;
    const void *shown[SEQS * PAGES_MAX]; /* what each staged page is a copy of */
    void *staged[SEQS * PAGES_MAX];
    int64_t n_shown;
    void *pages[SEQS][PAGES_MAX]; /* of the window */
} fixture;

static void fixture_create(fixture *f, const attn_shape *shape, rt_isa isa) {
    memset(f, 0, sizeof *f);
    f->kernels = ath_open(shape, isa, 2);
    f->row = (int64_t)HEADS * shape->head_dim;
    f->book = ath_layer_create(shape, BOOK, 151);
    f->q = ath_normals(SEQS * f->row, 153);
    f->alone = ath_zeros(SEQS * f->row);
    f->together = ath_zeros(SEQS * f->row);
    uint64_t random = 155;
    for (int i = 0; i < SEQS; i++) {
        f->seqs[i] = ath_fork(&f->book, &random);
        f->lengths[i] = f->seqs[i].n_tokens;
        const attn_segment keys = {.pages = f->seqs[i].pages, .n_tokens = f->lengths[i]};
        ath_decode(&f->kernels, f->q + i * f->row, &keys, 1, f->alone + i * f->row);
    }
    f->scratch_bytes = attn_decode_scratch_bytes(shape, PAGES_MAX * PAGE, SEQS);
    CHECK(rt_mem_alloc(f->scratch_bytes, "decode scratch", &f->scratch) == RT_OK);
    memset(f->scratch, 0xff, (size_t)f->scratch_bytes);
}

static void fixture_free(fixture *f) {
    const attn_shape *shape = &f->kernels.shape;
    for (int i = 0; i < SEQS; i++) ath_fork_free(&f->seqs[i], shape);
    for (int64_t i = 0; f->staged[i]; i++) rt_mem_free(f->staged[i], attn_page_bytes(shape));
    rt_mem_free(f->scratch, f->scratch_bytes);
    free(f->q);
    free(f->alone);
    free(f->together);
    ath_layer_free(&f->book);
    ath_close(&f->kernels);
}

/* ---- the window's pages ---------------------------------------------------------------------- */

static void *show(fixture *f, const void *page) {
    for (int64_t i = 0; i < f->n_shown; i++)
        if (f->shown[i] == page) return f->staged[i];
    const int64_t i = f->n_shown++;
    if (!f->staged[i]) f->staged[i] = ath_page_create(&f->kernels.shape);
    memcpy(f->staged[i], page, (size_t)attn_page_bytes(&f->kernels.shape));
    f->shown[i] = page;
    return f->staged[i];
}

static void hide_all(fixture *f) {
    for (int64_t i = 0; i < f->n_shown; i++)
        memset(f->staged[i], 0xff, (size_t)attn_page_bytes(&f->kernels.shape));
    f->n_shown = 0;
}

static attn_segment show_window(fixture *f, int seq, int64_t from, int64_t to) {
    for (int64_t pos = from; pos < to; pos += PAGE)
        f->pages[seq][(pos - from) / PAGE] = show(f, f->seqs[seq].pages[pos / PAGE]);
    return (attn_segment){.pages = f->pages[seq], .first_pos = from, .n_tokens = to - from};
}

/* ---- steps ----------------------------------------------------------------------------------- */

/* Window number `index` ends at, for a sequence that has come to `pos`. */
typedef int64_t window_end(int seq, int64_t pos, int index, void *context);

static void check_step(fixture *f, window_end *end_of, void *context) {
    const attn_decode_step step = {.q = f->q,
            .stride = f->row,
            .lengths = f->lengths,
            .n_seqs = SEQS,
            .scratch = f->scratch};
    int64_t pos[SEQS] = {0};
    attn_decode_begin(f->kernels.cpu, &step);
    bool is_done = false;
    for (int index = 0; !is_done; index++) {
        attn_segment window[SEQS];
        is_done = true;
        for (int i = 0; i < SEQS; i++) {
            const int64_t end = rt_min64(end_of(i, pos[i], index, context), f->lengths[i]);
            window[i] = show_window(f, i, pos[i], end);
            pos[i] = end;
            is_done = is_done && end == f->lengths[i];
        }
        attn_decode_window(f->kernels.cpu, &step, window);
        hide_all(f);
    }
    attn_decode_finish(f->kernels.cpu, &step, f->together);
    CHECK(ath_same(f->alone, f->together, SEQS * f->row));
}

static int64_t cut_once(int seq, int64_t pos, int index, void *context) {
    (void)seq;
    (void)pos;
    return index == 0 ? *(const int64_t *)context : INT64_MAX;
}

/* In step: all sequences up to the same random position. */
typedef struct random_cuts {
    uint64_t random;
    int index;
    int64_t end;
} random_cuts;

static int64_t cut_in_step(int seq, int64_t pos, int index, void *context) {
    (void)seq;
    (void)pos;
    random_cuts *cuts = context;
    if (cuts->index != index) cuts->end += PAGE * (1 + random_below(&cuts->random, 30));
    cuts->index = index;
    return cuts->end;
}

/* Out of step; one time in four a sequence gets nothing. */
static int64_t cut_alone(int seq, int64_t pos, int index, void *context) {
    (void)seq;
    (void)index;
    uint64_t *random = context;
    return random_below(random, 4) == 0 ? pos : pos + PAGE * (1 + random_below(random, 25));
}

static void check(rt_isa isa, int32_t head_dim, rt_dtype kv_dtype) {
    static fixture f;
    const attn_shape shape = ath_shape(HEADS, KV_HEADS, head_dim, kv_dtype);
    if (!ath_has(isa, &shape)) return;
    fixture_create(&f, &shape, isa);
    const int64_t step = ath_is_slow(isa) ? 22 : ath_is_fast() ? 11 : 1; /* pages */
    const int n_repeats = ath_is_slow(isa) ? 1 : ath_is_fast() ? 2 : 10;
    for (int64_t cut = PAGE; cut < PAGES_MAX * PAGE; cut += step * PAGE)
        check_step(&f, cut_once, &cut);
    for (int repeat = 0; repeat < n_repeats; repeat++) {
        random_cuts cuts = {.random = 157 + (uint64_t)repeat, .index = -1};
        check_step(&f, cut_in_step, &cuts);
        uint64_t random = 177 + (uint64_t)repeat;
        check_step(&f, cut_alone, &random);
    }
    fixture_free(&f);
}

int main(void) {
    for (rt_isa isa = RT_ISA_PORTABLE; isa <= RT_ISA_AMX; isa++) {
        check(isa, isa == RT_ISA_AMX ? 32 : 16, RT_BF16);
        if (!ath_is_fast()) check(isa, 16, RT_F32);
    }
    return 0;
}
