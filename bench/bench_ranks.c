/* Where the time of several ranks on one machine goes: computing, moving bytes, waiting for each other.
 *
 *   bench_ranks [--dir DIR] [--tokens N] [--decode N] and what help_measure.h lists
 *
 * A random model (hidden 1024, 8 layers, 8 query heads over 4, ffn 4096, 4096 ids, 118 million weights,
 * bf16), written into DIR (default: one under /dev/shm, removed). 1, 2 and 4 ranks, a thread each but
 * for one rank, which has all: N tokens (512) are prefilled, N (32) decoded, best of the repeats. By rank
 * 0's clock: moving is copies and sums of collectives, waiting is for other ranks to come, in sums and
 * where ranks meet before them; the rest is computing. Figures are GFLOP/s of all ranks together and the
 * share of the FMA peak (prefill), and GB/s of all weights and the share of the DRAM rate (decode). */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "help_peak.h"
#include "runtime/base/log.h"
#include "runtime/costs.h"
#include "runtime/engine.h"
#include "runtime/random_model.h"

static const char config[] =
        "{\"model_type\": \"glm\", \"hidden_size\": 1024, \"num_hidden_layers\": 8, "
        "\"num_attention_heads\": 8, \"num_key_value_heads\": 4, \"head_dim\": 128, "
        "\"intermediate_size\": 4096, \"vocab_size\": 4096, \"max_position_embeddings\": 65536, "
        "\"rope_theta\": 5000000, \"partial_rotary_factor\": 0.5, \"rms_norm_eps\": 1.5625e-07, "
        "\"attention_bias\": true, \"tie_word_embeddings\": false, \"torch_dtype\": \"bfloat16\", "
        "\"hidden_act\": \"silu\", \"eos_token_id\": [256], \"pad_token_id\": 256}";

/* Seconds of one phase. */
typedef struct split {
    double all_s;
    double move_s;
    double wait_s;
    int64_t n_bytes; /* of rank 0's operands */
} split;

typedef struct request {
    char dir[512];
    bool is_own_dir;
    int64_t n_tokens;
    int64_t n_decoded;
} request;

static void make_model(request *r) {
    char path[600];
    if (r->is_own_dir && !mkdtemp(r->dir))
        bench_must(rt_fail_errno(RT_EIO, "cannot make a directory"));
    (void)snprintf(path, sizeof path, "%s/config", r->dir);
    FILE *file = fopen(path, "w");
    if (!file) bench_must(rt_fail_errno(RT_EIO, "cannot write %s", path));
    (void)fputs(config, file);
    (void)fclose(file);
    (void)snprintf(path + strlen(r->dir), sizeof path - strlen(r->dir), "/model");
    char config_path[600];
    (void)snprintf(config_path, sizeof config_path, "%s/config", r->dir);
    bench_must(glm_random_model_write(path, config_path, 1));
}

static void drop_model(const request *r) {
    char command[700];
    if (!r->is_own_dir) return;
    (void)snprintf(command, sizeof command, "rm -r '%s'", r->dir);
    if (system(command) != 0) (void)fprintf(stderr, "%s stays\n", r->dir);
}

static split since(const par_comm *comm, const par_stats *before, double started) {
    return (split){.all_s = rt_now() - started,
            .move_s = comm->stats.move_s - before->move_s,
            .wait_s = comm->stats.wait_s - before->wait_s,
            .n_bytes = comm->stats.n_bytes - before->n_bytes};
}

static void keep_best(split *best, const split *one) {
    if (best->all_s == 0.0 || one->all_s < best->all_s) *best = *one;
}

/* One prefill and its decodes. */
static void run_once(glm_engine *engine, const request *r, split *prefill, split *decode) {
    glm_session *session = NULL;
    int32_t *ids = bench_memory(r->n_tokens * (int64_t)sizeof *ids);
    for (int64_t i = 0; i < r->n_tokens; i++) ids[i] = (int32_t)(i * 7919 % 4000);
    bench_must(glm_session_create(engine, r->n_tokens + r->n_decoded, &session));
    par_stats before = engine->comm->stats;
    double started = rt_now();
    bench_must(glm_prefill(session, ids, r->n_tokens));
    split one = since(engine->comm, &before, started);
    keep_best(prefill, &one);
    before = engine->comm->stats;
    started = rt_now();
    for (int64_t i = 0; i < r->n_decoded; i++) bench_must(glm_decode(&session, ids, 1));
    one = since(engine->comm, &before, started);
    keep_best(decode, &one);
    glm_session_free(session);
    rt_mem_free(ids, r->n_tokens * (int64_t)sizeof *ids);
}

static void print_split(const char *what, int n_ranks, int n_threads, const split *s, double rate,
        const char *unit, double peak) {
    const double compute_s = s->all_s - s->move_s - s->wait_s;
    (void)printf(
            "%-8s ranks=%d threads=%d each  %8.1f ms: computing %5.1f %%, moving %5.1f %% (%.1f "
            "MB), waiting %5.1f %%;  %7.2f %s, %5.1f %% of %.1f\n",
            what, n_ranks, n_threads, s->all_s * 1e3, 100.0 * compute_s / s->all_s,
            100.0 * s->move_s / s->all_s, (double)s->n_bytes * 1e-6, 100.0 * s->wait_s / s->all_s,
            rate, unit, 100.0 * rate / peak, peak);
    (void)fflush(stdout);
}

static void measure(
        const bench_options *options, const request *r, int n_ranks, const bench_peaks *peaks) {
    char model[600];
    split prefill = {0};
    split decode = {0};
    glm_engine *engine = NULL;
    (void)snprintf(model, sizeof model, "%s/model", r->dir);
    const glm_options open = {.device = "cpu",
            .model_dir = model,
            .tensor_parallel = n_ranks,
            .max_len = r->n_tokens + r->n_decoded,
            .chunk = 256};
    bench_must(glm_engine_open(&open, &engine));
    for (int i = 0; i <= options->n_repeats; i++) run_once(engine, r, &prefill, &decode);
    const glm_config *c = glm_engine_config(engine);
    const double flop = glm_prefill_flop(c, 0, r->n_tokens);
    const double bytes = 2.0 * (double)(glm_config_parameters(c) - c->vocab * c->hidden);
    const int n_threads = engine->plan.threads;
    print_split("prefill", n_ranks, n_threads, &prefill, flop / prefill.all_s * 1e-9, "GFLOP/s",
            peaks->gflops);
    print_split("decode", n_ranks, n_threads, &decode,
            bytes * (double)r->n_decoded / decode.all_s * 1e-9, "GB/s", peaks->read_gbps);
    glm_engine_close(engine);
}

/* Take our options out of argv; the others are help_measure's. */
static int parse(int argc, char **argv, request *r) {
    int n = 1;
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--dir") == 0) {
            (void)snprintf(r->dir, sizeof r->dir, "%s", value);
            r->is_own_dir = false;
        } else if (strcmp(argv[i], "--tokens") == 0) {
            r->n_tokens = strtoll(value, NULL, 10);
        } else if (strcmp(argv[i], "--decode") == 0) {
            r->n_decoded = strtoll(value, NULL, 10);
        } else {
            argv[n++] = argv[i];
            continue;
        }
        i++;
    }
    argv[n] = NULL;
    return n;
}

int main(int argc, char **argv) {
    int exit_code = 0;
    if (glm_rank_is_asked(argc, argv, &exit_code)) return exit_code;
    request r = {.dir = "/dev/shm/bench-ranks-XXXXXX",
            .is_own_dir = true,
            .n_tokens = 512,
            .n_decoded = 32};
    argc = parse(argc, argv, &r);
    const bench_options options = bench_parse(argc, argv);
    if (r.n_tokens < 1 || r.n_decoded < 1 || r.n_tokens > 65000) {
        (void)fprintf(stderr, "bench_ranks: --tokens 1 to 65000, --decode 1 and more\n");
        return 2;
    }
    rt_pool *pool = bench_pool(rt_machine_cores());
    const bench_peaks peaks = bench_peaks_of(&options, pool);
    rt_pool_free(pool);
    make_model(&r);
    for (int n_ranks = 1; n_ranks <= 4; n_ranks *= 2) measure(&options, &r, n_ranks, &peaks);
    drop_model(&r);
    return bench_end(&options);
}
