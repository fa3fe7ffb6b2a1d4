/* What is asked about: sources, or a book; and whether that, a question and its answer fit. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/size.h"
#include "cli_books.h"
#include "cli_input.h"
#include "cli_sources.h"
#include "cmd_ask.h"
#include "sha256.h"

enum {
    ANSWER_TOKENS_DEFAULT = 1024,
    QUESTION_STEP = 512, /* with --truncate: questions of like length leave the same text */
    WORDING_TOKENS = 512 /* that a book's own wording may be longer than the one planned with */
};

/* ---- what is read ---------------------------------------------------------------------------- */

/* Frees the document that holds nothing but white space. */
static rt_status check_not_empty(glm_document *document) {
    for (int64_t i = 0; i < document->n_files; i++)
        if (glm_document_has_text(document, i)) return RT_OK;
    const rt_status status =
            document->n_files == 1
                    ? rt_fail(RT_EUSAGE, "ask: %s is empty: there is nothing to ask about",
                              document->files[0].path)
                    : rt_fail(RT_EUSAGE, "ask: all %" PRId64 " files are empty", document->n_files);
    glm_document_free(document);
    return status;
}

rt_status ask_read_document(ask_run *run) {
    const glm_cli *cli = run->cli;
    glm_document document;
    glm_variant variant;
    uint8_t digest[GLM_SHA256_BYTES];
    char hex[GLM_SHA256_HEX];
    glm_variant_recognise(&run->config, cli->engine.model_dir, &variant);
    if (variant.is_base && !cli->quiet)
        (void)fprintf(stderr, "%s was never taught to answer\n", variant.name);
    RT_TRY(glm_cli_load_document(cli, cli->operands, cli->n_operands, &document));
    glm_cli_say_skipped(cli, &document);
    RT_TRY(check_not_empty(&document));
    RT_TRY(glm_reading_make(run->tokenizer, &variant, cli->system, &document, &run->reading));
    glm_cli_say_text(cli, &run->reading.document, run->reading.prefix.n);
    RT_TRY(glm_sha256_of_text(run->reading.document.text, run->reading.document.n_bytes,
            glm_tokenizer_watched_by(run->tokenizer), digest));
    RT_TRY(glm_cli_note(cli, cli->operands, cli->n_operands, &run->reading.document,
            glm_sha256_hex(digest, hex), &run->note));
    glm_cli_say_replaced(cli, run->note);
    return RT_OK;
}

rt_status ask_encode_questions(ask_run *run) {
    for (int64_t i = 0; i < run->questions.n_questions; i++) {
        ask_question *question = &run->questions.questions[i];
        question->ids.n = 0;
        if (question->error) continue;
        RT_TRY(glm_reading_question(
                &run->reading, question->text, (int64_t)strlen(question->text), &question->ids));
    }
    return RT_OK;
}

/* ---- a book ---------------------------------------------------------------------------------- */

/* Its length is known before the model is loaded, its ids are not. */
rt_status ask_measure_book(ask_run *run) {
    run->is_book = true;
    run->reading = (glm_reading){.tokenizer = run->tokenizer, .has_markers = true};
    RT_TRY(glm_cli_book_length(run->cli, &run->reading.prefix.n));
    return RT_OK;
}

/* What its text was read from, where that was one file; the book's own name otherwise. For free(). */
static rt_status name_book(const ask_run *run, char **name) {
    kv_book book;
    RT_TRY(glm_cli_book_read(run->cli, &book));
    const char *source = strstr(book.note, "source=");
    const bool is_single = source && strstr(book.note, "files=1\n");
    *name = is_single ? strndup(source + 7, strcspn(source + 7, "\n")) : strdup(run->cli->book);
    kv_book_free(&book);
    return *name ? RT_OK : rt_fail(RT_ENOMEM, "ask: no memory for a name");
}

rt_status ask_read_book(ask_run *run) {
    int32_t *ids = NULL;
    int64_t n_ids = 0;
    char *name = NULL;
    const int64_t n_planned = run->reading.prefix.n;
    RT_TRY(glm_book_ids(run->engine, run->cli->book, &ids, &n_ids));
    rt_status status = name_book(run, &name);
    if (status == RT_OK && n_ids != n_planned)
        status = rt_fail(RT_EUSAGE, "book %s was replaced while the model was loaded; once more",
                run->cli->book);
    if (status == RT_OK)
        status = glm_reading_of_book(run->tokenizer, name, ids, n_ids, &run->reading);
    free(ids);
    free(name);
    RT_TRY(status);
    if (!run->cli->quiet)
        (void)fprintf(stderr, "book %s: %" PRId64 " tokens\n", run->cli->book, n_ids);
    return ask_encode_questions(run);
}

/* ---- whether it fits ------------------------------------------------------------------------- */

static int64_t wanted_answer(const ask_run *run, const ask_question *question) {
    if (question->max_tokens > 0) return question->max_tokens;
    return run->cli->max_tokens > 0 ? run->cli->max_tokens : ANSWER_TOKENS_DEFAULT;
}

bool ask_is_open(const ask_question *question) {
    return !question->error && !question->is_answered;
}

static void say_cut(const ask_run *run) {
    const glm_reading_cut *cut = &run->reading.cut;
    if (cut->n_tokens == 0 || run->cli->quiet) return;
    (void)fprintf(
            stderr, "truncated: %" PRId64 " tokens of the middle are left out, ", cut->n_tokens);
    if (cut->first_passage >= 0)
        (void)fprintf(stderr, "passages %" PRId64 " to %" PRId64 "\n", cut->first_passage,
                cut->last_passage);
    else
        (void)fputs("none of them of a passage\n", stderr);
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
    say_cut(run);
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
        run->room = rt_max64(run->room,
                question->ids.n + question->max_tokens + (run->is_book ? WORDING_TOKENS : 0));
        return RT_OK;
    }
    const rt_status status = too_long(run, question);
    return run->cli->question ? status : ask_question_refuse(question, rt_error_text());
}

rt_status ask_plan_lengths(ask_run *run) {
    const int64_t max_len = run->cli->engine.max_len;
    run->limit = max_len > 0 ? max_len : run->config.model_len;
    if (run->cli->truncate) RT_TRY(truncate_middle(run));
    for (int64_t i = 0; i < run->questions.n_questions; i++)
        if (!run->questions.questions[i].error)
            RT_TRY(check_length(run, &run->questions.questions[i]));
    return RT_OK;
}
