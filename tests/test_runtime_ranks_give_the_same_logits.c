/* Logits of 2, 4 and 8 ranks are those of one, within what rounding allows; and the same bits run after
 * run. Prefilled and decoded, two sessions at once.
 *
 * Method: random models of 8 query heads over 1, 2 and 4 KV heads, in f32 and bf16; 8 ranks over fewer
 * KV heads hold copies. What differs is the order of sums alone. f32: an update is a sum of K <= 512
 * products, cut differently; rounded 2^-24 at each addition, in random directions, sqrt(K) 2^-24 of
 * its size, 2 L updates and a head: 1e-5 holds 6 times that. bf16: at each of the 2 L additions, and of
 * the L keys and values, a value may round to its neighbour, 2^-8 of it: sqrt(3 L) 2^-8 = 1.2e-2 if
 * all did. A wrong head, column or row changes logits by their own size. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "help_ranks.h"

enum { N_IDS = 400, N_DECODED = 6 };

static int n_failed;

static float *logits_of(const char *model, int n_ranks, int64_t *n) {
    int32_t ids[N_IDS];
    for (int i = 0; i < N_IDS; i++) ids[i] = (int32_t)((i * 7919 + i * i) % 300);
    const glm_options options = {
            .model_dir = model, .tensor_parallel = n_ranks, .chunk = 128, .threads = 1};
    return help_ranks_logits(&options, ids, N_IDS, N_DECODED, n);
}

static void compare(const char *model, const float *want, int64_t n_want, int n_ranks, double bound,
        const char *what) {
    int64_t n = 0;
    float *got = logits_of(model, n_ranks, &n);
    const double error = n == n_want ? help_relative_error(got, want, n) : 1.0;
    printf("%s, %d ranks: relative error %.2e, bound %.0e\n", what, n_ranks, error, bound);
    n_failed += !(error <= bound);
    if (n_ranks == 4) {
        float *again = logits_of(model, n_ranks, &n);
        if (memcmp(got, again, (size_t)n * sizeof *got) != 0) {
            printf("FAIL %s, 4 ranks: other bits the second time\n", what);
            n_failed++;
        }
        free(again);
    }
    free(got);
}

static void check(int n_kv_heads, const char *dtype, double bound) {
    const help_shape shape = {.hidden = 128,
            .n_layers = 3,
            .n_heads = 8,
            .n_kv_heads = n_kv_heads,
            .head_dim = 32,
            .ffn = 384 + 8 * 3, /* shares that are no multiple of a panel */
            .vocab = 304,
            .dtype = dtype};
    const char *model = help_random_model(&shape, 5);
    char what[64];
    int64_t n = 0;
    (void)snprintf(what, sizeof what, "%d KV heads, %s", n_kv_heads, dtype);
    float *want = logits_of(model, 1, &n);
    for (int n_ranks = 2; n_ranks <= 8; n_ranks *= 2) compare(model, want, n, n_ranks, bound, what);
    free(want);
}

int main(int argc, char **argv) {
    int exit_code = 0;
    if (glm_rank_is_asked(argc, argv, &exit_code)) return exit_code;
    const bool is_fast = getenv("GLM_TEST_FAST") != NULL;
    check(4, "bfloat16", 1.2e-2);
    check(2, "float32", 1e-5);
    if (is_fast) return n_failed ? 1 : 0;
    check(1, "bfloat16", 1.2e-2);
    check(1, "float32", 1e-5);
    check(2, "bfloat16", 1.2e-2);
    check(4, "float32", 1e-5);
    return n_failed ? 1 : 0;
}
