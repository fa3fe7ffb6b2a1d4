/* glm1m chat: a conversation, its KV kept from turn to turn.
 *
 * The session holds every token of the conversation but the last answer's last one: a stop id is
 * also the next turn's role, and an answer that was stopped leaves one token, `pending`, that goes in
 * front of the next turn. So a turn prefills only what is new. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "answer.h"
#include "base/log.h"
#include "base/size.h"
#include "chat.h"
#include "cli.h"
#include "cmd_chat_files.h"
#include "cmd_chat_lines.h"
#include "reply.h"
#include "variant.h"

/* For /help and --help. */
#define COMMANDS                                                                \
    "  /read FILE  put a text file in front of the next question; repeatable\n" \
    "  /result TEXT  what the tool that was called answers (--tools)\n"         \
    "  /reset      forget the conversation and the files read, not the book\n"  \
    "  /help       list these commands\n"                                       \
    "  /quit       leave, as Ctrl-D does\n"                                     \
    "  //TEXT      a question that begins with a /\n"                           \
    "  \"\"\"         begins a question of several lines, and ends it\n"

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

/* One turn under way. */
typedef struct turn {
    glm_ids ids;     /* what the session has to take in before it can answer */
    glm_reuse reuse; /* how much of it was on disk; of a conversation's first turn */
    glm_answer answer;
    glm_reply reply;
    int64_t n_answer;
    char last_byte;
    const char *finish_reason;
    double prefill_s;
    double decode_s;
} turn;

/* What is typed after a refusal still counts, what a script would go on with does not: there a
 * refusal ends the program. */
static rt_status refuse(const conversation *chat, rt_status status) {
    if (status == RT_OK || status == RT_ENOMEM || !chat_lines_are_typed(chat->lines)) return status;
    (void)glm_cli_fail(status);
    return RT_OK;
}

static void say(const conversation *chat, const char *format, ...) RT_PRINTF(2, 3);
static void say(const conversation *chat, const char *format, ...) {
    if (chat->cli->quiet) return;
    va_list arguments;
    va_start(arguments, format);
    (void)vfprintf(stderr, format, arguments);
    va_end(arguments);
}

/* The question */

static int64_t n_used(const conversation *chat) {
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
    if (n_used(chat) == 0) RT_TRY(glm_ids_append(out, chat->beginning.ids, chat->beginning.n));
    RT_TRY(append_question(chat, role, text, n_bytes, out));
    return glm_chat_prompt_answer(chat->tokenizer, out);
}

static rt_status check_room(const conversation *chat, const glm_ids *ids) {
    const int64_t n_held = glm_session_length(chat->session);
    if (n_held + ids->n <= chat->context) return RT_OK;
    return rt_fail(RT_ENOFIT,
            "the context is full: %" PRId64 " of its %" PRId64
            " tokens are used, this turn needs %" PRId64
            "; /reset forgets the conversation, -c N makes room for more",
            n_held, chat->context, ids->n);
}

/* The answer */

static rt_status show_bytes(turn *now, const char *bytes, int64_t n_bytes) {
    if (n_bytes == 0) return RT_OK;
    const size_t n = (size_t)n_bytes;
    now->last_byte = bytes[n - 1];
    if (fwrite(bytes, 1, n, stdout) == n && fflush(stdout) == 0) return RT_OK;
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
            RT_TRY(glm_decode(&chat->session, &id, 1));
    }
    RT_TRY(show_token(chat, now, -1, waits_for_tool));
    if (now->last_byte != '\n') (void)putchar('\n');
    return fflush(stdout) == 0 ? RT_OK : rt_fail_errno(RT_EIO, "chat: cannot write the answer");
}

static double per_second(int64_t n, double seconds) {
    return seconds > 0.0 ? (double)n / seconds : 0.0;
}

/* " 4096 of them reused (why not more)," where anything was looked for. */
static void say_reuse(const conversation *chat, const glm_reuse *reuse) {
    if (reuse->n_tokens == 0 && reuse->reason[0] == '\0') return;
    say(chat, ", %" PRId64 " of them reused", reuse->n_tokens);
    if (reuse->reason[0]) say(chat, " (%s)", reuse->reason);
    say(chat, ",");
}

static void print_usage(const conversation *chat, const turn *now) {
    const int64_t n_computed = now->ids.n - now->reuse.n_tokens;
    say(chat, "prompt %" PRId64 " tokens", now->ids.n);
    say_reuse(chat, &now->reuse);
    say(chat,
            " in %.2f s (%.1f tokens/s), answer %" PRId64
            " tokens in %.2f s (%.1f tokens/s), %s; context %" PRId64 " of %" PRId64 "\n",
            now->prefill_s, per_second(n_computed, now->prefill_s), now->n_answer, now->decode_s,
            per_second(now->n_answer, now->decode_s), now->finish_reason,
            rt_min64(n_used(chat), chat->context), chat->context);
    if (strcmp(now->finish_reason, "context full") == 0)
        say(chat,
                "the context is full: all of its %" PRId64
                " tokens are used; /reset forgets the conversation, -c N makes room for more\n",
                chat->context);
}

/* A conversation's first turn may begin as one whose tokens are on disk. */
static rt_status find_on_disk(const conversation *chat, turn *now) {
    if (glm_session_length(chat->session) > 0 || !glm_cli_persists(chat->cli)) return RT_OK;
    return glm_cli_restore(chat->cli, chat->session, now->ids.ids, now->ids.n, &now->reuse);
}

/* Ctrl-C takes the whole question back: the session is as before it. */
static rt_status prefill(conversation *chat, turn *now) {
    const int64_t n_before = glm_session_length(chat->session);
    RT_TRY(find_on_disk(chat, now));
    const int64_t n_found = glm_session_length(chat->session) - n_before;
    const rt_status status = glm_cli_prefill(
            chat->cli, chat->session, now->ids.ids + n_found, now->ids.n - n_found, NULL, 1);
    if (status == RT_OK) chat->pending = -1;
    if (status != RT_EINTERRUPTED) return status;
    char text[256]; /* of the interruption: what follows may fail, too */
    (void)snprintf(text, sizeof text, "%s", rt_error_text());
    RT_TRY(glm_session_rewind(chat->session, n_before));
    return rt_fail(RT_EINTERRUPTED, "%s", text);
}

static rt_status answer(conversation *chat, turn *now) {
    double started_s = rt_now();
    RT_TRY(prefill(chat, now));
    now->prefill_s = rt_now() - started_s;

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
    if (status != RT_OK) return refuse(chat, status);

    status = answer(chat, now);
    if (status == RT_EINTERRUPTED && chat_lines_are_typed(chat->lines) &&
            glm_cli_forget_interrupt()) {
        say(chat, "%s; the question and its files are taken back\n", rt_error_text());
        return RT_OK;
    }
    RT_TRY(status);
    (void)glm_cli_forget_interrupt();
    return glm_cli_check_interrupted(); /* SIGTERM */
}

static rt_status ask_as(conversation *chat, glm_chat_role role, const char *text, int64_t n_bytes) {
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

static rt_status ask(conversation *chat, const char *text, int64_t n_bytes) {
    return ask_as(chat, GLM_CHAT_USER, text, n_bytes);
}

/* Commands */

static rt_status give_result(conversation *chat, const char *text) {
    if (!chat->tools) return rt_fail(RT_EUSAGE, "/result: there are no tools (--tools FILE)");
    if (!text[0]) return rt_fail(RT_EUSAGE, "/result: what does the tool answer?");
    return ask_as(chat, GLM_CHAT_OBSERVATION, text, (int64_t)strlen(text));
}

static rt_status read_file(conversation *chat, const char *path) {
    int64_t n_tokens = 0;
    RT_TRY(chat_files_read(&chat->files, chat->tokenizer, path, &n_tokens));
    say(chat,
            "%s: %" PRId64 " tokens, before the next question; %" PRId64 " of %" PRId64
            " are free\n",
            path, n_tokens, chat->context - n_used(chat), chat->context);
    return RT_OK;
}

static rt_status reset(conversation *chat) {
    chat_files_forget(&chat->files);
    RT_TRY(glm_session_rewind(chat->session, chat->n_kept));
    chat->pending = -1;
    say(chat, "the conversation is forgotten%s%s: %" PRId64 " tokens are free\n",
            chat->n_kept > 0 ? ", and not the book " : "", chat->n_kept > 0 ? chat->cli->book : "",
            chat->context - chat->n_kept);
    return RT_OK;
}

/* "/read FILE": whether `line` is the command `name`, and what follows it. */
static bool is_command(const char *line, const char *name, const char **operand) {
    const size_t length = strlen(name);
    if (strncmp(line, name, length) != 0 || (line[length] != '\0' && line[length] != ' '))
        return false;
    *operand = line + length + strspn(line + length, " ");
    return true;
}

static rt_status obey(conversation *chat, const char *line) {
    const char *operand = "";
    if (is_command(line, "/read", &operand)) return refuse(chat, read_file(chat, operand));
    if (is_command(line, "/result", &operand)) return refuse(chat, give_result(chat, operand));
    if (is_command(line, "/help", &operand))
        (void)fputs(COMMANDS, stderr);
    else if (is_command(line, "/reset", &operand))
        return reset(chat);
    else if (is_command(line, "/quit", &operand))
        chat->is_over = true;
    else
        return refuse(
                chat, rt_fail(RT_EUSAGE,
                              "no command %.*s; /help lists them, // begins a question with a /",
                              (int)rt_min64(40, (int64_t)strcspn(line, " ")), line));
    return RT_OK;
}

/* Questions of several lines */

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
    const int failed = fclose(chat->block);
    chat->block = NULL;
    const rt_status status = failed ? rt_fail(RT_ENOMEM, "chat: no memory for the question")
                                    : ask(chat, chat->block_text, (int64_t)chat->block_bytes);
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
    chat->block = open_memstream(&chat->block_text, &chat->block_bytes);
    if (!chat->block) return rt_fail(RT_ENOMEM, "chat: no memory for the question");
    return n_bytes > 0 ? add_to_block(chat, line, n_bytes) : RT_OK;
}

static rt_status take_line(conversation *chat, const char *line, int64_t n_bytes) {
    chat->is_warned = false;
    if (chat->block) return add_to_block(chat, line, n_bytes);
    if (has_mark(line, n_bytes)) return begin_block(chat, line + MARK_BYTES, n_bytes - MARK_BYTES);
    if (line[0] != '/') return ask(chat, line, n_bytes);
    if (line[1] == '/') return ask(chat, line + 1, n_bytes - 1);
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
    say(chat, "Ctrl-C again, /quit or Ctrl-D leaves\n");
    return RT_OK;
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
            chat->is_over = true;
        else
            RT_TRY(take_line(chat, line, n_bytes));
    }
    if (chat->block) return rt_fail(RT_EUSAGE, "the question begun with %s has no end", block_mark);
    return RT_OK;
}

/* The walk */

static rt_status read_tools(conversation *chat) {
    const char *path = chat->cli->tools;
    char *text = NULL;
    int64_t n_bytes = 0;
    if (!path) return RT_OK;
    RT_TRY(glm_cli_read_text(path, &text, &n_bytes));
    const rt_status status = glm_tools_parse(text, n_bytes, &chat->tools);
    free(text);
    if (status != RT_EUSAGE) return status;
    char why[512];
    (void)snprintf(why, sizeof why, "%s", rt_error_text());
    return rt_fail(RT_EUSAGE, "--tools %s: %s", path, why);
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
    const glm_sampling greedy = {.temperature = 0.0F, .top_p = 1.0F};
    if (config->temperature < 0.0F && !glm_cli_asks_for_sampling(cli)) return greedy;
    return glm_cli_sampling(cli, config);
}

static void say_context(const conversation *chat, const glm_config *config) {
    if (chat->context == config->model_len) {
        say(chat, "context: %" PRId64 " tokens, the model's own length\n", chat->context);
        return;
    }
    say(chat, "context: %" PRId64 " tokens, %s; the model's own length is %" PRId64 "\n",
            chat->context,
            chat->cli->engine.max_len > 0 ? "as asked for" : "the most that fits here",
            config->model_len);
}

/* The book, from disk, and the system's message behind it: before anything is asked. */
static rt_status open_book(conversation *chat) {
    const glm_ids *ids = &chat->beginning;
    glm_reuse reuse = {0};
    if (!chat->cli->book) return RT_OK;
    if (ids->n >= chat->context)
        return rt_fail(RT_ENOFIT,
                "book %s, and what --system says, are %" PRId64 " tokens: the context of %" PRId64
                " leaves no room for a question",
                chat->cli->book, ids->n, chat->context);
    const double started_s = rt_now();
    RT_TRY(glm_cli_restore_book(chat->cli, chat->session, ids, chat->n_book, &reuse));
    RT_TRY(glm_cli_prefill_rest(chat->cli, chat->session, ids->ids, ids->n));
    chat->n_kept = ids->n;
    say(chat, "book %s: %" PRId64 " tokens", chat->cli->book, ids->n);
    say_reuse(chat, &reuse);
    say(chat, " in %.2f s\n", rt_now() - started_s);
    return RT_OK;
}

/* What can be said before the weights are read. */
static rt_status prepare(conversation *chat) {
    const char *dir = chat->cli->engine.model_dir;
    glm_config config;
    glm_variant variant;
    RT_TRY(glm_tokenizer_load(dir, &chat->tokenizer));
    RT_TRY(glm_config_load(dir, &config));
    RT_TRY(glm_cli_book_length(chat->cli, &chat->n_book));
    glm_variant_recognise(&config, dir, &variant);
    RT_TRY(read_tools(chat));
    RT_TRY(encode_beginning(chat, &variant));
    if (variant.is_base)
        say(chat,
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
    glm_cli_say_overflow(chat->cli, chat->engine);
    const glm_config *config = glm_engine_config(chat->engine);
    chat->context = glm_engine_plan(chat->engine)->max_len;
    chat->sampling = choose_sampling(chat->cli, config);
    say_context(chat, config);
    RT_TRY(glm_cli_prepend_book(chat->cli, chat->engine, chat->n_book, &chat->beginning));
    RT_TRY(glm_session_create(chat->engine, chat->context, &chat->session));
    return open_book(chat);
}

static rt_status hold(conversation *chat) {
    for (int i = 0; i < chat->cli->n_stop; i++)
        if (chat->cli->stop[i][0] == '\0') return rt_fail(RT_EUSAGE, "--stop: the text is empty");
    RT_TRY(chat_lines_open(&chat->lines));
    RT_TRY(open_model(chat));
    if (chat_lines_are_typed(chat->lines)) say(chat, "/help lists the commands\n");
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
                "question is still being read it takes the question and its files back. At the "
                "prompt it drops "
                "the\n"
                "line, a second one in a row leaves with exit code 130. Where standard input is "
                "no\n"
                "terminal, Ctrl-C outside of an answer leaves, and the first refusal (a full "
                "context,\n"
                "a file that cannot be read) ends the program with its exit code.\n"
                "\n"
                "Samples as the model's generation_config.json says, which the sampling flags "
                "change;\n"
                "--temperature 0 is greedy.\n"
                "The context is the largest that fits, or -c tokens.\n"
                "\n"
                "--book NAME talks about a text that glm1m prefill has kept: the conversation "
                "begins\n"
                "with it, read from disk, and /reset goes back to there. Without --book, but with\n"
                "--kv-disk-dir, what is prefilled is kept there as well, and a conversation that\n"
                "begins with the same 4096 tokens or more goes on from them.\n"
                "\n"
                "--tools FILE tells the model of tools it may call; a call is printed as a line\n"
                "'call NAME ARGUMENTS', and /result TEXT answers it.\n"
                "\n"
                "Examples:\n"
                "  glm1m chat -m glm-4-9b-chat-1m --system 'You answer in one sentence.'\n"
                "  printf '/read book.txt\\nWho is Lucia?\\n' | glm1m chat -m glm-4-9b-chat-1m\n"
                "  glm1m chat -m glm-4-9b-chat-1m --book war\n",
        .flags = "@engine @sampling system tools book max-tokens stop",
        .required = "model",
        .run = run_chat,
};
