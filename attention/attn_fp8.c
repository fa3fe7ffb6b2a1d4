/* e4m3 pages by their definition, slowly: what the kernels are compared with. */
#include "attn_fp8.h"

#include <math.h>
#include <string.h>

#include "attention.h"

enum { N_ROWS = ATTN_PAGE_TOKENS, N_DIMS = 128, LARGEST = 0x7e };

double attn_fp8_number(uint8_t code) {
    const int exponent = code >> 3 & 15;
    const int mantissa = code & 7;
    double number = exponent ? ldexp(1.0 + mantissa / 8.0, exponent - 7) : ldexp(mantissa, -9);
    if ((code & 0x7f) == 0x7f) number = (double)NAN;
    return code & 0x80 ? -number : number;
}

/* The nearest, of two as near the even one, the largest for what is beyond. */
static uint8_t code_of(float x) {
    const double size = fabs((double)x);
    uint8_t best = 0;
    for (uint8_t code = 1; code <= LARGEST; code++) {
        const double nearer =
                fabs(attn_fp8_number(code) - size) - fabs(attn_fp8_number(best) - size);
        if (nearer < 0.0 || (nearer == 0.0 && code % 2 == 0)) best = code;
    }
    return signbit(x) ? best | 0x80 : best;
}

static float scale_of(const uint16_t *numbers) {
    float largest = 0.0f;
    for (int i = 0; i < N_ROWS * N_DIMS; i++) {
        const float size = fabsf(rt_bf16_to_float(numbers[i]));
        if (!isfinite(size)) return NAN;
        largest = fmaxf(largest, size);
    }
    return fmaxf(largest * (1.0f / 448.0f), 0x1p-100f);
}

void attn_fp8_seal(const uint16_t *k, const uint16_t *v, void *head) {
    uint8_t *bytes = head;
    const float scales[4] = {scale_of(k), scale_of(v)};
    const float inverse_k = isnan(scales[0]) ? 0.0f : 1.0f / scales[0];
    const float inverse_v = isnan(scales[1]) ? 0.0f : 1.0f / scales[1];
    for (int t = 0; t < N_ROWS; t++)
        for (int d = 0; d < N_DIMS; d++) {
            const int i = t * N_DIMS + d;
            const float x = isnan(scales[0]) ? 0.0f : rt_bf16_to_float(k[i]) * inverse_k;
            const float y = isnan(scales[1]) ? 0.0f : rt_bf16_to_float(v[i]) * inverse_v;
            bytes[t * 128 + ((d / 16) ^ (t % 8)) * 16 + d % 16] = code_of(x);
            bytes[ATTN_FP8_TILE_BYTES + t / 16 * 2048 + d * 16 + t % 16] = code_of(y);
        }
    memcpy(bytes + ATTN_FP8_SCALES_AT, scales, sizeof scales);
}
