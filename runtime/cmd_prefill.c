/* glm1m prefill: a text, once, onto disk, under a name. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/size.h"
#include "cli.h"
#include "cli_books.h"
#include "cli_input.h"
#include "cli_json.h"
#include "cli_prefill.h"
#include "cli_sources.h"
#include "cli_turn.h"
#include "cmd_record.h"
#include "config.h"
#include "document.h"
#include "sha256.h"
#include "turn.h"

typedef struct shelving {
    const glm_cli *cli;
    int n_sources; /* 0: a tokens file */
    const char *const *sources;
    glm_document document; /* all zero for a tokens file */
    glm_tokenizer *tokenizer;
    glm_engine *engine;
    glm_session *session;
    glm_ids ids;
    char sha256[GLM_SHA256_HEX]; /* of the text, or of the ids of a tokens file */
    char *note;
    glm_reuse reuse;
    int64_t n_computed; /* in prefill_s: not what an earlier run had begun */
    int64_t stored_bytes;
    double load_s;
    double prefill_s;
} shelving;

/* ---- the text -------------------------------------------------------------------------------- */

static rt_status choose_input(shelving *s) {
    const glm_cli *cli = s->cli;
    RT_TRY(glm_cli_require_source(cli, &glm_cmd_prefill));
    s->n_sources = cli->file ? 1 : cli->n_operands;
    s->sources = cli->file ? &cli->file : cli->operands;
    return kv_book_check_name(cli->book);
}

static rt_status hash(shelving *s, const void *bytes, int64_t n_bytes) {
    uint8_t digest[GLM_SHA256_BYTES];
    RT_TRY(glm_sha256_of_text(bytes, n_bytes, glm_tokenizer_watched_by(s->tokenizer), digest));
    (void)glm_sha256_hex(digest, s->sha256);
    return RT_OK;
}

static rt_status read_ids(shelving *s) {
    glm_config config;
    RT_TRY(glm_config_load(s->cli->engine.model_dir, &config));
    RT_TRY(glm_cli_load_tokenizer(s->cli, &s->tokenizer));
    if (s->cli->tokens_file) {
        RT_TRY(glm_cli_read_tokens(s->cli->tokens_file, config.vocab, &s->ids));
        if (s->ids.n == 0)
            return rt_fail(RT_EUSAGE, "prefill: %s holds no token id: there is nothing to keep",
                    s->cli->tokens_file);
        RT_TRY(hash(s, s->ids.ids, s->ids.n * (int64_t)sizeof *s->ids.ids));
    } else {
        RT_TRY(glm_cli_load_document(s->cli, s->sources, s->n_sources, &s->document));
        if (s->document.n_bytes == 0)
            return rt_fail(
                    RT_EUSAGE, "prefill: %s is empty: there is nothing to keep", s->sources[0]);
        RT_TRY(hash(s, s->document.text, s->document.n_bytes));
        RT_TRY(glm_tokenizer_encode(s->tokenizer, s->document.text, s->document.n_bytes,
                s->cli->special_in_text, &s->ids));
    }
    return glm_cli_begin_ids(s->tokenizer, &s->ids);
}

static rt_status note_sources(shelving *s) {
    if (s->cli->tokens_file)
        return glm_cli_note(s->cli, &s->cli->tokens_file, 1, NULL, s->sha256, &s->note);
    return glm_cli_note(s->cli, s->sources, s->n_sources, &s->document, s->sha256, &s->note);
}

/* ---- what is said ------------------------------------------------------------------------------ */

static double prefill_tps(const shelving *s) {
    return s->prefill_s > 0.0 ? (double)s->n_computed / s->prefill_s : 0.0;
}

static void print_usage(const shelving *s) {
    char bytes[RT_SIZE_TEXT];
    if (s->cli->quiet) return;
    (void)fprintf(stderr,
            "book %s: %" PRId64 " tokens, %" PRId64 " of them reused, in %.2f s (%.1f tokens/s); "
            "%s on disk\n",
            s->cli->book, s->ids.n, s->reuse.n_tokens, s->prefill_s, prefill_tps(s),
            rt_format_bytes(s->stored_bytes, bytes));
}

static rt_status print_json(const shelving *s) {
    json_t *object = json_pack("{s:s, s:I, s:I, s:o, s:I, s:I, s:I, s:I, s:s, s:{s:f, s:f, s:f}, "
                               "s:o}",
            "book", s->cli->book, "n_tokens", (json_int_t)s->ids.n, "reused_tokens",
            (json_int_t)s->reuse.n_tokens, "reuse_reason",
            glm_cli_json_text(s->reuse.reason, strlen(s->reuse.reason)), "n_files",
            (json_int_t)s->document.n_files, "n_skipped", (json_int_t)s->document.n_skipped,
            "n_bytes", (json_int_t)s->document.n_bytes, "stored_bytes", (json_int_t)s->stored_bytes,
            "sha256", s->sha256, "timings", "load_s", s->load_s, "prefill_s", s->prefill_s,
            "prefill_tps", prefill_tps(s), "prompt_sha256", record_sha256_of_ids(&s->ids));
    object = record_join(object, record_made(s->engine, s->cli->engine.model_dir));
    return glm_cli_json_print("prefill", object, 0);
}

/* How large it has become. */
static rt_status measure_book(shelving *s) {
    kv_book book;
    RT_TRY(glm_cli_book_read(s->cli, &book));
    s->stored_bytes = book.stored_bytes;
    kv_book_free(&book);
    return RT_OK;
}

/* ---- the command ----------------------------------------------------------------------------- */

static rt_status check_length(const shelving *s) {
    glm_config config;
    RT_TRY(glm_config_load(s->cli->engine.model_dir, &config));
    return glm_cli_check_length(s->cli, config.model_len, "the text", s->ids.n);
}

static rt_status open_model(shelving *s) {
    glm_options options = s->cli->engine;
    RT_TRY(check_length(s));
    options.max_len = s->ids.n;
    options.persists = options.needs_kept = options.keeps_all = true;
    RT_TRY(glm_engine_open(&options, &s->engine));
    glm_cli_say_kv(s->cli, s->engine);
    return glm_session_create(s->engine, options.max_len, &s->session);
}

static rt_status prefill(shelving *s) {
    const double started_s = rt_now();
    double waited_s = 0.0;
    RT_TRY(glm_cli_restore(s->cli, s->session, s->ids.ids, s->ids.n, &s->reuse));
    RT_TRY(glm_cli_take_turn(
            s->cli, s->session, s->ids.ids, s->ids.n, s->ids.n, &s->reuse, &waited_s));
    const int64_t n = s->reuse.n_tokens;
    const double left = glm_plan_prefill_work(
            glm_engine_plan(s->engine), glm_engine_config(s->engine), n, s->ids.n - n);
    glm_cli_say_reuse(s->cli, s->session, left, s->ids.n, &s->reuse);
    RT_TRY(glm_cli_prefill_rest(s->cli, s->session, s->ids.ids, s->ids.n, &s->n_computed));
    RT_TRY(glm_session_keep(s->session, s->cli->book, s->note));
    glm_turn_give_back(s->session);
    s->prefill_s = rt_now() - started_s - waited_s;
    return RT_OK;
}

static rt_status shelve(shelving *s) {
    const double started_s = rt_now();
    RT_TRY(choose_input(s));
    RT_TRY(read_ids(s));
    RT_TRY(note_sources(s));
    glm_cli_say_skipped(s->cli, &s->document);
    glm_cli_say_text(s->cli, s->cli->tokens_file ? NULL : &s->document, s->ids.n);
    glm_cli_say_replaced(s->cli, s->note);
    RT_TRY(open_model(s));
    glm_cli_say_plan(s->cli, s->engine, glm_engine_plan(s->engine)->prefill_s);
    s->load_s = rt_now() - started_s;
    RT_TRY(prefill(s));
    RT_TRY(measure_book(s));
    if (s->cli->json) RT_TRY(print_json(s));
    print_usage(s);
    return RT_OK;
}

static int run_prefill(glm_cli *cli) {
    shelving s = {.cli = cli};
    const rt_status status = shelve(&s);
    const int exit_code = status == RT_OK ? GLM_EXIT_OK : glm_cli_fail(status);
    glm_session_free(s.session);
    glm_engine_close(s.engine);
    glm_tokenizer_free(s.tokenizer);
    glm_document_free(&s.document);
    glm_ids_free(&s.ids);
    free(s.note);
    return exit_code;
}

const glm_command glm_cmd_prefill = {
        .name = "prefill",
        .usage = "prefill -m DIR (SOURCE... | -f FILE | --tokens-file FILE) --book NAME",
        .summary = "compute a text's keys and values once, and keep them as a book",
        .details =
                "Reads files and directories (- is standard input), puts [gMASK]<sop> in front "
                "unless it is there already, and prefills all of it; keys and values go to disk, compressed and checksummed, "
                "under the name of --book. ask, chat, complete and needle then go on from there "
                "with the same --book, --kv-disk-dir and model; glm1m book lists, checks and "
                "removes what is there. The same name again replaces the book.\n"
                "\n"
                "Directories are walked in the order of names; hidden names, what a .gitignore "
                "names, and what is no text, PDF, Word, OpenDocument, EPUB or RTF file, are left out. "
                "Of several files each stands behind a line ==> name <==. "
                "The text is plain: what looks like a special token stays text, unless "
                "--special-in-text says otherwise. A tokens file holds ids.\n"
                "\n"
                "What is stored already, of whatever book or run, is found by its tokens and not "
                "computed again; what another process is computing with the same --kv-disk-dir is waited for. Every finished span is safe from a crash. The first Ctrl-C stops "
                "within seconds and keeps what is begun: the same command goes on from there.\n"
                "\n"
                "--json prints one object: book, n_tokens, reused_tokens, reuse_reason (why not "
                "more, \"\" when there is no more), n_files, n_skipped, n_bytes, stored_bytes, "
                "sha256 (of the text), timings, prompt_sha256 (of the ids), and how it was made: program, model, "
                "model_fingerprint, kv_cache_dtype, linear.\n"
                "\n"
                "Examples:\n"
                "  glm1m prefill -m glm-4-9b-chat-1m war-and-peace.txt --book war\n"
                "  glm1m prefill -m glm-4-9b-chat-1m src/ docs/ --book project --kv-disk-dir "
                "/nvme\n"
                "  git log -p | glm1m prefill -m glm-4-9b-chat-1m - --book history\n",
        .flags = "@engine file tokens-file special-in-text book json",
        .required = "model book",
        .operands_max = 1000000,
        .run = run_prefill,
};
