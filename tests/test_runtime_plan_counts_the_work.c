/* The plan's FLOP are those that a prefill does: what its time is expected from, and what progress counts, attention's by the
 * time they take.
 *
 * Method: the linear layers of an engine are counted as they are called, 2 FLOP a weight and row. What the plan has
 * beyond them is attention, 4 a head, dim and visible key: all rows' in every layer but the last, there the last
 * row's. Progress ends where it said it would, with several rows wanted, too, and after two spans, and at the time that the plan
 * has. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "help_needle.h"
#include "runtime/costs.h"
#include "runtime/engine.h"
#include "runtime/plan_speed.h"

static void (*linear)(const glm_ops *ops, const glm_linear *weight, const float *bias,
        int64_t first_out, int64_t n_outs, glm_rows x, int64_t n, glm_rows y);
static double counted;

static void count_linear(const glm_ops *ops, const glm_linear *weight, const float *bias,
        int64_t first_out, int64_t n_outs, glm_rows x, int64_t n, glm_rows y) {
    counted += 2.0 * (double)weight->n_in * (double)n_outs * (double)n;
    linear(ops, weight, bias, first_out, n_outs, x, n, y);
}

static void expect(const char *what, double got, double want) {
    if (fabs(got - want) <= 1e-9 * want) return;
    printf("FAIL %s: %.17g, wanted %.17g\n", what, got, want);
    exit(1);
}

/* Through all steps; what they did by progress, which must be what it was to be. */
static double prefill(
        glm_session *session, const int32_t *ids, int64_t n, const int64_t *at, int64_t n_at) {
    glm_prefill_progress progress = {0};
    double before = 0.0;
    help_require(glm_prefill_begin(session, ids, n, at, n_at), "begin");
    while (!progress.is_done) {
        help_require(glm_prefill_step(session, &progress), "step");
        if (progress.work_done < before) expect("progress goes on", progress.work_done, before);
        before = progress.work_done;
    }
    expect("progress at its end", progress.work_done, progress.work_total);
    return progress.work_done;
}

static double attention_flop(const glm_config *c, int64_t n) {
    const double all = (double)n * ((double)n + 1.0) / 2.0;
    const double keys = (c->n_layers - 1) * all + (double)n;
    return 4.0 * (double)c->n_heads * (double)c->head_dim * keys;
}

static void check(const char *dir, int64_t n) {
    const glm_options options = {.model_dir = dir,
            .max_len = n,
            .chunk = 128,
            .span = 4096,
            .max_logits = 3,
            .threads = 1};
    glm_engine *engine = NULL;
    glm_session *session = NULL;
    help_require(glm_engine_open(&options, &engine), "open");
    help_require(glm_session_create(engine, n, &session), "session");
    linear = engine->ops.linear;
    engine->ops.linear = count_linear;
    counted = 0.0;
    int32_t *ids = calloc((size_t)n, sizeof *ids);
    for (int64_t i = 0; i < n; i++) ids[i] = (int32_t)(i * 7 % 60);

    const glm_config *config = glm_engine_config(engine);
    const int64_t last = n - 1;
    const glm_plan *plan = glm_engine_plan(engine);
    const double work = prefill(session, ids, n, &last, 1);
    const double linear_flop = counted - glm_head_flop(config, 1);
    const double attention = attention_flop(config, n);
    expect("planned, and what was done", linear_flop + attention, plan->prefill_flop);
    expect("the work of what was done, and what progress came to", work,
            linear_flop + attention * plan->machine_flops / plan->attention_flops);
    expect("and the time that is planned for it", glm_session_planned_s(session, work),
            linear_flop / plan->machine_flops + attention / plan->attention_flops);
    const int64_t wanted[3] = {5, n / 2, last};
    glm_session_truncate(session, 0);
    (void)prefill(session, ids, n, wanted, 3);
    free(ids);
    glm_session_free(session);
    glm_engine_close(engine);
}

/* Of 2 cores: 4 ranks of a thread have half of what one measures alone, 2 all of it; threads beyond the cores were
 * measured as such. */
static void check_shares(void) {
    static const struct {
        int32_t n_ranks, n_threads;
        double share;
    } cases[] = {{1, 1, 1.0}, {1, 64, 1.0}, {2, 1, 1.0}, {4, 1, 0.5}, {4, 2, 0.25}, {2, 64, 0.5}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        glm_speed speed = {.flops = 8e9, .attention_flops = 6e9, .bytes_per_s = 4e9};
        glm_speed_share(&speed, cases[i].n_ranks, cases[i].n_threads, 2);
        expect("a rank's share of the cores", speed.flops, 8e9 * cases[i].share);
        expect("and of attention by them", speed.attention_flops, 6e9 * cases[i].share);
        expect("and of what they read", speed.bytes_per_s, 4e9 * cases[i].share);
    }
}

int main(void) {
    check_shares();
    check("tests/golden/native_bf16_kv4", 300);
    check(help_needle_model(), getenv("GLM_TEST_FAST") ? 300 : 4500);
    return 0;
}
