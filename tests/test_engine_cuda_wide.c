/* More e4m3 pages than are widened at a time: a prefill over them has the bits that it has where they come window by window,
 * of fewer pages each.
 *
 * Method: a book of 130 pages, which the CPU made of a random model of one layer, goes on on a GPU that tests/standin plays,
 * with memory for all of it, and for less. */
#include <stdio.h>
#include <string.h>

#include "help_dir.h"
#include "help_engine.h"
#include "help_ranks.h"
#include "runtime/base/size.h"
#include "standin/standin_cuda.h"
#include "standin/standin_plain.h"

enum { EXTENT = 4096, N_BOOK = 130 * 128, N = N_BOOK + 5, VOCAB = 272 };

static int32_t ids[N];
static glm_plan plan; /* of the last engine */
static const char *dir;

static glm_engine *open_on(const char *model, const char *device, int64_t kv_bytes) {
    return help_engine_open_in(dir, (glm_options){.model_dir = model,
                                            .device = device,
                                            .kv_dtype = "fp8",
                                            .device_kv_bytes = kv_bytes,
                                            .max_len = N,
                                            .kv_window_tokens = EXTENT});
}

static void go_on(const char *model, int64_t kv_bytes, float row[VOCAB]) {
    glm_engine *engine = open_on(model, "cuda", kv_bytes);
    plan = *glm_engine_plan(engine);
    help_engine_go_on(engine, ids, N, N_BOOK, 0, row);
    glm_engine_close(engine);
}

/* A window of one extent, and of the unfinished one. */
static int64_t less_memory(void) {
    const int64_t extent_bytes = EXTENT / 128 * plan.kv_page_bytes;
    return glm_plan_kv_here(&plan) - rt_div_up(N, 128) * plan.kv_page_bytes -
           (plan.kv_window_extents - 1) * extent_bytes + extent_bytes + RT_MIB / 2;
}

int main(void) {
    float all[VOCAB], less[VOCAB];
    const help_shape shape = {.hidden = 64,
            .n_layers = 1,
            .n_heads = 2,
            .n_kv_heads = 1,
            .head_dim = 128,
            .ffn = 72,
            .vocab = VOCAB,
            .dtype = "bfloat16"};
    const char *model = help_random_model(&shape, 8);
    dir = help_dir();
    standin_plain_use(true);
    standin_cuda_get()->is_unguarded = true;
    help_engine_ids(ids, N, 19);
    glm_engine *engine = open_on(model, "cpu", 0);
    help_engine_keep(engine, ids, N_BOOK, "book");
    glm_engine_close(engine);
    go_on(model, 0, all);
    const bool is_all = plan.kv_pinned_tokens >= N;
    go_on(model, less_memory(), less);
    const bool is_less = plan.kv_pinned_tokens < N;
    if (memcmp(all, less, sizeof all) == 0 && is_all && is_less) return 0;
    printf("FAIL: other logits over pages that are widened in parts (memory for %lld of %d tokens)\n",
            (long long)plan.kv_pinned_tokens, N);
    return 1;
}
