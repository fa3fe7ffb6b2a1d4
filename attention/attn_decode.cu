/* Decode attention, sm_80 and later: a few query tokens of each sequence against all of its keys.
 *
 * A block is a tile (attn_decode_tiles.cuh): one KV head, one split of 4096 keys and up to 64 query rows of the KV head,
 * the (8 or 16) query heads of each query token, of a sequence or of several that hold the same pages, so that keys and
 * values are read once for all of them. The products are transposed, S^T = K Q^T and O^T = V^T P^T: the keys fill the rows
 * of the matrix instruction, and the query rows its n = 8 columns, without padding where the group is 8.
 *
 *   attn_decode_block.cuh   a block's tile, threads and shared memory; steps, copies
 *   attn_decode_step.cuh    16 keys of a class: products, weights
 *   attn_decode_states.cuh  classes and splits, folded
 *   here                    the walk over a split, and the kernel
 *
 * 4 classes of keys (16 at a time, every fourth 16 of the split), each with its own ring of stages. A
 * class is one warp, or two of 32 rows each that share what they copy; it waits for no other until
 * the end of the split. 24 KiB of cp.async in flight or in use a class, 96 KiB a block. The classes'
 * states are folded in order; so are the splits', by the block of a (sequence, KV head, rows) that comes
 * last, of each of its sequences. So a row's additions have the same order whatever it shares a pass with.
 *
 * Pages are bf16, or e4m3 (attn_fp8.h) up to the first query's, whose page is bf16. A query that lies a
 * page further reads that page as e4m3, so its steps are taken twice, once for either. Codes become bf16 in
 * registers, which is exact; the keys' scale goes into the scores', the values' into the weights. Which
 * of the 16 keys of a step is row m of the products, and which dims a lane has, is then chosen so that
 * codes are read 16 and 4 bytes at a time without a step across lanes.
 *
 * 512 bytes (256 of e4m3) and 4 x 128 x rows FLOP a key: bound by memory up to about 32 rows; more than 64
 * are several blocks, which find what they read in L2. */
#include "attn_decode_states.cuh"

namespace {

/* What the warps of a class have copied is there for all of them, and what they have read may go. */
template <int GROUPS> PTX_DEVICE void meet() {
    if (GROUPS == 1)
        ptx_syncwarp();
    else
        ptx_bar_sync<GROUPS * WARP>(1 + class_of());
}

/* A class's keys of the split. */
template <int NT, int GROUPS, bool IS_FP8, bool IS_LISTED>
PTX_DEVICE void walk(
        const decode_params &p, const decode_work &w, ptx_smem smem, decode_state<NT> &state) {
    const ptx_smem ring = smem + (ptx_smem)(class_of() * N_STAGES * STAGE_BYTES);
    const int first_row = row_group_of() * 8 * NT;
    uint32_t q[NT][HEAD_DIM / 16][2];
#pragma unroll
    for (int i = 0; i < N_STAGES - 1; i++) {
        const decode_step step = step_of<IS_FP8>(w, i);
        if (step.key < w.n_keys)
            copy_step<GROUPS, IS_FP8, IS_LISTED>(p, w, step, smem, ring + i * STAGE_BYTES);
        ptx_cp_async_commit();
    }
    load_queries<NT, IS_FP8>(p, w, first_row, q);
    int stage = 0;
    for (int i = 0;; i++) {
        const decode_step step = step_of<IS_FP8>(w, i);
        if (step.key >= w.n_keys) break;
        ptx_cp_async_wait<N_STAGES - 2>();
        meet<GROUPS>(); /* this stage is here; the one before has been read */
        const decode_step next = step_of<IS_FP8>(w, i + N_STAGES - 1);
        const int next_stage = stage == 0 ? N_STAGES - 1 : stage - 1;
        if (next.key < w.n_keys)
            copy_step<GROUPS, IS_FP8, IS_LISTED>(
                    p, w, next, smem, ring + (ptx_smem)(next_stage * STAGE_BYTES));
        ptx_cp_async_commit();
        const ptx_smem here = ring + (ptx_smem)(stage * STAGE_BYTES);
        if (!IS_FP8 || step.is_open)
            fold_rows<NT, IS_FP8, IS_LISTED>(p, w, step, smem, here, q, state);
        else
            fold_codes<NT, IS_LISTED>(p, w, step, smem, here, q, state);
        stage = stage == N_STAGES - 1 ? 0 : stage + 1;
    } /* every copy has been waited for: what was committed since is empty */
}

/* ---- the kernel ------------------------------------------------------------------------------ */

template <int NT, int GROUPS, bool IS_FP8, bool IS_LISTED>
static __global__ void __launch_bounds__(WARP *N_CLASSES *GROUPS)
        attn_decode_kernel(const decode_params said) {
    static_assert(NT * 8 <= GROUP_ROWS && GROUPS <= 2, "states of a group fit in shared memory");
    const decode_params p = params_of<8 * NT * GROUPS, IS_LISTED>(said);
    const ptx_smem smem = ptx_smem_base();
    decode_work w;
    if (!find_work<IS_LISTED>(p, first_tile(), w)) return;
    if (IS_LISTED) {
        if (ptx_thread() == 0) put_work(p, w, smem);
        ptx_syncthreads();
    }
    decode_state<NT> state;
#pragma unroll
    for (int n = 0; n < NT; n++) {
        state.max[n][0] = state.max[n][1] = -INFINITY;
        state.sum[n][0] = state.sum[n][1] = 0.0f;
#pragma unroll
        for (int j = 0; j < N_DIM_TILES; j++)
#pragma unroll
            for (int i = 0; i < 4; i++) state.out[n][j][i] = 0.0f;
    }
    walk<NT, GROUPS, IS_FP8, IS_LISTED>(p, w, smem, state);
    /* Found out once more where registers are few, rather than kept in them all the while. */
    if ((IS_LISTED || IS_FP8) && !find_work<IS_LISTED>(p, here_again(first_tile()), w)) return;
    for (int group = 0; group < GROUPS; group++) {
        ptx_syncthreads(); /* all stages, or the states before, have been read */
        if (row_group_of() == group) put_state<NT>(smem, state);
        ptx_syncthreads();
        store_states<NT, GROUPS>(p, w, smem, group);
    }
    if (w.n_splits > 1) merge_complete<NT, GROUPS>(p, w, smem);
}

template <int NT, int GROUPS, bool IS_FP8, bool IS_LISTED>
const char *launch(ptx_grid grid, rt_stream stream, const decode_params &params) {
    grid.threads = WARP * N_CLASSES * GROUPS;
    return ptx_launch(attn_decode_kernel<NT, GROUPS, IS_FP8, IS_LISTED>, grid, stream, params);
}

template <bool IS_LISTED>
const char *launch_for(ptx_grid grid, rt_stream stream, const decode_params &params) {
    const bool is_fp8 = params.a.open_pages != NULL;
    switch (params.tile_rows) {
    case 8:
        return (is_fp8 ? launch<1, 1, true, IS_LISTED> : launch<1, 1, false, IS_LISTED>)(grid,
                stream, params);
    case 16:
        return (is_fp8 ? launch<2, 1, true, IS_LISTED> : launch<2, 1, false, IS_LISTED>)(grid,
                stream, params);
    case 32:
        return (is_fp8 ? launch<2, 2, true, IS_LISTED> : launch<4, 1, false, IS_LISTED>)(grid,
                stream, params);
    default:
        return launch<4, 2, false, IS_LISTED>(grid, stream, params);
    }
}

} // namespace

rt_status attn_cuda_decode_sm80(
        const attn_shape *shape, const attn_cuda_decode_args *args, rt_stream stream) {
    if (args->n_seqs == 0) return RT_OK;
    const bool is_fp8 = args->open_pages != NULL;
    const int32_t n_rows = args->n_queries * (shape->n_heads / shape->n_kv_heads);
    decode_params params = {};
    set_params(shape, args, attn_sm80_block_rows(rows_together(shape, args), is_fp8),
            attn_sm80_row_blocks(n_rows, is_fp8), attn_sm80_block_rows(n_rows, is_fp8), &params);
    const char *why =
            params.n_passes > 0
                    ? launch_for<true>({tiles_max(params), 1, 0, LISTED_SMEM_BYTES}, stream, params)
                    : launch_for<false>(
                              {n_splits_of(params) * params.n_row_blocks,
                                      (int64_t)args->n_seqs * params.n_kv_heads, 0, PAGES_AT},
                              stream, params);
    if (why)
        return rt_fail(RT_EDEVICE, "attention: decode of %d sequences over up to %lld keys: %s",
                (int)args->n_seqs, (long long)args->max_tokens, why);
    return RT_OK;
}
