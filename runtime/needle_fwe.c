/* RULER's frequent words extraction: coded words of six letters, of which the one of rank k stands there
 * n / (k^2 zeta(2)) times, shuffled; which are the three most frequent? The very first is not one: in its
 * place stand dots, noise that the question says to ignore.
 * Source: Hsieh et al. 2024, arXiv:2404.06654, appendix B and its data scripts (alpha 2.0). */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/size.h"
#include "needle.h"
#include "text.h"

enum { LETTERS = 6, N_ASKED = 3, MAX_NEW = 50, TOKENS_A_RANK = 50, RANKS_LEAST = N_ASKED + 2 };

static const double zeta_2 = 1.6449340668482264; /* of alpha, 2 */

static const char template_before[] =
        "Read the following coded text and track the frequency of each coded word. Find the three "
        "most frequently appeared coded words. ";
static const char template_after[] =
        "\nQuestion: Do not provide any explanation. Please ignore the dots '....'. What are the "
        "three most frequently appeared words in the above coded text?";
static const char template_prefix[] =
        " Answer: According to the coded text above, the three most frequently appeared words are:";

typedef char coded_word[LETTERS + 1];

/* What the text of a cell is made from. */
typedef struct coded {
    const glm_needle_source *source;
    const glm_needle_cell *cell;
    coded_word *words; /* owned; of ranks from 1 on, at 0 the dots */
    int64_t n_ranks;
} coded;

/* ---- words ----------------------------------------------------------------------------------- */

/* Of the words there are to be drawn from, one for 50 tokens. */
static int64_t ranks_of(const glm_needle_cell *cell) {
    return rt_max64(RANKS_LEAST, (cell->length - MAX_NEW) / TOKENS_A_RANK);
}

static int64_t count_of(int64_t rank, int64_t n_words) {
    return (int64_t)((double)n_words / ((double)rank * (double)rank * zeta_2));
}

static void draw_word(uint64_t draw, coded_word word) {
    for (int i = 0; i < LETTERS; i++, draw /= 26) word[i] = (char)('a' + draw % 26);
    word[LETTERS] = '\0';
}

/* Whether it is one of those from rank 2 on already. */
static bool is_taken(const coded_word *words, int64_t n) {
    for (int64_t i = 1; i < n; i++)
        if (strcmp(words[i], words[n]) == 0) return true;
    return false;
}

/* The first are the same however many there are. */
static void draw_words(const glm_needle_source *source, const glm_needle_cell *cell,
        coded_word *words, int64_t n) {
    uint64_t n_drawn = 0;
    memcpy(words[0], "...", 4);
    for (int64_t i = 1; i < n; i++) do
            draw_word(glm_needle_draw(source->settings, cell, ++n_drawn), words[i]);
        while (is_taken(words, i));
}

/* ---- the task -------------------------------------------------------------------------------- */

static rt_status make_task(
        const glm_needle_source *source, const glm_needle_cell *cell, glm_needle_task *task) {
    coded_word words[1 + N_ASKED];
    draw_words(source, cell, words, 1 + N_ASKED);
    *task = (glm_needle_task){.n_answers = N_ASKED, .counts_parts = true, .max_new = MAX_NEW};
    for (int i = 0; i < N_ASKED; i++)
        (void)snprintf(task->answers[i], sizeof task->answers[i], "%s", words[1 + i]);
    (void)snprintf(task->key, sizeof task->key, "the frequent words");
    (void)snprintf(task->before, sizeof task->before, "%s", template_before);
    (void)snprintf(task->after, sizeof task->after, "%s", template_after);
    (void)snprintf(task->prefix, sizeof task->prefix, "%s", template_prefix);
    (void)snprintf(task->sentence, sizeof task->sentence, "%s", template_prefix);
    return RT_OK;
}

/* ---- context --------------------------------------------------------------------------------- */

/* The ranks of a text of n_words, each as often as it is to stand there; for free(). */
static rt_status list_entries(
        const coded *c, int64_t n_words, int32_t **entries, int64_t *n_entries) {
    RT_TRY(rt_calloc(n_words + 1, sizeof **entries, "coded words", entries));
    *n_entries = 0;
    for (int64_t rank = 1; rank <= c->n_ranks; rank++)
        for (int64_t i = count_of(rank, n_words); i > 0; i--)
            (*entries)[(*n_entries)++] = (int32_t)(rank - 1);
    glm_needle_shuffle(glm_needle_draw(c->source->settings, c->cell, 0), *entries, *n_entries);
    return RT_OK;
}

static rt_status tokenize_text(const coded *c, int64_t n_words, glm_ids *context) {
    glm_text text = {0};
    int32_t *entries = NULL;
    int64_t n = 0;
    RT_TRY(list_entries(c, n_words, &entries, &n));
    rt_status status = glm_text_add(&text, "", 0);
    for (int64_t i = 0; i < n && status == RT_OK; i++) {
        const char *word = c->words[entries[i]];
        if (i > 0) status = glm_text_add(&text, " ", 1);
        if (status == RT_OK) status = glm_text_add(&text, word, (int64_t)strlen(word));
    }
    if (status == RT_OK)
        status = glm_tokenizer_encode(c->source->tokenizer, text.bytes, text.n, false, context);
    free(entries);
    free(text.bytes);
    return status;
}

static rt_status count_tokens(const void *of, int64_t n_words, int64_t *n_tokens) {
    glm_ids ids = {0};
    const rt_status status = tokenize_text(of, n_words, &ids);
    *n_tokens = ids.n;
    glm_ids_free(&ids);
    return status;
}

/* The last that is asked for stands there more often than the first that is not. */
static bool is_answerable(int64_t n_words) {
    return count_of(1 + N_ASKED, n_words) > count_of(2 + N_ASKED, n_words);
}

static rt_status fill(const coded *c, int64_t n_tokens, glm_ids *context) {
    int64_t n_words = 0;
    RT_TRY(glm_needle_most(0, n_tokens, n_tokens, count_tokens, c, &n_words));
    if (is_answerable(n_words)) return tokenize_text(c, n_words, context);
    return rt_fail(RT_EUSAGE,
            "needle: a length of %" PRId64 " tokens is too short for ruler:fwe: %" PRId64
            " are left for its text, in which the third word is no more frequent than the fourth",
            c->cell->length, n_tokens);
}

static rt_status make_context(const glm_needle_source *source, const glm_needle_cell *cell,
        const glm_needle_task *task, int64_t n_tokens, glm_ids *context, int64_t *needle_at) {
    coded c = {.source = source, .cell = cell, .n_ranks = ranks_of(cell)};
    (void)task;
    *needle_at = context->n;
    RT_TRY(rt_calloc(c.n_ranks, sizeof *c.words, "coded words", &c.words));
    draw_words(source, cell, c.words, c.n_ranks);
    const rt_status status = fill(&c, n_tokens, context);
    free(c.words);
    return status;
}

const glm_needle_protocol glm_needle_fwe = {.name = "ruler:fwe",
        .repeats_haystack = true,
        .is_spread = true,
        .make_task = make_task,
        .make_context = make_context};
