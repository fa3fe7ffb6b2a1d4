/* The reference and its bound, row by row. Of all that tests of attention compute they are most; they share nothing, and
 * TSan does not watch them. */
#include <math.h>

#include "help_attention.h"
#include "runtime/base/memory.h"
#include "runtime/base/size.h"

enum { PAGE = ATTN_PAGE_TOKENS, SPLIT = ATTN_SPLIT_TOKENS };

static const double u = 0x1p-24;
static const double ln2 = 0.69314718055994530942;
static const double higher_orders = 1.01;

typedef struct key_score {
    double score; /* base 2 */
    double error; /* of the fp32 score */
} key_score;

static key_score score_key(const float *q, const float *k, int32_t head_dim) {
    const double scale = 1.0 / (ln2 * sqrt((double)head_dim));
    double sum = 0.0;
    double terms = 0.0;
    double partial_sums = 0.0;
    for (int32_t d = 0; d < head_dim; d++) {
        const double term = scale * (double)q[d] * (double)k[d];
        sum += term;
        terms += fabs(term);
        partial_sums += fabs(sum);
    }
    return (key_score){sum, u * (partial_sums + 3.0 * terms)};
}

/* Roundings and exponentials met on the way, whatever the numbers: c and the last term of e. */
typedef struct path_length {
    double sums;
    double exponentials;
} path_length;

static path_length path_of(int64_t n_keys) {
    const double in_page = (double)rt_min64(n_keys, PAGE);
    const double pages = (double)rt_min64(rt_div_up(n_keys, PAGE), SPLIT / PAGE);
    const double splits = (double)rt_div_up(n_keys, SPLIT);
    return (path_length){.sums = u * (in_page + 1.0 + 2.0 * pages + 3.0 * splits),
            .exponentials = 1.2 * u * (1.0 + pages + splits)};
}

static double weight_error(const key_score *key, double max, double exponentials) {
    const double below = max - key->score;
    if (below > 125.0) return 1.0;
    return ln2 * (key->error + u * below) + exponentials;
}

/* Largest difference between roundings of max ln2 + log(sum) done in fp32 and exactly. */
static double lse_roundings(double max, double lse) {
    return u * (3.0 * fabs(max * ln2) + 2.0 * fabs(lse - max * ln2) + fabs(lse));
}

static void bound_row(
        const key_score *keys, const float *v, int64_t n_keys, int32_t head_dim, ath_row *row) {
    const path_length path = path_of(n_keys);
    double max = -INFINITY;
    for (int64_t key = 0; key < n_keys; key++) max = fmax(max, keys[key].score);
    double drift = 0.0;
    for (int32_t d = 0; d < head_dim; d++) row->bound[d] = (path.sums + u) * fabs(row->out[d]);
    for (int64_t key = 0; key < n_keys; key++) {
        const double weight = exp(ln2 * keys[key].score - row->lse);
        const double error = weight_error(&keys[key], max, path.exponentials);
        drift += weight * error;
        for (int32_t d = 0; d < head_dim; d++) {
            const double value = (double)v[key * head_dim + d];
            row->bound[d] += weight * (error * fabs(value - row->out[d]) + path.sums * fabs(value));
        }
    }
    for (int32_t d = 0; d < head_dim; d++) row->bound[d] = higher_orders * row->bound[d] + 1e-37;
    row->lse_bound = higher_orders * (drift + path.sums + lse_roundings(max, row->lse));
}

void ath_reference(const float *q, const float *k, const float *v, int64_t n_keys, int32_t head_dim,
        ath_row *row) {
    row->lse = attn_ref_row(q, k, v, n_keys, head_dim, row->out);
    key_score *keys = NULL;
    CHECK(rt_calloc(n_keys, (int64_t)sizeof *keys, "scores", &keys) == RT_OK);
    for (int64_t key = 0; key < n_keys; key++)
        keys[key] = score_key(q, k + key * head_dim, head_dim);
    bound_row(keys, v, n_keys, head_dim, row);
    free(keys);
}
