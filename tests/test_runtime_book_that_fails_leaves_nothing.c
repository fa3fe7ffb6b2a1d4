/* A book that cannot be made, as where a walk over what it is to hold fails, takes no room on the disk from whoever goes on, and
 * tells why. The next try makes it.
 *
 * Method: a text shorter than a segment. The linker has __wrap_kv_walk_begin refuse the walk of one layer that saves the
 * tail. */
#include <string.h>

#include "help_dir.h"
#include "help_kv_vault.h"
#include "help_needle.h"

enum { TEXT = 300, ROOM = 64 };

static int32_t fails_at = -1; /* in this layer; -1: in none */

rt_status __real_kv_walk_begin(kv_store *store, int32_t layer, kv_seq *const *seqs,
        const int64_t *ends, int32_t n_seqs, kv_walk_extent extent, kv_walk **out);
rt_status __wrap_kv_walk_begin(kv_store *store, int32_t layer, kv_seq *const *seqs,
        const int64_t *ends, int32_t n_seqs, kv_walk_extent extent, kv_walk **out);

rt_status __wrap_kv_walk_begin(kv_store *store, int32_t layer, kv_seq *const *seqs,
        const int64_t *ends, int32_t n_seqs, kv_walk_extent extent, kv_walk **out) {
    if (extent == KV_WALK_SAVE && layer == fails_at)
        return rt_fail(RT_EIO, "a walk that was to fail");
    return __real_kv_walk_begin(store, layer, seqs, ends, n_seqs, extent, out);
}

int main(void) {
    const char *const dirs[] = {help_dir()};
    const glm_options options = {.model_dir = "tests/golden/native_bf16_kv4",
            .device = "cpu",
            .max_len = TEXT + ROOM,
            .kv_disk_dirs = dirs,
            .n_kv_disk_dirs = 1,
            .persists = true};
    glm_engine *engine = NULL;
    glm_session *session = NULL;
    int32_t ids[TEXT];
    for (int32_t i = 0; i < TEXT; i++) ids[i] = i * 37 % 60;
    help_require(glm_engine_open(&options, &engine), "open");
    help_require(glm_session_create(engine, options.max_len, &session), "session");
    help_require(glm_prefill(session, ids, TEXT), "prefill");
    for (fails_at = 0; fails_at < glm_engine_config(engine)->n_layers; fails_at++) {
        CHECK(glm_session_keep(session, "book", "") == RT_EIO);
        CHECK(strstr(rt_error_text(), "a walk that was to fail"));
        CHECK(kvh_count_files(dirs[0], ".tmp") == 0 && kvh_count_files(dirs[0], ".kvs") == 0);
    }
    CHECK(glm_session_keep(session, "book", "") == RT_OK);
    CHECK(kvh_count_files(dirs[0], ".tmp") == 0 && kvh_count_files(dirs[0], ".kvs") == 1);
    glm_session_free(session);
    glm_engine_close(engine);
    return 0;
}
