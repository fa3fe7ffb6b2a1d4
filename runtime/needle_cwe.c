/* RULER's common words extraction: a numbered list in which ten words stand 30 times each and every
 * other one 3 times, shuffled; which are the ten? Below 4096 tokens it is 6 times and once. One
 * smaller list with its answer stands in front. The words are ours.
 * Source: Hsieh et al. 2024, arXiv:2404.06654, appendix B and its data scripts. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"
#include "base/size.h"
#include "needle.h"
#include "text.h"

enum { N_COMMON = 10, LONG_TOKENS = 4096, WORD_STRIDE = 7919 };

static const char template_before[] =
        "Below is a numbered list of words. In these words, some appear more often than others. "
        "Memorize the ones that appear most often.\n";
static const char template_after[] =
        "\nQuestion: What are the 10 most common words in the above list?";
static const char template_prefix[] =
        " Answer: The top 10 words that appear most often in the list are:";

/* A list: n_words different words, the first N_COMMON of them common. */
typedef struct word_list {
    uint64_t draw; /* which words, in which order */
    int64_t n_words;
    int64_t n_common_repeats;
    int64_t n_other_repeats;
} word_list;

static word_list list_of(const glm_needle_source *source, const glm_needle_cell *cell) {
    const bool is_long = cell->length >= LONG_TOKENS;
    return (word_list){.draw = glm_needle_draw(source->settings, cell, 1),
            .n_words = N_COMMON,
            .n_common_repeats = is_long ? 30 : 6,
            .n_other_repeats = is_long ? 3 : 1};
}

static word_list example_of(const glm_needle_source *source, const glm_needle_cell *cell) {
    const bool is_long = cell->length >= LONG_TOKENS;
    return (word_list){.draw = glm_needle_draw(source->settings, cell, 2),
            .n_words = is_long ? 40 : 20,
            .n_common_repeats = is_long ? 10 : 3,
            .n_other_repeats = is_long ? 3 : 1};
}

/* Different ones for different i: WORD_STRIDE and the number of words have no common factor. */
static void word_of(const word_list *list, int64_t i, char text[64]) {
    const int64_t n_short = glm_needle_n_words();
    const int64_t start = (int64_t)(list->draw % (uint64_t)n_short);
    if (i < n_short)
        glm_needle_words((start + i * WORD_STRIDE) % n_short, text);
    else
        glm_needle_long_words(
                (start + (i - n_short) * WORD_STRIDE) % glm_needle_n_long_words(), text);
}

static int64_t n_entries(const word_list *list) {
    return N_COMMON * list->n_common_repeats + (list->n_words - N_COMMON) * list->n_other_repeats;
}

static int32_t word_at(const word_list *list, int64_t entry) {
    const int64_t n_common = N_COMMON * list->n_common_repeats;
    if (entry < n_common) return (int32_t)(entry / list->n_common_repeats);
    return (int32_t)(N_COMMON + (entry - n_common) / list->n_other_repeats);
}

/* "1. agile-acorn 2. ..." */
static rt_status print_list(const word_list *list, glm_text *out) {
    const int64_t n = n_entries(list);
    int32_t *entries = NULL;
    RT_TRY(rt_calloc(n, sizeof *entries, "a list of words", &entries));
    for (int64_t i = 0; i < n; i++) entries[i] = word_at(list, i);
    glm_needle_shuffle(list->draw, entries, n);
    rt_status status = RT_OK;
    for (int64_t i = 0; i < n && status == RT_OK; i++) {
        char word[64];
        char text[96];
        word_of(list, entries[i], word);
        const int n_bytes =
                snprintf(text, sizeof text, "%s%" PRId64 ". %s", i ? " " : "", i + 1, word);
        status = glm_text_add(out, text, n_bytes);
    }
    free(entries);
    return status;
}

/* ---- the task -------------------------------------------------------------------------------- */

static rt_status print_example(const glm_needle_source *source, const glm_needle_cell *cell,
        char before[GLM_NEEDLE_OPENING]) {
    const word_list list = example_of(source, cell);
    glm_text text = {0};
    const rt_status status = print_list(&list, &text);
    size_t n = 0;
    if (status == RT_OK)
        n = (size_t)snprintf(before, GLM_NEEDLE_OPENING, "%s%.*s%s%s", template_before, (int)text.n,
                text.bytes, template_after, template_prefix);
    free(text.bytes);
    RT_TRY(status);
    for (int64_t i = 0; i < N_COMMON; i++) {
        char word[64];
        word_of(&list, i, word);
        n += (size_t)snprintf(before + n, GLM_NEEDLE_OPENING - n, " %" PRId64 ". %s", i + 1, word);
    }
    (void)snprintf(before + n, GLM_NEEDLE_OPENING - n, "\n%s", template_before);
    return RT_OK;
}

static rt_status make_task(
        const glm_needle_source *source, const glm_needle_cell *cell, glm_needle_task *task) {
    const word_list list = list_of(source, cell);
    *task = (glm_needle_task){.n_answers = N_COMMON, .counts_parts = true, .max_new = 120};
    for (int64_t i = 0; i < N_COMMON; i++) word_of(&list, i, task->answers[i]);
    (void)snprintf(task->key, sizeof task->key, "the common words");
    (void)snprintf(task->after, sizeof task->after, "%s", template_after);
    (void)snprintf(task->prefix, sizeof task->prefix, "%s", template_prefix);
    (void)snprintf(task->sentence, sizeof task->sentence, "%s", template_prefix);
    return print_example(source, cell, task->before);
}

/* ---- context --------------------------------------------------------------------------------- */

static rt_status tokenize_list(
        const glm_needle_source *source, const word_list *list, glm_ids *context) {
    glm_text text = {0};
    rt_status status = print_list(list, &text);
    if (status == RT_OK)
        status = glm_tokenizer_encode(source->tokenizer, text.bytes, text.n, false, context);
    free(text.bytes);
    return status;
}

/* A list, and who tokenizes it. */
typedef struct counted {
    const glm_needle_source *source;
    word_list list;
} counted;

static rt_status count_tokens(const void *of, int64_t n_words, int64_t *n_tokens) {
    const counted *c = of;
    word_list list = c->list;
    glm_ids ids = {0};
    list.n_words = n_words;
    const rt_status status = tokenize_list(c->source, &list, &ids);
    *n_tokens = ids.n;
    glm_ids_free(&ids);
    return status;
}

/* The most words that fit: one is at least 3 tokens an entry. */
static rt_status fit_words(const glm_needle_source *source, int64_t n_tokens, word_list *list) {
    const counted c = {source, *list};
    const int64_t most = rt_min64(N_COMMON + n_tokens / (3 * list->n_other_repeats),
            glm_needle_n_words() + glm_needle_n_long_words());
    return glm_needle_most(N_COMMON, most, n_tokens, count_tokens, &c, &list->n_words);
}

static rt_status make_context(const glm_needle_source *source, const glm_needle_cell *cell,
        const glm_needle_task *task, int64_t n_tokens, glm_ids *context, int64_t *needle_at) {
    (void)task;
    word_list list = list_of(source, cell);
    *needle_at = context->n;
    RT_TRY(fit_words(source, n_tokens, &list));
    RT_TRY(tokenize_list(source, &list, context));
    if (context->n <= n_tokens && list.n_words > N_COMMON) return RT_OK;
    return rt_fail(RT_EUSAGE,
            "needle: a length of %" PRId64 " tokens is too short for ruler:cwe: its common words "
            "alone take %" PRId64 " and %" PRId64 " are left for the list",
            cell->length, context->n, n_tokens);
}

const glm_needle_protocol glm_needle_cwe = {.name = "ruler:cwe",
        .repeats_haystack = true,
        .is_spread = true,
        .make_task = make_task,
        .make_context = make_context};
