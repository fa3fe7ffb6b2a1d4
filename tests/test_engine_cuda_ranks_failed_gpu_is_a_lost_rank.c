/* A GPU of two that fails is a rank that is lost, rank 0, too: RT_EPEER, whoever was first to notice. Where nobody calls CUDA, and
 * nothing is queued, the thread that watches the GPU does; where a call of a step does, its ranks do not agree on an error of
 * that call; where the engine is closed, while sums are queued, no rank waits for one that never comes.
 *
 * Method: what plays two GPUs and NCCL, of which rank 0's fails between two steps; or what call `at` of a step of decode, or of a
 * prefill, queues fails, at once, so that a later call is told, or when it is waited for. The plan has a disk: ranks agree on what a
 * layer came to. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "help_dir.h"
#include "help_engine.h"
#include "help_needle.h"
#include "help_ranks.h"
#include "runtime/base/log.h"
#include "standin/standin_cuda.h"
#include "standin/standin_plain.h"

enum { N_IDS = 5, MAX_LEN = 8192, N_LAYERS = 2, N_CALLS = 60, EVERY = 6, FOR_EVER_S = 120 };

static int32_t ids[N_IDS + 2];
static int n_failed;

static void complain(const char *what, int64_t at) {
    printf("FAIL: %s (%lld): %s\n", what, (long long)at, rt_error_text());
    n_failed++;
}

static void give_up(int signal) {
    static const char text[] = "FAIL: a rank waits for one whose GPU has failed\n";
    (void)signal;
    (void)!write(STDOUT_FILENO, text, sizeof text - 1);
    _exit(1);
}

static glm_engine *open_on(int32_t n_ranks, int64_t kv_bytes) {
    const glm_options options = {.model_dir = help_model_of_two_ranks(),
            .device = "cuda",
            .tensor_parallel = n_ranks,
            .device_kv_bytes = kv_bytes,
            .max_len = MAX_LEN,
            .chunk = 128};
    return help_engine_open_in(help_dir_in_memory(), options);
}

/* Of less than MAX_LEN tokens, so that there is a disk, and of all that there are. */
static int64_t some_kv(void) {
    glm_engine *engine = open_on(2, 0);
    const int64_t bytes = help_engine_little_kv(glm_engine_plan(engine), N_LAYERS);
    glm_engine_close(engine);
    return bytes;
}

static glm_session *begin(glm_engine *engine) {
    glm_session *session = NULL;
    help_require(glm_session_create(engine, MAX_LEN, &session), "session");
    help_require(glm_prefill(session, ids, N_IDS), "prefill");
    help_require(glm_decode(&session, &ids[N_IDS], 1), "a step");
    return session;
}

static bool is_noticed(const glm_engine *engine) {
    const double begin = rt_now();
    const struct timespec nap = {.tv_nsec = 10000000};
    while (glm_engine_check(engine) == RT_OK && rt_now() - begin < 10.0)
        (void)nanosleep(&nap, NULL);
    return glm_engine_check(engine) == RT_EPEER && strstr(rt_error_text(), "the GPU has failed");
}

static void check_idle(int64_t kv_bytes) {
    glm_engine *engine = open_on(2, kv_bytes);
    glm_session *session = begin(engine);
    standin_cuda_break();
    if (!is_noticed(engine)) complain("a GPU that fails where nobody calls is not noticed", 0);
    if (glm_decode(&session, &ids[N_IDS], 1) != RT_EPEER)
        complain("a step on a GPU that has failed", 0);
    glm_session_free(session);
    glm_engine_close(engine);
}

/* Items of a prefill are queued, with sums, and nobody waits for them: the engine is closed. */
static void check_close(void) {
    glm_engine *engine = open_on(2, 0);
    glm_session *session = begin(engine);
    glm_prefill_progress progress;
    help_require(glm_prefill_begin(session, ids, N_IDS, NULL, 0), "the prefill");
    help_require(glm_prefill_step(session, &progress), "an item");
    glm_prefill_abort(session);
    standin_cuda_break();
    glm_session_free(session);
    glm_engine_close(engine);
}

/* Whether it failed, a step of decode or a prefill. */
static bool check_step(int64_t kv_bytes, bool is_prefill, int64_t at) {
    standin_cuda *gpu = standin_cuda_get();
    glm_engine *engine = open_on(2, kv_bytes);
    glm_session *session = begin(engine);
    gpu->n_calls = 0;
    gpu->fail_at = at;
    const rt_status status = is_prefill ? glm_prefill(session, &ids[N_IDS], 2)
                                        : glm_decode(&session, &ids[N_IDS + 1], 1);
    gpu->fail_at = 0;
    if (status != RT_OK && status != RT_EPEER)
        complain(is_prefill ? "it failed in a prefill, and is no lost rank"
                            : "it failed in a step, and is no lost rank",
                at);
    glm_session_free(session);
    glm_engine_close(engine);
    return status != RT_OK;
}

int main(int argc, char **argv) {
    int exit_code = 0;
    int n = 0;
    (void)setenv("STANDIN_CUDA_DEVICES", "2", 1);
    (void)setenv("STANDIN_CUDA_PLAIN", "1", 1); /* another rank's, too */
    if (glm_rank_is_asked(argc, argv, &exit_code)) return exit_code;
    (void)signal(SIGALRM, give_up);
    (void)alarm(FOR_EVER_S);
    standin_plain_use(true);
    help_engine_ids(ids, N_IDS + 2, 3);
    const int64_t kv_bytes = some_kv();
    check_idle(kv_bytes);
    check_close();
    standin_cuda_get()->fails_in_kernel = true;
    for (int64_t at = 1; at <= N_CALLS; at += EVERY) {
        standin_cuda_get()->order = at / EVERY % 2 == 0 ? STANDIN_EARLY : STANDIN_LATE;
        n += check_step(kv_bytes, false, at) + check_step(kv_bytes, true, at);
    }
    if (n == 0) complain("no step failed", 0);
    printf("%d steps failed, %d not as they should\n", n, n_failed);
    return n_failed ? 1 : 0;
}
