/* The plain definition: out = sum of softmax(q k / sqrt(head_dim)) v, in fp64, one row at a time.
 *
 * Two passes over the keys, the first for the largest score. Nothing is tiled, reordered or saved:
 * this is what the kernels are compared with, so it is written to be checked by eye. */
#include <math.h>

#include "attention.h"

void attn_rope_theta(const attn_shape *shape, float *theta) {
    for (int32_t j = 0; j < shape->rope_dim / 2; j++) {
        const float exponent = (float)(2 * j) / (float)shape->rope_dim;
        theta[j] = 1.0f / powf((float)shape->rope_base, exponent);
    }
}

static double score(const float *q, const float *k, int32_t head_dim, double scale) {
    double sum = 0.0;
    for (int32_t d = 0; d < head_dim; d++) sum += (double)q[d] * (double)k[d];
    return sum * scale;
}

double attn_ref_row(const float *q, const float *k, const float *v, int64_t n_keys,
        int32_t head_dim, double *out) {
    for (int32_t d = 0; d < head_dim; d++) out[d] = 0.0;
    if (n_keys == 0) return -INFINITY;

    const double scale = 1.0 / sqrt((double)head_dim);
    double max = -INFINITY;
    for (int64_t key = 0; key < n_keys; key++)
        max = fmax(max, score(q, k + key * head_dim, head_dim, scale));

    double sum = 0.0;
    for (int64_t key = 0; key < n_keys; key++) {
        const double weight = exp(score(q, k + key * head_dim, head_dim, scale) - max);
        sum += weight;
        for (int32_t d = 0; d < head_dim; d++) out[d] += weight * (double)v[key * head_dim + d];
    }
    for (int32_t d = 0; d < head_dim; d++) out[d] /= sum;
    return max + log(sum);
}
