/* glm1m chat: commands, questions of several lines, and how a conversation begins. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/memstream.h"
#include "base/size.h"
#include "cli_books.h"
#include "cli_input.h"
#include "cli_prefill.h"
#include "cli_sampling.h"
#include "cli_signals.h"
#include "cmd_chat.h"
#include "cmd_chat_keep.h"
#include "turn.h"
#include "variant.h"

/* For /help and --help. */
#define COMMANDS                                                                   \
    "  /read FILE  put a text, PDF, Word or other file that ask reads, or a\n"     \
    "              directory, in front of the next question; repeatable; Tab\n"    \
    "              completes its name\n"                                           \
    "  /result TEXT  what the tool that was called answers (--tools)\n"            \
    "  /keep NAME  keep what was said on disk: chat --book NAME goes on with it\n" \
    "  /reset      forget the conversation and the files read, not the book\n"     \
    "  /help       list these commands\n"                                          \
    "  /quit       leave, as Ctrl-D does\n"                                        \
    "  //TEXT      a question that begins with a /\n"                              \
    "  \"\"\"         begins a question of several lines, and ends it\n"           \
    "  pasted lines are one question, with what is typed around them\n"

static rt_status give_result(conversation *chat, const char *text) {
    if (!chat->tools) return rt_fail(RT_EUSAGE, "/result: there are no tools (--tools FILE)");
    if (!text[0]) return rt_fail(RT_EUSAGE, "/result: what does the tool answer?");
    return chat_ask(chat, GLM_CHAT_OBSERVATION, text, (int64_t)strlen(text));
}

static rt_status read_path(conversation *chat, const char *path) {
    int64_t n_tokens = 0;
    const int64_t n_free = chat->context - chat_n_used(chat) - chat->files.n_tokens;
    RT_TRY(chat_files_read(&chat->files, chat->cli, chat->tokenizer, path, n_free, &n_tokens));
    chat_say(chat,
            "%s: %" PRId64 " tokens, before the next question; %" PRId64 " of %" PRId64
            " are free then\n",
            path, n_tokens, n_free - n_tokens, chat->context);
    return RT_OK;
}

static rt_status read_file(conversation *chat, const char *typed) {
    char *path = NULL;
    RT_TRY(chat_files_path(typed, &path));
    const rt_status status = read_path(chat, path);
    free(path);
    return status;
}

static rt_status reset(conversation *chat) {
    chat_files_forget(&chat->files);
    RT_TRY(glm_session_rewind(chat->session, chat->n_kept));
    chat->pending = -1;
    chat_say(chat, "the conversation is forgotten%s%s: %" PRId64 " tokens are free\n",
            chat->n_kept > 0 ? ", and not the book " : "", chat->n_kept > 0 ? chat->cli->book : "",
            chat->context - chat->n_kept);
    return RT_OK;
}

/* "/read FILE": whether `line` is the command `name`, and what follows it. */
static bool is_command(const char *line, const char *name, const char **operand) {
    const size_t length = strlen(name);
    if (strncmp(line, name, length) != 0 || (line[length] != '\0' && !strchr(" \t", line[length])))
        return false;
    *operand = line + length + strspn(line + length, " \t");
    return true;
}

static rt_status obey(conversation *chat, const char *line) {
    const char *operand = "";
    if (is_command(line, "/read", &operand)) return chat_refuse(chat, read_file(chat, operand));
    if (is_command(line, "/result", &operand)) return chat_refuse(chat, give_result(chat, operand));
    if (is_command(line, "/keep", &operand)) return chat_refuse(chat, chat_keep(chat, operand));
    if (is_command(line, "/help", &operand))
        (void)fputs(COMMANDS, stderr);
    else if (is_command(line, "/reset", &operand))
        return reset(chat);
    else if (is_command(line, "/quit", &operand))
        chat->is_over = true;
    else
        return chat_refuse(
                chat, rt_fail(RT_EUSAGE,
                              "no command %.*s; /help lists them, // begins a question with a /",
                              (int)rt_min64(40, (int64_t)strcspn(line, " ")), line));
    return RT_OK;
}

/* ---- questions of several lines -------------------------------------------------------------- */

static const char block_mark[] = "\"\"\"";
enum { MARK_BYTES = sizeof block_mark - 1 };

static bool has_mark(const char *place, int64_t n_bytes) {
    return n_bytes >= MARK_BYTES && memcmp(place, block_mark, MARK_BYTES) == 0;
}

static void drop_block(conversation *chat) {
    if (chat->block) (void)fclose(chat->block);
    free(chat->block_text);
    chat->block = NULL;
    chat->block_text = NULL;
}

static rt_status end_block(conversation *chat) {
    const bool is_whole = rt_memstream_close(chat->block, &chat->block_text);
    chat->block = NULL;
    const rt_status status =
            is_whole ? chat_ask(chat, GLM_CHAT_USER, chat->block_text, (int64_t)chat->block_bytes)
                     : rt_fail(RT_ENOMEM, "chat: no memory for the question");
    drop_block(chat);
    return status;
}

/* One more line, behind the mark that began the block: up to the mark that ends it, if there is. */
static rt_status add_to_block(conversation *chat, const char *line, int64_t n_bytes) {
    const bool is_last = has_mark(line + n_bytes - rt_min64(n_bytes, MARK_BYTES), n_bytes);
    (void)fwrite(line, 1, (size_t)(is_last ? n_bytes - MARK_BYTES : n_bytes), chat->block);
    if (is_last) return end_block(chat);
    (void)putc('\n', chat->block);
    return RT_OK;
}

static rt_status begin_block(conversation *chat, const char *line, int64_t n_bytes) {
    chat->block = rt_memstream_open(&chat->block_text, &chat->block_bytes);
    if (!chat->block) return rt_fail(RT_ENOMEM, "chat: no memory for the question");
    return n_bytes > 0 ? add_to_block(chat, line, n_bytes) : RT_OK;
}

/* A paste of several lines in it is a question as it stands, with marks and slashes, which code begins with, too: only what a
 * tool answers is a command of several lines. */
static bool is_pasted(const char *line, int64_t n_bytes) {
    const char *operand = NULL;
    return memchr(line, '\n', (size_t)n_bytes) && !is_command(line, "/result", &operand);
}

static rt_status take_line(conversation *chat, const char *line, int64_t n_bytes) {
    chat->is_warned = false;
    if (chat->block) return add_to_block(chat, line, n_bytes);
    if (is_pasted(line, n_bytes)) return chat_ask(chat, GLM_CHAT_USER, line, n_bytes);
    if (has_mark(line, n_bytes)) return begin_block(chat, line + MARK_BYTES, n_bytes - MARK_BYTES);
    if (line[0] != '/') return chat_ask(chat, GLM_CHAT_USER, line, n_bytes);
    if (line[1] == '/') return chat_ask(chat, GLM_CHAT_USER, line + 1, n_bytes - 1);
    return obey(chat, line);
}

/* Ctrl-C at the prompt drops what was typed so far; a second one leaves, as does one where nobody
 * types. */
static rt_status take_interrupt(conversation *chat) {
    (void)fputc('\n', stderr);
    drop_block(chat);
    if (chat->is_warned || !chat_lines_are_typed(chat->lines) || !glm_cli_forget_interrupt())
        return glm_cli_check_interrupted();
    chat->is_warned = true;
    chat_say(chat, "Ctrl-C again, /quit or Ctrl-D leaves\n");
    return RT_OK;
}

/* What comes behind Ctrl-D, the shell's prompt, begins a line of its own. */
static void take_end(conversation *chat) {
    chat->is_over = true;
    if (chat_lines_are_typed(chat->lines)) (void)fputc('\n', stderr);
}

static rt_status converse(conversation *chat) {
    while (!chat->is_over) {
        const char *line = NULL;
        int64_t n_bytes = 0;
        chat_line_kind kind = CHAT_LINE;
        RT_TRY(chat_lines_next(chat->lines, &line, &n_bytes, &kind));
        if (kind == CHAT_LINES_INTERRUPTED)
            RT_TRY(take_interrupt(chat));
        else if (kind == CHAT_LINES_END)
            take_end(chat);
        else
            RT_TRY(take_line(chat, line, n_bytes));
    }
    if (chat->block) return rt_fail(RT_EUSAGE, "the question begun with %s has no end", block_mark);
    return RT_OK;
}

/* ---- the command ----------------------------------------------------------------------------- */

static rt_status read_tools(conversation *chat) {
    const char *path = chat->cli->tools;
    char *text = NULL;
    int64_t n_bytes = 0;
    if (!path) return RT_OK;
    RT_TRY(glm_cli_read_text(path, &text, &n_bytes));
    const rt_status status = glm_tools_parse(text, n_bytes, &chat->tools);
    free(text);
    return status == RT_EUSAGE ? rt_fail(status, "--tools %s: %s", path, rt_error_text()) : status;
}

static rt_status encode_beginning(conversation *chat, const glm_variant *variant) {
    const char *text = chat->cli->system ? chat->cli->system : "";
    const glm_message message = {.role = GLM_CHAT_SYSTEM, .content = text, .content_bytes = -1};
    const glm_chat beginning = {.dialect = variant->is_0414 ? GLM_CHAT_0414 : GLM_CHAT_GLM4,
            .messages = &message,
            .n_messages = 1,
            .tools = chat->tools};
    RT_TRY(glm_chat_render_turns(chat->tokenizer, &beginning, &chat->beginning));
    if (chat->cli->book) glm_cli_drop_specials(chat->tokenizer, &chat->beginning);

    /* That it can be talked to is known before the weights are read. */
    glm_ids roles = {0};
    const rt_status status = glm_chat_prompt_answer(chat->tokenizer, &roles);
    glm_ids_free(&roles);
    return status;
}

/* As generation_config.json says; greedy where neither it nor a flag says anything. */
static glm_sampling choose_sampling(const glm_cli *cli, const glm_config *config) {
    return config->temperature >= 0.0F ? glm_cli_sampling(cli, config)
                                       : glm_cli_sampling_or_greedy(cli, config);
}

static void say_context(const conversation *chat, const glm_config *config) {
    if (chat->context == config->model_len) {
        chat_say(chat, "context: %" PRId64 " tokens, the model's own length\n", chat->context);
        return;
    }
    chat_say(chat, "context: %" PRId64 " tokens, %s; the model's own length is %" PRId64 "\n",
            chat->context,
            chat->cli->engine.max_len > 0 ? "as asked for" : "the most that fits here",
            config->model_len);
}

/* The book, from disk, and the system's message behind it: before anything is asked. */
static rt_status open_book(conversation *chat) {
    const glm_ids *ids = &chat->beginning;
    glm_reuse reuse = {0};
    double waited_s = 0.0;
    if (!chat->cli->book) return RT_OK;
    if (ids->n >= chat->context)
        return rt_fail(RT_ENOFIT,
                "book %s, and what --system says, are %" PRId64 " tokens: the context of %" PRId64
                " leaves no room for a question",
                chat->cli->book, ids->n, chat->context);
    const double started_s = rt_now();
    RT_TRY(glm_cli_restore_book(chat->cli, chat->session, ids, chat->n_book, &reuse, &waited_s));
    RT_TRY(glm_cli_prefill_rest(chat->cli, chat->session, ids->ids, ids->n, NULL));
    glm_turn_give_back(chat->session);
    chat->n_kept = ids->n;
    chat_say(chat, "book %s: %" PRId64 " tokens", chat->cli->book, ids->n);
    chat_say_reuse(chat, &reuse);
    chat_say(chat, " in %.2f s\n", rt_now() - started_s - waited_s);
    return RT_OK;
}

/* What can be said before the weights are read. */
static rt_status prepare(conversation *chat) {
    const char *dir = chat->cli->engine.model_dir;
    glm_config config;
    glm_variant variant;
    RT_TRY(glm_cli_load_tokenizer(chat->cli, &chat->tokenizer));
    RT_TRY(glm_config_load(dir, &config));
    RT_TRY(glm_cli_book_length(chat->cli, &chat->n_book));
    glm_variant_recognise(&config, dir, &variant);
    RT_TRY(read_tools(chat));
    RT_TRY(encode_beginning(chat, &variant));
    if (variant.is_base)
        chat_say(chat,
                "%s was never taught to converse: it may go on without end, or with the question; "
                "glm1m complete gives it a text to continue\n",
                variant.name);
    return RT_OK;
}

static rt_status open_model(conversation *chat) {
    glm_options options = chat->cli->engine;
    options.persists = glm_cli_persists(chat->cli);
    options.needs_kept = chat->cli->book != NULL;
    RT_TRY(prepare(chat));
    RT_TRY(glm_engine_open(&options, &chat->engine));
    glm_cli_say_kv(chat->cli, chat->engine);
    const glm_config *config = glm_engine_config(chat->engine);
    chat->context = glm_engine_plan(chat->engine)->max_len;
    chat->sampling = choose_sampling(chat->cli, config);
    say_context(chat, config);
    RT_TRY(glm_cli_prepend_book(chat->cli, chat->engine, chat->n_book, &chat->beginning));
    RT_TRY(glm_session_create(chat->engine, chat->context, &chat->session));
    return open_book(chat);
}

static rt_status hold(conversation *chat) {
    RT_TRY(glm_cli_check_stop(chat->cli));
    RT_TRY(chat_lines_open(&chat->lines));
    RT_TRY(open_model(chat));
    if (chat_lines_are_typed(chat->lines)) chat_say(chat, "/help lists the commands\n");
    return converse(chat);
}

static void release(conversation *chat) {
    chat_lines_close(chat->lines);
    glm_session_free(chat->session);
    glm_engine_close(chat->engine);
    glm_tokenizer_free(chat->tokenizer);
    glm_ids_free(&chat->beginning);
    glm_tools_free(chat->tools);
    chat_files_forget(&chat->files);
    drop_block(chat);
}

static int run_chat(glm_cli *cli) {
    conversation chat = {.cli = cli, .pending = -1};
    const rt_status status = hold(&chat);
    release(&chat);
    return status == RT_OK ? GLM_EXIT_OK : glm_cli_fail(status);
}

const glm_command glm_cmd_chat = {
        .name = "chat",
        .usage = "chat -m DIR [--system TEXT] [--tools FILE] [--book NAME] [-n N] [-c N]",
        .summary = "talk with the model",
        .details =
                "Reads questions, one a line, and streams the answers to standard output. The\n"
                "conversation stays in the KV cache: a turn costs only its own tokens. After each\n"
                "turn a line on standard error says what it cost and how full the context is.\n"
                "\n"
                "At the prompt:\n" COMMANDS "\n"
                "Ctrl-C stops an answer: what was said of it stays in the conversation. While a\n"
                "question is still being read it takes the question and its files back. At the\n"
                "prompt it drops the line, a second one in a row leaves with exit code 130. Where\n"
                "standard input is no terminal, Ctrl-C outside of an answer leaves, and the first\n"
                "refusal (a full context, a file that cannot be read) ends the program with its\n"
                "exit code.\n"
                "\n"
                "Samples as the model's generation_config.json says, which the sampling flags "
                "change;\n"
                "--temperature 0 is greedy.\n"
                "The context is the largest that fits, or -c tokens. An answer goes on until the\n"
                "model ends it, -n tokens of it are there, or the context is full, which is told.\n"
                "\n"
                "--book NAME talks about a text that glm1m prefill has kept, or goes on with a\n"
                "conversation that /keep NAME has: it begins\n"
                "with it, read from disk, and /reset goes back to there. Without --book, but with\n"
                "--kv-disk-dir, what is prefilled is kept there as well, and a conversation that\n"
                "begins with the same 4096 tokens or more, or with a question that was stopped while\n"
                "it was read, goes on from there.\n"
                "\n"
                "--tools FILE tells the model of tools it may call; a call is printed as a line\n"
                "'call NAME ARGUMENTS', and /result TEXT answers it.\n"
                "\n"
                "Examples:\n"
                "  glm1m chat -m glm-4-9b-chat-1m --system 'You answer in one sentence.'\n"
                "  printf '/read book.txt\\nWho is Lucia?\\n' | glm1m chat -m glm-4-9b-chat-1m\n"
                "  glm1m chat -m glm-4-9b-chat-1m --book war\n",
        .flags = "@engine @sampling num-speculative-tokens system tools book max-tokens stop",
        .required = "model",
        .run = run_chat,
};
