/* RULER's question answering: a question of SQuAD (qa_1) or HotpotQA (qa_2) about paragraphs that stand,
 * numbered and shuffled, among as many others as fit. Those of the question's own article come before any
 * others; where there are too few, all are repeated. Round i asks the file's question i, as RULER's sample
 * i does; any of its answers is right.
 * Source: Hsieh et al. 2024, arXiv:2404.06654, appendix B and its data scripts. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/memory.h"
#include "needle.h"
#include "needle_questions.h"

enum { MAX_NEW = 32 };

static const char instruction[] =
        "Answer the question based on the given documents. Only give me the answer and do not output "
        "any other words.";

/* ---- the file -------------------------------------------------------------------------------- */

static rt_status open_questions(glm_needle_source *source, glm_questions_kind kind) {
    const glm_haystack *haystack = source->haystack;
    const char *protocol = source->settings->protocol;
    if (haystack->is_built_in)
        return rt_fail(RT_EUSAGE,
                "needle: %s asks questions of a file, as %s publishes it: --haystack FILE.json",
                protocol, kind == GLM_QUESTIONS_SQUAD ? "SQuAD" : "HotpotQA");
    RT_TRY(glm_questions_read(kind, haystack->text, haystack->n_bytes, &source->questions));
    const glm_questions *q = source->questions;
    if (source->settings->rounds > q->n)
        return rt_fail(RT_EUSAGE,
                "--rounds %" PRId64 ": each asks another question, and %s has %" PRId64
                " in the file",
                source->settings->rounds, protocol, q->n);
    rt_log(RT_LOG_INFO, "needle", "questions=%" PRId64 " paragraphs=%" PRId64 " left_out=%" PRId64,
            q->n, q->n_paragraphs, q->n_left_out);
    return RT_OK;
}

static rt_status open_squad(glm_needle_source *source) {
    return open_questions(source, GLM_QUESTIONS_SQUAD);
}

static rt_status open_hotpotqa(glm_needle_source *source) {
    return open_questions(source, GLM_QUESTIONS_HOTPOTQA);
}

/* ---- the task -------------------------------------------------------------------------------- */

static const glm_question *question_of(
        const glm_needle_source *source, const glm_needle_cell *cell) {
    return &source->questions->questions[cell->round];
}

static rt_status make_task(
        const glm_needle_source *source, const glm_needle_cell *cell, glm_needle_task *task) {
    const glm_question *question = question_of(source, cell);
    *task = (glm_needle_task){
            .n_answers = question->n_answers, .takes_any = true, .max_new = MAX_NEW};
    for (int32_t i = 0; i < question->n_answers; i++)
        (void)snprintf(task->answers[i], sizeof task->answers[i], "%s", question->answers[i]);
    (void)snprintf(task->key, sizeof task->key, "question %" PRId64, cell->round);
    (void)snprintf(task->before, sizeof task->before,
            "%s\n\nThe following are given documents.\n\n", instruction);
    (void)snprintf(
            task->after, sizeof task->after, "\n\n%s\n\nQuestion: %s", instruction, question->text);
    (void)snprintf(task->prefix, sizeof task->prefix, " Answer:");
    (void)snprintf(task->sentence, sizeof task->sentence, "%s", task->prefix);
    return RT_OK;
}

/* ---- which paragraphs ------------------------------------------------------------------------ */

/* Paragraphs of the file in the order in which a cell takes them, each once: the question's own, those
 * near them, all others. */
typedef struct ranking {
    int32_t *order; /* owned */
    int64_t n_own;
    int64_t n;
} ranking;

static void append(ranking *out, const int32_t *paragraphs, int32_t n, bool *is_taken) {
    for (int32_t i = 0; i < n; i++) {
        if (!is_taken[paragraphs[i]]) out->order[out->n++] = paragraphs[i];
        is_taken[paragraphs[i]] = true;
    }
}

static rt_status rank(const glm_needle_source *source, const glm_needle_cell *cell, ranking *out) {
    const glm_question *question = question_of(source, cell);
    const int64_t n_all = source->questions->n_paragraphs;
    bool *is_taken = NULL;
    RT_TRY(rt_calloc(n_all, sizeof *out->order, "an order of paragraphs", &out->order));
    RT_TRY(rt_calloc(n_all, sizeof *is_taken, "an order of paragraphs", &is_taken));
    append(out, question->own, question->n_own, is_taken);
    out->n_own = out->n;
    append(out, question->near, question->n_near, is_taken);
    const int64_t n_near = out->n - out->n_own;
    for (int32_t i = 0; i < n_all; i++)
        if (!is_taken[i]) out->order[out->n++] = i;
    free(is_taken);
    glm_needle_shuffle(glm_needle_draw(source->settings, cell, 1), out->order + out->n_own, n_near);
    glm_needle_shuffle(glm_needle_draw(source->settings, cell, 2), out->order + out->n_own + n_near,
            out->n - out->n_own - n_near);
    return RT_OK;
}

/* Number i of a text that has an end, or goes on. */
static rt_status tokenize_paragraph(
        const glm_needle_source *source, int32_t paragraph, int64_t i, bool is_last, glm_ids *out) {
    const char *text = source->questions->paragraphs[paragraph];
    char *all = NULL;
    const int n = asprintf(&all, "Document %" PRId64 ":\n%s%s", i + 1, text, is_last ? "" : "\n\n");
    if (n < 0) return rt_fail(RT_ENOMEM, "needle: no memory for a paragraph");
    const rt_status status = glm_tokenizer_encode(source->tokenizer, all, n, false, out);
    free(all);
    return status;
}

/* How many fit. */
static rt_status count_fitting(
        const glm_needle_source *source, const ranking *ranked, int64_t n_tokens, int64_t *n) {
    for (*n = 0;; ++*n) {
        glm_ids ids = {0};
        const rt_status status =
                tokenize_paragraph(source, ranked->order[*n % ranked->n], *n, false, &ids);
        n_tokens -= ids.n;
        glm_ids_free(&ids);
        RT_TRY(status);
        if (n_tokens < 0) return RT_OK;
    }
}

/* ---- context --------------------------------------------------------------------------------- */

/* The first n of the ranking, shuffled; those with a place in it below n_own are the question's own. */
static rt_status write_context(const glm_needle_source *source, const glm_needle_cell *cell,
        const ranking *ranked, int64_t n, glm_ids *context, int64_t *needle_at) {
    int32_t *places = NULL;
    RT_TRY(rt_calloc(n, sizeof *places, "paragraphs", &places));
    for (int64_t i = 0; i < n; i++) places[i] = (int32_t)(i % ranked->n);
    glm_needle_shuffle(glm_needle_draw(source->settings, cell, 3), places, n);
    rt_status status = RT_OK;
    *needle_at = -1;
    for (int64_t i = 0; i < n && status == RT_OK; i++) {
        if (*needle_at < 0 && places[i] < ranked->n_own) *needle_at = context->n;
        status = tokenize_paragraph(source, ranked->order[places[i]], i, i + 1 == n, context);
    }
    free(places);
    return status;
}

static rt_status fill(const glm_needle_source *source, const glm_needle_cell *cell,
        int64_t n_tokens, ranking *ranked, glm_ids *context, int64_t *needle_at) {
    int64_t n = 0;
    RT_TRY(rank(source, cell, ranked));
    RT_TRY(count_fitting(source, ranked, n_tokens, &n));
    if (n >= ranked->n_own) return write_context(source, cell, ranked, n, context, needle_at);
    return rt_fail(RT_EUSAGE,
            "needle: a length of %" PRId64 " tokens is too short for %s: of the %" PRId64
            " paragraphs of its question %" PRId64 " fit",
            cell->length, source->settings->protocol, ranked->n_own, n);
}

static rt_status make_context(const glm_needle_source *source, const glm_needle_cell *cell,
        const glm_needle_task *task, int64_t n_tokens, glm_ids *context, int64_t *needle_at) {
    ranking ranked = {0};
    (void)task;
    const rt_status status = fill(source, cell, n_tokens, &ranked, context, needle_at);
    free(ranked.order);
    return status;
}

const glm_needle_protocol glm_needle_qa_squad = {.name = "ruler:qa_1",
        .is_spread = true,
        .open = open_squad,
        .make_task = make_task,
        .make_context = make_context};
const glm_needle_protocol glm_needle_qa_hotpotqa = {.name = "ruler:qa_2",
        .is_spread = true,
        .open = open_hotpotqa,
        .make_task = make_task,
        .make_context = make_context};
