/* Prefill attention for Ampere and later: a block is one query head and 128 query rows; it walks
 * the keys in steps of 64, half a page, in ascending order.
 *
 *   wait(K)  barrier  copy V ->   S = Q K^T
 *   wait(V)  barrier  copy K' ->  softmax, O += P V
 *
 * The copy of one operand runs behind the product with the other. 4 warps of 32 rows: each fragment
 * of K or V that is loaded is multiplied with two of Q or P. 64 KiB of shared memory: two blocks an
 * SM on sm_80 and sm_90, which hide each other's softmax; 96 to 255 registers are S (64) and O
 * (128).
 *
 * A block is a tile of attn_prefill.cuh; the hardware deals them out in that order. The masked steps
 * of the diagonal are the last of a row's walk, since ascending order is what makes the state
 * independent of where calls are cut.
 *
 * 4 x 128 FLOP a row and key; 512 bytes a key from L2 for each 128 rows. */
#include "attn_prefill.cuh"

#include <float.h>

namespace {

enum {
    N_WARPS = 4,
    THREADS = N_WARPS * WARP,
    ROWS = 128,
    WARP_ROWS = ROWS / N_WARPS,
    FRAGMENT_ROWS = 16,
    N_FRAGMENTS = WARP_ROWS / FRAGMENT_ROWS, /* of rows, a warp */
    N_ROW_STATES = 2 * N_FRAGMENTS, /* rows whose state a lane keeps: g and g + 8 of each */
    KEYS = 64,
    PASS_ROWS = THREADS * 16 / ROW_BYTES,
    N_KEY_TILES = KEYS / 8,
    N_DIM_TILES = HEAD_DIM / 8,

    Q_HALF_BYTES = ROWS * ROW_BYTES,
    KV_HALF_BYTES = KEYS * ROW_BYTES,
    Q_AT = 0,
    K_AT = Q_AT + 2 * Q_HALF_BYTES,
    V_AT = K_AT + 2 * KV_HALF_BYTES,
    SMEM_BYTES = V_AT + 2 * KV_HALF_BYTES
};

/* Which rows and keys this block has; positions are counted from a.first_pos. Few fields: registers
 * are scarce, and the rest follows from parameters. */
struct prefill_tile {
    int32_t kv_head;
    int32_t token; /* of row 0, counted from a.pos */
    int32_t end;   /* no row sees keys from here on */
};

PTX_DEVICE int n_rows_of(const prefill_params &p, const prefill_tile &t) {
    const int left = p.n_tokens - t.token;
    return left < ROWS ? left : ROWS;
}

/* The query head; made from the block's index each time. */
PTX_DEVICE int head_of(const prefill_params &p) {
    return prefill_head(p, (int)ptx_here((uint32_t)ptx_block_x()));
}

/* Position of row 0. */
PTX_DEVICE int row_pos(const prefill_params &p, const prefill_tile &t) {
    return p.pos + t.token;
}

/* A lane's rows: fragment i, half h (rows g and g + 8 of it) at 2i + h; columns 8j + 2q, + 1 of it
 * at out[i][j][2h], [2h + 1]. */
struct row_state {
    float max[N_ROW_STATES];
    float sum[N_ROW_STATES];
    float out[N_FRAGMENTS][N_DIM_TILES][4];
};

PTX_DEVICE prefill_tile tile_of_block(const prefill_params &p) {
    prefill_tile t;
    t.kv_head = prefill_kv_head(p, (int)ptx_block_x());
    t.token = prefill_token(p, (int)ptx_block_x(), ROWS);
    const int seen = row_pos(p, t) + n_rows_of(p, t);
    t.end = seen < p.n_keys ? seen : p.n_keys;
    return t;
}

/* ---- copies ---------------------------------------------------------------------------------- */

/* Rows past n_rows are zero. */
PTX_DEVICE void copy_queries(const prefill_params &p, const prefill_tile &t, ptx_smem smem) {
    const int head = head_of(p);
    for (int i = ptx_thread(); i < ROWS * HEAD_DIM / CHUNK_NUMBERS; i += THREADS) {
        const int row = i / (HEAD_DIM / CHUNK_NUMBERS);
        const int chunk = i % (HEAD_DIM / CHUNK_NUMBERS);
        const bool is_row = row < n_rows_of(p, t);
        const int token = t.token + (is_row ? row : 0);
        const uint16_t *from =
                p.a.q + (int64_t)token * p.a.q_stride + head * HEAD_DIM + chunk * CHUNK_NUMBERS;
        ptx_cp_async(smem + Q_AT + tile_at(row, chunk, Q_HALF_BYTES), from, is_row ? 16 : 0);
    }
}

/* Half a page of K (operand 0) or V (1), bytes as they lie; keys that no row sees are zero, for
 * 0 x NaN is NaN. */
PTX_DEVICE void copy_keys(
        const prefill_params &p, const prefill_tile &t, int first_key, int operand, ptx_smem to) {
    const char *from = tile_of_keys(prefill_page(p, t.token, first_key / PAGE), t.kv_head) +
                       operand * TILE_BYTES + first_key % PAGE * ROW_BYTES;
    const int offset =
            ptx_thread() * 16; /* bytes; a pass of all threads copies 16 rows of a half */
    const int n_keys = t.end - first_key - offset / ROW_BYTES;
#pragma unroll
    for (int half = 0; half < 2; half++)
#pragma unroll
        for (int pass = 0; pass < KEYS / PASS_ROWS; pass++)
            ptx_cp_async(to + offset + half * KV_HALF_BYTES + pass * PASS_ROWS * ROW_BYTES,
                    from + offset + half * TILE_HALF_BYTES + pass * PASS_ROWS * ROW_BYTES,
                    pass * PASS_ROWS < n_keys ? 16 : 0);
    ptx_cp_async_commit();
}

/* ---- one step -------------------------------------------------------------------------------- */

typedef float score_tile[N_FRAGMENTS][N_KEY_TILES][4];

/* s = Q K^T, not scaled. */
PTX_DEVICE void multiply_keys(ptx_smem smem, score_tile &s) {
    const int lane = ptx_thread() % WARP;
    const ptx_smem q = smem + Q_AT + (ptx_smem)(ptx_thread() / WARP * WARP_ROWS * ROW_BYTES);
    const ptx_smem k = smem + K_AT;
    const uint32_t q_lane = ptx_here(tile_lane_rows16(lane));
    const uint32_t k_lane = ptx_here(tile_lane_rows8(lane));
#pragma unroll
    for (int i = 0; i < N_FRAGMENTS; i++)
#pragma unroll
        for (int j = 0; j < N_KEY_TILES; j++)
#pragma unroll
            for (int c = 0; c < 4; c++) s[i][j][c] = 0.0f;
#pragma unroll
    for (int dims = 0; dims < HEAD_DIM / 16; dims++) {
        uint32_t a[N_FRAGMENTS][4];
#pragma unroll
        for (int i = 0; i < N_FRAGMENTS; i++)
            ptx_ldmatrix(a[i],
                    q + i * FRAGMENT_ROWS * ROW_BYTES + tile_step(q_lane, dims, Q_HALF_BYTES));
#pragma unroll
        for (int keys = 0; keys < KEYS / 16; keys++) {
            uint32_t b[4];
            ptx_ldmatrix(b, k + keys * 16 * ROW_BYTES + tile_step(k_lane, dims, KV_HALF_BYTES));
#pragma unroll
            for (int i = 0; i < N_FRAGMENTS; i++) {
                ptx_mma(s[i][2 * keys], a[i], b[0], b[1]);
                ptx_mma(s[i][2 * keys + 1], a[i], b[2], b[3]);
            }
        }
    }
}

/* Keys that a row does not see: -inf. Of `n_keys` keys of the step, row 0 of the warp sees the
 * first n_seen, row r sees r more. */
PTX_DEVICE void mask(score_tile &s, int n_seen, int n_keys) {
    const int lane = (int)ptx_here((uint32_t)ptx_thread()) % WARP;
#pragma unroll
    for (int r = 0; r < N_ROW_STATES; r++) {
        const int n_of_row = n_seen + r / 2 * FRAGMENT_ROWS + r % 2 * 8 + lane / 4;
        const int limit = (n_of_row < n_keys ? n_of_row : n_keys) - lane % 4 * 2;
#pragma unroll
        for (int j = 0; j < N_KEY_TILES; j++)
#pragma unroll
            for (int c = 0; c < 2; c++)
                if (j * 8 + c >= limit) s[r / 2][j][r % 2 * 2 + c] = -INFINITY;
    }
}

/* s -> weights 2^(scale s - max), the state brought to the new maximum, which lags. Where no row of the warp
 * has risen, out is left alone: all its factors are 1. */
PTX_DEVICE void weigh(score_tile &s, row_state &state, float scale) {
    float factor[N_ROW_STATES];
    bool is_risen = false;
#pragma unroll
    for (int r = 0; r < N_ROW_STATES; r++) {
        float top = -INFINITY;
#pragma unroll
        for (int j = 0; j < N_KEY_TILES; j++)
            top = fmaxf(top, fmaxf(s[r / 2][j][r % 2 * 2], s[r / 2][j][r % 2 * 2 + 1]));
        const float lagging = fmaf(max_of_row(top), scale, -MAX_LAG);
        const bool rises = lagging > state.max[r];
        const float max = rises ? lagging + MAX_LAG : state.max[r];
        const float base = fmaxf(max, -FLT_MAX); /* no key so far: -inf - (-inf) is NaN */
        is_risen = is_risen || rises;
        factor[r] = ptx_exp2(state.max[r] - base);
        state.max[r] = max;
        float sum = 0.0f;
#pragma unroll
        for (int j = 0; j < N_KEY_TILES; j++)
#pragma unroll
            for (int c = 0; c < 2; c++) {
                float *weight = &s[r / 2][j][r % 2 * 2 + c];
                *weight = ptx_exp2(fmaf(*weight, scale, -base));
                sum += *weight;
            }
        state.sum[r] = fmaf(state.sum[r], factor[r], sum_of_row(sum));
    }
    if (!ptx_any(is_risen)) return;
#pragma unroll
    for (int i = 0; i < N_FRAGMENTS; i++)
#pragma unroll
        for (int j = 0; j < N_DIM_TILES; j++)
#pragma unroll
            for (int c = 0; c < 4; c++) state.out[i][j][c] *= factor[2 * i + c / 2];
}

/* out += P V. The weights are where A wants them: packing is all it takes. */
PTX_DEVICE void multiply_values(ptx_smem smem, const score_tile &s, row_state &state) {
    const ptx_smem v = smem + V_AT;
    const uint32_t v_lane = ptx_here(tile_lane_rows16(ptx_thread() % WARP));
#pragma unroll
    for (int keys = 0; keys < KEYS / 16; keys++) {
        uint32_t a[N_FRAGMENTS][4];
#pragma unroll
        for (int i = 0; i < N_FRAGMENTS; i++)
#pragma unroll
            for (int c = 0; c < 4; c++) {
                const float *pair = &s[i][2 * keys + c / 2][c % 2 * 2];
                a[i][c] = ptx_pack_bf16(pair[0], pair[1]);
            }
#pragma unroll
        for (int dims = 0; dims < HEAD_DIM / 16; dims++) {
            uint32_t b[4];
            ptx_ldmatrix_trans(
                    b, v + keys * 16 * ROW_BYTES + tile_step(v_lane, dims, KV_HALF_BYTES));
#pragma unroll
            for (int i = 0; i < N_FRAGMENTS; i++) {
                ptx_mma(state.out[i][2 * dims], a[i], b[0], b[1]);
                ptx_mma(state.out[i][2 * dims + 1], a[i], b[2], b[3]);
            }
        }
    }
}

/* ---- before the first step and after the last ------------------------------------------------ */

/* Row r of a lane, counted in the tile. */
PTX_DEVICE int row_of(int r) {
    return ptx_thread() / WARP * WARP_ROWS + r / 2 * FRAGMENT_ROWS + r % 2 * 8 +
           ptx_thread() % WARP / 4;
}

PTX_DEVICE void clear(row_state &state) {
#pragma unroll
    for (int r = 0; r < N_ROW_STATES; r++) {
        state.max[r] = -INFINITY;
        state.sum[r] = 0.0f;
#pragma unroll
        for (int j = 0; j < N_DIM_TILES; j++) state.out[r / 2][j][r % 2 * 2] = 0.0f;
#pragma unroll
        for (int j = 0; j < N_DIM_TILES; j++) state.out[r / 2][j][r % 2 * 2 + 1] = 0.0f;
    }
}

PTX_DEVICE void load_state(const prefill_params &p, const prefill_tile &t, row_state &state) {
    clear(state);
    if (p.a.is_first) return;
    const int head = head_of(p);
    const int q = ptx_thread() % 4;
#pragma unroll
    for (int r = 0; r < N_ROW_STATES; r++) {
        if (row_of(r) >= n_rows_of(p, t)) continue;
        const int64_t at = (int64_t)(t.token + row_of(r)) * p.n_heads + head;
        state.max[r] = p.a.max[at];
        state.sum[r] = p.a.sum[at];
#pragma unroll
        for (int j = 0; j < N_DIM_TILES; j++) {
            const float2 pair = *(const float2 *)(p.a.out + at * HEAD_DIM + j * 8 + q * 2);
            state.out[r / 2][j][r % 2 * 2] = pair.x;
            state.out[r / 2][j][r % 2 * 2 + 1] = pair.y;
        }
    }
}

PTX_DEVICE void store_state(
        const prefill_params &p, const prefill_tile &t, const row_state &state) {
    const int head = head_of(p);
    const int q = ptx_thread() % 4;
#pragma unroll
    for (int r = 0; r < N_ROW_STATES; r++) {
        if (row_of(r) >= n_rows_of(p, t)) continue;
        const int64_t at = (int64_t)(t.token + row_of(r)) * p.n_heads + head;
        if (q == 0) {
            p.a.max[at] = state.max[r];
            p.a.sum[at] = state.sum[r];
        }
#pragma unroll
        for (int j = 0; j < N_DIM_TILES; j++)
            *(float2 *)(p.a.out + at * HEAD_DIM + j * 8 + q * 2) =
                    float2{state.out[r / 2][j][r % 2 * 2], state.out[r / 2][j][r % 2 * 2 + 1]};
    }
}

/* Normalised rows, through the shared memory of this warp's own queries so that they are written 16
 * bytes a lane. */
PTX_DEVICE void store_attended(
        const prefill_params &p, const prefill_tile &t, const row_state &state, ptx_smem smem) {
    const int head = head_of(p);
    const int lane = ptx_thread() % WARP;
#pragma unroll
    for (int r = 0; r < N_ROW_STATES; r++) {
        const float inverse = state.sum[r] > 0.0f ? 1.0f / state.sum[r] : 0.0f;
        const uint32_t chunk = tile_chunk(row_of(r), 0) + (uint32_t)(lane % 4 * 4);
#pragma unroll
        for (int j = 0; j < N_DIM_TILES; j++)
            ptx_sts32(smem + Q_AT + (chunk ^ (uint32_t)(j % 8 * 16)) + j / 8 * Q_HALF_BYTES,
                    ptx_pack_bf16(state.out[r / 2][j][r % 2 * 2] * inverse,
                            state.out[r / 2][j][r % 2 * 2 + 1] * inverse));
        const int64_t at = (int64_t)(t.token + row_of(r)) * p.n_heads + head;
        if (p.a.lse && lane % 4 == 0 && row_of(r) < n_rows_of(p, t))
            p.a.lse[at] = (state.max[r] + ptx_log2(state.sum[r])) * 0.6931471805599453f;
    }
    ptx_syncwarp();
    for (int i = lane; i < WARP_ROWS * HEAD_DIM / CHUNK_NUMBERS; i += WARP) {
        const int row = ptx_thread() / WARP * WARP_ROWS + i / (HEAD_DIM / CHUNK_NUMBERS);
        const int chunk = i % (HEAD_DIM / CHUNK_NUMBERS);
        if (row >= n_rows_of(p, t)) return;
        const int64_t at =
                ((int64_t)(t.token + row) * p.n_heads + head) * HEAD_DIM + chunk * CHUNK_NUMBERS;
        *(uint4 *)(p.a.attended + at) = ptx_lds128(smem + Q_AT + tile_at(row, chunk, Q_HALF_BYTES));
    }
}

/* ---- the kernel ------------------------------------------------------------------------------ */

static __global__ void __launch_bounds__(THREADS, 2)
        attn_prefill_sm80_kernel(const prefill_params p) {
    const ptx_smem smem = ptx_smem_base();
    const prefill_tile t = tile_of_block(p);
    const int warp_row = ptx_thread() / WARP * WARP_ROWS;
    row_state state;

    copy_queries(p, t, smem);
    if (t.end > 0)
        copy_keys(p, t, 0, 0, smem + K_AT);
    else
        ptx_cp_async_commit();
    load_state(p, t, state);
    for (int key = 0; key < t.end; key += KEYS) {
        const int n_seen =
                row_pos(p, t) + warp_row + 1 - key; /* keys of this step, by the warp's row 0 */
        /* Rows that are not there, or see nothing of this step, need no work. */
        const bool is_live = warp_row < n_rows_of(p, t) && n_seen + WARP_ROWS > 1;
        score_tile s;
        ptx_cp_async_wait<0>();
        ptx_syncthreads(); /* K is here; V has been read */
        copy_keys(p, t, key, 1, smem + V_AT);
        if (is_live) {
            multiply_keys(smem, s);
            if (n_seen < KEYS || t.end - key < KEYS) mask(s, n_seen, t.end - key);
            weigh(s, state, p.scale);
        }
        ptx_cp_async_wait<0>();
        ptx_syncthreads(); /* V is here; K has been read */
        if (key + KEYS < t.end) copy_keys(p, t, key + KEYS, 0, smem + K_AT);
        if (is_live) multiply_values(smem, s, state);
    }
    ptx_cp_async_wait<0>();
    ptx_syncthreads(); /* the queries are here, also where there was no step, and have been read */
    if (p.a.is_last)
        store_attended(p, t, state, smem);
    else
        store_state(p, t, state);
}

} // namespace

rt_status attn_cuda_prefill_sm80(
        const attn_shape *shape, const attn_cuda_prefill_args *args, rt_stream stream) {
    return prefill_launch(
            attn_prefill_sm80_kernel, {ROWS, THREADS, SMEM_BYTES, false}, shape, args, stream);
}
