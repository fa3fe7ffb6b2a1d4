/* A turn of a conversation: the question, its answer, what it cost. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "answer.h"
#include "base/log.h"
#include "base/size.h"
#include "cli_prefill.h"
#include "cli_show.h"
#include "cli_signals.h"
#include "cli_sources.h"
#include "cli_turn.h"
#include "cmd_chat.h"
#include "reply.h"
#include "turn.h"

/* One turn under way. */
typedef struct turn {
    glm_ids ids;     /* what the session has to take in before it can answer */
    glm_reuse reuse; /* how much of it was on disk; of a conversation's first turn */
    glm_answer answer;
    glm_reply reply;
    int64_t n_answer;
    glm_drafts drafts; /* of earlier turns */
    char last_byte;
    const char *finish_reason;
    double waited_s; /* for another process that prefilled it */
    double prefill_s;
    double decode_s;
} turn;

/* Ctrl-C was for what went on, and for what was typed ahead; false after a SIGTERM, or without one. */
static bool forget_interrupt(const conversation *chat) {
    if (!glm_cli_forget_interrupt()) return false;
    chat_lines_drop_typed(chat->lines);
    return true;
}

rt_status chat_refuse(const conversation *chat, rt_status status) {
    if (status == RT_OK || status == RT_ENOMEM || !chat_lines_are_typed(chat->lines)) return status;
    if (status == RT_EINTERRUPTED && !forget_interrupt(chat)) return status; /* SIGTERM */
    (void)glm_cli_fail(status);
    return RT_OK;
}

void chat_say(const conversation *chat, const char *format, ...) {
    if (chat->cli->quiet) return;
    va_list arguments;
    va_start(arguments, format);
    (void)vfprintf(stderr, format, arguments);
    va_end(arguments);
}

/* ---- the question ---------------------------------------------------------------------------- */

int64_t chat_n_used(const conversation *chat) {
    return glm_session_length(chat->session) + (chat->pending >= 0);
}

static rt_status append_question(const conversation *chat, glm_chat_role role, const char *text,
        int64_t n_bytes, glm_ids *out) {
    char *whole = NULL;
    int64_t whole_bytes = 0;
    RT_TRY(chat_files_question(&chat->files, text, n_bytes, &whole, &whole_bytes));
    const glm_message message = {.role = role, .content = whole, .content_bytes = whole_bytes};
    const rt_status status = glm_chat_append(chat->tokenizer, &message, out);
    free(whole);
    return status;
}

/* What the session lacks: its beginning or the last answer's last token, the question, the role. */
static rt_status encode_turn(const conversation *chat, glm_chat_role role, const char *text,
        int64_t n_bytes, glm_ids *out) {
    if (chat->pending >= 0) RT_TRY(glm_ids_push(out, chat->pending));
    if (chat_n_used(chat) == 0) RT_TRY(glm_ids_append(out, chat->beginning.ids, chat->beginning.n));
    RT_TRY(append_question(chat, role, text, n_bytes, out));
    return glm_chat_prompt_answer(chat->tokenizer, out);
}

static rt_status check_room(const conversation *chat, const glm_ids *ids) {
    const int64_t n_held = glm_session_length(chat->session);
    if (n_held + ids->n <= chat->context) return RT_OK;
    if (n_held == 0)
        return rt_fail(RT_ENOFIT,
                "this turn needs %" PRId64 " tokens, the context has %" PRId64
                "; -c N makes room for more",
                ids->n, chat->context);
    return rt_fail(RT_ENOFIT,
            "the context is full: %" PRId64 " of its %" PRId64
            " tokens are used, this turn needs %" PRId64
            "; /reset forgets the conversation, -c N makes room for more",
            n_held, chat->context, ids->n);
}

/* ---- the answer ------------------------------------------------------------------------------ */

static rt_status show_bytes(turn *now, const char *bytes, int64_t n_bytes) {
    if (n_bytes == 0) return RT_OK;
    now->last_byte = bytes[n_bytes - 1];
    if (glm_cli_show(stdout, bytes, n_bytes) && fflush(stdout) == 0) return RT_OK;
    return rt_fail_errno(RT_EIO, "chat: cannot write the answer");
}

/* A call is a line of its own: "call NAME ARGUMENTS". */
static rt_status show_piece(turn *now, const glm_reply_piece *piece) {
    RT_TRY(show_bytes(now, piece->text, piece->text_bytes));
    if (piece->call) {
        if (now->last_byte && now->last_byte != '\n') RT_TRY(show_bytes(now, "\n", 1));
        RT_TRY(show_bytes(now, "call ", 5));
        RT_TRY(show_bytes(now, piece->call, (int64_t)strlen(piece->call)));
        RT_TRY(show_bytes(now, " ", 1));
    }
    return show_bytes(now, piece->arguments, piece->arguments_bytes);
}

/* Id -1: the answer is over. */
static rt_status show_token(const conversation *chat, turn *now, int32_t id, bool waits_for_tool) {
    const char *text = NULL;
    int64_t n_bytes = 0;
    glm_reply_piece piece;
    RT_TRY(glm_answer_put(&now->answer, id, &text, &n_bytes));
    RT_TRY(glm_reply_feed(&now->reply, text, n_bytes, &piece));
    RT_TRY(show_piece(now, &piece));
    if (id >= 0 && id != glm_tokenizer_specials(chat->tokenizer).assistant) return RT_OK;
    glm_reply_end_part(&now->reply, waits_for_tool, &piece);
    return show_piece(now, &piece);
}

static bool is_stop(const conversation *chat, int32_t id) {
    return glm_chat_ends_turn(chat->tokenizer, id) ||
           glm_is_stop_id(glm_engine_config(chat->engine), id);
}

/* Why the answer ends behind the token just shown, NULL when it goes on. */
static const char *find_end(const conversation *chat, const turn *now) {
    if (now->answer.stop.is_found) return "stop";
    if (glm_cli_interrupted()) return "interrupted";
    if (chat->cli->max_tokens >= 0 && now->n_answer >= chat->cli->max_tokens) return "length";
    if (glm_session_length(chat->session) == chat->context) return "context full";
    return NULL;
}

static rt_status generate(conversation *chat, turn *now) {
    bool waits_for_tool = false;
    now->finish_reason = chat->cli->max_tokens == 0 ? "length" : NULL;
    while (!now->finish_reason) {
        int32_t id = 0;
        RT_TRY(glm_answer_choose(
                &now->answer, chat->engine, chat->session, &chat->sampling, chat->n_drawn++, &id));
        now->n_answer++;
        if (is_stop(chat, id)) {
            now->finish_reason = "stop";
            waits_for_tool = id == glm_tokenizer_specials(chat->tokenizer).observation;
            break;
        }
        RT_TRY(show_token(chat, now, id, false));
        now->finish_reason = find_end(chat, now);
        if (now->finish_reason)
            chat->pending = id;
        else
            RT_TRY(glm_decode_ahead(chat->session, id));
    }
    RT_TRY(show_token(chat, now, -1, waits_for_tool));
    if (now->last_byte != '\n') (void)putchar('\n');
    return fflush(stdout) == 0 ? RT_OK : rt_fail_errno(RT_EIO, "chat: cannot write the answer");
}

void chat_say_reuse(const conversation *chat, const glm_reuse *reuse) {
    if (reuse->n_tokens == 0 && reuse->reason[0] == '\0') return;
    chat_say(chat, ", %" PRId64 " of them reused", reuse->n_tokens);
    if (reuse->reason[0]) chat_say(chat, " (%s)", reuse->reason);
    chat_say(chat, ",");
}

static void print_usage(const conversation *chat, const turn *now) {
    const int64_t n_computed = now->ids.n - now->reuse.n_tokens;
    char prefill[RT_SIZE_TEXT];
    char decode[RT_SIZE_TEXT];
    char drafts[GLM_CLI_DRAFTS_TEXT];
    chat_say(chat, "prompt %" PRId64 " tokens", now->ids.n);
    chat_say_reuse(chat, &now->reuse);
    chat_say(chat,
            " in %.2f s%s, answer %" PRId64 " tokens in %.2f s%s%s, %s; context %" PRId64
            " of %" PRId64 "\n",
            now->prefill_s, glm_cli_rate(n_computed, now->prefill_s, prefill), now->n_answer,
            now->decode_s, glm_cli_rate(now->n_answer, now->decode_s, decode),
            glm_cli_drafts(chat->engine, now->drafts, drafts), now->finish_reason,
            rt_min64(chat_n_used(chat), chat->context), chat->context);
    if (strcmp(now->finish_reason, "context full") == 0)
        chat_say(chat,
                "the context is full: all of its %" PRId64
                " tokens are used; /reset forgets the conversation, -c N makes room for more\n",
                chat->context);
}

/* A conversation's first turn may begin as one whose tokens are on disk, or that another process is prefilling. */
static rt_status find_on_disk(const conversation *chat, turn *now) {
    glm_session *session = chat->session;
    const glm_ids *ids = &now->ids;
    if (glm_session_length(session) > 0 || !glm_cli_persists(chat->cli)) return RT_OK;
    RT_TRY(glm_cli_restore(chat->cli, session, ids->ids, ids->n, &now->reuse));
    return glm_cli_take_turn(chat->cli, session, ids->ids, ids->n, glm_turn_whole(session, ids->n),
            &now->reuse, &now->waited_s);
}

static rt_status prefill_kept(const conversation *chat, turn *now) {
    const int64_t n_before = glm_session_length(chat->session);
    RT_TRY(find_on_disk(chat, now));
    const int64_t n_found = glm_session_length(chat->session) - n_before;
    return glm_cli_prefill_kept(
            chat->cli, chat->session, now->ids.ids, now->ids.n, n_found, "the same question");
}

/* Ctrl-C takes the whole question back: the session is as before it. What is kept on disk is there for who asks it again,
 * also in another run. */
static rt_status prefill(conversation *chat, turn *now) {
    const int64_t n_before = glm_session_length(chat->session);
    const rt_status status = prefill_kept(chat, now);
    glm_turn_give_back(chat->session);
    if (status == RT_OK) chat->pending = -1;
    if (status != RT_EINTERRUPTED) return status;
    char text[512]; /* of the interruption: what follows may fail, too */
    (void)snprintf(text, sizeof text, "%s", rt_error_text());
    RT_TRY(glm_session_rewind(chat->session, n_before));
    return rt_fail(RT_EINTERRUPTED, "%s", text);
}

static rt_status answer(conversation *chat, turn *now) {
    double started_s = rt_now();
    RT_TRY(prefill(chat, now));
    now->prefill_s = rt_now() - started_s - now->waited_s;

    now->drafts = glm_engine_drafts(chat->engine);
    started_s = rt_now();
    RT_TRY(generate(chat, now));
    now->decode_s = rt_now() - started_s;
    print_usage(chat, now);
    return RT_OK;
}

static rt_status take_turn(
        conversation *chat, turn *now, glm_chat_role role, const char *text, int64_t n_bytes) {
    rt_status status = encode_turn(chat, role, text, n_bytes, &now->ids);
    if (status == RT_OK) status = check_room(chat, &now->ids);
    if (status != RT_OK && status != RT_EINTERRUPTED) return chat_refuse(chat, status);

    if (status == RT_OK) status = answer(chat, now);
    if (status == RT_EINTERRUPTED && chat_lines_are_typed(chat->lines) && forget_interrupt(chat)) {
        chat_say(chat, "%s; the question and its files are taken back\n", rt_error_text());
        return RT_OK;
    }
    RT_TRY(status);
    (void)forget_interrupt(chat);
    return glm_cli_check_interrupted(); /* SIGTERM */
}

rt_status chat_ask(conversation *chat, glm_chat_role role, const char *text, int64_t n_bytes) {
    if (n_bytes == 0) return RT_OK;
    turn now = {.answer = {.tokenizer = chat->tokenizer,
                        .stop = {.texts = chat->cli->stop, .n_texts = chat->cli->n_stop}},
            .reply = {.tools = chat->tools}};
    const rt_status status = take_turn(chat, &now, role, text, n_bytes);
    chat_files_forget(&chat->files);
    glm_ids_free(&now.ids);
    glm_answer_free(&now.answer);
    glm_reply_free(&now.reply);
    return status;
}
