/* Steps of a walk that several sequences take at once: a token of each, or a piece. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "help_walk.h"
#include "runtime/base/size.h"

/* Some that have room, in any order: at most so many as are planned. */
static int32_t pick_some(walk *w, walk_seq **some) {
    const int64_t most = 1 + walk_below(w, glm_engine_plan(w->engine)->max_seqs);
    int32_t n = 0;
    for (int i = 0; i < WALK_SEQS; i++) {
        walk_seq *s = &w->seqs[i];
        if (s->session && s != w->running && s->tokens.n < s->max_tokens) some[n++] = s;
    }
    for (int32_t i = 0; i < n; i++) {
        const int64_t j = i + walk_below(w, n - i);
        walk_seq *s = some[i];
        some[i] = some[j];
        some[j] = s;
    }
    return (int32_t)rt_min64(n, most);
}

/* A step of some that did not come to its end: each holds what it held, and maybe some of what it was to. */
void walk_note_failed(walk *w, walk_seq *s, int64_t before) {
    const int64_t aim = s->tokens.n;
    walk_note_length(w, s, walk_least(w, before), aim, "stopped");
    if (w->kind->tells_how &&
            w->is_lossy) { /* what was lost with it may have been computed again */
        glm_session_truncate(s->session, walk_least(w, rt_min64(before, s->tokens.n)));
        s->tokens.n = glm_session_length(s->session);
        before = s->tokens.n;
    }
    s->n_held = rt_max64(before, s->tokens.n);
}

/* Where a call of the device's failed, and the step was taken all the same, a page that it had filled, and that was sealed,
 * was lost and computed again: every token of it prefilled, however it was computed before. */
static bool may_be_new(const walk *w) {
    return w->has_failed && w->kind->tells_how && w->is_lossy;
}

/* Its logits, or nobody can say what they ought to be: then what was there for certain is left. */
static void compare(walk *w, walk_seq *s, int64_t before, const char *what) {
    if (!may_be_new(w)) {
        walk_compare_last(w, s, what);
        return;
    }
    glm_session_truncate(s->session, walk_least(w, before));
    walk_note_length(w, s, walk_least(w, before), walk_least(w, before), "cut");
    s->n_held = s->tokens.n;
}

static void say_some(
        walk *w, const char *what, walk_seq *const *some, const int64_t *n_ids, int32_t n) {
    char text[256] = "";
    for (int32_t i = 0; i < n; i++) {
        const size_t used = strlen(text);
        (void)snprintf(text + used, sizeof text - used, " %d: %" PRId64 " + %" PRId64 ";",
                walk_number(w, some[i]), some[i]->tokens.n, n_ids ? n_ids[i] : 1);
    }
    walk_say(w, "%s%s", what, text);
}

/* What was lost on disk takes the engine's prefill to be there again: one under way gives way, as it does in a server. */
rt_status walk_decode_again(walk *w, walk_seq *const *some, glm_session *const *sessions,
        const int32_t *ids, int32_t n) {
    walk_say(w, "    decode: %s", rt_error_text());
    walk_suspend(w);
    for (int32_t i = 0; i < n; i++) RT_TRY(glm_session_rewind(sessions[i], some[i]->tokens.n - 1));
    return glm_decode(sessions, ids, n);
}

/* Each has its next token already, which is not computed. */
static void decode(walk *w, walk_seq *const *some, int32_t n, bool is_ahead) {
    glm_session *sessions[WALK_SEQS];
    int32_t ids[WALK_SEQS];
    for (int32_t i = 0; i < n; i++) {
        sessions[i] = some[i]->session;
        ids[i] = some[i]->tokens.ids[some[i]->tokens.n - 1];
    }
    walk_stop_soon(w);
    walk_fail_soon(w);
    rt_status status =
            is_ahead ? glm_decode_ahead(sessions[0], ids[0]) : glm_decode(sessions, ids, n);
    walk_go_well(w);
    if (status == RT_EUSAGE && w->is_damaged && w->running)
        status = walk_decode_again(w, some, sessions, ids, n);
    const bool is_done = walk_went(w, status, "decode", RT_EINTERRUPTED, RT_ENOFIT);
    for (int32_t i = 0; i < n; i++) {
        walk_seq *s = some[i];
        if (!is_done) walk_note_failed(w, s, s->tokens.n - 1);
        if (!is_done) continue;
        walk_note_length(w, s, s->tokens.n, s->tokens.n, "decoded");
        s->n_held = s->tokens.n;
        compare(w, s, s->tokens.n - 1, "decode");
    }
}

void walk_decode(walk *w, walk_seq *const *some, int32_t n) {
    say_some(w, "decode", some, NULL, n);
    for (int32_t i = 0; i < n; i++)
        walk_write_on(w, some[i], some[i]->tokens.n + 1, WALK_DECODED, &some[i]->tokens);
    decode(w, some, n, false);
}

/* Some tokens of one, which mostly repeat what it holds, so that drafts are right; and others between. */
void walk_decode_ahead(walk *w) {
    walk_seq *some[WALK_SEQS];
    if (pick_some(w, some) == 0) return;
    walk_seq *s = some[0];
    const int64_t n_steps = 1 + walk_below(w, 24);
    const int64_t back = 1 + walk_below(w, rt_min64(s->tokens.n + 1, 200));
    walk_say(w, "%d: decode ahead, %" PRId64 " tokens of %" PRId64 " before", walk_number(w, s),
            n_steps, back);
    for (int64_t i = 0; i < n_steps && s->session && s->tokens.n < s->max_tokens; i++) {
        const int64_t at = s->tokens.n;
        walk_write_on(w, s, at + 1, WALK_DECODED, &s->tokens);
        if (at >= back && walk_below(w, 15) > 0) s->tokens.ids[at] = s->tokens.ids[at - back];
        decode(w, &s, 1, true);
    }
}

void walk_decode_some(walk *w) {
    walk_seq *some[WALK_SEQS];
    const int32_t n = pick_some(w, some);
    if (n > 0) walk_decode(w, some, n);
}

/* A single token is decoded; what a chunk leaves of more than one is not. */
static void note_hows(walk_seq *s, int64_t before) {
    if (s->tokens.n - before == 1) s->tokens.hows[s->tokens.n - 1] = WALK_DECODED;
}

void walk_together(walk *w) {
    walk_seq *some[WALK_SEQS];
    glm_session *sessions[WALK_SEQS];
    const int32_t *ids[WALK_SEQS];
    int64_t n_ids[WALK_SEQS];
    int64_t before[WALK_SEQS];
    const int32_t n = pick_some(w, some);
    if (n == 0 || w->running) return;
    for (int32_t i = 0; i < n; i++) {
        walk_seq *s = some[i];
        const int64_t end = walk_below(w, 3)
                                    ? rt_min64(s->tokens.n + 1 + walk_below(w, 20), s->max_tokens)
                                    : walk_pick_end(w, s->tokens.n, s->max_tokens);
        before[i] = s->tokens.n;
        n_ids[i] = end - before[i];
        sessions[i] = s->session;
        ids[i] = s->tokens.ids + before[i];
    }
    say_some(w, "together", some, n_ids, n);
    for (int32_t i = 0; i < n; i++) {
        walk_write_on(w, some[i], before[i] + n_ids[i], WALK_PREFILLED, &some[i]->tokens);
        note_hows(some[i], before[i]);
    }
    walk_stop_soon(w);
    walk_fail_soon(w);
    const rt_status status = glm_prefill_together(sessions, ids, n_ids, n);
    walk_go_well(w);
    const bool is_done = walk_went(w, status, "together", RT_EINTERRUPTED, RT_ENOFIT);
    for (int32_t i = 0; i < n; i++) {
        walk_seq *s = some[i];
        if (!is_done) walk_note_failed(w, s, before[i]);
        if (!is_done) continue;
        walk_note_length(w, s, s->tokens.n, s->tokens.n, "together");
        s->n_held = s->tokens.n;
        compare(w, s, before[i], "together");
    }
}
