/* On a GPU, too, decode with drafts gives the logits, the tokens drawn and the lengths of decode without, to the last bit: in
 * memory and window by window, over bf16 and over e4m3 pages, on two ranks; and by the kernels of both architectures, where
 * rows of a pass lie in several tiles, too. What follows a pass of several tokens is a
 * graph as before.
 *
 * Method: help_drafts.h, on a GPU that tests/standin plays: long texts by kernels that are written down plainly, of which
 * what windows are needed for is a book of the CPU's; short ones by the kernels. test_runtime_gpu_drafts asks the same of a
 * real one. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "help_check.h"
#include "help_dir.h"
#include "help_drafts.h"
#include "help_engine.h"
#include "help_model.h"
#include "help_ranks.h"
#include "runtime/base/size.h"
#include "standin/standin_cuda.h"
#include "standin/standin_plain.h"

enum { N_BOOK = 4050 };

static int n_failed;
static const char *dirs[1];

static void must(bool condition, const char *what) {
    if (condition) return;
    printf("FAIL: %s\n", what);
    n_failed++;
}

static glm_options on_gpu(const char *model, const char *kv_dtype) {
    return (glm_options){.model_dir = model, .device = "cuda", .kv_dtype = kv_dtype, .threads = 1};
}

static void check(glm_options options, int64_t n_prompt, int64_t n_text, const char *what) {
    const help_drafts_case one = {.what = what,
            .options = options,
            .n_prompt = n_prompt,
            .n_text = n_text,
            .must_overflow = options.device_kv_bytes > 0};
    n_failed += help_drafts_differ(&one);
}

/* ---- by plain kernels ------------------------------------------------------------------------ */

static void check_memory(const char *model) {
    standin_cuda *gpu = standin_cuda_get();
    const int64_t before = gpu->n_graph_launches;
    check(on_gpu(model, "bf16"), 200, 264, "bf16");
    must(gpu->n_graph_launches - before > 30, "too few steps were graphs");
}

static void check_windows(const char *model, const char *kv_dtype, int64_t kv_bytes) {
    glm_options options = on_gpu(model, kv_dtype);
    options.device = "cpu";
    options.max_len = HELP_DRAFTS_TEXT;
    options.persists = options.needs_kept = true;
    options.kv_disk_dirs = dirs;
    options.n_kv_disk_dirs = 1;
    glm_engine *engine = NULL;
    help_require(glm_engine_open(&options, &engine), "engine");
    help_engine_keep(engine, help_drafts_text(), N_BOOK, kv_dtype);
    glm_engine_close(engine);
    options.device = "cuda";
    options.device_kv_bytes = kv_bytes;
    check(options, N_BOOK, N_BOOK + 60, kv_dtype);
}

static void check_ranks(void) {
    glm_options options = on_gpu(help_model_of_two_ranks(), NULL);
    options.tensor_parallel = 2;
    check(options, 150, 190, "two ranks");
}

/* ---- by the kernels -------------------------------------------------------------------------- */

static void check_kernels(int32_t capability, const char *model, const char *kv_dtype) {
    char what[32];
    /* The kernels have sanitized tests of their own; these are of the host's code with them. */
    standin_plain_use(getenv("GLM_TEST_FAST") != NULL);
    standin_cuda_get()->capability = capability;
    (void)snprintf(what, sizeof what, "sm_%d, %s", capability, kv_dtype);
    check(on_gpu(model, kv_dtype), 108, 142, what);
    standin_plain_use(true);
}

int main(int argc, char **argv) {
    int exit_code = 0;
    (void)setenv("STANDIN_CUDA_DEVICES", "2", 1);
    (void)setenv("STANDIN_CUDA_PLAIN", "1", 1); /* another rank's */
    if (glm_rank_is_asked(argc, argv, &exit_code)) return exit_code;
    const char *model = help_model_for_gpu(false);
    const bool is_fast = getenv("GLM_TEST_FAST") != NULL;
    const char *wide = help_model_for_gpu_of(32); /* groups of 16 */
    dirs[0] = help_dir();
    standin_plain_use(true);
    standin_cuda_get()->is_unguarded = true;
    check_memory(model);
    check_windows(model, "fp8", 8 * RT_MIB);
    check_kernels(90, is_fast ? model : wide, "fp8");
    if (is_fast) return n_failed ? 1 : 0;
    check_kernels(90, model, "bf16");
    check_kernels(80, model, "fp8");
    check_ranks();
    return n_failed ? 1 : 0;
}
