/* A GPU whose memory does not hold a sequence's KV: pages come from the disk and leave for it, window by window, and
 * no bit of any logit is another, in prefill and in decode, in whatever order the device works.
 *
 * Method: a book of more than a segment, made by the CPU, continued on a GPU that tests/standin plays: by a prefill
 * and by decode steps; with memory for all of it, with less, which streams the first extent and keeps the unfinished
 * one, and with so little that that is parked between walks, too. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "help_engine.h"
#include "help_model.h"
#include "help_needle.h"
#include "runtime/base/size.h"
#include "standin/standin_cuda.h"

enum { N_BOOK = 4096 + 1070, N_MORE = 5, N_STEPS_MAX = 3, VOCAB = 272, N_MAX = N_BOOK + 64 };

static int32_t ids[N_MAX];
static int64_t n_steps = N_STEPS_MAX;
static char dir[64];
static const char *dirs[1] = {dir};

static void remove_all(void) {
    char command[128];
    (void)snprintf(command, sizeof command, "rm -rf '%s'", dir);
    (void)!system(command);
}

static glm_engine *open_on(const char *device, int64_t kv_bytes) {
    glm_engine *engine = NULL;
    const glm_options options = {.model_dir = help_model_for_gpu(false),
            .device = device,
            .device_kv_bytes = kv_bytes,
            .max_len = N_MAX,
            .chunk = 128,
            .threads = 1,
            .persists = true,
            .needs_kept = true,
            .kv_disk_dirs = dirs,
            .n_kv_disk_dirs = 1};
    help_require(glm_engine_open(&options, &engine), device);
    return engine;
}

static void write_book(void) {
    glm_engine *engine = open_on("cpu", 0);
    help_engine_keep(engine, ids, N_BOOK, "text");
    glm_engine_close(engine);
}

static glm_plan plan; /* of the last engine */

/* Whether some of it is not in the GPU's memory. */
static bool continue_book(int64_t kv_bytes, float logits[1 + N_STEPS_MAX][VOCAB]) {
    glm_engine *engine = open_on("cuda", kv_bytes);
    plan = *glm_engine_plan(engine);
    const bool is_less = plan.kv_pinned_tokens < N_MAX;
    help_engine_go_on(engine, ids, N_BOOK + N_MORE, N_BOOK, n_steps, logits[0]);
    glm_engine_close(engine);
    return is_less;
}

int main(void) {
    static float all[1 + N_STEPS_MAX][VOCAB];
    static float less[1 + N_STEPS_MAX][VOCAB];
    standin_cuda *gpu = standin_cuda_get();
    const bool is_fast = getenv("GLM_TEST_FAST") != NULL;
    int n_failed = 0;
    (void)snprintf(dir, sizeof dir, "/tmp/cuda-spill-XXXXXX");
    if (!mkdtemp(dir)) return 1;
    (void)atexit(remove_all);
    if (is_fast) n_steps = 1;
    help_engine_ids(ids, N_MAX, 9);
    write_book();
    if (continue_book(0, all)) {
        printf("FAIL: the GPU's memory was to hold all\n");
        n_failed++;
    }
    const int64_t pages = 2 * rt_div_up(N_MAX, 128) * plan.kv_page_bytes;
    const int64_t budgets[] = {plan.kv_host_bytes - RT_MIB, plan.kv_host_bytes - pages + RT_MIB};
    for (int i = is_fast; i < 2; i++) {
        gpu->order = i == 0 ? STANDIN_LATE : STANDIN_RANDOM;
        gpu->seed = 11;
        if (!continue_book(budgets[i], less)) {
            printf("FAIL: the GPU's memory was not to hold all\n");
            n_failed++;
        }
        if (memcmp(all, less, sizeof all) == 0) continue;
        printf("FAIL: other logits where pages come and go, budget %d\n", i);
        n_failed++;
    }
    return n_failed ? 1 : 0;
}
