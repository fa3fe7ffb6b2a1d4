/* The prefix, once, and questions as forks of it. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "asking.h"
#include "base/log.h"
#include "base/memory.h"
#include "claims.h"
#include "cli_prefill.h"
#include "cli_show.h"
#include "cli_signals.h"
#include "cli_sources.h"
#include "cli_turn.h"
#include "cmd_ask.h"
#include "cmd_ask_record.h"
#include "turn.h"

/* ---- the prefix ------------------------------------------------------------------------------ */

/* glm_session_restore leaves the last id to be computed: one more is given, so that all of the prefix can be found. */
static rt_status restore_prefix(ask_run *run) {
    glm_ids *ids = &run->reading.prefix;
    RT_TRY(glm_ids_push(ids, 0));
    rt_status status = glm_session_restore(run->prefix, ids->ids, ids->n, &run->reuse);
    if (status == RT_OK)
        status = glm_cli_take_turn(
                run->cli, run->prefix, ids->ids, ids->n, ids->n - 1, &run->reuse, &run->waited_s);
    ids->n--;
    run->n_reused = run->reuse.n_tokens;
    return status;
}

/* A book that has lost part of what it held on disk gets it back. */
static rt_status mend_book(const ask_run *run) {
    if (run->reading.prefix.n - run->n_reused < ASK_FORK_TOKENS) return RT_OK;
    if (glm_book_mend(run->prefix, run->cli->book) != RT_OK)
        rt_log(RT_LOG_WARN, "ask", "book %s is not whole again: %s", run->cli->book,
                rt_error_text());
    return RT_OK;
}

/* A disk without room for the book costs later questions time, not this one its answer. */
static rt_status make_book(const ask_run *run) {
    const rt_status status = glm_session_keep(run->prefix, run->cli->book, run->note);
    if (status != RT_EIO && status != RT_ENOFIT) return status;
    rt_log(RT_LOG_WARN, "ask", "book %s does not hold the text: %s", run->cli->book,
            rt_error_text());
    return RT_OK;
}

/* Keep the prefix for the next question. */
static rt_status keep_prefix(const ask_run *run) {
    if (run->is_book) return mend_book(run);
    if (run->cli->book) return make_book(run);
    if (run->n_reused == run->reading.prefix.n) return RT_OK;
    if (glm_engine_plan(run->engine)->kv_persists &&
            glm_session_keep(run->prefix, NULL, NULL) != RT_OK)
        rt_log(RT_LOG_WARN, "ask", "the text is not kept for the next question: %s",
                rt_error_text());
    return RT_OK;
}

/* Which edit it is that costs the time, or how far a run came that was stopped. A file's heading belongs to no passage:
 * hence "or right behind it". */
static void say_where(const ask_run *run) {
    const glm_reading *reading = &run->reading;
    const bool is_all = run->n_reused == 0 || run->n_reused >= reading->prefix.n;
    if (run->cli->quiet || run->is_book || is_all || reading->cut.n_tokens > 0) return;
    const glm_passage *passage =
            glm_passages_get(&reading->passages, glm_reading_passage_at(reading, run->n_reused));
    if (!passage) return;
    const glm_document_place place = glm_document_find(&reading->document, passage->begin);
    (void)fprintf(stderr, "the others begin at %s, ", place.file->path);
    if (place.page > 0) (void)fprintf(stderr, "page %" PRId64 ", ", place.page);
    (void)fprintf(stderr, "line %" PRId64 ", or right behind it\n", place.line);
}

rt_status ask_prefill_prefix(ask_run *run) {
    const glm_ids *ids = &run->reading.prefix;
    const double started_s = rt_now();
    RT_TRY(glm_session_create(run->engine, ids->n + 1, &run->prefix));
    RT_TRY(restore_prefix(run));
    const int64_t n = run->reuse.n_tokens;
    const double left =
            glm_plan_prefill_work(glm_engine_plan(run->engine), &run->config, n, ids->n - n);
    glm_cli_say_reuse(run->cli, run->prefix, left, ids->n, &run->reuse);
    say_where(run);
    if (glm_session_length(run->prefix) < ids->n)
        RT_TRY(glm_cli_prefill_rest(run->cli, run->prefix, ids->ids, ids->n, NULL));
    RT_TRY(keep_prefix(run));
    glm_turn_give_back(run->prefix);
    run->prefill_s = rt_now() - started_s - run->waited_s;
    return RT_OK;
}

/* ---- a question's fork, and its answer ------------------------------------------------------- */

/* The ids that a fork is to take: the question's, and those of the prefix that it lacks, where KV is lossy. */
static rt_status missing_ids(
        const ask_run *run, const glm_asking *asking, const ask_question *question, glm_ids *out) {
    const int64_t from = glm_session_length(asking->session);
    RT_TRY(glm_ids_append(out, run->reading.prefix.ids + from, run->reading.prefix.n - from));
    return glm_ids_append(out, question->ids.ids, question->ids.n);
}

/* Fork the prefix for a question; `ids` gets what the fork is to take before the answer's first token. */
static rt_status begin(
        const ask_run *run, const ask_question *question, glm_asking *asking, glm_ids *ids) {
    const int64_t n_prefix = run->reading.prefix.n;
    *asking = (glm_asking){.max_tokens = question->max_tokens,
            .answer = {.tokenizer = run->tokenizer,
                    .stop = {.texts = run->cli->stop, .n_texts = run->cli->n_stop}}};
    RT_TRY(glm_session_fork(run->prefix, n_prefix,
            n_prefix + question->ids.n + question->max_tokens, &asking->session));
    return missing_ids(run, asking, question, ids);
}

static const char *text_of(const glm_asking *asking) {
    return asking->text.bytes ? asking->text.bytes : "";
}

rt_status ask_write_record(const ask_run *run, json_t *record) {
    char *line = record ? json_dumps(record, JSON_REAL_PRECISION(9)) : NULL;
    json_decref(record);
    if (!line) return rt_fail(RT_ENOMEM, "ask: no memory for a record");
    const int failed = fprintf(run->out, "%s\n", line) < 0 || fflush(run->out) != 0;
    free(line);
    return failed ? rt_fail_errno(RT_EIO, "ask: cannot write to %s",
                            run->cli->out ? run->cli->out : "standard output")
                  : RT_OK;
}

static rt_status show_answer(const glm_asking *asking, const glm_citations *citations) {
    const char last = asking->text.n > 0 ? asking->text.bytes[asking->text.n - 1] : '\0';
    if (last != '\n') (void)putchar('\n');
    ask_print_citations(text_of(asking), citations);
    return fflush(stdout) == 0 ? RT_OK : rt_fail_errno(RT_EIO, "ask: cannot write the answer");
}

static rt_status finish(ask_run *run, const ask_question *question, const glm_asking *asking) {
    glm_citations citations;
    RT_TRY(glm_reading_cite(&run->reading, text_of(asking), asking->text.n, &citations));
    rt_status status = RT_OK;
    if (run->out)
        status = ask_write_record(
                run, ask_record(question, asking, &citations, run->members,
                             run->reading.prefix.n + question->ids.n, run->n_reused));
    else
        status = show_answer(asking, &citations);
    glm_citations_free(&citations);
    run->n_answered += status == RT_OK;
    return status;
}

/* ---- one question: -q ------------------------------------------------------------------------ */

static void say_usage(const ask_run *run, const ask_question *question, const glm_asking *asking) {
    char rate[RT_SIZE_TEXT];
    char drafts[GLM_CLI_DRAFTS_TEXT];
    if (run->cli->quiet) return;
    (void)fprintf(stderr,
            "prompt %" PRId64 " tokens, %" PRId64 " of them reused, in %.2f s; answer %" PRId64
            " tokens in %.2f s%s%s, %s\n",
            run->reading.prefix.n + question->ids.n, run->n_reused, run->prefill_s,
            asking->n_tokens, run->decode_s, glm_cli_rate(asking->n_tokens, run->decode_s, rate),
            glm_cli_drafts(run->engine, (glm_drafts){0}, drafts), asking->finish_reason);
    if (strcmp(asking->finish_reason, "length") == 0)
        (void)fprintf(stderr, "the answer is cut off after %" PRId64 " tokens: -n N allows more\n",
                asking->n_tokens);
}

/* Print what has come since the first *shown bytes: all of it if is_last, otherwise as far as it is certain how it is to be
 * shown. */
static rt_status show_text(const glm_text *answer, bool is_last, int64_t *shown) {
    const int64_t n = answer->n - *shown;
    int64_t n_used = 0;
    char *text = NULL;
    if (n == 0) return RT_OK;
    RT_TRY(rt_malloc(n, "a piece of the answer", (void **)&text));
    const int64_t n_text = glm_claims_show(answer->bytes + *shown, n, is_last, text, &n_used);
    const bool is_written = glm_cli_show(stdout, text, n_text);
    *shown += n_used;
    free(text);
    if (is_written && fflush(stdout) == 0) return RT_OK;
    return rt_fail_errno(RT_EIO, "ask: cannot write the answer");
}

static rt_status stream(ask_run *run, glm_asking *asking) {
    int64_t shown = 0;
    for (;;) {
        const bool is_over = asking->finish_reason != NULL;
        if (!run->out) RT_TRY(show_text(&asking->text, is_over, &shown));
        if (is_over) return RT_OK;
        if (glm_cli_interrupted()) {
            RT_TRY(glm_asking_end(asking, "interrupted"));
            continue;
        }
        const rt_status status = glm_decode_ahead(asking->session, asking->next);
        if (status == RT_EINTERRUPTED) continue;
        RT_TRY(status);
        RT_TRY(glm_asking_take(asking, run->engine, &run->sampling));
    }
}

/* After Ctrl-C, what is lost and how to go on. */
static rt_status say_cut(const ask_run *run) {
    const rt_status status = glm_cli_check_interrupted();
    if (status == RT_OK) return RT_OK;
    return rt_fail(status, "%s in the answer%s", rt_error_text(),
            glm_engine_plan(run->engine)->kv_persists
                    ? "; the text is kept: asked again, it is the answer alone that is computed"
                    : "");
}

/* Prefill the question and choose the answer's first token. */
static rt_status prefill_one(const ask_run *run, const ask_question *question, glm_asking *asking) {
    glm_ids ids = {0};
    rt_status status = begin(run, question, asking, &ids);
    if (status == RT_OK)
        status = glm_cli_prefill(run->cli, asking->session, ids.ids, ids.n, NULL, 1);
    glm_ids_free(&ids);
    return status == RT_OK ? glm_asking_take(asking, run->engine, &run->sampling) : status;
}

rt_status ask_one(ask_run *run) {
    const ask_question *question = &run->questions.questions[0];
    glm_asking asking;
    double started_s = rt_now();
    rt_status status = prefill_one(run, question, &asking);
    run->prefill_s += rt_now() - started_s;
    started_s = rt_now();
    if (status == RT_OK) status = stream(run, &asking);
    run->decode_s = rt_now() - started_s;
    if (status == RT_OK) status = finish(run, question, &asking);
    if (status == RT_OK) say_usage(run, question, &asking);
    glm_asking_free(&asking);
    return status == RT_OK ? say_cut(run) : status;
}

/* ---- many questions: --questions ------------------------------------------------------------- */

/* One of the questions under way side by side. */
typedef struct lane {
    const ask_question *question; /* NULL: free */
    glm_asking asking;
    glm_ids ids; /* to be taken in the next pass; none: the token chosen last is */
} lane;

typedef struct round {
    ask_run *run;
    lane lanes[ASK_TOGETHER_MAX];
    int64_t next; /* index of the first question that has not begun */
} round;

static void say_answered(const ask_run *run) {
    if (run->cli->quiet || run->cli->no_progress) return;
    (void)fprintf(stderr, "answered %" PRId64 " of %" PRId64 "\n", run->n_answered, run->n_open);
}

static rt_status close_lane(round *r, lane *l) {
    const rt_status status = finish(r->run, l->question, &l->asking);
    glm_asking_free(&l->asking);
    l->question = NULL;
    say_answered(r->run);
    return status;
}

/* Put the next open question into a lane that is free. */
static rt_status fill_lane(round *r, lane *l) {
    const ask_questions *questions = &r->run->questions;
    while (!l->question && r->next < questions->n_questions) {
        const ask_question *question = &questions->questions[r->next++];
        if (!ask_is_open(question)) continue;
        l->question = question;
        RT_TRY(begin(r->run, question, &l->asking, &l->ids));
    }
    return RT_OK;
}

/* One pass over the model: the last token of each answer under way, and all ids of questions that begin. */
static rt_status run_pass(lane *const *busy, int32_t n) {
    glm_session *sessions[ASK_TOGETHER_MAX];
    const int32_t *ids[ASK_TOGETHER_MAX];
    int64_t n_ids[ASK_TOGETHER_MAX];
    int32_t next[ASK_TOGETHER_MAX];
    bool has_questions = false;
    for (int32_t i = 0; i < n; i++) {
        const lane *l = busy[i];
        has_questions = has_questions || l->ids.n > 0;
        sessions[i] = l->asking.session;
        next[i] = l->asking.next;
        ids[i] = l->ids.n > 0 ? l->ids.ids : &next[i];
        n_ids[i] = l->ids.n > 0 ? l->ids.n : 1;
    }
    if (has_questions) return glm_prefill_together(sessions, ids, n_ids, n);
    return n == 1 ? glm_decode_ahead(sessions[0], next[0]) : glm_decode(sessions, next, n);
}

static rt_status check_stop(const ask_run *run) {
    const rt_status status = glm_cli_check_interrupted();
    if (status == RT_OK) return RT_OK;
    if (!run->cli->out)
        return rt_fail(status,
                "%s: %" PRId64 " of %" PRId64
                " questions are answered; with --out FILE the next run asks the others only",
                rt_error_text(), run->n_answered, run->n_open);
    return rt_fail(status,
            "%s: %" PRId64 " of %" PRId64 " questions were open, %" PRId64
            " of them are answered, and in %s; the same command asks the others",
            rt_error_text(), run->n_open, run->questions.n_questions, run->n_answered,
            run->cli->out);
}

static rt_status step(round *r, int32_t *n_busy) {
    lane *busy[ASK_TOGETHER_MAX];
    *n_busy = 0;
    RT_TRY(check_stop(r->run));
    for (int32_t i = 0; i < r->run->n_together; i++) {
        lane *l = &r->lanes[i];
        RT_TRY(fill_lane(r, l));
        if (l->question) busy[(*n_busy)++] = l;
    }
    if (*n_busy == 0) return RT_OK;
    const rt_status status = run_pass(busy, *n_busy);
    if (status == RT_EINTERRUPTED) return check_stop(r->run);
    RT_TRY(status);
    for (int32_t i = 0; i < *n_busy; i++) {
        busy[i]->ids.n = 0;
        RT_TRY(glm_asking_take(&busy[i]->asking, r->run->engine, &r->run->sampling));
        if (busy[i]->asking.finish_reason) RT_TRY(close_lane(r, busy[i]));
    }
    return RT_OK;
}

rt_status ask_many(ask_run *run) {
    round *r = NULL;
    int32_t n_busy = 1;
    RT_TRY(rt_calloc(1, sizeof *r, "questions under way", &r));
    r->run = run;
    rt_status status = RT_OK;
    while (status == RT_OK && n_busy > 0) status = step(r, &n_busy);
    for (int32_t i = 0; i < ASK_TOGETHER_MAX; i++) {
        glm_asking_free(&r->lanes[i].asking);
        glm_ids_free(&r->lanes[i].ids);
    }
    free(r);
    return status;
}
