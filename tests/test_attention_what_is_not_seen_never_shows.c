/* A key that a row does not see, or leaves out, changes no bit of it, also where key or value is Inf or NaN and rows
 * beside it, of the same pass, see it. Rows that do see it become what its numbers say, in the dims that are so.
 *
 * Method: one number of a value, then of a key, is replaced by Inf, -Inf and NaN, at places all over pages. Rows before have the
 * bits that they had, prefilled and decoded beside others. Rows that see the value: the other dims have their bits, this one is
 * Inf, or NaN. Rows that see the key: those that it is infinitely below are as if it were far below, the others NaN. Then
 * queries of two kinds in turn, of which one leaves out a page with such values: together they are as each alone. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "help_attention.h"

enum { HEADS = 4, KV_HEADS = 1, DIM_MAX = 96, FIRST = 100, LENGTH = 300, QUERIES = LENGTH - FIRST };
enum { VALUE_DIM = 21, KEY_DIM = 3, PAGE = 128 };

static const int tokens[] = {
        0, 99, 100, 101, 127, 128, 130, 159, 160, 191, 202, 255, 256, 290, 299};
enum { TOKENS = sizeof tokens / sizeof *tokens };

/* All queries prefilled `chunk` at a time; or decoded, as many in a pass. */
static void prefill(const ath_trial *s, int64_t chunk, float *out) {
    const ath_queries queries = {.q = s->q, .pos = FIRST, .n_tokens = QUERIES};
    ath_prefill(&s->kernels, &s->layer, &queries, chunk, out, NULL);
}

static void decode(const ath_trial *s, int64_t chunk, float *out) {
    attn_segment keys[QUERIES];
    for (int64_t t = 0; t < QUERIES; t++) keys[t] = ath_segment(&s->layer, FIRST + t + 1);
    for (int64_t t = 0; t < QUERIES; t += chunk)
        ath_decode(&s->kernels, s->q + t * s->row, keys + t, (int32_t)chunk, out + t * s->row);
}

typedef void run(const ath_trial *s, int64_t chunk, float *out);

static void set_number(ath_trial *s, int64_t token, bool is_key, float x) {
    float k[DIM_MAX], v[DIM_MAX];
    memcpy(k, s->layer.k + token * s->dim, (size_t)s->dim * sizeof *k);
    memcpy(v, s->layer.v + token * s->dim, (size_t)s->dim * sizeof *v);
    if (is_key)
        k[KEY_DIM] = x;
    else
        v[VALUE_DIM] = x;
    ath_layer_set(&s->layer, 0, token, k, v);
}

static float number_of(const ath_trial *s, int64_t token, bool is_key) {
    return is_key ? s->layer.k[token * s->dim + KEY_DIM] : s->layer.v[token * s->dim + VALUE_DIM];
}

static bool is_same_or_nan(float x, float y) {
    return memcmp(&x, &y, sizeof x) == 0 || (isnan(x) && isnan(y));
}

/* ---- a number of a value --------------------------------------------------------------------- */

static void check_value(ath_trial *s, run *by, int64_t chunk, int64_t token, float x) {
    const float was = number_of(s, token, false);
    const int64_t first = token > FIRST ? token - FIRST : 0;
    set_number(s, token, false, x);
    by(s, chunk, s->after);
    set_number(s, token, false, was);
    CHECK(ath_same(s->before, s->after, first * s->row));
    for (int64_t i = first * s->row; i < s->n_out; i++)
        CHECK(is_same_or_nan(s->after[i], i % s->dim == VALUE_DIM ? x : s->before[i]));
}

/* ---- a number of a key ----------------------------------------------------------------------- */

static void check_key(ath_trial *s, run *by, int64_t chunk, int64_t token, float x) {
    const float was = number_of(s, token, true);
    const int64_t first = token > FIRST ? token - FIRST : 0;
    set_number(s, token, true, isnan(x) ? x : copysignf(1e30f, x));
    by(s, chunk, s->other);
    set_number(s, token, true, x);
    by(s, chunk, s->after);
    set_number(s, token, true, was);
    CHECK(ath_same(s->before, s->after, first * s->row));
    for (int64_t i = first * s->row; i < s->n_out; i++)
        if (s->q[i / s->dim * s->dim + KEY_DIM] * x < 0)
            CHECK(is_same_or_nan(s->after[i], s->other[i]) && isfinite(s->after[i]));
        else
            CHECK(isnan(s->after[i]));
}

/* ---- a page that some leave out -------------------------------------------------------------- */

static bool leaves_out(int64_t query) {
    return query % 3 != 0;
}

/* The second page's keys are far behind the first's for some queries, far ahead for others. */
static void part_queries(ath_trial *s) {
    for (int64_t token = PAGE; token < 2 * PAGE; token++) {
        float k[DIM_MAX] = {0};
        k[0] = 400.0f;
        ath_layer_set(&s->layer, 0, token, k, s->layer.v + token * s->dim);
    }
    for (int64_t i = 0; i < s->n_out; i += s->dim)
        s->q[i] = leaves_out(i / s->row) ? -50.0f : 50.0f;
}

static void check_left_out(ath_trial *s, run *by, float x) {
    set_number(s, PAGE + 7, false, x);
    set_number(s, PAGE + 100, false, 1.0f);
    by(s, QUERIES, s->before);
    by(s, 1, s->after);
    for (int64_t i = 0; i < s->n_out; i++) {
        const bool is_spoilt = i % s->dim == VALUE_DIM && !leaves_out(i / s->row) &&
                               FIRST + i / s->row >= PAGE + 7;
        CHECK(is_same_or_nan(s->before[i], s->after[i]));
        CHECK(!isfinite(s->before[i]) == is_spoilt);
    }
}

static void check_by(ath_trial *s, run *by, int64_t chunk) {
    static const float numbers[] = {NAN, INFINITY, -INFINITY};
    by(s, chunk, s->before);
    const int step = getenv("GLM_TEST_FAST") ? 4 : 1;
    for (int i = 0; i < TOKENS; i += step)
        for (size_t n = 0; n < sizeof numbers / sizeof *numbers; n++) {
            check_value(s, by, chunk, tokens[i], numbers[n]);
            check_key(s, by, chunk, tokens[i], numbers[n]);
        }
}

static void check(rt_isa isa, rt_dtype kv_dtype, int32_t head_dim) {
    const attn_shape shape = ath_shape(HEADS, KV_HEADS, head_dim, kv_dtype);
    if (!ath_has(isa, &shape)) return;
    ath_trial s = ath_trial_open(isa, &shape, LENGTH, QUERIES, 41);
    check_by(&s, prefill, QUERIES);
    check_by(&s, decode, 2);
    check_by(&s, decode, 20);
    part_queries(&s);
    check_left_out(&s, prefill, INFINITY);
    check_left_out(&s, prefill, NAN);
    check_left_out(&s, decode, INFINITY);
    ath_trial_close(&s);
}

int main(void) {
    for (rt_isa isa = RT_ISA_PORTABLE; isa <= RT_ISA_AMX; isa++) {
        check(isa, RT_BF16, 32);
        check(isa, RT_F32, 32);
    }
    check(RT_ISA_AMX, RT_BF16, DIM_MAX); /* three rounds of tiles for one */
    return 0;
}
