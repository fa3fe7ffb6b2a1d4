#include "reading.h"

#include <stdlib.h>
#include <string.h>

#include "base/size.h"
#include "reading_inside.h"

typedef struct wording {
    const char *before; /* the document */
    const char *behind; /* it, before the question */
} wording;

static const wording wordings[] = {
        [GLM_PASSAGES_NUMBERED] = {"This is a text in numbered passages: [12] stands before "
                                   "passage "
                                   "12. A question about it comes after it.\n\n",
                "\n\nAnswer from the text above, and from nothing else. Where it says what the "
                "answer rests on, quote its own words in double quotation marks, with the number "
                "of the passage behind them, like this: \"its own words\" [12]. If the text does "
                "not say, answer so.\n\n"},
        /* As LongCite's authors have it. */
        [GLM_PASSAGES_SENTENCES] = {
                "Please answer the user's question based on the following document. When a "
                "sentence S in your response uses information from some chunks in the document "
                "(i.e., <C{s1}>-<C_{e1}>, <C{s2}>-<C{e2}>, ...), please append these chunk numbers "
                "to S in the format \"<statement>{S}<cite>[{s1}-{e1}][{s2}-{e2}]...</cite>"
                "</statement>\". You must answer in the same language as the user's question.\n\n"
                "[Document Start]\n",
                "\n[Document End]\n\n"}};

/* Of a text without numbers. */
static const char behind_plain[] =
        "Answer from the text above, and from nothing else. Where it says what the answer rests "
        "on, "
        "quote its own words in double quotation marks. If the text does not say, answer so.\n\n";

const char *glm_reading_before(glm_passages_style style) {
    return wordings[style].before;
}

static const char *behind(const glm_reading *reading) {
    return reading->has_markers ? wordings[reading->passages.style].behind : behind_plain;
}

/* ---- the prefix ------------------------------------------------------------------------------ */

static rt_status render(
        glm_reading *out, const glm_variant *variant, const char *system, const glm_text *text) {
    const glm_message messages[] = {
            {.role = GLM_CHAT_SYSTEM, .content = system ? system : "", .content_bytes = -1},
            {.role = GLM_CHAT_USER, .content = text->bytes, .content_bytes = text->n}};
    const glm_chat chat = {.dialect = variant->is_0414 ? GLM_CHAT_0414 : GLM_CHAT_GLM4,
            .messages = messages,
            .n_messages = 2};
    return glm_chat_render_turns(out->tokenizer, &chat, &out->prefix);
}

static rt_status write_prefix(glm_reading *out, const glm_variant *variant, const char *system) {
    const char *before = wordings[out->passages.style].before;
    const glm_watch *watch = glm_tokenizer_watched_by(out->tokenizer);
    glm_text text = {0};
    rt_status status = glm_text_add(&text, before, (int64_t)strlen(before));
    if (status == RT_OK) status = glm_passages_write(&out->passages, &out->document, watch, &text);
    if (status == RT_OK) status = render(out, variant, system, &text);
    free(text.bytes);
    return status;
}

static rt_status make(glm_reading *out, const glm_variant *variant, const char *system) {
    const glm_passages_style style =
            variant->is_longcite ? GLM_PASSAGES_SENTENCES : GLM_PASSAGES_NUMBERED;
    const glm_watch *watch = glm_tokenizer_watched_by(out->tokenizer);
    RT_TRY(glm_passages_make(&out->document, style, watch, &out->passages));
    RT_TRY(glm_fold(out->document.text, out->document.n_bytes, watch, &out->folded));
    return write_prefix(out, variant, system);
}

rt_status glm_reading_make(const glm_tokenizer *tokenizer, const glm_variant *variant,
        const char *system, glm_document *document, glm_reading *out) {
    *out = (glm_reading){.document = *document, .has_markers = true, .tokenizer = tokenizer};
    *document = (glm_document){0};
    const rt_status status = make(out, variant, system);
    if (status != RT_OK) glm_reading_free(out);
    return status;
}

void glm_reading_free(glm_reading *reading) {
    glm_document_free(&reading->document);
    glm_passages_free(&reading->passages);
    glm_folded_free(&reading->folded);
    glm_ids_free(&reading->prefix);
    *reading = (glm_reading){0};
}

/* ---- a question ------------------------------------------------------------------------------ */

static rt_status encode(const glm_reading *reading, const glm_text *text, glm_ids *out) {
    const glm_message message = {
            .role = GLM_CHAT_USER, .content = text->bytes, .content_bytes = text->n};
    if (reading->opens_message) return glm_chat_append(reading->tokenizer, &message, out);
    return glm_tokenizer_encode(reading->tokenizer, text->bytes, text->n, false, out);
}

rt_status glm_reading_question(
        const glm_reading *reading, const char *question, int64_t n_bytes, glm_ids *out) {
    const char *before = behind(reading);
    glm_text text = {0};
    rt_status status = glm_text_add(&text, before, (int64_t)strlen(before));
    if (status == RT_OK) status = glm_text_add(&text, question, n_bytes);
    if (status == RT_OK) status = encode(reading, &text, out);
    free(text.bytes);
    return status == RT_OK ? glm_chat_prompt_answer(reading->tokenizer, out) : status;
}

/* ---- too long -------------------------------------------------------------------------------- */

/* Bytes of the message's text in front of the prefix's token at `at`: behind <|user|> and the end of its line. Below 0 where
 * the message has not begun: a system message's bytes are not its own. */
static int64_t message_bytes_before(const glm_reading *reading, int64_t at) {
    const glm_special_ids specials = glm_tokenizer_specials(reading->tokenizer);
    int64_t n_bytes = -1;
    bool is_inside = false;
    for (int64_t i = 0; i < at; i++) {
        int64_t n = 0;
        (void)glm_tokenizer_bytes(reading->tokenizer, reading->prefix.ids[i], &n, NULL);
        if (is_inside) n_bytes += n;
        is_inside = is_inside || reading->prefix.ids[i] == specials.user;
    }
    return n_bytes;
}

int64_t glm_reading_passage_at(const glm_reading *reading, int64_t at) {
    rt_assert(at >= 0 && at <= reading->prefix.n && reading->cut.n_tokens == 0);
    return glm_passages_written_at(&reading->passages, message_bytes_before(reading, at));
}

void glm_reading_truncate(glm_reading *reading, int64_t n_tokens) {
    glm_ids *prefix = &reading->prefix;
    rt_assert(n_tokens >= 2 && reading->cut.n_tokens == 0);
    if (prefix->n <= n_tokens) return;
    const int64_t at = n_tokens / 2;
    const int64_t n_cut = prefix->n - 2 * at;
    const int64_t last = glm_passages_written_at(
            &reading->passages, message_bytes_before(reading, at + n_cut) - 1);
    /* A cut that begins in front of the passages takes the first of them, if it takes any. */
    const int64_t first = rt_max64(
            glm_reading_passage_at(reading, at), last >= 0 ? reading->passages.first_number : -1);
    reading->cut = (glm_reading_cut){
            .at = at, .n_tokens = n_cut, .first_passage = first, .last_passage = last};
    memmove(prefix->ids + at, prefix->ids + at + n_cut, (size_t)at * sizeof *prefix->ids);
    prefix->n = 2 * at;
}

/* ---- an answer ------------------------------------------------------------------------------- */

rt_status glm_reading_cite(
        const glm_reading *reading, const char *answer, int64_t n_bytes, glm_citations *out) {
    return glm_cite(&reading->document, &reading->passages, &reading->folded, answer, n_bytes, out);
}
