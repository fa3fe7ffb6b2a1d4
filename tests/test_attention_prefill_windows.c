/* Keys may come in segments cut at any page: prefill's bits are those of one segment.
 *
 * Method: queries that reach over several pages and, once, over the end of a split; the state's
 * partial buffers start as NaN. Cut once at every page boundary in turn, then at random ones, and
 * compare output and lse with memcmp. Then segments that end before the queries do, inside a split:
 * what attn_finish makes of them is what decode gives for that many keys. */
#include <math.h>

#include "help_attention.h"
#include "runtime/base/size.h"

enum { HEADS = 6, KV_HEADS = 2, HEAD_DIM = 32, ROW = HEADS * HEAD_DIM };
enum { PAGE = ATTN_PAGE_TOKENS, SPLIT = ATTN_SPLIT_TOKENS };

typedef struct fixture {
    ath_layer layer;
    ath_kernels kernels;
    ath_queries queries;
    float *q;
    attn_state state;
    float *lse;
    float *whole; /* all keys in one segment */
    float *whole_lse;
} fixture;

static void fill(float *numbers, int64_t n, float value) {
    for (int64_t i = 0; i < n; i++) numbers[i] = value;
}

static fixture fixture_create(rt_isa isa, rt_dtype kv_dtype, int64_t pos, int64_t n) {
    const attn_shape shape = ath_shape(HEADS, KV_HEADS, HEAD_DIM, kv_dtype);
    fixture f = {.layer = ath_layer_create(&shape, pos + n, 141),
            .kernels = ath_open(&shape, isa, 2),
            .q = ath_normals(n * ROW, 143),
            .state = ath_state_create(&shape, n),
            .lse = ath_zeros(n * HEADS),
            .whole = ath_zeros(n * ROW),
            .whole_lse = ath_zeros(n * HEADS)};
    f.state.part_max = ath_zeros(n * HEADS);
    f.state.part_sum = ath_zeros(n * HEADS);
    f.state.part_out = ath_zeros(n * ROW);
    f.queries = (ath_queries){.q = f.q, .pos = pos, .n_tokens = n};
    ath_prefill(&f.kernels, &f.layer, &f.queries, n, f.whole, f.whole_lse);
    return f;
}

static void fixture_free(fixture *f) {
    free(f->state.part_max);
    free(f->state.part_sum);
    free(f->state.part_out);
    ath_state_free(&f->state);
    free(f->q);
    free(f->lse);
    free(f->whole);
    free(f->whole_lse);
    ath_close(&f->kernels);
    ath_layer_free(&f->layer);
}

static void begin(fixture *f) {
    const int64_t n = f->queries.n_tokens;
    fill(f->state.part_max, n * HEADS, NAN);
    fill(f->state.part_sum, n * HEADS, NAN);
    fill(f->state.part_out, n * ROW, NAN);
    attn_reset(f->kernels.cpu, &f->state, n);
}

static void segment(fixture *f, int64_t from, int64_t to) {
    const attn_segment keys = {.pages = f->layer.pages + from / PAGE,
            .first_pos = from,
            .n_tokens = to - from,
            .open_pages = f->layer.open_pages};
    attn_prefill(f->kernels.cpu, f->q, ROW, f->queries.n_tokens, f->queries.pos, &keys, &f->state);
}

static void check_whole(fixture *f) {
    const int64_t n = f->queries.n_tokens;
    attn_finish(f->kernels.cpu, &f->state, n, f->lse);
    CHECK(ath_same(f->state.out, f->whole, n * ROW));
    CHECK(ath_same(f->lse, f->whole_lse, n * HEADS));
}

static void check_every_boundary(fixture *f, int64_t step) {
    const int64_t end = f->layer.n_tokens;
    for (int64_t cut = PAGE; cut < end; cut += step * PAGE) {
        begin(f);
        segment(f, 0, cut);
        segment(f, cut, end);
        check_whole(f);
    }
}

static void check_random_cuts(fixture *f, int repeats) {
    uint64_t random = 145;
    for (int repeat = 0; repeat < repeats; repeat++) {
        const int64_t most = repeat % 2 == 0 ? 3 : 40; /* pages */
        begin(f);
        int64_t next = 0;
        for (int64_t pos = 0; pos < f->layer.n_tokens; pos = next) {
            next = rt_min64(pos + PAGE * (1 + random_below(&random, most)), f->layer.n_tokens);
            segment(f, pos, next);
        }
        check_whole(f);
    }
}

/* Only the keys before `end`, which every query sees. */
static void check_early_end(fixture *f, int64_t end, int64_t cut) {
    float decoded[ROW];
    const attn_segment keys = ath_segment(&f->layer, end);
    begin(f);
    if (cut > 0) segment(f, 0, cut);
    segment(f, cut, end);
    attn_finish(f->kernels.cpu, &f->state, f->queries.n_tokens, NULL);
    for (int64_t t = 0; t < f->queries.n_tokens; t += 37) {
        ath_decode(&f->kernels, f->q + t * ROW, &keys, 1, decoded);
        CHECK(ath_same(decoded, f->state.out + t * ROW, ROW));
    }
}

static void check(rt_isa isa, rt_dtype kv_dtype, int64_t pos, int64_t n) {
    const attn_shape shape = ath_shape(HEADS, KV_HEADS, HEAD_DIM, kv_dtype);
    if (!ath_has(isa, &shape)) return;
    fixture f = fixture_create(isa, kv_dtype, pos, n);
    check_every_boundary(&f, ath_is_brief(isa) ? 13 : 1);
    check_random_cuts(&f, ath_is_brief(isa) ? 1 : 10);
    for (int64_t end = PAGE; end <= pos; end += SPLIT / 2 + PAGE) {
        if (attn_is_lossy(&f.kernels.shape)) break; /* decode reads its last page open */
        check_early_end(&f, end, 0);
        check_early_end(&f, end, end / PAGE / 2 * PAGE);
    }
    fixture_free(&f);
}

int main(void) {
    for (rt_isa isa = RT_ISA_PORTABLE; isa <= RT_ISA_AMX; isa++) {
        const bool is_brief = ath_is_brief(isa);
        check(isa, RT_BF16, (is_brief ? SPLIT : 2 * SPLIT) - 50, ath_is_slow(isa) ? 70 : 190);
        check(isa, RT_F32, SPLIT + 3 * PAGE + 1, 40);
        check(isa, RT_BF16, 0, is_brief ? 300 : 500);
        check(isa, RT_INT8, is_brief ? 200 : SPLIT - 50, 190);
    }
    return 0;
}
