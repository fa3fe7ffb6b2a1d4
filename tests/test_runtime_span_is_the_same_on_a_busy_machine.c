/* How long a span is does not follow from how busy the machine happens to be: a span that was suspended goes on in an
 * engine whose spans are as long as it, and a prefill that was stopped is continued while something else runs.
 *
 * Method: the linker puts __wrap_glm_measure_speed before the measurement. Plans of a million tokens, where the time
 * that a killed run may lose bounds a span, on a machine that measures as it does, a fifth of it, and five times it. */
#include <inttypes.h>
#include <stdio.h>

#include "help_needle.h"
#include "runtime/base/size.h"
#include "runtime/plan.h"
#include "runtime/plan_speed.h"

enum { N_TOKENS = 1000000, LONGEST = 128 * 1024 };

static double factor;

rt_status __real_glm_measure_speed(const glm_speed_trial *trial, glm_speed *out);
rt_status __wrap_glm_measure_speed(const glm_speed_trial *trial, glm_speed *out);

rt_status __wrap_glm_measure_speed(const glm_speed_trial *trial, glm_speed *out) {
    static glm_speed measured;
    if (measured.flops == 0.0) RT_TRY(__real_glm_measure_speed(trial, &measured));
    *out = measured;
    out->flops *= factor;
    out->attention_flops *= factor;
    out->bytes_per_s *= factor;
    return RT_OK;
}

static glm_plan plan_at(const glm_checkpoint *checkpoint, double speed) {
    const glm_options options = {.device = "cpu",
            .max_len = N_TOKENS,
            .threads = 2,
            .persists = true,
            .host_kv_bytes = 64 * RT_MIB,
            .memory_bytes = 4 * RT_GIB,
            .disk_free_bytes = 100 * RT_GIB};
    glm_plan plan;
    factor = speed;
    help_require(glm_plan_make(checkpoint, &options, &plan), "plan");
    return plan;
}

int main(void) {
    glm_checkpoint *checkpoint = NULL;
    help_require(glm_checkpoint_open(help_needle_model(), &checkpoint), "open");
    const glm_plan usual = plan_at(checkpoint, 1.0);
    const glm_plan busy = plan_at(checkpoint, 0.2);
    const glm_plan fast = plan_at(checkpoint, 5.0);
    printf("spans of %" PRId64 ", %" PRId64 ", %" PRId64 " tokens in %.0f, %.0f, %.0f s\n",
            usual.span, busy.span, fast.span, usual.prefill_s, busy.prefill_s, fast.prefill_s);
    if (usual.span >= LONGEST || busy.prefill_s < 2.0 * usual.prefill_s) {
        printf("FAIL nothing depends on speed here\n");
        return 1;
    }
    if (busy.span != usual.span || fast.span != usual.span) {
        printf("FAIL spans depend on what was measured\n");
        return 1;
    }
    glm_checkpoint_close(checkpoint);
    return 0;
}
