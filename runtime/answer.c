#include "answer.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/size.h"

static bool keeps_to_form(const void *context, int32_t id) {
    const glm_answer *answer = context;
    glm_form form;
    int64_t n_bytes = 0;
    bool is_special = false;
    const char *bytes = glm_tokenizer_bytes(answer->tokenizer, id, &n_bytes, &is_special);
    if (is_special || n_bytes == 0)
        return glm_form_allows_control(
                &answer->form, id == glm_tokenizer_specials(answer->tokenizer).observation);
    glm_form_copy(&form, &answer->form);
    return glm_form_take(&form, bytes, n_bytes);
}

static bool goes_on(const void *context, int32_t id) {
    const glm_answer *answer = context;
    for (int i = 0; i < answer->n_end_ids; i++)
        if (answer->end_ids[i] == id) return false;
    return answer->form.kind == GLM_FORM_FREE || keeps_to_form(answer, id);
}

static bool is_held_open(const glm_answer *answer, int64_t step) {
    return step < answer->n_least && answer->n_end_ids > 0;
}

/* By logits that the bias has changed. Where no id goes on, as in a form that is to be closed, one that ends it may come. */
static rt_status choose_from(const glm_answer *answer, const float *row, int64_t vocab,
        int64_t n_valid, const glm_sampling *sampling, int64_t step, int32_t *id) {
    const bool is_free = answer->form.kind == GLM_FORM_FREE;
    if (is_held_open(answer, step)) {
        const rt_status status =
                glm_sample_allowed(row, vocab, n_valid, sampling, step, goes_on, answer, id);
        if (status != RT_EUSAGE) return status;
    }
    return is_free ? glm_sample(row, vocab, n_valid, sampling, step, id)
                   : glm_sample_allowed(
                             row, vocab, n_valid, sampling, step, keeps_to_form, answer, id);
}

rt_status glm_answer_choose(glm_answer *answer, const glm_engine *engine, glm_session *session,
        const glm_sampling *sampling, int64_t step, int32_t *id) {
    const float *logits = NULL;
    int64_t n_rows = 0;
    const int64_t vocab = glm_engine_config(engine)->vocab;
    const int64_t n_valid = rt_min64(vocab, glm_tokenizer_size(answer->tokenizer));
    const bool is_free = answer->form.kind == GLM_FORM_FREE && !is_held_open(answer, step);
    if (is_free && !glm_bias_is_any(&answer->bias))
        return glm_session_choose(session, n_valid, sampling, step, id);
    RT_TRY(glm_session_logits(session, &logits, &n_rows));
    const float *row = logits + (n_rows - 1) * vocab;
    if (glm_bias_is_any(&answer->bias)) RT_TRY(glm_bias_apply(&answer->bias, row, vocab, &row));
    RT_TRY(choose_from(answer, row, vocab, n_valid, sampling, step, id));
    return glm_bias_count(&answer->bias, *id);
}

static rt_status reserve(glm_answer *answer, int64_t n_bytes) {
    if (n_bytes <= answer->capacity) return RT_OK;
    char *larger = realloc(answer->whole, (size_t)n_bytes);
    if (!larger) return rt_fail(RT_ENOMEM, "answer: no memory for a token's text");
    answer->whole = larger;
    answer->capacity = n_bytes;
    return RT_OK;
}

rt_status glm_answer_put(glm_answer *answer, int32_t id, const char **text, int64_t *n_bytes) {
    const bool is_last = id < 0;
    int64_t n_token = 0;
    bool is_special = false;
    const char *bytes =
            is_last ? "" : glm_tokenizer_bytes(answer->tokenizer, id, &n_token, &is_special);
    *text = "";
    *n_bytes = 0;
    answer->n_put += !is_last;
    if (id >= 0 && id == glm_tokenizer_specials(answer->tokenizer).assistant)
        glm_form_begin_part(&answer->form);
    if (is_special) return RT_OK;
    if (answer->form.kind != GLM_FORM_FREE && !glm_form_take(&answer->form, bytes, n_token))
        return rt_fail(RT_EUSAGE, "answer: id %" PRId32 " does not keep to the form", id);
    RT_TRY(reserve(answer, 3 * (n_token + 3)));
    const int64_t n =
            glm_utf8_stream_feed(&answer->characters, bytes, n_token, is_last, answer->whole);
    if (answer->n_put <= answer->n_least) {
        *text = answer->whole;
        *n_bytes = n;
        return RT_OK;
    }
    return glm_stop_feed(&answer->stop, answer->whole, n, is_last, text, n_bytes);
}

void glm_answer_free(glm_answer *answer) {
    glm_bias_free(&answer->bias);
    glm_stop_free(&answer->stop);
    free(answer->whole);
    *answer = (glm_answer){0};
}
