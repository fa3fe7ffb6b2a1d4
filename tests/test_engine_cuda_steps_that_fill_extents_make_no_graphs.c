/* A decode step that fills an extent, which then leaves the GPU's memory, is taken layer by layer; it comes once in thousands that
 * are taken at once, and no graphs are made for it, however often it has come. Where such steps follow on one another they are
 * made.
 *
 * Method: what the CPU made of a text up to an extent's last token goes on by one token, on a GPU that tests/standin plays and
 * that counts graphs; then another text by many; and so again. */
#include <stdio.h>

#include "help_check.h"
#include "help_dir.h"
#include "help_engine.h"
#include "help_model.h"
#include "runtime/base/size.h"
#include "standin/standin_cuda.h"
#include "standin/standin_plain.h"

enum { EXTENT = 4096, N_BOOK = EXTENT - 1, MAX_LEN = EXTENT + 1024, N_BETWEEN = 70, N_LAYERS = 2 };

static int32_t ids[MAX_LEN];
static const char *dir;
static int n_failed;

static void expect(int64_t number, int64_t want, const char *what) {
    if (number == want) return;
    printf("FAIL: %s: %lld, not %lld\n", what, (long long)number, (long long)want);
    n_failed++;
}

static glm_engine *open_on(const char *device, int64_t kv_bytes) {
    return help_engine_open_in(dir, (glm_options){.model_dir = help_model_for_gpu_of(N_LAYERS),
                                            .device = device,
                                            .device_kv_bytes = kv_bytes,
                                            .host_kv_bytes = kv_bytes > 0,
                                            .max_len = MAX_LEN,
                                            .kv_window_tokens = EXTENT,
                                            .chunk = 384});
}

/* Room for an extent of both layers that stays, their unfinished ones, and a window of one. */
static int64_t budget(void) {
    glm_engine *engine = open_on("cuda", 0);
    const glm_plan *plan = glm_engine_plan(engine);
    const int64_t extent_bytes = EXTENT / 128 * plan->kv_page_bytes;
    const int64_t bytes =
            glm_plan_kv_here(plan) - 2 * rt_div_up(MAX_LEN, 128) * plan->kv_page_bytes -
            (plan->kv_window_extents - 1) * extent_bytes + 4 * extent_bytes + RT_MIB / 2;
    glm_engine_close(engine);
    return bytes;
}

/* So many steps behind the first n_before tokens, of which what is stored is found. */
static void go_on(glm_engine *engine, int64_t n_before, int64_t n_steps) {
    glm_session *session = NULL;
    glm_reuse reuse;
    help_require(glm_session_create(engine, MAX_LEN, &session), "session");
    help_require(glm_session_restore(session, ids, n_before, &reuse), "restore");
    help_require(glm_prefill(session, &ids[reuse.n_tokens], n_before - reuse.n_tokens), "prefill");
    for (int64_t i = 0; i < n_steps; i++)
        help_require(glm_decode(&session, &ids[n_before + i], 1), "decode");
    glm_session_free(session);
}

int main(void) {
    const standin_cuda *gpu = standin_cuda_get();
    dir = help_dir();
    standin_plain_use(true);
    help_engine_ids(ids, MAX_LEN, 37);
    glm_engine *engine = open_on("cpu", 0);
    help_engine_keep(engine, ids, N_BOOK, "book");
    glm_engine_close(engine);
    engine = open_on("cuda", budget());
    CHECK(glm_engine_plan(engine)->kv_overflows && glm_engine_plan(engine)->kv_pinned_tokens > 0);
    for (int i = 0; i < 3; i++) {
        go_on(engine, N_BOOK, 1);
        expect(gpu->n_graphs, i > 0, "graphs, of steps that are taken at once alone");
        go_on(engine, 5, N_BETWEEN);
        expect(gpu->n_graphs, 1, "graphs of those");
    }
    go_on(engine, N_BOOK, 1);
    go_on(engine, N_BOOK, 1);
    expect(gpu->n_graphs, 1 + N_LAYERS + 1, "graphs, where steps by layers follow on one another");
    glm_engine_close(engine);
    return n_failed ? 1 : 0;
}
