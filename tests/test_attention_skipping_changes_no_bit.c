/* Leaving out what underflows to 0 changes no bit, and is done.
 *
 * Method: scores hundreds of powers of two apart, so that in a page all rows, some or none have weights.
 * Prefill and decode equal, bit for bit, the arithmetic of attention.h, or that of tiles, written out for one row in
 * scalars that leave nothing out; also where page after page lies half a power of two closer to the
 * edge of underflow, under values large enough to show. Then NaN in the values of pages without weights: never read, it
 * does not show; left in the arithmetic, it would. NaN in a key of such a page does show: it is a score
 * that nothing is known of. */
#include <math.h>
#include <string.h>

#include "help_attention.h"
#include "runtime/base/size.h"

enum { HEADS = 8, KV_HEADS = 1, HEAD_DIM = 32, TOKENS = 4096 + 520, QUERIES = 9 };
enum { N_ROWS = QUERIES * HEADS, N_OUT = N_ROWS * HEAD_DIM, PAGE = ATTN_PAGE_TOKENS };

/* ---- one row, nothing left out --------------------------------------------------------------- */

/* a b + c as the instruction set's kernels round it. */
static bool is_fused;
static float multiply_add(float a, float b, float c) {
    volatile float product = a * b; /* not to be contracted */
    return is_fused ? fmaf(a, b, c) : product + c;
}

/* By tiles, and otherwise in vectors of so many numbers; 0: not by tiles. */
static int tile_lanes;

static float exp2_of(float x) {
    static const float p[] = {0x1.44138ap-13f, 0x1.5f089p-10f, 0x1.3b2a54p-7f, 0x1.c6af6cp-5f,
            0x1.ebfbep-3f, 0x1.62e43p-1f, 1.0f};
    if (x < -126.0f) return 0.0f;
    const float n = rintf(x);
    float sum = p[0];
    for (int i = 1; i < 7; i++) sum = multiply_add(sum, x - n, p[i]);
    return ldexpf(sum, (int)n);
}

/* ---- by tiles (runtime/base/amx_tiles.h, attn_amx.c) */

enum { STEP = 32 };

/* Kept as the machine's tiles keep it. */
static float flushed(float x) {
    return fabsf(x) < 0x1p-126f ? copysignf(0.0f, x) : x;
}

/* Adds the products of n numbers, 32 or less, b's `stride` apart. */
static float add_step(float sum, const float *a, const float *b, int64_t stride, int64_t n) {
    float of[2] = {0.0f, 0.0f}; /* even ones, odd ones */
    for (int64_t i = 0; i < n; i++) {
        volatile float product = flushed(a[i]) * flushed(b[i * stride]); /* exact: bf16 */
        of[i % 2] = flushed(of[i % 2] + product);
    }
    return flushed(flushed(sum) + flushed(of[0] + of[1]));
}

static float tile_product(const float *a, const float *b, int64_t stride, int64_t n) {
    float sum = 0.0f;
    for (int64_t i = 0; i < n; i += STEP) {
        float high[STEP], low[STEP];
        const int64_t left = rt_min64(n - i, STEP);
        for (int64_t j = 0; j < left; j++) {
            high[j] = ath_nearest_half(a[i + j]);
            low[j] = ath_nearest_half(a[i + j] - high[j]);
        }
        sum = add_step(sum, high, b + i * stride, stride, left);
        sum = add_step(sum, low, b + i * stride, stride, left);
    }
    return sum;
}

/* Lane by lane, then the far half of the lanes to the near one until one is left. */
static float tile_weights_sum(const float *weights, int64_t n) {
    float lanes[16] = {0.0f};
    for (int64_t i = 0; i < n; i++) {
        const float high = ath_nearest_half(weights[i]);
        lanes[i % tile_lanes] += high + ath_nearest_half(weights[i] - high);
    }
    for (int left = tile_lanes / 2; left > 0; left /= 2)
        for (int i = 0; i < left; i++) lanes[i] += lanes[i + left];
    return lanes[0];
}

/* ---- one page */

typedef struct row_state {
    float max;
    float sum;
    float out[HEAD_DIM];
} row_state;

static float product_of(const float *a, const float *b, int64_t stride, int64_t n) {
    float sum = 0.0f;
    if (tile_lanes) return tile_product(a, b, stride, n);
    for (int64_t i = 0; i < n; i++) sum = multiply_add(a[i], b[i * stride], sum);
    return sum;
}

static float sum_of(const float *weights, int64_t n) {
    float sum = 0.0f;
    if (tile_lanes) return tile_weights_sum(weights, n);
    for (int64_t i = 0; i < n; i++) sum += weights[i];
    return sum;
}

static void add_page(
        const float *q, const float *k, const float *v, int64_t n_keys, row_state *row) {
    float weights[PAGE];
    float max = row->max;
    for (int64_t key = 0; key < n_keys; key++) {
        weights[key] = product_of(q, k + key * HEAD_DIM, 1, HEAD_DIM);
        max = fmaxf(max, weights[key]);
    }
    const float alpha = exp2_of(row->max - max);
    row->max = max;
    for (int64_t key = 0; key < n_keys; key++) weights[key] = exp2_of(weights[key] - max);
    row->sum = multiply_add(row->sum, alpha, sum_of(weights, n_keys));
    for (int d = 0; d < HEAD_DIM; d++)
        row->out[d] =
                multiply_add(row->out[d], alpha, product_of(weights, v + d, HEAD_DIM, n_keys));
}

static void fold_split(row_state *row, const row_state *part) {
    const float max = fmaxf(row->max, part->max);
    const float w_row = exp2_of(row->max - max);
    const float w_part = exp2_of(part->max - max);
    row->max = max;
    row->sum = multiply_add(row->sum, w_row, part->sum * w_part);
    for (int d = 0; d < HEAD_DIM; d++)
        row->out[d] = multiply_add(row->out[d], w_row, part->out[d] * w_part);
}

static void whole_row(const ath_layer *layer, const float *q, int64_t n_keys, float *out) {
    const float scale = (float)(1.4426950408889634 / sqrt((double)HEAD_DIM));
    float scaled[HEAD_DIM];
    for (int d = 0; d < HEAD_DIM; d++) scaled[d] = q[d] * scale;
    row_state row = {.max = -INFINITY};
    for (int64_t split = 0; split < n_keys; split += ATTN_SPLIT_TOKENS) {
        row_state part = {.max = -INFINITY};
        const int64_t end = rt_min64(split + ATTN_SPLIT_TOKENS, n_keys);
        for (int64_t pos = split; pos < end; pos += PAGE)
            add_page(scaled, layer->k + pos * HEAD_DIM, layer->v + pos * HEAD_DIM,
                    rt_min64(end - pos, PAGE), &part);
        fold_split(&row, &part);
    }
    for (int d = 0; d < HEAD_DIM; d++) out[d] = row.out[d] / row.sum;
}

/* ---- the kernels ----------------------------------------------------------------------------- */

/* Pages of small keys, not the first of a split: nothing in them has weight. */
static bool is_faint(int64_t page) {
    return page % 4 == 3;
}

static void fade(ath_layer *layer) {
    float faint[HEAD_DIM];
    for (int64_t token = 0; token < layer->n_tokens; token++) {
        const int64_t at = token * HEAD_DIM;
        if (!is_faint(token / PAGE)) continue;
        for (int d = 0; d < HEAD_DIM; d++) faint[d] = layer->k[at + d] / 64.0f;
        ath_layer_set(layer, 0, token, faint, layer->v + at);
    }
}

static void spoil_faint_values(ath_layer *layer) {
    float spoilt[HEAD_DIM];
    for (int d = 0; d < HEAD_DIM; d++) spoilt[d] = NAN;
    for (int64_t token = 0; token < layer->n_tokens; token++)
        if (is_faint(token / PAGE))
            ath_layer_set(layer, 0, token, layer->k + token * HEAD_DIM, spoilt);
}

/* Scores 0 in the first page of a split, -115.5, -116, -116.5 ... in those after. */
static void step_to_the_edge(ath_layer *layer, float *q) {
    float k[HEAD_DIM] = {0};
    float v[HEAD_DIM];
    for (int64_t token = 0; token < layer->n_tokens; token++) {
        const int64_t page = token % ATTN_SPLIT_TOKENS / PAGE;
        k[0] = page == 0 ? 0.0f : -115.0f - 0.5f * (float)page;
        for (int d = 0; d < HEAD_DIM; d++) v[d] = page == 0 ? 0.0f : 1e30f;
        ath_layer_set(layer, 0, token, k, v);
    }
    for (int64_t r = 0; r < N_ROWS; r++) q[r * HEAD_DIM] = sqrtf(HEAD_DIM) * 0.693147f;
}

/* Prefill all queries; decode the last alone, and all together. */
static void check_same(
        const ath_kernels *kernels, const ath_layer *layer, const float *q, const float *expected) {
    float *out = ath_zeros(N_OUT);
    const ath_queries queries = {.q = q, .pos = TOKENS - QUERIES, .n_tokens = QUERIES};
    ath_prefill(kernels, layer, &queries, QUERIES, out, NULL);
    CHECK(ath_same(out, expected, N_OUT));
    attn_segment keys[QUERIES];
    for (int i = 0; i < QUERIES; i++) keys[i] = ath_segment(layer, TOKENS - QUERIES + i + 1);
    memset(out, 0, N_OUT * sizeof *out);
    ath_decode(kernels, q, keys, QUERIES, out);
    CHECK(ath_same(out, expected, N_OUT));
    const int64_t last = (int64_t)(QUERIES - 1) * HEADS * HEAD_DIM;
    ath_decode(kernels, q + last, keys + QUERIES - 1, 1, out);
    CHECK(ath_same(out, expected + last, HEADS * HEAD_DIM));
    free(out);
}

/* One key of a faint page becomes NaN: so does every row, prefilled or decoded. */
static void check_nan_shows(const ath_kernels *kernels, ath_layer *layer, const float *q) {
    const int64_t token = 7 * PAGE + 50;
    float *out = ath_zeros(N_OUT);
    float spoilt[HEAD_DIM];
    for (int d = 0; d < HEAD_DIM; d++) spoilt[d] = NAN;
    ath_layer_set(layer, 0, token, spoilt, layer->v + token * HEAD_DIM);
    const ath_queries queries = {.q = q, .pos = TOKENS - QUERIES, .n_tokens = QUERIES};
    ath_prefill(kernels, layer, &queries, QUERIES, out, NULL);
    for (int64_t i = 0; i < N_OUT; i++) CHECK(isnan(out[i]));
    const attn_segment keys = ath_segment(layer, TOKENS);
    memset(out, 0, N_OUT * sizeof *out);
    ath_decode(kernels, q, &keys, 1, out);
    for (int64_t i = 0; i < HEADS * HEAD_DIM; i++) CHECK(isnan(out[i]));
    free(out);
}

static void expect(const ath_layer *layer, const float *q, float *expected) {
    for (int64_t r = 0; r < N_ROWS; r++)
        whole_row(
                layer, q + r * HEAD_DIM, TOKENS - QUERIES + r / HEADS + 1, expected + r * HEAD_DIM);
}

static void check(rt_isa isa, rt_dtype kv_dtype) {
    const attn_shape shape = ath_shape(HEADS, KV_HEADS, HEAD_DIM, kv_dtype);
    if (!ath_has(isa, &shape)) return;
    ath_layer layer = ath_layer_create(&shape, TOKENS, 211);
    fade(&layer);
    ath_kernels kernels = ath_open(&shape, isa, 2);
    float *q = ath_normals(N_OUT, 213);
    for (int64_t i = 0; i < N_OUT; i++) q[i] *= 100.0f;
    float *expected = ath_zeros(N_OUT);
    expect(&layer, q, expected);
    check_same(&kernels, &layer, q, expected);
    spoil_faint_values(&layer);
    check_same(&kernels, &layer, q, expected);
    check_nan_shows(&kernels, &layer, q);
    step_to_the_edge(&layer, q);
    expect(&layer, q, expected);
    check_same(&kernels, &layer, q, expected);
    free(expected);
    free(q);
    ath_close(&kernels);
    ath_layer_free(&layer);
}

int main(void) {
    for (rt_isa isa = RT_ISA_PORTABLE; isa <= RT_ISA_AMX; isa++) {
        const bool is_plain = isa == RT_ISA_AMX && ath_is_amx_emulated();
        tile_lanes = isa != RT_ISA_AMX ? 0 : is_plain ? 4 : 16;
        is_fused = isa != RT_ISA_PORTABLE && !is_plain;
#if defined(__FP_FAST_FMAF)
        is_fused = true; /* the compiler contracts the portable kernels too */
#endif
        check(isa, RT_BF16);
        check(isa, RT_F32);
    }
    return 0;
}
