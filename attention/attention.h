/* Attention: what K and V mean. The only reader and writer of their values. The functions here are the CPU's: host
 * memory of the caller, done on return; what can go wrong is told by attn_cpu_check. attn_cuda.h is a GPU's.
 *
 *   attn_rotate_q  rotate q (RoPE)
 *   attn_append_kv rotate k, write k and v into the layer's pages
 *   attn_prefill   fold one segment of pages into the running state of many query tokens
 *   attn_decode    one query token for each of several sequences, all keys at once or in windows
 *   attn_page_seal   quantise a page once it is full, where storage is lossy
 *   attn_page_pack / attn_page_unpack   a page <-> canonical rows, for the store and the disk
 *
 * Arithmetic that every backend keeps, so that how the work is cut never shows in the bits:
 *
 *   1. A row is one (token, query head). Keys are visited page by page (128 tokens). Inside a page
 *      a score is summed over head_dim in ascending order (by tiles of AMX in their own order, base/amx_tiles.h); the page's
 *      weights p = 2^(s - m) are summed, and multiplied into V, in one fixed order.
 *   2. Pages fold into a split's partial state (m, l, o); splits start at absolute multiples of
 *      4096 tokens and fold into the row's state in ascending order. Prefill and decode alike.
 *   3. Where keys and values are finite a row's arithmetic does not depend on which rows, chunks, threads or sequences it shares
 *      a pass with. So any chunk size, any span, prefill or decode, one question or many: same bits.
 *
 * Lossy storage (RT_INT8, RT_INT4, RT_FP8). A page is open, exact bf16 rows, until its 128 rows are there;
 * then it is sealed, quantised once and for all. A query reads its own page (position / 128) open
 * and every earlier page sealed, in prefill and in decode: what it sees depends on positions only,
 * so the three rules above hold for lossy pages too. A chunk is appended to open pages, those now
 * full are sealed, and it attends with both forms at hand. Lossless pages are never sealed.
 *
 * Scores are kept in base 2 (q is scaled by log2(e) / sqrt(head_dim)); lse is the natural log.
 * Source: Milakov & Gimelshein 2018, arXiv:1805.02867; Dao 2023, arXiv:2307.08691. */
#ifndef ATTN_ATTENTION_H
#define ATTN_ATTENTION_H

#include "runtime/base/float16.h"
#include "runtime/base/machine.h"
#include "runtime/base/pool.h"
#include "runtime/base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    ATTN_PAGE_TOKENS = 128,   /* tokens of one layer in one page */
    ATTN_SPLIT_TOKENS = 4096, /* splits start at absolute multiples of this */
    ATTN_SEAL_GROUP = 64,     /* numbers that share a scale and a zero in a sealed page */
    ATTN_HEAD_DIM_MAX = 256
};

typedef struct attn_shape {
    int32_t n_heads;    /* query heads; n_heads % n_kv_heads == 0 */
    int32_t n_kv_heads; /* query head h reads KV head h / (n_heads / n_kv_heads) */
    int32_t head_dim;   /* a multiple of 16, at most ATTN_HEAD_DIM_MAX */
    int32_t rope_dim;   /* leading dims rotated, in pairs (2j, 2j+1); even, <= head_dim */
    double rope_base;   /* theta_j = rope_base^(-2j / rope_dim) */
    rt_dtype kv_dtype;  /* of pages: RT_BF16 or RT_F32; RT_INT8, RT_INT4, RT_FP8: lossy */
} attn_shape;

/* kv_dtype is RT_INT8, RT_INT4 or RT_FP8: pages are open, then sealed. */
bool attn_is_lossy(const attn_shape *shape);

/* Consecutive pages of one layer: pages[i] holds positions first_pos + 128 i and on.
 * first_pos is a multiple of 128; the last page may be partly filled.
 *
 * Lossy storage: `pages` are sealed ones, and open_pages[i] holds positions open_pos + 128 i and on,
 * open. open_pages reaches over every page of the segment in which a query of the call lies; an
 * entry of `pages` that is read by no later query (a page that is not full) may be NULL. Otherwise
 * open_pages and open_pos are not looked at. */
typedef struct attn_segment {
    void *const *pages;
    int64_t first_pos;
    int64_t n_tokens;
    void *const *open_pages;
    int64_t open_pos;
} attn_segment;

/* Running attention of n_tokens query tokens, row (t, h) at index t * n_heads + h.
 *   max  fp32, base-2 logarithm units; -inf while no key was seen
 *   sum  fp32, sum of 2^(s - max)
 *   out  fp32 [n_tokens][n_heads][head_dim], unnormalised until attn_finish
 *   part_max, part_sum, part_out  the same of the split in progress, between two segments that meet
 *        inside a split, KV head by KV head; not touched otherwise, and NULL where that never
 *        happens. n_tokens is the same in every call from attn_reset to attn_finish then
 *   part_end  where that split in progress has come to; 0: none is
 * Host memory of the caller. */
typedef struct attn_state {
    float *max;
    float *sum;
    float *out;
    float *part_max;
    float *part_sum;
    float *part_out;
    int64_t part_end;
} attn_state;

/* The CPU backend: kernels of one instruction set, a pool, per-thread scratch. */
typedef struct attn_cpu attn_cpu;

/* RT_EUSAGE when the kernels do not support a shape (head_dim, dtype, head counts). */
RT_MUST_CHECK rt_status attn_cpu_check(const attn_shape *shape);

/* RT_EUSAGE as attn_cpu_check; RT_ENOMEM.
 * `isa` is at most rt_machine_isa(); the pool is borrowed. */
RT_MUST_CHECK rt_status attn_cpu_create(
        const attn_shape *shape, rt_isa isa, rt_pool *pool, attn_cpu **out);
/* Accepts NULL. */
void attn_cpu_free(attn_cpu *cpu);

/* Whose kernels that are: below `isa` where it is RT_ISA_AMX, whose tiles are for all pages but f32 and head_dim % 32 == 0, in
 * a build whose compiler had them. */
rt_isa attn_cpu_isa(const attn_shape *shape, rt_isa isa);

/* Scratch that attn_cpu_create takes, for the plan. */
int64_t attn_cpu_scratch_bytes(const attn_shape *shape, int n_threads);

/* Bytes of one page: 128 tokens of K and V of every KV head, in the backend's own layout; where
 * storage is lossy, of a sealed one. Open pages are bf16 pages then, and the same pages otherwise.
 * CPU layout: per KV head, K then V; K in panels of 16 keys, [8][head_dim][16]; V in panels of 16
 * dims, [head_dim / 16][128][16]; of bf16 two lines of 16 pair by pair, [8][head_dim / 2][16][2] and
 * [head_dim / 16][64][16][2]. Sealed: attn_page.h. */
int64_t attn_page_bytes(const attn_shape *shape);
int64_t attn_open_page_bytes(const attn_shape *shape);

/* Rotate the keys of n_tokens new tokens at positions pos .. pos + n_tokens - 1, and store keys and
 * values.
 *
 *   kv     fp32 rows of `stride` floats, [2 n_kv_heads head_dim] used: k heads, v heads; left
 *          unspecified
 *   pages  pages of positions pos - pos % 128 and on; open ones, where storage is lossy
 *
 * RoPE angles are formed in fp32, position x theta, with full range reduction, as the reference
 * does (theta from fp32 pow and reciprocal). Source: Su et al. 2021,
 * arXiv:2104.09864. */
void attn_append_kv(attn_cpu *cpu, float *kv, int64_t stride, int64_t n_tokens, int64_t pos,
        void *const *pages);

/* Rotate queries: fp32 rows of `stride` floats, n_heads x head_dim used, in place; not scaled. */
void attn_rotate_q(attn_cpu *cpu, float *q, int64_t stride, int64_t n_tokens, int64_t pos);

/* State of rows that have seen nothing: max = -inf, sum = 0, out = 0; no split in progress. */
void attn_reset(attn_cpu *cpu, attn_state *state, int64_t n_tokens);

/* Fold a segment into the state of query tokens at positions pos .. pos + n_tokens - 1; token p
 * attends to keys at positions <= p (those of the segment that are).
 *
 *   q        fp32, token t at q + t * stride, [n_heads][head_dim], rotated
 *   segment  first_pos and, unless it reaches the last token, its end are multiples of 128; segments
 *            come in ascending order. One that meets the next inside a split leaves the rows'
 *            partial states in state->part_*, and the next starts there; the bits are those of one
 *            segment. At multiples of ATTN_SPLIT_TOKENS nothing is carried, which is fastest.
 *
 * Rows of the pages past the segment's last token are never read as numbers. */
void attn_prefill(attn_cpu *cpu, const float *q, int64_t stride, int64_t n_tokens, int64_t pos,
        const attn_segment *segment, attn_state *state);

/* Fold the split in progress, if any; then out /= sum, in place; rows that saw no key become 0.
 * `lse` (natural log, [n_tokens][n_heads], -inf for such rows) is filled where not NULL. */
void attn_finish(attn_cpu *cpu, attn_state *state, int64_t n_tokens, float *lse);

/* One step of decode: one query token for each of n_seqs sequences. Sequence i's token sits at
 * position lengths[i] - 1 and attends to the lengths[i] keys up to itself.
 *
 *   q        fp32, sequence i at q + i * stride, rotated
 *   scratch  attn_decode_scratch_bytes(shape, the largest length or more, n_seqs or more); holds the
 *            partial states between the calls
 *
 * The three calls of a step get the same contents; the arrays are the caller's. */
typedef struct attn_decode_step {
    const float *q;
    int64_t stride;
    const int64_t *lengths;
    int32_t n_seqs;
    void *scratch;
} attn_decode_step;
int64_t attn_decode_scratch_bytes(const attn_shape *shape, int64_t max_tokens, int32_t max_seqs);

/* begin, then windows until every sequence has seen all its keys, then finish.
 *
 *   window  [n_seqs] sequence i's pages of this window; n_tokens 0: none. A sequence's windows follow
 *           one another from position 0, without a gap; each but its last ends at a multiple of 128.
 *           Sequences need not keep step. The pages are read during the call only.
 *   out     fp32 [n_seqs][n_heads][head_dim], finished
 *
 * Sequences whose pages of a split are the same memory in the same window are served by one pass
 * over it. Where windows are cut, and who shares, changes no bit. */
void attn_decode_begin(attn_cpu *cpu, const attn_decode_step *step);
void attn_decode_window(attn_cpu *cpu, const attn_decode_step *step, const attn_segment *window);
void attn_decode_finish(attn_cpu *cpu, const attn_decode_step *step, float *out);

/* The three in one: all of keys[i] (first_pos 0), its last token being the query's. */
void attn_decode(attn_cpu *cpu, const float *q, int64_t stride, const attn_segment *keys,
        int32_t n_seqs, float *out, void *scratch);

/* Quantise a full open page, of attn_open_page_bytes, into one of attn_page_bytes; lossy shapes only. fp8: attn_fp8.h.
 * int8 and int4, keys: each dim over groups of 64 tokens; values: each token over groups of 64 dims (the last may be
 * smaller). With lo and hi the ends of a group's range,
 *
 *   scale = (hi - lo) / (2^bits - 1), rounded up to bf16     zero = lo, a bf16 as it is
 *   code  = (x - zero) / scale to the nearest integer, ties to even; reads as zero + scale code
 *
 * so that |x - what is read| <= scale / 2, beside fp32 roundings. The same bits from every
 * instruction set. A group that holds Inf or NaN reads as NaN throughout. Any thread. */
void attn_page_seal(const attn_shape *shape, const void *open_page, void *page);

/* Canonical rows of one KV head of one page <-> the page; where storage is lossy, of an open page.
 * `k` and `v` are [n_tokens][head_dim] of kv_dtype (bf16, where lossy), little-endian, tokens
 * first_token .. first_token + n_tokens - 1 of the page. Any thread. */
void attn_page_unpack(const attn_shape *shape, const void *page, int32_t kv_head,
        int32_t first_token, int32_t n_tokens, void *k, void *v);
void attn_page_pack(const attn_shape *shape, void *page, int32_t kv_head, int32_t first_token,
        int32_t n_tokens, const void *k, const void *v);

/* Canonical bytes of one KV head of one sealed page <-> the page; lossless, any thread. D is
 * head_dim, G = ceil(D / 64), C = D b / 8 bytes of codes a token with b = 8 or 4 bits:
 *
 *   offset                  contents, little-endian
 *   0                       K codes  [D][128 tokens]      128 C bytes
 *   128 C                   K scales bf16 [2][D]          token t is of group t / 64
 *   128 C +  4 D            K zeros  bf16 [2][D]
 *   128 C +  8 D            V codes  [128 tokens][D]      128 C bytes
 *   256 C +  8 D            V scales bf16 [G][128]        dim d is of group d / 64
 *   256 C +  8 D + 256 G    V zeros  bf16 [G][128]
 *   256 C +  8 D + 512 G    the end
 *
 * int8: a byte a code. fp8 likewise, but for the scales: behind both codes, 256 D bytes, fp32 the keys' and
 * the values', and 8 bytes of 0. int4: of every 16 consecutive codes, byte j of 8 holds code j in its low half
 * and code j + 8 in its high half. */
void attn_page_unpack_sealed(
        const attn_shape *shape, const void *page, int32_t kv_head, void *bytes);
void attn_page_pack_sealed(const attn_shape *shape, void *page, int32_t kv_head, const void *bytes);

/* Canonical bytes of one KV head of one page: the end above; of lossless pages, their rows, K and V. */
int64_t attn_page_canonical_bytes(const attn_shape *shape);

/* theta_j of the rotated pairs, [rope_dim / 2], as the reference forms them: fp32 exponent, fp32 power,
 * fp32 reciprocal. */
void attn_rope_theta(const attn_shape *shape, float *theta);

/* The plain definition, fp64 inside, one row at a time: what every kernel is compared with.
 *
 *   q       fp32 [head_dim], rotated; k, v  fp32 [n_keys][head_dim]
 *   out     fp64 [head_dim]; 0 for n_keys = 0
 * Returns lse (natural log); -inf for n_keys = 0. */
double attn_ref_row(const float *q, const float *k, const float *v, int64_t n_keys,
        int32_t head_dim, double *out);

#ifdef __cplusplus
}
#endif

#endif
