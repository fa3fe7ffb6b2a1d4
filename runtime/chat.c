#include "chat.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/size.h"

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

int glm_chat_turn_ends(const glm_tokenizer *tokenizer, int32_t ids[GLM_CHAT_TURN_ENDS]) {
    const glm_special_ids specials = glm_tokenizer_specials(tokenizer);
    const int32_t all[GLM_CHAT_TURN_ENDS] = {
            specials.endoftext, specials.user, specials.observation};
    int n = 0;
    for (int i = 0; i < GLM_CHAT_TURN_ENDS; i++)
        if (all[i] >= 0) ids[n++] = all[i];
    return n;
}

bool glm_chat_ends_turn(const glm_tokenizer *tokenizer, int32_t id) {
    int32_t ids[GLM_CHAT_TURN_ENDS];
    const int n = glm_chat_turn_ends(tokenizer, ids);
    for (int i = 0; i < n; i++)
        if (ids[i] == id) return true;
    return false;
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

rt_status glm_chat_prompt_answer(const glm_tokenizer *tokenizer, glm_ids *out) {
    return push_special(role_id(tokenizer, GLM_CHAT_ASSISTANT), role_text(GLM_CHAT_ASSISTANT), out);
}

/* ---- messages -------------------------------------------------------------------------------- */

static int64_t length_of(const char *text, int64_t n_bytes) {
    if (n_bytes >= 0) return n_bytes;
    return text ? (int64_t)strlen(text) : 0;
}

/* How one message is written down. */
typedef struct style {
    bool is_0414;
    bool has_space;
} style;

static const style style_glm4 = {false, false};

static bool is_empty(const char *text) {
    return !text || text[0] == '\0';
}

/* The metadata and its newline in one, as one text. */
static rt_status append_metadata(
        const glm_tokenizer *tokenizer, style how, const char *metadata, glm_ids *out) {
    char *line = NULL;
    const bool has_space = how.has_space && !is_empty(metadata);
    const int n_bytes = asprintf(&line, "%s%s\n", metadata ? metadata : "", has_space ? " " : "");
    if (n_bytes < 0) return rt_fail(RT_ENOMEM, "chat: no memory for metadata");
    const rt_status status = glm_tokenizer_encode(tokenizer, line, n_bytes, false, out);
    free(line);
    return status;
}

/* The first line and the content apart: no token joins the newline to what the content begins
 * with. */
static rt_status append_turn(const glm_tokenizer *tokenizer, style how, glm_chat_role role,
        const char *metadata, const char *content, int64_t content_bytes, glm_ids *out) {
    if (metadata && strchr(metadata, '\n'))
        return rt_fail(RT_EUSAGE, "chat: the metadata of a message is one line, \"%.*s\" goes on",
                (int)rt_min64(64, (int64_t)strcspn(metadata, "\n")), metadata);
    RT_TRY(push_special(role_id(tokenizer, role), role_text(role), out));
    RT_TRY(append_metadata(tokenizer, how, metadata, out));
    return glm_tokenizer_encode(tokenizer, content, content_bytes, false, out);
}

static rt_status append_calls(
        const glm_tokenizer *tokenizer, style how, const glm_message *message, glm_ids *out) {
    if (message->n_calls > 0 && message->role != GLM_CHAT_ASSISTANT)
        return rt_fail(RT_EUSAGE, "chat: a %s message holds %" PRId64 " calls of tools",
                role_text(message->role), message->n_calls);
    for (int64_t i = 0; i < message->n_calls; i++) {
        const glm_tool_call *call = &message->calls[i];
        RT_TRY(append_turn(tokenizer, how, GLM_CHAT_ASSISTANT, call->name, call->arguments,
                length_of(call->arguments, call->arguments_bytes), out));
    }
    return RT_OK;
}

/* What tool an observation is of, a 0414 model is not told. */
static rt_status append_message(
        const glm_tokenizer *tokenizer, style how, const glm_message *message, glm_ids *out) {
    const bool has_metadata = !how.is_0414 || message->role == GLM_CHAT_ASSISTANT;
    const char *metadata = has_metadata ? message->metadata : NULL;
    const int64_t content_bytes = length_of(message->content, message->content_bytes);
    if (!is_empty(metadata) || content_bytes > 0)
        RT_TRY(append_turn(
                tokenizer, how, message->role, metadata, message->content, content_bytes, out));
    return append_calls(tokenizer, how, message, out);
}

rt_status glm_chat_append(
        const glm_tokenizer *tokenizer, const glm_message *message, glm_ids *out) {
    const int64_t n_before = out->n;
    const rt_status status = append_message(tokenizer, style_glm4, message, out);
    if (status != RT_OK) out->n = n_before;
    return status;
}

rt_status glm_chat_append_tools(const glm_tokenizer *tokenizer, const glm_tools *tools,
        const glm_tools_format *format, glm_ids *out) {
    char *text = NULL;
    int64_t n_bytes = 0;
    RT_TRY(glm_tools_text(tools, format, &text, &n_bytes));
    const glm_message message = {
            .role = GLM_CHAT_SYSTEM, .content = text, .content_bytes = n_bytes};
    const rt_status status = glm_chat_append(tokenizer, &message, out);
    free(text);
    return status;
}

rt_status glm_chat_prompt_call(const glm_tokenizer *tokenizer, const char *name, glm_ids *out) {
    const int64_t n_before = out->n;
    const rt_status status =
            append_turn(tokenizer, style_glm4, GLM_CHAT_ASSISTANT, name, "", 0, out);
    if (status != RT_OK) out->n = n_before;
    return status;
}

/* ---- conversations --------------------------------------------------------------------------- */

static rt_status check_functions(const glm_tools *tools) {
    for (int64_t i = 0; i < tools->n_tools; i++)
        if (tools->tools[i].kind != GLM_TOOL_FUNCTION)
            return rt_fail(RT_EUSAGE,
                    "chat: tools[%" PRId64 "] is %s, of GLM-4 All Tools: 0414 models are told of "
                    "functions only",
                    i, tools->tools[i].name);
    return RT_OK;
}

static rt_status append_tools(const glm_tokenizer *tokenizer, const glm_chat *chat, glm_ids *out) {
    glm_tools_format format = chat->format;
    if (!chat->tools) return RT_OK;
    if (chat->dialect == GLM_CHAT_0414) {
        RT_TRY(check_functions(chat->tools));
        if (!format.assistant) format.assistant = "ChatGLM";
    }
    return glm_chat_append_tools(tokenizer, chat->tools, &format, out);
}

/* Which messages a walk over the conversation takes. */
typedef enum choice { EVERY_MESSAGE, SYSTEM_MESSAGES, OTHER_MESSAGES } choice;

static rt_status append_messages(
        const glm_tokenizer *tokenizer, const glm_chat *chat, choice which, glm_ids *out) {
    const style how = {.is_0414 = chat->dialect == GLM_CHAT_0414,
            .has_space = chat->dialect == GLM_CHAT_0414 && chat->has_metadata_space};
    for (int64_t i = 0; i < chat->n_messages; i++) {
        const bool is_system = chat->messages[i].role == GLM_CHAT_SYSTEM;
        if (which != EVERY_MESSAGE && is_system != (which == SYSTEM_MESSAGES)) continue;
        RT_TRY(append_message(tokenizer, how, &chat->messages[i], out));
    }
    return RT_OK;
}

static rt_status render_turns(const glm_tokenizer *tokenizer, const glm_chat *chat, glm_ids *out) {
    RT_TRY(glm_chat_begin(tokenizer, out));
    RT_TRY(append_tools(tokenizer, chat, out));
    if (chat->dialect == GLM_CHAT_GLM4) return append_messages(tokenizer, chat, EVERY_MESSAGE, out);
    RT_TRY(append_messages(tokenizer, chat, SYSTEM_MESSAGES, out));
    return append_messages(tokenizer, chat, OTHER_MESSAGES, out);
}

rt_status glm_chat_render_turns(
        const glm_tokenizer *tokenizer, const glm_chat *chat, glm_ids *out) {
    const int64_t n_before = out->n;
    const rt_status status = render_turns(tokenizer, chat, out);
    if (status != RT_OK) out->n = n_before;
    return status;
}

rt_status glm_chat_render(const glm_tokenizer *tokenizer, const glm_chat *chat, glm_ids *out) {
    const int64_t n_before = out->n;
    rt_status status = render_turns(tokenizer, chat, out);
    if (status == RT_OK) status = glm_chat_prompt_answer(tokenizer, out);
    if (status != RT_OK) out->n = n_before;
    return status;
}
