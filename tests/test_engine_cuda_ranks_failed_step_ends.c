/* Two ranks that are GPUs, and a step of decode whose keys and values come and go: whatever call to CUDA or cuBLASLt fails on one, or what
 * it queued, the step ends on both, and so does the program. Where all could agree on the failure the step that is taken
 * again has the bits of one that did not fail; otherwise the group is over. Where it was only that a graph could not be made, no
 * rank has one.
 *
 * Method: a book goes on through windows on what plays two GPUs and NCCL, once for some of the calls of its first two steps. A rank that
 * waits for sums which the other one has not queued, or which never run there, would wait for ever: an alarm ends the test then. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "help_checkpoint.h"
#include "help_engine.h"
#include "help_needle.h"
#include "help_ranks.h"
#include "runtime/base/size.h"
#include "standin/standin_cuda.h"
#include "standin/standin_plain.h"

enum {
    N_BOOK = 4096 + 70,
    N_MAX = N_BOOK + 64,
    N_STEPS = 2,
    N_LAYERS = 2,
    VOCAB = HELP_TWO_RANKS_VOCAB,
    FOR_EVER_S = 120
};

static const char *model;
static char dir[4096];
static int32_t ids[N_MAX];
static float right[N_STEPS][VOCAB], got[N_STEPS][VOCAB];
static int64_t n_calls[N_STEPS]; /* of a step in which nothing fails */
static int64_t n_right, n_over;
static int n_failed;

static glm_engine *open_on(const char *device, int n_ranks, int64_t kv_bytes) {
    const glm_options options = {.model_dir = model,
            .device = device,
            .tensor_parallel = n_ranks,
            .device_kv_bytes = kv_bytes,
            .max_len = N_MAX,
            .chunk = 128};
    return help_engine_open_in(dir, options);
}

static void write_book(void) {
    (void)snprintf(dir, sizeof dir, "%s/r%%r", ckh_make_dir());
    glm_engine *engine = open_on("cpu", 1, 0);
    help_engine_keep(engine, ids, N_BOOK, "text");
    glm_engine_close(engine);
}

/* So that nothing of the book stays. */
static int64_t little(void) {
    glm_engine *engine = open_on("cuda", 2, 0);
    const glm_plan *plan = glm_engine_plan(engine);
    const int64_t pages =
            N_LAYERS * rt_div_up(N_MAX, 128) + (plan->kv_window_extents - 1) * 4096 / 128;
    const int64_t bytes = glm_plan_kv_here(plan) - pages * plan->kv_page_bytes + RT_MIB / 2;
    glm_engine_close(engine);
    return bytes;
}

static void complain(int64_t step, int64_t at, const char *what) {
    printf("FAIL: call %lld of step %lld: %s\n", (long long)at, (long long)step, what);
    n_failed++;
}

/* One step, of which call `at` fails, 0: none. */
static rt_status take(glm_session *session, int64_t step, int64_t at) {
    standin_cuda *gpu = standin_cuda_get();
    gpu->n_calls = 0;
    gpu->fail_at = at;
    const rt_status status = glm_decode(&session, &ids[N_BOOK + step], 1);
    gpu->fail_at = 0;
    if (status == RT_OK) help_engine_row(session, got[step], VOCAB);
    return status;
}

/* Steps up to `last`, of which call `at` fails; that one again, where it came to an error. */
static void go_on(glm_session *session, int64_t last, int64_t at) {
    for (int64_t i = 0; i < last; i++) help_require(take(session, i, 0), "a step before");
    const rt_status status = take(session, last, at);
    if (at == 0) n_calls[last] = standin_cuda_get()->n_calls;
    const rt_status again = status == RT_OK ? RT_OK : take(session, last, 0);
    if (again != RT_OK && again != RT_EPEER) complain(last, at, rt_error_text());
    if (again == RT_OK && at > 0 && memcmp(got[last], right[last], sizeof right[last]) != 0)
        complain(last, at, "other logits");
    n_right += again == RT_OK;
    n_over += again != RT_OK;
}

static void run(int64_t kv_bytes, int64_t last, int64_t at) {
    glm_session *session = NULL;
    glm_reuse reuse = {0};
    (void)alarm(FOR_EVER_S);
    glm_engine *engine = open_on("cuda", 2, kv_bytes);
    help_require(glm_session_create(engine, N_MAX, &session), "session");
    help_require(glm_session_restore(session, ids, N_BOOK, &reuse), "restore");
    help_require(glm_prefill(session, ids + reuse.n_tokens, N_BOOK - reuse.n_tokens), "prefill");
    go_on(session, last, at);
    glm_session_free(session);
    glm_engine_close(engine);
    (void)alarm(0);
}

int main(int argc, char **argv) {
    const int64_t every = getenv("GLM_TEST_FAST") ? 50 : 12;
    int exit_code = 0;
    (void)setenv("STANDIN_CUDA_DEVICES", "2", 1);
    if (glm_rank_is_asked(argc, argv, &exit_code)) return exit_code;
    standin_plain_use(true); /* the kernels have tests of their own */
    help_engine_ids(ids, N_MAX, 23);
    model = help_model_of_two_ranks();
    write_book();
    const int64_t kv_bytes = little();
    for (int64_t step = 0; step < N_STEPS; step++) run(kv_bytes, step, 0);
    memcpy(right, got, sizeof right);
    for (int kind = 0; kind < 2; kind++) {
        standin_cuda_get()->fails_in_kernel = kind == 1;
        for (int64_t step = 0; step < N_STEPS; step++)
            for (int64_t at = 1 + 3 * kind; at <= n_calls[step]; at += every)
                run(kv_bytes, step, at);
    }
    if (n_right == N_STEPS || n_over == 0) complain(0, 0, "none is taken again, or none is over");
    printf("%lld and %lld calls: %lld steps as they should be, %lld groups over, %d not as they should be\n",
            (long long)n_calls[0], (long long)n_calls[1], (long long)n_right, (long long)n_over,
            n_failed);
    return n_failed ? 1 : 0;
}
