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

float attn_fp8_scale(float largest) {
    if (!(largest < 0x1p127f)) return NAN;
    float scale = 0x1p-100f;
    while (448.0 * (double)scale < (double)largest) scale *= 2.0f;
    return scale;
}

/* Of two as near the even one. Codes ascend as their numbers do. */
uint8_t attn_fp8_code(float x) {
    const double size = fabs((double)x);
    uint8_t code = 0;
    for (uint8_t step = 64; step > 0; step /= 2)
        if (code + step <= LARGEST && attn_fp8_number(code + step) <= size) code += step;
    if (code < LARGEST) {
        const double below = size - attn_fp8_number(code);
        const double above = attn_fp8_number(code + 1) - size;
        if (above < below || (above == below && code % 2 != 0)) code++;
    }
    return signbit(x) ? code | 0x80 : code;
}

static float scale_of(const uint16_t *numbers) {
    float largest = 0.0f;
    for (int i = 0; i < N_ROWS * N_DIMS; i++) {
        const float size = fabsf(rt_bf16_to_float(numbers[i]));
        if (!isfinite(size)) return NAN;
        largest = fmaxf(largest, size);
    }
    return attn_fp8_scale(largest);
}

static uint8_t code_at(float scale, uint16_t number) {
    return isnan(scale) ? 0 : attn_fp8_code(rt_bf16_to_float(number) / scale);
}

void attn_fp8_seal(const uint16_t *k, const uint16_t *v, void *head) {
    uint8_t *bytes = head;
    const float scales[4] = {scale_of(k), scale_of(v)};
    for (int t = 0; t < N_ROWS; t++)
        for (int d = 0; d < N_DIMS; d++) {
            const int i = t * N_DIMS + d;
            bytes[t * 128 + ((d / 16) ^ (t % 8)) * 16 + d % 16] = code_at(scales[0], k[i]);
            bytes[ATTN_FP8_TILE_BYTES + t / 16 * 2048 + d * 16 + t % 16] = code_at(scales[1], v[i]);
        }
    memcpy(bytes + ATTN_FP8_SCALES_AT, scales, sizeof scales);
}
