#include "chat.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "<|user|>" as the tokenizer's file spells it. */
static const char *role_text(glm_chat_role role) {
    static const char *const texts[] = {
            "<|system|>", "<|user|>", "<|assistant|>", "<|observation|>"};
    return texts[role];
}

static int32_t role_id(const glm_tokenizer *tokenizer, glm_chat_role role) {
    const glm_special_ids ids = glm_tokenizer_specials(tokenizer);
    switch (role) {
    case GLM_CHAT_SYSTEM:
        return ids.system;
    case GLM_CHAT_USER:
        return ids.user;
    case GLM_CHAT_ASSISTANT:
        return ids.assistant;
    case GLM_CHAT_OBSERVATION:
        return ids.observation;
    }
    return -1;
}

static rt_status push_special(int32_t id, const char *text, glm_ids *out) {
    if (id < 0)
        return rt_fail(RT_EMODEL, "chat: the tokenizer has no %s: is this a chat model?", text);
    return glm_ids_push(out, id);
}

rt_status glm_chat_begin(const glm_tokenizer *tokenizer, glm_ids *out) {
    const glm_special_ids ids = glm_tokenizer_specials(tokenizer);
    const int64_t n_before = out->n;
    rt_status status = push_special(ids.gmask, "[gMASK]", out);
    if (status == RT_OK) status = push_special(ids.sop, "<sop>", out);
    if (status != RT_OK) out->n = n_before;
    return status;
}

/* The metadata and its newline in one, as one text. */
static rt_status append_metadata(
        const glm_tokenizer *tokenizer, const char *metadata, glm_ids *out) {
    char *line = NULL;
    const int n_bytes = asprintf(&line, "%s\n", metadata ? metadata : "");
    if (n_bytes < 0) return rt_fail(RT_ENOMEM, "chat: no memory for metadata");
    const rt_status status = glm_tokenizer_encode(tokenizer, line, n_bytes, false, out);
    free(line);
    return status;
}

/* The first line and the content apart: no token joins the newline to what the content begins
 * with. */
static rt_status append_message(const glm_tokenizer *tokenizer, const glm_message *message,
        int64_t content_bytes, glm_ids *out) {
    RT_TRY(push_special(role_id(tokenizer, message->role), role_text(message->role), out));
    RT_TRY(append_metadata(tokenizer, message->metadata, out));
    return glm_tokenizer_encode(tokenizer, message->content, content_bytes, false, out);
}

rt_status glm_chat_append(
        const glm_tokenizer *tokenizer, const glm_message *message, glm_ids *out) {
    const bool has_metadata = message->metadata && message->metadata[0] != '\0';
    const int64_t content_bytes = message->content_bytes >= 0 ? message->content_bytes
                                                              : (int64_t)strlen(message->content);
    if (!has_metadata && content_bytes == 0) return RT_OK;
    const int64_t n_before = out->n;
    const rt_status status = append_message(tokenizer, message, content_bytes, out);
    if (status != RT_OK) out->n = n_before;
    return status;
}

rt_status glm_chat_prompt_answer(const glm_tokenizer *tokenizer, glm_ids *out) {
    return push_special(role_id(tokenizer, GLM_CHAT_ASSISTANT), role_text(GLM_CHAT_ASSISTANT), out);
}
