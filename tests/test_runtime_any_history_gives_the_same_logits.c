/* Whatever was done before, a sequence's logits are those of its tokens: bit for bit the ones of a plain run over them,
 * in memory, in an engine of its own. Forks of forks at any place, cuts, spans given up, parked, streamed, kept, found
 * again; in engines of any chunk, span, budget, threads and KV type.
 *
 * Method: help_walk.h. Random models all of whose rows count in every logit (f32 hidden states), with few layers. */
#include <stdlib.h>

#include "help_walk.h"

int main(int argc, char **argv) {
    static const char *const kv_dtypes[] = {"bf16", "f32", "fp8", "int8", "int4", NULL};
    static const walk_kind kind = {.device = "cpu",
            .configs = {WALK_CONFIG("GlmForCausalLM", "glm", "2", "32", "72", "2", "2", "16", "float32"),
                    WALK_CONFIG("GlmForCausalLM", "glm", "3", "32", "72", "4", "1", "32", "bfloat16"),
                    WALK_CONFIG("Glm4ForCausalLM", "glm4", "2", "32", "72", "4", "2", "16", "float32")},
            .kv_dtypes = kv_dtypes,
            .longest = 1400};
    const bool is_fast = getenv("GLM_TEST_FAST") != NULL;
    return walk_main(&kind, is_fast ? 5 : 1, is_fast ? 1 : 2, is_fast ? 20 : 40, argc, argv);
}
