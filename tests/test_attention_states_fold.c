/* Partial states over disjoint keys fold into the whole, in any order and grouping: what splits, in prefill
 * and in decode, stand on.
 *
 * Method: one state for each split of 4096 keys, then
 *   - folded in ascending order they are the unsplit state, bit for bit;
 *   - an empty state on either side changes no bit; two empty ones are empty, and finish as 0, -inf;
 *   - folded in random order and grouping they are near it. Within the derived bound: one fold
 *     rounds the weight 2^(difference of maxima) by 1.2 u + ln2 u x that difference, and rounds 3
 *     times; n parts meet at most n - 1 folds on each side, whose maxima differ by at most `range`.
 *     Numerator and denominator, two orders: (4.2 (n - 1) + ln2 range) u x 2 (largest |v| + |out|),
 *     and the quotient's own u |out| twice. */
#include <math.h>
#include <string.h>

#include "attention/attn_cpu.h"
#include "help_attention.h"

enum { HEADS = 4, KV_HEADS = 2, HEAD_DIM = 32, PARTS = 7, SPLIT = ATTN_SPLIT_TOKENS };
enum { LENGTH = PARTS * SPLIT - 1000, N_OUT = HEADS * HEAD_DIM };

/* The state of one query token. */
typedef struct state {
    float max[HEADS];
    float sum[HEADS];
    float out[N_OUT];
} state;

static attn_state view(state *s) {
    return (attn_state){.max = s->max, .sum = s->sum, .out = s->out};
}

static state empty_state(const ath_kernels *kernels) {
    state s;
    attn_state v = view(&s);
    attn_reset(kernels->cpu, &v, 1);
    return s;
}

static void fold(const ath_kernels *kernels, state *acc, const state *part) {
    kernels->cpu->kernels->fold(
            acc->max, acc->sum, acc->out, part->max, part->sum, part->out, HEADS, HEAD_DIM);
}

static bool is_same(const state *a, const state *b) {
    return memcmp(a, b, sizeof *a) == 0;
}

/* Keys [pos, pos + n_tokens) of the layer, for the token at its end. */
static state scan(const ath_kernels *kernels, const ath_layer *layer, const float *q, int64_t pos,
        int64_t n_tokens) {
    state s = empty_state(kernels);
    attn_state v = view(&s);
    const attn_segment segment = {
            .pages = layer->pages + pos / ATTN_PAGE_TOKENS, .first_pos = pos, .n_tokens = n_tokens};
    attn_prefill(kernels->cpu, q, N_OUT, 1, LENGTH - 1, &segment, &v);
    return s;
}

static void check_ascending(const ath_kernels *kernels, const state *parts, const state *whole) {
    state acc = empty_state(kernels);
    for (int i = 0; i < PARTS; i++) fold(kernels, &acc, &parts[i]);
    CHECK(is_same(&acc, whole));
}

static void check_empty(const ath_kernels *kernels, const state *some) {
    const state empty = empty_state(kernels);
    state acc = empty;
    fold(kernels, &acc, some);
    CHECK(is_same(&acc, some));
    fold(kernels, &acc, &empty);
    CHECK(is_same(&acc, some));

    acc = empty;
    fold(kernels, &acc, &empty);
    CHECK(is_same(&acc, &empty));
    attn_state v = view(&acc);
    float lse[HEADS];
    attn_finish(kernels->cpu, &v, 1, lse);
    for (int i = 0; i < N_OUT; i++) CHECK(acc.out[i] == 0.0f);
    for (int h = 0; h < HEADS; h++) CHECK(isinf(lse[h]) && lse[h] < 0.0f);
}

static float range_of(const state *parts) {
    float low = INFINITY;
    float high = -INFINITY;
    for (int i = 0; i < PARTS; i++)
        for (int h = 0; h < HEADS; h++) {
            low = fminf(low, parts[i].max[h]);
            high = fmaxf(high, parts[i].max[h]);
        }
    return high - low;
}

static float largest_value(const ath_layer *layer) {
    float largest = 0.0f;
    for (int64_t i = 0; i < KV_HEADS * layer->n_tokens * HEAD_DIM; i++)
        largest = fmaxf(largest, fabsf(layer->v[i]));
    return largest;
}

/* Fold two random states into one until one is left. */
static state fold_at_random(const ath_kernels *kernels, const state *parts, uint64_t *random) {
    state left[PARTS];
    memcpy(left, parts, sizeof left);
    for (int n = PARTS; n > 1; n--) {
        const int64_t a = random_below(random, n);
        const int64_t b = (a + 1 + random_below(random, n - 1)) % n;
        fold(kernels, &left[a], &left[b]);
        left[b] = left[n - 1]; /* also where a is the last */
    }
    return left[0];
}

static void check_random_orders(const ath_kernels *kernels, const ath_layer *layer,
        const state *parts, const state *whole) {
    const float u = 0x1p-24f;
    const float fold_error = (4.2f * (PARTS - 1) + 0.6931472f * range_of(parts)) * u;
    const float largest = largest_value(layer);
    state right = *whole;
    attn_state v = view(&right);
    attn_finish(kernels->cpu, &v, 1, NULL);
    uint64_t random = 123;
    for (int repeat = 0; repeat < 100; repeat++) {
        state merged = fold_at_random(kernels, parts, &random);
        v = view(&merged);
        attn_finish(kernels->cpu, &v, 1, NULL);
        for (int i = 0; i < N_OUT; i++) {
            const float out = fabsf(right.out[i]);
            CHECK(fabsf(merged.out[i] - right.out[i]) <=
                    2.0f * fold_error * (largest + out) + 2.0f * u * out);
        }
    }
}

static void check(rt_isa isa, rt_dtype kv_dtype, float q_scale) {
    const attn_shape shape = ath_shape(HEADS, KV_HEADS, HEAD_DIM, kv_dtype);
    if (!ath_has(isa, &shape)) return;
    ath_layer layer = ath_layer_create(&shape, LENGTH, 121);
    ath_kernels kernels = ath_open(&shape, isa, 1);
    float *q = ath_normals(N_OUT, 125);
    for (int i = 0; i < N_OUT; i++) q[i] *= q_scale;
    state parts[PARTS];
    for (int i = 0; i < PARTS; i++)
        parts[i] = scan(&kernels, &layer, q, (int64_t)i * SPLIT,
                i == PARTS - 1 ? LENGTH - i * SPLIT : SPLIT);
    const state whole = scan(&kernels, &layer, q, 0, LENGTH);

    check_ascending(&kernels, parts, &whole);
    check_empty(&kernels, &parts[3]);
    check_random_orders(&kernels, &layer, parts, &whole);
    free(q);
    ath_close(&kernels);
    ath_layer_free(&layer);
}

int main(void) {
    for (rt_isa isa = RT_ISA_PORTABLE; isa <= RT_ISA_AMX; isa++) {
        check(isa, RT_BF16, 1.0f);
        check(isa, RT_F32, 5.0f);
    }
    return 0;
}
