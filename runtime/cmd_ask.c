/* glm1m ask: questions about files, answered with citations.
 *
 * What comes before the question is prefilled once, kept on disk, and found there by the next run; each
 * question is a fork of it. Several are decoded together: one pass over the KV serves all of them. */
#include "cmd_ask.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/size.h"
#include "cli_input.h"
#include "cli_prefill.h"
#include "cli_sampling.h"
#include "cli_signals.h"
#include "cli_sources.h"
#include "cmd_ask_record.h"
#include "kvstore/kvstore.h"

/* ---- the flags ------------------------------------------------------------------------------- */

static bool is_stdin(const char *name) {
    return name && strcmp(name, "-") == 0;
}

/* It is read once: whoever came second would find it empty. */
static rt_status check_stdin(const glm_cli *cli) {
    const bool is_question = is_stdin(cli->question);
    if (!is_question && !is_stdin(cli->questions)) return RT_OK;
    for (int i = 0; i < cli->n_operands; i++)
        if (is_stdin(cli->operands[i]))
            return rt_fail(RT_EUSAGE,
                    "ask: standard input is to be both the text and the %s: name a file for one of "
                    "them",
                    is_question ? "question" : "questions");
    return RT_OK;
}

static rt_status check_flags(const glm_cli *cli) {
    if ((cli->question != NULL) == (cli->questions != NULL))
        return rt_fail(RT_EUSAGE, "ask takes one of -q TEXT and --questions FILE\nusage: glm1m %s",
                glm_cmd_ask.usage);
    if (cli->max_tokens == 0) return rt_fail(RT_EUSAGE, "ask: -n 0 leaves no room for an answer");
    if (cli->out && !cli->questions)
        return rt_fail(RT_EUSAGE, "ask: --out is for the answers to --questions");
    RT_TRY(glm_cli_check_stop(cli));
    RT_TRY(check_stdin(cli));
    if (cli->n_operands == 0 && !cli->book)
        return rt_fail(RT_EUSAGE, "ask takes SOURCE..., or --book NAME, or both\nusage: glm1m %s",
                glm_cmd_ask.usage);
    if (cli->n_operands == 0 && (cli->truncate || cli->system))
        return rt_fail(
                RT_EUSAGE, "ask: a book is asked about as it is: no --truncate, no --system");
    return cli->book ? kv_book_check_name(cli->book) : RT_OK;
}

/* ---- the engine ------------------------------------------------------------------------------ */

static rt_status try_engine(ask_run *run) {
    glm_options options = run->cli->engine;
    options.max_len = run->reading.prefix.n + run->room;
    options.max_seqs = run->n_together;
    options.extra_kv_tokens = run->n_together * (run->room + ASK_FORK_TOKENS);
    options.persists = true;
    options.needs_kept = run->cli->book != NULL;
    return glm_engine_open(&options, &run->engine);
}

/* The text's part of the plan's prefill, which is of all that may come to be there, the answers included. */
static double planned_s(const ask_run *run) {
    const glm_plan *plan = glm_engine_plan(run->engine);
    return plan->prefill_s * glm_plan_prefill_work(plan, &run->config, 0, run->reading.prefix.n) /
           glm_plan_prefill_work(plan, &run->config, 0, plan->max_len);
}

/* As many questions together as fit. */
static rt_status open_engine(ask_run *run) {
    const int64_t n = rt_min64(run->questions.n_questions, ASK_TOGETHER_MAX);
    run->n_together = (int32_t)n;
    rt_status status = try_engine(run);
    while (status == RT_ENOFIT && run->n_together > 1) {
        run->n_together /= 2;
        status = try_engine(run);
    }
    RT_TRY(status);
    glm_engine_stop_if(run->engine, glm_cli_interrupted);
    glm_cli_say_kv(run->cli, run->engine);
    glm_cli_say_plan(run->cli, run->engine, planned_s(run));
    return RT_OK;
}

/* ---- the answers' file ----------------------------------------------------------------------- */

enum { REOPENED_MAX = 10 }; /* some file systems number a file anew at each look */

static bool is_still_at(FILE *file, const char *path) {
    struct stat open;
    struct stat there;
    return fstat(fileno(file), &open) == 0 && stat(path, &there) == 0 &&
           open.st_dev == there.st_dev && open.st_ino == there.st_ino;
}

/* One run a file: what resuming takes for half of a record another run may be writing, and a file that is replaced takes
 * that one's answers with it. Where the file system knows no locks there is none. What can be no file of answers is not
 * opened: a pipe would wait for a reader. */
static rt_status open_alone(const char *path, FILE **out) {
    struct stat there;
    if (stat(path, &there) == 0 && !S_ISREG(there.st_mode))
        return rt_fail(RT_EUSAGE, "--out: %s is not a regular file", path);
    for (int i = 0;; i++) {
        *out = fopen(path, "ae");
        if (!*out) return rt_fail_errno(RT_EIO, "ask: cannot write %s", path);
        const bool is_held = flock(fileno(*out), LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
        if (!is_held && (is_still_at(*out, path) || i == REOPENED_MAX)) return RT_OK;
        (void)fclose(*out); /* replaced by whoever had it until now, or held */
        *out = NULL;
        if (is_held) break;
    }
    return rt_fail(RT_EIO,
            "--out: another glm1m ask is writing into %s; wait for it, or name another file", path);
}

/* Resuming may have replaced the file, which is then another. */
static rt_status resume(ask_run *run) {
    const char *path = run->cli->out;
    RT_TRY(open_alone(path, &run->out));
    RT_TRY(ask_questions_resume(&run->questions, path, run->members));
    if (is_still_at(run->out, path)) return RT_OK;
    (void)fclose(run->out);
    return open_alone(path, &run->out);
}

static rt_status open_output(ask_run *run) {
    const glm_cli *cli = run->cli;
    if (!cli->json && !cli->questions) return RT_OK;
    run->members = ask_run_members(&run->reading, run->engine, cli, &run->sampling);
    if (!run->members) return rt_fail(RT_ENOMEM, "ask: no memory for a record");
    if (cli->out) return resume(run);
    run->out = stdout;
    return RT_OK;
}

static rt_status count_open(ask_run *run) {
    int64_t n_before = 0;
    for (int64_t i = 0; i < run->questions.n_questions; i++) {
        const ask_question *question = &run->questions.questions[i];
        n_before += question->is_answered;
        run->n_open += ask_is_open(question);
        if (!question->error || question->is_answered) continue;
        run->n_refused++;
        (void)fprintf(stderr, "%s:%" PRId64 ": %s\n", run->cli->questions, question->line,
                question->error);
        RT_TRY(ask_write_record(run, ask_error_record(question)));
    }
    if (n_before > 0 && !run->cli->quiet)
        (void)fprintf(stderr, "%" PRId64 " of %" PRId64 " questions are answered in %s already\n",
                n_before, run->questions.n_questions, run->cli->out);
    return RT_OK;
}

static rt_status say_refused(const ask_run *run) {
    if (run->n_refused == 0) return RT_OK;
    return rt_fail(RT_EIO,
            "ask: %" PRId64 " of %" PRId64
            " questions could not be asked; each is a line of its own, "
            "such as {\"question\": \"Who is Pierre?\"}",
            run->n_refused, run->questions.n_questions);
}

/* ---- the command ----------------------------------------------------------------------------- */

static rt_status read_questions(ask_run *run) {
    const glm_cli *cli = run->cli;
    if (is_stdin(cli->question)) return ask_questions_piped(&run->questions);
    if (cli->question) return ask_questions_single(cli->question, &run->questions);
    return ask_questions_read(cli->questions, &run->questions);
}

static rt_status ask(ask_run *run) {
    const char *dir = run->cli->engine.model_dir;
    RT_TRY(check_flags(run->cli));
    RT_TRY(read_questions(run));
    RT_TRY(glm_config_load(dir, &run->config));
    RT_TRY(glm_cli_load_tokenizer(run->cli, &run->tokenizer));
    RT_TRY(run->cli->n_operands > 0 ? ask_read_document(run) : ask_measure_book(run));
    RT_TRY(ask_encode_questions(run));
    RT_TRY(ask_plan_lengths(run));
    run->sampling = glm_cli_sampling_or_greedy(run->cli, &run->config);
    RT_TRY(open_engine(run));
    if (run->is_book) RT_TRY(ask_read_book(run));
    RT_TRY(open_output(run));
    if (run->cli->questions) RT_TRY(count_open(run));
    if (run->cli->questions && run->n_open == 0) return say_refused(run);
    RT_TRY(ask_prefill_prefix(run));
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
        .usage = "ask -m DIR (SOURCE... | --book NAME) (-q TEXT | --questions FILE.jsonl) "
                 "[--truncate middle]",
        .summary = "ask about files, with citations",
        .details =
                "Reads files and directories (- is standard input), text, PDF, Word, OpenDocument, "
                "EPUB and RTF files, and of Jupyter notebooks their cells and outputs, numbers their passages, and puts the question behind them. The answer is "
                "streamed to standard output; behind it stands where each quotation is in the "
                "sources: file and line, or page. A quotation that is not there, or a passage that "
                "does not exist, is marked UNVERIFIED. -q - reads the question from standard input.\n"
                "\n"
                "Everything before the question is kept on disk, in --kv-disk-dir or our directory "
                "under ~/.cache, and found there by the next question about the same files: it "
                "starts at once. What is appended, or changed in a file, costs its own tokens and "
                "those behind it; files are taken in the order given, in a directory by name: what "
                "changes often is best named last. --book NAME keeps the text until glm1m book rm, "
                "otherwise it goes when room is needed; --book NAME without sources asks about "
                "such a text, or one that glm1m prefill has kept. The first Ctrl-C stops within "
                "seconds, and "
                "the same command goes on from there. Where another process, on this machine or another one, is at the same "
                "text with the same --kv-disk-dir, or at one that begins like it, it is waited for: the text is prefilled once. "
                "Ctrl-C leaves at once; where the other one ends before, this one goes on.\n"
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
                "source_sha256, prompt_sha256 (of the ids in front of the question), model_sha256, "
                "truncated, sampling (null: greedy), stop, and program, model, model_fingerprint, "
                "kv_cache_dtype and linear, which say how it was made. With --out FILE they are appended there, and questions that it answers already are not "
                "asked again. A line that cannot be asked is named, has a record with \"error\", "
                "which the next run replaces, and makes the exit code 1. --json prints the same record for -q.\n"
                "\n"
                "Greedy, unless --temperature, --top-p, --top-k or --min-p is given. -n: at most so many "
                "tokens an answer (default 1024).\n"
                "\n"
                "Examples:\n"
                "  glm1m ask -m glm-4-9b-chat-1m war.pdf -q 'Who is Pierre?'\n"
                "  glm1m ask -m glm-4-9b-chat-1m src/ notes.md -q 'Where are books verified?'\n"
                "  glm1m ask -m glm-4-9b-chat-1m war.pdf --questions q.jsonl --out a.jsonl\n",
        .flags =
                "@engine @sampling num-speculative-tokens question questions book truncate system max-tokens stop json "
                "out",
        .required = "model",
        .operands_max = 1000000,
        .run = run_ask,
};
