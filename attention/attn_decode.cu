/* Decode attention, sm_80 and later: a few query tokens of each sequence against all of its keys.
 *
 * A block is one KV head, one split of 4096 keys and every query row of the KV head: the (8 or 16)
 * query heads of each query token, so that keys and values are read once for all of them. The
 * products are transposed, S^T = K Q^T and O^T = V^T P^T: the keys fill the rows of the matrix
 * instruction, and the query rows its n = 8 columns, without padding where the group is 8.
 *
 * 4 warps, each with its own keys (16 at a time, every fourth 16 of the split), its own ring of
 * stages and its own state: nobody waits for anybody until the end of the split. 24 KiB of cp.async
 * in flight or in use a warp, 96 KiB a block. The warps' states are folded in order; so are the
 * splits', by the block of a (sequence, KV head) that comes last.
 *
 * 512 bytes and 4 x 128 x rows FLOP a key: bound by memory up to about 100 rows. */
#include "ptx.cuh"

#include "attn_tile.cuh"

#include <math.h>

namespace {

enum {
    N_WARPS = 4,
    THREADS = N_WARPS * WARP,
    KEYS = 16, /* a step of a warp */
    SPLIT = ATTN_SPLIT_TOKENS,
    N_DIM_TILES = HEAD_DIM / 16,
    N_STAGES = 3,
    HALF_BYTES = KEYS * ROW_BYTES,
    OPERAND_BYTES = 2 * HALF_BYTES,
    STAGE_BYTES = 2 * OPERAND_BYTES, /* keys, values */
    SMEM_BYTES = N_WARPS * N_STAGES * STAGE_BYTES,

    /* At the end of a split the stages give way to the warps' states, fp32: */
    OUT_STRIDE = HEAD_DIM + 4, /* numbers a row; no bank conflicts */
    MAX_AT = N_WARPS * ATTN_CUDA_DECODE_ROWS_MAX * OUT_STRIDE * 4, /* [warp][row] */
    SUM_AT = MAX_AT + N_WARPS * ATTN_CUDA_DECODE_ROWS_MAX * 4,
    TICKET_AT = SUM_AT + N_WARPS * ATTN_CUDA_DECODE_ROWS_MAX * 4
};
static_assert(TICKET_AT + 4 <= SMEM_BYTES, "the states fit where the stages were");

struct decode_params {
    attn_cuda_decode_args a;
    int32_t n_heads;
    int32_t n_kv_heads;
    int32_t group;
    int32_t n_rows; /* n_queries x group */
    int64_t n_splits_max;
    uint32_t *tickets; /* [n_seqs][n_kv_heads] */
    float *part_out;   /* [n_seqs][n_kv_heads][n_splits_max][rows of the kernel][128] */
    float *part_max;   /* [n_seqs][n_kv_heads][n_splits_max][rows] */
    float *part_sum;
    float scale;
};

/* What this block has to do. */
struct decode_work {
    int32_t seq;
    int32_t kv_head;
    int32_t split;
    int32_t n_splits;
    int32_t n_keys;     /* of the split */
    int32_t first_seen; /* of the split's keys, by query token 0; each later one sees one more */
};

/* A lane's part of a warp's state, n-tile n: rows 8n + 2q, + 1; dims 16j + g, + 8. `sum` is of this
 * lane's keys alone. */
template <int NT> struct decode_state {
    float max[NT][2];
    float sum[NT][2];
    float out[NT][N_DIM_TILES][4];
};

PTX_DEVICE decode_work work_of_block(const decode_params &p) {
    decode_work w;
    w.seq = (int32_t)(ptx_block_y() / p.n_kv_heads);
    w.kv_head = (int32_t)(ptx_block_y() % p.n_kv_heads);
    w.split = (int32_t)ptx_block_x();
    const int64_t length = p.a.lengths[w.seq];
    const int64_t left = length - (int64_t)w.split * SPLIT;
    w.n_splits = (int32_t)((length + SPLIT - 1) / SPLIT);
    w.n_keys = left < SPLIT ? (int32_t)left : SPLIT;
    const int64_t seen = left - p.a.n_queries + 1;
    w.first_seen = seen < SPLIT ? (int32_t)seen : SPLIT;
    return w;
}

/* ---- copies ---------------------------------------------------------------------------------- */

/* A warp's step i: keys first_key .. + 15 of the split, K and V; rows past the last key are zero.
 */
PTX_DEVICE void copy_step(
        const decode_params &p, const decode_work &w, int first_key, ptx_smem to) {
    const int offset = ptx_thread() % WARP * 16;
    const int n_keys = w.n_keys - first_key - offset / ROW_BYTES;
    const int64_t page = (int64_t)w.split * (SPLIT / PAGE) + first_key / PAGE;
    const char *from =
            tile_of_keys(p.a.pages[w.seq][page], w.kv_head) + first_key % PAGE * ROW_BYTES + offset;
#pragma unroll
    for (int operand = 0; operand < 2; operand++)
#pragma unroll
        for (int half = 0; half < 2; half++)
#pragma unroll
            for (int row = 0; row < KEYS; row += WARP * 16 / ROW_BYTES)
                ptx_cp_async(
                        to + offset + operand * OPERAND_BYTES + half * HALF_BYTES + row * ROW_BYTES,
                        from + operand * TILE_BYTES + half * TILE_HALF_BYTES + row * ROW_BYTES,
                        row < n_keys ? 16 : 0);
}

/* Q^T as operand B: row g of each n-tile, dims 16k + 2q, + 1 and 8 on. Rows that are not there are
 * 0. */
template <int NT>
PTX_DEVICE void load_queries(
        const decode_params &p, const decode_work &w, uint32_t (&b)[NT][HEAD_DIM / 16][2]) {
    const int lane = ptx_thread() % WARP;
#pragma unroll
    for (int n = 0; n < NT; n++) {
        const int row = 8 * n + lane / 4;
        const int64_t token = (int64_t)w.seq * p.a.n_queries + row / p.group;
        const int head = w.kv_head * p.group + row % p.group;
        const uint16_t *q = p.a.q + token * p.a.q_stride + head * HEAD_DIM + lane % 4 * 2;
#pragma unroll
        for (int k = 0; k < HEAD_DIM / 16; k++)
#pragma unroll
            for (int half = 0; half < 2; half++)
                b[n][k][half] = row < p.n_rows ? *(const uint32_t *)(q + 16 * k + 8 * half) : 0u;
    }
}

/* ---- one step -------------------------------------------------------------------------------- */

template <int NT>
PTX_DEVICE void multiply_keys(
        ptx_smem keys, const uint32_t (&b)[NT][HEAD_DIM / 16][2], float (&s)[NT][4]) {
    const uint32_t lane = tile_lane_rows16(ptx_thread() % WARP);
#pragma unroll
    for (int n = 0; n < NT; n++)
#pragma unroll
        for (int c = 0; c < 4; c++) s[n][c] = 0.0f;
#pragma unroll
    for (int k = 0; k < HEAD_DIM / 16; k++) {
        uint32_t a[4];
        ptx_ldmatrix(a, keys + tile_step(lane, k, HALF_BYTES));
#pragma unroll
        for (int n = 0; n < NT; n++) ptx_mma(s[n], a, b[n][k][0], b[n][k][1]);
    }
}

/* s[n][c] is key g + 8 (c / 2), row 8n + 2q + c % 2. */
template <int NT>
PTX_DEVICE void mask(
        const decode_params &p, const decode_work &w, int first_key, float (&s)[NT][4]) {
    const int lane = ptx_thread() % WARP;
#pragma unroll
    for (int n = 0; n < NT; n++)
#pragma unroll
        for (int c = 0; c < 4; c++) {
            const int row = 8 * n + lane % 4 * 2 + c % 2;
            const int key = first_key + lane / 4 + c / 2 * 8;
            if (key >= w.first_seen + row / p.group) s[n][c] = -INFINITY;
        }
}

/* Over the eight lanes that share a row. */
PTX_DEVICE float max_of_row(float v) {
    v = fmaxf(v, ptx_shfl_xor(v, 4));
    v = fmaxf(v, ptx_shfl_xor(v, 8));
    return fmaxf(v, ptx_shfl_xor(v, 16));
}
PTX_DEVICE float sum_of_row(float v) {
    v += ptx_shfl_xor(v, 4);
    v += ptx_shfl_xor(v, 8);
    return v + ptx_shfl_xor(v, 16);
}

template <int NT> PTX_DEVICE void weigh(float (&s)[NT][4], decode_state<NT> &state, float scale) {
    float factor[NT][2];
    bool is_risen = false;
#pragma unroll
    for (int n = 0; n < NT; n++)
#pragma unroll
        for (int c = 0; c < 2; c++) {
            const float max =
                    fmaxf(state.max[n][c], max_of_row(fmaxf(s[n][c], s[n][c + 2])) * scale);
            const float base = max == -INFINITY ? 0.0f : max;
            is_risen = is_risen || max > state.max[n][c];
            factor[n][c] = ptx_exp2(state.max[n][c] - base);
            state.max[n][c] = max;
            s[n][c] = ptx_exp2(fmaf(s[n][c], scale, -base));
            s[n][c + 2] = ptx_exp2(fmaf(s[n][c + 2], scale, -base));
            state.sum[n][c] = fmaf(state.sum[n][c], factor[n][c], s[n][c] + s[n][c + 2]);
        }
    if (!ptx_any(is_risen)) return;
#pragma unroll
    for (int n = 0; n < NT; n++)
#pragma unroll
        for (int j = 0; j < N_DIM_TILES; j++)
#pragma unroll
            for (int c = 0; c < 4; c++) state.out[n][j][c] *= factor[n][c % 2];
}

template <int NT>
PTX_DEVICE void multiply_values(ptx_smem values, const float (&s)[NT][4], decode_state<NT> &state) {
    const uint32_t lane = tile_lane_rows8(ptx_thread() % WARP);
    uint32_t b[NT][2];
#pragma unroll
    for (int n = 0; n < NT; n++)
#pragma unroll
        for (int half = 0; half < 2; half++)
            b[n][half] = ptx_movmatrix_trans(ptx_pack_bf16(s[n][2 * half], s[n][2 * half + 1]));
#pragma unroll
    for (int j = 0; j < N_DIM_TILES; j++) {
        uint32_t a[4];
        ptx_ldmatrix_trans(a, values + tile_step(lane, j, HALF_BYTES));
#pragma unroll
        for (int n = 0; n < NT; n++) ptx_mma(state.out[n][j], a, b[n][0], b[n][1]);
    }
}

/* A warp's keys of the split. */
template <int NT>
PTX_DEVICE void walk(
        const decode_params &p, const decode_work &w, ptx_smem smem, decode_state<NT> &state) {
    const int warp = ptx_thread() / WARP;
    const ptx_smem ring = smem + (ptx_smem)(warp * N_STAGES * STAGE_BYTES);
    uint32_t q[NT][HEAD_DIM / 16][2];
#pragma unroll
    for (int i = 0; i < N_STAGES - 1; i++) {
        const int key = (i * N_WARPS + warp) * KEYS;
        if (key < w.n_keys) copy_step(p, w, key, ring + i * STAGE_BYTES);
        ptx_cp_async_commit();
    }
    load_queries<NT>(p, w, q);
    int stage = 0;
    for (int key = warp * KEYS; key < w.n_keys; key += N_WARPS * KEYS) {
        ptx_cp_async_wait<N_STAGES - 2>();
        ptx_syncwarp(); /* this stage is here; the one before has been read */
        const int next = key + (N_STAGES - 1) * N_WARPS * KEYS;
        const int next_stage = stage == 0 ? N_STAGES - 1 : stage - 1;
        if (next < w.n_keys) copy_step(p, w, next, ring + (ptx_smem)(next_stage * STAGE_BYTES));
        ptx_cp_async_commit();
        const ptx_smem keys = ring + (ptx_smem)(stage * STAGE_BYTES);
        float s[NT][4];
        multiply_keys<NT>(keys, q, s);
        if (key + KEYS > w.first_seen) mask<NT>(p, w, key, s);
        weigh<NT>(s, state, p.scale);
        multiply_values<NT>(keys + OPERAND_BYTES, s, state);
        stage = stage == N_STAGES - 1 ? 0 : stage + 1;
    } /* every copy has been waited for: what was committed since is empty */
}

/* ---- states: warps, splits ------------------------------------------------------------------- */

PTX_DEVICE float weight_of(float max, float base) {
    return base == -INFINITY ? 0.0f : ptx_exp2(max - base);
}

/* Each warp's state to shared memory. */
template <int NT> PTX_DEVICE void put_state(ptx_smem smem, const decode_state<NT> &state) {
    const int lane = ptx_thread() % WARP;
    const int warp_row = ptx_thread() / WARP * 8 * NT;
#pragma unroll
    for (int n = 0; n < NT; n++)
#pragma unroll
        for (int c = 0; c < 2; c++) {
            const int row = warp_row + 8 * n + lane % 4 * 2 + c;
            const float sum = sum_of_row(state.sum[n][c]);
            if (lane / 4 == 0) {
                ptx_sts32(smem + MAX_AT + row * 4, ptx_float_bits(state.max[n][c]));
                ptx_sts32(smem + SUM_AT + row * 4, ptx_float_bits(sum));
            }
#pragma unroll
            for (int j = 0; j < N_DIM_TILES; j++)
#pragma unroll
                for (int half = 0; half < 2; half++)
                    ptx_sts32(smem + (row * OUT_STRIDE + 16 * j + 8 * half + lane / 4) * 4,
                            ptx_float_bits(state.out[n][j][2 * half + c]));
        }
}

struct merged_row {
    float max;
    float sum;
    float out; /* of this thread's dim */
};

/* The four warps' state of a row, in order. */
PTX_DEVICE merged_row merge_warps(ptx_smem smem, int row, int n_rows, int dim) {
    float max[N_WARPS];
    merged_row m = {-INFINITY, 0.0f, 0.0f};
#pragma unroll
    for (int warp = 0; warp < N_WARPS; warp++) {
        max[warp] = ptx_bits_float(ptx_lds32(smem + MAX_AT + (warp * n_rows + row) * 4));
        m.max = fmaxf(m.max, max[warp]);
    }
#pragma unroll
    for (int warp = 0; warp < N_WARPS; warp++) {
        const int at = warp * n_rows + row;
        const float weight = weight_of(max[warp], m.max);
        m.sum = fmaf(weight, ptx_bits_float(ptx_lds32(smem + SUM_AT + at * 4)), m.sum);
        m.out = fmaf(weight, ptx_bits_float(ptx_lds32(smem + (at * OUT_STRIDE + dim) * 4)), m.out);
    }
    return m;
}

PTX_DEVICE void store_row(
        const decode_params &p, const decode_work &w, int row, const merged_row &m) {
    if (row >= p.n_rows) return;
    const int64_t token = (int64_t)w.seq * p.a.n_queries + row / p.group;
    const int64_t at = token * p.n_heads + w.kv_head * p.group + row % p.group;
    const float inverse = m.sum > 0.0f ? 1.0f / m.sum : 0.0f;
    p.a.attended[at * HEAD_DIM + ptx_thread()] = (uint16_t)ptx_pack_bf16(m.out * inverse, 0.0f);
    if (p.a.lse && ptx_thread() == 0) p.a.lse[at] = (m.max + ptx_log2(m.sum)) * 0.6931471805599453f;
}

/* The splits' states of 8 rows from `row` on, in order; the loads of several splits are in flight.
 */
PTX_DEVICE void merge_splits(
        const decode_params &p, const decode_work &w, int64_t part, int n_rows, int row) {
    const int dim = ptx_thread();
    merged_row m[8];
#pragma unroll
    for (int r = 0; r < 8; r++) m[r] = {-INFINITY, 0.0f, 0.0f};
#pragma unroll 4
    for (int split = 0; split < w.n_splits; split++)
#pragma unroll
        for (int r = 0; r < 8; r++)
            m[r].max = fmaxf(m[r].max,
                    ptx_load_shared_float(p.part_max + (part + split) * n_rows + row + r));
#pragma unroll 4
    for (int split = 0; split < w.n_splits; split++)
#pragma unroll
        for (int r = 0; r < 8; r++) {
            const int64_t at = (part + split) * n_rows + row + r;
            const float weight = weight_of(ptx_load_shared_float(p.part_max + at), m[r].max);
            m[r].sum = fmaf(weight, ptx_load_shared_float(p.part_sum + at), m[r].sum);
            m[r].out =
                    fmaf(weight, ptx_load_shared_float(p.part_out + at * HEAD_DIM + dim), m[r].out);
        }
#pragma unroll
    for (int r = 0; r < 8; r++) store_row(p, w, row + r, m[r]);
}

/* ---- the kernel ------------------------------------------------------------------------------ */

template <int NT>
static __global__ void __launch_bounds__(THREADS) attn_decode_kernel(const decode_params p) {
    enum { N_ROWS = 8 * NT };
    const ptx_smem smem = ptx_smem_base();
    const decode_work w = work_of_block(p);
    if (w.n_keys <= 0) return;
    decode_state<NT> state;
#pragma unroll
    for (int n = 0; n < NT; n++) {
        state.max[n][0] = state.max[n][1] = -INFINITY;
        state.sum[n][0] = state.sum[n][1] = 0.0f;
#pragma unroll
        for (int j = 0; j < N_DIM_TILES; j++)
#pragma unroll
            for (int c = 0; c < 4; c++) state.out[n][j][c] = 0.0f;
    }
    walk<NT>(p, w, smem, state);
    ptx_syncthreads(); /* all stages have been read */
    put_state<NT>(smem, state);
    ptx_syncthreads();

    const int dim = ptx_thread();
    const int64_t part = ((int64_t)w.seq * p.n_kv_heads + w.kv_head) * p.n_splits_max;
    for (int row = 0; row < N_ROWS; row++) {
        const merged_row m = merge_warps(smem, row, N_ROWS, dim);
        if (w.n_splits == 1) {
            store_row(p, w, row, m);
            continue;
        }
        const int64_t at = (part + w.split) * N_ROWS + row;
        ptx_store_shared_float(p.part_out + at * HEAD_DIM + dim, m.out);
        if (dim == 0) {
            ptx_store_shared_float(p.part_max + at, m.max);
            ptx_store_shared_float(p.part_sum + at, m.sum);
        }
    }
    if (w.n_splits == 1) return;

    uint32_t *ticket = p.tickets + w.seq * p.n_kv_heads + w.kv_head;
    ptx_syncthreads(); /* the partial state is stored */
    if (dim == 0) ptx_sts32(smem + TICKET_AT, ptx_ticket(ticket));
    ptx_syncthreads();
    if (ptx_lds32(smem + TICKET_AT) != (uint32_t)(w.n_splits - 1)) return;
    for (int row = 0; row < N_ROWS; row += 8) merge_splits(p, w, part, N_ROWS, row);
    if (dim == 0) *ticket = 0; /* for the next step */
}

/* n-tiles of 8 rows that hold n_rows; the kernels there are. */
int n_tiles_of(int n_rows) {
    return n_rows <= 8 ? 1 : n_rows <= 16 ? 2 : 4;
}

int64_t round_up(int64_t n) {
    return (n + 255) / 256 * 256;
}

int64_t n_splits_of(int64_t n_tokens) {
    return (n_tokens + SPLIT - 1) / SPLIT;
}

const char *launch(int n_tiles, ptx_grid grid, rt_stream stream, const decode_params &params) {
    if (n_tiles == 1) return ptx_launch(attn_decode_kernel<1>, grid, stream, params);
    if (n_tiles == 2) return ptx_launch(attn_decode_kernel<2>, grid, stream, params);
    return ptx_launch(attn_decode_kernel<4>, grid, stream, params);
}

} // namespace

int64_t attn_cuda_decode_ticket_bytes(const attn_shape *shape, int32_t n_seqs) {
    return round_up((int64_t)n_seqs * shape->n_kv_heads * (int64_t)sizeof(uint32_t));
}

int64_t attn_cuda_decode_scratch_bytes(
        const attn_shape *shape, int64_t max_tokens, int32_t n_seqs, int32_t n_queries) {
    const int64_t rows = 8 * n_tiles_of(n_queries * (shape->n_heads / shape->n_kv_heads));
    const int64_t parts = (int64_t)n_seqs * shape->n_kv_heads * n_splits_of(max_tokens) * rows;
    return attn_cuda_decode_ticket_bytes(shape, n_seqs) +
           parts * (HEAD_DIM + 2) * (int64_t)sizeof(float);
}

rt_status attn_cuda_decode(
        const attn_shape *shape, const attn_cuda_decode_args *args, rt_stream stream) {
    if (args->n_seqs == 0) return RT_OK;
    const int32_t group = shape->n_heads / shape->n_kv_heads;
    const int32_t n_rows = args->n_queries * group;
    rt_assert(n_rows > 0 && n_rows <= ATTN_CUDA_DECODE_ROWS_MAX && args->max_tokens > 0);
    const int64_t n_splits = n_splits_of(args->max_tokens);
    const int64_t parts =
            (int64_t)args->n_seqs * shape->n_kv_heads * n_splits * 8 * n_tiles_of(n_rows);
    float *part_out =
            (float *)((char *)args->scratch + attn_cuda_decode_ticket_bytes(shape, args->n_seqs));
    const decode_params params = {*args, shape->n_heads, shape->n_kv_heads, group, n_rows, n_splits,
            (uint32_t *)args->scratch, part_out, part_out + parts * HEAD_DIM,
            part_out + parts * (HEAD_DIM + 1),
            (float)(1.4426950408889634 / sqrt((double)HEAD_DIM))};
    const ptx_grid grid = {
            n_splits, (int64_t)args->n_seqs * shape->n_kv_heads, THREADS, SMEM_BYTES};
    const char *why = launch(n_tiles_of(n_rows), grid, stream, params);
    if (why)
        return rt_fail(RT_EDEVICE, "attention: decode of %d sequences over up to %lld keys: %s",
                (int)args->n_seqs, (long long)args->max_tokens, why);
    return RT_OK;
}
