/* RULER's variable tracking: one chain of assignments, X1 = 12345, X2 = X1 and so on, scattered in
 * order over lines of noise; which variables hold the value? One smaller example with its answer
 * stands in front.
 * Source: Hsieh et al. 2024, arXiv:2404.06654, appendix B and its data scripts. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/size.h"
#include "needle.h"

/* The example has 14 lines of noise, about 500 tokens. */
enum {
    N_VARIABLES = 5,
    NAME_LETTERS = 5,
    EXAMPLE_LETTERS = 3,
    EXAMPLE_LINES = 14,
    LINE_BYTES = 128
};

static const char template_before[] =
        "Memorize and track the chain(s) of variable assignment hidden in the following text.\n\n";

/* What is drawn for a text. */
typedef struct chain {
    char names[N_VARIABLES][8];
    int64_t value;
    int64_t lines[N_VARIABLES]; /* before which line of noise each stands, ascending */
} chain;

/* ---- drawing --------------------------------------------------------------------------------- */

static void draw_name(uint64_t draw, int n_letters, char name[8]) {
    for (int i = 0; i < n_letters; i++, draw /= 26) name[i] = (char)('A' + draw % 26);
    name[n_letters] = '\0';
}

/* A name that stands in nobody's way; "VAR" is the word before every one of them. */
static bool is_taken(const chain *c, int n_names) {
    if (strcmp(c->names[n_names], "VAR") == 0) return true;
    for (int i = 0; i < n_names; i++)
        if (strcmp(c->names[i], c->names[n_names]) == 0) return true;
    return false;
}

static chain draw_chain(
        const glm_needle_source *source, const glm_needle_cell *cell, int n_letters) {
    const uint64_t salt = UINT64_C(1000) * (uint64_t)n_letters;
    chain c = {.value = (int64_t)(10000 + glm_needle_draw(source->settings, cell, salt) % 90000)};
    uint64_t n_drawn = 0;
    for (int i = 0; i < N_VARIABLES; i++) do
            draw_name(glm_needle_draw(source->settings, cell, salt + ++n_drawn), n_letters,
                    c.names[i]);
        while (is_taken(&c, i));
    return c;
}

/* N_VARIABLES of n_lines, each once: of the numbers below n - N_VARIABLES + 1 any, in order, and the
 * i-th is moved by i. */
static void draw_lines(
        const glm_needle_source *source, const glm_needle_cell *cell, int64_t n_lines, chain *c) {
    for (int i = 0; i < N_VARIABLES; i++) {
        const uint64_t draw = glm_needle_draw(source->settings, cell, 900 + (uint64_t)i);
        int64_t line = (int64_t)(draw % (uint64_t)(n_lines - N_VARIABLES + 1));
        int at = i;
        for (; at > 0 && c->lines[at - 1] > line; at--) c->lines[at] = c->lines[at - 1];
        c->lines[at] = line;
    }
    for (int i = 0; i < N_VARIABLES; i++) c->lines[i] += i;
}

static void print_statement(const chain *c, int i, char text[LINE_BYTES]) {
    if (i == 0)
        (void)snprintf(text, LINE_BYTES, "VAR %s = %" PRId64 "\n", c->names[0], c->value);
    else
        (void)snprintf(text, LINE_BYTES, "VAR %s = VAR %s \n", c->names[i], c->names[i - 1]);
}

/* ---- the task -------------------------------------------------------------------------------- */

static void print_question(
        const chain *c, char after[GLM_NEEDLE_TEXT], char prefix[GLM_NEEDLE_TEXT]) {
    (void)snprintf(after, GLM_NEEDLE_TEXT,
            "Question: Find all variables that are assigned the value %" PRId64
            " in the text above.",
            c->value);
    (void)snprintf(prefix, GLM_NEEDLE_TEXT,
            " Answer: According to the chain(s) of variable assignment in the text above, %d "
            "variables are assigned the value %" PRId64 ", they are: ",
            N_VARIABLES, c->value);
}

static void print_example(const glm_needle_source *source, const glm_needle_cell *cell,
        char text[GLM_NEEDLE_OPENING]) {
    chain c = draw_chain(source, cell, EXAMPLE_LETTERS);
    char line[LINE_BYTES];
    char after[GLM_NEEDLE_TEXT];
    char prefix[GLM_NEEDLE_TEXT];
    draw_lines(source, cell, EXAMPLE_LINES, &c);
    size_t n = (size_t)snprintf(text, GLM_NEEDLE_OPENING, "%s", template_before);
    for (int64_t i = 0, next = 0; i < EXAMPLE_LINES; i++) {
        for (; next < N_VARIABLES && c.lines[next] == i; next++) {
            print_statement(&c, (int)next, line);
            n += (size_t)snprintf(text + n, GLM_NEEDLE_OPENING - n, "%s", line);
        }
        n += (size_t)snprintf(text + n, GLM_NEEDLE_OPENING - n, "%s\n", glm_needle_noise);
    }
    print_question(&c, after, prefix);
    (void)snprintf(text + n, GLM_NEEDLE_OPENING - n, "%s%s %s %s %s %s %s\n\n%s", after, prefix,
            c.names[0], c.names[1], c.names[2], c.names[3], c.names[4], template_before);
}

static rt_status make_task(
        const glm_needle_source *source, const glm_needle_cell *cell, glm_needle_task *task) {
    const chain c = draw_chain(source, cell, NAME_LETTERS);
    *task = (glm_needle_task){.n_answers = N_VARIABLES, .counts_parts = true, .max_new = 30};
    for (int i = 0; i < N_VARIABLES; i++)
        (void)snprintf(task->answers[i], sizeof task->answers[i], "%s", c.names[i]);
    (void)snprintf(task->key, sizeof task->key, "%" PRId64, c.value);
    print_example(source, cell, task->before);
    print_question(&c, task->after, task->prefix);
    (void)snprintf(task->sentence, sizeof task->sentence, "%s", task->prefix);
    return RT_OK;
}

/* ---- context --------------------------------------------------------------------------------- */

/* The chain's statements as tokens, one behind the other; number i ends at ends[i]. */
static rt_status tokenize_statements(
        const glm_needle_source *source, const chain *c, glm_ids *ids, int64_t ends[N_VARIABLES]) {
    for (int i = 0; i < N_VARIABLES; i++) {
        char text[LINE_BYTES];
        print_statement(c, i, text);
        RT_TRY(glm_tokenizer_encode(source->tokenizer, text, (int64_t)strlen(text), false, ids));
        ends[i] = ids->n;
    }
    return RT_OK;
}

static rt_status interleave(const chain *c, const glm_ids *noise, int64_t n_lines,
        const glm_ids *statements, const int64_t ends[N_VARIABLES], glm_ids *context) {
    int next = 0;
    for (int64_t line = 0; line < n_lines; line++) {
        for (; next < N_VARIABLES && c->lines[next] == line; next++) {
            const int64_t begin = next ? ends[next - 1] : 0;
            RT_TRY(glm_ids_append(context, statements->ids + begin, ends[next] - begin));
        }
        RT_TRY(glm_ids_append(context, noise->ids, noise->n));
    }
    return RT_OK;
}

static rt_status build(const glm_needle_source *source, const glm_needle_cell *cell,
        int64_t n_tokens, glm_ids *noise, glm_ids *statements, glm_ids *context,
        int64_t *needle_at) {
    char line[LINE_BYTES];
    int64_t ends[N_VARIABLES];
    chain c = draw_chain(source, cell, NAME_LETTERS);
    const int n = snprintf(line, sizeof line, "%s\n", glm_needle_noise);
    RT_TRY(glm_tokenizer_encode(source->tokenizer, line, n, false, noise));
    RT_TRY(tokenize_statements(source, &c, statements, ends));
    const int64_t n_lines = (n_tokens - statements->n) / noise->n;
    if (n_lines < N_VARIABLES)
        return rt_fail(RT_EUSAGE,
                "needle: a length of %" PRId64 " tokens is too short for ruler:vt: %d lines of "
                "%" PRId64 " tokens are wanted and %" PRId64 " tokens are left for them",
                cell->length, N_VARIABLES, noise->n, rt_max64(n_tokens - statements->n, 0));
    draw_lines(source, cell, n_lines, &c);
    *needle_at = context->n + c.lines[0] * noise->n;
    return interleave(&c, noise, n_lines, statements, ends, context);
}

static rt_status make_context(const glm_needle_source *source, const glm_needle_cell *cell,
        const glm_needle_task *task, int64_t n_tokens, glm_ids *context, int64_t *needle_at) {
    (void)task;
    glm_ids noise = {0};
    glm_ids statements = {0};
    const rt_status status = build(source, cell, n_tokens, &noise, &statements, context, needle_at);
    glm_ids_free(&noise);
    glm_ids_free(&statements);
    return status;
}

const glm_needle_protocol glm_needle_vt = {.name = "ruler:vt",
        .repeats_haystack = true,
        .is_spread = true,
        .make_task = make_task,
        .make_context = make_context};
