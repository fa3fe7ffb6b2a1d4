/* Steps of a walk that every session can take, by itself. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "help_random.h"
#include "help_walk.h"
#include "runtime/base/size.h"

/* ---- tokens and sequences ------------------------------------------------------------------------------------------ */

int32_t walk_token(int32_t text, int64_t pos) {
    uint64_t state = (uint64_t)pos * 4 + (uint64_t)text;
    return (int32_t)random_below(&state, 256);
}

int walk_number(const walk *w, const walk_seq *s) {
    return (int)(s - w->seqs);
}

walk_seq *walk_place(walk *w) {
    for (int i = 0; i < WALK_SEQS; i++)
        if (!w->seqs[i].session) return &w->seqs[i];
    return NULL;
}

/* Any that no prefill is under way of. */
walk_seq *walk_some(walk *w, bool may_be_full) {
    const int64_t first = walk_below(w, WALK_SEQS);
    for (int64_t i = 0; i < WALK_SEQS; i++) {
        walk_seq *s = &w->seqs[(first + i) % WALK_SEQS];
        if (s->session && s != w->running && (may_be_full || s->tokens.n < s->max_tokens)) return s;
    }
    return NULL;
}

static int64_t extent(const walk *w) {
    const int64_t tokens = glm_engine_plan(w->engine)->kv_extent_tokens;
    return tokens ? tokens : 4096;
}

/* Where something may begin or end: in (from, most], or `most`, often where pages, extents and chunks do. */
int64_t walk_pick_end(walk *w, int64_t from, int64_t most) {
    const int64_t chunk = glm_engine_plan(w->engine)->chunk;
    if (w->n_book > 0) most = rt_min64(most, from + w->kind->longest / 2);
    int64_t end = most;
    switch (walk_below(w, 8)) {
    case 0:
        end = from + 1;
        break;
    case 1:
        end = from + 1 + walk_below(w, 12);
        break;
    case 2:
        end = (from / WALK_PAGE + 1) * WALK_PAGE + walk_below(w, 5) - 2;
        break;
    case 3:
        end = (from / extent(w) + 1 + walk_below(w, 2)) * extent(w) + walk_below(w, 9) - 4;
        break;
    case 4:
        end = (from / chunk + 1) * chunk + walk_below(w, 3) - 1;
        break;
    case 5:
        end = from + 1 + walk_below(w, 2 * chunk);
        break;
    case 6:
        end = from + 1 + walk_below(w, rt_max64(most - from, 1));
        break;
    default:
        break;
    }
    return rt_min64(rt_max64(end, from + 1), most);
}

/* Where one may be cut: in [0, length]. */
int64_t walk_pick_cut(walk *w, int64_t length) {
    int64_t at = length;
    switch (walk_below(w, 7)) {
    case 0:
        at = length - walk_below(w, 4);
        break;
    case 1:
        at = length / WALK_PAGE * WALK_PAGE - walk_below(w, 3) * (WALK_PAGE / 2);
        break;
    case 2:
        at = length / extent(w) * extent(w) + walk_below(w, 7) - 3;
        break;
    case 3:
        at = walk_below(w, length + 1);
        break;
    case 4:
        at = walk_below(w, length / extent(w) + 1) * extent(w) + walk_below(w, 300);
        break;
    case 5:
        at = length - walk_below(w, 200);
        break;
    default:
        break;
    }
    return rt_min64(rt_max64(at, 0), length);
}

/* Tokens up to `end` behind those that it holds, mostly of its own text. */
void walk_write_on(walk *w, const walk_seq *s, int64_t end, uint8_t how, walk_tokens *out) {
    if (out != &s->tokens) *out = s->tokens;
    const int32_t text = walk_below(w, 4) || out->n == 0 ? s->text : (int32_t)walk_below(w, 3);
    for (int64_t i = out->n; i < end; i++) {
        out->ids[i] = walk_token(text, i);
        out->hows[i] = how;
    }
    out->n = end;
}

int64_t walk_least(const walk *w, int64_t n) {
    if (w->is_damaged) return 0;
    return w->is_lossy ? n / WALK_PAGE * WALK_PAGE : n;
}

void walk_note_length(walk *w, walk_seq *s, int64_t least, int64_t most, const char *what) {
    const int64_t n = glm_session_length(s->session);
    if (n < least || n > most)
        walk_fail(w, "%s: sequence %d holds %" PRId64 " tokens, not %" PRId64 " to %" PRId64, what,
                walk_number(w, s), n, least, most);
    s->tokens.n = n;
}

/* ---- what is compared ---------------------------------------------------------------------------------------------- */

static void compare(walk *w, const walk_seq *s, const float *row, int64_t n, const char *what) {
    const float *want = walk_reference_row(w->reference, &s->tokens, n);
    w->counts->n_rows++;
    if (memcmp(row, want, WALK_VOCAB * sizeof *row) == 0) return;
    double most = 0;
    for (int i = 0; i < WALK_VOCAB; i++) most = fmax(most, fabs((double)row[i] - (double)want[i]));
    walk_fail(w, "%s: other logits of token %" PRId64 " of sequence %d, by %g", what, n - 1,
            walk_number(w, s), most);
}

/* Greedily, the one that the plain logits lead to: where a device draws, this is the time to. */
static void choose(walk *w, const walk_seq *s) {
    const glm_sampling greedy = {.top_p = 1};
    const float *want = walk_reference_row(w->reference, &s->tokens, s->tokens.n);
    int32_t id = -1;
    int32_t wanted = -1;
    const rt_status status = glm_session_choose(s->session, WALK_VOCAB, &greedy, 0, &id);
    if (status != RT_OK || glm_sample(want, WALK_VOCAB, WALK_VOCAB, &greedy, 0, &wanted) != RT_OK)
        walk_fail(w, "choose: %s", rt_error_text());
    if (id != wanted) walk_fail(w, "id %" PRId32 " is chosen, not %" PRId32, id, wanted);
}

void walk_compare_last(walk *w, const walk_seq *s, const char *what) {
    const float *row = NULL;
    int64_t n_rows = 0;
    const int64_t order = walk_below(w, 4);
    if (order == 0) choose(w, s);
    if (glm_session_logits(s->session, &row, &n_rows) != RT_OK || n_rows != 1)
        walk_fail(w, "%s: logits: %s", what, rt_error_text());
    compare(w, s, row, s->tokens.n, what);
    if (order == 1) choose(w, s);
}

/* ---- prefill ------------------------------------------------------------------------------------------------------- */

/* Some positions of the tokens to come, ascending, the last one among them. */
static void pick_wanted(walk *w, int64_t from, int64_t end) {
    const int64_t n =
            rt_min64(rt_min64(glm_engine_plan(w->engine)->max_logits, WALK_ROWS), end - from);
    w->n_wanted = 1 + walk_below(w, n);
    int64_t least = from;
    for (int64_t i = 0; i < w->n_wanted; i++) {
        const int64_t left = w->n_wanted - 1 - i;
        w->wanted[i] = left ? least + walk_below(w, end - left - least) : end - 1;
        least = w->wanted[i] + 1;
    }
}

bool walk_begin(walk *w, walk_seq *s, const walk_tokens *aim) {
    const int64_t from = s->tokens.n;
    int64_t at[WALK_ROWS];
    pick_wanted(w, from, aim->n);
    for (int64_t i = 0; i < w->n_wanted; i++) at[i] = w->wanted[i] - from;
    const bool is_plain = w->n_wanted == 1 && walk_below(w, 2);
    walk_say(w, "%d: prefill %" PRId64 " to %" PRId64 ", %" PRId64 " rows", walk_number(w, s), from,
            aim->n, w->n_wanted);
    const rt_status status = glm_prefill_begin(
            s->session, aim->ids + from, aim->n - from, is_plain ? NULL : at, w->n_wanted);
    s->n_held = from;
    /* To look for a stopped one, and not to find it, may cost the tokens of an unfinished extent. */
    const bool looks = glm_engine_plan(w->engine)->kv_persists;
    walk_note_length(w, s, looks ? from / 4096 * 4096 : from, looks ? aim->n : from, "begun");
    if (!walk_went(w, status, "prefill", RT_ENOFIT, RT_ENOFIT)) return false;
    w->running = s;
    w->aim = *aim;
    return true;
}

static void finish(walk *w, walk_seq *s) {
    const float *rows = NULL;
    int64_t n_rows = 0;
    s->tokens = w->aim;
    walk_note_length(w, s, w->aim.n, w->aim.n, "prefilled");
    if (glm_session_logits(s->session, &rows, &n_rows) != RT_OK || n_rows != w->n_wanted)
        walk_fail(w, "prefill: logits: %s", rt_error_text());
    for (int64_t i = 0; i < n_rows; i++)
        compare(w, s, rows + i * WALK_VOCAB, w->wanted[i] + 1, "prefill");
    if (walk_below(w, 4) == 0) choose(w, s);
}

/* Some items of the prefill under way, or all. */
void walk_go_on(walk *w, int64_t n_items) {
    glm_prefill_progress progress = {0};
    walk_seq *s = w->running;
    walk_fail_soon(w);
    for (int64_t i = 0; i < n_items; i++) {
        const rt_status status = glm_prefill_step(s->session, &progress);
        if (status != RT_OK || progress.is_done || i + 1 == n_items) walk_go_well(w);
        const int64_t before = s->tokens.n;
        s->tokens = w->aim;
        s->tokens.n = before;
        if (!walk_went(w, status, "prefill", RT_ENOFIT, RT_ENOFIT)) {
            w->running = NULL;
            walk_note_length(w, s, walk_least(w, before), w->aim.n, "failed");
            s->n_held = rt_max64(before, s->tokens.n);
            return;
        }
        /* Where something is kept, what a stopped prefill took with it is computed again. */
        walk_note_length(w, s, w->is_damaged || w->persists ? 0 : before, w->aim.n, "prefilled");
        s->n_held = s->tokens.n;
        if (!progress.is_done) continue;
        w->running = NULL;
        finish(w, s);
        return;
    }
    walk_say(w, "    %" PRId64 " items, %" PRId64 " of %" PRId64 " tokens", n_items,
            glm_session_length(s->session), w->aim.n);
}

/* Of some, to any end. */
bool walk_begin_any(walk *w) {
    static walk_tokens aim;
    walk_seq *s = walk_some(w, false);
    if (!s) return false;
    walk_write_on(w, s, walk_pick_end(w, s->tokens.n, s->max_tokens), WALK_PREFILLED, &aim);
    return walk_begin(w, s, &aim);
}

static void do_prefill(walk *w) {
    if (w->running) {
        walk_say(w, "%d: goes on", walk_number(w, w->running));
        walk_go_on(w, walk_below(w, 2) ? INT64_MAX : 1 + walk_below(w, 8));
        return;
    }
    if (walk_begin_any(w)) walk_go_on(w, walk_below(w, 2) ? INT64_MAX : 1 + walk_below(w, 6));
}

/* ---- made, cut, gone ------------------------------------------------------------------------------------------------- */

static void do_create(walk *w) {
    walk_seq *s = walk_place(w);
    const int64_t longest = glm_engine_plan(w->engine)->max_len;
    if (!s) return;
    s->max_tokens = walk_below(w, 3) ? longest : 1 + walk_below(w, longest);
    if (w->n_book > 0) s->max_tokens = rt_min64(s->max_tokens, w->kind->longest);
    const rt_status status = glm_session_create(w->engine, s->max_tokens, &s->session);
    walk_say(w, "%d: create, %" PRId64 " tokens", walk_number(w, s), s->max_tokens);
    if (!walk_went(w, status, "create", RT_ENOFIT, RT_ENOFIT)) return;
    s->tokens.n = s->n_held = 0;
    s->text = w->kind->tells_how ? 1 : (int32_t)walk_below(w, 2);
    s->is_fork = false;
}

walk_seq *walk_fork(walk *w, const walk_seq *parent, int64_t n, int64_t max_tokens) {
    walk_seq *s = walk_place(w);
    if (!s) return NULL;
    s->max_tokens = max_tokens;
    walk_say(w, "%d: fork of %d at %" PRId64 " of %" PRId64 ", for %" PRId64, walk_number(w, s),
            walk_number(w, parent), n, parent->tokens.n, s->max_tokens);
    const rt_status status = glm_session_fork(parent->session, n, s->max_tokens, &s->session);
    if (!walk_went(w, status, "fork", RT_ENOFIT, RT_ENOFIT)) return NULL;
    s->tokens = parent->tokens;
    s->text = walk_below(w, 2) ? parent->text : (int32_t)walk_below(w, 3);
    s->is_fork = true;
    walk_note_length(w, s, walk_least(w, n), n, "forked");
    s->n_held = s->tokens.n;
    return s;
}

static void do_fork(walk *w) {
    const walk_seq *parent = walk_some(w, true);
    const int64_t longest = glm_engine_plan(w->engine)->max_len;
    if (!parent) return;
    const int64_t n = walk_pick_cut(w, parent->tokens.n);
    const int64_t least = rt_max64(n, 1);
    (void)walk_fork(w, parent, n,
            walk_below(w, 3) ? least + walk_below(w, longest - least + 1)
                             : rt_min64(n + 1 + walk_below(w, 300), longest));
}

static void do_truncate(walk *w) {
    walk_seq *s = walk_some(w, true);
    if (!s) return;
    const int64_t n = walk_pick_cut(w, s->tokens.n);
    walk_say(w, "%d: truncate %" PRId64 " to %" PRId64, walk_number(w, s), s->tokens.n, n);
    glm_session_truncate(s->session, n);
    walk_note_length(w, s, walk_least(w, n), n, "truncated");
}

/* Also forwards, to what a cut took. */
static void do_rewind(walk *w) {
    walk_seq *s = walk_some(w, true);
    if (!s || w->running || s->n_held == 0) return;
    const int64_t n = walk_below(w, 2) ? s->n_held : walk_pick_cut(w, s->n_held);
    const int64_t before = rt_min64(s->tokens.n, n);
    walk_say(w, "%d: rewind %" PRId64 " of %" PRId64 " to %" PRId64, walk_number(w, s), s->tokens.n,
            s->n_held, n);
    if (w->kind->tells_how && n < s->tokens.n) { /* what is computed again is prefilled */
        glm_session_truncate(s->session, n);
        walk_note_length(w, s, walk_least(w, n), n, "truncated");
    }
    for (int64_t i = s->tokens.n; i < n; i++) s->tokens.hows[i] = WALK_PREFILLED;
    const bool is_done =
            walk_went(w, glm_session_rewind(s->session, n), "rewind", RT_ENOFIT, RT_ENOFIT);
    walk_note_length(w, s, is_done ? n : walk_least(w, before), n, "rewound");
    if (!is_done) s->n_held = s->tokens.n;
}

static void do_free(walk *w) {
    walk_seq *s = walk_below(w, 4) == 0 ? &w->seqs[walk_below(w, WALK_SEQS)] : walk_some(w, true);
    if (!s || !s->session) return;
    walk_say(w, "%d: free", walk_number(w, s));
    walk_remember(w, s == w->running ? &w->aim : &s->tokens);
    if (s == w->running) w->running = NULL;
    glm_session_free(s->session);
    s->session = NULL;
}

/* What cannot be is refused, and changes nothing. */
static void do_misuse(walk *w) {
    walk_seq *s = walk_some(w, true);
    glm_session *fork = NULL;
    const int32_t too_large = WALK_VOCAB;
    if (!s) return;
    const int64_t n = s->tokens.n;
    rt_status status = RT_OK;
    switch (walk_below(w, 4)) {
    case 0:
        status = glm_prefill_begin(s->session, s->tokens.ids, s->max_tokens - n + 1, NULL, 1);
        break;
    case 1:
        status = glm_decode(&s->session, &too_large, 1);
        break;
    case 2:
        status = glm_session_fork(s->session, n + 1, n + 2, &fork);
        break;
    default:
        if (!w->running || n == s->max_tokens) return;
        status = glm_prefill_begin(s->session, s->tokens.ids, 1, NULL, 1);
    }
    if (status != RT_EUSAGE) walk_fail(w, "what cannot be: status %d", (int)status);
    walk_note_length(w, s, n, n, "refused");
}

static void do_reopen(walk *w) {
    walk_look_at_all(w);
    walk_close(w);
    if (w->kind->tells_how) walk_read_on_cpu(w);
    walk_open(w);
}

void walk_look_at_all(walk *w) {
    for (int i = 0; i < WALK_SEQS; i++) {
        walk_seq *s = &w->seqs[i];
        if (!s->session || s == w->running || s->tokens.n == s->max_tokens) continue;
        walk_write_on(w, s, s->tokens.n + 1, WALK_DECODED, &s->tokens);
        walk_say(w, "%d: looked at", i);
        const int32_t id = s->tokens.ids[s->tokens.n - 1];
        rt_status status = glm_decode(&s->session, &id, 1);
        if (status == RT_EUSAGE && w->is_damaged && w->running)
            status = walk_decode_again(w, &s, &s->session, &id, 1);
        if (!walk_went(w, status, "decode", RT_ENOFIT, RT_ENOFIT)) {
            walk_note_failed(w, s, s->tokens.n - 1);
            continue;
        }
        s->n_held = s->tokens.n;
        walk_compare_last(w, s, "looked at");
    }
}

/* Some have to do with what is kept, and are for engines that keep something. */
void walk_step(walk *w) {
    enum { ALWAYS, OF_KEPT, OF_DAMAGED };
    static const struct {
        void (*take)(walk *w);
        int64_t weight;
        int when;
    } steps[] = {{do_prefill, 16, ALWAYS}, {walk_give_up, 14, ALWAYS}, {walk_fan, 12, ALWAYS},
            {walk_decode_some, 12, ALWAYS}, {walk_decode_ahead, 10, ALWAYS},
            {walk_together, 12, ALWAYS}, {do_fork, 8, ALWAYS}, {do_create, 6, ALWAYS},
            {do_truncate, 5, ALWAYS}, {do_rewind, 4, ALWAYS}, {do_free, 14, ALWAYS},
            {do_misuse, 1, ALWAYS}, {do_reopen, 4, ALWAYS}, {walk_look_at_all, 2, ALWAYS},
            {walk_suspend, 3, ALWAYS}, {walk_restore, 6, OF_KEPT}, {walk_keep, 4, OF_KEPT},
            {walk_open_book, 2, OF_KEPT}, {walk_forget, 1, OF_KEPT}, {walk_damage, 8, OF_DAMAGED}};
    const int kind = !w->persists ? ALWAYS : w->is_damaged ? OF_DAMAGED : OF_KEPT;
    const int64_t n = sizeof steps / sizeof *steps;
    int64_t all = 0;
    int64_t i = 0;
    for (int64_t k = 0; k < n; k++)
        if (steps[k].when <= kind) all += steps[k].weight;
    if (!walk_some(w, true) && !w->running) { /* there is nothing to do anything with */
        if (w->n_book > 0 || (w->persists && walk_below(w, 2)))
            walk_restore(w);
        else
            do_create(w);
        return;
    }
    for (int64_t dice = walk_below(w, all); dice >= steps[i].weight; i++) dice -= steps[i].weight;
    steps[i].take(w);
}
