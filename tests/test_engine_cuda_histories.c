/* Whatever was done before, on a GPU too a sequence's logits are those of its tokens: bit for bit the ones of a plain run
 * over them in the GPU's memory, each token computed as it was, in a prefill or decoded. Forks and cuts, pages that come
 * from the host's memory and the disk and leave for them, weights that come layer by layer, in whatever order the device
 * works.
 *
 * Method: help_walk.h, on a GPU that tests/standin plays. What is longer than it has time for begins with a book of the
 * CPU's. Most walks have attention's kernels written plainly (standin_plain.h), and memory that the host could touch. */
#include <stdlib.h>

#include "help_random.h"
#include "help_walk.h"
#include "standin/standin_cuda.h"
#include "standin/standin_plain.h"

static void begin(uint64_t *random) {
    standin_cuda_get()->capability = random_below(random, 2) ? 90 : 80;
    standin_plain_use(random_below(random, 16) > 0);
    standin_cuda_get()->is_unguarded = random_below(random, 8) > 0;
}

static void unsettle(uint64_t *random) {
    static const standin_order orders[] = {
            STANDIN_LATE, STANDIN_EARLY, STANDIN_RANDOM, STANDIN_COPIES};
    standin_cuda_get()->order = orders[random_below(random, 4)];
    standin_cuda_get()->seed = random_next(random);
}

int main(int argc, char **argv) {
    static const char *const kv_dtypes[] = {"bf16", "fp8", NULL};
    static const walk_kind kind = {.device = "cuda",
            .configs = {WALK_CONFIG(
                                "GlmForCausalLM", "glm", "2", "64", "4", "2", "128", "bfloat16"),
                    WALK_CONFIG("Glm4ForCausalLM", "glm4", "3", "64", "4", "1", "128", "bfloat16")},
            .kv_dtypes = kv_dtypes,
            .tells_how = true,
            .longest = 300,
            .begin = begin,
            .unsettle = unsettle};
    const bool is_fast = getenv("GLM_TEST_FAST") != NULL;
    return walk_main(&kind, is_fast ? 9 : 7, is_fast ? 1 : 2, 8, argc, argv);
}
