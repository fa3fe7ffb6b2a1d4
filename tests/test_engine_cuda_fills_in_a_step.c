/* A decode step that fills an extent, which then leaves the GPU's memory for the disk: whenever the host waits for rows that go,
 * the device has what follows in the step queued, in every layer; nor does the device wait for what could not go on beside a
 * kernel. And no bit of a logit is another, of that step and of the next, which reads the extent.
 *
 * Method: a book that the CPU made is continued on a GPU that tests/standin plays: by two steps, the first of which fills its
 * extent; with memory for all of it, and for unfinished extents alone. */
#include <stdio.h>
#include <string.h>

#include "help_check.h"
#include "help_dir.h"
#include "help_engine.h"
#include "help_model.h"
#include "runtime/base/size.h"
#include "standin/standin_cuda.h"
#include "standin/standin_plain.h"

enum { EXTENT = 4096, N_BOOK = EXTENT - 1, MAX_LEN = EXTENT + 1024, N_STEPS = 2, VOCAB = 272 };

static int32_t ids[MAX_LEN];
static glm_plan plan; /* of the last engine */
static const char *dir;
static int n_failed;

static void expect(int64_t number, int64_t want, const char *what) {
    if (number == want) return;
    printf("FAIL: %s: %lld, not %lld\n", what, (long long)number, (long long)want);
    n_failed++;
}

static glm_engine *open_on(const char *device, int64_t kv_bytes) {
    glm_engine *engine =
            help_engine_open_in(dir, (glm_options){.model_dir = help_model_for_gpu_of(2),
                                             .device = device,
                                             .device_kv_bytes = kv_bytes,
                                             .host_kv_bytes = kv_bytes > 0,
                                             .max_len = MAX_LEN,
                                             .kv_window_tokens = EXTENT,
                                             .chunk = 384});
    plan = *glm_engine_plan(engine);
    return engine;
}

/* The host waits for the step's logits, and then alone the device has nothing to do. */
static void take_step(glm_session *session, const int32_t *id, bool fills, float *row) {
    standin_cuda *gpu = standin_cuda_get();
    gpu->n_drained = gpu->n_exposed = 0;
    help_require(glm_decode(&session, id, 1), "decode");
    help_engine_row(session, row, VOCAB);
    if (!fills) return;
    expect(gpu->n_drained, 1, "waits of the host that leave the device nothing to do");
    expect(gpu->n_exposed, 0, "waits of the device for what could not go on beside it");
}

static void continue_book(int64_t kv_bytes, float (*rows)[VOCAB]) {
    glm_session *session = NULL;
    glm_reuse reuse;
    glm_engine *engine = open_on("cuda", kv_bytes);
    help_require(glm_session_create(engine, MAX_LEN, &session), "session");
    help_require(glm_session_restore(session, ids, N_BOOK, &reuse), "restore");
    expect(reuse.n_tokens, N_BOOK - 1, "tokens that were found");
    help_require(glm_prefill(session, &ids[N_BOOK - 1], 1), "prefill");
    for (int i = 0; i < N_STEPS; i++) take_step(session, &ids[N_BOOK + i], i == 0, rows[i]);
    glm_session_free(session);
    glm_engine_close(engine);
}

/* Room for the unfinished extents of both layers, and a window of one. */
static int64_t budget(void) {
    const int64_t extent_bytes = EXTENT / 128 * plan.kv_page_bytes;
    return glm_plan_kv_here(&plan) - 2 * rt_div_up(MAX_LEN, 128) * plan.kv_page_bytes -
           (plan.kv_window_extents - 1) * extent_bytes + 2 * extent_bytes + RT_MIB / 2;
}

int main(void) {
    static float all[N_STEPS][VOCAB], less[N_STEPS][VOCAB];
    dir = help_dir();
    standin_plain_use(true);
    standin_cuda_get()->is_unguarded = true;
    help_engine_ids(ids, MAX_LEN, 37);
    glm_engine *engine = open_on("cpu", 0);
    help_engine_keep(engine, ids, N_BOOK, "book");
    glm_engine_close(engine);
    continue_book(0, all);
    const int64_t kv_bytes = budget();
    standin_cuda_get()->order = STANDIN_COPIES;
    continue_book(kv_bytes, less);
    expect(plan.kv_pinned_tokens, 0, "tokens that stay in the GPU's memory");
    if (memcmp(all, less, sizeof all) != 0) expect(1, 0, "other logits where the extent leaves");
    return n_failed ? 1 : 0;
}
