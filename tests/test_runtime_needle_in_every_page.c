/* One needle in every page of a long context, and every one is found: a page that is lost, stale or
 * mixed up is named by the needle that is missing.
 *
 * Method: the context is prefilled once; the questions are forks of it, decoded 32 at a time, so
 * that shared pages, copies of the partial last page and the batched decode are all on the way. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "help_needle.h"

enum { PAGE = 128, N_TOGETHER = 32, ROOM = 512, N_DIGITS = 7 };

static int n_failed;

static void ask_together(const glm_session *context, int64_t first_page, int32_t n) {
    glm_session *forks[N_TOGETHER];
    int32_t next[N_TOGETHER];
    char answers[N_TOGETHER][N_DIGITS + 1] = {{0}};
    const int64_t length = glm_session_length(context);
    for (int32_t i = 0; i < n; i++) {
        char key[64];
        glm_ids question = {0};
        glm_needle_words(first_page + i, key);
        help_append_question(&question, key);
        help_require(glm_session_fork(context, length, length + ROOM, &forks[i]), "fork");
        help_require(glm_prefill(forks[i], question.ids, question.n), "question");
        next[i] = help_next(forks[i]);
        glm_ids_free(&question);
    }
    for (int digit = 0; digit < N_DIGITS; digit++) {
        for (int32_t i = 0; i < n; i++) answers[i][digit] = (char)next[i];
        help_require(glm_decode(forks, next, n), "decode");
        for (int32_t i = 0; i < n; i++) next[i] = help_next(forks[i]);
    }
    for (int32_t i = 0; i < n; i++) {
        char value[8];
        help_value(first_page + i, value);
        if (strcmp(value, answers[i]) != 0) {
            printf("FAIL page %" PRId64 ": \"%s\" instead of %s\n", first_page + i, answers[i],
                    value);
            n_failed++;
        }
        glm_session_free(forks[i]);
    }
}

int main(void) {
    const int64_t n_pages = getenv("GLM_TEST_FAST") ? 12 : 128;
    glm_ids ids = {0};
    help_append_needles(&ids, n_pages);
    const glm_options options = {.model_dir = help_needle_model(),
            .max_len = ids.n + ROOM,
            .max_seqs = N_TOGETHER,
            .extra_kv_tokens = (int64_t)N_TOGETHER * (ROOM + PAGE)};
    glm_engine *engine = NULL;
    glm_session *context = NULL;
    help_require(glm_engine_open(&options, &engine), "open");
    help_require(glm_session_create(engine, ids.n, &context), "session");
    help_require(glm_prefill(context, ids.ids, ids.n), "prefill");
    for (int64_t page = 1; page < n_pages; page += N_TOGETHER) {
        const int64_t left = n_pages - page;
        ask_together(context, page, (int32_t)(left < N_TOGETHER ? left : N_TOGETHER));
    }
    glm_session_free(context);
    glm_engine_close(engine);
    glm_ids_free(&ids);
    return n_failed ? 1 : 0;
}
