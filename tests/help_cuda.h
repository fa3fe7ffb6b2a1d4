/* What the tests of CUDA kernels share: a layer of random keys and values in pages of the device's
 * layout, the plain definition of a row, and how far a kernel may be from it.
 *
 * The bound, for a row with weights w and values v: weights are rounded to bf16 where they meet the
 * values (relative 2^-8), not in the sum; a score is off by a = u (c1 sum |terms|) in base 2, u =
 * 2^-24, c1 = 128 + 8 additions and roundings; ex2 is within 2^-22, and a weight meets it once and
 * once more for each rise of the maximum, which all pass max - t:
 *
 *   e = ln2 (a + 2u (max - t)) + 2^-22 (2 + rises)       of each weight, in numerator and sum
 *   |d out| <= 2^-8 sum w |v|  +  sum w e |v - out|  +  c (sum w |v| + |out|)  +  2^-8 |out|
 *
 * with c = u (n_keys / 8 + 128) for the additions, and the last term for the rounding of the
 * result. Tests run with scores of standard deviation 2 and more, so that softmax is peaked. */
#ifndef HELP_CUDA_H
#define HELP_CUDA_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "attention/attn_cuda.h"
#include "help_cuda_machine.h"
#include "help_random.h"

#define CHECK(condition)                                                                \
    do {                                                                                \
        if (!(condition)) {                                                             \
            fprintf(stderr, "%s:%d: not so: %s (last error: %s)\n", __FILE__, __LINE__, \
                    #condition, rt_error_text());                                       \
            exit(1);                                                                    \
        }                                                                               \
    } while (0)

static inline attn_shape cuda_shape(int n_heads, int n_kv_heads) {
    attn_shape shape = {};
    shape.n_heads = n_heads;
    shape.n_kv_heads = n_kv_heads;
    shape.head_dim = 128;
    shape.rope_dim = 64;
    shape.rope_base = 1e8;
    shape.kv_dtype = RT_BF16;
    return shape;
}

/* Memory as a device gives it: 16-byte aligned, exactly so long, NaN until written; ASan watches.
 */
template <typename T> struct cuda_buffer {
    T *data;
    int64_t n;
    explicit cuda_buffer(int64_t count)
        : data((T *)cuda_take((size_t)(count > 0 ? count : 1) * sizeof(T))), n(count) {
        memset((void *)data, 0xff, (size_t)count * sizeof(T)); /* NaN, as fp32 and bf16 */
    }
    explicit cuda_buffer(const std::vector<T> &from) : cuda_buffer((int64_t)from.size()) {
        for (int64_t i = 0; i < n; i++) data[i] = from[(size_t)i];
    }
    ~cuda_buffer() {
        cuda_give(data);
    }
    cuda_buffer(const cuda_buffer &) = delete;
    T *operator->() {
        return data;
    }
    T &operator[](int64_t i) {
        return data[i];
    }
    const T &operator[](int64_t i) const {
        return data[i];
    }
};

/* Offset of (token, dim) in a tile, written down from attn_cuda.h, in numbers. */
static inline int64_t cuda_tile_index(int token, int dim) {
    return ((dim / 64) * 16384 + token * 128 + (((dim / 8) % 8) ^ (token % 8)) * 16 +
                   (dim % 8) * 2) /
           2;
}

/* n_tokens of K and V, [n_kv_heads][n_tokens][128] fp32 that are bf16, and their pages, in a random
 * order of memory; rows past the last token are NaN. */
struct cuda_layer {
    attn_shape shape;
    int64_t n_tokens;
    std::vector<float> k, v;
    std::vector<std::unique_ptr<cuda_buffer<uint16_t>>> memory;
    std::vector<void *> pages;

    cuda_layer(const attn_shape &s, int64_t n, uint64_t seed, float k_scale = 2.0f)
        : shape(s), n_tokens(n), k((size_t)(s.n_kv_heads * n * 128)), v(k.size()) {
        for (size_t i = 0; i < k.size(); i++) {
            k[i] = rt_bf16_to_float(rt_float_to_bf16(random_normal(&seed) * k_scale));
            v[i] = rt_bf16_to_float(rt_float_to_bf16(random_normal(&seed) * 3.0f + 1.0f));
        }
        const int64_t n_pages = (n + 127) / 128;
        for (int64_t p = 0; p < n_pages; p++)
            memory.emplace_back(new cuda_buffer<uint16_t>(attn_cuda_page_bytes(&shape) / 2));
        std::vector<int> order;
        for (int64_t p = 0; p < n_pages; p++) order.push_back((int)p);
        for (int64_t p = n_pages - 1; p > 0; p--)
            std::swap(order[(size_t)p], order[(size_t)random_below(&seed, p + 1)]);
        for (int64_t p = 0; p < n_pages; p++)
            pages.push_back(memory[(size_t)order[(size_t)p]]->data);
        for (int g = 0; g < s.n_kv_heads; g++)
            for (int64_t t = 0; t < n; t++) put(g, t);
    }
    const float *key(int g, int64_t t) const {
        return &k[(size_t)((g * n_tokens + t) * 128)];
    }
    const float *value(int g, int64_t t) const {
        return &v[(size_t)((g * n_tokens + t) * 128)];
    }
    void put(int g, int64_t t) {
        uint16_t *tile = (uint16_t *)pages[(size_t)(t / 128)] + g * 2 * 16384;
        for (int d = 0; d < 128; d++) {
            tile[cuda_tile_index((int)(t % 128), d)] = rt_float_to_bf16(key(g, t)[d]);
            tile[16384 + cuda_tile_index((int)(t % 128), d)] = rt_float_to_bf16(value(g, t)[d]);
        }
    }
};

struct cuda_row {
    double out[128], bound[128];
    double lse, lse_bound;
};

/* A query head that sees keys [0, n_keys) of a layer. */
static inline cuda_row cuda_reference(
        const cuda_layer &layer, int head, const uint16_t *q_bf16, int64_t n_keys) {
    cuda_row row = {};
    const int g = head / (layer.shape.n_heads / layer.shape.n_kv_heads);
    float q[128];
    for (int d = 0; d < 128; d++) q[d] = rt_bf16_to_float(q_bf16[d]);
    row.lse = attn_ref_row(q, layer.key(g, 0), layer.value(g, 0), n_keys, 128, row.out);
    if (n_keys == 0) return row;
    const double u = 0x1p-24, scale = 1.4426950408889634 / sqrt(128.0);
    std::vector<double> t((size_t)n_keys), terms((size_t)n_keys);
    double max = -INFINITY;
    for (int64_t i = 0; i < n_keys; i++) {
        for (int d = 0; d < 128; d++) {
            const double term = (double)q[d] * (double)layer.key(g, i)[d] * scale;
            t[(size_t)i] += term;
            terms[(size_t)i] += fabs(term);
        }
        max = fmax(max, t[(size_t)i]);
    }
    double rises = 0.0;
    for (double last = -INFINITY, i = 0; i < (double)n_keys; i++)
        if (t[(size_t)i] > last) last = t[(size_t)i], rises++;
    const double c = u * ((double)n_keys / 8.0 + 128.0);
    double of_sum = 0.0;
    double abs_v[128] = {}, moved[128] = {};
    for (int64_t i = 0; i < n_keys; i++) {
        const double w = exp2(t[(size_t)i]) / exp(row.lse);
        const double e = M_LN2 * (136.0 * u * terms[(size_t)i] + 2.0 * u * (max - t[(size_t)i])) +
                         0x1p-22 * (2.0 + rises);
        of_sum += w * e;
        for (int d = 0; d < 128; d++) {
            const double v = layer.value(g, i)[d];
            abs_v[d] += w * fabs(v);
            moved[d] += w * e * fabs(v - row.out[d]);
        }
    }
    for (int d = 0; d < 128; d++)
        row.bound[d] = 1.01 * (0x1p-8 * (abs_v[d] + fabs(row.out[d])) + moved[d] +
                                      c * (abs_v[d] + fabs(row.out[d]))) +
                       0x1p-126;
    row.lse_bound = 1.01 * (of_sum + c + 4.0 * u * fabs(row.lse) + 0x1p-21);
    return row;
}

/* The largest |out - right| / bound of a row; NaN counts as infinite. lse NULL: not compared. */
static inline double cuda_error(const cuda_row &row, const uint16_t *out, const float *lse) {
    double worst = 0.0;
    for (int d = 0; d < 128; d++) {
        const double error = fabs((double)rt_bf16_to_float(out[d]) - row.out[d]);
        if (!(error <= row.bound[d] * 1e6)) return INFINITY;
        worst = fmax(worst, row.bound[d] > 0 ? error / row.bound[d] : (error > 0 ? INFINITY : 0.0));
    }
    if (!lse || (isinf(row.lse) && isinf(*lse) && *lse < 0)) return worst;
    const double error = fabs((double)*lse - row.lse);
    return error <= INFINITY ? fmax(worst, error / row.lse_bound) : INFINITY;
}

static inline void cuda_fill_normal(uint16_t *to, int64_t n, uint64_t seed, float scale = 1.0f) {
    for (int64_t i = 0; i < n; i++) to[i] = rt_float_to_bf16(random_normal(&seed) * scale);
}

#endif
