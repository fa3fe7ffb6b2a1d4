/* What a layer is made of, on a GPU: the elementwise kernels of ops_cuda.cu, the products of
 * cublas.h.
 *
 * Rows are bf16, hidden states and activations alike, without padding; arithmetic is fp32 and
 * rounded once where a row is stored. Widths are multiples of 8. Every pointer is device memory,
 * 16-byte aligned, and everything is queued on the stream.
 *
 * Errors: RT_EDEVICE  the launch was refused. */
#ifndef GLM_OPS_CUDA_H
#define GLM_OPS_CUDA_H

#include "base/device.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One of the kernels, for glm_cuda_try_kernel. */
const void *glm_cuda_a_kernel(void);

/* hidden[i] = table[ids[i]]: bf16 [vocab][width] -> [n][width]; ids int32 [n]. It gathers any rows: with hidden
 * states for the table, the last row of each sequence, of which logits are wanted. */
RT_MUST_CHECK rt_status glm_cuda_embed(const uint16_t *table, const int32_t *ids, int64_t n,
        int64_t width, uint16_t *hidden, rt_stream stream);

/* hidden += update, rounded, where update is not NULL; then out = hidden / rms(hidden) * weight,
 * where weight is not NULL: one pass for a residual add and the norm that follows it. bf16
 * [n][width]; eps inside the root. out = hidden (in place) is allowed where update is NULL.
 * Source: Zhang & Sennrich 2019, arXiv:1910.07467, rounded as the published checkpoints' own code
 * does. */
RT_MUST_CHECK rt_status glm_cuda_add_norm(uint16_t *hidden, const uint16_t *update,
        const uint16_t *weight, float eps, int64_t n, int64_t width, uint16_t *out,
        rt_stream stream);

/* out = silu(gate) * up: gate_up bf16 [n][2 width], gate first -> [n][width]. */
RT_MUST_CHECK rt_status glm_cuda_swiglu(
        const uint16_t *gate_up, int64_t n, int64_t width, uint16_t *out, rt_stream stream);

/* Ranks. Of the embedding a rank has rows [first, first + n_own): rows[i] is that of ids[i] in fp32, or zeros
 * where another rank has it; the sum over ranks is exact. fp32 [n][width]. */
RT_MUST_CHECK rt_status glm_cuda_embed_own(const uint16_t *table, int64_t first, int64_t n_own,
        const int32_t *ids, int64_t n, int64_t width, float *rows, rt_stream stream);
/* A sum over ranks, fp32 [n] -> bf16, rounded once; n a multiple of 8. */
RT_MUST_CHECK rt_status glm_cuda_round(const float *x, int64_t n, uint16_t *out, rt_stream stream);
/* What ranks have of some rows, one rank after the other, fp32 [n_ranks][n][width] -> rows [n][n_ranks width].
 * n_ranks n <= 65535. */
RT_MUST_CHECK rt_status glm_cuda_join(const float *shares, int32_t n_ranks, int64_t n,
        int64_t width, float *rows, rt_stream stream);

/* How a row is drawn from. */
typedef struct glm_cuda_draw {
    float temperature; /* 0: the largest logit, of equal ones the first */
    float top_p;
    float at;        /* the draw, in [0, 1) */
    int32_t top_k;   /* 0: all */
    int32_t n_valid; /* logits that count, at most 2^20; 0: nothing is drawn from the row */
    float margin; /* of min_p: at most 0, added to the largest logit; none below is drawn. -INFINITY: off */
} glm_cuda_draw;

/* Sampling as glm_sample does it, but that weights are added in fp32, so that a draw at the very edge of two tokens'
 * shares, or of top_p, may choose the other one:
 *   logits  fp32 [n][stride]
 *   draws   [n], read when the device gets there
 *   ids     int32 [n]: the choice; -1 where a logit is not finite */
typedef struct glm_cuda_sample_args {
    const float *logits;
    int64_t stride;
    int64_t n;
    const glm_cuda_draw *draws;
    int32_t *ids;
} glm_cuda_sample_args;
RT_MUST_CHECK rt_status glm_cuda_sample(const glm_cuda_sample_args *args, rt_stream stream);

#ifdef __cplusplus
}
#endif

#endif
