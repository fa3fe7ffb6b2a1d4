/* glm1m complete: a prompt, its continuation. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "answer.h"
#include "base/log.h"
#include "base/memstream.h"
#include "base/size.h"
#include "cli.h"
#include "cli_books.h"
#include "cli_input.h"
#include "cli_json.h"
#include "cli_prefill.h"
#include "cli_sampling.h"
#include "cli_show.h"
#include "cli_signals.h"
#include "cli_sources.h"
#include "cmd_record.h"
#include "turn.h"

enum { ANSWER_TOKENS_DEFAULT = 512 };

typedef struct completion {
    const glm_cli *cli;
    glm_tokenizer *tokenizer;
    glm_engine *engine;
    glm_session *session;
    glm_ids prompt; /* the book's included, once the engine is open */
    int64_t n_book; /* tokens of it; 0 without */
    glm_reuse reuse;
    int64_t n_computed; /* of the prompt, in prefill_s */
    glm_ids answer;     /* every generated id, the stop id included */
    int64_t answer_max;
    glm_sampling sampling;
    const char *finish_reason; /* "stop", "length" or "interrupted" */

    glm_answer text;
    FILE *out; /* stdout, or memory for --json */
    char *json_text;
    size_t json_text_bytes;
    char last_byte;

    double load_s;
    double prefill_s;
    double decode_s;
} completion;

/* ---- the prompt ------------------------------------------------------------------------------ */

static rt_status encode_text(completion *run) {
    const glm_cli *cli = run->cli;
    if (cli->prompt)
        return glm_tokenizer_encode(run->tokenizer, cli->prompt, (int64_t)strlen(cli->prompt),
                cli->special_in_text, &run->prompt);
    char *text = NULL;
    int64_t n_bytes = 0;
    RT_TRY(glm_cli_read_document(cli->file, &text, &n_bytes));
    const rt_status status =
            glm_tokenizer_encode(run->tokenizer, text, n_bytes, cli->special_in_text, &run->prompt);
    free(text);
    return status;
}

static rt_status read_prompt(completion *run, const glm_config *config) {
    if (run->cli->tokens_file)
        RT_TRY(glm_cli_read_tokens(run->cli->tokens_file, config->vocab, &run->prompt));
    else
        RT_TRY(encode_text(run));
    if (!run->cli->book) return glm_cli_begin_ids(run->tokenizer, &run->prompt);
    glm_cli_drop_specials(run->tokenizer, &run->prompt);
    return RT_OK;
}

static rt_status check_input(const glm_cli *cli) {
    const int n_inputs = (cli->prompt != NULL) + (cli->file != NULL) + (cli->tokens_file != NULL);
    if (n_inputs != 1)
        return rt_fail(RT_EUSAGE, "complete takes one of -p TEXT, -f FILE and --tokens-file FILE");
    return glm_cli_check_stop(cli);
}

/* How many tokens the answer may have: -n, cut to what -c or the model's length leave. */
static rt_status plan_lengths(completion *run, const glm_config *config, glm_options *options) {
    const int64_t n_prompt = run->n_book + run->prompt.n;
    const int64_t limit = options->max_len > 0 ? options->max_len : config->model_len;
    if (n_prompt > limit)
        return rt_fail(RT_ENOFIT, "the prompt has %" PRId64 " tokens, %s is %" PRId64, n_prompt,
                options->max_len > 0 ? "--max-model-len" : "the model's length", limit);
    run->answer_max = run->cli->max_tokens >= 0 ? run->cli->max_tokens : ANSWER_TOKENS_DEFAULT;
    run->answer_max = rt_min64(run->answer_max, limit - n_prompt);
    if (options->max_len == 0) options->max_len = n_prompt + run->answer_max;
    return RT_OK;
}

/* ---- the answer ------------------------------------------------------------------------------ */

/* `id` -1 ends the text. */
static rt_status put_token(completion *run, int32_t id) {
    const char *shown = NULL;
    int64_t n_shown = 0;
    RT_TRY(glm_answer_put(&run->text, id, &shown, &n_shown));
    if (n_shown == 0) return RT_OK;
    run->last_byte = shown[n_shown - 1];
    if (glm_cli_show(run->out, shown, n_shown) && fflush(run->out) == 0) return RT_OK;
    return rt_fail_errno(RT_EIO, "complete: cannot write the answer");
}

static rt_status next_token(completion *run, int32_t *id) {
    RT_TRY(glm_answer_choose(
            &run->text, run->engine, run->session, &run->sampling, run->answer.n, id));
    return glm_ids_push(&run->answer, *id);
}

static rt_status generate(completion *run) {
    run->finish_reason = "length";
    while (run->answer.n < run->answer_max) {
        int32_t id = 0;
        RT_TRY(next_token(run, &id));
        if (glm_is_stop_id(glm_engine_config(run->engine), id)) {
            run->finish_reason = "stop";
            break;
        }
        RT_TRY(put_token(run, id));
        if (run->text.stop.is_found) {
            run->finish_reason = "stop";
            break;
        }
        if (glm_cli_interrupted()) {
            run->finish_reason = "interrupted";
            break;
        }
        if (run->answer.n < run->answer_max) RT_TRY(glm_decode_ahead(run->session, id));
    }
    return put_token(run, -1);
}

/* ---- the report ------------------------------------------------------------------------------ */

static double per_second(int64_t n, double seconds) {
    return seconds > 0.0 ? (double)n / seconds : 0.0;
}

/* ", 4096 of them reused (no segment after 4,096 tokens)" where anything is kept. */
static void print_reuse(const completion *run) {
    if (!glm_cli_persists(run->cli)) return;
    (void)fprintf(stderr, ", %" PRId64 " of them reused", run->reuse.n_tokens);
    if (run->reuse.reason[0]) (void)fprintf(stderr, " (%s)", run->reuse.reason);
    (void)fputc(',', stderr);
}

static void print_usage(const completion *run) {
    char prefill[RT_SIZE_TEXT];
    char decode[RT_SIZE_TEXT];
    char drafts[GLM_CLI_DRAFTS_TEXT];
    if (run->cli->quiet) return;
    (void)fprintf(stderr, "prompt %" PRId64 " tokens", run->prompt.n);
    print_reuse(run);
    (void)fprintf(stderr, " in %.2f s%s, answer %" PRId64 " tokens in %.2f s%s%s, %s\n",
            run->prefill_s, glm_cli_rate(run->n_computed, run->prefill_s, prefill), run->answer.n,
            run->decode_s, glm_cli_rate(run->answer.n, run->decode_s, decode),
            glm_cli_drafts(run->engine, (glm_drafts){0}, drafts), run->finish_reason);
}

static json_t *json_ids(const glm_ids *ids) {
    json_t *array = json_array();
    for (int64_t i = 0; i < ids->n; i++)
        (void)json_array_append_new(array, json_integer(ids->ids[i]));
    return array;
}

static rt_status print_json(const completion *run) {
    const glm_drafts drafts = glm_engine_drafts(run->engine);
    json_t *object = json_pack("{s:s%, s:o, s:I, s:I, s:o, s:I, s:I, s:I, s:s, s:{s:f, s:f, s:f, "
                               "s:f, s:f}, s:o, s:o, s:o}",
            "text", run->json_text ? run->json_text : "", run->json_text_bytes, "ids",
            json_ids(&run->answer), "n_prompt", (json_int_t)run->prompt.n, "reused_tokens",
            (json_int_t)run->reuse.n_tokens, "reuse_reason",
            glm_cli_json_text(run->reuse.reason, strlen(run->reuse.reason)), "n_generated",
            (json_int_t)run->answer.n, "n_drafted", (json_int_t)drafts.n_drafted, "n_drafted_right",
            (json_int_t)drafts.n_taken, "finish_reason", run->finish_reason, "timings", "load_s",
            run->load_s, "prefill_s", run->prefill_s, "prefill_tps",
            per_second(run->n_computed, run->prefill_s), "decode_s", run->decode_s, "decode_tps",
            per_second(run->answer.n, run->decode_s), "prompt_sha256",
            record_sha256_of_ids(&run->prompt), "sampling", record_sampling(&run->sampling), "stop",
            record_texts(run->cli->stop, run->cli->n_stop));
    object = record_join(object, record_made(run->engine, run->cli->engine.model_dir));
    return glm_cli_json_print("complete", object, 0);
}

/* A shell's prompt, or the usage line, starts on a line of its own. */
static void end_line(const completion *run) {
    if (run->last_byte != '\n' && glm_cli_is_terminal(stdout)) (void)putchar('\n');
    (void)fflush(stdout);
}

static rt_status finish(completion *run) {
    if (run->cli->json) {
        const bool is_whole = rt_memstream_close(run->out, &run->json_text);
        run->out = NULL;
        if (!is_whole) return rt_fail(RT_ENOMEM, "complete: no memory for the answer's text");
        RT_TRY(print_json(run));
    } else {
        end_line(run);
    }
    print_usage(run);
    return strcmp(run->finish_reason, "interrupted") == 0 ? glm_cli_check_interrupted() : RT_OK;
}

/* ---- the command ----------------------------------------------------------------------------- */

static rt_status open_output(completion *run) {
    run->out = run->cli->json ? rt_memstream_open(&run->json_text, &run->json_text_bytes) : stdout;
    return run->out ? RT_OK : rt_fail(RT_ENOMEM, "complete: no memory for the answer's text");
}

static rt_status open_model(completion *run) {
    glm_config config;
    glm_options options = run->cli->engine;
    RT_TRY(glm_config_load(options.model_dir, &config));
    RT_TRY(glm_cli_book_length(run->cli, &run->n_book));
    RT_TRY(glm_cli_load_tokenizer(run->cli, &run->tokenizer));
    run->text.tokenizer = run->tokenizer;
    RT_TRY(read_prompt(run, &config));
    RT_TRY(plan_lengths(run, &config, &options));
    run->sampling = glm_cli_sampling_or_greedy(run->cli, &config);
    options.persists = glm_cli_persists(run->cli);
    options.needs_kept = run->cli->book != NULL;
    RT_TRY(glm_engine_open(&options, &run->engine));
    glm_cli_say_kv(run->cli, run->engine);
    RT_TRY(glm_cli_prepend_book(run->cli, run->engine, run->n_book, &run->prompt));
    return glm_session_create(run->engine, options.max_len, &run->session);
}

static rt_status prefill(completion *run) {
    const glm_ids *ids = &run->prompt;
    const double started_s = rt_now();
    double waited_s = 0.0;
    RT_TRY(glm_cli_restore_book(run->cli, run->session, ids, run->n_book, &run->reuse, &waited_s));
    RT_TRY(glm_cli_prefill_rest(run->cli, run->session, ids->ids, ids->n, &run->n_computed));
    glm_turn_give_back(run->session);
    run->prefill_s = rt_now() - started_s - waited_s;
    return RT_OK;
}

static rt_status complete(completion *run) {
    double started_s = rt_now();
    RT_TRY(check_input(run->cli));
    RT_TRY(open_output(run));
    RT_TRY(open_model(run));
    run->load_s = rt_now() - started_s;
    RT_TRY(prefill(run));

    started_s = rt_now();
    RT_TRY(generate(run));
    run->decode_s = rt_now() - started_s;
    return finish(run);
}

static void release(completion *run) {
    glm_session_free(run->session);
    glm_engine_close(run->engine);
    glm_tokenizer_free(run->tokenizer);
    glm_ids_free(&run->prompt);
    glm_ids_free(&run->answer);
    glm_answer_free(&run->text);
    if (run->out && run->out != stdout) (void)fclose(run->out);
    free(run->json_text);
}

static int run_complete(glm_cli *cli) {
    completion run = {.cli = cli, .text.stop = {.texts = cli->stop, .n_texts = cli->n_stop}};
    const rt_status status = complete(&run);
    release(&run);
    return status == RT_OK ? GLM_EXIT_OK : glm_cli_fail(status);
}

const glm_command glm_cmd_complete = {
        .name = "complete",
        .usage = "complete -m DIR (-p TEXT | -f FILE | --tokens-file FILE) [-n N] [--stop TEXT] "
                 "[--book NAME]",
        .summary = "continue a text",
        .details =
                "Puts [gMASK]<sop> in front of the prompt unless it is there already, prefills it\n"
                "and streams the continuation to standard output. Nothing else is added: this is\n"
                "not a conversation. It ends at one of the model's stop ids, before a --stop "
                "text,\n"
                "or after -n tokens (default 512, or what the context leaves).\n"
                "\n"
                "Greedy, unless --temperature, --top-p, --top-k or --min-p is given; what is then left "
                "open\n"
                "comes from the model's generation_config.json.\n"
                "\n"
                "--book NAME continues a text that glm1m prefill has kept: the prompt is put "
                "behind it, without another [gMASK]<sop>, and only the prompt is prefilled. "
                "Without --book, but with --kv-disk-dir, what is prefilled is kept there as well, "
                "and a later prompt that begins with the same 4096 tokens or more goes on from "
                "them.\n"
                "\n"
                "--json prints one object: text, ids (all generated, the stop id included),\n"
                "n_prompt, reused_tokens (of the prompt, found on disk) and reuse_reason (why not "
                "more, \"\" when there is no more), n_generated, n_drafted and n_drafted_right "
                "(tokens that were looked up in the text and judged beside others), finish_reason (stop, length, "
                "interrupted), timings, and how it was made: prompt_sha256 (of the ids), sampling (null: greedy), stop, "
                "program, model, model_fingerprint, kv_cache_dtype, linear (--linear: who multiplied).\n"
                "\n"
                "Examples:\n"
                "  glm1m complete -m glm-4-9b-chat-1m -p 'The capital of France is' -n 16\n"
                "  glm1m complete -m glm-4-9b-chat-1m -f book.txt --temperature 0.8 --seed 7\n"
                "  glm1m complete -m glm-4-9b-chat-1m --book war -p 'In short,'\n",
        .flags =
                "@engine @sampling num-speculative-tokens prompt file tokens-file special-in-text book "
                "max-tokens stop json",
        .required = "model",
        .run = run_complete,
};
