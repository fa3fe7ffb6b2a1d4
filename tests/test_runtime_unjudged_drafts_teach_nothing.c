/* A draft that is dropped before its first token was asked for is no sign of a text that drafts are wrong about: as many are
 * made of what comes next. One whose first token turns out to be another is, and then three tokens that were there before are
 * no longer enough.
 *
 * Method: a random model, and a text in which three tokens come again. */
#include <stdio.h>

#include "help_check.h"
#include "help_ranks.h"
#include "runtime/draft.h"

enum { N_TEXT = 60, N_AGAIN = 5 };

static int n_failed;

static void must(bool condition, const char *what) {
    if (condition) return;
    printf("FAIL: %s\n", what);
    n_failed++;
}

/* The third of three tokens that were there before; returns how many were drafted behind it. */
static int64_t draft_behind_three(glm_engine *engine, glm_session *session) {
    const int64_t before = glm_engine_drafts(engine).n_drafted;
    help_require(glm_decode_ahead(session, 12), "decode ahead");
    return glm_engine_drafts(engine).n_drafted - before;
}

int main(void) {
    const help_shape shape = {.hidden = 64,
            .n_layers = 2,
            .n_heads = 4,
            .n_kv_heads = 2,
            .head_dim = 16,
            .ffn = 128,
            .vocab = 304,
            .dtype = "bfloat16"};
    const glm_options options = {.model_dir = help_random_model(&shape, 13),
            .threads = 1,
            .max_len = 128,
            .n_speculative = GLM_DRAFT_MAX};
    int32_t text[N_TEXT];
    for (int32_t i = 0; i < N_TEXT; i++) text[i] = i;
    text[N_TEXT - 2] = 10, text[N_TEXT - 1] = 11;
    glm_engine *engine = NULL;
    glm_session *session = NULL;
    help_require(glm_engine_open(&options, &engine), "engine");
    help_require(glm_session_create(engine, 128, &session), "session");
    help_require(glm_prefill(session, text, N_TEXT), "prefill");
    for (int i = 0; i < N_AGAIN; i++) {
        must(draft_behind_three(engine, session) == 4,
                "nothing is drafted, though nothing was wrong");
        glm_session_truncate(session, N_TEXT);
    }
    must(draft_behind_three(engine, session) == 4, "nothing is drafted before any was wrong");
    help_require(glm_decode_ahead(session, 200), "decode ahead"); /* 13 was drafted */
    glm_session_truncate(session, N_TEXT);
    must(draft_behind_three(engine, session) == 0, "drafted as before, though it was wrong");
    must(glm_engine_drafts(engine).n_taken == 0, "a drafted token was right");
    glm_session_free(session);
    glm_engine_close(engine);
    return n_failed ? 1 : 0;
}
