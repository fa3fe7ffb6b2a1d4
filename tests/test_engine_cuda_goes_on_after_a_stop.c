/* A pass of several sequences that was stopped between two layers leaves nothing behind: decode, of the same sequences in other
 * places, has the bits that it has without one, and no copy that is still queued reads what decode's host code writes.
 *
 * Method: a tiny random model on a GPU that tests/standin plays, whose copies run as late as they may; stopped at each layer
 * in turn. */
#include <stdio.h>
#include <string.h>

#include "help_check.h"
#include "help_engine.h"
#include "help_model.h"
#include "standin/standin_plain.h"

enum { N = 2, VOCAB = 272, N_HELD = 5 };

static int32_t ids[64];
static int n_asked, stop_at; /* counted from 1; 0: never */

static int stops(void) {
    return ++n_asked == stop_at;
}

static void read_rows(glm_session *const *sessions, float (*out)[VOCAB]) {
    for (int i = 0; i < N; i++) help_engine_row(sessions[i], out[i], VOCAB);
}

/* Whether the pass came to its end. */
static bool take(glm_session *const *sessions, float (*out)[VOCAB]) {
    glm_session *turned[N] = {sessions[1], sessions[0]};
    const int32_t *added[N] = {ids + 20, ids + 30};
    const int64_t n_added[N] = {1, 3};
    for (int i = 0; i < N; i++) glm_session_truncate(sessions[i], N_HELD + i);
    n_asked = 0;
    const rt_status status = glm_prefill_together(sessions, added, n_added, N);
    if (status != RT_OK && status != RT_EINTERRUPTED) help_require(status, "a pass");
    for (int i = 0; i < N; i++) glm_session_truncate(sessions[i], N_HELD + i);
    help_require(glm_decode(turned, ids + 40, N), "decode");
    read_rows(sessions, out);
    return status == RT_OK;
}

int main(void) {
    static float right[N][VOCAB], got[N][VOCAB];
    glm_engine *engine = NULL;
    glm_session *sessions[N] = {0};
    int n_failed = 0, n_stopped = 0;
    standin_plain_use(true);
    help_engine_ids(ids, 64, 29);
    const glm_options options = {.model_dir = help_model_for_gpu(false),
            .device = "cuda",
            .max_len = 160,
            .max_seqs = N,
            .extra_kv_tokens = 256,
            .threads = 1};
    help_require(glm_engine_open(&options, &engine), "engine");
    glm_engine_stop_if(engine, stops);
    for (int i = 0; i < N; i++) {
        help_require(glm_session_create(engine, 150, &sessions[i]), "session");
        help_require(glm_prefill(sessions[i], ids + i, N_HELD + i), "prefill");
    }
    (void)take(sessions, right);
    for (stop_at = 1; !take(sessions, got); stop_at++, n_stopped++) {
        if (memcmp(right, got, sizeof got) == 0) continue;
        printf("FAIL: other logits behind a stop, the time that it was asked for it: %d\n",
                stop_at);
        n_failed++;
    }
    if (n_stopped < 2) printf("FAIL: %d stops\n", n_stopped);
    for (int i = 0; i < N; i++) glm_session_free(sessions[i]);
    glm_engine_close(engine);
    return n_failed > 0 || n_stopped < 2;
}
