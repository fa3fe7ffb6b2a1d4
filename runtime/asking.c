#include "asking.h"

#include <stdlib.h>

#include "chat.h"

/* An answer's first line is its metadata, empty, and some more may be blank. */
static rt_status add_text(glm_asking *asking, const char *text, int64_t n_bytes) {
    while (asking->text.n == 0 && n_bytes > 0 && (uint8_t)*text <= ' ') {
        text++;
        n_bytes--;
    }
    return n_bytes > 0 ? glm_text_add(&asking->text, text, n_bytes) : RT_OK;
}

/* Id -1: the answer is over. */
static rt_status put(glm_asking *asking, int32_t id) {
    const char *text = NULL;
    int64_t n_bytes = 0;
    RT_TRY(glm_answer_put(&asking->answer, id, &text, &n_bytes));
    return add_text(asking, text, n_bytes);
}

rt_status glm_asking_end(glm_asking *asking, const char *finish_reason) {
    asking->finish_reason = finish_reason;
    return put(asking, -1);
}

rt_status glm_asking_take(
        glm_asking *asking, const glm_engine *engine, const glm_sampling *sampling) {
    RT_TRY(glm_answer_choose(
            &asking->answer, engine, asking->session, sampling, asking->n_tokens, &asking->next));
    asking->n_tokens++;
    if (glm_chat_ends_turn(asking->answer.tokenizer, asking->next) ||
            glm_is_stop_id(glm_engine_config(engine), asking->next))
        return glm_asking_end(asking, "stop");
    RT_TRY(put(asking, asking->next));
    if (asking->answer.stop.is_found) return glm_asking_end(asking, "stop");
    return asking->n_tokens >= asking->max_tokens ? glm_asking_end(asking, "length") : RT_OK;
}

void glm_asking_free(glm_asking *asking) {
    glm_session_free(asking->session);
    glm_answer_free(&asking->answer);
    free(asking->text.bytes);
    *asking = (glm_asking){0};
}
