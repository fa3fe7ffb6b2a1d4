#include "help_attention.h"

#include <math.h>
#include <string.h>

#include "attention/attn_cpu.h"
#include "attention/attn_fp8.h"
#include "runtime/base/memory.h"
#include "runtime/base/size.h"

enum { PAGE = ATTN_PAGE_TOKENS, SPLIT = ATTN_SPLIT_TOKENS };

bool ath_is_fast(void) {
    const char *text = getenv("GLM_TEST_FAST");
    return text && strcmp(text, "1") == 0;
}

bool ath_is_brief(rt_isa isa) {
    return ath_is_fast() || ath_is_slow(isa);
}

attn_shape ath_shape(int32_t n_heads, int32_t n_kv_heads, int32_t head_dim, rt_dtype kv_dtype) {
    return (attn_shape){.n_heads = n_heads,
            .n_kv_heads = n_kv_heads,
            .head_dim = head_dim,
            .rope_dim = head_dim / 2,
            .rope_base = 1e8,
            .kv_dtype = kv_dtype};
}

/* ---- a layer --------------------------------------------------------------------------------- */

float *ath_zeros(int64_t n) {
    float *numbers = NULL;
    CHECK(rt_calloc(n, (int64_t)sizeof(float), "test data", &numbers) == RT_OK);
    return numbers;
}

float *ath_normals(int64_t n, uint64_t seed) {
    float *numbers = ath_zeros(n);
    for (int64_t i = 0; i < n; i++) numbers[i] = random_normal(&seed);
    return numbers;
}

void *ath_page_create(const attn_shape *shape) {
    void *page = NULL;
    CHECK(rt_mem_alloc(attn_open_page_bytes(shape), "a test's page", &page) == RT_OK);
    return page;
}

void *ath_sealed_page_create(const attn_shape *shape) {
    void *page = NULL;
    CHECK(rt_mem_alloc(attn_page_bytes(shape), "a test's page", &page) == RT_OK);
    return page;
}

static rt_dtype open_dtype(const attn_shape *shape) {
    return shape->kv_dtype == RT_F32 ? RT_F32 : RT_BF16;
}

static void store_row(const attn_shape *shape, const float *from, void *to) {
    if (open_dtype(shape) == RT_F32)
        memcpy(to, from, (size_t)shape->head_dim * sizeof(float));
    else
        for (int32_t d = 0; d < shape->head_dim; d++)
            ((uint16_t *)to)[d] = rt_float_to_bf16(from[d]);
}

void ath_page_fill(const attn_shape *shape, void *page, int32_t first_token, float value) {
    float row[ATTN_HEAD_DIM_MAX];
    float stored[ATTN_HEAD_DIM_MAX];
    for (int32_t d = 0; d < shape->head_dim; d++) row[d] = value;
    store_row(shape, row, stored);
    for (int32_t kv_head = 0; kv_head < shape->n_kv_heads; kv_head++)
        for (int32_t token = first_token; token < PAGE; token++)
            attn_page_pack(shape, page, kv_head, token, 1, stored, stored);
}

/* Into the (open) page and layer->k, layer->v. */
static void put_row(
        ath_layer *layer, int32_t kv_head, int64_t token, const float *k, const float *v) {
    const attn_shape *shape = &layer->shape;
    const int64_t at = (kv_head * layer->n_tokens + token) * shape->head_dim;
    void **pages = layer->open_pages ? layer->open_pages : layer->pages;
    float stored_k[ATTN_HEAD_DIM_MAX];
    float stored_v[ATTN_HEAD_DIM_MAX];
    store_row(shape, k, stored_k);
    store_row(shape, v, stored_v);
    attn_page_pack(
            shape, pages[token / PAGE], kv_head, (int32_t)(token % PAGE), 1, stored_k, stored_v);
    for (int32_t d = 0; d < shape->head_dim; d++) {
        layer->k[at + d] = rt_load_float(stored_k, d, open_dtype(shape));
        layer->v[at + d] = rt_load_float(stored_v, d, open_dtype(shape));
    }
}

void ath_layer_set(
        ath_layer *layer, int32_t kv_head, int64_t token, const float *k, const float *v) {
    CHECK(!layer->open_pages);
    put_row(layer, kv_head, token, k, v);
}

/* Code i of a run of codes of `bits` bits. */
static int code_at(const uint8_t *codes, int64_t i, int64_t bits) {
    if (bits == 8) return codes[i];
    const uint8_t pair = codes[i / 16 * 8 + i % 8];
    return i % 16 < 8 ? pair & 15 : pair >> 4;
}

static float bf16_at(const uint8_t *from, int64_t i) {
    return rt_bf16_to_float((uint16_t)(from[2 * i] | from[2 * i + 1] << 8));
}

static void read_fp8(int64_t dim, const uint8_t *bytes, float *k, float *v) {
    float scales[2];
    memcpy(scales, bytes + 2 * PAGE * dim, sizeof scales);
    for (int64_t t = 0; t < PAGE; t++)
        for (int64_t d = 0; d < dim; d++) {
            const uint8_t *of_values = bytes + PAGE * dim + t * dim + d;
            k[t * dim + d] = scales[0] * (float)attn_fp8_number(bytes[d * PAGE + t]);
            v[t * dim + d] = scales[1] * (float)attn_fp8_number(*of_values);
        }
}

/* What a code of `bits` bits, or its line, comes to. */
typedef float number_of(float scale, float zero, int code, int64_t bits);

static float number_at(float scale, float zero, int code, int64_t bits) {
    (void)bits;
    return zero + scale * (float)code;
}

static float middle_at(float scale, float zero, int code, int64_t bits) {
    const double half_way = ((double)(1 << bits) - 1.0) / 2.0;
    (void)code;
    return (float)((double)zero + half_way * (double)scale);
}

/* One head of a page of int8 or int4. */
static void read_codes(
        const attn_shape *shape, const uint8_t *bytes, number_of *number, float *k, float *v) {
    const int64_t dim = shape->head_dim;
    const int64_t bits = shape->kv_dtype == RT_INT8 ? 8 : 4;
    const int64_t code_bytes = PAGE * dim * bits / 8;
    const int64_t groups = (dim + 63) / 64;
    const uint8_t *k_scales = bytes + code_bytes, *k_zeros = k_scales + 4 * dim;
    const uint8_t *v_codes = k_scales + 8 * dim;
    const uint8_t *v_scales = v_codes + code_bytes, *v_zeros = v_scales + 256 * groups;
    for (int64_t t = 0; t < PAGE; t++)
        for (int64_t d = 0; d < dim; d++) {
            const int64_t i = t * dim + d, key = t / 64 * dim + d, value = d / 64 * PAGE + t;
            k[i] = number(bf16_at(k_scales, key), bf16_at(k_zeros, key),
                    code_at(bytes, d * PAGE + t, bits), bits);
            v[i] = number(bf16_at(v_scales, value), bf16_at(v_zeros, value),
                    code_at(v_codes, i, bits), bits);
        }
}

static void read_sealed(const attn_shape *shape, const void *page, int32_t kv_head,
        number_of *number, float *k, float *v) {
    uint8_t *bytes = malloc((size_t)attn_page_canonical_bytes(shape));
    CHECK(bytes);
    attn_page_unpack_sealed(shape, page, kv_head, bytes);
    if (shape->kv_dtype == RT_FP8)
        read_fp8(shape->head_dim, bytes, k, v);
    else
        read_codes(shape, bytes, number, k, v);
    free(bytes);
}

void ath_read_sealed(
        const attn_shape *shape, const void *page, int32_t kv_head, float *k, float *v) {
    read_sealed(shape, page, kv_head, number_at, k, v);
}

/* Seal the full pages. */
static void seal_layer(ath_layer *layer) {
    const attn_shape *shape = &layer->shape;
    const int64_t dim = shape->head_dim;
    layer->sealed_k = ath_zeros(shape->n_kv_heads * layer->n_tokens * dim);
    layer->sealed_v = ath_zeros(shape->n_kv_heads * layer->n_tokens * dim);
    const bool has_middles = shape->kv_dtype != RT_FP8;
    layer->middle_k = has_middles ? ath_zeros(shape->n_kv_heads * layer->n_tokens * dim) : NULL;
    layer->middle_v = has_middles ? ath_zeros(shape->n_kv_heads * layer->n_tokens * dim) : NULL;
    for (int64_t page = 0; (page + 1) * PAGE <= layer->n_tokens; page++) {
        layer->pages[page] = ath_sealed_page_create(shape);
        attn_page_seal(shape, layer->open_pages[page], layer->pages[page]);
        for (int32_t kv_head = 0; kv_head < shape->n_kv_heads; kv_head++) {
            const int64_t at = (kv_head * layer->n_tokens + page * PAGE) * dim;
            ath_read_sealed(
                    shape, layer->pages[page], kv_head, layer->sealed_k + at, layer->sealed_v + at);
            if (has_middles)
                read_sealed(shape, layer->pages[page], kv_head, middle_at, layer->middle_k + at,
                        layer->middle_v + at);
        }
    }
}

ath_layer ath_layer_create(const attn_shape *shape, int64_t n_tokens, uint64_t seed) {
    const int64_t n = shape->n_kv_heads * n_tokens * shape->head_dim;
    ath_layer layer = {.shape = *shape,
            .n_tokens = n_tokens,
            .n_pages = rt_div_up(n_tokens, PAGE),
            .k = ath_normals(n, seed),
            .v = ath_normals(n, seed + 1)};
    CHECK(rt_calloc(layer.n_pages, (int64_t)sizeof(void *), "pages", &layer.pages) == RT_OK);
    void **pages = layer.pages;
    if (attn_is_lossy(shape)) {
        CHECK(rt_calloc(layer.n_pages, (int64_t)sizeof(void *), "pages", &layer.open_pages) ==
                RT_OK);
        pages = layer.open_pages;
    }
    for (int64_t page = 0; page < layer.n_pages; page++) {
        pages[page] = ath_page_create(shape);
        ath_page_fill(shape, pages[page], 0, NAN);
    }
    for (int32_t kv_head = 0; kv_head < shape->n_kv_heads; kv_head++)
        for (int64_t token = 0; token < n_tokens; token++) {
            const int64_t at = (kv_head * n_tokens + token) * shape->head_dim;
            put_row(&layer, kv_head, token, layer.k + at, layer.v + at);
        }
    if (layer.open_pages) seal_layer(&layer);
    return layer;
}

void ath_layer_free(ath_layer *layer) {
    for (int64_t page = 0; page < layer->n_pages; page++) {
        if (layer->pages[page]) rt_mem_free(layer->pages[page], attn_page_bytes(&layer->shape));
        if (layer->open_pages)
            rt_mem_free(layer->open_pages[page], attn_open_page_bytes(&layer->shape));
    }
    free(layer->pages);
    free(layer->open_pages);
    free(layer->k);
    free(layer->v);
    free(layer->sealed_k);
    free(layer->sealed_v);
    free(layer->middle_k);
    free(layer->middle_v);
}

attn_segment ath_segment(const ath_layer *layer, int64_t n_tokens) {
    return (attn_segment){
            .pages = layer->pages, .n_tokens = n_tokens, .open_pages = layer->open_pages};
}

enum { TAIL_MAX = 300, FORK_DEPTH = 600 };

ath_sequence ath_fork(const ath_layer *book, uint64_t *random) {
    const int64_t length = book->n_tokens;
    const bool is_book = random_below(random, 4) == 0;
    const int64_t n_shared = is_book ? length : length - random_below(random, FORK_DEPTH);
    const int64_t n_own = is_book ? 0 : 1 + random_below(random, TAIL_MAX);
    ath_sequence seq = {.first_own = is_book ? book->n_pages : n_shared / PAGE};
    seq.n_tokens = is_book ? length : seq.first_own * PAGE + n_own;
    const int64_t n_pages = rt_div_up(seq.n_tokens, PAGE);
    CHECK(rt_calloc(n_pages, (int64_t)sizeof(void *), "pages", &seq.pages) == RT_OK);
    for (int64_t page = 0; page < n_pages; page++) {
        seq.pages[page] = page < seq.first_own ? book->pages[page] : ath_page_create(&book->shape);
        if (page >= seq.first_own)
            memcpy(seq.pages[page], book->pages[random_below(random, length / PAGE)],
                    (size_t)attn_page_bytes(&book->shape));
    }
    return seq;
}

void ath_fork_free(ath_sequence *seq, const attn_shape *shape) {
    for (int64_t page = seq->first_own; page * PAGE < seq->n_tokens; page++)
        rt_mem_free(seq->pages[page], attn_page_bytes(shape));
    free(seq->pages);
}

/* ---- running the kernels --------------------------------------------------------------------- */

extern const attn_kernels attn_kernels_amx_emulated, attn_kernels_int_amx_emulated;

bool ath_is_amx_emulated(void) {
#if defined(GLM_WITH_AMX)
    const char *text = getenv("GLM_TEST_AMX");
    return rt_machine_isa() < RT_ISA_AMX || (text && strcmp(text, "emulated") == 0);
#else
    return true;
#endif
}

bool ath_has(rt_isa isa, const attn_shape *shape) {
    if (isa != RT_ISA_AMX) return isa <= rt_machine_isa();
#if defined(__SANITIZE_THREAD__)
    if (ath_is_amx_emulated()) return false;
#endif
    return attn_cpu_has_tiles(shape);
}

bool ath_is_slow(rt_isa isa) {
    return isa == RT_ISA_AMX && ath_is_amx_emulated();
}

const char *ath_isa_name(rt_isa isa) {
    return isa == RT_ISA_AMX && ath_is_amx_emulated() ? "amx in plain C" : rt_isa_name(isa);
}

static ath_kernels open_kernels(const attn_shape *shape, rt_isa isa, int n_threads) {
    ath_kernels kernels = {.shape = *shape};
    CHECK(rt_pool_create(n_threads, &kernels.pool) == RT_OK);
    CHECK(attn_cpu_create(shape, isa, kernels.pool, &kernels.cpu) == RT_OK);
    return kernels;
}

ath_kernels ath_open_emulated(const attn_shape *shape, int n_threads) {
    CHECK(attn_cpu_has_tiles(shape));
    ath_kernels kernels = open_kernels(shape, RT_ISA_PORTABLE, n_threads);
    kernels.cpu->kernels =
            attn_is_int(shape) ? &attn_kernels_int_amx_emulated : &attn_kernels_amx_emulated;
    return kernels;
}

ath_kernels ath_open(const attn_shape *shape, rt_isa isa, int n_threads) {
    CHECK(ath_has(isa, shape));
    if (isa == RT_ISA_AMX && ath_is_amx_emulated()) return ath_open_emulated(shape, n_threads);
    return open_kernels(shape, isa, n_threads);
}

void ath_close(ath_kernels *kernels) {
    attn_cpu_free(kernels->cpu);
    rt_pool_free(kernels->pool);
}

ath_trial ath_trial_open(
        rt_isa isa, const attn_shape *shape, int64_t n_tokens, int64_t n_queries, uint64_t seed) {
    const int64_t row = (int64_t)shape->n_heads * shape->head_dim, n_out = n_queries * row;
    return (ath_trial){.shape = *shape,
            .dim = shape->head_dim,
            .row = row,
            .n_out = n_out,
            .kernels = ath_open(shape, isa, 2),
            .layer = ath_layer_create(shape, n_tokens, seed),
            .q = ath_normals(n_out, seed + 2),
            .before = ath_zeros(n_out),
            .after = ath_zeros(n_out),
            .other = ath_zeros(n_out)};
}

void ath_trial_close(ath_trial *trial) {
    ath_close(&trial->kernels);
    ath_layer_free(&trial->layer);
    free(trial->q);
    free(trial->before);
    free(trial->after);
    free(trial->other);
}

attn_state ath_state_create(const attn_shape *shape, int64_t n_tokens) {
    const int64_t n_rows = n_tokens * shape->n_heads;
    return (attn_state){.max = ath_zeros(n_rows),
            .sum = ath_zeros(n_rows),
            .out = ath_zeros(n_rows * shape->head_dim)};
}

void ath_state_free(attn_state *state) {
    free(state->max);
    free(state->sum);
    free(state->out);
}

void ath_prefill(const ath_kernels *kernels, const ath_layer *layer, const ath_queries *queries,
        int64_t chunk, float *out, float *lse) {
    const int32_t n_heads = kernels->shape.n_heads;
    const int64_t stride = (int64_t)n_heads * kernels->shape.head_dim;
    attn_state state = ath_state_create(&kernels->shape, chunk);
    for (int64_t t = 0; t < queries->n_tokens; t += chunk) {
        const int64_t n = rt_min64(chunk, queries->n_tokens - t);
        const attn_segment keys = ath_segment(layer, queries->pos + t + n);
        attn_reset(kernels->cpu, &state, n);
        attn_prefill(
                kernels->cpu, queries->q + t * stride, stride, n, queries->pos + t, &keys, &state);
        attn_finish(kernels->cpu, &state, n, lse ? lse + t * n_heads : NULL);
        memcpy(out + t * stride, state.out, (size_t)(n * stride) * sizeof(float));
    }
    ath_state_free(&state);
}

void ath_decode(const ath_kernels *kernels, const float *q, const attn_segment *keys,
        int32_t n_seqs, float *out) {
    int64_t n_tokens = 0;
    for (int32_t i = 0; i < n_seqs; i++) n_tokens = rt_max64(n_tokens, keys[i].n_tokens);
    const int64_t bytes = attn_decode_scratch_bytes(&kernels->shape, n_tokens, n_seqs);
    void *scratch = NULL;
    CHECK(rt_mem_alloc(bytes, "decode scratch", &scratch) == RT_OK);
    attn_decode(kernels->cpu, q, (int64_t)kernels->shape.n_heads * kernels->shape.head_dim, keys,
            n_seqs, out, scratch);
    rt_mem_free(scratch, bytes);
}

/* ---- what is right --------------------------------------------------------------------------- */

/* The rows that a query at n_keys - 1 reads: sealed, but for those of its own page. */
static float *rows_read(const ath_layer *layer, const float *open, const float *sealed, int64_t at,
        int64_t n_keys) {
    const int64_t dim = layer->shape.head_dim;
    const int64_t n_sealed = layer->open_pages ? (n_keys - 1) / PAGE * PAGE : 0;
    float *rows = ath_zeros(n_keys * dim);
    memcpy(rows, open + at, (size_t)(n_keys * dim) * sizeof *rows);
    if (n_sealed > 0) memcpy(rows, sealed + at, (size_t)(n_sealed * dim) * sizeof *rows);
    return rows;
}

void ath_layer_reference(
        const ath_layer *layer, int32_t head, const float *q, int64_t n_keys, ath_row *row) {
    const attn_shape *shape = &layer->shape;
    const int64_t kv_head = head / (shape->n_heads / shape->n_kv_heads);
    const int64_t at = kv_head * layer->n_tokens * shape->head_dim;
    if (!layer->open_pages || n_keys == 0) {
        const ath_numbers open = {.k = layer->k + at, .v = layer->v + at};
        ath_reference(q, &open, n_keys, shape->head_dim, attn_cpu_has_tiles(shape), row);
        return;
    }
    float *k = rows_read(layer, layer->k, layer->sealed_k, at, n_keys);
    float *v = rows_read(layer, layer->v, layer->sealed_v, at, n_keys);
    const ath_numbers of = {.k = k,
            .v = v,
            .k_middle = layer->middle_k ? layer->middle_k + at : NULL,
            .v_middle = layer->middle_v ? layer->middle_v + at : NULL,
            .n_sealed = (n_keys - 1) / PAGE * PAGE};
    ath_reference(q, &of, n_keys, shape->head_dim, attn_cpu_has_tiles(shape), row);
    free(k);
    free(v);
}

static double ratio(double error, double bound) {
    if (!isfinite(error)) return INFINITY;
    return error == 0.0 ? 0.0 : error / bound;
}

double ath_error(
        const ath_row *row, rt_isa isa, const float *out, const float *lse, int32_t head_dim) {
    const ath_sums by = isa == RT_ISA_AMX ? ATH_BY_TILES : ATH_BY_VECTORS;
    double worst = lse ? ratio(fabs((double)*lse - row->lse), row->lse_bound[by]) : 0.0;
    for (int32_t d = 0; d < head_dim; d++)
        worst = fmax(worst, ratio(fabs((double)out[d] - row->out[d]), row->bound[by][d]));
    return worst;
}

void ath_check_cases(size_t n, void (*errors_of)(size_t i, double *errors)) {
    double worst[ATH_ISAS] = {0};
    for (size_t i = 0; i < n; i++) {
        double errors[ATH_ISAS] = {0};
        errors_of(i, errors);
        for (rt_isa isa = RT_ISA_PORTABLE; isa <= RT_ISA_AMX; isa++) {
            if (!(errors[isa] <= 1.0))
                (void)fprintf(stderr, "case %zu, %s: %.2f of the bound\n", i, ath_isa_name(isa),
                        errors[isa]);
            CHECK(errors[isa] <= 1.0);
            worst[isa] = fmax(worst[isa], errors[isa]);
        }
    }
    for (rt_isa isa = RT_ISA_PORTABLE; isa <= RT_ISA_AMX; isa++)
        (void)printf("%s: at most %.2f of the bound\n", ath_isa_name(isa), worst[isa]);
}

float ath_nearest_half(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits = (bits + 0x8000u) & 0xffff0000u;
    memcpy(&x, &bits, sizeof x);
    return x;
}

bool ath_same(const float *a, const float *b, int64_t n) {
    return memcmp(a, b, (size_t)n * sizeof(float)) == 0;
}
