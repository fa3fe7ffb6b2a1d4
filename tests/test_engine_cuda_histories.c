/* Whatever was done before, on a GPU too a sequence's logits are those of its tokens: bit for bit the ones of a plain run
 * over them in the GPU's memory, each token computed as it was, in a prefill or decoded. Forks and cuts, pages that come
 * from the host's memory and the disk and leave for them, weights that come layer by layer, calls to the device that
 * fail, two ranks, in whatever order the devices work. What is kept the CPU reads, about the same.
 *
 * Method: help_walk.h, on a GPU that tests/standin plays. What is longer than it has time for begins with a book of the
 * CPU's. Most walks have attention's kernels written plainly (standin_plain.h), and memory that the host could touch. */
#include <stdio.h>
#include <stdlib.h>

#include "help_random.h"
#include "help_walk.h"
#include "standin/standin_cuda.h"
#include "standin/standin_plain.h"

/* What another rank's process reads in its environment. */
static void tell(const char *name, uint64_t number) {
    char text[32];
    (void)snprintf(text, sizeof text, "%llu", (unsigned long long)number);
    (void)setenv(name, text, 1);
}

static void begin(uint64_t *random) {
    const int32_t capability = random_below(random, 2) ? 90 : 80;
    const bool is_plain = random_below(random, 16) > 0;
    tell("STANDIN_CUDA_CAPABILITY", (uint64_t)capability);
    tell("STANDIN_CUDA_PLAIN", is_plain);
    standin_cuda_get()->capability = capability;
    standin_cuda_get()->is_unguarded = is_plain;
    standin_plain_use(is_plain);
}

/* The other ranks' devices: in another order. */
static void unsettle(uint64_t *random) {
    static const standin_order orders[] = {
            STANDIN_LATE, STANDIN_EARLY, STANDIN_RANDOM, STANDIN_COPIES};
    standin_cuda_get()->order = orders[random_below(random, 4)];
    standin_cuda_get()->seed = random_next(random);
    tell("STANDIN_CUDA_ORDER", random_next(random) >> 32);
}

static bool fail_at(int64_t n) {
    standin_cuda *gpu = standin_cuda_get();
    const bool has_failed = gpu->fail_at > 0 && gpu->n_calls >= gpu->fail_at;
    gpu->waits_well = true;
    gpu->fail_at = n > 0 ? gpu->n_calls + n : 0;
    return has_failed;
}

int main(int argc, char **argv) {
    static const char *const kv_dtypes[] = {"bf16", "fp8", NULL};
    static const walk_kind kind = {.device = "cuda",
            .configs = {WALK_CONFIG("GlmForCausalLM", "glm", "2", "64", "80", "4", "2", "128",
                                "bfloat16"),
                    WALK_CONFIG("Glm4ForCausalLM", "glm4", "3", "64", "80", "4", "1", "128",
                            "bfloat16")},
            .kv_dtypes = kv_dtypes,
            .tells_how = true,
            .longest = 300,
            .ranks_max = 2,
            .begin = begin,
            .unsettle = unsettle,
            .fail_at = fail_at};
    const bool is_fast = getenv("GLM_TEST_FAST") != NULL;
    int exit_code = 0;
    (void)setenv("STANDIN_CUDA_DEVICES", "2", 1);
    if (glm_rank_is_asked(argc, argv, &exit_code)) return exit_code;
    return walk_main(&kind, is_fast ? 9 : 4, is_fast ? 1 : 6, 14, argc, argv);
}
