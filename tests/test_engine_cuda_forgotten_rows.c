/* Rows that leave a GPU for the host's memory are on their way when nobody wants them any more, and their place there is given
 * to others: those that the host writes there meanwhile are what is read from it.
 *
 * Method: on a GPU that tests/standin plays, late, a sequence fills an extent that the disk has no room to keep: it goes to the
 * host's memory. The sequence is freed; a book, which the CPU made, comes from the disk through the same memory, and is read
 * from there by the next step. With and without the other sequence before it. And the engine is closed behind that one. */
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
    N_SHORT = EXTENT - 6,
    N_BOOK = EXTENT + 1,
    MAX_LEN = EXTENT + 1024,
    N_STEPS = 2,
    VOCAB = 272
};

static int32_t ids[2][MAX_LEN];
static glm_plan plan; /* of the last engine */
static const char *dir;

static glm_engine *open_on(const char *device, int64_t kv_bytes, int64_t disk_bytes) {
    glm_engine *engine =
            help_engine_open_in(dir, (glm_options){.model_dir = help_model_for_gpu_of(2),
                                             .device = device,
                                             .device_kv_bytes = kv_bytes,
                                             .max_len = MAX_LEN,
                                             .kv_window_tokens = EXTENT,
                                             .kv_disk_bytes = disk_bytes,
                                             .chunk = 384});
    plan = *glm_engine_plan(engine);
    return engine;
}

static void write_books(void) {
    glm_engine *engine = open_on("cpu", 0, 0);
    help_engine_keep(engine, ids[0], N_SHORT, "short");
    help_engine_keep(engine, ids[1], N_BOOK, "whole");
    glm_engine_close(engine);
}

static glm_session *restored(glm_engine *engine, const int32_t *of, int64_t n) {
    glm_session *session = NULL;
    glm_reuse reuse;
    help_require(glm_session_create(engine, MAX_LEN, &session), "session");
    help_require(glm_session_restore(session, of, n, &reuse), "restore");
    if (reuse.n_tokens < n - 1) {
        printf("FAIL: %lld of %lld tokens were found\n", (long long)reuse.n_tokens, (long long)n);
        exit(1);
    }
    if (reuse.n_tokens < n)
        help_require(glm_prefill(session, of + reuse.n_tokens, n - reuse.n_tokens), "prefill");
    return session;
}

static void fill_and_forget(glm_engine *engine) {
    glm_session *session = restored(engine, ids[0], N_SHORT);
    help_require(glm_prefill(session, ids[0] + N_SHORT, 10), "prefill");
    glm_session_free(session);
}

static void read_book(bool is_after, int64_t kv_bytes, int64_t disk_bytes, float (*rows)[VOCAB]) {
    glm_engine *engine = open_on("cuda", kv_bytes, disk_bytes);
    if (is_after) fill_and_forget(engine);
    glm_session *session = restored(engine, ids[1], N_BOOK);
    for (int i = 0; i < N_STEPS; i++) {
        help_require(glm_decode(&session, ids[1] + N_BOOK + i, 1), "decode");
        help_engine_row(session, rows[i], VOCAB);
    }
    glm_session_free(session);
    glm_engine_close(engine);
}

static void close_behind(int64_t kv_bytes, int64_t disk_bytes) {
    glm_engine *engine = open_on("cuda", kv_bytes, disk_bytes);
    fill_and_forget(engine);
    glm_engine_close(engine);
}

int main(void) {
    static float alone[N_STEPS][VOCAB], after[N_STEPS][VOCAB];
    dir = help_dir();
    standin_plain_use(true);
    standin_cuda_get()->is_unguarded = true;
    for (int i = 0; i < 2; i++) help_engine_ids(ids[i], MAX_LEN, 31 + (uint64_t)i);
    write_books();
    glm_engine_close(open_on("cuda", 0, 0));
    const int64_t extent_bytes = EXTENT / 128 * plan.kv_page_bytes;
    const int64_t kv_bytes =
            glm_plan_kv_here(&plan) - 2 * rt_div_up(MAX_LEN, 128) * plan.kv_page_bytes -
            (plan.kv_window_extents - 1) * extent_bytes + 2 * extent_bytes + RT_MIB / 2;
    const int64_t disk_bytes = plan.kv_disk_bytes / 2 + RT_MIB;
    read_book(false, kv_bytes, disk_bytes, alone);
    read_book(true, kv_bytes, disk_bytes, after);
    close_behind(kv_bytes, disk_bytes);
    if (memcmp(alone, after, sizeof alone) == 0) return 0;
    printf("FAIL: other logits behind rows that were forgotten on their way\n");
    return 1;
}
