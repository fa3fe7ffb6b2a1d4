/* One session serves every cell. Exact mode empties it before each prompt; fast mode keeps the
 * longest prefix that the next prompt shares with the last one, and orders the cells so that it is
 * long: by where the needle goes in, then by length. With a book, what memory does not hold of a
 * prompt is looked for on disk. Prefill does not depend on how it is cut, so the answers are those
 * of exact mode to the last bit for the same ids.
 *
 * Runs that share --out share their cells (needle_share.c), and wait for those of others when they have no other left. For the
 * beginning of a prompt that another run is at (turn.h) none waits: prompts part at their needles, so it would have the first part
 * about when it had computed that itself, or later, where the other's span ends behind it; and the rest is its own. Where one runs
 * behind another it finds the first part on disk. */
#include "needle_run.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/size.h"
#include "cli_progress.h"
#include "cli_show.h"
#include "cli_signals.h"
#include "engine.h"
#include "needle_share.h"

enum { SEGMENT_TOKENS = 4096, WAIT_MS = 500, WAITS_MAX = 10 };

typedef struct job {
    glm_needle_cell cell;
    bool is_done;
    int64_t needle_token;
    double work;
} job;

typedef struct run {
    const glm_needle_grid *grid;
    glm_session *session;
    glm_ids last_ids;    /* the prompt that the session holds */
    int64_t kept_tokens; /* of the longest prompt so far, which the book names */
    job *jobs;
    int64_t n_jobs;
    int64_t n_done;
    glm_progress bar;
    int64_t tokens_done; /* to prefill, over all cells */
    int64_t tokens_total;
    double work_done;
    double work_total;
    glm_needle_share share;
    int64_t n_own;    /* results that others have no part in: of before, and ours */
    bool has_company; /* another run writes into the same directory */
    int64_t n_waits;  /* for cells of other runs: how long the last one was */
} run;

/* ---- the order ------------------------------------------------------------------------------- */

static double work_of(const glm_engine *engine, int64_t n) {
    return glm_plan_prefill_work(glm_engine_plan(engine), glm_engine_config(engine), 0, n);
}

static int compare(int64_t a, int64_t b) {
    return (a > b) - (a < b);
}

static int by_length(const void *left, const void *right) {
    const glm_needle_cell *a = &((const job *)left)->cell;
    const glm_needle_cell *b = &((const job *)right)->cell;
    int order = compare(a->length, b->length);
    if (order == 0) order = (a->depth > b->depth) - (a->depth < b->depth);
    return order ? order : compare(a->round, b->round);
}

static int by_insertion(const void *left, const void *right) {
    const job *a = left;
    const job *b = right;
    int order = compare(a->cell.round, b->cell.round);
    if (order == 0) order = compare(a->needle_token, b->needle_token);
    return order ? order : by_length(left, right);
}

static rt_status add_job(run *r, const glm_needle_cell *cell) {
    if (glm_needle_results_has(r->grid->results, cell)) return RT_OK;
    job *one = &r->jobs[r->n_jobs++];
    *one = (job){.cell = *cell, .work = work_of(r->grid->engine, cell->length)};
    r->work_total += one->work;
    r->tokens_total += cell->length;
    if (!r->grid->source->settings->is_fast) return RT_OK;
    glm_needle_prompt prompt;
    RT_TRY(glm_needle_prompt_make(r->grid->source, cell, &prompt));
    one->needle_token = prompt.needle_token;
    glm_needle_prompt_free(&prompt);
    return RT_OK;
}

static rt_status list_jobs(run *r) {
    const glm_needle_settings *s = r->grid->source->settings;
    RT_TRY(rt_calloc(
            s->n_lengths * s->n_depths * s->rounds, sizeof(job), "a grid of cells", &r->jobs));
    for (int64_t l = 0; l < s->n_lengths; l++)
        for (int64_t d = 0; d < s->n_depths; d++)
            for (int64_t round = 0; round < s->rounds; round++) {
                const glm_needle_cell cell = {s->lengths[l], s->depths[d], round};
                RT_TRY(add_job(r, &cell));
            }
    qsort(r->jobs, (size_t)r->n_jobs, sizeof *r->jobs, s->is_fast ? by_insertion : by_length);
    return RT_OK;
}

/* What is there may be another user's, in a directory that lets nobody replace it. */
static rt_status try_to_save(run *r) {
    const bool is_there = r->n_jobs > 0 && r->grid->results->n > 0;
    return is_there ? glm_needle_share_save(&r->share) : RT_OK;
}

/* The shortest prompt and the longest, before the hours between them: a length may be too short for its
 * question, or too long for the words there are. */
static rt_status try_prompt(const run *r, int64_t i) {
    glm_needle_prompt prompt;
    if (r->n_jobs == 0 || r->grid->source->settings->is_fast)
        return RT_OK; /* all of them were made */
    RT_TRY(glm_needle_prompt_make(r->grid->source, &r->jobs[i].cell, &prompt));
    glm_needle_prompt_free(&prompt);
    return RT_OK;
}

/* ---- one cell -------------------------------------------------------------------------------- */

/* Tokens of the prompt that the session holds already; at least one is left to prefill. */
static int64_t shared_prefix(const run *r, const glm_ids *ids) {
    if (!r->grid->source->settings->is_fast) return 0;
    const int64_t limit = rt_min64(ids->n - 1, r->last_ids.n);
    int64_t n = 0;
    while (n < limit && ids->ids[n] == r->last_ids.ids[n]) n++;
    return n;
}

/* Cut the session to what it shares with the prompt. Of less than a stored segment, the disk may
 * have more. */
static rt_status reuse_prefix(run *r, const glm_ids *ids, int64_t *n_reused) {
    const int64_t n_shared = shared_prefix(r, ids);
    const bool is_on_disk = r->grid->cli->book && n_shared < SEGMENT_TOKENS;
    *n_reused = is_on_disk ? 0 : n_shared;
    glm_session_truncate(r->session, *n_reused);
    *n_reused = glm_session_length(r->session);
    r->last_ids.n = rt_min64(r->last_ids.n, *n_reused);
    if (!is_on_disk) return RT_OK;
    glm_reuse reuse;
    RT_TRY(glm_session_restore(r->session, ids->ids, ids->n, &reuse));
    *n_reused = reuse.n_tokens;
    return RT_OK;
}

/* The book names the longest prompt there was, so that nobody removes it; before the answer, which
 * is none of it. A disk without room for it costs later runs time, not this one its cells. */
static rt_status keep_longest(run *r, const glm_ids *ids) {
    char note[GLM_NEEDLE_TEXT];
    if (!r->grid->cli->book || ids->n <= r->kept_tokens) return RT_OK;
    r->kept_tokens = ids->n;
    (void)snprintf(note, sizeof note, "source=" GLM_NEEDLE_SOURCE ", %s, seed %" PRIu64 "\n",
            r->grid->source->settings->protocol, r->grid->source->settings->seed);
    const rt_status status = glm_session_keep(r->session, r->grid->cli->book, note);
    if (status != RT_EIO && status != RT_ENOFIT && status != RT_ECORRUPT) return status;
    rt_log(RT_LOG_WARN, "needle", "book %s does not hold the longest prompt: %s",
            r->grid->cli->book, rt_error_text());
    return RT_OK;
}

/* After Ctrl-C a run with a book goes on there. */
static rt_status step(run *r, glm_prefill_progress *progress) {
    const rt_status status = glm_cli_check_interrupted();
    if (status == RT_OK) return glm_prefill_step(r->session, progress);
    if (!r->grid->cli->book)
        glm_prefill_abort(r->session);
    else if (glm_prefill_suspend(r->session) != RT_OK)
        rt_log(RT_LOG_WARN, "needle", "the prompt begun is not kept: %s", rt_error_text());
    return glm_cli_check_interrupted();
}

static rt_status prefill(run *r, const glm_ids *ids, int64_t reused) {
    glm_prefill_progress progress = {0};
    RT_TRY(glm_prefill_begin(r->session, ids->ids + reused, ids->n - reused, NULL, 1));
    while (!progress.is_done) {
        RT_TRY(step(r, &progress));
        glm_progress_update(&r->bar, r->tokens_done + progress.tokens_done, r->tokens_total,
                r->work_done + progress.work_done, r->work_total);
    }
    r->last_ids.n = 0;
    RT_TRY(glm_ids_append(&r->last_ids, ids->ids, ids->n));
    return keep_longest(r, ids);
}

static rt_status next_token(const run *r, int64_t step, int32_t *id) {
    static const glm_sampling greedy = {.temperature = 0.0f, .top_p = 1.0f};
    const int64_t vocab = glm_engine_config(r->grid->engine)->vocab;
    const int64_t n_valid = rt_min64(vocab, glm_tokenizer_size(r->grid->tokenizer));
    return glm_session_choose(r->session, n_valid, &greedy, step, id);
}

static rt_status answer(run *r, int64_t max_new, glm_ids *out) {
    while (out->n < max_new) {
        int32_t id = 0;
        RT_TRY(next_token(r, out->n, &id));
        if (glm_is_stop_id(glm_engine_config(r->grid->engine), id)) return RT_OK;
        RT_TRY(glm_ids_push(out, id));
        if (out->n < max_new) RT_TRY(glm_decode(&r->session, &id, 1));
    }
    return RT_OK;
}

static void join_answers(const glm_needle_task *task, char *text, size_t n_bytes) {
    size_t used = 0;
    for (int32_t i = 0; i < task->n_answers && used < n_bytes; i++)
        used += (size_t)snprintf(
                text + used, n_bytes - used, "%s%s", i ? ", " : "", task->answers[i]);
}

static const char *verdict(double score) {
    return score >= 1.0 ? "found" : score > 0.0 ? "PARTLY found" : "MISSED";
}

/* One line a cell, above the bar: what was asked, what came (its first line). */
static void report(run *r, const glm_needle_record *record) {
    if (r->grid->cli->quiet) return;
    glm_progress_end(&r->bar);
    const char *text = record->response + strspn(record->response, " \n");
    char depth[40] = "";
    if (!r->grid->source->settings->is_spread)
        (void)snprintf(depth, sizeof depth, ", depth %g %%", record->cell.depth);
    (void)fprintf(stderr,
            "cell %" PRId64 "/%" PRId64 ": length %" PRId64 "%s, round %" PRId64 ": %s, answer \"",
            r->n_done, r->n_jobs, record->cell.length, depth, record->cell.round,
            verdict(record->score));
    (void)glm_cli_show(stderr, text, (int64_t)strcspn(text, "\n"));
    (void)fprintf(stderr, "\", %.1f s\n", record->prefill_s + record->decode_s);
}

static void notice_company(run *r) {
    if (r->has_company || r->grid->results->n == r->n_own) return;
    r->has_company = true;
    if (r->grid->cli->quiet) return;
    glm_progress_end(&r->bar);
    (void)fprintf(stderr, "another run writes into %s: each has the other's cells, too\n",
            r->grid->out_dir);
}

static rt_status keep(
        run *r, const glm_needle_prompt *prompt, const glm_ids *ids, glm_needle_record *record) {
    int64_t n_bytes = 0;
    RT_TRY(glm_tokenizer_decode(
            r->grid->tokenizer, ids->ids, ids->n, false, &record->response, &n_bytes));
    record->score = glm_needle_score(&prompt->task, record->response);
    join_answers(&prompt->task, record->answer, sizeof record->answer);
    (void)snprintf(
            record->answer_prefix, sizeof record->answer_prefix, "%s", prompt->answer_prefix);
    r->n_done++;
    report(r, record);
    const rt_status status = glm_needle_results_add(r->grid->results, record);
    free(record->response);
    r->n_own++;
    return status == RT_OK ? glm_needle_share_save(&r->share) : status;
}

/* The prompt as the model is given it, special tokens spelled out: DIR/prompts/16000_50_0.txt, or without a
 * depth 16000_0.txt. */
static rt_status save_prompt(const run *r, const job *one, const glm_needle_prompt *prompt) {
    char name[96];
    char depth[24] = "";
    char *dir = NULL;
    char *path = NULL;
    char *text = NULL;
    int64_t n_bytes = 0;
    if (!r->grid->cli->save_prompts) return RT_OK;
    if (!r->grid->source->settings->is_spread)
        (void)snprintf(depth, sizeof depth, "%g_", one->cell.depth);
    (void)snprintf(name, sizeof name, "%" PRId64 "_%s%" PRId64 ".txt", one->cell.length, depth,
            one->cell.round);
    RT_TRY(rt_path_join(r->grid->out_dir, "prompts", &dir));
    rt_status status = rt_mkdirs(dir);
    if (status == RT_OK) status = rt_path_join(dir, name, &path);
    if (status == RT_OK)
        status = glm_tokenizer_decode(
                r->grid->tokenizer, prompt->ids.ids, prompt->ids.n, true, &text, &n_bytes);
    if (status == RT_OK) status = rt_file_replace(path, text, n_bytes);
    free(dir);
    free(path);
    free(text);
    return status;
}

static rt_status hash_ids(const glm_ids *ids, char hex[GLM_SHA256_HEX]) {
    uint8_t digest[GLM_SHA256_BYTES];
    RT_TRY(glm_sha256_of(ids->ids, ids->n * (int64_t)sizeof *ids->ids, digest));
    (void)glm_sha256_hex(digest, hex);
    return RT_OK;
}

static rt_status run_prompt(run *r, const job *one, const glm_needle_prompt *prompt) {
    int64_t reused = 0;
    RT_TRY(save_prompt(r, one, prompt));
    const double start = rt_now();
    RT_TRY(reuse_prefix(r, &prompt->ids, &reused));
    glm_needle_record record = {.cell = one->cell,
            .seed = r->grid->source->settings->seed,
            .prompt_tokens = prompt->ids.n,
            .needle_token = prompt->needle_token,
            .reused_tokens = reused};
    RT_TRY(hash_ids(&prompt->ids, record.prompt_sha256));
    (void)snprintf(record.program, sizeof record.program, "%s", r->grid->program);
    const double saved = work_of(r->grid->engine, reused);
    r->work_total -= saved;
    r->tokens_total -= reused;
    RT_TRY(prefill(r, &prompt->ids, reused));
    record.prefill_s = rt_now() - start;
    glm_ids ids = {0};
    rt_status status = answer(r, prompt->task.max_new, &ids);
    record.decode_s = rt_now() - start - record.prefill_s;
    record.n_generated = ids.n;
    if (status == RT_OK) status = keep(r, prompt, &ids, &record);
    glm_ids_free(&ids);
    r->work_done += one->work - saved;
    r->tokens_done += one->cell.length - reused;
    return status;
}

/* Another run has done it since this one began. */
static void leave_out(run *r, const job *one) {
    r->n_done++;
    r->work_total -= one->work;
    r->tokens_total -= one->cell.length;
}

static rt_status run_ours(run *r, const job *one) {
    glm_needle_prompt prompt;
    RT_TRY(glm_needle_prompt_make(r->grid->source, &one->cell, &prompt));
    const rt_status status = run_prompt(r, one, &prompt);
    glm_needle_prompt_free(&prompt);
    return status;
}

static rt_status run_job(run *r, job *one) {
    glm_needle_turn turn;
    RT_TRY(glm_needle_share_take(&r->share, &one->cell, &turn));
    rt_status status = RT_OK;
    if (turn == GLM_NEEDLE_DONE) leave_out(r, one);
    if (turn == GLM_NEEDLE_OURS) {
        status = run_ours(r, one);
        glm_needle_share_give_back(&r->share, &one->cell);
    }
    one->is_done = turn != GLM_NEEDLE_ANOTHERS;
    notice_company(r);
    return status;
}

/* Longer each time: many who wait are to ask one server. */
static rt_status wait_for_others(run *r, int64_t n_left) {
    if (r->n_waits == 0 && !r->grid->cli->quiet) {
        glm_progress_end(&r->bar);
        (void)fprintf(stderr,
                "waiting for %" PRId64
                " cell%s that other runs have begun; what they leave is done here\n",
                n_left, n_left == 1 ? "" : "s");
    }
    r->n_waits = rt_min64(r->n_waits + 1, WAITS_MAX);
    for (int64_t i = 0; i < r->n_waits; i++) {
        (void)nanosleep(&(struct timespec){.tv_nsec = WAIT_MS * 1000000}, NULL);
        RT_TRY(glm_cli_check_interrupted());
    }
    return RT_OK;
}

/* Those first that nobody is at; *n_left: how many others are at. */
static rt_status run_free(run *r, int64_t *n_left) {
    *n_left = 0;
    for (int64_t i = 0; i < r->n_jobs; i++) {
        if (!r->jobs[i].is_done) RT_TRY(run_job(r, &r->jobs[i]));
        *n_left += !r->jobs[i].is_done;
    }
    return RT_OK;
}

static rt_status run_all(run *r) {
    int64_t n_left = 0;
    RT_TRY(run_free(r, &n_left));
    while (n_left > 0) {
        const int64_t n_before = n_left;
        RT_TRY(run_free(r, &n_left));
        if (n_left == n_before) RT_TRY(wait_for_others(r, n_left));
    }
    return RT_OK;
}

static rt_status run_jobs(run *r) {
    RT_TRY(list_jobs(r));
    RT_TRY(try_to_save(r));
    RT_TRY(try_prompt(r, 0));
    RT_TRY(try_prompt(r, r->n_jobs - 1));
    RT_TRY(glm_session_create(
            r->grid->engine, glm_engine_plan(r->grid->engine)->max_len, &r->session));
    glm_progress_begin(&r->bar, r->grid->cli, "needle", "tokens");
    const rt_status status = run_all(r);
    glm_progress_end(&r->bar);
    glm_session_free(r->session);
    return status;
}

/* A stop stays one, whatever else fails. */
static rt_status end_sharing(run *r, rt_status status) {
    if (status != RT_OK && status != RT_EINTERRUPTED) return status;
    const rt_status shared = glm_needle_share_end(&r->share);
    return status == RT_OK ? shared : glm_cli_check_interrupted();
}

rt_status glm_needle_run(const glm_needle_grid *grid) {
    run r = {.grid = grid, .n_own = grid->results->n};
    glm_needle_share_open(grid->results, grid->out_dir, &r.share);
    rt_status status = run_jobs(&r);
    free(r.jobs);
    glm_ids_free(&r.last_ids);
    status = end_sharing(&r, status);
    glm_needle_share_close(&r.share);
    return status;
}
