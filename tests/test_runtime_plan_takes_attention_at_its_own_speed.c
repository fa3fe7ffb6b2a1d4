/* A prefill is expected to take what its linear layers take at their speed and what attention takes at its own, which is measured by
 * the model's own kernels.
 *
 * Method: the linker puts __wrap_glm_measure_speed before the measurement, and has it say speeds that differ. FLOP of attention are
 * counted here: 4 a head, dim and visible key. What is to be measured is the model's: heads, type of keys and values. Then
 * it is measured. */
#include <math.h>
#include <stdio.h>

#include "help_needle.h"
#include "runtime/base/size.h"
#include "runtime/plan.h"
#include "runtime/plan_speed.h"

enum { N_TOKENS = 100000 };

static glm_speed said;
static glm_speed_trial asked;
static int n_failed;

rt_status __real_glm_measure_speed(const glm_speed_trial *trial, glm_speed *out);
rt_status __wrap_glm_measure_speed(const glm_speed_trial *trial, glm_speed *out);

rt_status __wrap_glm_measure_speed(const glm_speed_trial *trial, glm_speed *out) {
    asked = *trial;
    *out = said;
    return RT_OK;
}

static void expect(const char *what, double got, double want) {
    if (fabs(got - want) <= 1e-9 * want) return;
    printf("FAIL %s: %.17g, wanted %.17g\n", what, got, want);
    n_failed++;
}

static glm_plan plan_of(const glm_checkpoint *checkpoint, const char *kv_dtype) {
    const glm_options options = {.device = "cpu",
            .max_len = N_TOKENS,
            .threads = 1,
            .kv_dtype = kv_dtype,
            .memory_bytes = 64 * RT_GIB,
            .disk_free_bytes = RT_GIB};
    glm_plan plan;
    help_require(glm_plan_make(checkpoint, &options, &plan), "plan");
    return plan;
}

/* Of all rows in every layer but the last, of one row there. */
static double attention_flop(const glm_config *c) {
    const double all = (double)N_TOKENS * (N_TOKENS + 1.0) / 2.0;
    const double keys = (c->n_layers - 1) * all + (double)N_TOKENS;
    return 4.0 * (double)c->n_heads * (double)c->head_dim * keys;
}

static void check_times(const glm_checkpoint *checkpoint) {
    static const double speeds[][2] = {{1e11, 1e11}, {1e11, 4e11}, {4e11, 1e11}};
    const double attention = attention_flop(glm_checkpoint_config(checkpoint));
    for (size_t i = 0; i < sizeof speeds / sizeof *speeds; i++) {
        const double *s = speeds[i];
        said = (glm_speed){.flops = s[0], .attention_flops = s[1], .bytes_per_s = 1e10};
        const glm_plan plan = plan_of(checkpoint, NULL);
        printf("linear layers at %.0e FLOP/s, attention at %.0e: %.1f s\n", s[0], s[1],
                plan.prefill_s);
        expect("the time", plan.prefill_s,
                (plan.prefill_flop - attention) / s[0] + attention / s[1]);
    }
}

/* What the measurement of a plan is to be of; then made. */
static void check_measured(
        const glm_checkpoint *checkpoint, const char *kv_dtype, rt_dtype expected) {
    const glm_config *c = glm_checkpoint_config(checkpoint);
    (void)plan_of(checkpoint, kv_dtype);
    expect("heads", asked.attention.n_heads, c->n_heads);
    expect("KV heads", asked.attention.n_kv_heads, c->n_kv_heads);
    expect("dims", asked.attention.head_dim, c->head_dim);
    expect("the type of keys and values", asked.attention.kv_dtype, expected);
    glm_speed speed = {0};
    help_require(__real_glm_measure_speed(&asked, &speed), "measure");
    printf("%s: linear layers at %.3g FLOP/s, attention at %.3g\n", kv_dtype, speed.flops,
            speed.attention_flops);
    const double speeds[3] = {speed.flops, speed.attention_flops, speed.bytes_per_s};
    for (int i = 0; i < 3; i++)
        if (!isfinite(speeds[i]) || speeds[i] < 1e5) {
            printf("FAIL speed %d is %g\n", i, speeds[i]);
            n_failed++;
        }
}

int main(void) {
    glm_checkpoint *checkpoint = NULL;
    help_require(glm_checkpoint_open(help_needle_model(), &checkpoint), "open");
    check_times(checkpoint);
    check_measured(checkpoint, "bf16", RT_BF16);
    check_measured(checkpoint, "f32", RT_F32);
    check_measured(checkpoint, "int8", RT_INT8);
    check_measured(checkpoint, "int4", RT_INT4);
    check_measured(checkpoint, "fp8", RT_FP8);
    glm_checkpoint_close(checkpoint);
    return n_failed > 0;
}
