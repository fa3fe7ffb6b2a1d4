/* Matrix products of bf16 and f16 numbers, as wide as this CPU's vectors are. Each sum is made in the order of k, and no
 * product is fused with it (CMakeLists.txt): its bits are the same on every CPU. */
#include <string.h>

#include "emu.h"

namespace {

typedef float eight __attribute__((vector_size(32)));
typedef float sixteen __attribute__((vector_size(64)));

enum { ROWS = 4, K = EMU_PRODUCT_K };

/* Some columns of a few rows. */
template <typename VECTOR>
inline __attribute__((always_inline)) void add_block(
        float *d, int width, const float *a, const float *b, int b_width) {
    VECTOR sum[ROWS];
    for (int m = 0; m < ROWS; m++) memcpy(&sum[m], d + m * width, sizeof sum[m]);
    for (int k = 0; k < K; k++) {
        VECTOR row;
        memcpy(&row, b + k * b_width, sizeof row);
        for (int m = 0; m < ROWS; m++) sum[m] += a[m * K + k] * row;
    }
    for (int m = 0; m < ROWS; m++) memcpy(d + m * width, &sum[m], sizeof sum[m]);
}

inline __attribute__((always_inline)) void add_product(
        float *d, int width, const float *a, const float *b, int b_width, int n_rows, int n) {
    for (int m = 0; m < n_rows; m += ROWS) {
        int i = 0;
        for (; i + 16 <= n; i += 16)
            add_block<sixteen>(d + m * width + i, width, a + m * K, b + i, b_width);
        for (; i < n; i += 8) add_block<eight>(d + m * width + i, width, a + m * K, b + i, b_width);
    }
}

#define ADD_PRODUCT(name, isa)                                                                     \
    isa void name(                                                                                 \
            float *d, int width, const float *a, const float *b, int b_width, int n_rows, int n) { \
        add_product(d, width, a, b, b_width, n_rows, n);                                           \
    }
ADD_PRODUCT(add_product_any, )
ADD_PRODUCT(add_product_avx2, __attribute__((target("avx2"))))
ADD_PRODUCT(add_product_avx512, __attribute__((target("avx512f"))))

typedef void add_product_fn(float *, int, const float *, const float *, int, int, int);

add_product_fn *best() {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512f") ? add_product_avx512
           : __builtin_cpu_supports("avx2")  ? add_product_avx2
                                             : add_product_any;
}

} // namespace

void emu_add_product(
        float *d, int width, const float *a, const float *b, int b_width, int n_rows, int n) {
    static add_product_fn *const with = best();
    with(d, width, a, b, b_width, n_rows, n);
}
