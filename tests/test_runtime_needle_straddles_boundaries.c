/* A needle is found wherever a page, a chunk or a split of attention cuts it, and nothing is found
 * where there is none.
 *
 * Method: the needle's digits are moved byte by byte across a boundary: position 128 (pages), 512
 * (chunks of 256 here) and 4096 (splits). Without the needle the answer must not be its number. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "help_needle.h"

enum { CHUNK = 256, LENGTH_MAX = 5000, SHIFTS = 40 };

static const char key[] = "Casablanca";
static int n_failed;

/* The prompt whose digits begin at `digits_at`; negative: no needle. */
static void make_prompt(glm_ids *ids, int64_t digits_at, int64_t context_end) {
    const int64_t before_digits =
            (int64_t)(strlen("\nThe special magic number for ") + strlen(key) + strlen(" is: "));
    ids->n = 0;
    help_append_opening(ids);
    if (digits_at >= 0) {
        help_append_filler(ids, digits_at - before_digits - ids->n, 1);
        help_append_needle(ids, key, 5);
    }
    help_append_filler(ids, context_end - ids->n, 2);
    help_append_question(ids, key);
}

static void check(glm_engine *engine, glm_ids *ids, int64_t digits_at, int64_t context_end) {
    glm_session *session = NULL;
    char answer[32];
    char value[8];
    make_prompt(ids, digits_at, context_end);
    help_require(glm_session_create(engine, LENGTH_MAX, &session), "session");
    help_answer(session, ids, answer);
    glm_session_free(session);
    help_value(5, value);
    const bool is_found = strncmp(answer, value, 7) == 0 && strcmp(answer + 7, ".") == 0;
    if (is_found == (digits_at >= 0)) return;
    printf("FAIL digits at %d: \"%s\", the number is %s\n", (int)digits_at, answer, value);
    n_failed++;
}

int main(void) {
    static const int64_t boundaries[] = {128, 512, 4096};
    const bool is_fast = getenv("GLM_TEST_FAST") != NULL;
    const int64_t step = is_fast ? 13 : 1;
    const glm_options options = {
            .model_dir = help_needle_model(), .max_len = LENGTH_MAX, .chunk = CHUNK};
    glm_engine *engine = NULL;
    glm_ids ids = {0};
    help_require(glm_engine_open(&options, &engine), "open");
    for (int b = 0; b < (is_fast ? 2 : 3); b++)
        for (int64_t shift = 0; shift < SHIFTS; shift += b == 2 ? 4 * step : step)
            check(engine, &ids, boundaries[b] + 4 - shift, boundaries[b] + 300);
    check(engine, &ids, -1, 900);
    glm_ids_free(&ids);
    glm_engine_close(engine);
    return n_failed ? 1 : 0;
}
