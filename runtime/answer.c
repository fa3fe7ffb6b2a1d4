#include "answer.h"

#include <stdlib.h>

#include "base/size.h"

rt_status glm_answer_choose(const glm_answer *answer, const glm_engine *engine,
        const glm_session *session, const glm_sampling *sampling, int64_t step, int32_t *id) {
    const float *logits = NULL;
    int64_t n_rows = 0;
    RT_TRY(glm_session_logits(session, &logits, &n_rows));
    const int64_t vocab = glm_engine_config(engine)->vocab;
    const int64_t n_valid = rt_min64(vocab, glm_tokenizer_size(answer->tokenizer));
    return glm_sample(logits + (n_rows - 1) * vocab, vocab, n_valid, sampling, step, id);
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
    if (is_special) return RT_OK;
    RT_TRY(reserve(answer, 3 * (n_token + 3)));
    const int64_t n =
            glm_utf8_stream_feed(&answer->characters, bytes, n_token, is_last, answer->whole);
    return glm_stop_feed(&answer->stop, answer->whole, n, is_last, text, n_bytes);
}

void glm_answer_free(glm_answer *answer) {
    glm_stop_free(&answer->stop);
    free(answer->whole);
    *answer = (glm_answer){0};
}
