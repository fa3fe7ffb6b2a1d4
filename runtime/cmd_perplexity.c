/* glm1m perplexity: how well the model foresees each token of a text, given all before it. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/memory.h"
#include "base/pool.h"
#include "base/size.h"
#include "cli.h"
#include "cli_input.h"
#include "cli_json.h"
#include "cli_prefill.h"
#include "cli_sources.h"
#include "cmd_record.h"
#include "log_prob.h"
#include "npy.h"
#include "turn.h"

/* Logits that are computed at once take no more. */
static const int64_t rows_bytes_max = 256 * RT_MIB;
/* The table has a row for the first FIRST_CUT tokens, then one for each doubling of the position. */
enum { FIRST_CUT = 1024, CUTS_MAX = 48 };

/* Of one token of the text. */
typedef struct score {
    float log_prob; /* natural logarithm of its probability, given all before it */
    float rank; /* how many ids were likelier: 0 is the likeliest. A float, as a column of --out */
} score;

/* Of a stretch of the text. */
typedef struct tally {
    int64_t from, to; /* positions in the text */
    double nats;      /* -log_prob, summed */
    int64_t n_bytes;
    int64_t n_likeliest;
} tally;

/* What is kept of a run that was stopped, beside the keys and values. */
typedef struct kept_scores {
    int64_t n_scored;
    score scores[]; /* of all of the text; zeros behind n_scored */
} kept_scores;

/* Numbers under which this command keeps scores beside a text (glm_session_save_beside): the CPU's, and a GPU's. */
enum { KEPT_CPU = 1, KEPT_GPU = 2 };

typedef struct scoring {
    const glm_cli *cli;
    glm_document document;
    glm_tokenizer *tokenizer;
    glm_ids ids;      /* [gMASK]<sop>, then the text */
    int64_t text_pos; /* index in ids of the text's first token */
    kept_scores *kept;
    score *scores;   /* [ids.n - text_pos], in kept */
    int64_t n_there; /* tokens whose keys and values were on disk */
    int64_t n_scored;
    glm_npy npy; /* where --out is given */
    int64_t vocab;
    glm_engine *engine;
    glm_session *session;
    rt_pool *pool;
    double seconds;
    bool says_unkept; /* that scores could not be kept is said once */
} scoring;

static int64_t kept_bytes(const scoring *s) {
    return (int64_t)sizeof *s->kept + (s->ids.n - s->text_pos) * (int64_t)sizeof *s->scores;
}

/* ---- the text -------------------------------------------------------------------------------- */

static rt_status read_text(scoring *s) {
    const glm_cli *cli = s->cli;
    RT_TRY(glm_cli_require_source(cli, &glm_cmd_perplexity));
    if (cli->tokens_file) return glm_cli_read_tokens(cli->tokens_file, s->vocab, &s->ids);
    RT_TRY(glm_cli_load_document(cli, cli->file ? &cli->file : cli->operands,
            cli->file ? 1 : cli->n_operands, &s->document));
    return glm_tokenizer_encode(
            s->tokenizer, s->document.text, s->document.n_bytes, cli->special_in_text, &s->ids);
}

static rt_status read_ids(scoring *s) {
    glm_config config;
    RT_TRY(glm_config_load(s->cli->engine.model_dir, &config));
    s->vocab = config.vocab;
    RT_TRY(glm_cli_load_tokenizer(s->cli, &s->tokenizer));
    RT_TRY(read_text(s));
    RT_TRY(glm_cli_begin_ids(s->tokenizer, &s->ids));
    s->text_pos = 2;
    const int64_t n = s->ids.n - s->text_pos;
    if (n == 0) return rt_fail(RT_EUSAGE, "perplexity: the text is empty");
    RT_TRY(glm_cli_check_length(s->cli, config.model_len, "the text", s->ids.n));
    RT_TRY(rt_calloc(1, kept_bytes(s), "the scores", &s->kept));
    s->scores = s->kept->scores;
    return RT_OK;
}

/* ---- scores ---------------------------------------------------------------------------------- */

typedef struct rows {
    scoring *scoring;
    const float *logits;
    int64_t first; /* in the text: the token that row 0 foresees */
} rows;

static void score_row(void *context, int64_t item, int thread) {
    const rows *r = context;
    const scoring *s = r->scoring;
    const int64_t at = r->first + item;
    (void)thread;
    if (at < 0 || at >= s->ids.n - s->text_pos) return; /* <sop>; what is behind the text */
    const float *row = r->logits + item * s->vocab;
    const float own = row[s->ids.ids[s->text_pos + at]];
    int64_t n_likelier = 0;
    for (int64_t i = 0; i < s->vocab; i++) n_likelier += row[i] > own;
    s->scores[at] = (score){
            .log_prob = (float)((double)own - glm_log_sum(row, s->vocab)),
            .rank = (float)n_likelier,
    };
}

static rt_status write_scores(scoring *s, int64_t from) {
    if (!s->cli->out) return RT_OK;
    return glm_npy_append(&s->npy, &s->scores[from].log_prob, s->n_scored - from);
}

static int32_t kept_as(const scoring *s) {
    return glm_engine_plan(s->engine)->on_gpu ? KEPT_GPU : KEPT_CPU;
}

static rt_status keep_scores(void *context) {
    scoring *s = context;
    s->kept->n_scored = s->n_scored;
    return glm_session_save_beside(
            s->session, s->ids.ids, s->ids.n, kept_as(s), s->kept, kept_bytes(s));
}

/* Where a span ends with token `end`, keep its scores before the span itself is on disk, which would be of no use without
 * them. */
static void keep_span(scoring *s, int64_t end) {
    const bool is_end = end == s->ids.n || end % glm_engine_plan(s->engine)->span == 0;
    if (!is_end || s->says_unkept || !glm_cli_persists(s->cli)) return;
    const rt_status status = keep_scores(s);
    s->says_unkept = status != RT_OK;
    if (s->says_unkept && status != RT_EUSAGE) /* that nothing is kept is said already */
        rt_log(RT_LOG_WARN, "perplexity", "after a kill it would start over: %s", rt_error_text());
}

/* A glm_take_logits: row i is of the token at + i, counted from the first that was not on disk, and foresees the one behind. */
static rt_status take(void *context, int64_t at, int64_t n, const float *logits) {
    scoring *s = context;
    rows r = {s, logits, s->n_there + at + 1 - s->text_pos};
    rt_pool_run(s->pool, n, score_row, &r);
    const int64_t end = rt_min64(r.first + n, s->ids.n - s->text_pos);
    const int64_t before = s->n_scored;
    s->n_scored = rt_max64(end, before);
    keep_span(s, s->n_there + at + n);
    return write_scores(s, before);
}

/* Load the scores that an earlier run has kept. */
static rt_status find_scores(scoring *s) {
    bool is_there = false;
    RT_TRY(glm_session_load_beside(
            s->session, s->ids.ids, s->ids.n, kept_as(s), s->kept, kept_bytes(s), &is_there));
    const int64_t n = s->kept->n_scored;
    is_there = is_there && n > 0 && n <= s->ids.n - s->text_pos;
    if (!is_there) memset(s->kept, 0, (size_t)kept_bytes(s));
    s->n_scored = is_there ? n : 0;
    return RT_OK;
}

/* How many of ids, from the first on, have had their logits taken. */
static int64_t n_given(const scoring *s) {
    return s->n_scored > 0 ? s->n_scored + s->text_pos - 1 : 0;
}

static double work_from(const scoring *s, int64_t pos) {
    return glm_plan_prefill_all_work(
            glm_engine_plan(s->engine), glm_engine_config(s->engine), pos, s->ids.n - pos);
}

/* The plan's prefill ends with one row of logits, not with all. */
static double planned_s(const scoring *s) {
    return glm_engine_plan(s->engine)->prefill_s * work_from(s, 0) /
           glm_plan_prefill_work(
                   glm_engine_plan(s->engine), glm_engine_config(s->engine), 0, s->ids.n);
}

/* Another command that is to prefill the text waits for this one, and not this one for it: the scores need the logits of every
 * token, which nobody keeps but who scored them. */
static void claim(const scoring *s) {
    glm_turn_claim(s->session, s->ids.ids, glm_turn_whole(s->session, s->ids.n));
}

static rt_status restore(scoring *s) {
    glm_reuse reuse = {0};
    if (!glm_cli_persists(s->cli)) return RT_OK;
    RT_TRY(find_scores(s));
    if (s->n_scored > 0) RT_TRY(glm_cli_restore(s->cli, s->session, s->ids.ids, s->ids.n, &reuse));
    if (glm_session_length(s->session) > n_given(s)) glm_session_truncate(s->session, n_given(s));
    s->n_there = reuse.n_tokens = glm_session_length(s->session);
    claim(s);
    glm_cli_say_reuse(s->cli, s->session, work_from(s, s->n_there), s->ids.n, &reuse);
    return write_scores(s, 0);
}

static rt_status open_model(scoring *s) {
    glm_options options = s->cli->engine;
    const int64_t rows_max = rows_bytes_max / (s->vocab * (int64_t)sizeof(float));
    options.max_len = s->ids.n;
    options.persists = glm_cli_persists(s->cli);
    options.max_logits = rt_min64(rt_max64(rows_max, 1), s->ids.n);
    RT_TRY(glm_engine_open(&options, &s->engine));
    glm_cli_say_kv(s->cli, s->engine);
    glm_cli_say_plan(s->cli, s->engine, planned_s(s));
    RT_TRY(rt_pool_create(glm_engine_plan(s->engine)->threads, &s->pool));
    return glm_session_create(s->engine, options.max_len, &s->session);
}

static rt_status score_all(scoring *s) {
    RT_TRY(open_model(s));
    const double started_s = rt_now();
    RT_TRY(restore(s));
    const glm_cli_taker taker = {n_given(s), take, keep_scores, s};
    const rt_status status =
            glm_cli_prefill_all_kept(s->cli, s->session, s->ids.ids, s->ids.n, &taker);
    s->seconds = rt_now() - started_s;
    RT_TRY(status);
    return s->cli->out ? glm_npy_finish(&s->npy) : RT_OK;
}

/* --out is created first: where that fails, no model is loaded. */
static rt_status score_into_file(scoring *s) {
    if (s->cli->out) RT_TRY(glm_npy_create(s->cli->out, s->ids.n - s->text_pos, 2, &s->npy));
    const rt_status status = score_all(s);
    if (s->cli->out) glm_npy_close(&s->npy);
    return status;
}

/* ---- what is said ---------------------------------------------------------------------------- */

static tally count(const scoring *s, int64_t from, int64_t to) {
    tally t = {.from = from, .to = rt_min64(to, s->n_scored)};
    for (int64_t i = t.from; i < t.to; i++) {
        int64_t n_bytes = 0;
        (void)glm_tokenizer_bytes(s->tokenizer, s->ids.ids[s->text_pos + i], &n_bytes, NULL);
        t.nats -= (double)s->scores[i].log_prob;
        t.n_bytes += n_bytes;
        t.n_likeliest += s->scores[i].rank == 0.0f;
    }
    return t;
}

static int count_by_position(const scoring *s, tally out[CUTS_MAX]) {
    int n = 0;
    for (int64_t from = 0, to = FIRST_CUT; from < s->n_scored && n < CUTS_MAX; from = to, to *= 2)
        out[n++] = count(s, from, to);
    return n;
}

static double nats_per_token(const tally *t) {
    return t->nats / (double)(t->to - t->from);
}
static double bits_per_byte(const tally *t) {
    return t->n_bytes > 0 ? t->nats / log(2.0) / (double)t->n_bytes : 0.0;
}
static double likeliest(const tally *t) {
    return (double)t->n_likeliest / (double)(t->to - t->from);
}

static void print_row(const char *what, const tally *t) {
    (void)printf("%21s %9" PRId64 " %11.4f %11.5g %11.4f %11.1f\n", what, t->to - t->from,
            nats_per_token(t), exp(nats_per_token(t)), bits_per_byte(t), 100.0 * likeliest(t));
}

static void print_table(const scoring *s, const tally *parts, int n, const tally *all) {
    char what[64];
    (void)printf("%21s %9s %11s %11s %11s %11s\n", "position", "tokens", "nats/token", "perplexity",
            "bits/byte", "likeliest %");
    for (int i = 0; i < n; i++) {
        (void)snprintf(
                what, sizeof what, "%" PRId64 " to %" PRId64, parts[i].from, parts[i].to - 1);
        print_row(what, &parts[i]);
    }
    print_row(s->n_scored < s->ids.n - s->text_pos ? "all until then" : "all", all);
}

static json_t *json_of(const tally *t) {
    return json_pack("{s:I, s:I, s:f, s:f, s:f, s:f}", "from", (json_int_t)t->from, "to",
            (json_int_t)t->to, "nats_per_token", nats_per_token(t), "perplexity",
            exp(nats_per_token(t)), "bits_per_byte", bits_per_byte(t), "likeliest", likeliest(t));
}

/* `all`: NULL where no token was scored. */
static rt_status print_json(const scoring *s, const tally *parts, int n, const tally *all) {
    json_t *by_position = json_array();
    for (int i = 0; i < n; i++) (void)json_array_append_new(by_position, json_of(&parts[i]));
    const glm_document *text = &s->document;
    json_t *object = json_pack("{s:I, s:I, s:b, s:o, s:o, s:f, s:I, s:I, s:o, s:o}", "n_tokens",
            (json_int_t)(s->ids.n - s->text_pos), "n_scored", (json_int_t)s->n_scored,
            "is_complete", (int)(s->n_scored == s->ids.n - s->text_pos), "all",
            all ? json_of(all) : json_null(), "by_position", by_position, "seconds", s->seconds,
            "n_files", (json_int_t)text->n_files, "n_skipped", (json_int_t)text->n_skipped,
            "source_sha256", text->text ? record_sha256(text->text, text->n_bytes) : json_null(),
            "prompt_sha256", record_sha256_of_ids(&s->ids));
    object = record_join(object, record_made(s->engine, s->cli->engine.model_dir));
    return glm_cli_json_print("perplexity", object, 0);
}

/* Print the results for what was scored, which Ctrl-C may have cut short, perhaps before there was any. */
static rt_status print(const scoring *s) {
    tally parts[CUTS_MAX];
    if (!s->engine) return RT_OK;
    if (s->n_scored == 0) return s->cli->json ? print_json(s, NULL, 0, NULL) : RT_OK;
    const int n = count_by_position(s, parts);
    const tally all = count(s, 0, s->n_scored);
    if (s->cli->json) return print_json(s, parts, n, &all);
    print_table(s, parts, n, &all);
    return RT_OK;
}

/* ---- the command ----------------------------------------------------------------------------- */

static int run_perplexity(glm_cli *cli) {
    scoring s = {.cli = cli};
    rt_status status = read_ids(&s);
    if (status == RT_OK) {
        glm_cli_say_skipped(cli, &s.document);
        glm_cli_say_text(cli, cli->tokens_file ? NULL : &s.document, s.ids.n);
        status = score_into_file(&s);
    }
    int exit_code = status == RT_OK ? GLM_EXIT_OK : glm_cli_fail(status);
    if (status == RT_OK || status == RT_EINTERRUPTED) {
        const rt_status printed = print(&s);
        if (printed != RT_OK) exit_code = glm_cli_fail(printed);
    }
    rt_pool_free(s.pool);
    glm_session_free(s.session);
    glm_engine_close(s.engine);
    glm_tokenizer_free(s.tokenizer);
    glm_document_free(&s.document);
    glm_ids_free(&s.ids);
    free(s.kept);
    return exit_code;
}

const glm_command glm_cmd_perplexity = {
        .name = "perplexity",
        .usage = "perplexity -m DIR (SOURCE... | -f FILE | --tokens-file FILE) [--out FILE.npy] "
                 "[--json]",
        .summary = "how well a text is foreseen, token by token, given all before",
        .details =
                "Reads files and directories as prefill does (- is standard input), puts "
                "[gMASK]<sop> in front unless it is there already, and asks of each token of the text how probable it was, "
                "given everything before it: no window, nothing is forgotten. Several files are one text, with a "
                "line in front of each that names it and is scored, too; run it for each to measure them apart. Prints, for the "
                "first 1024 tokens, the next 1024, the next 2048 and so on, and for all: nats a "
                "token (the natural logarithm of 1/probability, their mean), perplexity (its "
                "exponential), bits a byte of text, and how often the token was the likeliest "
                "of all.\n"
                "\n"
                "--out writes float32 [tokens, 2] as .npy, a row for each token of the text: the "
                "natural logarithm of its probability, and how many ids were likelier. The file "
                "appears when it is complete. --json prints one object: n_tokens, n_scored, "
                "is_complete, all (null where none is scored) and by_position (from, to, nats_per_token, "
                "perplexity, bits_per_byte, likeliest), seconds, and how it was made: n_files, n_skipped, source_sha256 (of the "
                "text; null: of a tokens file), prompt_sha256 (of the ids), program, model, model_fingerprint, kv_cache_dtype, "
                "linear (who multiplied). Ctrl-C prints what there is until then; with --kv-disk-dir the scores and the KV cache are kept, and the same command goes "
                "on from there.\n"
                "\n"
                "Examples:\n"
                "  glm1m perplexity -m glm-4-9b-chat-1m war-and-peace.txt\n"
                "  glm1m perplexity -m glm-4-9b-chat-1m war.pdf --kv-cache-dtype int4 --json\n"
                "  glm1m perplexity -m glm-4-9b-chat-1m src/ --out scores.npy\n",
        .flags = "@engine file tokens-file special-in-text out json",
        .required = "model",
        .operands_max = 1000000,
        .run = run_perplexity,
};
