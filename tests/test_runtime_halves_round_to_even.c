/* fp32 becomes bf16 and f16 as IEEE 754 rounds: to nearest, ties to even, past the largest number to infinity; NaN
 * stays NaN. In scalars, and for bf16 in the vectors of every instruction set.
 *
 * Method: of each pair of neighbours the one below, what is halfway, and the fp32 next to that on either side. */
#include <math.h>
#include <stdlib.h>

#include "help_check.h"
#include "runtime/base/float16.h"
#include "runtime/ops.h"

enum { N = 1 << 16, SIGN = 0x8000, KINDS = 4 };

typedef struct half {
    uint16_t infinity;
    float (*widen)(uint16_t bits);
    uint16_t (*narrow)(float value);
} half;

static const half bf16 = {0x7f80, rt_bf16_to_float, rt_float_to_bf16};
static const half f16 = {0x7c00, rt_f16_to_float, rt_float_to_f16};

static float next_to(float value, int32_t by) {
    return rt_bits_float(rt_float_bits(value) + (uint32_t)by); /* of positive numbers */
}

/* Halfway between `low` >= 0, not infinite, and what would be next if exponents went on. */
static float halfway(const half *h, uint16_t low) {
    const double from = (double)h->widen(low);
    const double below = low > 0 ? (double)h->widen(low - 1) : 0.0;
    const double above = low + 1 < h->infinity ? (double)h->widen(low + 1) : 2.0 * from - below;
    return (float)((from + above) / 2.0);
}

/* The inputs of a pair, and what they become. */
static void pair_of(const half *h, uint16_t low, float in[KINDS], uint16_t out[KINDS]) {
    const float middle = halfway(h, low);
    const float inputs[KINDS] = {h->widen(low), next_to(middle, -1), middle, next_to(middle, 1)};
    const uint16_t outputs[KINDS] = {low, low, low + (low & 1), low + 1};
    for (int i = 0; i < KINDS; i++) in[i] = inputs[i];
    for (int i = 0; i < KINDS; i++) out[i] = outputs[i];
}

static void check_scalars(const half *h) {
    for (uint16_t low = 0; low < h->infinity; low++) {
        float in[KINDS];
        uint16_t out[KINDS];
        pair_of(h, low, in, out);
        for (int i = 0; i < KINDS; i++) {
            CHECK(h->narrow(in[i]) == out[i]);
            CHECK(h->narrow(-in[i]) == (out[i] | SIGN));
        }
    }
    CHECK(h->narrow(INFINITY) == h->infinity && h->narrow(-INFINITY) == (h->infinity | SIGN));
    for (uint32_t bits = h->infinity + 1u; bits < SIGN; bits++)
        CHECK(isnan(h->widen((uint16_t)bits)) &&
                isnan(h->widen(h->narrow(h->widen((uint16_t)bits)))));
    CHECK(isnan(
            h->widen(h->narrow(rt_bits_float(0x7f800001))))); /* nothing of it in the upper half */
}

/* By definition: sign, exponent, fraction. */
static void check_f16_numbers(void) {
    for (uint32_t bits = 0; bits < 0x7c00; bits++) {
        const int exponent = (int)(bits >> 10);
        const double fraction = (bits & 0x3ff) / 1024.0;
        const double number =
                exponent ? ldexp(1.0 + fraction, exponent - 15) : ldexp(fraction, -14);
        CHECK((double)rt_f16_to_float((uint16_t)bits) == number);
    }
}

/* hidden + y, rounded, with hidden -0, to which whatever is added stays as it is. */
static void check_vectors(rt_isa isa, rt_pool *pool) {
    static uint16_t hidden[KINDS * N];
    static float y[KINDS * N];
    static uint16_t expected[KINDS * N];
    const attn_shape shape = {.n_heads = 1, .n_kv_heads = 1, .head_dim = 16, .kv_dtype = RT_BF16};
    glm_ops ops;
    int64_t n = 0;
    help_require(glm_ops_cpu_create(&shape, isa, pool, &ops), "ops");
    for (uint16_t low = 0; low < bf16.infinity; low++, n += KINDS)
        pair_of(&bf16, low, y + n, expected + n);
    for (int64_t i = 0; i < n; i++) hidden[i] = SIGN;
    ops.add(&ops, hidden, RT_BF16, (glm_rows){y, n}, 1, n);
    for (int64_t i = 0; i < n; i++) CHECK(hidden[i] == expected[i]);
    const float odd[16] = {
            INFINITY, -INFINITY, rt_bits_float(0x7f800001), rt_bits_float(0xffc00000)};
    for (int i = 0; i < 16; i++) y[i] = odd[i], hidden[i] = SIGN;
    ops.add(&ops, hidden, RT_BF16, (glm_rows){y, 16}, 1, 16);
    CHECK(hidden[0] == 0x7f80 && hidden[1] == 0xff80);
    CHECK(isnan(rt_bf16_to_float(hidden[2])) && isnan(rt_bf16_to_float(hidden[3])));
    glm_ops_free(&ops);
}

int main(void) {
    rt_pool *pool = NULL;
    help_require(rt_pool_create(2, &pool), "a pool");
    check_scalars(&bf16);
    check_scalars(&f16);
    check_f16_numbers();
    for (rt_isa isa = RT_ISA_PORTABLE; isa <= rt_machine_isa(); isa++) check_vectors(isa, pool);
    rt_pool_free(pool);
    return 0;
}
