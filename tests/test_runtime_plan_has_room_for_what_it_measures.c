/* Where there is not the memory to measure the CPU with oneDNN, whose scratch is part of it, a plan is refused, and nothing is
 * measured: whoever limits the memory would kill it.
 *
 * Method: plans with what the measurement takes, and with a byte less; the same by our own kernels, which need less. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "help_needle.h"
#include "runtime/engine.h"
#include "runtime/linear_choice.h"
#include "runtime/plan_speed.h"

enum { THREADS = 2 };

static glm_checkpoint *checkpoint;

static int64_t needed(glm_linear_by by) {
    const glm_speed_trial least = {.n_threads = THREADS,
            .linear_by = by,
            .attention = glm_attn_shape(glm_checkpoint_config(checkpoint), RT_BF16)};
    return glm_measure_speed_bytes(&least);
}

static rt_status plan_with(const char *linear, int64_t memory_bytes) {
    const glm_options options = {.device = "cpu",
            .linear = linear,
            .threads = THREADS,
            .kv_dtype = "bf16",
            .max_len = 1024,
            .memory_bytes = memory_bytes,
            .disk_free_bytes = 1 << 20};
    glm_plan plan;
    return glm_plan_make(checkpoint, &options, &plan);
}

static void check(const char *linear, glm_linear_by by) {
    const int64_t n_bytes = needed(by);
    (void)printf("%s: %" PRId64 " bytes\n", linear, n_bytes);
    CHECK(plan_with(linear, n_bytes) == RT_OK);
    CHECK(plan_with(linear, n_bytes - 1) == RT_ENOFIT);
    CHECK(strstr(rt_error_text(), "no less than"));
}

int main(void) {
    char text[512];
    CHECK(glm_checkpoint_open("tests/golden/native_bf16_kv4", &checkpoint) == RT_OK);
    check("own", GLM_LINEAR_OWN);
    const bool has_onednn = glm_linear_describe_onednn(text, sizeof text);
    if (has_onednn) CHECK(needed(GLM_LINEAR_ONEDNN) > needed(GLM_LINEAR_OWN));
    if (has_onednn) check("onednn", GLM_LINEAR_ONEDNN);
    glm_checkpoint_close(checkpoint);
    return has_onednn ? 0 : 77;
}
