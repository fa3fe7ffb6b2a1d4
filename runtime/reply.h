/* What the model says, taken apart as it comes: text for the user, and calls of tools.
 *
 *   reply    part (<|assistant|> part)*
 *   part     text                     an answer; white space before it is dropped
 *            NAME \n { ...            a function's call: the rest of the part is its arguments
 *            NAME \n ...              a built-in tool's call, on the part's very first line
 *
 * NAME is a tool the model was told of; a first line that names none is text. Around NAME there may
 * be blanks, before a function's name and its brace any white space. Texts of several parts are
 * joined by a newline. Bytes are held back only while
 * everything since the part began could still be the beginning of a call: without tools, never. */
#ifndef GLM_REPLY_H
#define GLM_REPLY_H

#include "chat_tools.h"

typedef enum glm_reply_state {
    GLM_REPLY_UNDECIDED,
    GLM_REPLY_TEXT,
    GLM_REPLY_CALL
} glm_reply_state;

typedef struct glm_reply {
    /* Set by the caller, borrowed; NULL: none. */
    const glm_tools *tools;

    glm_reply_state state; /* of the part under way */
    bool has_begun_late;   /* its first line was empty */
    bool has_text;         /* text was let out, of this part or an earlier one */

    char *buffer;
    int64_t n_bytes; /* held back while undecided, or what the deciding feed let out */
    int64_t capacity;
} glm_reply;

/* What may be shown or sent on now: any of the three may be empty. */
typedef struct glm_reply_piece {
    const char *text;
    int64_t text_bytes;
    const char *call;      /* name of the call that begins here, else NULL */
    const char *arguments; /* of that call, or more of the one before */
    int64_t arguments_bytes;
} glm_reply_piece;

/* Feed n_bytes of generated text; the piece is borrowed until the next call. Whole characters come
 * out whole when they go in whole.
 *
 * RT_ENOMEM */
RT_MUST_CHECK rt_status glm_reply_feed(
        glm_reply *reply, const char *bytes, int64_t n_bytes, glm_reply_piece *piece);

/* The part is over: at <|assistant|> within a reply, and at its end. What was held back comes out.
 *
 *   waits_for_tool  <|observation|> ended it: a tool's bare name is then a call without arguments */
void glm_reply_end_part(glm_reply *reply, bool waits_for_tool, glm_reply_piece *piece);

/* What it held back; it is zeroed. */
void glm_reply_free(glm_reply *reply);

#endif
