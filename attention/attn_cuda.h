/* Attention on a GPU: what attention.h says, for pages and rows in device memory.
 *
 * Shapes: head_dim 128, kv_dtype RT_BF16 or RT_FP8, at most 16 query heads per KV head. A page (of e4m3:
 * attn_fp8.h; an open one is as of bf16) is, per KV head, a tile of keys and a tile of values, 32 KiB
 * each; the same bytes serve ldmatrix (sm_80) and wgmma (sm_90a), and come by plain copies:
 *
 *   number (token t, dim d) of a tile, in bytes:
 *   (d / 64) 16384 + t 128 + (((d / 8) % 8) ^ (t % 8)) 16 + (d % 8) 2
 *
 * Arithmetic. Scores, softmax and sums are fp32; the weights are rounded to bf16 where they meet the values, on
 * Hopper to f16 where those are e4m3. A row's keys are folded into its state in ascending steps that start at
 * absolute multiples of a fixed count, so that how calls are cut, and which rows share a tile, changes no bit
 * of a prefill. There are no splits in prefill: attn_state's part_* is not used. Decode starts its splits at
 * multiples of ATTN_SPLIT_TOKENS and merges them in a fixed order, on Hopper by a tree of fixed shape; it
 * agrees with prefill, and the two kernels with one another, by rounding only.
 *
 * Every pointer in these structs is device memory, 16-byte aligned. Everything is queued on the
 * stream: arguments are copied at the call, memory must live until the stream has passed. Rows of a
 * page past the last token are never read as numbers.
 *
 * Errors: RT_EDEVICE  the launch was refused. */
#ifndef ATTN_CUDA_H
#define ATTN_CUDA_H

#include "attention.h"
#include "runtime/base/device.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    ATTN_CUDA_HEAD_DIM = 128,
    ATTN_CUDA_GROUP_MAX = 16,
    ATTN_CUDA_TILE_BYTES = ATTN_PAGE_TOKENS * ATTN_CUDA_HEAD_DIM * 2
};

/* RT_EUSAGE: the kernels do not support the shape. */
RT_MUST_CHECK rt_status attn_cuda_check(const attn_shape *shape);
/* Bytes of a page: of bf16, which open ones are too; of e4m3, a multiple of 256. */
int64_t attn_cuda_page_bytes(const attn_shape *shape);
int64_t attn_cuda_fp8_page_bytes(const attn_shape *shape);

/* Query rows and their attention, positions pos .. pos + n_tokens - 1.
 *
 *   q         bf16, token t at q + t q_stride (numbers), [n_heads][128], rotated
 *   pages     of keys first_pos .. first_pos + n_keys - 1, as in attn_segment
 *   max, sum  fp32 [n_tokens][n_heads]; out  fp32 [n_tokens][n_heads][128]: attn_state between
 *             calls (sum and out are relative to max, which need not be the greatest score)
 *   open_pages  NULL, or bf16 pages of pos - pos % 128 and on, in which the query tokens lie: a query reads its
 *             own page there, instead of in `pages`, which are bf16, too
 *   is_first  the rows have seen nothing yet: the state is not read
 *   is_last   the rows have seen everything: attended, bf16 [n_tokens][n_heads][128], and lse
 *             (natural logarithm, fp32 [n_tokens][n_heads]; NULL: not wanted) are written, the
 *             state is not. Rows that saw no key: 0 and -inf */
typedef struct attn_cuda_prefill_args {
    const uint16_t *q;
    int64_t q_stride;
    int64_t n_tokens;
    int64_t pos;
    void *const *pages;
    void *const *open_pages;
    int64_t first_pos;
    int64_t n_keys;
    float *max;
    float *sum;
    float *out;
    uint16_t *attended;
    float *lse;
    bool is_first;
    bool is_last;
} attn_cuda_prefill_args;

/* Ampere and later: cp.async, ldmatrix, mma.sync. */
RT_MUST_CHECK rt_status attn_cuda_prefill_sm80(
        const attn_shape *shape, const attn_cuda_prefill_args *args, rt_stream stream);
/* Hopper: bulk copies, wgmma. */
RT_MUST_CHECK rt_status attn_cuda_prefill_sm90(
        const attn_shape *shape, const attn_cuda_prefill_args *args, rt_stream stream);

/* Of n_seqs sequences, order[first] .. order[first + n - 1] attend to splits first_split .. end_split - 1 in one pass over
 * their pages: those of each are the same there, and all of those keys come before any of their query tokens. Or n is
 * 1, and it is a sequence by itself; or there are no splits. */
typedef struct attn_cuda_pass {
    int32_t first;
    int32_t n;
    int32_t first_split;
    int32_t end_split;
} attn_cuda_pass;

/* n_queries query tokens of each of n_seqs sequences, the last of its keys so far: sequence i's
 * query token j is at position lengths[i] - n_queries + j and attends to the keys up to itself.
 *
 *   q         bf16 [n_seqs][n_queries][n_heads][128], rotated, rows of q_stride numbers a token
 *   lengths   [n_seqs], read by the device when it gets there; at most max_tokens, at least
 *             n_queries
 *   pages     [n_seqs] page arrays, from position 0 on
 *   open_pages  NULL: pages are bf16. Otherwise [n_seqs] arrays of the one or two bf16 pages in which the
 *             query tokens lie, and `pages` are e4m3 ones (attn_fp8.h), of which those before the page
 *             of the last query token are read
 *   attended  bf16 [n_seqs][n_queries][n_heads][128]; lse as in prefill
 *   tickets   attn_cuda_decode_ticket_bytes(...), for as many sequences or more: zero before the first call,
 *             and again after each that completes the keys
 *   scratch   attn_cuda_decode_scratch_bytes(...), of any contents
 *   passes, order  NULL: each sequence attends to all of its keys by itself. Otherwise [n_passes], and the sequences that
 *             they name, read by the device when it gets there: who reads which splits with whom. A split of a sequence
 *             is in one pass. Those with the most splits go first: blocks take them in this order
 *   n_together  sequences of a pass, at most, or a little more: the launch follows from it, and is the same for the same
 *   n_splits  of a sequence in this call, at most; 0: as many as max_tokens has
 *
 * Questions on one book share its pages, and so one pass over them, as speculated tokens of one sequence do; each has its
 * own keys behind them. Where a sequence's keys are there a part at a time, a step is several calls, and passes are of
 * the splits that are there: only their pages need be listed, the scratch is left alone in
 * between, and the call that completes the keys, whichever it is, writes attended: the same bits.
 *
 * n_queries n_heads / n_kv_heads is at most 256. A row's bits depend on no other, neither on how many there
 * are, nor on the passes; they are those of the kernel. */
typedef struct attn_cuda_decode_args {
    const uint16_t *q;
    int64_t q_stride;
    const int64_t *lengths;
    int64_t max_tokens;
    int32_t n_seqs;
    int32_t n_queries;
    void *const *const *pages;
    uint16_t *attended;
    float *lse;
    uint32_t *tickets;
    void *scratch;
    void *const *const *open_pages;
    const attn_cuda_pass *passes;
    const int32_t *order;
    int32_t n_passes;
    int32_t n_together;
    int64_t n_splits;
} attn_cuda_decode_args;
enum { ATTN_CUDA_DECODE_ROWS_MAX = 256 };
/* Ampere and later: mma.sync. Memory binds up to 32 rows of a KV head, those of a pass's sequences counted together. */
RT_MUST_CHECK rt_status attn_cuda_decode_sm80(
        const attn_shape *shape, const attn_cuda_decode_args *args, rt_stream stream);
/* Hopper: bulk copies, wgmma. Memory binds up to 128 rows of a KV head of bf16 pages, 64 of e4m3. */
RT_MUST_CHECK rt_status attn_cuda_decode_sm90(
        const attn_shape *shape, const attn_cuda_decode_args *args, rt_stream stream);
/* Its second kernel, which merges, twice with nothing to do: queued, as in a decode, to begin before the kernel in front of it is
 * over. Where CUDA refuses that, it is queued as any other; but a graph that is recorded then is spoiled, and that is an error.
 * attn_cuda_merge_late: from then on no kernel of this process is queued so. */
RT_MUST_CHECK rt_status attn_cuda_merge_nothing(rt_stream stream);
void attn_cuda_merge_late(void);
/* Bytes that either wants, for so many or fewer. */
int64_t attn_cuda_decode_scratch_bytes(
        const attn_shape *shape, int64_t max_tokens, int32_t n_seqs, int32_t n_queries);
int64_t attn_cuda_decode_ticket_bytes(const attn_shape *shape, int32_t n_seqs);

/* n_pages full pages, bf16 -> e4m3 (attn_fp8.h): open_pages[i] -> pages[i], device arrays. Widening is the way
 * back, to what the codes say, exactly. */
typedef struct attn_cuda_seal_args {
    void *const *open_pages;
    void *const *pages;
    int64_t n_pages;
} attn_cuda_seal_args;
RT_MUST_CHECK rt_status attn_cuda_seal_fp8(
        const attn_shape *shape, const attn_cuda_seal_args *args, rt_stream stream);
RT_MUST_CHECK rt_status attn_cuda_widen_fp8(
        const attn_shape *shape, const attn_cuda_seal_args *args, rt_stream stream);

/* Rotate q and k, store k and v into pages: one pass over what the projection wrote.
 *
 *   qkv        bf16 [n_tokens][(n_heads + 2 n_kv_heads) 128]: q heads, k heads, v heads
 *   positions  of each token; the device reads them. Or NULL: pos, pos + 1, ...
 *   pages      token t goes to pages[t'], t' its page counted from pos / 128; with positions, token
 *              t has a page array of its own, seq_pages[t], from position 0 on
 *   q          bf16 [n_tokens][n_heads][128], rotated
 *
 * Angles are formed in fp32 and reduced in fp64, as attn_append_kv does; rotation in fp32, rounded
 * once. */
typedef struct attn_cuda_append_args {
    const uint16_t *qkv;
    int64_t n_tokens;
    int64_t pos;
    const int64_t *positions;
    void *const *pages;
    void *const *const *seq_pages;
    uint16_t *q;
} attn_cuda_append_args;
RT_MUST_CHECK rt_status attn_cuda_append(
        const attn_shape *shape, const attn_cuda_append_args *args, rt_stream stream);

/* Pages <-> canonical rows, for the store: runs[h] is [K|V][n_tokens][128] bf16 of KV head h,
 * tokens 0 .. n_tokens - 1 of the pages. Rows past n_tokens of the last page are left as they are.
 */
typedef struct attn_cuda_pack_args {
    void *const *pages;
    int64_t n_tokens;
    void *const *runs; /* [n_kv_heads] */
} attn_cuda_pack_args;
RT_MUST_CHECK rt_status attn_cuda_page_unpack(
        const attn_shape *shape, const attn_cuda_pack_args *args, rt_stream stream);
RT_MUST_CHECK rt_status attn_cuda_page_pack(
        const attn_shape *shape, const attn_cuda_pack_args *args, rt_stream stream);
/* e4m3 pages, full ones, <-> canonical bytes (attn_page_unpack_sealed): runs[h] is one page's after the other. */
RT_MUST_CHECK rt_status attn_cuda_fp8_page_unpack(
        const attn_shape *shape, const attn_cuda_pack_args *args, rt_stream stream);
RT_MUST_CHECK rt_status attn_cuda_fp8_page_pack(
        const attn_shape *shape, const attn_cuda_pack_args *args, rt_stream stream);

#ifdef __cplusplus
}
#endif

#endif
