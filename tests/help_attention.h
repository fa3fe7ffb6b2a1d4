/* What the attention tests share: a layer of random keys and values, kernels to run on it, the
 * plain definition of a row, and how far fp32 may be from it.
 *
 * The bound, first order in u = 2^-24, for a row of n keys, p pages and s splits. t is a score in
 * base 2 and w the exact weights, which sum to 1:
 *
 *   score     q is scaled (2 roundings) and multiplied into k term by term (1 rounding each, 2
 *             without fused multiply-add), so |dt| <= u (sum of |partial sums| + 3 sum of |terms|)
 *   weight    2^(t - max): the rises of the maximum that a weight passes add up to max - t, so all
 *             their subtractions round off u (max - t) together. Each 2^x is within 1.2 u
 *             (base/simd.h), and a weight meets one, one more for each rise of the maximum (fewer
 *             than min(p, 32)) and one for each fold of a split:
 *                 e = ln2 (|dt| + u (max - t)) + 1.2 u (1 + min(p, 32) + s)
 *   sums      128 additions in a page, each after a multiplication that may round; 2 roundings for
 *             each page of a split, 3 for each split, in the output and in the sum of weights:
 *                 c = u (min(n, 128) + 1 + 2 min(p, 32) + 3 s)
 *   quotient  |d out| <= sum of w e |v - out|  +  c (sum of w |v| + |out|)  +  u |out|
 *
 * Weights below 2^-126 may be taken for 0: e = 1 for those. bf16 rounds what is stored, before any
 * of this, and does not enter. The logarithm of the sum is off by sum of w e + c and by the
 * roundings of max ln2 + log(sum). Higher orders: one percent.
 *
 * By tiles of AMX (attn_amx.c) products of bf16 are exact, and other things are not:
 *
 *   halves    a number of fp32 is two of bf16, the nearest and the nearest to what that leaves, which is half
 *             an ulp of bf16 at most: 2^-8 of its leading power of two, of which another 2^-9 stays: 2^-17 of
 *             the number, 128 u. Scaled queries are so, and weights
 *   score     of 32 dims the even ones are added up, and the odd ones, both, and that to the score, of high
 *             halves, then of low ones: |dt| <= u (sum of |partial sums| + (2 + 128 + 1) sum of |terms|), the 1
 *             for the partial sums of low halves and what these leave to the high ones', 2 x 17 roundings of
 *             2^-8 of a term
 *   weight    e has 128 u more. The sum of weights is that of both halves: it errs as the weights in the output do, and
 *             what all have in common cancels
 *   sums      in the output 16 additions of even keys or odd ones, one of both, 2 for each 32 keys of the page, and 1
 *             for low halves, as above; in the sum of weights one for each vector of a page, 4 numbers or more, one for
 *             the halves, and those of the vector's lanes, of which fewer go with more vectors. The rest as above:
 *                 c of the output   u (16 + 2 + 2 min(n, 128) / 32 + 2 min(p, 32) + 3 s)
 *                 c of the weights  u (min(n, 128) / 4 + 3 + 2 min(p, 32) + 3 s)
 *   int8, int4  of a number of a sealed page, zero + scale c, what is called middle, zero + scale (2^bits - 1) / 2, is
 *             multiplied apart: sums of row middle in fp32 in 4 lanes or more, n / 4 + 2 additions, a rounding of each product,
 *             without fused multiply-add two, and of the middle; (row scale) has a rounding more than row, and is two
 *             halves; what tests read is rounded to fp32. All terms above are those of the distance to the middle, and partial
 *             sums begin with the middles'. Weights are whole in the sum of weights, so that e has no 128 u, and what
 *             halves leave of (weight scale) does not cancel: 129 u of the distance
 *   tiny      what is below 2^-126, read or made, is 0: in a score, of each number of q and k that times the other, and
 *             of 34 sums a step of 32, twice; in an output, of low halves times v, of v times weights, and sums alike */
#ifndef HELP_ATTENTION_H
#define HELP_ATTENTION_H

#include <stdio.h>
#include <stdlib.h>

#include "attention/attention.h"
#include "help_check.h"
#include "help_random.h"

/* GLM_TEST_FAST=1: smaller sizes, for the sanitizers. */
bool ath_is_fast(void);

/* Tiles in plain C: two thousand million operations a second. */
bool ath_is_slow(rt_isa isa);

/* Smaller sizes for this instruction set: ath_is_fast or ath_is_slow. */
bool ath_is_brief(rt_isa isa);

/* RoPE as in the 1M model: half of each head, base 10000 times a rope_ratio of 10000. */
attn_shape ath_shape(int32_t n_heads, int32_t n_kv_heads, int32_t head_dim, rt_dtype kv_dtype);

/* ---- a layer --------------------------------------------------------------------------------- */

/* Keys (already rotated: attention does not ask how) and values, as fp32 rows and as pages. Rows of
 * the last page past n_tokens hold NaN. Lossy shapes: every page is there open, and full ones sealed
 * too; `pages` are the sealed ones, NULL where a page is not full. */
typedef struct ath_layer {
    attn_shape shape;
    int64_t n_tokens;
    int64_t n_pages;
    void **pages;
    void **open_pages; /* lossless: NULL */
    float *k;          /* [n_kv_heads][n_tokens][head_dim], exactly what the (open) pages hold */
    float *v;
    float *sealed_k; /* lossy: what the sealed pages read as */
    float *sealed_v;
    float *middle_k; /* int8 and int4: zero + scale (2^bits - 1) / 2 of each number */
    float *middle_v;
} ath_layer;

ath_layer ath_layer_create(const attn_shape *shape, int64_t n_tokens, uint64_t seed);
void ath_layer_free(ath_layer *layer);

/* Replace one row, in its page and in layer->k and layer->v; lossless only. */
void ath_layer_set(
        ath_layer *layer, int32_t kv_head, int64_t token, const float *k, const float *v);

/* Fill rows [first_token, 128) of every head of an open page with `value`. */
void ath_page_fill(const attn_shape *shape, void *page, int32_t first_token, float value);
void *ath_page_create(const attn_shape *shape); /* open */
void *ath_sealed_page_create(const attn_shape *shape);

/* What one head of a sealed page reads as, by the canonical bytes that attention.h documents:
 * k and v fp32 [128][head_dim]. */
void ath_read_sealed(
        const attn_shape *shape, const void *page, int32_t kv_head, float *k, float *v);

/* The first n_tokens of the layer; where lossy, with all its open pages. */
attn_segment ath_segment(const ath_layer *layer, int64_t n_tokens);

/* A sequence on a book: the book's pages up to a random boundary near its end, then up to 300 tokens
 * on pages of its own (copies of others of the book); one in four is the book itself. */
typedef struct ath_sequence {
    void **pages;
    int64_t first_own; /* pages from here on are its own */
    int64_t n_tokens;
} ath_sequence;
ath_sequence ath_fork(const ath_layer *book, uint64_t *random);
void ath_fork_free(ath_sequence *sequence, const attn_shape *shape);

/* n random normal numbers; free(). */
float *ath_normals(int64_t n, uint64_t seed);

/* n zeros, n >= 0; free(). */
float *ath_zeros(int64_t n);

/* ---- running the kernels --------------------------------------------------------------------- */

typedef struct ath_kernels {
    attn_shape shape;
    rt_pool *pool;
    attn_cpu *cpu;
} ath_kernels;

/* Whether an instruction set has kernels of its own for a shape, here. AMX has them everywhere: where the machine has no
 * tiles, or GLM_TEST_AMX=emulated, the same file runs with tiles in plain C (runtime/base/amx_tiles.h), which a sanitizer
 * sees into, too; not under TSan, for which test_attention_threads.c runs it. */
bool ath_has(rt_isa isa, const attn_shape *shape);
bool ath_is_amx_emulated(void);
const char *ath_isa_name(rt_isa isa);

/* ath_has(isa, shape). */
ath_kernels ath_open(const attn_shape *shape, rt_isa isa, int n_threads);
/* RT_ISA_AMX with tiles in plain C. */
ath_kernels ath_open_emulated(const attn_shape *shape, int n_threads);
void ath_close(ath_kernels *kernels);

/* Kernels, what they run on, and room for what comes of it before and after a number is another. */
typedef struct ath_trial {
    attn_shape shape;
    int64_t dim;   /* of a head */
    int64_t row;   /* of all heads */
    int64_t n_out; /* of all queries */
    ath_kernels kernels;
    ath_layer layer;
    float *q; /* [n_out], as are: */
    float *before;
    float *after;
    float *other;
} ath_trial;
ath_trial ath_trial_open(
        rt_isa isa, const attn_shape *shape, int64_t n_tokens, int64_t n_queries, uint64_t seed);
void ath_trial_close(ath_trial *trial);

attn_state ath_state_create(const attn_shape *shape, int64_t n_tokens);
void ath_state_free(attn_state *state);

/* Query tokens at positions pos .. pos + n_tokens - 1, all keys up to theirs, `chunk` tokens a call;
 * out [n_tokens][n_heads][head_dim]; lse may be NULL. */
typedef struct ath_queries {
    const float *q; /* [n_tokens][n_heads][head_dim] */
    int64_t pos;
    int64_t n_tokens;
} ath_queries;
void ath_prefill(const ath_kernels *kernels, const ath_layer *layer, const ath_queries *queries,
        int64_t chunk, float *out, float *lse);

/* One query token for each of n_seqs sequences. */
void ath_decode(const ath_kernels *kernels, const float *q, const attn_segment *keys,
        int32_t n_seqs, float *out);

/* ---- what is right --------------------------------------------------------------------------- */

/* How products are added up: the two bounds above. */
typedef enum ath_sums { ATH_BY_VECTORS, ATH_BY_TILES, ATH_SUMS } ath_sums;

typedef struct ath_row {
    double out[ATTN_HEAD_DIM_MAX];
    double bound[ATH_SUMS][ATTN_HEAD_DIM_MAX]; /* |kernel - out| is at most this */
    double lse;
    double lse_bound[ATH_SUMS];
} ath_row;

/* What a row reads, [n_keys][head_dim]; of int8 and int4 pages, which n_sealed keys are in, the numbers' middles, too. */
typedef struct ath_numbers {
    const float *k;
    const float *v;
    const float *k_middle; /* NULL: there are none */
    const float *v_middle;
    int64_t n_sealed;
} ath_numbers;

/* attn_ref_row and the bounds above; that of tiles only where a shape has them. */
void ath_reference(const float *q, const ath_numbers *of, int64_t n_keys, int32_t head_dim,
        bool has_tiles, ath_row *row);

/* The same for a query head of a layer that sees n_keys keys. */
void ath_layer_reference(
        const ath_layer *layer, int32_t head, const float *q, int64_t n_keys, ath_row *row);

/* The largest |out - row.out| / bound; NaN and Inf count as infinite. lse NULL: not compared. */
double ath_error(
        const ath_row *row, rt_isa isa, const float *out, const float *lse, int32_t head_dim);

enum { ATH_ISAS = RT_ISA_AMX + 1 };

/* n cases, each with its largest error as a share of the bound on every instruction set there is, errors[isa] (0 at first):
 * prints the worst, and none may be above 1. */
void ath_check_cases(size_t n, void (*errors_of)(size_t i, double *errors));

/* The nearest bf16, ties away from 0, as tiles get it; of numbers that are not too large for it. */
float ath_nearest_half(float x);

/* Same bits. */
bool ath_same(const float *a, const float *b, int64_t n);

#endif
