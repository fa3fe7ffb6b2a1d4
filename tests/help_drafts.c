#include "help_drafts.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "help_check.h"
#include "runtime/base/size.h"
#include "runtime/draft.h"

enum { VOCAB_MAX = 304, N_OTHER = 256 };

/* What is done between steps, in each period of so many of them. */
enum { AT_FORK = 17, AT_OTHER = 22, AT_CUT = 31, AT_PREFILL = 43, PERIOD = 50 };
enum { AT_EXTENT = 4096 };

typedef struct history {
    float rows[HELP_DRAFTS_STEPS][VOCAB_MAX];
    int64_t lengths[HELP_DRAFTS_STEPS];
    glm_drafts drafts[HELP_DRAFTS_STEPS]; /* of this step and all before it */
    int32_t n;
} history;

typedef struct run {
    const help_drafts_case *of;
    const int32_t *text;
    glm_engine *engine;
    int64_t vocab;
    glm_session *session;
    glm_session *other;
    bool is_ahead;
    history *h;
} run;

static uint32_t draw(uint32_t *state, uint32_t n) {
    *state = *state * 1664525u + 1013904223u;
    return (*state >> 8) % n;
}

/* Passages of 4 to 40 tokens, two in three of them from before; in these one token in 25 is another. */
const int32_t *help_drafts_text(void) {
    static int32_t text[HELP_DRAFTS_TEXT];
    uint32_t state = 7;
    for (int32_t i = 0; i < HELP_DRAFTS_TEXT;) {
        const int32_t n = 4 + (int32_t)draw(&state, 37);
        const bool is_old = i > 60 && draw(&state, 3) > 0;
        const int32_t from = is_old ? (int32_t)draw(&state, (uint32_t)(i - 50)) : 0;
        for (int32_t k = 0; k < n && i < HELP_DRAFTS_TEXT; k++, i++)
            text[i] = is_old && draw(&state, 25) > 0 ? text[from + k]
                                                     : (int32_t)draw(&state, HELP_DRAFTS_IDS);
    }
    return text;
}

/* The end, where the session is full, repeats itself. */
static const int32_t *text_of(const help_drafts_case *one) {
    static int32_t text[HELP_DRAFTS_TEXT];
    memcpy(text, help_drafts_text(), sizeof text);
    for (int64_t i = one->n_text - 30; i < one->n_text; i++) text[i] = text[i - 10];
    return text;
}

/* ---- what is compared ------------------------------------------------------------------------ */

static void note_row(run *r, const glm_session *session) {
    const float *logits = NULL;
    int64_t n_rows = 0;
    help_require(glm_session_logits(session, &logits, &n_rows), "logits");
    memcpy(r->h->rows[r->h->n], logits + (n_rows - 1) * r->vocab,
            (size_t)r->vocab * sizeof *logits);
}

static void note(run *r, glm_session *session, const glm_sampling *sampling) {
    const int64_t step = r->h->n;
    int32_t id = 0;
    memset(r->h->rows[step], 0, sizeof r->h->rows[step]);
    if (!sampling) {
        note_row(r, session);
    } else {
        help_require(glm_session_choose(session, r->vocab, sampling, step, &id), "choose");
        r->h->rows[step][0] = (float)id;
    }
    r->h->lengths[step] = glm_session_length(r->session);
    r->h->drafts[r->h->n++] = glm_engine_drafts(r->engine);
}

/* ---- calls ----------------------------------------------------------------------------------- */

static void decode_in_fork(run *r, int64_t length) {
    glm_session *fork = NULL;
    const int64_t room = rt_min64(length + 40, HELP_DRAFTS_TEXT);
    help_require(glm_session_fork(r->session, length, room, &fork), "fork");
    help_require(glm_decode(&fork, &r->text[glm_session_length(fork)], 1), "decode in a fork");
    note(r, fork, NULL);
    glm_session_free(fork);
}

static rt_status ignore(void *context, int64_t at, int64_t n, const float *logits) {
    (void)context, (void)at, (void)n, (void)logits;
    return RT_OK;
}

/* Another session's prefill up to where logits of its tokens are made, or to its end: these come into the memory where
 * drafts have theirs. */
static void prefill_other(run *r, bool is_begun) {
    const glm_plan *plan = glm_engine_plan(r->engine);
    glm_prefill_progress progress = {0};
    if (!is_begun) {
        glm_session_truncate(r->other, 0);
        help_require(glm_prefill_begin_all(r->other, r->text, plan->chunk + 40, 0, ignore, NULL),
                "begin");
        for (int i = 0; i < 2 * glm_engine_config(r->engine)->n_layers + 1; i++)
            help_require(glm_prefill_step(r->other, &progress), "step");
    }
    while (is_begun && !progress.is_done)
        help_require(glm_prefill_step(r->other, &progress), "step");
}

/* How the token behind a step is chosen; NULL: the logits are looked at. */
static const glm_sampling *sampling_at(int step) {
    static const glm_sampling greedy = {.top_p = 1.0f};
    static const glm_sampling drawn = {.temperature = 3.0f, .top_p = 1.0f, .seed = 5};
    const int in_period = step % PERIOD;
    if (in_period < 3 || in_period > 40 || step % 10 == 7) return NULL;
    return in_period < 10 ? &drawn : &greedy;
}

static void take_step(run *r, int step) {
    glm_session *session = r->session;
    const int64_t length = glm_session_length(session);
    const int in_period = step % PERIOD;
    if (in_period == AT_OTHER || in_period == AT_OTHER + 2) prefill_other(r, in_period > AT_OTHER);
    if (in_period == AT_FORK) {
        decode_in_fork(r, length - length % 3);
        return;
    }
    if (in_period == AT_CUT) glm_session_truncate(session, length - 3);
    const int64_t now = glm_session_length(session);
    const int64_t n = rt_min64(3, r->of->n_text - now);
    if (in_period == AT_PREFILL)
        help_require(glm_prefill(session, r->text + now, n), "prefill");
    else if (r->is_ahead && step % 10 != 4)
        help_require(glm_decode_ahead(session, r->text[now]), "decode ahead");
    else
        help_require(glm_decode(&session, &r->text[now], 1), "decode");
    note(r, session, sampling_at(step));
}

static void start(run *r) {
    const help_drafts_case *one = r->of;
    glm_reuse reuse = {0};
    help_require(glm_session_create(r->engine, one->n_text, &r->session), "session");
    help_require(glm_session_create(r->engine, N_OTHER, &r->other), "session");
    if (one->options.persists)
        help_require(glm_session_restore(r->session, r->text, one->n_prompt, &reuse), "restore");
    help_require(glm_prefill(r->session, r->text + reuse.n_tokens, one->n_prompt - reuse.n_tokens),
            "prefill");
}

/* Returns whether KV overflows or not, as it must. */
static bool go(const help_drafts_case *one, int32_t n_speculative, history *h) {
    run r = {.of = one, .text = text_of(one), .is_ahead = n_speculative > 0, .h = h};
    glm_options options = one->options;
    options.max_len = rt_max64(HELP_DRAFTS_TEXT, N_OTHER);
    options.chunk = 128;
    options.max_seqs = 2;
    options.extra_kv_tokens = one->n_text + 2 * N_OTHER;
    options.n_speculative = n_speculative;
    h->n = 0;
    help_require(glm_engine_open(&options, &r.engine), "open");
    r.vocab = glm_engine_config(r.engine)->vocab;
    if (r.vocab > VOCAB_MAX || one->n_text > HELP_DRAFTS_TEXT) exit(1);
    start(&r);
    for (int step = 0; step < HELP_DRAFTS_STEPS && glm_session_length(r.session) < one->n_text;
            step++)
        take_step(&r, step);
    const bool is_as_it_must = glm_engine_plan(r.engine)->kv_overflows == one->must_overflow;
    glm_session_free(r.other);
    glm_session_free(r.session);
    glm_engine_close(r.engine);
    return is_as_it_must;
}

/* ---- both ------------------------------------------------------------------------------------ */

static int fail(const help_drafts_case *one, const char *why, int64_t number) {
    printf("FAIL %s: %s (%" PRId64 ")\n", one->what, why, number);
    return 1;
}

/* Steps that have something in common, and what became of the drafts in them. */
typedef struct part {
    const char *what;
    int from, to;  /* of each period's steps, those before `to`, */
    bool is_ahead; /* and only those up to the extent's end, */
    bool is_past;  /* or past it */
} part;

static int32_t count(const history *h, const part *p, glm_drafts *sum) {
    int32_t n = 0;
    *sum = (glm_drafts){0};
    for (int i = 0; i < h->n; i++) {
        const glm_drafts before = i > 0 ? h->drafts[i - 1] : (glm_drafts){0};
        const bool is_past = h->lengths[i] > AT_EXTENT;
        if (i % PERIOD < p->from || i % PERIOD >= p->to) continue;
        if (is_past ? p->is_ahead : p->is_past) continue;
        n++;
        sum->n_drafted += h->drafts[i].n_drafted - before.n_drafted;
        sum->n_taken += h->drafts[i].n_taken - before.n_taken;
    }
    return n;
}

/* Where hardly a draft is right, or wrong, nothing is said about those. Of a history that is long enough to ask. */
static int find_few(const help_drafts_case *one, const history *ahead) {
    static const part parts[] = {{"up to an extent's end", 0, PERIOD, true, false},
            {"past an extent's end", 0, PERIOD, false, true},
            {"with nothing between", 0, AT_FORK, false, false},
            {"behind a fork", AT_FORK, AT_OTHER, false, false},
            {"beside another's prefill", AT_OTHER, AT_CUT, false, false},
            {"behind a cut", AT_CUT, AT_PREFILL, false, false},
            {"behind a prefill", AT_PREFILL, PERIOD, false, false}};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        glm_drafts sum;
        const int32_t n = count(ahead, &parts[i], &sum);
        if (n < 40 || (sum.n_taken >= n / 16 && sum.n_drafted - sum.n_taken >= n / 20)) continue;
        printf("%s, %d steps: %" PRId64 " of %" PRId64 " drafted tokens right\n", parts[i].what,
                (int)n, sum.n_taken, sum.n_drafted);
        return fail(one, "too few drafts are right, or wrong, in a part", sum.n_taken);
    }
    return 0;
}

static int compare(const help_drafts_case *one, const history *plain, const history *ahead) {
    if (plain->n != ahead->n) return fail(one, "another number of steps", ahead->n);
    if (plain->lengths[plain->n - 1] != one->n_text)
        return fail(one, "not to the session's end", plain->lengths[plain->n - 1]);
    for (int i = 0; i < plain->n; i++) {
        if (plain->lengths[i] != ahead->lengths[i]) return fail(one, "another length, in step", i);
        if (memcmp(plain->rows[i], ahead->rows[i], sizeof plain->rows[i]) != 0)
            return fail(one, "other logits, or another token, in step", i);
    }
    const glm_drafts all = ahead->drafts[ahead->n - 1];
    if (plain->drafts[plain->n - 1].n_drafted != 0 || all.n_taken < plain->n / 8 ||
            all.n_taken > all.n_drafted - plain->n / 20)
        return fail(one, "too few drafts are right, or wrong", all.n_taken);
    return find_few(one, ahead);
}

int help_drafts_differ(const help_drafts_case *one) {
    static history plain, ahead;
    bool is_as_it_must = go(one, 0, &plain);
    is_as_it_must = go(one, GLM_DRAFT_MAX, &ahead) && is_as_it_must;
    printf("%s: %" PRId64 " of %" PRId64 " drafted tokens right in %d steps\n", one->what,
            ahead.drafts[ahead.n - 1].n_taken, ahead.drafts[ahead.n - 1].n_drafted, (int)ahead.n);
    (void)fflush(stdout);
    if (!is_as_it_must)
        return fail(one, one->must_overflow ? "KV does not overflow" : "KV overflows", 0);
    return compare(one, &plain, &ahead);
}
