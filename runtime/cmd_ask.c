/* glm1m ask: questions about files, answered with citations.
 *
 * What comes before the question is prefilled once, kept on disk, and found there by the next run; each
 * question is a fork of it. Several are decoded together: one pass over the KV serves all of them. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/memory.h"
#include "base/size.h"
#include "cli.h"
#include "cli_json.h"
#include "cmd_ask_questions.h"
#include "cmd_ask_record.h"
#include "sha256.h"

enum {
    ANSWER_TOKENS_DEFAULT = 1024,
    TOGETHER_MAX = 32,
    QUESTION_STEP = 512,  /* with --truncate: questions of like length leave the same text */
    FORK_TOKENS = 2 * 128 /* pages that a fork may have of its own besides what it holds */
};

typedef struct ask_run {
    const glm_cli *cli;
    glm_tokenizer *tokenizer;
    glm_config config;
    glm_reading reading;
    ask_questions questions;
    char *note;     /* of the book */
    int64_t limit;  /* tokens of prompt and answer */
    int64_t room;   /* of the longest question and its answer */
    int64_t n_open; /* questions to be asked */
    int32_t n_together;
    glm_engine *engine;
    glm_session *prefix;
    glm_reuse reuse;
    int64_t n_reused; /* tokens of the prefix that were on disk */
    glm_sampling sampling;
    json_t *members; /* of every record */
    FILE *out;       /* records; NULL: a single question, for people */
    int64_t n_answered;
    int64_t n_refused;
    double prefill_s;
    double decode_s;
} ask_run;

/* ---- the flags ------------------------------------------------------------------------------- */

static rt_status check_flags(const glm_cli *cli) {
    if ((cli->question != NULL) == (cli->questions != NULL))
        return rt_fail(RT_EUSAGE, "ask takes one of -q TEXT and --questions FILE\nusage: glm1m %s",
                glm_cmd_ask.usage);
    if (cli->max_tokens == 0) return rt_fail(RT_EUSAGE, "ask: -n 0 leaves no room for an answer");
    if (cli->out && !cli->questions)
        return rt_fail(RT_EUSAGE, "ask: --out is for the answers to --questions");
    for (int i = 0; i < cli->n_stop; i++)
        if (cli->stop[i][0] == '\0') return rt_fail(RT_EUSAGE, "--stop: the text is empty");
    return cli->book ? kv_book_check_name(cli->book) : RT_OK;
}

static glm_sampling choose_sampling(const glm_cli *cli, const glm_config *config) {
    const glm_sampling greedy = {.temperature = 0.0F, .top_p = 1.0F};
    return glm_cli_asks_for_sampling(cli) ? glm_cli_sampling(cli, config) : greedy;
}

/* ---- what is read ---------------------------------------------------------------------------- */

static rt_status read_document(ask_run *run) {
    const glm_cli *cli = run->cli;
    glm_document document;
    glm_variant variant;
    uint8_t digest[GLM_SHA256_BYTES];
    char hex[GLM_SHA256_HEX];
    glm_variant_recognise(&run->config, cli->engine.model_dir, &variant);
    if (variant.is_base && !cli->quiet)
        (void)fprintf(stderr, "%s was never taught to answer\n", variant.name);
    RT_TRY(glm_document_load(cli->operands, cli->n_operands, NULL, &document));
    glm_cli_say_skipped(cli, &document);
    RT_TRY(glm_reading_make(run->tokenizer, &variant, cli->system, &document, &run->reading));
    glm_cli_say_text(cli, &run->reading.document, run->reading.prefix.n);
    RT_TRY(glm_sha256_of(run->reading.document.text, run->reading.document.n_bytes, digest));
    return glm_cli_note(cli, cli->operands, cli->n_operands, &run->reading.document,
            glm_sha256_hex(digest, hex), &run->note);
}

static rt_status read_questions(ask_run *run) {
    const glm_cli *cli = run->cli;
    if (cli->question) return ask_questions_single(cli->question, &run->questions);
    return ask_questions_read(cli->questions, &run->questions);
}

static rt_status encode_questions(ask_run *run) {
    for (int64_t i = 0; i < run->questions.n_questions; i++) {
        ask_question *question = &run->questions.questions[i];
        if (question->error) continue;
        RT_TRY(glm_reading_question(
                &run->reading, question->text, (int64_t)strlen(question->text), &question->ids));
    }
    return RT_OK;
}

/* ---- whether it fits ------------------------------------------------------------------------- */

static int64_t wanted_answer(const ask_run *run, const ask_question *question) {
    if (question->max_tokens > 0) return question->max_tokens;
    return run->cli->max_tokens > 0 ? run->cli->max_tokens : ANSWER_TOKENS_DEFAULT;
}

static bool is_open(const ask_question *question) {
    return !question->error && !question->is_answered;
}

/* LongBench's rule, on what comes before the question. */
static rt_status truncate_middle(ask_run *run) {
    int64_t reserve = 0;
    for (int64_t i = 0; i < run->questions.n_questions; i++) {
        const ask_question *question = &run->questions.questions[i];
        if (!question->error)
            reserve = rt_max64(reserve,
                    rt_round_up(question->ids.n, QUESTION_STEP) + wanted_answer(run, question));
    }
    const int64_t n = run->limit - reserve;
    if (n < 2)
        return rt_fail(RT_ENOFIT,
                "the longest question and its answer need %" PRId64 " of %" PRId64
                " tokens: nothing of the text is left",
                reserve, run->limit);
    glm_reading_truncate(&run->reading, n);
    const glm_reading_cut *cut = &run->reading.cut;
    if (cut->n_tokens > 0 && !run->cli->quiet)
        (void)fprintf(stderr,
                "truncated: %" PRId64 " tokens of the middle are left out, passages %" PRId64
                " to %" PRId64 "\n",
                cut->n_tokens, cut->first_passage, cut->last_passage);
    return RT_OK;
}

static rt_status too_long(const ask_run *run, const ask_question *question) {
    const int64_t n_prompt = run->reading.prefix.n + question->ids.n;
    return rt_fail(RT_ENOFIT,
            "the text has %" PRId64 " tokens, the question %" PRId64
            ", and an answer needs 1: %" PRId64 " more than %s, %" PRId64 "%s",
            run->reading.prefix.n, question->ids.n, n_prompt + 1 - run->limit,
            run->cli->engine.max_len > 0 ? "--max-model-len" : "the model's length", run->limit,
            run->cli->truncate ? "" : "; --truncate middle leaves out the text's middle");
}

/* A single question that is too long is a failure, one of many is refused. */
static rt_status check_length(ask_run *run, ask_question *question) {
    const int64_t n_prompt = run->reading.prefix.n + question->ids.n;
    if (n_prompt < run->limit) {
        question->max_tokens = rt_min64(wanted_answer(run, question), run->limit - n_prompt);
        run->room = rt_max64(run->room, question->ids.n + question->max_tokens);
        return RT_OK;
    }
    const rt_status status = too_long(run, question);
    return run->cli->question ? status : ask_question_refuse(question, rt_error_text());
}

static rt_status plan_lengths(ask_run *run) {
    const int64_t max_len = run->cli->engine.max_len;
    run->limit = max_len > 0 ? max_len : run->config.model_len;
    if (run->cli->truncate) RT_TRY(truncate_middle(run));
    for (int64_t i = 0; i < run->questions.n_questions; i++)
        if (!run->questions.questions[i].error)
            RT_TRY(check_length(run, &run->questions.questions[i]));
    return RT_OK;
}

/* ---- the engine ------------------------------------------------------------------------------ */

static rt_status try_engine(ask_run *run) {
    glm_options options = run->cli->engine;
    options.max_len = run->reading.prefix.n + run->room;
    options.max_seqs = run->n_together;
    options.extra_kv_tokens = run->n_together * (run->room + FORK_TOKENS);
    options.persists = true;
    options.needs_kept = run->cli->book != NULL;
    return glm_engine_open(&options, &run->engine);
}

/* As many questions together as fit. */
static rt_status open_engine(ask_run *run) {
    const int64_t n = rt_min64(run->questions.n_questions, TOGETHER_MAX);
    run->n_together = (int32_t)n;
    rt_status status = try_engine(run);
    while (status == RT_ENOFIT && run->n_together > 1) {
        run->n_together /= 2;
        status = try_engine(run);
    }
    RT_TRY(status);
    glm_cli_say_overflow(run->cli, run->engine);
    glm_cli_say_plan(run->cli, run->engine);
    return RT_OK;
}

/* ---- the prefix ------------------------------------------------------------------------------ */

static void say_reuse(const ask_run *run) {
    if (run->cli->quiet || run->n_reused == 0) return;
    (void)fprintf(stderr, "on disk already: %" PRId64 " of %" PRId64 " tokens%s%s\n", run->n_reused,
            run->reading.prefix.n, run->n_reused < run->reading.prefix.n ? "; " : "",
            run->n_reused < run->reading.prefix.n ? run->reuse.reason : "");
}

/* What is found ends before the last id that is looked for: one more than there are. */
static rt_status restore_prefix(ask_run *run) {
    glm_ids *ids = &run->reading.prefix;
    RT_TRY(glm_ids_push(ids, 0));
    const rt_status status = glm_session_restore(run->prefix, ids->ids, ids->n, &run->reuse);
    ids->n--;
    run->n_reused = run->reuse.n_tokens;
    return status;
}

/* A disk that cannot keep it is no failure, unless a book is wanted. */
static rt_status keep_prefix(const ask_run *run) {
    if (run->cli->book) return glm_session_keep(run->prefix, run->cli->book, run->note);
    if (run->n_reused == run->reading.prefix.n) return RT_OK;
    if (glm_engine_plan(run->engine)->kv_persists &&
            glm_session_keep(run->prefix, NULL, NULL) != RT_OK)
        rt_log(RT_LOG_WARN, "ask", "the text is not kept for the next question: %s",
                rt_error_text());
    return RT_OK;
}

static rt_status prefill_prefix(ask_run *run) {
    const glm_ids *ids = &run->reading.prefix;
    const double started_s = rt_now();
    RT_TRY(glm_session_create(run->engine, ids->n + 1, &run->prefix));
    RT_TRY(restore_prefix(run));
    say_reuse(run);
    if (glm_session_length(run->prefix) < ids->n)
        RT_TRY(glm_cli_prefill_rest(run->cli, run->prefix, ids->ids, ids->n));
    RT_TRY(keep_prefix(run));
    run->prefill_s = rt_now() - started_s;
    return RT_OK;
}

/* ---- one question ---------------------------------------------------------------------------- */

/* The ids that a fork lacks: where KV is lossy it may hold a little less than the prefix. */
static rt_status missing_ids(
        const ask_run *run, const glm_asking *asking, const ask_question *question, glm_ids *out) {
    const int64_t from = glm_session_length(asking->session);
    RT_TRY(glm_ids_append(out, run->reading.prefix.ids + from, run->reading.prefix.n - from));
    return glm_ids_append(out, question->ids.ids, question->ids.n);
}

/* Ready to be decoded, or over with its first token. */
static rt_status begin(const ask_run *run, const ask_question *question, glm_asking *asking) {
    const int64_t n_prefix = run->reading.prefix.n;
    glm_ids ids = {0};
    *asking = (glm_asking){.max_tokens = question->max_tokens,
            .answer = {.tokenizer = run->tokenizer,
                    .stop = {.texts = run->cli->stop, .n_texts = run->cli->n_stop}}};
    RT_TRY(glm_session_fork(run->prefix, n_prefix,
            n_prefix + question->ids.n + question->max_tokens, &asking->session));
    rt_status status = missing_ids(run, asking, question, &ids);
    if (status == RT_OK)
        status = glm_cli_prefill(run->cli, asking->session, ids.ids, ids.n, NULL, 1);
    glm_ids_free(&ids);
    RT_TRY(status);
    return glm_asking_take(asking, run->engine, &run->sampling);
}

static const char *text_of(const glm_asking *asking) {
    return asking->text.bytes ? asking->text.bytes : "";
}

static rt_status write_record(ask_run *run, FILE *out, json_t *record) {
    char *line = record ? json_dumps(record, JSON_REAL_PRECISION(9)) : NULL;
    json_decref(record);
    if (!line) return rt_fail(RT_ENOMEM, "ask: no memory for a record");
    const int failed = fprintf(out, "%s\n", line) < 0 || fflush(out) != 0;
    free(line);
    return failed ? rt_fail_errno(RT_EIO, "ask: cannot write to %s",
                            run->cli->out ? run->cli->out : "standard output")
                  : RT_OK;
}

static rt_status show_answer(const glm_asking *asking, const glm_citations *citations) {
    const char last = asking->text.n > 0 ? asking->text.bytes[asking->text.n - 1] : '\0';
    if (last != '\n') (void)putchar('\n');
    ask_print_citations(text_of(asking), citations);
    return fflush(stdout) == 0 ? RT_OK : rt_fail_errno(RT_EIO, "ask: cannot write the answer");
}

static rt_status finish(ask_run *run, const ask_question *question, const glm_asking *asking) {
    glm_citations citations;
    RT_TRY(glm_reading_cite(&run->reading, text_of(asking), asking->text.n, &citations));
    rt_status status = RT_OK;
    if (run->out)
        status = write_record(run, run->out,
                ask_record(question, asking, &citations, run->members,
                        run->reading.prefix.n + question->ids.n, run->n_reused));
    else
        status = show_answer(asking, &citations);
    glm_citations_free(&citations);
    run->n_answered += status == RT_OK;
    return status;
}

/* ---- a single question ----------------------------------------------------------------------- */

static void say_usage(const ask_run *run, const ask_question *question, const glm_asking *asking) {
    if (run->cli->quiet) return;
    (void)fprintf(stderr,
            "prompt %" PRId64 " tokens, %" PRId64 " of them reused, in %.2f s; answer %" PRId64
            " tokens in %.2f s (%.1f tokens/s), %s\n",
            run->reading.prefix.n + question->ids.n, run->n_reused, run->prefill_s,
            asking->n_tokens, run->decode_s,
            run->decode_s > 0.0 ? (double)asking->n_tokens / run->decode_s : 0.0,
            asking->finish_reason);
}

static rt_status stream(ask_run *run, glm_asking *asking) {
    int64_t shown = 0;
    for (;;) {
        const bool is_over = asking->finish_reason != NULL;
        if (!run->out) RT_TRY(ask_show_text(&asking->text, is_over, &shown));
        if (is_over) return RT_OK;
        if (glm_cli_interrupted()) {
            RT_TRY(glm_asking_end(asking, "interrupted"));
            continue;
        }
        RT_TRY(glm_decode(&asking->session, &asking->next, 1));
        RT_TRY(glm_asking_take(asking, run->engine, &run->sampling));
    }
}

static rt_status ask_one(ask_run *run) {
    const ask_question *question = &run->questions.questions[0];
    glm_asking asking;
    double started_s = rt_now();
    rt_status status = begin(run, question, &asking);
    run->prefill_s += rt_now() - started_s;
    started_s = rt_now();
    if (status == RT_OK) status = stream(run, &asking);
    run->decode_s = rt_now() - started_s;
    if (status == RT_OK) status = finish(run, question, &asking);
    if (status == RT_OK) say_usage(run, question, &asking);
    glm_asking_free(&asking);
    return status == RT_OK ? glm_cli_check_interrupted() : status;
}

/* ---- many ------------------------------------------------------------------------------------ */

/* Questions under way, side by side. */
typedef struct lane {
    const ask_question *question; /* NULL: free */
    glm_asking asking;
} lane;

typedef struct round {
    ask_run *run;
    lane lanes[TOGETHER_MAX];
    int64_t next; /* question */
} round;

static void say_answered(const ask_run *run) {
    if (run->cli->quiet || run->cli->no_progress) return;
    (void)fprintf(stderr, "answered %" PRId64 " of %" PRId64 "\n", run->n_answered, run->n_open);
}

static rt_status close_lane(round *r, lane *l) {
    const rt_status status = finish(r->run, l->question, &l->asking);
    glm_asking_free(&l->asking);
    l->question = NULL;
    say_answered(r->run);
    return status;
}

/* The next question to be asked goes into the lane, as long as there is one. */
static rt_status fill_lane(round *r, lane *l) {
    const ask_questions *questions = &r->run->questions;
    while (!l->question && r->next < questions->n_questions) {
        const ask_question *question = &questions->questions[r->next++];
        if (!is_open(question)) continue;
        l->question = question;
        RT_TRY(begin(r->run, question, &l->asking));
        if (l->asking.finish_reason) RT_TRY(close_lane(r, l));
    }
    return RT_OK;
}

/* One token for each. */
static rt_status step(round *r, int32_t *n_busy) {
    glm_session *sessions[TOGETHER_MAX];
    lane *busy[TOGETHER_MAX];
    int32_t ids[TOGETHER_MAX];
    *n_busy = 0;
    RT_TRY(glm_cli_check_interrupted());
    for (int32_t i = 0; i < r->run->n_together; i++) {
        lane *l = &r->lanes[i];
        RT_TRY(fill_lane(r, l));
        if (!l->question) continue;
        sessions[*n_busy] = l->asking.session;
        ids[*n_busy] = l->asking.next;
        busy[(*n_busy)++] = l;
    }
    if (*n_busy == 0) return RT_OK;
    RT_TRY(glm_decode(sessions, ids, *n_busy));
    for (int32_t i = 0; i < *n_busy; i++) {
        RT_TRY(glm_asking_take(&busy[i]->asking, r->run->engine, &r->run->sampling));
        if (busy[i]->asking.finish_reason) RT_TRY(close_lane(r, busy[i]));
    }
    return RT_OK;
}

static rt_status ask_many(ask_run *run) {
    round *r = NULL;
    int32_t n_busy = 1;
    RT_TRY(rt_calloc(1, sizeof *r, "questions under way", &r));
    r->run = run;
    rt_status status = RT_OK;
    while (status == RT_OK && n_busy > 0) status = step(r, &n_busy);
    for (int32_t i = 0; i < TOGETHER_MAX; i++) glm_asking_free(&r->lanes[i].asking);
    free(r);
    return status;
}

/* ---- the answers' file ----------------------------------------------------------------------- */

static rt_status open_output(ask_run *run) {
    const glm_cli *cli = run->cli;
    if (!cli->json && !cli->questions) return RT_OK;
    run->members = ask_run_members(&run->reading, run->engine);
    if (!run->members) return rt_fail(RT_ENOMEM, "ask: no memory for a record");
    if (cli->out) RT_TRY(ask_questions_resume(&run->questions, cli->out, run->members));
    run->out = cli->out ? fopen(cli->out, "ae") : stdout;
    return run->out ? RT_OK : rt_fail_errno(RT_EIO, "ask: cannot write %s", cli->out);
}

static rt_status count_open(ask_run *run) {
    int64_t n_before = 0;
    for (int64_t i = 0; i < run->questions.n_questions; i++) {
        const ask_question *question = &run->questions.questions[i];
        n_before += question->is_answered;
        run->n_open += is_open(question);
        if (!question->error) continue;
        run->n_refused++;
        (void)fprintf(stderr, "%s:%" PRId64 ": %s\n", run->cli->questions, question->line,
                question->error);
        RT_TRY(write_record(run, run->out, ask_error_record(question)));
    }
    if (n_before > 0 && !run->cli->quiet)
        (void)fprintf(stderr, "%" PRId64 " of %" PRId64 " questions are answered in %s already\n",
                n_before, run->questions.n_questions, run->cli->out);
    return RT_OK;
}

static rt_status say_refused(const ask_run *run) {
    if (run->n_refused == 0) return RT_OK;
    return rt_fail(RT_EIO, "ask: %" PRId64 " of %" PRId64 " questions could not be asked",
            run->n_refused, run->questions.n_questions);
}

/* ---- the walk -------------------------------------------------------------------------------- */

static rt_status ask(ask_run *run) {
    const char *dir = run->cli->engine.model_dir;
    RT_TRY(check_flags(run->cli));
    RT_TRY(read_questions(run));
    RT_TRY(glm_config_load(dir, &run->config));
    RT_TRY(glm_tokenizer_load(dir, &run->tokenizer));
    RT_TRY(read_document(run));
    RT_TRY(encode_questions(run));
    RT_TRY(plan_lengths(run));
    run->sampling = choose_sampling(run->cli, &run->config);
    RT_TRY(open_engine(run));
    RT_TRY(open_output(run));
    if (run->cli->questions) RT_TRY(count_open(run));
    if (run->cli->questions && run->n_open == 0) return say_refused(run);
    RT_TRY(prefill_prefix(run));
    if (run->cli->question) return ask_one(run);
    RT_TRY(ask_many(run));
    return say_refused(run);
}

static void release(ask_run *run) {
    glm_session_free(run->prefix);
    glm_engine_close(run->engine);
    glm_reading_free(&run->reading);
    glm_tokenizer_free(run->tokenizer);
    ask_questions_free(&run->questions);
    json_decref(run->members);
    if (run->out && run->out != stdout) (void)fclose(run->out);
    free(run->note);
}

static int run_ask(glm_cli *cli) {
    cli->keeps = true;
    ask_run run = {.cli = cli};
    const rt_status status = ask(&run);
    const int exit_code = status == RT_OK ? GLM_EXIT_OK : glm_cli_fail(status);
    release(&run);
    return exit_code;
}

const glm_command glm_cmd_ask = {
        .name = "ask",
        .usage = "ask -m DIR SOURCE... (-q TEXT | --questions FILE.jsonl) [--book NAME] "
                 "[--truncate middle]",
        .summary = "ask about files, with citations",
        .details =
                "Reads files and directories (- is standard input), text, PDF, Word and "
                "OpenDocument "
                "files, numbers their passages, and puts the question behind them. The answer is "
                "streamed to standard output; behind it stands where each quotation is in the "
                "sources: file and line, or page. A quotation that is not there, or a passage that "
                "does not exist, is marked UNVERIFIED.\n"
                "\n"
                "Everything before the question is kept on disk, in --kv-disk-dir or our directory "
                "under ~/.cache, and found there by the next question about the same files: it "
                "starts at once. What is appended, or changed in a file, costs its own tokens and "
                "those behind it; files are taken in the order given, in a directory by name: what "
                "changes often is best named last. --book NAME keeps the text until glm1m book rm, "
                "otherwise it goes when room is needed. The first Ctrl-C stops within seconds, and "
                "the same command goes on from there.\n"
                "\n"
                "In a directory, hidden names and what a .gitignore names are left out, and what "
                "is "
                "no text is listed. A text that is too long for --max-model-len or the model is an "
                "error that says by how much; --truncate middle leaves out its middle instead, as "
                "LongBench does, and every answer's record says so.\n"
                "\n"
                "--questions FILE: a line each, {\"id\": \"q1\", \"question\": \"Who is Lucia?\"}; "
                "\"max_tokens\" may be added. They are answered together, up to 32 at a time, and "
                "each answer is a line of JSON as soon as it is complete: id, question, answer, "
                "citations, n_unverified, finish_reason, n_prompt, reused_tokens, n_generated, "
                "source_sha256, prompt_sha256, model_sha256, kv_cache_dtype, truncated. With "
                "--out FILE they are appended there, and questions that it answers already are not "
                "asked again. A line that cannot be asked is named, has a record with \"error\", "
                "and "
                "makes the exit code 1. --json prints the same record for -q.\n"
                "\n"
                "Greedy, unless --temperature, --top-p or --top-k is given. -n: at most so many "
                "tokens an answer (default 1024).\n"
                "\n"
                "Examples:\n"
                "  glm1m ask -m glm-4-9b-chat-1m war.pdf -q 'Who is Pierre?'\n"
                "  glm1m ask -m glm-4-9b-chat-1m src/ notes.md -q 'Where are books verified?'\n"
                "  glm1m ask -m glm-4-9b-chat-1m war.pdf --questions q.jsonl --out a.jsonl\n",
        .flags = "@engine @sampling question questions book truncate system max-tokens stop json "
                 "out",
        .required = "model",
        .operands_min = 1,
        .operands_max = 1000000,
        .run = run_ask,
};
