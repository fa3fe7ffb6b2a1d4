/* Ranks that are GPUs: logits of 1, 2 and 4 are those of one GPU and of ranks on the CPU, within what rounding allows,
 * prefilled and decoded, two sessions at once; the same bits run after run and in whatever order the devices do
 * what the program's events allow, and where the GPUs' memory does not hold the weights, which then come layer by
 * layer.
 *
 * Method: processes on GPUs that tests/standin plays, whose NCCL sums through shared memory. Random models of 4 query
 * heads over 4 KV heads and over 2, where 4 ranks hold copies. What differs is the order of fp32 sums and, to the
 * CPU, that activations are bf16 there: each of the 11 roundings of a layer (two of updates, two of the stream,
 * norms, q, k, v, rotated, attended, gate and up, product) may come to the neighbour, 2^-8 of a value:
 * sqrt(11 L + 1) 2^-8 if all did, 1.9e-2 of 2 layers. A wrong head, column or row changes logits by their own size.
 * 128 keys and more: 2 pages, 2 chunks. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "help_ranks.h"

/* A layer's matrices are 148 KiB of 2 ranks' memory, the rest 40: 3 layers do not fit into so much, 2 do. */
enum { N_IDS = 144, N_DECODED = 3, WEIGHTS_BYTES = 400 << 10 };

static int n_layers = 3; /* 2 where it is to be fast: no layer comes then */
static int64_t weights_bytes;
static int n_failed;

static const char *make_model(int n_kv_heads) {
    const help_shape shape = {.hidden = 64,
            .n_layers = n_layers,
            .n_heads = 4,
            .n_kv_heads = n_kv_heads,
            .head_dim = 128,
            .ffn = 96,
            .vocab = 304,
            .dtype = "bfloat16"};
    return help_random_model(&shape, 5);
}

static float *logits_of(const char *model, const char *device, int n_ranks, int64_t *n) {
    int32_t ids[N_IDS];
    for (int i = 0; i < N_IDS; i++) ids[i] = (int32_t)((i * 7919 + i * i) % 300);
    const glm_options options = {.model_dir = model,
            .device = device,
            .tensor_parallel = n_ranks,
            .nccl = n_ranks == 1,
            .device_weights_bytes = weights_bytes,
            .chunk = 128,
            .threads = 2};
    return help_ranks_logits(&options, ids, N_IDS, N_DECODED, n);
}

static void compare(const char *what, const float *got, const float *want, int64_t n) {
    const double error = help_relative_error(got, want, n);
    const double bound = sqrt(11.0 * n_layers + 1.0) * 0x1p-8;
    printf("%s: relative error %.2e, bound %.1e\n", what, error, bound);
    n_failed += !(error <= bound);
}

static void check_coming_weights(const char *model, const float *want) {
    int64_t n = 0;
    weights_bytes = WEIGHTS_BYTES;
    float *got = logits_of(model, "cuda", 2, &n);
    weights_bytes = 0;
    if (memcmp(got, want, (size_t)n * sizeof *got) != 0) {
        printf("FAIL 2 ranks, weights layer by layer: other bits\n");
        n_failed++;
    }
    free(got);
}

/* The devices' orders: the others see them in their environment, this process has read it. */
static void check_order(const char *model, int n_ranks, const char *order, const float *want) {
    int64_t n = 0;
    (void)setenv("STANDIN_CUDA_ORDER", order, 1);
    float *got = logits_of(model, "cuda", n_ranks, &n);
    (void)unsetenv("STANDIN_CUDA_ORDER");
    if (memcmp(got, want, (size_t)n * sizeof *got) != 0) {
        printf("FAIL %d ranks, order %s: other bits\n", n_ranks, order);
        n_failed++;
    }
    free(got);
}

/* Fast: 4 KV heads for 2 ranks, 2 for 4. */
static void check(int n_kv_heads, bool is_fast) {
    const char *model = make_model(n_kv_heads);
    const int first = is_fast && n_kv_heads == 2 ? 4 : 2;
    const int last = is_fast && n_kv_heads == 4 ? 2 : 4;
    char what[96];
    int64_t n = 0;
    float *on_cpu = logits_of(model, "cpu", 2, &n);
    float *one = logits_of(model, "cuda", 1, &n);
    (void)snprintf(what, sizeof what, "%d KV heads, 1 GPU and 2 CPU ranks", n_kv_heads);
    compare(what, one, on_cpu, n);
    for (int n_ranks = first; n_ranks <= last; n_ranks *= 2) {
        float *got = logits_of(model, "cuda", n_ranks, &n);
        (void)snprintf(what, sizeof what, "%d KV heads, %d GPUs and 1", n_kv_heads, n_ranks);
        compare(what, got, one, n);
        (void)snprintf(
                what, sizeof what, "%d KV heads, %d GPUs and 2 CPU ranks", n_kv_heads, n_ranks);
        compare(what, got, on_cpu, n);
        if (n_kv_heads == 4 && n_ranks == 2 && !is_fast) check_order(model, n_ranks, "early", got);
        if (n_kv_heads == 4 && n_ranks == 2) check_order(model, n_ranks, "77", got);
        if (n_kv_heads == 4 && n_ranks == 2 && n_layers > 2) check_coming_weights(model, got);
        free(got);
    }
    free(on_cpu);
    free(one);
}

int main(int argc, char **argv) {
    int exit_code = 0;
    const bool is_fast = getenv("GLM_TEST_FAST") != NULL;
    (void)setenv("STANDIN_CUDA_DEVICES", "4", 1);
    if (glm_rank_is_asked(argc, argv, &exit_code)) return exit_code;
    if (is_fast) n_layers = 2;
    check(4, is_fast);
    check(2, is_fast);
    return n_failed ? 1 : 0;
}
