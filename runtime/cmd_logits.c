/* glm1m logits: token ids in, one row of logits per wanted position out. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/memory.h"
#include "base/size.h"
#include "cli.h"
#include "cli_input.h"
#include "cli_json.h"
#include "cli_prefill.h"
#include "cmd_record.h"
#include "npy.h"

/* Every position's rows, or more than this holds, are written as the prefill has them. */
static const int64_t rows_bytes_max = 256 * RT_MIB;

typedef struct logits_run {
    const glm_cli *cli;
    glm_ids ids;
    int64_t *positions; /* ascending, in [0, ids.n) */
    int64_t n_positions;
    int64_t vocab;
    int64_t rows_max; /* that memory holds at once */
    int64_t n_written;
    glm_npy npy;
    glm_engine *engine;
    glm_session *session;
} logits_run;

/* ---- which rows ------------------------------------------------------------------------------ */

static rt_status every_position(logits_run *run) {
    RT_TRY(rt_calloc(
            run->ids.n, (int64_t)sizeof *run->positions, "the positions", &run->positions));
    for (int64_t i = 0; i < run->ids.n; i++) run->positions[i] = i;
    run->n_positions = run->ids.n;
    return RT_OK;
}

static rt_status last_position(logits_run *run) {
    RT_TRY(rt_calloc(1, (int64_t)sizeof *run->positions, "the positions", &run->positions));
    run->positions[0] = run->ids.n - 1;
    run->n_positions = 1;
    return RT_OK;
}

static rt_status listed_positions(logits_run *run) {
    RT_TRY(glm_cli_parse_list(
            run->cli->positions, "--positions", &run->positions, &run->n_positions));
    for (int64_t i = 0; i < run->n_positions; i++) {
        const int64_t position = run->positions[i];
        if (position >= run->ids.n)
            return rt_fail(RT_EUSAGE, "--positions: %" PRId64 " is beyond the %" PRId64 " tokens",
                    position, run->ids.n);
        if (i > 0 && position <= run->positions[i - 1])
            return rt_fail(RT_EUSAGE, "--positions: %" PRId64 " after %" PRId64 " does not ascend",
                    position, run->positions[i - 1]);
    }
    return RT_OK;
}

static rt_status choose_positions(logits_run *run) {
    const char *which = run->cli->positions ? run->cli->positions : "all";
    if (strcmp(which, "all") == 0) return every_position(run);
    if (strcmp(which, "last") == 0) return last_position(run);
    return listed_positions(run);
}

/* ---- rows ------------------------------------------------------------------------------------ */

/* As glm_take_logits: of rows at .. at + n - 1 those that are wanted. */
static rt_status write_wanted(void *context, int64_t at, int64_t n, const float *logits) {
    logits_run *run = context;
    while (run->n_written < run->n_positions && run->positions[run->n_written] < at + n) {
        const int64_t row = run->positions[run->n_written++] - at;
        RT_TRY(glm_npy_append(&run->npy, logits + row * run->vocab, 1));
    }
    return RT_OK;
}

static rt_status write_few(logits_run *run) {
    const float *rows = NULL;
    int64_t n_rows = 0;
    RT_TRY(glm_cli_prefill(
            run->cli, run->session, run->ids.ids, run->ids.n, run->positions, run->n_positions));
    RT_TRY(glm_session_logits(run->session, &rows, &n_rows));
    rt_assert(n_rows == run->n_positions);
    return glm_npy_append(&run->npy, rows, n_rows);
}

static rt_status write_rows(logits_run *run) {
    const bool is_every = run->n_positions == run->ids.n;
    if (run->n_positions <= run->rows_max && !is_every)
        RT_TRY(write_few(run));
    else
        RT_TRY(glm_cli_prefill_all(
                run->cli, run->session, run->ids.ids, run->ids.n, write_wanted, run));
    return glm_npy_finish(&run->npy);
}

/* ---- the command ----------------------------------------------------------------------------- */

static rt_status read_request(logits_run *run) {
    glm_config config;
    RT_TRY(glm_config_load(run->cli->engine.model_dir, &config));
    run->vocab = config.vocab;
    RT_TRY(glm_cli_read_tokens(run->cli->tokens_file, run->vocab, &run->ids));
    if (run->ids.n == 0) return rt_fail(RT_EUSAGE, "%s holds no token id", run->cli->tokens_file);
    RT_TRY(glm_cli_check_length(run->cli, config.model_len, run->cli->tokens_file, run->ids.n));
    return choose_positions(run);
}

static rt_status open_model(logits_run *run) {
    glm_options options = run->cli->engine;
    if (options.max_len == 0) options.max_len = run->ids.n;
    run->rows_max = rt_max64(rows_bytes_max / (run->vocab * (int64_t)sizeof(float)), 1);
    options.max_logits = rt_min64(run->rows_max, run->n_positions);
    RT_TRY(glm_engine_open(&options, &run->engine));
    glm_cli_say_kv(run->cli, run->engine);
    return glm_session_create(run->engine, options.max_len, &run->session);
}

/* The file first: where it cannot be, nothing is loaded. */
static rt_status write_file(logits_run *run) {
    RT_TRY(glm_npy_create(run->cli->out, run->n_positions, run->vocab, &run->npy));
    rt_status status = open_model(run);
    if (status == RT_OK) status = write_rows(run);
    glm_npy_close(&run->npy);
    return status;
}

static rt_status print_json(const logits_run *run, double elapsed_s) {
    json_t *object = json_pack("{s:o, s:I, s:I, s:I, s:f, s:o}", "out",
            glm_cli_json_text(run->cli->out, strlen(run->cli->out)), "n_tokens",
            (json_int_t)run->ids.n, "n_rows", (json_int_t)run->n_positions, "n_columns",
            (json_int_t)run->vocab, "seconds", elapsed_s, "prompt_sha256",
            record_sha256_of_ids(&run->ids));
    object = record_join(object, record_made(run->engine, run->cli->engine.model_dir));
    return glm_cli_json_print("logits", object, 0);
}

static rt_status logits(logits_run *run) {
    const double started_s = rt_now();
    RT_TRY(read_request(run));
    RT_TRY(write_file(run));
    const double elapsed_s = rt_now() - started_s;
    if (run->cli->json) RT_TRY(print_json(run, elapsed_s));
    if (!run->cli->quiet)
        (void)fprintf(stderr,
                "%s: [%" PRId64 ", %" PRId64 "] float32, %" PRId64 " tokens in %.2f s\n",
                run->cli->out, run->n_positions, run->vocab, run->ids.n, elapsed_s);
    return RT_OK;
}

static int run_logits(glm_cli *cli) {
    logits_run run = {.cli = cli};
    const rt_status status = logits(&run);
    glm_session_free(run.session);
    glm_engine_close(run.engine);
    glm_ids_free(&run.ids);
    free(run.positions);
    return status == RT_OK ? GLM_EXIT_OK : glm_cli_fail(status);
}

const glm_command glm_cmd_logits = {
        .name = "logits",
        .usage =
                "logits -m DIR --tokens-file FILE --out FILE.npy [--positions all|last|i,j,k] [--json]",
        .summary = "write the logits of given token ids to a NumPy file",
        .details =
                "Runs the ids as given, adds nothing, and writes float32 [positions, vocab] as\n"
                ".npy. Row i predicts the token after position i. The file appears when it is\n"
                "complete; an old one of that name is then replaced. Default: every position.\n"
                "--json prints one object: out, n_tokens, n_rows, n_columns, seconds, and how it was\n"
                "made: prompt_sha256 (of the ids), program, model, model_fingerprint, kv_cache_dtype,\n"
                "linear.\n"
                "\n"
                "Example:\n"
                "  glm1m tokenize -m DIR -f text.txt > ids.txt\n"
                "  glm1m logits -m DIR --tokens-file ids.txt --out logits.npy --positions last\n",
        .flags = "@engine tokens-file out positions json",
        .required = "model tokens-file out",
        .run = run_logits,
};
