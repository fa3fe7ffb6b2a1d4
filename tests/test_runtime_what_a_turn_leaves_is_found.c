/* What another process has kept of a text when its turn ends is found by who waited for it, the last, unfinished segment, too, and
 * is not computed again: whether it is kept while that one restores what came before, or between its look and its turn. Where all is
 * kept before the turn ends nobody waits for the end, nor asks for the turn; where only one rank has kept it by then, it is looked for
 * again.
 *
 * Method: sessions of two engines in one process. The linker puts functions in front of the look and of what restores, which
 * the waiter calls: there the other's turn ends. */
#include <stdio.h>
#include <unistd.h>

#include "help_check.h"
#include "help_dir.h"
#include "help_engine.h"
#include "help_turn.h"
#include "runtime/cli_turn.h"
#include "runtime/turn.h"

enum { N = HELP_TURN_N, PAGE = 128 };

typedef enum moment { WHILE_IT_RESTORES, BEHIND_ITS_LOOK, BEFORE_THE_END, ON_ONE_RANK } moment;

static int32_t ids[N + 1];
static glm_session *other; /* whose turn it is; NULL: it is over */
static moment when;

static void end_turn(void) {
    glm_session *session = other;
    other = NULL; /* it restores and looks as well */
    if (glm_session_length(session) == 0) help_turn_prefill(session, ids);
    help_require(glm_session_keep(session, NULL, NULL), "keep");
    glm_session_free(session);
}

rt_status __real_glm_session_restore(
        glm_session *session, const int32_t *text, int64_t n, glm_reuse *out);
rt_status __wrap_glm_session_restore(
        glm_session *session, const int32_t *text, int64_t n, glm_reuse *out);
rt_status __wrap_glm_session_restore(
        glm_session *session, const int32_t *text, int64_t n, glm_reuse *out) {
    const bool ends = other && (when == WHILE_IT_RESTORES || when == ON_ONE_RANK);
    if (ends && when == ON_ONE_RANK) n = HELP_TURN_SEGMENT + 1; /* another one has no more yet */
    const rt_status status = __real_glm_session_restore(session, text, n, out);
    if (ends) end_turn();
    return status;
}

rt_status __real_glm_session_find_after(
        glm_session *session, int64_t n_shared, const int32_t *text, int64_t n, int64_t *n_tokens);
rt_status __wrap_glm_session_find_after(
        glm_session *session, int64_t n_shared, const int32_t *text, int64_t n, int64_t *n_tokens);
rt_status __wrap_glm_session_find_after(
        glm_session *session, int64_t n_shared, const int32_t *text, int64_t n, int64_t *n_tokens) {
    const rt_status status = __real_glm_session_find_after(session, n_shared, text, n, n_tokens);
    if (other && when == BEHIND_ITS_LOOK) end_turn();
    return status;
}

static void keep(glm_session *session) {
    help_turn_prefill(session, ids);
    help_require(glm_session_keep(session, NULL, NULL), "keep");
}

/* What the disk lacks of a page, where pages are sealed, is in none of its files. */
static void check(const char *kv_dtype, moment at) {
    const char *dir = help_dir();
    glm_engine *first = help_turn_engine(dir, kv_dtype, 0);
    glm_engine *second = help_turn_engine(dir, kv_dtype, 0);
    glm_session *waits = help_turn_session(second);
    const glm_cli cli = {.command = "ask", .keeps = true, .quiet = true};
    glm_turn_state state = GLM_TURN_NONE;
    glm_reuse reuse = {0};
    double waited_s = 0.0;
    glm_session *session = help_turn_session(first);
    CHECK(glm_turn_take(session, ids, N, &state) == RT_OK && state == GLM_TURN_OURS);
    if (at == WHILE_IT_RESTORES) help_turn_prefill(session, ids);
    if (at == BEFORE_THE_END || at == ON_ONE_RANK) keep(session);
    when = at;
    other = session;
    CHECK(glm_cli_take_turn(&cli, waits, ids, N + 1, N, &reuse, &waited_s) == RT_OK);
    CHECK((at == BEFORE_THE_END) == (other != NULL));
    other = NULL;
    if (at == BEFORE_THE_END) glm_session_free(session);
    const int64_t n_all = kv_dtype ? N / PAGE * PAGE : N;
    if (reuse.n_tokens != n_all)
        printf("%d: %lld of %d tokens\n", (int)at, (long long)reuse.n_tokens, N);
    CHECK(reuse.n_tokens == n_all && glm_session_length(waits) == n_all);
    glm_session_free(waits);
    glm_engine_close(second);
    glm_engine_close(first);
}

int main(void) {
    help_engine_ids(ids, N + 1, 1);
    check(NULL, WHILE_IT_RESTORES);
    help_engine_ids(ids, N + 1, 2);
    check(NULL, BEHIND_ITS_LOOK);
    help_engine_ids(ids, N + 1, 3);
    check("int8", WHILE_IT_RESTORES);
    help_engine_ids(ids, N + 1, 4);
    check(NULL, BEFORE_THE_END);
    help_engine_ids(ids, N + 1, 5);
    check("int8", BEFORE_THE_END);
    help_engine_ids(ids, N + 1, 6);
    check(NULL, ON_ONE_RANK);
    return 0;
}
