/* The plain definition of the whole model, in fp64, over a checkpoint's own tensors: what an engine's logits are
 * compared with. */
#ifndef HELP_MODEL_H
#define HELP_MODEL_H

#include <stdbool.h>
#include <stdint.h>

/* A random bf16 checkpoint with what a GPU asks for (head_dim 128): hidden 64, ffn 72, 2 layers, 4 query heads over 2,
 * 272 ids; `is_0414`: 5 layers, with norms on what attention and MLP give. Removed when the program ends. */
const char *help_model_for_gpu(bool is_0414);
/* Of so many query heads, 2 or 4; one number a program. */
const char *help_model_for_gpu_of(int n_heads);

/* Logits [n_wanted][vocab] of positions wanted[], for free(). `rounds`: every result of an operation is
 * rounded to bf16, as libraries that compute in bf16 do; logits are not. Ends the program on failure. */
double *help_model_logits(const char *dir, const int32_t *ids, int64_t n, bool rounds,
        const int64_t *wanted, int64_t n_wanted);

/* The rule for a backend: its largest distance from the exact logits is at most twice that of bf16 arithmetic, its
 * mean at most 1.5 times (research on how attention kernels are tested: twice, and 1.5 times). Prints `what` with
 * both numbers; false where it is not kept. */
bool help_model_is_near(
        const char *what, const float *got, const double *exact, const double *rounded, int64_t n);

#endif
