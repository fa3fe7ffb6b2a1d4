/* GLM-4's conversation format: messages -> ids. reply.h is the way back.
 *
 *   [gMASK]<sop>  <|ROLE|>{metadata}\n{content}  ...  <|assistant|>
 *
 * Two dialects: GLM-4-9B's, where messages come as they were said, and that of the models of April
 * 2025 (0414), which says tools and every system message first, whatever was said before them.
 *
 * "{metadata}\n" and "{content}" are encoded separately, bodies always as plain text: what a user
 * types never becomes a control token. Nothing ends a message but the next role, and nothing
 * follows the final <|assistant|>. */
#ifndef GLM_CHAT_H
#define GLM_CHAT_H

#include "chat_tools.h"
#include "tokenizer.h"

typedef enum glm_chat_role {
    GLM_CHAT_SYSTEM,
    GLM_CHAT_USER,
    GLM_CHAT_ASSISTANT,
    GLM_CHAT_OBSERVATION /* what a tool answered */
} glm_chat_role;

/* A call of a tool, as the assistant made it. */
typedef struct glm_tool_call {
    const char *name;
    const char *arguments;
    int64_t arguments_bytes; /* -1: NUL-terminated */
} glm_tool_call;

typedef struct glm_message {
    glm_chat_role role;
    const char *metadata; /* one line: a tool's name, before its answer; NULL or "": none */
    const char *content;
    int64_t content_bytes; /* -1: content is NUL-terminated */
    const glm_tool_call *calls;
    int64_t n_calls; /* after the content, of an assistant's message only */
} glm_message;

typedef enum glm_chat_dialect {
    GLM_CHAT_GLM4,
    GLM_CHAT_0414 /* functions only, for a "ChatGLM"; metadata only where the assistant calls one */
} glm_chat_dialect;

/* A whole conversation, all of it borrowed. */
typedef struct glm_chat {
    glm_chat_dialect dialect;
    bool has_metadata_space; /* 0414: "{metadata} \n", as some of its published templates have it */
    const glm_message *messages;
    int64_t n_messages;
    const glm_tools *tools; /* said first, in a system message of their own; NULL: none */
    glm_tools_format format;
} glm_chat;

/* Append [gMASK]<sop>, the tools, every message and the final <|assistant|>.
 *
 * Errors: RT_EMODEL  the tokenizer has no such control tokens
 *         RT_EUSAGE  metadata of more than one line, calls that are not the assistant's, or a
 *                    built-in tool for a 0414 model
 *         RT_ENOMEM
 * On failure `out` keeps what it had before. */
RT_MUST_CHECK rt_status glm_chat_render(
        const glm_tokenizer *tokenizer, const glm_chat *chat, glm_ids *out);

/* The same without the final <|assistant|>: there is more to come. */
RT_MUST_CHECK rt_status glm_chat_render_turns(
        const glm_tokenizer *tokenizer, const glm_chat *chat, glm_ids *out);

/* The same piece by piece in the dialect of GLM-4-9B, with the same errors: [gMASK]<sop>; then the system's turn
 * that lists the tools, in the format that the model was trained on. */
RT_MUST_CHECK rt_status glm_chat_begin(const glm_tokenizer *tokenizer, glm_ids *out);
RT_MUST_CHECK rt_status glm_chat_append_tools(const glm_tokenizer *tokenizer,
        const glm_tools *tools, const glm_tools_format *format, glm_ids *out);
/* A message with neither content nor metadata is left out; each of its calls is a message. */
RT_MUST_CHECK rt_status glm_chat_append(
        const glm_tokenizer *tokenizer, const glm_message *message, glm_ids *out);
/* <|assistant|>: the model speaks next. */
RT_MUST_CHECK rt_status glm_chat_prompt_answer(const glm_tokenizer *tokenizer, glm_ids *out);
/* <|assistant|>NAME\n: the model calls that tool, and what it says are the arguments. A reply's
 * parser is fed "NAME\n" before them. */
RT_MUST_CHECK rt_status glm_chat_prompt_call(
        const glm_tokenizer *tokenizer, const char *name, glm_ids *out);

/* Whether a generated id ends the assistant's turn: <|endoftext|>, <|user|> (the turn is done) or
 * <|observation|> (it waits for a tool), whatever the checkpoint's eos_token_id says. */
bool glm_chat_ends_turn(const glm_tokenizer *tokenizer, int32_t id);
/* Those of them that the tokenizer has; returns how many. */
enum { GLM_CHAT_TURN_ENDS = 3 };
int glm_chat_turn_ends(const glm_tokenizer *tokenizer, int32_t ids[GLM_CHAT_TURN_ENDS]);

#endif
