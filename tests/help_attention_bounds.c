/* The reference and its bound, row by row. Of all that tests of attention compute they are most; they share nothing, and
 * TSan does not watch them. */
#include <math.h>

#include "help_attention.h"
#include "runtime/base/memory.h"
#include "runtime/base/size.h"

enum { PAGE = ATTN_PAGE_TOKENS, SPLIT = ATTN_SPLIT_TOKENS };

enum { STEP = 32, STEP_SUMS = STEP + 2 }; /* of tiles */

static const double u = 0x1p-24;
static const double ln2 = 0.69314718055994530942;
static const double higher_orders = 1.01;
static const double halves = 128.0; /* x u: what two bf16 are off a number */
static const double tiny = 0x1p-126;
static const double code_most = 128.0; /* of int8 around the middle, and more than its first bit */

typedef struct key_score {
    double score;           /* base 2 */
    double error[ATH_SUMS]; /* of the kernel's score */
} key_score;

static double scale_of(int32_t head_dim) {
    return 1.0 / (ln2 * sqrt((double)head_dim));
}

static key_score score_key(const float *q, const float *k, int32_t head_dim) {
    const double scale = scale_of(head_dim);
    double sum = 0.0;
    double terms = 0.0;
    double partial_sums = 0.0;
    for (int32_t d = 0; d < head_dim; d++) {
        const double term = scale * (double)q[d] * (double)k[d];
        sum += term;
        terms += fabs(term);
        partial_sums += fabs(sum);
    }
    return (key_score){.score = sum, .error = {u * (partial_sums + 3.0 * terms)}};
}

/* What sums of products with middles are off, in roundings of sum of |middle products|. */
static double middle_roundings(int32_t n) {
    return (double)n / 4.0 + 2.0 + 2.0 + 1.0;
}

/* middle: NULL where the page is not of int8 or int4. */
static double error_by_tiles(
        const float *q, const float *k, const float *middle, int32_t head_dim) {
    const double scale = scale_of(head_dim);
    const double scaled = middle ? 1.0 : 0.0;
    double sum = 0.0;
    double roundings = 0.0;
    double lost = 0.0; /* tiny ones */
    for (int32_t d = 0; d < head_dim && middle; d++) {
        const double number = scale * (double)q[d];
        sum += number * (double)middle[d];
        roundings += (2.0 + middle_roundings(head_dim)) * fabs(number * (double)middle[d]) +
                     fabs(number * (double)k[d]);
        lost += code_most * (fabs(number) + 2.0);
    }
    for (int32_t first = 0; first < head_dim; first += STEP) {
        double of_step[2] = {0.0, 0.0}; /* even, odd */
        for (int32_t d = first; d < first + STEP; d++) {
            const double number = (double)k[d] - (middle ? (double)middle[d] : 0.0);
            const double term = scale * (double)q[d] * number;
            of_step[d % 2] += term;
            roundings += fabs(of_step[d % 2]) + (2.0 + scaled + halves + 1.0) * fabs(term);
            lost += fabs(scale * (double)q[d]) + fabs((double)k[d]);
        }
        sum += of_step[0] + of_step[1];
        roundings += fabs(of_step[0] + of_step[1]) + 2.0 * fabs(sum);
        lost += 2.0 * STEP_SUMS;
    }
    return u * roundings + tiny * lost;
}

/* Roundings and exponentials met on the way, whatever the numbers: c of the output and of the weights, and the last terms
 * of e. */
typedef struct path_length {
    double outputs;
    double weights;
    double exponentials;
    double halves; /* of weights */
    double lost;   /* of an output: sums of tiny numbers */
} path_length;

static path_length path_of(int64_t n_keys, ath_sums by) {
    const double in_page = (double)rt_min64(n_keys, PAGE);
    const double all_pages = (double)rt_div_up(n_keys, PAGE);
    const double pages = fmin(all_pages, SPLIT / PAGE);
    const double splits = (double)rt_div_up(n_keys, SPLIT);
    const double folds = 2.0 * pages + 3.0 * splits;
    const double exponentials = 1.2 * u * (1.0 + pages + splits);
    if (by == ATH_BY_VECTORS)
        return (path_length){.outputs = u * (in_page + 1.0 + folds),
                .weights = u * (in_page + 1.0 + folds),
                .exponentials = exponentials};
    const double steps = (double)rt_div_up(rt_min64(n_keys, PAGE), STEP);
    return (path_length){.outputs = u * (fmin(in_page, STEP / 2) + 2.0 + 2.0 * steps + folds),
            .weights = u * (ceil(in_page / 4.0) + 3.0 + folds),
            .exponentials = exponentials,
            .halves = u * halves,
            .lost = tiny * (1.0 + 2.0 * STEP_SUMS * steps * all_pages)};
}

static double weight_error(const key_score *key, double max, double exponentials, ath_sums by) {
    const double below = max - key->score;
    if (below > 125.0) return 1.0;
    return ln2 * (key->error[by] + u * below) + exponentials;
}

/* Largest difference between roundings of max ln2 + log(sum) done in fp32 and exactly. */
static double lse_roundings(double max, double lse) {
    return u * (3.0 * fabs(max * ln2) + 2.0 * fabs(lse - max * ln2) + fabs(lse));
}

/* Of an output, what a key's value adds to the bound beside its weight's error. */
static double value_error(
        const path_length *path, double weight, double value, const float *middle, double lost) {
    if (!middle) return (weight * path->outputs + lost) * fabs(value);
    const double between = fabs(value - (double)*middle);
    const double at_middle = fabs((double)*middle);
    return weight * path->outputs * (between + at_middle) +
           weight * u * ((halves + 1.0) * between + middle_roundings(PAGE) * at_middle) +
           weight * u * fabs(value) + lost * (fabs(value) + 3.0 * code_most);
}

static void bound_row(const key_score *keys, const ath_numbers *of, int64_t n_keys,
        int32_t head_dim, ath_sums by, ath_row *row) {
    const path_length path = path_of(n_keys, by);
    const int64_t n_sealed = by == ATH_BY_TILES && of->v_middle ? of->n_sealed : 0;
    const double lost = by == ATH_BY_TILES ? tiny : 0.0;
    double *bound = row->bound[by];
    double max = -INFINITY;
    for (int64_t key = 0; key < n_keys; key++) max = fmax(max, keys[key].score);
    double drift = 0.0;
    for (int32_t d = 0; d < head_dim; d++) bound[d] = (path.weights + u) * fabs(row->out[d]);
    for (int64_t key = 0; key < n_keys; key++) {
        const double weight = exp(ln2 * keys[key].score - row->lse);
        const double parts = key < n_sealed ? 0.0 : path.halves;
        const double error = weight_error(&keys[key], max, path.exponentials + parts, by);
        drift += weight * error;
        for (int32_t d = 0; d < head_dim; d++) {
            const double value = (double)of->v[key * head_dim + d];
            const float *middle = key < n_sealed ? of->v_middle + key * head_dim + d : NULL;
            bound[d] += weight * error * fabs(value - row->out[d]) +
                        value_error(&path, weight, value, middle, lost);
        }
    }
    for (int32_t d = 0; d < head_dim; d++) bound[d] = higher_orders * bound[d] + path.lost + 1e-37;
    row->lse_bound[by] = higher_orders * (drift + path.weights + lse_roundings(max, row->lse));
}

void ath_reference(const float *q, const ath_numbers *of, int64_t n_keys, int32_t head_dim,
        bool has_tiles, ath_row *row) {
    const float *k = of->k;
    row->lse = attn_ref_row(q, k, of->v, n_keys, head_dim, row->out);
    key_score *keys = NULL;
    CHECK(rt_calloc(n_keys, (int64_t)sizeof *keys, "scores", &keys) == RT_OK);
    for (int64_t key = 0; key < n_keys; key++)
        keys[key] = score_key(q, k + key * head_dim, head_dim);
    bound_row(keys, of, n_keys, head_dim, ATH_BY_VECTORS, row);
    if (has_tiles) {
        for (int64_t key = 0; key < n_keys; key++) {
            const bool has_middle = of->k_middle && key < of->n_sealed;
            keys[key].error[ATH_BY_TILES] = error_by_tiles(q, k + key * head_dim,
                    has_middle ? of->k_middle + key * head_dim : NULL, head_dim);
        }
        bound_row(keys, of, n_keys, head_dim, ATH_BY_TILES, row);
    }
    free(keys);
}
