/* The elementwise kernels of a layer on a GPU: embed, residual add and norm, swiglu. Each is bound
 * by memory: what it reads and writes a row is said at the kernel. 8 numbers, 16 bytes, a thread at
 * a time. */
#include "attention/ptx.cuh"

#include "ops_cuda.h"

#include <math.h>

namespace {

enum { THREADS = 256, WARP = 32, N_WARPS = THREADS / WARP, CHUNK = 8 };

struct eight {
    float at[CHUNK];
};

PTX_DEVICE eight load_eight(const uint16_t *from) {
    const uint4 v = *(const uint4 *)from;
    return {{ptx_bf16_low(v.x), ptx_bf16_high(v.x), ptx_bf16_low(v.y), ptx_bf16_high(v.y),
            ptx_bf16_low(v.z), ptx_bf16_high(v.z), ptx_bf16_low(v.w), ptx_bf16_high(v.w)}};
}

PTX_DEVICE void store_eight(uint16_t *to, const eight &x) {
    *(uint4 *)to = make_uint4(ptx_pack_bf16(x.at[0], x.at[1]), ptx_pack_bf16(x.at[2], x.at[3]),
            ptx_pack_bf16(x.at[4], x.at[5]), ptx_pack_bf16(x.at[6], x.at[7]));
}

rt_status status_of(const char *what, const char *why) {
    return why ? rt_fail(RT_EDEVICE, "%s: %s", what, why) : RT_OK;
}

/* ---- embed: 2 x 2 bytes a number ------------------------------------------------------------- */

struct embed_params {
    const uint16_t *table;
    const int32_t *ids;
    int64_t width;
    uint16_t *hidden;
};

static __global__ void __launch_bounds__(THREADS) glm_embed_kernel(const embed_params p) {
    const int64_t row = ptx_block_x();
    const uint4 *from = (const uint4 *)(p.table + (int64_t)p.ids[row] * p.width);
    uint4 *to = (uint4 *)(p.hidden + row * p.width);
    for (int64_t i = ptx_thread(); i < p.width / CHUNK; i += THREADS) to[i] = from[i];
}

/* ---- add and norm: 10 bytes a number, 4 without an update, 6 without a norm ------------------ */

struct add_norm_params {
    uint16_t *hidden;
    const uint16_t *update;
    const uint16_t *weight;
    uint16_t *out;
    int64_t width;
    float eps;
};

/* Over all threads of the block, in a fixed order; 4 N_WARPS bytes of shared memory. */
PTX_DEVICE float sum_of_block(float v, ptx_smem smem) {
    for (int step = 1; step < WARP; step *= 2) v += ptx_shfl_xor(v, step);
    if (ptx_thread() % WARP == 0)
        ptx_sts32(smem + (ptx_smem)(ptx_thread() / WARP * 4), ptx_float_bits(v));
    ptx_syncthreads();
    float sum = 0.0f;
    for (int warp = 0; warp < N_WARPS; warp++)
        sum += ptx_bits_float(ptx_lds32(smem + (ptx_smem)(warp * 4)));
    return sum;
}

static __global__ void __launch_bounds__(THREADS) glm_add_norm_kernel(const add_norm_params p) {
    const int64_t first = ptx_block_x() * p.width;
    float squares = 0.0f;
    for (int64_t i = ptx_thread() * CHUNK; i < p.width; i += THREADS * CHUNK) {
        eight x = load_eight(p.hidden + first + i);
        if (p.update) {
            const eight more = load_eight(p.update + first + i);
            for (int c = 0; c < CHUNK; c++) x.at[c] += more.at[c];
            store_eight(p.hidden + first + i, x);
            x = load_eight(p.hidden + first + i); /* what is normed is what was stored */
        }
        for (int c = 0; c < CHUNK; c++) squares = fmaf(x.at[c], x.at[c], squares);
    }
    if (!p.weight) return;
    const float mean = sum_of_block(squares, ptx_smem_base()) / (float)p.width;
    const float scale = 1.0f / sqrtf(mean + p.eps);
    for (int64_t i = ptx_thread() * CHUNK; i < p.width; i += THREADS * CHUNK) {
        eight x = load_eight(p.hidden + first + i);
        const eight weight = load_eight(p.weight + i);
        for (int c = 0; c < CHUNK; c++) x.at[c] = x.at[c] * scale * weight.at[c];
        store_eight(p.out + first + i, x);
    }
}

/* ---- swiglu: 6 bytes a number ---------------------------------------------------------------- */

struct swiglu_params {
    const uint16_t *gate_up;
    uint16_t *out;
    int64_t width;
};

static __global__ void __launch_bounds__(THREADS) glm_swiglu_kernel(const swiglu_params p) {
    const int64_t row = ptx_block_y();
    const int64_t i = (ptx_block_x() * THREADS + ptx_thread()) * CHUNK;
    if (i >= p.width) return;
    const uint16_t *gate = p.gate_up + row * 2 * p.width + i;
    eight x = load_eight(gate);
    const eight up = load_eight(gate + p.width);
    for (int c = 0; c < CHUNK; c++)
        x.at[c] = x.at[c] / (1.0f + ptx_exp2(x.at[c] * -1.4426950408889634f)) * up.at[c];
    store_eight(p.out + row * p.width + i, x);
}

/* ---- ranks: 6 bytes a number to embed or round, 8 to join ------------------------------------ */

struct embed_own_params {
    const uint16_t *table;
    const int32_t *ids;
    int64_t first;
    int64_t n_own;
    int64_t width;
    float *rows;
};

static __global__ void __launch_bounds__(THREADS) glm_embed_own_kernel(const embed_own_params p) {
    const int64_t row = ptx_block_x();
    const int64_t id = p.ids[row] - p.first;
    const bool is_own = id >= 0 && id < p.n_own;
    float4 *to = (float4 *)(p.rows + row * p.width);
    for (int64_t i = ptx_thread(); i < p.width / CHUNK; i += THREADS) {
        eight x = {};
        if (is_own) x = load_eight(p.table + id * p.width + i * CHUNK);
        to[2 * i] = make_float4(x.at[0], x.at[1], x.at[2], x.at[3]);
        to[2 * i + 1] = make_float4(x.at[4], x.at[5], x.at[6], x.at[7]);
    }
}

struct round_params {
    const float *x;
    int64_t n;
    uint16_t *out;
};

static __global__ void __launch_bounds__(THREADS) glm_round_kernel(const round_params p) {
    const int64_t i = (ptx_block_x() * THREADS + ptx_thread()) * CHUNK;
    if (i >= p.n) return;
    const float4 a = *(const float4 *)(p.x + i);
    const float4 b = *(const float4 *)(p.x + i + 4);
    store_eight(p.out + i, {{a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w}});
}

struct join_params {
    const float *shares;
    int64_t n_ranks;
    int64_t n;
    int64_t width;
    float *rows;
};

/* A block for a part of one rank's share of one row. */
static __global__ void __launch_bounds__(THREADS) glm_join_kernel(const join_params p) {
    const int64_t share = ptx_block_y(); /* [n_ranks][n] */
    const int64_t i = ptx_block_x() * THREADS + ptx_thread();
    if (i >= p.width) return;
    const int64_t row = share % p.n * p.n_ranks + share / p.n; /* [n][n_ranks] */
    p.rows[row * p.width + i] = p.shares[share * p.width + i];
}

} // namespace

const void *glm_cuda_a_kernel(void) {
    return (const void *)glm_round_kernel;
}

rt_status glm_cuda_embed(const uint16_t *table, const int32_t *ids, int64_t n, int64_t width,
        uint16_t *hidden, rt_stream stream) {
    if (n == 0) return RT_OK;
    rt_assert(width % CHUNK == 0);
    const embed_params params = {table, ids, width, hidden};
    return status_of("embed", ptx_launch(glm_embed_kernel, {n, 1, THREADS, 0}, stream, params));
}

rt_status glm_cuda_add_norm(uint16_t *hidden, const uint16_t *update, const uint16_t *weight,
        float eps, int64_t n, int64_t width, uint16_t *out, rt_stream stream) {
    if (n == 0) return RT_OK;
    rt_assert(width % CHUNK == 0);
    const add_norm_params params = {hidden, update, weight, out, width, eps};
    return status_of("add and norm",
            ptx_launch(glm_add_norm_kernel, {n, 1, THREADS, N_WARPS * 4}, stream, params));
}

rt_status glm_cuda_swiglu(
        const uint16_t *gate_up, int64_t n, int64_t width, uint16_t *out, rt_stream stream) {
    rt_assert(width % CHUNK == 0);
    const int64_t rows_max = 65535; /* of a launch: blocks in y */
    const int64_t n_blocks = (width / CHUNK + THREADS - 1) / THREADS;
    for (int64_t row = 0; row < n; row += rows_max) {
        const int64_t rows = n - row < rows_max ? n - row : rows_max;
        const swiglu_params params = {gate_up + row * 2 * width, out + row * width, width};
        RT_TRY(status_of("swiglu",
                ptx_launch(glm_swiglu_kernel, {n_blocks, rows, THREADS, 0}, stream, params)));
    }
    return RT_OK;
}

rt_status glm_cuda_embed_own(const uint16_t *table, int64_t first, int64_t n_own,
        const int32_t *ids, int64_t n, int64_t width, float *rows, rt_stream stream) {
    if (n == 0) return RT_OK;
    rt_assert(width % CHUNK == 0);
    const embed_own_params params = {table, ids, first, n_own, width, rows};
    return status_of("embed of a rank's ids",
            ptx_launch(glm_embed_own_kernel, {n, 1, THREADS, 0}, stream, params));
}

rt_status glm_cuda_round(const float *x, int64_t n, uint16_t *out, rt_stream stream) {
    if (n == 0) return RT_OK;
    rt_assert(n % CHUNK == 0);
    const round_params params = {x, n, out};
    const int64_t n_blocks = (n / CHUNK + THREADS - 1) / THREADS;
    return status_of("rounding of sums",
            ptx_launch(glm_round_kernel, {n_blocks, 1, THREADS, 0}, stream, params));
}

rt_status glm_cuda_join(const float *shares, int32_t n_ranks, int64_t n, int64_t width, float *rows,
        rt_stream stream) {
    if (n == 0) return RT_OK;
    rt_assert(n * n_ranks <= 65535); /* blocks in y */
    const join_params params = {shares, n_ranks, n, width, rows};
    return status_of("joining of logits",
            ptx_launch(glm_join_kernel, {(width + THREADS - 1) / THREADS, n * n_ranks, THREADS, 0},
                    stream, params));
}
