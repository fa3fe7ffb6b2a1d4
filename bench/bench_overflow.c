/* What a budget costs that does not hold the KV: prefill and decode as it shrinks.
 *
 *   bench_overflow [--tokens N] [--model needle|random] [--shares LIST] [--repeats N] [--threads N]
 *                  [--dir DIR] [--packing auto|dense|plain]
 *                  [--chunk N] [--quick]
 *
 * LIST: of what the KV is divided by, in memory, such as 2,4,8,16. DIR: where overflow goes, default "."
 *
 * Method: every run is an engine of its own in a process of its own: prefill of N tokens of made-up
 * prose, then passes of one token, for one sequence and for 32 forks of it. Runs without a budget and
 * with each share take turns, in one order and the other; logits must be the same bits in all of them.
 * Ratios are to the run without a budget: of the best, and the median of those within a turn. CPU is
 * user and system. The peak is of the process, as the plan's figure is.
 *
 * cpu_ms_per_gb: CPU beyond the run without a budget, for every 10^9 bytes of keys and values that
 * prefill moved to disk or back: codec, unpacking and packing of pages, I/O, and states of attention
 * that windows cost. KV of the needle or a random model; neither compresses as that of the 9B does. */
#include <inttypes.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "help_runs.h"
#include "runtime/base/log.h"
#include "runtime/base/size.h"
#include "runtime/engine.h"

enum { SHARES_MAX = 8, REPEATS_MAX = 16, FORKS = 32, PASSES = 6, ROOM = 16 };

static const char usage[] =
        "bench_overflow [--tokens N] [--model needle|random] [--shares 2,4,8,16] [--repeats N] "
        "[--threads N] [--dir DIR] [--packing auto|dense|plain] [--chunk N] [--quick]";

typedef struct request {
    const char *dir;
    const char *packing;
    const int32_t *ids;
    int64_t n_tokens;
    int64_t budget_bytes; /* 0: none */
    int64_t chunk;        /* 0: as planned */
    int32_t threads;
} request;

typedef struct decoding {
    double best_s;
    double median_s;
    double bytes_read; /* a pass */
} decoding;

typedef struct outcome {
    glm_plan plan;
    int64_t kv_bytes;
    double prefill_s;
    double prefill_cpu_s;
    kv_stats stats; /* after prefill */
    decoding one;
    decoding forks;
    int64_t peak_bytes;
    uint64_t hash;
} outcome;

/* ---- one run --------------------------------------------------------------------------------- */

/* The first pass, which may still write, is not counted. */
static decoding decode(
        glm_engine *engine, glm_session *const *sessions, int32_t n, uint64_t *hash) {
    decoding d = {.best_s = INFINITY};
    double seconds[PASSES];
    int32_t ids[FORKS];
    kv_stats before = {0};
    for (int pass = 0; pass <= PASSES; pass++) {
        for (int32_t i = 0; i < n; i++) ids[i] = 'a' + (i + pass) % 26;
        const double start = rt_now();
        bench_must(glm_decode(sessions, ids, n));
        if (pass > 0) seconds[pass - 1] = rt_now() - start;
        if (pass == 0) before = kv_store_stats(engine->store);
        for (int32_t i = 0; i < n; i++) runs_hash_logits(sessions[i], hash);
    }
    d.bytes_read = (double)(kv_store_stats(engine->store).bytes_read - before.bytes_read) / PASSES;
    d.median_s = runs_median(seconds, PASSES);
    d.best_s = seconds[0];
    return d;
}

static void decode_all(const request *r, glm_engine *engine, glm_session *context, outcome *o) {
    glm_session *forks[FORKS];
    for (int32_t i = 0; i < FORKS; i++)
        bench_must(glm_session_fork(context, r->n_tokens, r->n_tokens + ROOM, &forks[i]));
    o->one = decode(engine, forks, 1, &o->hash);
    glm_session_truncate(forks[0], r->n_tokens);
    o->forks = decode(engine, forks, FORKS, &o->hash);
    for (int32_t i = 0; i < FORKS; i++) glm_session_free(forks[i]);
}

static void run_once(const void *context, void *result) {
    const request *r = context;
    outcome *o = result;
    const glm_options options = {.device = "cpu",
            .model_dir = r->dir,
            .max_len = r->n_tokens,
            .max_seqs = FORKS,
            .extra_kv_tokens = FORKS * (int64_t)ATTN_PAGE_TOKENS,
            .host_kv_bytes = r->budget_bytes,
            .n_kv_disk_dirs = 1,
            .kv_disk_dirs = &r->dir,
            .kv_packing = r->packing,
            .chunk = r->chunk,
            .threads = r->threads};
    glm_engine *engine = NULL;
    glm_session *session = NULL;
    bench_must(glm_engine_open(&options, &engine));
    bench_must(glm_session_create(engine, r->n_tokens, &session));
    const double cpu_s = runs_cpu_seconds();
    const double start = rt_now();
    bench_must(glm_prefill(session, r->ids, r->n_tokens));
    o->prefill_s = rt_now() - start;
    o->prefill_cpu_s = runs_cpu_seconds() - cpu_s;
    o->stats = kv_store_stats(engine->store);
    o->plan = *glm_engine_plan(engine);
    o->kv_bytes = o->plan.kv_page_bytes * engine->config.n_layers *
                  rt_div_up(r->n_tokens, ATTN_PAGE_TOKENS);
    runs_hash_logits(session, &o->hash);
    decode_all(r, engine, session, o);
    o->peak_bytes = rt_machine_peak_rss();
    glm_session_free(session);
    glm_engine_close(engine);
}

/* ---- all runs -------------------------------------------------------------------------------- */

typedef struct bench {
    const char *model;
    int n_shares; /* the first is 1: without a budget */
    int64_t shares[SHARES_MAX];
    int n_repeats;
    outcome outcomes[SHARES_MAX][REPEATS_MAX];
} bench;

/* KV bytes of all tokens, from a short run that also warms up. */
static int64_t measure_kv_bytes(request r) {
    outcome o = {0};
    const int64_t n_pages = rt_div_up(r.n_tokens, ATTN_PAGE_TOKENS);
    r.n_tokens = rt_min64(r.n_tokens, 4096);
    r.budget_bytes = 0;
    runs_in_child(run_once, &r, &o, sizeof o);
    return o.kv_bytes / rt_div_up(r.n_tokens, ATTN_PAGE_TOKENS) * n_pages;
}

static void run_all(bench *b, request *r) {
    const int64_t kv_bytes = measure_kv_bytes(*r);
    for (int repeat = 0; repeat < b->n_repeats; repeat++)
        for (int i = 0; i < b->n_shares; i++) {
            const int share = repeat % 2 ? b->n_shares - 1 - i : i;
            outcome *o = &b->outcomes[share][repeat];
            r->budget_bytes = share == 0 ? 0 : kv_bytes / b->shares[share];
            runs_in_child(run_once, r, o, sizeof *o);
            (void)fprintf(stderr, "1/%" PRId64 ": prefill %.2f s, cpu %.2f s\n", b->shares[share],
                    o->prefill_s, o->prefill_cpu_s);
            if (o->hash != b->outcomes[0][0].hash)
                bench_must(
                        rt_fail(RT_ENUMERIC, "1/%" PRId64 " has other logits", b->shares[share]));
        }
}

/* Of a share's runs: the best, the median, and the median of ratios within a turn. */
typedef struct figure {
    double best;
    double median;
    double ratio_of_best;
    double median_ratio;
} figure;

static double number_at(const outcome *o, size_t offset) {
    double value;
    memcpy(&value, (const char *)o + offset, sizeof value);
    return value;
}

static figure figure_of(const bench *b, int share, size_t offset) {
    double values[REPEATS_MAX];
    double wholes[REPEATS_MAX];
    double ratios[REPEATS_MAX];
    for (int i = 0; i < b->n_repeats; i++) {
        values[i] = number_at(&b->outcomes[share][i], offset);
        wholes[i] = number_at(&b->outcomes[0][i], offset);
        ratios[i] = values[i] / wholes[i];
    }
    figure f = {.median = runs_median(values, b->n_repeats),
            .median_ratio = runs_median(ratios, b->n_repeats)};
    (void)runs_median(wholes, b->n_repeats);
    f.best = values[0];
    f.ratio_of_best = values[0] / wholes[0];
    return f;
}

static void report(const bench *b, const request *r, int share) {
    const outcome *o = &b->outcomes[share][0];
    const figure prefill = figure_of(b, share, offsetof(outcome, prefill_s));
    const figure cpu = figure_of(b, share, offsetof(outcome, prefill_cpu_s));
    const figure one = figure_of(b, share, offsetof(outcome, one.best_s));
    const figure forks = figure_of(b, share, offsetof(outcome, forks.best_s));
    const figure stall = figure_of(b, share, offsetof(outcome, stats.stall_s));
    const double extra_s = cpu.best - figure_of(b, 0, offsetof(outcome, prefill_cpu_s)).best;
    const double raw_gb = 1e-9 * (double)(o->stats.raw_bytes_read + o->stats.raw_bytes_written);
    const double mib = 1.0 / (double)RT_MIB;
    int64_t peak = 0;
    for (int i = 0; i < b->n_repeats; i++) peak = rt_max64(peak, b->outcomes[share][i].peak_bytes);
    (void)printf("%s,%" PRId64 ",1/%" PRId64 ",%.2f,%" PRId32 ",%" PRId32 ",%" PRId64 ",", b->model,
            r->n_tokens, b->shares[share], (double)o->plan.kv_host_bytes * mib,
            o->plan.kv_extent_tokens, o->plan.kv_window_extents, o->plan.chunk);
    (void)printf("%.2f,%.2f,%.3f,%.3f,%.2f,%.3f,%.3f,%.4f,", prefill.best, prefill.median,
            prefill.ratio_of_best, prefill.median_ratio, cpu.best, cpu.ratio_of_best, stall.median,
            stall.median / prefill.median);
    (void)printf("%.1f,%.1f,%.3f,%.0f,", (double)o->stats.bytes_written * 1e-6,
            (double)o->stats.bytes_read * 1e-6,
            o->stats.bytes_written
                    ? (double)o->stats.raw_bytes_written / (double)o->stats.bytes_written
                    : 0.0,
            raw_gb > 0.0 ? 1e3 * extra_s / raw_gb : 0.0);
    (void)printf("%.1f,%.3f,%.2f,%.1f,%.3f,%.2f,%.1f,%.1f\n", 1e3 * one.best, one.ratio_of_best,
            o->one.bytes_read * 1e-6, 1e3 * forks.best, forks.ratio_of_best,
            o->forks.bytes_read * 1e-6, (double)peak * mib, (double)o->plan.total_bytes * mib);
    (void)fflush(stdout);
}

/* ---- options --------------------------------------------------------------------------------- */

static void parse_shares(const char *text, bench *b) {
    b->n_shares = 1;
    for (char *end = NULL; *text; text = *end ? end + 1 : end) {
        const long share = strtol(text, &end, 10);
        if (end == text || share < 2 || b->n_shares == SHARES_MAX)
            bench_must(rt_fail(RT_EUSAGE, "usage: %s", usage));
        b->shares[b->n_shares++] = share;
    }
}

int main(int argc, char **argv) {
    static bench b = {.model = "needle", .n_shares = 5, .shares = {1, 2, 4, 8, 16}, .n_repeats = 5};
    request r = {.n_tokens = 16384};
    const char *dir = ".";
    char cpu[128];
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--tokens") == 0)
            r.n_tokens = runs_count(argc, argv, &i, usage);
        else if (strcmp(argv[i], "--model") == 0)
            b.model = runs_value(argc, argv, &i, usage);
        else if (strcmp(argv[i], "--shares") == 0)
            parse_shares(runs_value(argc, argv, &i, usage), &b);
        else if (strcmp(argv[i], "--repeats") == 0)
            b.n_repeats = (int)rt_min64(runs_count(argc, argv, &i, usage), REPEATS_MAX);
        else if (strcmp(argv[i], "--threads") == 0)
            r.threads = (int32_t)runs_count(argc, argv, &i, usage);
        else if (strcmp(argv[i], "--dir") == 0)
            dir = runs_value(argc, argv, &i, usage);
        else if (strcmp(argv[i], "--packing") == 0)
            r.packing = runs_value(argc, argv, &i, usage);
        else if (strcmp(argv[i], "--chunk") == 0)
            r.chunk = runs_count(argc, argv, &i, usage);
        else if (strcmp(argv[i], "--quick") == 0)
            r.n_tokens = 8192, b.n_repeats = 1;
        else
            bench_must(rt_fail(RT_EUSAGE, "usage: %s", usage));
    }
    r.dir = runs_directory(dir, b.model);
    r.ids = runs_text(r.n_tokens);
    (void)printf("# %s, %d cores, %s; %d runs of each\n", rt_machine_cpu_name(cpu),
            rt_machine_cores(), rt_isa_name(rt_machine_isa()), b.n_repeats);
    run_all(&b, &r);
    (void)printf("model,tokens,kv_in_memory,host_kv_mib,extent_tokens,window_extents,chunk,"
                 "prefill_best_s,prefill_median_s,ratio_of_best,median_ratio,cpu_best_s,cpu_ratio,"
                 "stall_median_s,stall_share,written_mb,read_mb,compression,cpu_ms_per_gb,"
                 "decode_1_ms,decode_1_ratio,read_mb_a_pass,decode_32_ms,decode_32_ratio,"
                 "read_mb_a_pass_of_32,peak_mib,plan_mib\n");
    for (int share = 0; share < b.n_shares; share++) report(&b, &r, share);
    return 0;
}
