/* Whatever call to CUDA or cuBLASLt fails, it is an error with a text, nothing stays behind, and the engine can be
 * opened again: loading, prefill, decode as it comes, decode by graph, tokens that it draws, a fork; and so is a kernel
 * that fails. But where it is only that a graph cannot be made the logits are the same without. Likewise where weights come layer by layer.
 *
 * Method: a tiny random model on a GPU that tests/standin plays, once for each call that there is to make. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "help_model.h"
#include "runtime/runtime.h"
#include "standin/standin_cuda.h"
#include "standin/standin_plain.h"

enum { N_IDS = 3, N_STEPS = 3, STREAMED_WEIGHTS = 900 * 1024, VOCAB = 272 };

static bool streams;     /* weights come layer by layer */
static float row[VOCAB]; /* of the last step but a fork's */

/* Its last page is copied; the step is a graph that is there already. */
static rt_status use_fork(const glm_session *session, int32_t id) {
    glm_session *fork = NULL;
    RT_TRY(glm_session_fork(session, glm_session_length(session), 64, &fork));
    const rt_status status = glm_decode(&fork, &id, 1);
    glm_session_free(fork);
    return status;
}

static rt_status use(glm_session *session) {
    const int32_t ids[N_IDS] = {1, 2, 3};
    const float *logits = NULL;
    int64_t n_rows = 0;
    RT_TRY(glm_prefill(session, ids, N_IDS));
    for (int i = 0; i < (streams ? 1 : N_STEPS); i++) {
        const glm_sampling greedy = {.top_p = 1.0f};
        int32_t id = 0;
        RT_TRY(glm_session_choose(session, 260, &greedy, i, &id));
        RT_TRY(glm_decode(&session, &ids[0], 1));
    }
    RT_TRY(glm_session_logits(session, &logits, &n_rows));
    memcpy(row, logits, sizeof row);
    return streams ? RT_OK : use_fork(session, ids[1]);
}

static char words[1024]; /* of what failed */
static int64_t
        n_calls_used; /* until the engine is closed: the answer is there then, and nobody to tell */

static rt_status run(void) {
    glm_engine *engine = NULL;
    glm_session *session = NULL;
    const glm_options options = {.model_dir = help_model_for_gpu(streams),
            .device = "cuda",
            .device_weights_bytes = streams ? STREAMED_WEIGHTS : 0,
            .max_len = streams ? 64 : 256,
            .threads = 1};
    rt_status status = glm_engine_open(&options, &engine);
    if (status == RT_OK && streams != (glm_engine_plan(engine)->n_streamed_layers > 0)) abort();
    if (status == RT_OK) status = glm_session_create(engine, 64, &session);
    if (status == RT_OK) status = use(session);
    n_calls_used = standin_cuda_get()->n_calls;
    (void)snprintf(words, sizeof words, "%s", rt_error_text());
    glm_session_free(session);
    glm_engine_close(engine);
    return status;
}

static int check(int64_t at, rt_status status, const float *right) {
    const standin_cuda *gpu = standin_cuda_get();
    const bool is_of_graph = gpu->fails_once_recording && memcmp(row, right, sizeof row) == 0;
    if (status == RT_OK && !is_of_graph) {
        printf("FAIL call %lld: its failure was not noticed\n", (long long)at);
        return 1;
    }
    if (status != RT_OK && status != RT_EDEVICE && status != RT_ENOMEM &&
            status != RT_EUNSUPPORTED) {
        printf("FAIL call %lld: %s: %s\n", (long long)at, rt_status_name(status), rt_error_text());
        return 1;
    }
    if (status != RT_OK && strstr(words, "0 to 0 numbers")) {
        printf("FAIL call %lld: %s\n", (long long)at, words);
        return 1;
    }
    if (gpu->n_objects == 0 && gpu->device_bytes == 0 && gpu->pinned_bytes == 0) return 0;
    printf("FAIL call %lld (%s): %lld objects, %lld bytes are left\n", (long long)at,
            rt_error_text(), (long long)gpu->n_objects, (long long)gpu->device_bytes);
    return 1;
}

/* Whatever is called when a kernel has failed says that it may not be to blame; and that is what is told, whatever else
 * fails while the engine is closed. */
static int check_words(int64_t at) {
    if (strstr(words, "GLM_SYNC=1") && strcmp(words, rt_error_text()) == 0) return 0;
    printf("FAIL call %lld, what it queued: %s\n", (long long)at, words);
    return 1;
}

static int fail_all(int64_t kind_steps[2]) {
    standin_cuda *gpu = standin_cuda_get();
    int n_failed = 0;
    gpu->fail_at = gpu->n_calls = 0;
    gpu->fails_in_kernel = false;
    if (run() != RT_OK) {
        printf("FAIL: without a failure: %s\n", rt_error_text());
        return 1;
    }
    const int64_t n_calls = n_calls_used;
    float right[VOCAB];
    memcpy(right, row, sizeof right);
    for (int kind = 0; kind < 2; kind++) {
        gpu->fails_in_kernel = kind == 1;
        for (int64_t at = 1; at <= n_calls; at += kind_steps[kind]) {
            gpu->n_calls = 0;
            gpu->fail_at = at;
            const rt_status status = run();
            /* Not every call queues something that could fail later. */
            if (kind == 0 || status != RT_OK) n_failed += check(at, status, right);
            if (kind == 1 && status != RT_OK) n_failed += check_words(at);
        }
    }
    gpu->fail_at = 0;
    if (run() != RT_OK) {
        printf("FAIL: after the failures: %s\n", rt_error_text());
        n_failed++;
    }
    printf("%lld calls, %d of their failures not as they should be\n", (long long)n_calls,
            n_failed);
    return n_failed;
}

int main(void) {
    const bool is_fast = getenv("GLM_TEST_FAST") != NULL;
    standin_plain_use(is_fast); /* the kernels have sanitized tests of their own */
    int n_failed = fail_all((int64_t[2]){is_fast ? 7 : 1, 7});
    standin_cuda_get()->order = STANDIN_EARLY; /* not waits find what has failed, but other calls */
    n_failed += fail_all((int64_t[2]){997, is_fast ? 37 : 11});
    standin_cuda_get()->order = STANDIN_LATE;
    streams = true;
    n_failed += fail_all((int64_t[2]){is_fast ? 37 : 7, 61});
    return n_failed ? 1 : 0;
}
