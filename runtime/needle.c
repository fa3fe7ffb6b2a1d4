/* What the protocols share: from a task and a context to token ids, and back to a verdict. */
#include "needle.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "base/random.h"
#include "base/size.h"
#include "text.h"
#include "utf8.h"

rt_status glm_needle_find_protocol(const char *name, const glm_needle_protocol **out) {
    static const glm_needle_protocol *const named[] = {&glm_needle_lwm, &glm_needle_gkamradt,
            &glm_needle_own_task, &glm_needle_vt, &glm_needle_cwe, &glm_needle_fwe,
            &glm_needle_qa_squad, &glm_needle_qa_hotpotqa};
    *out = glm_needle_is_ruler_task(name) ? &glm_needle_ruler : NULL;
    for (size_t i = 0; i < sizeof named / sizeof *named; i++)
        if (strcmp(name, named[i]->name) == 0) *out = named[i];
    if (*out) return RT_OK;
    return rt_fail(RT_EUSAGE,
            "--protocol %s: lwm, gkamradt, own or ruler:TASK, where TASK is one of %s, vt, cwe, fwe, "
            "qa_1, qa_2",
            name, glm_needle_ruler_tasks());
}

static uint64_t mix(uint64_t x) {
    return rt_random_mix(x + RT_RANDOM_STEP);
}

uint64_t glm_needle_depth_number(double depth) {
    const int64_t thousandths = llround(1000.0 * depth); /* 12.5 is 12500, which no depth is */
    return (uint64_t)(thousandths % 1000 == 0 ? thousandths / 1000 : thousandths);
}

uint64_t glm_needle_draw(
        const glm_needle_settings *settings, const glm_needle_cell *cell, uint64_t salt) {
    uint64_t draw = mix(settings->seed);
    draw = mix(draw ^ (uint64_t)cell->round);
    if (!settings->is_fast) {
        draw = mix(draw ^ (uint64_t)cell->length);
        draw = mix(draw ^ glm_needle_depth_number(cell->depth));
    }
    return mix(draw ^ salt);
}

/* ---- source ---------------------------------------------------------------------------------- */

int64_t glm_needle_longest(const glm_needle_settings *settings) {
    int64_t length = 0;
    for (int64_t i = 0; i < settings->n_lengths; i++)
        length = rt_max64(length, settings->lengths[i]);
    return length;
}

/* A token of a trained tokenizer is four to five bytes of English; six are surely enough. */
int64_t glm_needle_haystack_bytes(const glm_needle_settings *settings) {
    const int64_t bytes_per_token = settings->is_completer ? 1 : 6;
    return (glm_needle_longest(settings) * settings->rounds + 1024) * bytes_per_token;
}

static rt_status check_haystack(
        const glm_needle_source *source, const glm_needle_protocol *protocol) {
    const int64_t have = source->haystack_ids.n;
    const int64_t needed = glm_needle_longest(source->settings) * source->settings->rounds;
    if (have >= needed || (protocol->repeats_haystack && have > 0)) return RT_OK;
    return rt_fail(RT_EUSAGE,
            "needle: the haystack has %" PRId64 " tokens and %" PRId64 " rounds of %" PRId64
            " need %" PRId64 "; give more text with --haystack, or fewer --rounds or --lengths",
            have, source->settings->rounds, glm_needle_longest(source->settings), needed);
}

/* As far as contexts go: the last round's, which begins behind the others' longest lengths, is less than twice as long as its
 * cell, however few tokens it became together with its question (fit_prompt). */
static rt_status tokenize_haystack(glm_needle_source *source, const glm_needle_protocol *protocol) {
    const glm_haystack *haystack = source->haystack;
    const int64_t n_ids = glm_needle_longest(source->settings) * (source->settings->rounds + 1);
    RT_TRY(glm_tokenizer_encode_beginning(
            source->tokenizer, haystack->text, haystack->n_bytes, n_ids, &source->haystack_ids));
    RT_TRY(glm_tokenizer_encode(source->tokenizer, ".", 1, false, &source->period_ids));
    return check_haystack(source, protocol);
}

rt_status glm_needle_source_open(const glm_needle_settings *settings,
        const glm_tokenizer *tokenizer, const glm_haystack *haystack, glm_needle_source *out) {
    const glm_needle_protocol *protocol = NULL;
    RT_TRY(glm_needle_find_protocol(settings->protocol, &protocol));
    *out = (glm_needle_source){.settings = settings, .tokenizer = tokenizer, .haystack = haystack};
    rt_status status = protocol->open ? protocol->open(out) : tokenize_haystack(out, protocol);
    if (status != RT_OK) glm_needle_source_free(out);
    return status;
}

void glm_needle_source_free(glm_needle_source *source) {
    glm_ids_free(&source->haystack_ids);
    glm_ids_free(&source->period_ids);
    glm_questions_free(source->questions);
    source->questions = NULL;
}

rt_status glm_needle_tokens(const glm_needle_source *source, const char *text, int64_t *n) {
    glm_ids ids = {0};
    const rt_status status =
            glm_tokenizer_encode(source->tokenizer, text, (int64_t)strlen(text), false, &ids);
    *n = ids.n;
    glm_ids_free(&ids);
    return status;
}

void glm_needle_shuffle(uint64_t draw, int32_t *entries, int64_t n) {
    uint64_t state = draw;
    for (int64_t i = n - 1; i > 0; i--) {
        const int64_t other = (int64_t)(rt_random_next(&state) % (uint64_t)(i + 1));
        const int32_t kept = entries[i];
        entries[i] = entries[other];
        entries[other] = kept;
    }
}

rt_status glm_needle_most(int64_t low, int64_t high, int64_t n_tokens,
        rt_status (*count)(const void *of, int64_t n, int64_t *n_tokens), const void *of,
        int64_t *most) {
    while (low < high) {
        const int64_t middle = low + (high - low + 1) / 2;
        int64_t n = 0;
        RT_TRY(count(of, middle, &n));
        if (n <= n_tokens)
            low = middle;
        else
            high = middle - 1;
    }
    *most = low;
    return RT_OK;
}

/* ---- the chat around a context --------------------------------------------------------------- */

static rt_status encode(const glm_needle_source *source, const char *text, glm_ids *out) {
    return glm_tokenizer_encode(source->tokenizer, text, (int64_t)strlen(text), false, out);
}

static const char *choose_prefix(const glm_needle_settings *settings, const glm_needle_task *task) {
    if (strcmp(settings->answer_prefix, "none") == 0) return "";
    if (strcmp(settings->answer_prefix, "auto") != 0) return settings->answer_prefix;
    return settings->is_completer ? task->sentence : task->prefix;
}

static rt_status append_message(const glm_needle_source *source, glm_chat_role role,
        const char *content, int64_t n_bytes, glm_ids *out) {
    const glm_message message = {.role = role, .content = content, .content_bytes = n_bytes};
    return glm_chat_append(source->tokenizer, &message, out);
}

/* Fast: tokens of the pieces as they are, so that prompts that begin alike have ids that do. */
static rt_status append_user_pieces(const glm_needle_source *source, const glm_needle_task *task,
        const glm_ids *context, glm_ids *out) {
    RT_TRY(glm_ids_push(out, glm_tokenizer_specials(source->tokenizer).user));
    RT_TRY(encode(source, "\n", out));
    RT_TRY(encode(source, task->before, out));
    RT_TRY(glm_ids_append(out, context->ids, context->n));
    return task->is_after_apart ? RT_OK : encode(source, task->after, out);
}

/* Exact: back to text, and the whole message tokenized at once, as the protocol does. */
static rt_status append_user_text(const glm_needle_source *source, const glm_needle_task *task,
        const glm_ids *context, glm_ids *out) {
    char *middle = NULL;
    char *text = NULL;
    int64_t n_middle = 0;
    RT_TRY(glm_tokenizer_decode(
            source->tokenizer, context->ids, context->n, false, &middle, &n_middle));
    const int n_bytes = asprintf(
            &text, "%s%s%s", task->before, middle, task->is_after_apart ? "" : task->after);
    free(middle);
    if (n_bytes < 0) return rt_fail(RT_ENOMEM, "needle: no memory for a prompt");
    const rt_status status = append_message(source, GLM_CHAT_USER, text, n_bytes, out);
    free(text);
    return status;
}

/* Exact: as one text. */
static rt_status append_plain_text(const glm_needle_source *source, const char *opening,
        const glm_ids *context, const char *ending, glm_ids *out) {
    char *middle = NULL;
    int64_t n_middle = 0;
    glm_text text = {0};
    RT_TRY(glm_tokenizer_decode(
            source->tokenizer, context->ids, context->n, false, &middle, &n_middle));
    rt_status status = glm_text_add(&text, opening, (int64_t)strlen(opening));
    if (status == RT_OK) status = glm_text_add(&text, middle, n_middle);
    if (status == RT_OK) status = glm_text_add(&text, ending, (int64_t)strlen(ending));
    if (status == RT_OK)
        status = glm_tokenizer_encode(source->tokenizer, text.bytes, text.n, false, out);
    free(middle);
    free(text.bytes);
    return status;
}

static rt_status append_plain_pieces(const glm_needle_source *source, const char *opening,
        const glm_ids *context, const char *ending, glm_ids *out) {
    RT_TRY(encode(source, opening, out));
    RT_TRY(glm_ids_append(out, context->ids, context->n));
    return encode(source, ending, out);
}

/* *needle_at: of the context, and then of the prompt, where its opening begins at `from`. Exact mode has tokenized the text
 * anew: what stands before the needle is the same bytes, in fewer tokens. */
static rt_status locate(const glm_needle_source *source, const char *opening,
        const glm_ids *context, const glm_ids *prompt, int64_t from, int64_t *needle_at) {
    int64_t n = 0;
    if (source->settings->is_fast) {
        RT_TRY(glm_needle_tokens(source, opening, &n));
        *needle_at += from + n;
        return RT_OK;
    }
    char *text = NULL;
    RT_TRY(glm_tokenizer_decode(source->tokenizer, context->ids, *needle_at, false, &text, &n));
    free(text);
    *needle_at = glm_needle_token_at(source, prompt, from, (int64_t)strlen(opening) + n);
    return RT_OK;
}

/* Without the chat template: [gMASK]<sop>, the messages' texts a line each, and the beginning of the
 * answer, on a line of its own unless it begins with a space. */
static rt_status assemble_plain(const glm_needle_source *source, const glm_needle_task *task,
        const glm_ids *context, const char *prefix, glm_ids *out, int64_t *needle_at) {
    char opening[GLM_NEEDLE_TEXT + 1 + GLM_NEEDLE_OPENING];
    char ending[1 + GLM_NEEDLE_QUESTION + 1 + GLM_NEEDLE_TEXT];
    (void)snprintf(opening, sizeof opening, "%s%s%s", task->system, task->system[0] ? "\n" : "",
            task->before);
    (void)snprintf(ending, sizeof ending, "%s%s%s%s", task->is_after_apart ? "\n" : "", task->after,
            prefix[0] && prefix[0] != ' ' ? "\n" : "", prefix);
    RT_TRY(glm_chat_begin(source->tokenizer, out));
    const int64_t from = out->n;
    RT_TRY(source->settings->is_fast ? append_plain_pieces(source, opening, context, ending, out)
                                     : append_plain_text(source, opening, context, ending, out));
    return locate(source, opening, context, out, from, needle_at);
}

/* All around the context: also what an empty one costs. *needle_at: as for locate(). */
static rt_status assemble(const glm_needle_source *source, const glm_needle_task *task,
        const glm_ids *context, const char *prefix, glm_ids *out, int64_t *needle_at) {
    if (source->settings->is_plain)
        return assemble_plain(source, task, context, prefix, out, needle_at);
    RT_TRY(glm_chat_begin(source->tokenizer, out));
    if (task->system[0]) RT_TRY(append_message(source, GLM_CHAT_SYSTEM, task->system, -1, out));
    const int64_t from = out->n + 2; /* <|user|> and its newline come first */
    RT_TRY(source->settings->is_fast ? append_user_pieces(source, task, context, out)
                                     : append_user_text(source, task, context, out));
    RT_TRY(locate(source, task->before, context, out, from, needle_at));
    if (task->is_after_apart) RT_TRY(append_message(source, GLM_CHAT_USER, task->after, -1, out));
    RT_TRY(glm_chat_prompt_answer(source->tokenizer, out));
    if (!prefix[0]) return RT_OK;
    RT_TRY(encode(source, "\n", out));
    return encode(source, prefix, out);
}

/* Tokens of the cell's length that neither context nor needle may use. The protocols keep 200; a
 * tokenizer of bytes needs more for the same question. */
static rt_status measure_overhead(
        const glm_needle_source *source, glm_needle_prompt *prompt, int64_t *n_empty) {
    glm_ids ids = {0};
    const glm_ids nothing = {0};
    int64_t at = 0;
    const rt_status status =
            assemble(source, &prompt->task, &nothing, prompt->answer_prefix, &ids, &at);
    *n_empty = ids.n;
    prompt->reserved = rt_max64(200, ids.n + prompt->task.max_new);
    glm_ids_free(&ids);
    return status;
}

enum { ATTEMPTS = 8 };

/* Tokens at the seams of a re-tokenized text may differ: cut by the excess and try again. Sentences
 * that are put together are fewer tokens than they were alone, by up to 6 per cent: where more than
 * one per cent is lost so, it is filled up, once; where that cannot be cut to fit, it stays as it was. */
static rt_status fit_prompt(const glm_needle_source *source, const glm_needle_protocol *protocol,
        const glm_needle_cell *cell, int64_t n_empty, glm_needle_prompt *prompt) {
    int64_t budget = cell->length - prompt->reserved;
    int64_t fitting = 0; /* a budget that was known to fit before it was filled up */
    for (int attempt = 0; attempt < ATTEMPTS && budget > 0; attempt++) {
        glm_ids context = {0};
        int64_t needle_at = 0;
        prompt->ids.n = 0;
        rt_status status =
                protocol->make_context(source, cell, &prompt->task, budget, &context, &needle_at);
        if (status == RT_OK)
            status = assemble(source, &prompt->task, &context, prompt->answer_prefix, &prompt->ids,
                    &needle_at);
        glm_ids_free(&context);
        RT_TRY(status);
        prompt->needle_token = needle_at;
        const int64_t excess = prompt->ids.n + prompt->task.max_new - cell->length;
        const int64_t lost = n_empty + budget - prompt->ids.n;
        if (excess <= 0 && (fitting > 0 || attempt >= ATTEMPTS - 2 || lost <= cell->length / 100))
            return RT_OK;
        if (excess <= 0) fitting = budget;
        budget += excess > 0 ? -excess : lost;
        if (fitting > 0 && attempt == ATTEMPTS - 2) budget = fitting;
    }
    return rt_fail(RT_EUSAGE,
            "needle: a length of %" PRId64 " tokens is too short: question, template and answer "
            "take %" PRId64,
            cell->length, prompt->reserved);
}

rt_status glm_needle_prompt_make(
        const glm_needle_source *source, const glm_needle_cell *cell, glm_needle_prompt *out) {
    const glm_needle_protocol *protocol = NULL;
    RT_TRY(glm_needle_find_protocol(source->settings->protocol, &protocol));
    *out = (glm_needle_prompt){0};
    RT_TRY(protocol->make_task(source, cell, &out->task));
    (void)snprintf(out->answer_prefix, sizeof out->answer_prefix, "%s",
            choose_prefix(source->settings, &out->task));
    int64_t n_empty = 0;
    rt_status status = measure_overhead(source, out, &n_empty);
    if (status == RT_OK) status = fit_prompt(source, protocol, cell, n_empty, out);
    if (status != RT_OK) glm_needle_prompt_free(out);
    return status;
}

void glm_needle_prompt_free(glm_needle_prompt *prompt) {
    glm_ids_free(&prompt->ids);
}

/* The character there, without case; a byte that begins none is like no character. */
static uint32_t lower_at(const char *text, int64_t n, int64_t *n_bytes) {
    uint32_t code_point = 0;
    const int n_decoded = glm_utf8_decode(text, n, &code_point);
    *n_bytes = rt_max64(n_decoded, 1);
    if (n_decoded <= 0) return UINT32_MAX - (unsigned char)*text;
    return (uint32_t)utf8proc_tolower((utf8proc_int32_t)code_point);
}

static bool begins_with(const char *text, int64_t n, const char *part) {
    int64_t n_text = 0;
    int64_t n_part = 0;
    for (int64_t left = (int64_t)strlen(part); left > 0; left -= n_part, part += n_part) {
        if (n == 0 || lower_at(text, n, &n_text) != lower_at(part, left, &n_part)) return false;
        text += n_text;
        n -= n_text;
    }
    return true;
}

/* Case does not matter, of any script: strcasestr() knows ASCII's. */
static bool holds(const char *text, const char *part) {
    int64_t n = (int64_t)strlen(text);
    while (n > 0 && !begins_with(text, n, part)) text++, n--;
    return n > 0 || !part[0];
}

double glm_needle_score(const glm_needle_task *task, const char *response) {
    int32_t n_found = 0;
    for (int32_t i = 0; i < task->n_answers; i++) n_found += holds(response, task->answers[i]);
    if (task->takes_any) return n_found > 0 ? 1.0 : 0.0;
    if (!task->counts_parts) return n_found == task->n_answers ? 1.0 : 0.0;
    return (double)n_found / (double)task->n_answers;
}
