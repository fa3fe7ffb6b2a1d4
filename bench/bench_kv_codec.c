/* How fast and how small: the run codec beside plain zstd, XXH3 and memcpy, on one core.
 *
 *   bench_kv_codec [--model needle|random]
 *
 * Data: without a model SYNTHETIC K and V in bf16: per-channel means, log-normal scales, 5 %
 * outlier channels, Student-t(6) noise, neighbouring tokens correlated, K rotated by RoPE on half of
 * its dims; and the same widened to fp32 with random lower halves. With one, what it makes of 4096 or
 * more tokens of made-up prose: all of its layers and heads in turn. The needle model and random
 * weights; neither is the 9B, whose KV nobody here has seen. Method: 16 runs of 4096 tokens, K and V, one
 * after the other (32 MiB at 128 dims: larger than the caches of a core); correctness of the round
 * trip first, then best and median of 7 passes. GB/s are of raw bytes, 10^9. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "help_runs.h"
#include "kvstore/codec.h"
#include "runtime/base/log.h"
#include "runtime/base/memory.h"
#include "runtime/base/random.h"
#include "runtime/engine.h"

enum { DIM = 128, RUNS = 16, PASSES = 7, ROPE_DIM = 64 };

static const char usage[] = "bench_kv_codec [--model needle|random]";

static const kv_run_shape bf16_shape = {RT_BF16, DIM, KV_RUN_TOKENS};
static const kv_run_shape fp32_shape = {RT_F32, DIM, KV_RUN_TOKENS};

static void must(rt_status status) {
    if (status == RT_OK) return;
    (void)fprintf(stderr, "bench_kv_codec: %s\n", rt_error_text());
    exit(1);
}

static void *memory(int64_t bytes) {
    void *ptr = NULL;
    must(rt_mem_alloc(bytes, "the benchmark", &ptr));
    return ptr;
}

/* ---- data ------------------------------------------------------------------------------------ */

static uint64_t random_state = 1;

static double uniform(void) {
    return ((double)(rt_random_next(&random_state) >> 11) + 0.5) * 0x1p-53;
}

static double normal(void) {
    return sqrt(-2 * log(uniform())) * cos(6.283185307179586 * uniform());
}

static double student_t6(void) {
    double chi = 0;
    for (int i = 0; i < 3; i++) chi -= 2 * log(uniform());
    return normal() / sqrt(chi / 6);
}

static void rotate(double *row, int64_t pos) {
    for (int j = 0; j < ROPE_DIM / 2; j++) {
        const double angle = (double)pos * pow(1e8, -2.0 * j / ROPE_DIM);
        const double a = row[2 * j], b = row[2 * j + 1];
        row[2 * j] = a * cos(angle) - b * sin(angle);
        row[2 * j + 1] = a * sin(angle) + b * cos(angle);
    }
}

/* One head's K (or V) of one run. */
static void make_rows(uint16_t *rows, bool is_key, int64_t first_pos) {
    double mean[DIM], scale[DIM], noise[DIM], row[DIM];
    for (int c = 0; c < DIM; c++) {
        const bool is_outlier = is_key && uniform() < 0.05;
        mean[c] = !is_key      ? 0
                  : is_outlier ? (uniform() < 0.5 ? -1 : 1) * (4 + 8 * uniform())
                               : 0.7 * normal();
        scale[c] = exp(0.5 * normal());
        noise[c] = student_t6();
    }
    const double rho = is_key ? 0.3 : 0.1;
    for (int64_t t = 0; t < KV_RUN_TOKENS; t++) {
        const double token_scale = is_key ? 1 : exp(0.4 * normal());
        for (int c = 0; c < DIM; c++) {
            noise[c] = rho * noise[c] + sqrt(1 - rho * rho) * student_t6();
            row[c] = mean[c] + scale[c] * token_scale * noise[c];
        }
        if (is_key) rotate(row, first_pos + t);
        for (int c = 0; c < DIM; c++) rows[t * DIM + c] = rt_float_to_bf16((float)row[c]);
    }
}

static uint16_t *make_bf16(void) {
    const int64_t n_half = (int64_t)KV_RUN_TOKENS * DIM;
    uint16_t *values = memory(RUNS * kv_run_raw_bytes(&bf16_shape));
    for (int64_t run = 0; run < RUNS; run++) {
        make_rows(values + 2 * run * n_half, true, run * KV_RUN_TOKENS);
        make_rows(values + (2 * run + 1) * n_half, false, run * KV_RUN_TOKENS);
    }
    return values;
}

static uint32_t *make_fp32(const uint16_t *values) {
    const int64_t n = RUNS * kv_run_raw_bytes(&bf16_shape) / 2;
    uint32_t *wide = memory(4 * n);
    for (int64_t i = 0; i < n; i++)
        wide[i] = (uint32_t)values[i] << 16 | (uint32_t)(rt_random_next(&random_state) & 0xffff);
    return wide;
}

/* ---- a model's data -------------------------------------------------------------------------- */

/* Canonical rows of one head out of a layer's pages. */
static void take_rows(const attn_shape *shape, void *const *pages, int32_t head, uint8_t *rows) {
    const int64_t row_bytes = shape->head_dim * rt_dtype_bytes(shape->kv_dtype);
    for (int64_t t = 0; t < KV_RUN_TOKENS; t += ATTN_PAGE_TOKENS)
        attn_page_unpack(shape, pages[t / ATTN_PAGE_TOKENS], head, 0, ATTN_PAGE_TOKENS,
                rows + t * row_bytes, rows + (KV_RUN_TOKENS + t) * row_bytes);
}

/* Runs `first` and on, of one layer of a session: head by head, extent by extent. Returns how many. */
static int64_t take_layer(
        glm_session *session, int32_t layer, const attn_shape *shape, uint8_t *raw, int64_t first) {
    const int64_t end = glm_session_length(session);
    const int64_t run_bytes = 2 * (int64_t)KV_RUN_TOKENS * shape->head_dim * 2;
    int64_t n = 0, n_stores = 0;
    kv_walk *walk = NULL;
    kv_window window;
    must(kv_walk_begin(session->engine->store, layer, &session->seq, &end, 1, KV_WALK_ALL, &walk));
    must(kv_walk_next(walk, &window)); /* all is in memory: one window */
    must(kv_walk_loaded(walk));
    for (int64_t pos = 0; pos < end; pos += KV_RUN_TOKENS)
        for (int32_t head = 0; head < shape->n_kv_heads && first + n < RUNS; head++)
            take_rows(shape, window.parts[0].pages + pos / ATTN_PAGE_TOKENS, head,
                    raw + (first + n++) * run_bytes);
    must(kv_walk_leave(walk, &n_stores));
    kv_walk_end(walk);
    return n;
}

/* RUNS runs of a model's K and V, and their shape. */
static uint8_t *make_model_data(const char *kind, kv_run_shape *out) {
    const int64_t n_tokens = 2 * KV_RUN_TOKENS;
    int32_t *ids = runs_text(n_tokens);
    const glm_options options = {
            .device = "cpu", .model_dir = runs_directory(".", kind), .max_len = n_tokens};
    glm_engine *engine = NULL;
    glm_session *session = NULL;
    must(glm_engine_open(&options, &engine));
    must(glm_session_create(engine, n_tokens, &session));
    must(glm_prefill(session, ids, n_tokens));
    const attn_shape shape = glm_attn_shape(&engine->part, engine->plan.kv_dtype);
    *out = (kv_run_shape){shape.kv_dtype, shape.head_dim, KV_RUN_TOKENS};
    uint8_t *raw = memory(RUNS * kv_run_raw_bytes(out));
    int64_t n = 0;
    for (int32_t layer = 0; n < RUNS; layer = (layer + 1) % engine->config.n_layers)
        n += take_layer(session, layer, &shape, raw, n);
    glm_session_free(session);
    glm_engine_close(engine);
    free(ids);
    return raw;
}

/* ---- measuring ------------------------------------------------------------------------------- */

static int compare_doubles(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print_row(const char *method, const char *data, double ratio, const char *way,
        int64_t bytes, double *seconds) {
    qsort(seconds, PASSES, sizeof *seconds, compare_doubles);
    (void)printf("%s,%s,%s,%.3f,%.2f,%.2f\n", method, data, way, ratio,
            (double)bytes / seconds[0] * 1e-9, (double)bytes / seconds[PASSES / 2] * 1e-9);
    (void)fflush(stdout);
}

static kv_run_address address_of(int64_t run) {
    return (kv_run_address){.first_pos = run * KV_RUN_TOKENS, .layer = 3, .kv_head = 1};
}

static void measure_codec(
        rt_isa isa, const kv_run_shape *shape, const char *data, const uint8_t *raw) {
    const int64_t raw_bytes = kv_run_raw_bytes(shape);
    const int64_t slot_bytes = kv_run_stored_bytes_max(shape);
    uint8_t *stored = memory(RUNS * slot_bytes);
    uint8_t *back = memory(RUNS * raw_bytes);
    int64_t stored_bytes[RUNS], total = 0;
    double encode_s[PASSES], decode_s[PASSES];
    kv_codec *codec = NULL;
    must(kv_codec_create(isa, &codec));
    for (int pass = -1; pass < PASSES; pass++) {
        const double start = rt_now();
        for (int64_t run = 0; run < RUNS; run++) {
            const kv_run_address address = address_of(run);
            stored_bytes[run] = kv_run_encode(
                    codec, &address, shape, raw + run * raw_bytes, stored + run * slot_bytes);
        }
        const double middle = rt_now();
        for (int64_t run = 0; run < RUNS; run++) {
            const kv_run_address address = address_of(run);
            must(kv_run_decode(codec, &address, shape, stored + run * slot_bytes, stored_bytes[run],
                    back + run * raw_bytes));
        }
        if (pass < 0) continue;
        encode_s[pass] = middle - start;
        decode_s[pass] = rt_now() - middle;
    }
    if (memcmp(raw, back, (size_t)(RUNS * raw_bytes)) != 0) must(rt_fail(RT_ECORRUPT, "lossy"));
    for (int64_t run = 0; run < RUNS; run++) total += stored_bytes[run];
    const double ratio = (double)(RUNS * raw_bytes) / (double)total;
    char method[64];
    (void)snprintf(method, sizeof method, "run codec %s", rt_isa_name(isa));
    print_row(method, data, ratio, "encode", RUNS * raw_bytes, encode_s);
    print_row(method, data, ratio, "decode", RUNS * raw_bytes, decode_s);
    kv_codec_free(codec);
    rt_mem_free(stored, RUNS * slot_bytes);
    rt_mem_free(back, RUNS * raw_bytes);
}

/* Plain zstd level 1, a frame for each 64 KiB as a tile would be. */
static void measure_zstd(const char *data, const uint8_t *raw, int64_t bytes) {
    enum { PIECE = 65536 };
    const int64_t n = bytes / PIECE;
    const size_t room = ZSTD_compressBound(PIECE);
    uint8_t *stored = memory(n * (int64_t)room), *back = memory(bytes);
    size_t *sizes = memory(n * (int64_t)sizeof *sizes);
    double encode_s[PASSES], decode_s[PASSES], total = 0;
    ZSTD_CCtx *compressor = ZSTD_createCCtx();
    for (int pass = 0; pass < PASSES; pass++) {
        const double start = rt_now();
        for (int64_t i = 0; i < n; i++)
            sizes[i] = ZSTD_compressCCtx(
                    compressor, stored + (size_t)i * room, room, raw + i * PIECE, PIECE, 1);
        const double middle = rt_now();
        for (int64_t i = 0; i < n; i++)
            (void)ZSTD_decompress(back + i * PIECE, PIECE, stored + (size_t)i * room, sizes[i]);
        encode_s[pass] = middle - start;
        decode_s[pass] = rt_now() - middle;
    }
    if (memcmp(raw, back, (size_t)bytes) != 0) must(rt_fail(RT_ECORRUPT, "zstd"));
    for (int64_t i = 0; i < n; i++) total += (double)sizes[i];
    print_row("zstd 1", data, (double)bytes / total, "encode", bytes, encode_s);
    print_row("zstd 1", data, (double)bytes / total, "decode", bytes, decode_s);
    (void)ZSTD_freeCCtx(compressor);
    rt_mem_free(stored, n * (int64_t)room);
    rt_mem_free(back, bytes);
    rt_mem_free(sizes, n * (int64_t)sizeof *sizes);
}

static void measure_memcpy(const uint8_t *raw, int64_t bytes) {
    uint8_t *to = memory(bytes);
    double seconds[PASSES];
    for (int pass = -1; pass < PASSES; pass++) {
        const double start = rt_now();
        memcpy(to, raw, (size_t)bytes);
        if (pass >= 0) seconds[pass] = rt_now() - start;
    }
    print_row("memcpy", "bf16", 1, "copy", bytes, seconds);
    rt_mem_free(to, bytes);
}

/* The checksum alone, by way of sealing whole runs. */
static void measure_checksum(rt_isa isa, uint8_t *bytes, int64_t n_bytes) {
    kv_codec *codec = NULL;
    must(kv_codec_create(isa, &codec));
    const kv_run_address address = address_of(0);
    double seconds[PASSES];
    for (int pass = -1; pass < PASSES; pass++) {
        const double start = rt_now();
        for (int64_t at = 0; at < n_bytes; at += n_bytes / RUNS)
            kv_run_seal(codec, &address, bytes + at, n_bytes / RUNS);
        if (pass >= 0) seconds[pass] = rt_now() - start;
    }
    char method[64];
    (void)snprintf(method, sizeof method, "XXH3-64 %s", rt_isa_name(isa));
    print_row(method, "bf16", 1, "hash", n_bytes, seconds);
    kv_codec_free(codec);
}

static void measure_model(const char *kind) {
    char cpu[128];
    kv_run_shape shape;
    uint8_t *raw = make_model_data(kind, &shape);
    (void)printf("# %s, one thread, zstd %s, KV of the %s model: not the 9B's\n",
            rt_machine_cpu_name(cpu), ZSTD_versionString(), kind);
    (void)printf("method,data,way,ratio,best_gb_per_s,median_gb_per_s\n");
    measure_zstd(kind, raw, RUNS * kv_run_raw_bytes(&shape));
    for (int isa = RT_ISA_PORTABLE; isa <= (int)rt_machine_isa(); isa++)
        measure_codec((rt_isa)isa, &shape, kind, raw);
    rt_mem_free(raw, RUNS * kv_run_raw_bytes(&shape));
}

static void measure_synthetic(void) {
    char cpu[128];
    uint16_t *bf16 = make_bf16();
    uint32_t *fp32 = make_fp32(bf16);
    const int64_t bf16_bytes = RUNS * kv_run_raw_bytes(&bf16_shape);
    const int64_t fp32_bytes = RUNS * kv_run_raw_bytes(&fp32_shape);
    (void)printf("# %s, one thread, zstd %s, synthetic KV\n", rt_machine_cpu_name(cpu),
            ZSTD_versionString());
    (void)printf("method,data,way,ratio,best_gb_per_s,median_gb_per_s\n");
    measure_memcpy((const uint8_t *)bf16, bf16_bytes);
    measure_zstd("bf16", (const uint8_t *)bf16, bf16_bytes);
    measure_zstd("fp32", (const uint8_t *)fp32, fp32_bytes);
    for (int isa = RT_ISA_PORTABLE; isa <= (int)rt_machine_isa(); isa++) {
        measure_codec((rt_isa)isa, &bf16_shape, "bf16", (const uint8_t *)bf16);
        measure_codec((rt_isa)isa, &fp32_shape, "fp32", (const uint8_t *)fp32);
    }
    for (int isa = RT_ISA_PORTABLE; isa <= (int)rt_machine_isa(); isa++)
        measure_checksum((rt_isa)isa, (uint8_t *)bf16, bf16_bytes);
    rt_mem_free(bf16, bf16_bytes);
    rt_mem_free(fp32, fp32_bytes);
}

int main(int argc, char **argv) {
    const char *model = NULL;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--model") == 0) model = runs_value(argc, argv, &i, usage);
        if (!model) bench_must(rt_fail(RT_EUSAGE, "usage: %s", usage));
    }
    if (model)
        measure_model(model);
    else
        measure_synthetic();
    return 0;
}
