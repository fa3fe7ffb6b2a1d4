/* After a call to CUDA that was refused while keys and values came window by window, the step that failed, taken again, has
 * the bits that it has without one: a step of decode, and a pass of several sequences of one. A sequence that has attended to
 * one window and not to the next leaves nothing behind.
 *
 * Method: a book that the CPU made, of an extent and some tokens, on a GPU that tests/standin plays, whose memory does not
 * hold it: two windows a layer. Once for every few calls of a step, but waits: after one of those that fails nothing goes on. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "help_check.h"
#include "help_dir.h"
#include "help_engine.h"
#include "help_model.h"
#include "runtime/base/size.h"
#include "standin/standin_cuda.h"
#include "standin/standin_plain.h"

enum { EXTENT = 4096, N_BOOK = EXTENT + 70, MAX_LEN = EXTENT + 1024, VOCAB = 272 };

static int32_t ids[N_BOOK + 1];
static int n_failed;
static const char *dir;

static glm_engine *open_on(const char *device, int64_t kv_bytes) {
    return help_engine_open_in(dir, (glm_options){.model_dir = help_model_for_gpu(false),
                                            .device = device,
                                            .device_kv_bytes = kv_bytes,
                                            .max_len = MAX_LEN,
                                            .kv_window_tokens = EXTENT,
                                            .chunk = 128});
}

/* A window of one extent, and room for the unfinished one of each layer. */
static int64_t less_memory(void) {
    glm_engine *engine = open_on("cuda", 0);
    const glm_plan plan = *glm_engine_plan(engine);
    glm_engine_close(engine);
    const int64_t extent_bytes = EXTENT / 128 * plan.kv_page_bytes;
    return glm_plan_kv_here(&plan) - 2 * rt_div_up(MAX_LEN, 128) * plan.kv_page_bytes -
           (plan.kv_window_extents - 1) * extent_bytes + 2 * extent_bytes + RT_MIB / 2;
}

static rt_status decode(glm_session *session) {
    return glm_decode(&session, ids + N_BOOK, 1);
}

static rt_status together(glm_session *session) {
    const int32_t *added = ids + N_BOOK;
    const int64_t one = 1;
    return glm_prefill_together(&session, &added, &one, 1);
}

static void take(glm_session *session, rt_status (*step)(glm_session *session), float *row) {
    glm_session_truncate(session, N_BOOK);
    help_require(step(session), "a step");
    help_engine_row(session, row, VOCAB);
}

static void check(const char *what, glm_session *session, rt_status (*step)(glm_session *session),
        int64_t every) {
    standin_cuda *gpu = standin_cuda_get();
    float right[VOCAB], got[VOCAB];
    int64_t n_refused = 0;
    take(session, step, right);
    const int64_t before = gpu->n_calls;
    take(session, step, right);
    const int64_t n_calls = gpu->n_calls - before;
    for (int64_t at = 1; at <= n_calls; at += every) {
        glm_session_truncate(session, N_BOOK);
        gpu->fail_at = gpu->n_calls + at;
        n_refused += step(session) != RT_OK;
        gpu->fail_at = 0;
        take(session, step, got);
        if (memcmp(right, got, sizeof got) == 0) continue;
        printf("FAIL: %s: other logits after call %lld failed\n", what, (long long)at);
        n_failed++;
    }
    printf("%s: %lld of %lld calls refused\n", what, (long long)n_refused, (long long)n_calls);
    n_failed += n_refused == 0;
}

int main(void) {
    glm_session *session = NULL;
    glm_reuse reuse;
    const bool is_fast = getenv("GLM_TEST_FAST") != NULL;
    dir = help_dir();
    standin_plain_use(true);
    standin_cuda_get()->waits_well = true;
    standin_cuda_get()->is_unguarded = true;
    help_engine_ids(ids, N_BOOK + 1, 23);
    glm_engine *engine = open_on("cpu", 0);
    help_engine_keep(engine, ids, N_BOOK, "book");
    glm_engine_close(engine);
    engine = open_on("cuda", less_memory());
    if (glm_engine_plan(engine)->kv_pinned_tokens >= N_BOOK) {
        printf("FAIL: the GPU's memory was to hold less\n");
        n_failed++;
    }
    help_require(glm_session_create(engine, MAX_LEN, &session), "session");
    help_require(glm_session_restore(session, ids, N_BOOK, &reuse), "restore");
    if (reuse.n_tokens < N_BOOK)
        help_require(
                glm_prefill(session, ids + reuse.n_tokens, N_BOOK - reuse.n_tokens), "prefill");
    check("decode", session, decode, is_fast ? 9 : 3);
    check("together", session, together, is_fast ? 9 : 3);
    glm_session_free(session);
    glm_engine_close(engine);
    return n_failed ? 1 : 0;
}
