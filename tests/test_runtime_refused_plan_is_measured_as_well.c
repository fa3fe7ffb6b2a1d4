/* How fast a plan that is refused says decode would be is measured as of one that fits: with as much as a token reads, which no
 * cache holds, and with less only where there is no memory for it.
 *
 * Method: the linker puts __wrap_glm_measure_speed before the measurement. Plans of a million tokens that fit, that are refused
 * for want of room for KV, and that have hardly any memory. */
#include <inttypes.h>
#include <stdio.h>

#include "help_needle.h"
#include "runtime/base/size.h"
#include "runtime/plan.h"
#include "runtime/plan_speed.h"

enum { N_TOKENS = 1000000, THREADS = 2 };

static int64_t taken;
static int n_failed;

rt_status __wrap_glm_measure_speed(const glm_speed_trial *trial, glm_speed *out);

rt_status __wrap_glm_measure_speed(const glm_speed_trial *trial, glm_speed *out) {
    taken = glm_measure_speed_bytes(trial);
    *out = (glm_speed){.flops = 1e11, .attention_flops = 1e11, .bytes_per_s = 1e10};
    return RT_OK;
}

/* What measuring takes of memory. */
static int64_t measured(
        const glm_checkpoint *checkpoint, int64_t host_kv_bytes, int64_t memory_bytes, bool fits) {
    const glm_options options = {.device = "cpu",
            .max_len = N_TOKENS,
            .threads = THREADS,
            .host_kv_bytes = host_kv_bytes,
            .memory_bytes = memory_bytes,
            .disk_free_bytes = 100 * RT_GIB};
    glm_plan plan;
    help_require(glm_plan_make(checkpoint, &options, &plan), "plan");
    if (plan.fits != fits) {
        printf("FAIL %" PRId64 " bytes for KV, of %" PRId64 ": fits is %d\n", host_kv_bytes,
                memory_bytes, plan.fits);
        n_failed++;
    }
    return taken;
}

static int n_failed_here(const glm_checkpoint *checkpoint) {
    const int64_t scarce = 24 * RT_MIB;
    const int64_t fitting = measured(checkpoint, 0, 64 * RT_GIB, true);
    const int64_t refused = measured(checkpoint, 16 * RT_KIB, 64 * RT_GIB, false);
    const int64_t squeezed = measured(checkpoint, 0, scarce, false);
    printf("measured with %" PRId64 ", %" PRId64 ", %" PRId64 " bytes\n", fitting, refused,
            squeezed);
    return fitting < 64 * RT_MIB || refused != fitting || squeezed > scarce;
}

int main(void) {
    glm_checkpoint *checkpoint = NULL;
    help_require(glm_checkpoint_open(help_needle_model(), &checkpoint), "open");
    const int failed = n_failed_here(checkpoint);
    glm_checkpoint_close(checkpoint);
    return failed || n_failed > 0;
}
