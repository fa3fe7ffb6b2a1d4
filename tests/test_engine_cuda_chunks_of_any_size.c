/* A chunk of more than 64K tokens (-b) over keys that come window by window: its last row has the bits that it has where memory holds
 * all that was kept.
 *
 * Method: a book of an extent, which the CPU made of a random model of one layer, of which a prefill attends with the last row alone,
 * goes on on a GPU that tests/standin plays, by one chunk, with memory for little; and then what that kept, with memory for all. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "help_dir.h"
#include "help_engine.h"
#include "help_ranks.h"
#include "runtime/base/size.h"
#include "standin/standin_cuda.h"
#include "standin/standin_plain.h"

enum {
    EXTENT = 4096,
    N_BOOK = EXTENT,
    CHUNK = 18 * EXTENT,
    N = CHUNK - 5,
    N_KEPT = N / EXTENT * EXTENT,
    VOCAB = 272
};

static int32_t ids[N];
static glm_plan plan; /* of the last engine */
static const char *dir;

static glm_engine *open_on(const char *model, const char *device, int64_t kv_bytes) {
    return help_engine_open_in(dir, (glm_options){.model_dir = model,
                                            .device = device,
                                            .device_kv_bytes = kv_bytes,
                                            .max_len = N,
                                            .chunk = CHUNK,
                                            .kv_window_tokens = EXTENT});
}

static void go_on(const char *model, int64_t kv_bytes, int64_t n_kept, float row[VOCAB]) {
    glm_engine *engine = open_on(model, "cuda", kv_bytes);
    plan = *glm_engine_plan(engine);
    help_engine_go_on(engine, ids, N, n_kept, 0, row);
    glm_engine_close(engine);
}

static int64_t little(const char *model) {
    glm_engine *engine = open_on(model, "cuda", 0);
    const int64_t bytes = help_engine_little_kv(glm_engine_plan(engine), 1);
    glm_engine_close(engine);
    return bytes;
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
            .dtype = "bfloat16",
            .max_len = CHUNK};
    if (getenv("GLM_TEST_FAST")) {
        printf("SKIP: a chunk of 64K tokens takes minutes here\n");
        return 77;
    }
    const char *model = help_random_model(&shape, 8);
    dir = help_dir();
    standin_plain_use(true);
    standin_cuda_get()->is_unguarded = true;
    help_engine_ids(ids, N, 19);
    glm_engine *engine = open_on(model, "cpu", 0);
    help_engine_keep(engine, ids, N_BOOK, "book");
    glm_engine_close(engine);
    go_on(model, little(model), N_BOOK, less);
    const bool is_less = plan.kv_pinned_tokens < N && plan.chunk == CHUNK;
    go_on(model, 0, N_KEPT, all);
    const bool is_all = plan.kv_pinned_tokens >= N;
    if (memcmp(all, less, sizeof all) == 0 && is_all && is_less) return 0;
    printf("FAIL: other logits, of chunks of %lld tokens (memory for %lld of %d)\n",
            (long long)plan.chunk, (long long)plan.kv_pinned_tokens, N);
    return 1;
}
