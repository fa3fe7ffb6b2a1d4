/* Rows that come to a GPU from the host's memory are on their way when the host forgets them, and takes their place for others
 * that come from the disk: what the GPU gets is what was there before.
 *
 * Method: a book of two extents and a little more, on a GPU that tests/standin plays, late, whose memory holds an unfinished
 * extent a layer, and a host's that holds two extents: those of the first layer, once they came from the disk. The
 * sequence is cut inside the second extent, and goes on: that comes to stay, in the first layer from the host's memory, where the
 * next layer's first extent is put at once. The same logits as with memory for all. */
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

enum {
    EXTENT = 4096,
    N_BOOK = 2 * EXTENT + 2,
    N_CUT = 2 * EXTENT - 100,
    N_MORE = 4,
    MAX_LEN = 2 * EXTENT + 1024,
    N_HELD = 2, /* extents in the host's memory */
    VOCAB = 272
};

static int32_t ids[MAX_LEN];
static glm_plan plan; /* of the last engine */
static const char *dir;

static int64_t rows_bytes_of_extent(void) {
    return 2 * 2 * EXTENT * 128 * 2;
}

static glm_engine *open_on(const char *device, int64_t kv_bytes) {
    glm_engine *engine = help_engine_open_in(
            dir, (glm_options){.model_dir = help_model_for_gpu_of(2),
                         .device = device,
                         .device_kv_bytes = kv_bytes,
                         .host_kv_bytes = kv_bytes > 0 ? N_HELD * rows_bytes_of_extent() : 0,
                         .max_len = MAX_LEN,
                         .kv_window_tokens = EXTENT,
                         .chunk = 384});
    plan = *glm_engine_plan(engine);
    return engine;
}

static void go_on(int64_t kv_bytes, float (*rows)[VOCAB]) {
    glm_session *session = NULL;
    glm_reuse reuse;
    glm_engine *engine = open_on("cuda", kv_bytes);
    help_require(glm_session_create(engine, MAX_LEN, &session), "session");
    help_require(glm_session_restore(session, ids, N_BOOK, &reuse), "restore");
    help_require(glm_prefill(session, ids + reuse.n_tokens, N_BOOK - reuse.n_tokens), "prefill");
    help_engine_row(session, rows[0], VOCAB);
    glm_session_truncate(session, N_CUT);
    if (reuse.n_tokens != N_BOOK - 1 || glm_session_length(session) != N_CUT) {
        printf("FAIL: %lld tokens are found, %lld left\n", (long long)reuse.n_tokens,
                (long long)glm_session_length(session));
        exit(1);
    }
    help_require(glm_prefill(session, ids, N_MORE), "prefill");
    help_engine_row(session, rows[1], VOCAB);
    help_require(glm_decode(&session, ids, 1), "decode");
    help_engine_row(session, rows[2], VOCAB);
    glm_session_free(session);
    glm_engine_close(engine);
}

int main(void) {
    static float all[3][VOCAB], less[3][VOCAB];
    dir = help_dir();
    standin_plain_use(true);
    standin_cuda_get()->is_unguarded = true;
    help_engine_ids(ids, MAX_LEN, 41);
    glm_engine *engine = open_on("cpu", 0);
    help_engine_keep(engine, ids, N_BOOK, "book");
    glm_engine_close(engine);
    go_on(0, all);
    const int64_t extent_bytes = EXTENT / 128 * plan.kv_page_bytes;
    go_on(glm_plan_kv_here(&plan) - 2 * rt_div_up(MAX_LEN, 128) * plan.kv_page_bytes -
                    (plan.kv_window_extents - 1) * extent_bytes + 2 * extent_bytes + RT_MIB / 2,
            less);
    if (plan.kv_pinned_tokens > 0 || plan.kv_rows_bytes != N_HELD * rows_bytes_of_extent()) {
        printf("FAIL: %lld tokens stay on the GPU, %lld bytes of rows in the host's memory\n",
                (long long)plan.kv_pinned_tokens, (long long)plan.kv_rows_bytes);
        return 1;
    }
    if (memcmp(all, less, sizeof all) == 0) return 0;
    for (int i = 0; i < 3; i++)
        if (memcmp(all[i], less[i], sizeof all[i]) != 0) printf("FAIL: other logits, row %d\n", i);
    return 1;
}
