/* Pages of e4m3: half the bytes of bf16 ones, one scale for the keys and one for the values of a KV head.
 *
 * A number x of a full page becomes scale c, c the e4m3 nearest to x / scale, ties to an even code:
 *
 *   scale = the smallest power of two with 448 scale >= largest |x|, at least 2^-100
 *   |x - scale c| <= max(2^-4 |x|, 2^-10 scale),     448 being the largest e4m3,
 *
 * as e4m3 has 3 bits behind the first and steps of 2^-9 below 2^-6. A power of two costs one binade of e4m3's
 * eighteen, at the small end, and makes dividing by it and multiplying with it exact: what a code reads as is a
 * number of fp32 and of bf16, and every kernel, of any device, reads the same.
 * Where a number is 2^127 or more in size, Inf or NaN, scale is NaN and all codes are 0: everything reads as
 * NaN. The codes that stand for NaN, 0x7f and 0xff, are in no page.
 *
 * As with int8 and int4 (attention.h), a page is sealed once it is full, and a query reads its own page as it
 * was and every earlier one sealed.
 *
 * Bytes of a KV head on a GPU, of which a page is one after the other, each from a cache line's first byte on (head_dim 128;
 * a CPU's: attn_page.h):
 *
 *   0      keys    token t, dim d at  t 128 + ((d / 16) ^ (t % 8)) 16 + d % 16
 *   16384  values  token t, dim d at  (t / 16) 2048 + d 16 + t % 16
 *   32768  fp32 scale of the keys, of the values; 8 bytes of 0 */
#ifndef ATTN_FP8_H
#define ATTN_FP8_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    ATTN_FP8_TILE_BYTES = 16384,
    ATTN_FP8_SCALES_AT = 2 * ATTN_FP8_TILE_BYTES,
    ATTN_FP8_HEAD_BYTES = ATTN_FP8_SCALES_AT + 16,
    ATTN_FP8_PLACE_BYTES = ATTN_FP8_SCALES_AT + 128 /* from a head of a page to the next */
};

/* What a code stands for. NaN for 0x7f and 0xff. */
double attn_fp8_number(uint8_t code);

/* The scale of numbers of which the largest is `largest` in size; NaN where there is none. */
float attn_fp8_scale(float largest);
/* The code nearest to x, |x| <= 448. */
uint8_t attn_fp8_code(float x);

/* The definition, a number at a time: rows [128][128] bf16 of keys and of values -> the bytes above. */
void attn_fp8_seal(const uint16_t *k, const uint16_t *v, void *head);

#ifdef __cplusplus
}
#endif

#endif
