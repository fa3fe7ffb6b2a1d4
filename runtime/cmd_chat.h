/* A conversation, its KV kept from turn to turn.
 *
 * The session holds every token of the conversation but the last answer's last one: a stop id is
 * also the next turn's role, and an answer that was stopped leaves one token, `pending`, that goes in
 * front of the next turn. So a turn prefills only what is new. */
#ifndef GLM_CMD_CHAT_H
#define GLM_CMD_CHAT_H

#include <stdio.h>

#include "chat.h"
#include "cli.h"
#include "cmd_chat_files.h"
#include "cmd_chat_lines.h"

typedef struct conversation {
    const glm_cli *cli;
    glm_tokenizer *tokenizer;
    glm_engine *engine;
    glm_session *session;
    chat_lines *lines;
    glm_sampling sampling;
    glm_tools *tools;  /* --tools; NULL: none */
    glm_ids beginning; /* [gMASK]<sop> or the book, the tools, and the system's message */
    int64_t n_book;    /* tokens of the book; 0 without */
    int64_t n_kept;    /* what /reset leaves in the session: with a book, the beginning */
    int64_t context;   /* tokens the session has room for */
    int64_t n_drawn;   /* tokens generated so far, of every answer */
    int32_t pending;   /* generated, not in the session yet; -1: none */

    chat_files files; /* /read: go in front of the next question */

    FILE *block; /* a question of several lines is being typed; NULL: none */
    char *block_text;
    size_t block_bytes;

    bool is_over;
    bool is_warned; /* a Ctrl-C at the prompt: the next one ends the program */
} conversation;

/* Notices, to standard error; none with --quiet. */
void chat_say(const conversation *chat, const char *format, ...) RT_PRINTF(2, 3);
/* " 4096 of them reused (why not more)," where anything was looked for. */
void chat_say_reuse(const conversation *chat, const glm_reuse *reuse);

/* What is typed after a refusal still counts, what a script would go on with does not: there a
 * refusal ends the program. Returns RT_OK, or what ends it. */
RT_MUST_CHECK rt_status chat_refuse(const conversation *chat, rt_status status);

/* Tokens of the context that are taken, the pending one included. */
int64_t chat_n_used(const conversation *chat);

/* One turn: the files read and the text (user's or a tool's, not NUL-terminated; none: nothing happens), answered to
 * standard output; the files are forgotten. Where somebody types, a refusal or Ctrl-C is told and RT_OK.
 *
 * RT_ENOFIT  the context is full; RT_EINTERRUPTED; RT_EIO; RT_ENOMEM; what prefill and decode may fail with */
RT_MUST_CHECK rt_status chat_ask(
        conversation *chat, glm_chat_role role, const char *text, int64_t n_bytes);

#endif
