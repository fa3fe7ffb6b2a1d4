/* Decode with drafts gives the logits, the tokens drawn and the lengths of decode without, to the last bit: however many of
 * the drafted tokens are right, whatever the session is asked for between, also where KV is lossy or goes to disk, and on
 * several ranks.
 *
 * Method: help_drafts.h, on a random model. */
#include <stdlib.h>

#include "help_dir.h"
#include "help_drafts.h"
#include "help_ranks.h"

/* For races, pages in memory are alike, and one lossy type is enough. */
#if defined(__SANITIZE_THREAD__)
enum { IS_RACED = 1 };
#else
enum { IS_RACED = 0 };
#endif

static int n_failed;

static void check(glm_options options, bool must_overflow, const char *what) {
    const help_drafts_case one = {.what = what,
            .options = options,
            .n_prompt = 3900,
            .n_text = HELP_DRAFTS_TEXT,
            .must_overflow = must_overflow};
    n_failed += help_drafts_differ(&one);
}

int main(int argc, char **argv) {
    int exit_code = 0;
    if (glm_rank_is_asked(argc, argv, &exit_code)) return exit_code;
    const help_shape shape = {.hidden = 64,
            .n_layers = 3,
            .n_heads = 4,
            .n_kv_heads = 2,
            .head_dim = 16,
            .ffn = 128,
            .vocab = 304,
            .dtype = "bfloat16"};
    const char *disk = help_dir_in_memory();
    const glm_options plain = {.model_dir = help_random_model(&shape, 13), .threads = 2};
    glm_options other = plain;
    check(plain, false, "in memory");
    other.kv_dtype = "int8";
    if (!IS_RACED) check(other, false, "int8");
    other.kv_dtype = "fp8";
    other.host_kv_bytes = INT64_C(1) << 20;
    other.n_kv_disk_dirs = 1;
    other.kv_disk_dirs = &disk;
    check(other, true, "fp8, and on disk");
    if (getenv("GLM_TEST_FAST")) return n_failed ? 1 : 0;
    other.kv_dtype = NULL;
    check(other, true, "on disk");
    other.persists = true;
    other.host_kv_bytes = INT64_C(64) << 20;
    check(other, true, "kept on disk");
    other = plain;
    other.tensor_parallel = 2;
    other.threads = 1;
    check(other, false, "two ranks");
    return n_failed ? 1 : 0;
}
