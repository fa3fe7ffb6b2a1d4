/* A scale or a zero of an int8 or int4 page that is Inf or NaN reaches rows that see its numbers, in the dims that are its
 * own, as the numbers read; no bit of others. And a query's Inf is one, whatever its products are made of.
 *
 * Method: two sealed pages and an open one; a scale or a zero of the second page's values, then of its keys, becomes NaN of
 * several kinds, Inf and -Inf. Queries of that page itself, which read it open, have the bits that they had; so have, of
 * values, rows that leave the page out, and dims of other groups. Keys that are infinitely far below are as if they were far
 * below. Prefilled and decoded. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "help_attention.h"

enum { HEADS = 4, PAGE = 128, FIRST = 240, LENGTH = 296, QUERIES = LENGTH - FIRST, SPOILT = 1 };
enum { DIM_MAX = 128, KEY_DIM = 3, VALUE_TOKEN = 37 };

static const uint16_t nans[] = {0x7fc0, 0xffff, 0x7f81};
static const uint16_t plus = 0x7f80, minus = 0xff80;
enum { NANS = sizeof nans / sizeof *nans };

/* Prefilled in one call, or decoded two at a time. */
static void run(const ath_trial *s, bool is_decode, float *out) {
    const ath_queries queries = {.q = s->q, .pos = FIRST, .n_tokens = QUERIES};
    if (!is_decode) {
        ath_prefill(&s->kernels, &s->layer, &queries, QUERIES, out, NULL);
        return;
    }
    for (int64_t t = 0; t < QUERIES; t += 2) {
        const attn_segment keys[2] = {
                ath_segment(&s->layer, FIRST + t + 1), ath_segment(&s->layer, FIRST + t + 2)};
        ath_decode(&s->kernels, s->q + t * s->row, keys, 2, out + t * s->row);
    }
}

/* ---- one scale or zero ----------------------------------------------------------------------- */

typedef struct place {
    bool is_value;
    bool is_zero;
    int64_t group;
} place;

/* Of the spoilt page, the first head's canonical bytes (attention.h). */
static int64_t place_at(const ath_trial *s, const place *of) {
    const int64_t bits = s->shape.kv_dtype == RT_INT8 ? 8 : 4, codes = PAGE * s->dim * bits / 8;
    const int64_t of_keys = codes + (of->is_zero ? 4 * s->dim : 0);
    const int64_t groups = (s->dim + 63) / 64;
    const int64_t of_values = 2 * codes + 8 * s->dim + (of->is_zero ? 256 * groups : 0);
    return of->is_value ? of_values + 2 * (of->group * PAGE + VALUE_TOKEN)
                        : of_keys + 2 * (of->group * s->dim + KEY_DIM);
}

static uint16_t swap_number(ath_trial *s, const place *of, uint16_t number) {
    char *bytes = malloc((size_t)attn_page_canonical_bytes(&s->shape));
    uint16_t was;
    CHECK(bytes);
    attn_page_unpack_sealed(&s->shape, s->layer.pages[SPOILT], 0, bytes);
    memcpy(&was, bytes + place_at(s, of), sizeof was);
    memcpy(bytes + place_at(s, of), &number, sizeof number);
    attn_page_pack_sealed(&s->shape, s->layer.pages[SPOILT], 0, bytes);
    free(bytes);
    return was;
}

static bool is_same_or_nan(float x, float y) {
    return memcmp(&x, &y, sizeof x) == 0 || (isnan(x) && isnan(y));
}

static bool is_seen(const ath_trial *s, int64_t i) {
    return FIRST + i / s->row >= (SPOILT + 1) * PAGE;
}

/* ---- values ---------------------------------------------------------------------------------- */

static bool leaves_out(const ath_trial *s, int64_t i) {
    return i / s->dim % 3 == 2;
}

static void check_value(ath_trial *s, bool is_decode, const place *of, uint16_t number) {
    float *k = ath_zeros(PAGE * s->dim), *v = ath_zeros(PAGE * s->dim);
    const uint16_t was = swap_number(s, of, number);
    ath_read_sealed(&s->shape, s->layer.pages[SPOILT], 0, k, v);
    run(s, is_decode, s->after);
    (void)swap_number(s, of, was);
    for (int64_t i = 0; i < s->n_out; i++) {
        const bool is_own = i % s->dim / 64 == of->group && is_seen(s, i) && !leaves_out(s, i);
        CHECK(is_same_or_nan(
                s->after[i], is_own ? v[VALUE_TOKEN * s->dim + i % s->dim] : s->before[i]));
        CHECK(isfinite(s->after[i]) == !is_own);
    }
    free(k);
    free(v);
}

/* ---- keys ------------------------------------------------------------------------------------ */

static void check_nan_key(ath_trial *s, bool is_decode, const place *of, uint16_t number) {
    const uint16_t was = swap_number(s, of, number);
    run(s, is_decode, s->after);
    (void)swap_number(s, of, was);
    for (int64_t i = 0; i < s->n_out; i++)
        CHECK(is_seen(s, i) ? isnan(s->after[i]) : ath_same(&s->after[i], &s->before[i], 1));
}

/* A zero: all keys of the group are so. */
static void check_infinite_key(ath_trial *s, bool is_decode, const place *of, uint16_t number) {
    const uint16_t was = swap_number(s, of, rt_float_to_bf16(number == plus ? 1e30f : -1e30f));
    run(s, is_decode, s->other);
    (void)swap_number(s, of, number);
    run(s, is_decode, s->after);
    (void)swap_number(s, of, was);
    for (int64_t i = 0; i < s->n_out; i++) {
        const float q = s->q[i / s->dim * s->dim + KEY_DIM];
        const bool is_above = is_seen(s, i) && (q > 0) == (number == plus);
        CHECK(is_above ? isnan(s->after[i]) : ath_same(&s->after[i], &s->other[i], 1));
        CHECK(is_seen(s, i) || ath_same(&s->after[i], &s->before[i], 1));
        CHECK(is_above || isfinite(s->after[i]));
    }
}

/* ---- a query --------------------------------------------------------------------------------- */

/* Every key is below 0 in one dim, in which a query is Inf: it sees nothing. */
static void check_infinite_query(ath_trial *s, bool is_decode) {
    const int64_t at = (QUERIES - 3) * s->row + s->dim; /* the second head's */
    const float was = s->q[at + KEY_DIM];
    s->q[at + KEY_DIM] = INFINITY;
    run(s, is_decode, s->after);
    s->q[at + KEY_DIM] = was;
    for (int64_t i = 0; i < s->n_out; i++)
        CHECK(i / s->dim == at / s->dim ? s->after[i] == 0.0f
                                        : ath_same(&s->after[i], &s->before[i], 1));
}

/* ---- pages ----------------------------------------------------------------------------------- */

/* The first number of the spoilt page's keys is -40, of others 40; of queries that leave it out 50, of others 0. */
static void set_pages(ath_trial *s) {
    uint16_t k[DIM_MAX], v[DIM_MAX];
    for (int64_t token = 0; token < LENGTH; token++) {
        const float *from_k = s->layer.k + token * s->dim, *from_v = s->layer.v + token * s->dim;
        for (int64_t d = 0; d < s->dim; d++) {
            k[d] = rt_float_to_bf16(from_k[d]);
            v[d] = rt_float_to_bf16(from_v[d]);
        }
        k[0] = rt_float_to_bf16(token / PAGE == SPOILT ? -40.0f : 40.0f);
        k[KEY_DIM] = rt_float_to_bf16(-1.0f - fabsf(from_k[KEY_DIM]));
        attn_page_pack(
                &s->shape, s->layer.open_pages[token / PAGE], 0, (int32_t)(token % PAGE), 1, k, v);
    }
    for (int64_t page = 0; page <= SPOILT; page++)
        attn_page_seal(&s->shape, s->layer.open_pages[page], s->layer.pages[page]);
    for (int64_t i = 0; i < s->n_out; i += s->dim) s->q[i] = leaves_out(s, i) ? 50.0f : 0.0f;
}

static void check_by(ath_trial *s, bool is_decode) {
    run(s, is_decode, s->before);
    for (int64_t i = 0; i < s->n_out; i++) CHECK(isfinite(s->before[i]));
    check_infinite_query(s, is_decode);
    for (int zero = 0; zero < 2; zero++) {
        for (int64_t group = 0; group < (s->dim + 63) / 64; group++) {
            const place value = {.is_value = true, .is_zero = zero, .group = group};
            for (int i = 0; i < NANS; i++) check_value(s, is_decode, &value, nans[i]);
            check_value(s, is_decode, &value, plus);
            check_value(s, is_decode, &value, minus);
        }
        for (int64_t group = 0; group < PAGE / 64; group++) {
            const place key = {.is_zero = zero, .group = group};
            for (int i = 0; i < NANS; i++) check_nan_key(s, is_decode, &key, nans[i]);
            /* The group's smallest number has code 0, which times Inf is NaN. */
            for (int i = 0; i < 2 && !zero; i++)
                check_nan_key(s, is_decode, &key, i ? plus : minus);
            for (int i = 0; i < 2 && zero; i++)
                check_infinite_key(s, is_decode, &key, i ? plus : minus);
        }
    }
}

static void check(rt_isa isa, rt_dtype kv_dtype, int32_t head_dim) {
    const attn_shape shape = ath_shape(HEADS, 1, head_dim, kv_dtype);
    if (!ath_has(isa, &shape)) return;
    ath_trial s = ath_trial_open(isa, &shape, LENGTH, QUERIES, 141);
    set_pages(&s);
    check_by(&s, false);
    check_by(&s, true);
    ath_trial_close(&s);
}

int main(void) {
    for (rt_isa isa = RT_ISA_PORTABLE; isa <= RT_ISA_AMX; isa++) {
        check(isa, RT_INT8, 96);
        check(isa, RT_INT4, 32);
        if (!ath_is_brief(isa)) check(isa, RT_INT4, DIM_MAX);
    }
    return 0;
}
