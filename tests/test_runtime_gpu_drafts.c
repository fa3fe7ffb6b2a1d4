/* On a real GPU: decode with drafts gives the logits, the tokens drawn and the lengths of decode without, to the last bit: in
 * memory, window by window and with weights that come layer by layer, over bf16 and e4m3 pages, in groups of 2 and of 16.
 *
 * Method: help_drafts.h, on random models. Where there is no GPU it skips; test_engine_cuda_drafts_change_no_bit asks the
 * same of the backend on what plays one. */
#include "help_dir.h"
#include "help_drafts.h"
#include "help_engine.h"
#include "help_model.h"
#include "runtime/base/size.h"

static int n_failed;

static void check(
        const char *what, const char *model, const char *kv_dtype, int64_t kv_bytes, bool streams) {
    const char *disk = help_dir_in_memory();
    const help_drafts_case one = {.what = what,
            .options = {.model_dir = model,
                    .device = "cuda",
                    .kv_dtype = kv_dtype,
                    .device_kv_bytes = kv_bytes,
                    .device_weights_bytes = streams ? 3 << 19 : 0,
                    .kv_disk_dirs = &disk,
                    .n_kv_disk_dirs = 1,
                    .threads = 2},
            .n_prompt = 3900,
            .n_text = HELP_DRAFTS_TEXT,
            .must_overflow = kv_bytes > 0};
    n_failed += help_drafts_differ(&one);
}

int main(void) {
    const char *model = help_model_for_gpu(false), *wide = help_model_for_gpu_of(32);
    if (!help_engine_has_gpu(model)) return 77;
    check("bf16", model, "bf16", 0, false);
    check("fp8", model, "fp8", 0, false);
    check("groups of 16, bf16", wide, "bf16", 0, false);
    check("groups of 16, fp8", wide, "fp8", 0, false);
    check("windows, bf16", model, "bf16", 14 * RT_MIB, false);
    check("windows, fp8", model, "fp8", 8 * RT_MIB, false);
    check("layers from the host", help_model_for_gpu(true), "bf16", 0, true);
    return n_failed ? 1 : 0;
}
