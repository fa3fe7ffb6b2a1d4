/* Whatever call to CUDA or cuBLASLt fails in a step of decode that is taken layer by layer, in one that makes graphs of the layers, or
 * in one that launches them, is an error, or a step without graphs where it is only that one of them cannot be made: the same
 * bits, then and in the next steps. A step that is taken again, behind an error, has the bits of one that did not fail, or
 * is an error; no graph is made in it where none of its kind was queued to its end. Nothing is left.
 *
 * Method: a book that comes through windows, as in test_engine_cuda_graphs_of_layers, goes on on a GPU that tests/standin plays, once
 * for every ninth call of its first step of decode, every third of the second, and every one of the third, few of which launch
 * a graph. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "help_dir.h"
#include "help_engine.h"
#include "help_model.h"
#include "help_needle.h"
#include "standin/standin_cuda.h"
#include "standin/standin_plain.h"

enum { N_BOOK = 4096 + 70, N_MAX = N_BOOK + 64, N_STEPS = 4, N_LAYERS = 2, VOCAB = 272 };

static char dir[4096];
static int32_t ids[N_MAX];
static float right[N_STEPS][VOCAB], got[N_STEPS][VOCAB];
static int64_t n_calls[N_STEPS]; /* of a step in which nothing fails */
static int64_t n_again;          /* steps that were taken again */
static int step_at;              /* at hand: this step, */
static int64_t call_at;          /* and its call that fails */
static int n_failed;

static void complain(const char *what) {
    printf("FAIL: call %lld of step %d: %s\n", (long long)call_at, step_at, what);
    n_failed++;
}

static glm_engine *open_on(const char *device, int64_t kv_bytes) {
    const glm_options options = {.model_dir = help_model_for_gpu_of(N_LAYERS),
            .device = device,
            .device_kv_bytes = kv_bytes,
            .max_len = N_MAX,
            .chunk = 128};
    return help_engine_open_in(dir, options);
}

static void write_book(void) {
    (void)snprintf(dir, sizeof dir, "%s", help_dir_in_memory());
    glm_engine *engine = open_on("cpu", 0);
    help_engine_keep(engine, ids, N_BOOK, "text");
    glm_engine_close(engine);
}

/* So that nothing of the book stays. */
static int64_t little(void) {
    glm_engine *engine = open_on("cuda", 0);
    const int64_t bytes = help_engine_little_kv(glm_engine_plan(engine), N_LAYERS);
    glm_engine_close(engine);
    return bytes;
}

/* Behind an error. */
static void try_again(glm_session *session, int in) {
    const int64_t before = standin_cuda_get()->n_graph_launches;
    if (glm_decode(&session, &ids[N_BOOK + in], 1) != RT_OK) return;
    help_engine_row(session, got[in], VOCAB);
    if (memcmp(got[in], right[in], sizeof right[in]) != 0) complain("other logits the second time");
    const bool is_behind = call_at > n_calls[0] - 2; /* all was queued then */
    if (in == 0 && !is_behind && standin_cuda_get()->n_graph_launches > before)
        complain("graphs, and no step was queued to its end");
    n_again++;
}

/* Steps, of which call `at` of the one `in` fails; what that one came to. */
static rt_status steps(glm_session *session, int in, int64_t at) {
    standin_cuda *gpu = standin_cuda_get();
    for (int i = 0; i < N_STEPS; i++) {
        gpu->n_calls = 0;
        gpu->fail_at = i == in ? at : 0;
        const rt_status status = glm_decode(&session, &ids[N_BOOK + i], 1);
        gpu->fail_at = 0;
        if (status != RT_OK) try_again(session, in);
        if (status != RT_OK) return status;
        if (at == 0) n_calls[i] = gpu->n_calls;
        help_engine_row(session, got[i], VOCAB);
    }
    return RT_OK;
}

static rt_status run(int64_t kv_bytes, int in, int64_t at) {
    glm_session *session = NULL;
    glm_reuse reuse = {0};
    glm_engine *engine = open_on("cuda", kv_bytes);
    help_require(glm_session_create(engine, N_MAX, &session), "session");
    help_require(glm_session_restore(session, ids, N_BOOK, &reuse), "restore");
    help_require(glm_prefill(session, ids + reuse.n_tokens, N_BOOK - reuse.n_tokens), "prefill");
    standin_cuda_get()->fails_once_recording = false;
    const rt_status status = steps(session, in, at);
    glm_session_free(session);
    glm_engine_close(engine);
    return status;
}

static bool check(int64_t kv_bytes, int in, int64_t at) {
    const standin_cuda *gpu = standin_cuda_get();
    step_at = in;
    call_at = at;
    const rt_status status = run(kv_bytes, in, at);
    const bool is_without = gpu->fails_once_recording;
    if (status == RT_OK && !is_without) complain("its failure was not noticed");
    if (is_without && memcmp(got, right, sizeof got) != 0) complain("other logits");
    if (status != RT_OK && (is_without || (status != RT_EDEVICE && status != RT_ENOMEM)))
        complain(rt_error_text());
    if (gpu->n_objects || gpu->device_bytes || gpu->pinned_bytes) complain("something is left");
    return is_without;
}

int main(void) {
    const int64_t every = getenv("GLM_TEST_FAST") ? 11 : 3;
    const int64_t strides[N_STEPS] = {3 * every, every, every == 3 ? 1 : every};
    int64_t n_without = 0;
    standin_plain_use(true); /* the kernels have tests of their own */
    help_engine_ids(ids, N_MAX, 22);
    write_book();
    const int64_t kv_bytes = little();
    help_require(run(kv_bytes, -1, 0), "without a failure");
    memcpy(right, got, sizeof right);
    for (int in = 0; in <= 2; in++)
        for (int64_t at = 1; at <= n_calls[in]; at += strides[in])
            n_without += check(kv_bytes, in, at);
    if (n_without == 0) complain("none that only made a graph");
    if (n_again == 0) complain("none that was taken again");
    printf("%lld, %lld and %lld calls, %lld without graphs, %lld taken again, %d not as they should be\n",
            (long long)n_calls[0], (long long)n_calls[1], (long long)n_calls[2],
            (long long)n_without, (long long)n_again, n_failed);
    return n_failed ? 1 : 0;
}
