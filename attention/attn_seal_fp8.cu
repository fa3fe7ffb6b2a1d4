/* Full bf16 pages -> e4m3 pages (attn_fp8.h), and e4m3 pages -> what their codes say, as bf16 pages.
 *
 * A block is the keys or the values of a KV head of a page: 32 KiB in, kept in registers between the search for
 * the largest and the division, 16 KiB out. Bound by memory, and once in a page's life. The way back is bound by
 * memory, too, and taken once for all rows of a chunk: next to nothing beside their products. */
#include "ptx.cuh"

#include "attn_fp8.h"
#include "attn_tile.cuh"

#include <math.h>

namespace {

enum {
    THREADS = 256,
    N_WARPS = THREADS / WARP,
    ROW_CHUNKS = HEAD_DIM / CHUNK_NUMBERS,
    UNIT_ROWS = 4, /* a thread has 4 rows of 8 dims at a time */
    N_UNITS = PAGE / UNIT_ROWS * ROW_CHUNKS / THREADS
};

struct seal_params {
    attn_cuda_seal_args a;
};

/* 8 numbers of each of 4 rows. */
struct unit {
    uint4 row[UNIT_ROWS];
};

PTX_DEVICE uint32_t larger(uint32_t a, uint32_t b) {
    return a > b ? a : b;
}

/* Of two bf16, the larger size; as integers, so that Inf and NaN are the largest. */
PTX_DEVICE uint32_t size_of(uint32_t pair) {
    return larger(pair & 0x7fffu, pair >> 16 & 0x7fffu);
}

/* Over the block. */
PTX_DEVICE uint32_t largest_of(uint32_t v, ptx_smem smem) {
    for (int step = 1; step < WARP; step *= 2)
        v = larger(v, ptx_float_bits(ptx_shfl_xor(ptx_bits_float(v), step)));
    if (ptx_thread() % WARP == 0) ptx_sts32(smem + (ptx_smem)(ptx_thread() / WARP * 4), v);
    ptx_syncthreads();
    for (int warp = 0; warp < N_WARPS; warp++)
        v = larger(v, ptx_lds32(smem + (ptx_smem)(warp * 4)));
    return v;
}

/* The code of x, at most 448 in size. */
PTX_DEVICE uint32_t code_of(float x) {
    const uint32_t sign = ptx_float_bits(x) >> 24 & 0x80u;
    const float size = fabsf(x);
    if (size < 0x1p-6f) /* steps of 2^-9: the addition rounds */
        return sign | (ptx_float_bits(ptx_mul(size, 512.0f) + 0x1.8p23f) & 15u);
    const uint32_t bits = ptx_float_bits(size);
    return sign | (((bits + 0x7ffffu + (bits >> 20 & 1u)) >> 20) - ((127u - 7u) << 3));
}

PTX_DEVICE void codes_of(uint4 numbers, float inverse, uint32_t (&codes)[CHUNK_NUMBERS]) {
    const uint32_t pairs[4] = {numbers.x, numbers.y, numbers.z, numbers.w};
#pragma unroll
    for (int i = 0; i < 4; i++) {
        codes[2 * i] = code_of(ptx_mul(ptx_bf16_low(pairs[i]), inverse));
        codes[2 * i + 1] = code_of(ptx_mul(ptx_bf16_high(pairs[i]), inverse));
    }
}

/* Of fp32, with its bias. 448 is 1.75 x 2^8: numbers up to 1.75 x 2^e, bf16 bits `size`, have 2^(e - 8). */
PTX_DEVICE uint32_t exponent_of_scale(uint32_t size) {
    const uint32_t above = (size + 0x1fu) >> 7; /* carries from 1.75 on */
    return above > 8u + 27u ? above - 8u : 27u;
}

PTX_DEVICE uint32_t together(uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
    return a | b << 8 | c << 16 | d << 24;
}

/* Rows t and on of chunk c. */
PTX_DEVICE void store_codes(const uint32_t (&codes)[UNIT_ROWS][CHUNK_NUMBERS], bool is_values,
        int t, int c, char *tile) {
    if (is_values)
#pragma unroll
        for (int i = 0; i < CHUNK_NUMBERS; i++)
            *(uint32_t *)(tile + t / 16 * 2048 + (c * CHUNK_NUMBERS + i) * 16 + t % 16) =
                    together(codes[0][i], codes[1][i], codes[2][i], codes[3][i]);
    else
#pragma unroll
        for (int r = 0; r < UNIT_ROWS; r++)
#pragma unroll
            for (int i = 0; i < CHUNK_NUMBERS; i += 4)
                *(uint32_t *)(tile + tile_chunk(t + r, c / 2) + c % 2 * 8 + i) =
                        together(codes[r][i], codes[r][i + 1], codes[r][i + 2], codes[r][i + 3]);
}

static __global__ void __launch_bounds__(THREADS) attn_seal_fp8_kernel(const seal_params p) {
    const int64_t page = ptx_block_x();
    const int kv_head = (int)ptx_block_y() / 2;
    const bool is_values = ptx_block_y() % 2 != 0;
    const char *from = tile_of_keys(p.a.open_pages[page], kv_head) + (is_values ? TILE_BYTES : 0);
    char *head = (char *)p.a.pages[page] + (int64_t)kv_head * ATTN_FP8_PLACE_BYTES;
    unit units[N_UNITS];
    uint32_t size = 0;
#pragma unroll
    for (int u = 0; u < N_UNITS; u++) {
        const int i = u * THREADS + ptx_thread();
#pragma unroll
        for (int r = 0; r < UNIT_ROWS; r++) {
            const uint4 x = *(const uint4 *)(from + tile_at(i / ROW_CHUNKS * UNIT_ROWS + r,
                                                            i % ROW_CHUNKS, TILE_HALF_BYTES));
            size = larger(size,
                    larger(larger(size_of(x.x), size_of(x.y)), larger(size_of(x.z), size_of(x.w))));
            units[u].row[r] = x;
        }
    }
    size = largest_of(size, ptx_smem_base());
    const bool is_coded = size < 0x7f00u; /* 2^127 */
    const uint32_t exponent = exponent_of_scale(size);
    const float scale = is_coded ? ptx_bits_float(exponent << 23) : NAN;
    const float inverse = ptx_bits_float((254u - exponent) << 23);
#pragma unroll
    for (int u = 0; u < N_UNITS; u++) {
        const int i = u * THREADS + ptx_thread();
        uint32_t codes[UNIT_ROWS][CHUNK_NUMBERS] = {};
#pragma unroll
        for (int r = 0; r < UNIT_ROWS; r++)
            if (is_coded) codes_of(units[u].row[r], inverse, codes[r]);
        store_codes(codes, is_values, i / ROW_CHUNKS * UNIT_ROWS, i % ROW_CHUNKS,
                head + (is_values ? ATTN_FP8_TILE_BYTES : 0));
    }
    float *scales = (float *)(head + ATTN_FP8_SCALES_AT);
    if (ptx_thread() == 0) {
        scales[is_values ? 1 : 0] = scale;
        scales[is_values ? 3 : 2] = 0.0f;
    }
}

/* ---- back ------------------------------------------------------------------------------------ */

/* Codes of rows t and on of chunk c, four to a word. */
PTX_DEVICE void load_codes(
        const char *tile, bool is_values, int t, int c, uint32_t (&codes)[UNIT_ROWS][2]) {
    if (!is_values) {
#pragma unroll
        for (int r = 0; r < UNIT_ROWS; r++)
#pragma unroll
            for (int half = 0; half < 2; half++)
                codes[r][half] = *(const uint32_t *)(tile + tile_chunk(t + r, c / 2) + c % 2 * 8 +
                                                     half * 4);
        return;
    }
    uint32_t columns[CHUNK_NUMBERS];
#pragma unroll
    for (int i = 0; i < CHUNK_NUMBERS; i++)
        columns[i] = *(const uint32_t *)(tile + t / 16 * 2048 + (c * CHUNK_NUMBERS + i) * 16 + t % 16);
#pragma unroll
    for (int r = 0; r < UNIT_ROWS; r++)
#pragma unroll
        for (int half = 0; half < 2; half++)
            codes[r][half] = together(columns[half * 4] >> 8 * r & 255u,
                    columns[half * 4 + 1] >> 8 * r & 255u, columns[half * 4 + 2] >> 8 * r & 255u,
                    columns[half * 4 + 3] >> 8 * r & 255u);
}

/* Two numbers times a power of two. */
PTX_DEVICE uint32_t scaled(uint32_t pair, float scale) {
    return ptx_pack_bf16(ptx_mul(ptx_bf16_low(pair), scale), ptx_mul(ptx_bf16_high(pair), scale));
}

static __global__ void __launch_bounds__(THREADS) attn_widen_fp8_kernel(const seal_params p) {
    const int64_t page = ptx_block_x();
    const int kv_head = (int)ptx_block_y() / 2;
    const bool is_values = ptx_block_y() % 2 != 0;
    const char *head = (const char *)p.a.pages[page] + (int64_t)kv_head * ATTN_FP8_PLACE_BYTES;
    const char *tile = head + (is_values ? ATTN_FP8_TILE_BYTES : 0);
    char *to = (char *)p.a.open_pages[page] + (int64_t)kv_head * (2 * TILE_BYTES) +
               (is_values ? TILE_BYTES : 0);
    const float scale = *(const float *)(head + ATTN_FP8_SCALES_AT + (is_values ? 4 : 0));
    for (int i = ptx_thread(); i < N_UNITS * THREADS; i += THREADS) {
        const int t = i / ROW_CHUNKS * UNIT_ROWS;
        const int c = i % ROW_CHUNKS;
        uint32_t codes[UNIT_ROWS][2];
        load_codes(tile, is_values, t, c, codes);
#pragma unroll
        for (int r = 0; r < UNIT_ROWS; r++)
            *(uint4 *)(to + tile_at(t + r, c, TILE_HALF_BYTES)) = make_uint4(
                    scaled(ptx_e4m3_low(codes[r][0]), scale), scaled(ptx_e4m3_high(codes[r][0]), scale),
                    scaled(ptx_e4m3_low(codes[r][1]), scale),
                    scaled(ptx_e4m3_high(codes[r][1]), scale));
    }
}

rt_status launch(void (*kernel)(const seal_params), const char *what, const attn_shape *shape,
        const attn_cuda_seal_args *args, rt_stream stream) {
    if (args->n_pages == 0) return RT_OK;
    const ptx_grid grid = {args->n_pages, (int64_t)shape->n_kv_heads * 2, THREADS, N_WARPS * 4};
    const char *why = ptx_launch(kernel, grid, stream, seal_params{*args});
    if (why)
        return rt_fail(RT_EDEVICE, "attention: %s of %lld e4m3 pages: %s", what,
                (long long)args->n_pages, why);
    return RT_OK;
}

} // namespace

int64_t attn_cuda_fp8_page_bytes(const attn_shape *shape) {
    return ((int64_t)shape->n_kv_heads * ATTN_FP8_PLACE_BYTES + 255) / 256 * 256;
}

rt_status attn_cuda_seal_fp8(
        const attn_shape *shape, const attn_cuda_seal_args *args, rt_stream stream) {
    return launch(attn_seal_fp8_kernel, "sealing", shape, args, stream);
}

rt_status attn_cuda_widen_fp8(
        const attn_shape *shape, const attn_cuda_seal_args *args, rt_stream stream) {
    return launch(attn_widen_fp8_kernel, "widening", shape, args, stream);
}
