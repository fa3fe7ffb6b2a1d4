/* 16-bit floating-point numbers, one value at a time.
 *
 * bf16 is the upper half of an fp32; f16 is IEEE binary16. Rounding is to nearest, ties to even;
 * NaN stays NaN. Loops over many values live with the kernels that need them. */
#ifndef RT_FLOAT16_H
#define RT_FLOAT16_H

#include <stdint.h>
#include <string.h>

/* How numbers are stored: weights in a file, rows of the KV cache, hidden states. Books on disk say it by these
 * values, which therefore stay what they are. The last three are of the KV cache only: codes that mean something beside the scale and zero
 * of their group (attention/attention.h), or the scale of their page (attention/attn_fp8.h). */
typedef enum rt_dtype { RT_BF16, RT_F16, RT_F32, RT_INT8, RT_INT4, RT_FP8 } rt_dtype;

static inline int64_t rt_dtype_bits(rt_dtype dtype) {
    static const int8_t bits[] = {16, 16, 32, 8, 4, 8};
    return bits[dtype];
}

/* Of the floating-point types, of int8 and of fp8; two int4 share a byte. */
static inline int64_t rt_dtype_bytes(rt_dtype dtype) {
    return rt_dtype_bits(dtype) / 8;
}

static inline const char *rt_dtype_name(rt_dtype dtype) {
    static const char *const names[] = {"bf16", "f16", "f32", "int8", "int4", "fp8"};
    return names[dtype];
}

static inline uint32_t rt_float_bits(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float rt_bits_float(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline float rt_bf16_to_float(uint16_t bf16) {
    return rt_bits_float((uint32_t)bf16 << 16);
}

static inline uint16_t rt_float_to_bf16(float value) {
    const uint32_t bits = rt_float_bits(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return (uint16_t)((bits >> 16) | 0x40u);
    return (uint16_t)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

static inline float rt_f16_to_float(uint16_t f16) {
    const uint32_t sign = (uint32_t)(f16 & 0x8000u) << 16;
    const uint32_t exponent = (f16 >> 10) & 0x1fu;
    const uint32_t mantissa = f16 & 0x3ffu;
    if (exponent == 0x1fu) return rt_bits_float(sign | 0x7f800000u | (mantissa << 13));
    if (exponent != 0) return rt_bits_float(sign | ((exponent + 112u) << 23) | (mantissa << 13));
    /* Zero and subnormals: mantissa x 2^-24, exact in fp32. */
    const float magnitude = (float)mantissa * 0x1p-24f;
    return sign ? -magnitude : magnitude;
}

/* Overflow becomes infinity, as IEEE 754 rounds. */
static inline uint16_t rt_float_to_f16(float value) {
    const uint32_t bits = rt_float_bits(value);
    const uint16_t sign = (uint16_t)(bits >> 16 & 0x8000u);
    const uint32_t magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return (uint16_t)(sign | 0x7e00u);
    if (magnitude >= 0x477ff000u) return (uint16_t)(sign | 0x7c00u); /* 65520 and above */
    if (magnitude < 0x38800000u) {
        /* Below 2^-14: adding 1/2 leaves a multiple of 2^-24, rounded to nearest even, at the end
         * of the mantissa. */
        const float shifted = rt_bits_float(magnitude) + 0.5f;
        return (uint16_t)(sign | (rt_float_bits(shifted) - 0x3f000000u));
    }
    const uint32_t rounded = magnitude + 0xfffu + (magnitude >> 13 & 1u);
    return (uint16_t)(sign | ((rounded >> 13) - (112u << 10)));
}

/* Number `index` of an array of bf16, f16 or f32. */
static inline float rt_load_float(const void *base, int64_t index, rt_dtype dtype) {
    if (dtype == RT_F32) return ((const float *)base)[index];
    const uint16_t half = ((const uint16_t *)base)[index];
    return dtype == RT_BF16 ? rt_bf16_to_float(half) : rt_f16_to_float(half);
}

#endif
