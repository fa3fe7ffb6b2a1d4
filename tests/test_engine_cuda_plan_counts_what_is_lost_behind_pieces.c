/* CUDA gives large pieces of its memory in multiples of 2 MiB: what is lost behind those of weights and of buffers the plan counts with
 * what the driver takes, besides its code, where all layers stay on the GPU and where none does.
 *
 * Method: a random model whose matrices end behind such multiples, on a GPU that tests/standin plays, which counts what is lost. */
#include <stdio.h>

#include "help_needle.h"
#include "help_ranks.h"
#include "runtime/base/size.h"
#include "runtime/plan.h"
#include "runtime/runtime.h"
#include "standin/standin_cuda.h"

enum { N_LAYERS = 4 };
static const int64_t code_bytes = 32 * RT_MIB;

/* What is lost behind the pages is not: one piece. */
static const int64_t of_pages = 2 * RT_MIB;

static int check(const char *model, int64_t weights_bytes) {
    const glm_options options = {.model_dir = model,
            .device = "cuda",
            .max_len = 256,
            .device_weights_bytes = weights_bytes,
            .threads = 1};
    glm_engine *engine = NULL;
    help_require(glm_engine_open(&options, &engine), "engine");
    const glm_plan *plan = glm_engine_plan(engine);
    const int64_t lost = standin_cuda_get()->lost_bytes;
    const int64_t counted =
            plan->driver_bytes - plan->context_bytes - plan->graphs_bytes - code_bytes;
    const bool is_right = lost > RT_MIB && lost <= counted + of_pages && counted <= lost;
    printf("%s: %d of %d layers streamed, %lld bytes lost, %lld counted\n",
            is_right ? "ok  " : "FAIL", (int)plan->n_streamed_layers, N_LAYERS, (long long)lost,
            (long long)counted);
    const bool as_asked = (plan->n_streamed_layers > 0) == (weights_bytes > 0);
    glm_engine_close(engine);
    return is_right && as_asked ? 0 : 1;
}

int main(void) {
    const help_shape shape = {.hidden = 1024,
            .n_layers = N_LAYERS,
            .n_heads = 4,
            .n_kv_heads = 2,
            .head_dim = 128,
            .ffn = 1600,
            .vocab = 272,
            .dtype = "bfloat16"};
    const char *model = help_random_model(&shape, 5);
    return check(model, 0) + check(model, 30 * RT_MIB) ? 1 : 0;
}
