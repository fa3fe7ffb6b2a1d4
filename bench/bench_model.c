/* End to end on a CPU: prefill and decode of a random model at a depth, as shares of the peaks.
 *
 *   bench_model [--model M|L] [--depths 0,32K] [--tokens N] [--passes N] [--dir DIR] [--busy] [--drafts]
 *               and what help_measure.h lists
 *
 * Model M: hidden 1024, 12 layers, 8 query heads over 2, ffn 3424, 4096 ids, 166 million weights. L: the
 * layer of GLM-4-9B-Chat-1M (hidden 4096, 32 heads over 4, ffn 13696), 4 layers, 4096 ids. bf16, written
 * into DIR (default ".") unless it is there, and left there.
 *
 * Method: a session is given `depth` tokens of made-up keys and values, then prefills N tokens (512) and
 * decodes a few, again and again. A row's figure is tokens/s; its peak is what the machine's FMA peak or
 * DRAM rate would allow for the FLOP that are done (the peak of AMX, for attention by its tiles), or the bytes that must be
 * read, for one token:
 *
 *   prefill  2 a weight and token, 4 a query head, dim and visible key; in the last layer only keys and
 *            values, but for the last token
 *   decode   every matrix, and every key and value, as they are stored
 *
 * --drafts: decode also with drafts (speculate.c), where all are right and where all are wrong, and by passes of 2, 4, 8, 16
 * tokens, beside decode without. Where all of a pass are right its rate is that of the answer. And what drafts would do for
 * 2, 4 and 8 answers at once about one text: passes of 2, 4 and 8 tokens of each, at most 32, beside a step of all without.
 * Such a pass is glm_prefill_together, which makes the logits of each one's last token only: 2 % of the weights for the others.
 *
 * --busy: decode also beside another program that keeps one core busy; its peak is then the quiet rate. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "help_roof.h"
#include "help_runs.h"
#include "runtime/base/memory.h"
#include "runtime/costs.h"
#include "runtime/engine.h"
#include "runtime/random_model.h"

enum {
    IDS = 4096,
    DEPTHS_MAX = 8,
    ANSWERS_MAX = 8,
    ROWS_MAX = 32,
    FILL_ROWS = 1024,
    NAME_BYTES = 96
};

static const char usage[] = "bench_model [--model M|L] [--depths 0,32K] [--tokens N] [--passes N] "
                            "[--dir DIR] [--busy] [--drafts] and "
                            "options of help_measure.h";

static const char config_m[] =
        "\"hidden_size\": 1024, \"ffn_hidden_size\": 3424, \"num_layers\": 12, "
        "\"num_hidden_layers\": 12, \"num_attention_heads\": 8, "
        "\"multi_query_group_num\": 2";
static const char config_l[] =
        "\"hidden_size\": 4096, \"ffn_hidden_size\": 13696, \"num_layers\": 4, "
        "\"num_hidden_layers\": 4, \"num_attention_heads\": 32, "
        "\"multi_query_group_num\": 4";
static const char config_rest[] =
        "{\"model_type\": \"chatglm\", \"architectures\": [\"ChatGLMModel\"], "
        "\"add_bias_linear\": false, \"add_qkv_bias\": true, \"multi_query_attention\": true, "
        "\"apply_residual_connection_post_layernorm\": false, \"kv_channels\": 128, "
        "\"layernorm_epsilon\": 1.5625e-07, \"rope_ratio\": 10000, \"original_rope\": true, "
        "\"padded_vocab_size\": 4096, \"post_layer_norm\": true, \"rmsnorm\": true, "
        "\"fp32_residual_connection\": false, \"seq_length\": 1048576, \"torch_dtype\": "
        "\"bfloat16\", \"tie_word_embeddings\": false, "
        "\"eos_token_id\": [256], \"pad_token_id\": 256, %s}\n";

typedef struct request {
    const char *parent; /* --dir */
    const char *model;
    int64_t depths[DEPTHS_MAX];
    int n_depths;
    int64_t n_tokens; /* of one prefill */
    int64_t n_passes; /* tokens decoded in one run */
    bool is_busy;
    bool has_drafts;
    char dir[512];
} request;

/* ---- the model ------------------------------------------------------------------------------- */

static void write_model(const request *r) {
    char path[640];
    (void)snprintf(path, sizeof path, "%s.config.json", r->dir);
    FILE *file = fopen(path, "w");
    if (!file) bench_must(rt_fail_errno(RT_EIO, "cannot write %s", path));
    (void)fprintf(file, config_rest, strcmp(r->model, "M") == 0 ? config_m : config_l);
    (void)fclose(file);
    const rt_status status = glm_random_model_write(r->dir, path, 1);
    (void)unlink(path);
    bench_must(status);
}

static void find_model(request *r) {
    char path[640];
    struct stat found;
    (void)snprintf(r->dir, sizeof r->dir, "%s/glm1m-bench-%s", r->parent, r->model);
    (void)snprintf(path, sizeof path, "%s/config.json", r->dir);
    if (stat(path, &found) != 0) write_model(r);
}

/* ---- what a token costs ---------------------------------------------------------------------- */

static double kv_width(const glm_config *c) {
    return 2.0 * (double)c->n_kv_heads * (double)c->head_dim;
}

/* FLOP of n tokens at `depth` with the logits of the last one. */
static double prefill_flop(const glm_config *c, int64_t depth, int64_t n) {
    return glm_prefill_flop(c, depth, n) + glm_head_flop(c, 1);
}

/* Two FLOP a weight: as many bytes of bf16. */
static double decode_bytes(const glm_config *c, int64_t depth) {
    const double weights =
            c->n_layers * (glm_layer_flop(c, depth, 1) - glm_layer_attention_flop(c, depth, 1));
    return weights + glm_head_flop(c, 1) + c->n_layers * 2.0 * kv_width(c) * (double)depth;
}

static double decode_flop(const glm_config *c, int64_t depth) {
    return c->n_layers * glm_layer_flop(c, depth, 1) + glm_head_flop(c, 1);
}

/* ---- a session at a depth -------------------------------------------------------------------- */

typedef struct job {
    const request *r;
    glm_engine *engine;
    glm_session *session;
    int32_t *ids;
    int64_t depth;
    int64_t n_together; /* tokens of a pass, */
    int32_t n_answers;  /* of each of so many: */
    glm_session *answers[ANSWERS_MAX];
} job;

/* Append rows to the new positions of one layer, a few pages at a time. */
static void fill_layer(job *j, int32_t layer, int64_t depth, float *rows, int64_t stride) {
    glm_engine *engine = j->engine;
    kv_walk *walk = NULL;
    kv_window window;
    bench_must(
            kv_walk_begin(engine->store, layer, &j->session->seq, &depth, 1, KV_WALK_ALL, &walk));
    for (;;) {
        bench_must(glm_window_enter(engine, walk, &window));
        if (window.n_parts == 0) break;
        const kv_window_part *part = &window.parts[0];
        for (int64_t done = 0; done < part->n_tokens; done += FILL_ROWS)
            attn_append_kv(engine->ops.attention, rows, stride,
                    rt_min64(FILL_ROWS, part->n_tokens - done), part->first_pos + done,
                    part->pages + done / ATTN_PAGE_TOKENS);
        bench_must(glm_window_leave(engine, walk));
    }
    kv_walk_end(walk);
}

static void make_rows(float *rows, int64_t n) {
    uint32_t state = 1;
    for (int64_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        rows[i] = (float)(state >> 8) * 0x1p-23f - 1.0f;
    }
}

static void fill(job *j) {
    if (j->depth == 0) return;
    const int64_t width = (int64_t)kv_width(&j->engine->config);
    const int64_t bytes = FILL_ROWS * width * 4;
    float *rows = bench_memory(bytes);
    bench_must(kv_span_begin(j->session->seq, j->ids, j->depth));
    for (int32_t layer = 0; layer < j->engine->config.n_layers; layer++) {
        make_rows(rows, FILL_ROWS * width);
        fill_layer(j, layer, j->depth, rows, width);
    }
    kv_span_commit(j->session->seq);
    rt_mem_free(rows, bytes);
}

static void prefill(void *context) {
    const job *j = context;
    glm_session_truncate(j->session, j->depth);
    bench_must(glm_prefill(j->session, j->ids, j->r->n_tokens));
}

static void decode(void *context) {
    const job *j = context;
    glm_session_truncate(j->session, j->depth);
    for (int64_t i = 0; i < j->r->n_passes; i++)
        bench_must(glm_decode((glm_session *const[]){j->session}, &j->ids[i], 1));
}

/* The text goes on as it began: as soon as that is seen, every draft is right. */
static void decode_right(void *context) {
    const job *j = context;
    glm_session_truncate(j->session, j->depth);
    for (int64_t i = 0; i < j->r->n_passes; i++)
        bench_must(glm_decode_ahead(j->session, j->ids[i]));
}

/* Three tokens as before, and one that is not: what is drafted is wrong. */
static void decode_wrong(void *context) {
    const job *j = context;
    glm_session_truncate(j->session, j->depth);
    for (int64_t i = 0; i < j->r->n_passes; i++)
        bench_must(glm_decode_ahead(j->session, i % 4 < 3 ? j->ids[i] : (j->ids[i] + 1) % IDS));
}

static void pass_of_several(void *context) {
    const job *j = context;
    glm_session_truncate(j->session, j->depth);
    bench_must(glm_prefill_rows(j->session, j->ids, j->n_together));
}

static void cut_answers(const job *j) {
    for (int32_t i = 0; i < j->n_answers; i++) glm_session_truncate(j->answers[i], j->depth);
}

static void step_of_answers(void *context) {
    const job *j = context;
    cut_answers(j);
    bench_must(glm_decode(j->answers, j->ids, j->n_answers));
}

static void pass_of_answers(void *context) {
    const job *j = context;
    const int32_t *ids[ANSWERS_MAX];
    int64_t n_ids[ANSWERS_MAX];
    for (int32_t i = 0; i < j->n_answers; i++) {
        ids[i] = j->ids + i;
        n_ids[i] = j->n_together;
    }
    cut_answers(j);
    bench_must(glm_prefill_together(j->answers, ids, n_ids, j->n_answers));
}

/* ---- reporting ------------------------------------------------------------------------------- */

static void name_figure(const job *j, const char *what, char name[NAME_BYTES]) {
    char depth[RT_SIZE_TEXT];
    (void)snprintf(name, NAME_BYTES, "%s %s at depth %s", j->r->model, what,
            rt_format_tokens(j->depth, depth));
}

static void claim(
        bench_roofs *roofs, const job *j, const char *what, bench_rate rate, bench_cost cost) {
    char name[NAME_BYTES];
    name_figure(j, what, name);
    const bench_figure figure = {.what = name,
            .n_threads = rt_pool_threads(j->engine->pool),
            .rate = rate,
            .unit = "tokens/s"};
    bench_claim(roofs, &figure, cost);
}

/* One row, `what`, of which a run is n tokens; and how many times as fast that is as decode without drafts. */
static void beside_plain(const bench_options *options, job *j, const char *what, int64_t n,
        void (*work)(void *), bench_rate plain) {
    const int n_threads = rt_pool_threads(j->engine->pool);
    char name[NAME_BYTES];
    name_figure(j, what, name);
    const bench_figure figure = {.what = name,
            .n_threads = n_threads,
            .rate = bench_measure(options, n_threads, (double)n, work, j),
            .unit = "tokens/s"};
    bench_report(options, &figure);
    printf("# %.2f times the rate of decode without drafts (best), %.2f (median)\n",
            figure.rate.best / plain.best, figure.rate.median / plain.median);
}

static void measure_answers(const bench_options *options, job *j) {
    const int n_threads = rt_pool_threads(j->engine->pool);
    char name[NAME_BYTES];
    char what[64];
    (void)snprintf(what, sizeof what, "decode, %d answers", (int)j->n_answers);
    name_figure(j, what, name);
    const bench_figure figure = {.what = name,
            .n_threads = n_threads,
            .rate = bench_measure(options, n_threads, j->n_answers, step_of_answers, j),
            .unit = "tokens/s"};
    bench_report(options, &figure);
    for (j->n_together = 2; j->n_together <= 8 && j->n_answers * j->n_together <= ROWS_MAX;
            j->n_together *= 2) {
        (void)snprintf(what, sizeof what, "%d answers, %d tokens of each", (int)j->n_answers,
                (int)j->n_together);
        beside_plain(options, j, what, (int64_t)j->n_answers * j->n_together, pass_of_answers,
                figure.rate);
    }
}

/* All of one text. */
static void measure_several(const bench_options *options, job *j) {
    glm_session_truncate(j->session, j->depth);
    for (int32_t i = 0; i < ANSWERS_MAX; i++)
        bench_must(glm_session_fork(j->session, j->depth, j->depth + ROWS_MAX, &j->answers[i]));
    for (j->n_answers = 2; j->n_answers <= ANSWERS_MAX; j->n_answers *= 2)
        measure_answers(options, j);
    for (int32_t i = 0; i < ANSWERS_MAX; i++) glm_session_free(j->answers[i]);
}

static void measure_drafts(const bench_options *options, job *j, bench_rate plain) {
    beside_plain(options, j, "decode, all drafts right", j->r->n_passes, decode_right, plain);
    beside_plain(options, j, "decode, all drafts wrong", j->r->n_passes, decode_wrong, plain);
    for (j->n_together = 2; j->n_together <= 1 + GLM_DRAFT_MAX; j->n_together *= 2) {
        char what[64];
        (void)snprintf(what, sizeof what, "passes of %d tokens", (int)j->n_together);
        beside_plain(options, j, what, j->n_together, pass_of_several, plain);
    }
    measure_several(options, j);
}

static pid_t start_busy_program(void) {
    const pid_t child = fork();
    if (child < 0) bench_must(rt_fail_errno(RT_EIO, "fork"));
    for (volatile uint64_t spins = 0; child == 0;) spins = spins + 1;
    return child;
}

static void beside_a_busy_program(
        const bench_options *options, job *j, int n_threads, bench_rate quiet) {
    const pid_t busy = start_busy_program();
    const bench_rate rate = bench_measure(options, n_threads, (double)j->r->n_passes, decode, j);
    (void)kill(busy, SIGKILL);
    (void)waitpid(busy, NULL, 0);
    char name[NAME_BYTES];
    name_figure(j, "decode beside a busy core; of quiet", name);
    const bench_figure figure = {.what = name,
            .n_threads = n_threads,
            .rate = rate,
            .unit = "tokens/s",
            .peak = quiet.best};
    bench_report(options, &figure);
}

/* Of GFLOP that are attention's in part, each of which may be by tiles. */
static bench_cost cost_of(
        const bench_options *options, const glm_engine *engine, double gflop, double attention) {
    const attn_shape shape = glm_attn_shape(&engine->part, engine->plan.kv_dtype);
    bench_cost cost = bench_cost_of_attention(options, &shape, attention);
    if (glm_ops_has_tiles(options->isa))
        cost.tile_gflop += gflop - attention;
    else
        cost.gflop += gflop - attention;
    return cost;
}

/* Prefill and decode each between two measurements of the peaks; beside a busy program behind them. */
static void measure(const bench_options *options, job *j, bench_roofs *roofs) {
    const glm_config *c = &j->engine->config;
    rt_pool *pool = j->engine->pool;
    const int n_threads = rt_pool_threads(pool);
    const double n = (double)j->r->n_tokens;
    const double gflop = 1e-9 * prefill_flop(c, j->depth, j->r->n_tokens) / n;
    const double attention_gflop =
            1e-9 * glm_prefill_attention_flop(c, j->depth, j->r->n_tokens) / n;
    claim(roofs, j, "prefill", bench_measure(options, n_threads, n, prefill, j),
            cost_of(options, j->engine, gflop, attention_gflop));
    bench_roofs_again(options, pool, roofs);
    const double n_passes = (double)j->r->n_passes;
    const bench_rate quiet = bench_measure(options, n_threads, n_passes, decode, j);
    bench_cost cost = cost_of(options, j->engine, 1e-9 * decode_flop(c, j->depth),
            1e-9 * c->n_layers * glm_layer_attention_flop(c, j->depth, 1));
    cost.gb = 1e-9 * decode_bytes(c, j->depth);
    claim(roofs, j, "decode", quiet, cost);
    bench_roofs_again(options, pool, roofs);
    if (j->r->has_drafts) measure_drafts(options, j, quiet);
    if (j->r->is_busy) beside_a_busy_program(options, j, n_threads, quiet);
}

/* ---- loading --------------------------------------------------------------------------------- */

typedef struct load_job {
    const glm_checkpoint *checkpoint;
    par_shard shard;
    glm_ops ops;
} load_job;

static void load(void *context) {
    const load_job *j = context;
    glm_weights weights;
    bench_must(glm_weights_load(
            j->checkpoint, glm_checkpoint_config(j->checkpoint), &j->shard, &j->ops, &weights));
    glm_weights_free(&weights);
}

/* From the page cache, into memory that was just given back: where a hypervisor has taken idle memory,
 * touching it again is what takes longest, and not ours. */
static void measure_load(const bench_options *options, const request *r, rt_pool *pool) {
    glm_checkpoint *checkpoint = NULL;
    bench_must(glm_checkpoint_open(r->dir, &checkpoint));
    const glm_config *c = glm_checkpoint_config(checkpoint);
    const attn_shape shape = glm_attn_shape(c, RT_BF16);
    const par_widths widths = {
            .n_heads = c->n_heads, .n_kv_heads = c->n_kv_heads, .ffn = c->ffn, .vocab = c->vocab};
    load_job j = {.checkpoint = checkpoint};
    bench_must(par_shard_make(&widths, 0, 1, &j.shard));
    bench_must(glm_ops_cpu_create(&shape, options->isa, pool, &j.ops));
    char name[64];
    (void)snprintf(name, sizeof name, "%s weights loaded from the page cache", r->model);
    const int n_threads = rt_pool_threads(pool);
    const double gb = 1e-9 * (double)glm_weights_bytes(checkpoint, c, GLM_LINEAR_OWN);
    const bench_figure figure = {.what = name,
            .n_threads = n_threads,
            .rate = bench_measure(options, n_threads, gb, load, &j),
            .unit = "GB/s"};
    bench_report(options, &figure);
    glm_ops_free(&j.ops);
    glm_checkpoint_close(checkpoint);
}

/* ---- all of it ------------------------------------------------------------------------------- */

static void run(const bench_options *options, const request *r, int n_threads) {
    rt_pool *pool = bench_pool(n_threads);
    measure_load(options, r, pool);
    bench_roofs roofs = bench_roofs_begin(options, pool);
    rt_pool_free(pool);
    for (int i = 0; i < r->n_depths; i++) {
        job j = {.r = r, .depth = r->depths[i]};
        const int64_t max_len = j.depth + rt_max64(r->n_tokens, r->n_passes);
        const glm_options engine_options = {.device = "cpu",
                .model_dir = r->dir,
                .max_len = max_len,
                .threads = n_threads,
                .max_seqs = ANSWERS_MAX,
                .extra_kv_tokens = (int64_t)ANSWERS_MAX * 2 * ATTN_PAGE_TOKENS,
                .n_speculative = GLM_DRAFT_MAX};
        j.ids = bench_memory(max_len * (int64_t)sizeof *j.ids);
        for (int64_t t = 0; t < max_len; t++) j.ids[t] = (int32_t)(t * 7919 % IDS);
        bench_must(glm_engine_open(&engine_options, &j.engine));
        bench_must(glm_session_create(j.engine, max_len, &j.session));
        fill(&j);
        measure(options, &j, &roofs);
        glm_session_free(j.session);
        glm_engine_close(j.engine);
        rt_mem_free(j.ids, max_len * (int64_t)sizeof *j.ids);
    }
    bench_roofs_end(&roofs);
}

/* ---- options --------------------------------------------------------------------------------- */

static void parse_depths(const char *text, request *r) {
    r->n_depths = 0;
    for (char *end = NULL; *text; text = *end ? end + 1 : end) {
        int64_t depth = strtoll(text, &end, 10);
        if (end == text || depth < 0 || r->n_depths == DEPTHS_MAX)
            bench_must(rt_fail(RT_EUSAGE, "usage: %s", usage));
        if (*end == 'K') depth *= 1024, end++;
        r->depths[r->n_depths++] = depth / ATTN_PAGE_TOKENS * ATTN_PAGE_TOKENS;
    }
}

/* Takes its own options out of argv; returns how many are left. */
static int parse(int argc, char **argv, request *r) {
    int n = 1;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--model") == 0)
            r->model = runs_value(argc, argv, &i, usage);
        else if (strcmp(argv[i], "--dir") == 0)
            r->parent = runs_value(argc, argv, &i, usage);
        else if (strcmp(argv[i], "--depths") == 0)
            parse_depths(runs_value(argc, argv, &i, usage), r);
        else if (strcmp(argv[i], "--tokens") == 0)
            r->n_tokens = runs_count(argc, argv, &i, usage);
        else if (strcmp(argv[i], "--passes") == 0)
            r->n_passes = runs_count(argc, argv, &i, usage);
        else if (strcmp(argv[i], "--busy") == 0)
            r->is_busy = true;
        else if (strcmp(argv[i], "--drafts") == 0)
            r->has_drafts = true;
        else
            argv[n++] = argv[i];
    }
    if (strcmp(r->model, "M") != 0 && strcmp(r->model, "L") != 0)
        bench_must(rt_fail(RT_EUSAGE, "usage: %s", usage));
    return n;
}

int main(int argc, char **argv) {
    request r = {.parent = ".",
            .model = "M",
            .depths = {0, 32768},
            .n_depths = 2,
            .n_tokens = 512,
            .n_passes = 16};
    const int n_left = parse(argc, argv, &r);
    const bench_options options = bench_parse(n_left, argv);
    find_model(&r);
    bench_begin(&options);
    int counts[2];
    const int n_counts = bench_thread_counts(&options, counts);
    for (int i = 0; i < n_counts; i++) run(&options, &r, counts[i]);
    return bench_end(&options);
}
