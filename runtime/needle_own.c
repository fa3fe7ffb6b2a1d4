/* Needles, question and answers as the user gives them: --needle, --question and --answer. The
 * question stands an empty line behind the text, in the same message; the haystack is repeated where
 * it is too short. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "needle.h"

enum { NEEDLES_MAX = 32 };

/* ---- the task -------------------------------------------------------------------------------- */

static rt_status check_length(const char *flag, const char *text, size_t n_max) {
    if (text[0] && strlen(text) <= n_max) return RT_OK;
    return rt_fail(RT_EUSAGE, "%s: %zu bytes; 1 to %zu are taken", flag, strlen(text), n_max);
}

static rt_status check(const glm_needle_own *own) {
    if (own->n_needles == 0 || !own->question || own->n_answers == 0)
        return rt_fail(RT_EUSAGE,
                "needle: needles of your own want --needle, --question and --answer, a text that "
                "a right answer holds; there is no %s",
                own->n_needles == 0 ? "--needle"
                : !own->question    ? "--question"
                                    : "--answer");
    if (own->n_needles > NEEDLES_MAX || own->n_answers > GLM_NEEDLE_ANSWERS)
        return rt_fail(RT_EUSAGE,
                "needle: %d times --needle and %d times --answer; at most %d and %d are taken",
                own->n_needles, own->n_answers, NEEDLES_MAX, GLM_NEEDLE_ANSWERS);
    for (int i = 0; i < own->n_needles; i++)
        RT_TRY(check_length("--needle", own->needles[i], GLM_NEEDLE_TEXT - 3));
    for (int i = 0; i < own->n_answers; i++)
        RT_TRY(check_length(
                "--answer", own->answers[i], sizeof((glm_needle_task){0}).answers[0] - 1));
    return check_length("--question", own->question, GLM_NEEDLE_TEXT - 3);
}

static void print_line(const char *needle, char line[GLM_NEEDLE_TEXT]) {
    (void)snprintf(line, GLM_NEEDLE_TEXT, "\n%s\n", needle);
}

/* What a model that only continues text is given: the first needle up to the first answer. */
static void cut_sentence(const glm_needle_own *own, char sentence[GLM_NEEDLE_TEXT]) {
    const char *answer = strcasestr(own->needles[0], own->answers[0]);
    if (!answer) return;
    (void)snprintf(
            sentence, GLM_NEEDLE_TEXT, "%.*s", (int)(answer - own->needles[0]), own->needles[0]);
}

static rt_status make_task(
        const glm_needle_source *source, const glm_needle_cell *cell, glm_needle_task *task) {
    const glm_needle_own *own = &source->settings->own;
    (void)cell;
    RT_TRY(check(own));
    *task = (glm_needle_task){
            .n_answers = own->n_answers, .counts_parts = own->n_answers > 1, .max_new = 128};
    print_line(own->needles[0], task->needle);
    cut_sentence(own, task->sentence);
    (void)snprintf(task->after, sizeof task->after, "\n\n%s", own->question);
    for (int i = 0; i < own->n_answers; i++)
        (void)snprintf(task->answers[i], sizeof task->answers[i], "%s", own->answers[i]);
    return RT_OK;
}

/* ---- context --------------------------------------------------------------------------------- */

/* A needle, and behind how many tokens of the haystack it goes. */
typedef struct insertion {
    int i;
    int64_t at;
} insertion;

static double depth_of(const glm_needle_source *source, const glm_needle_cell *cell, int i) {
    if (i == 0) return cell->depth;
    return (double)(glm_needle_draw(source->settings, cell, 100 + (uint64_t)i) % 101);
}

/* In the order of the text; at one place in the order given. */
static void place(const glm_needle_source *source, const glm_needle_cell *cell, const glm_ids *text,
        insertion order[NEEDLES_MAX]) {
    for (int i = 0; i < source->settings->own.n_needles; i++) {
        const insertion one = {i,
                glm_needle_insertion_point(source, text->ids, text->n, depth_of(source, cell, i))};
        int at = i;
        for (; at > 0 && order[at - 1].at > one.at; at--) order[at] = order[at - 1];
        order[at] = one;
    }
}

static rt_status insert(const glm_needle_source *source, const insertion *order,
        const glm_ids *text, glm_ids *context, int64_t *needle_at) {
    const glm_needle_own *own = &source->settings->own;
    int64_t done = 0;
    for (int k = 0; k < own->n_needles; k++) {
        char line[GLM_NEEDLE_TEXT];
        print_line(own->needles[order[k].i], line);
        RT_TRY(glm_ids_append(context, text->ids + done, order[k].at - done));
        done = order[k].at;
        if (order[k].i == 0) *needle_at = context->n;
        RT_TRY(glm_tokenizer_encode(
                source->tokenizer, line, (int64_t)strlen(line), false, context));
    }
    return glm_ids_append(context, text->ids + done, text->n - done);
}

static rt_status make_context(const glm_needle_source *source, const glm_needle_cell *cell,
        const glm_needle_task *task, int64_t n_tokens, glm_ids *context, int64_t *needle_at) {
    insertion order[NEEDLES_MAX];
    glm_ids text = {0};
    (void)task;
    for (int i = 0; i < source->settings->own.n_needles; i++) {
        char line[GLM_NEEDLE_TEXT];
        int64_t n = 0;
        print_line(source->settings->own.needles[i], line);
        RT_TRY(glm_needle_tokens(source, line, &n));
        n_tokens -= n;
    }
    if (n_tokens < 0)
        return rt_fail(RT_EUSAGE,
                "needle: a length of %" PRId64 " tokens is too short: the needles take %" PRId64
                " more than there are",
                cell->length, -n_tokens);
    rt_status status = glm_needle_stretch(source, cell, n_tokens, &text);
    if (status == RT_OK) {
        place(source, cell, &text, order);
        status = insert(source, order, &text, context, needle_at);
    }
    glm_ids_free(&text);
    return status;
}

const glm_needle_protocol glm_needle_own_task = {.name = "own",
        .repeats_haystack = true,
        .make_task = make_task,
        .make_context = make_context};
