/* Sealing a page: the bits that the definition gives, from every instruction set, and no number
 * further from the one it was than half a step.
 *
 * Method: pages of bf16 numbers of many kinds (normal, a constant, outliers, tiny, huge, any bits at
 * all, a largest one about where fp8's scale changes and where there is none). Codes, scales and zeros against a plain computation of attention.h's definition, written by
 * canonical offset; then every instruction set's loops against those. What is read back is within
 *
 *     scale / 2  +  2 u range (subtracting and dividing)  +  u |read| (reading),      u = 2^-24,
 *
 * of the number, and NaN where a group held one that is not finite; fp8: attn_fp8.h's bound and definition, and
 * all codes of all instruction sets. Last, canonical bytes: random
 * ones into a page and out again, nothing else written. */
#include <math.h>
#include <string.h>

#include "attention/attn_fp8.h"
#include "attention/attn_page.h"
#include "help_attention.h"
#include "runtime/base/memory.h"

enum { KV_HEADS = 2, PAGE = ATTN_PAGE_TOKENS, GROUP = ATTN_SEAL_GROUP, EDGES = 9, KINDS = 14 };

typedef struct fixture {
    attn_shape shape;
    int64_t dim;
    int64_t bits;
    int64_t head_bytes; /* canonical */
    uint16_t *k;        /* [KV_HEADS][PAGE][dim] bf16 */
    uint16_t *v;
    void *open_page;
    void *page;
    void *other;
    uint8_t *bytes;
} fixture;

static void *memory(int64_t bytes) {
    void *ptr = NULL;
    CHECK(rt_mem_alloc(bytes, "test data", &ptr) == RT_OK);
    return ptr;
}

static int64_t rows_bytes(const fixture *f) {
    return (int64_t)KV_HEADS * PAGE * f->dim * 2;
}

static fixture fixture_create(int32_t head_dim, rt_dtype kv_dtype) {
    fixture f = {.shape = ath_shape(KV_HEADS, KV_HEADS, head_dim, kv_dtype),
            .dim = head_dim,
            .bits = kv_dtype == RT_INT4 ? 4 : 8};
    f.head_bytes = attn_page_canonical_bytes(&f.shape);
    CHECK(f.head_bytes ==
            2 * PAGE * f.dim * f.bits / 8 +
                    (kv_dtype == RT_FP8 ? 16 : 8 * f.dim + 512 * ((f.dim + GROUP - 1) / GROUP)));
    CHECK(attn_page_bytes(&f.shape) == KV_HEADS * f.head_bytes);
    CHECK(attn_open_page_bytes(&f.shape) == 2 * rows_bytes(&f));
    f.k = memory(rows_bytes(&f));
    f.v = memory(rows_bytes(&f));
    f.open_page = ath_page_create(&f.shape);
    f.page = ath_sealed_page_create(&f.shape);
    f.other = ath_sealed_page_create(&f.shape);
    f.bytes = memory(f.head_bytes);
    return f;
}

static void fixture_free(fixture *f) {
    rt_mem_free(f->k, rows_bytes(f));
    rt_mem_free(f->v, rows_bytes(f));
    rt_mem_free(f->open_page, attn_open_page_bytes(&f->shape));
    rt_mem_free(f->page, attn_page_bytes(&f->shape));
    rt_mem_free(f->other, attn_page_bytes(&f->shape));
    rt_mem_free(f->bytes, f->head_bytes);
}

/* ---- numbers --------------------------------------------------------------------------------- */

/* 446, 448, 450; the largest below 2^127, and that. */
static const uint16_t edges[KINDS - EDGES] = {0x43df, 0x43e0, 0x43e1, 0x7eff, 0x7f00};

static uint16_t number_of(int kind, int64_t i, uint64_t *random) {
    const float normal = random_normal(random);
    const uint16_t any = (uint16_t)random_below(random, 1 << 16);
    switch (kind) {
    case 0:
        return rt_float_to_bf16(normal);
    case 1:
        return rt_float_to_bf16(-3.25f); /* no range */
    case 2:
        return rt_float_to_bf16(i % 37 == 0 ? 1000.0f * normal : normal);
    case 3:
        return (uint16_t)(any & 0x807f); /* 0, -0 and subnormal */
    case 4:
        return rt_float_to_bf16(1e38f * normal); /* some ranges pass the largest fp32 */
    case 5:
        return rt_float_to_bf16((float)random_below(random, 16)); /* scale 1 or so */
    case 6:
        return rt_float_to_bf16(i % 1009 == 0 ? (i % 2 ? NAN : -INFINITY) : normal);
    case 7:
        return i % 3 == 0 ? 0x3f80 : (uint16_t)(any & 0x8000); /* the least is 0 or -0 */
    case 8:
        return any;
    default:
        return i % 1009 == 5 ? edges[kind - EDGES] : rt_float_to_bf16(normal);
    }
}

static void fill(fixture *f, int kind, uint64_t *random) {
    const int64_t n = PAGE * f->dim;
    for (int64_t i = 0; i < KV_HEADS * n; i++) {
        f->k[i] = number_of(kind, i, random);
        f->v[i] = number_of(kind, i, random);
    }
    for (int32_t kv_head = 0; kv_head < KV_HEADS; kv_head++)
        attn_page_pack(
                &f->shape, f->open_page, kv_head, 0, PAGE, f->k + kv_head * n, f->v + kv_head * n);
}

/* ---- the definition -------------------------------------------------------------------------- */

/* Number i of a group lies at numbers[i * stride]. */
typedef struct group {
    const uint16_t *numbers;
    int64_t stride;
    int64_t n;
    float low;
    float range; /* NaN: the group cannot be coded */
    uint16_t scale;
} group;

static group group_of(const uint16_t *numbers, int64_t stride, int64_t n, int64_t bits) {
    group g = {.numbers = numbers, .stride = stride, .n = n, .scale = 0x7fc0, .range = NAN};
    float low = INFINITY;
    float high = -INFINITY;
    for (int64_t i = 0; i < n; i++) {
        const float x = rt_bf16_to_float(numbers[i * stride]);
        if (!isfinite(x)) return g;
        low = fminf(low, x);
        high = fmaxf(high, x);
    }
    if (!isfinite(high - low)) return g;
    g.low = low;
    g.range = high - low;
    const float step = g.range / (float)(bits == 8 ? 255 : 15);
    uint16_t up = rt_float_to_bf16(step);
    while (rt_bf16_to_float(up) < step) up++;
    while (up > 0 && rt_bf16_to_float((uint16_t)(up - 1)) >= step) up--;
    g.scale = up;
    return g;
}

static int code_of(const group *g, int64_t i, int64_t bits) {
    if (isnan(g->range) || g->scale == 0) return 0;
    const float steps =
            (rt_bf16_to_float(g->numbers[i * g->stride]) - g->low) / rt_bf16_to_float(g->scale);
    return (int)fminf(rintf(steps), bits == 8 ? 255.0f : 15.0f);
}

static int code_at(const uint8_t *codes, int64_t i, int64_t bits) {
    if (bits == 8) return codes[i];
    const uint8_t pair = codes[i / 16 * 8 + i % 8];
    return i % 16 < 8 ? pair & 15 : pair >> 4;
}

static uint16_t bf16_at(const uint8_t *from, int64_t i) {
    return (uint16_t)(from[2 * i] | from[2 * i + 1] << 8);
}

/* Codes from number `first` of `codes` on, scale and zero at index `at`. `read` is what the numbers
 * read as, laid out as they are. */
static void check_group(const fixture *f, const group *g, const uint8_t *codes, int64_t first,
        const uint8_t *scales, const uint8_t *zeros, int64_t at, const float *read) {
    const bool is_coded = !isnan(g->range);
    CHECK(bf16_at(scales, at) == g->scale);
    CHECK(bf16_at(zeros, at) == (is_coded ? rt_float_to_bf16(g->low + 0.0f) : 0x7fc0));
    for (int64_t i = 0; i < g->n; i++) {
        CHECK(code_at(codes, first + i, f->bits) == code_of(g, i, f->bits));
        const float back = read[i * g->stride];
        if (!is_coded) {
            CHECK(isnan(back));
            continue;
        }
        const double x = (double)rt_bf16_to_float(g->numbers[i * g->stride]);
        const double half = 0.5 * (double)rt_bf16_to_float(g->scale);
        const double roundings = 0x1p-24 * (2.0 * (double)g->range + fabs((double)back));
        CHECK(fabs((double)back - x) <= half + roundings);
    }
}

static void check_groups(fixture *f, int32_t kv_head, const float *k, const float *v) {
    const int64_t code_bytes = PAGE * f->dim * f->bits / 8;
    const int64_t v_groups = (f->dim + GROUP - 1) / GROUP;
    const int64_t at = kv_head * PAGE * f->dim;
    const uint8_t *scales = f->bytes + code_bytes;
    for (int64_t d = 0; d < f->dim; d++)
        for (int64_t t = 0; t < PAGE; t += GROUP) {
            const group g = group_of(f->k + at + t * f->dim + d, f->dim, GROUP, f->bits);
            check_group(f, &g, f->bytes, d * PAGE + t, scales, scales + 4 * f->dim,
                    t / GROUP * f->dim + d, k + t * f->dim + d);
        }
    const uint8_t *codes = scales + 8 * f->dim;
    scales = codes + code_bytes;
    for (int64_t t = 0; t < PAGE; t++)
        for (int64_t d = 0; d < f->dim; d += GROUP) {
            const int64_t n = f->dim - d < GROUP ? f->dim - d : GROUP;
            const group g = group_of(f->v + at + t * f->dim + d, 1, n, f->bits);
            check_group(f, &g, codes, t * f->dim + d, scales, scales + 256 * v_groups,
                    d / GROUP * PAGE + t, v + t * f->dim + d);
        }
}

/* All of K or V of a head; code t, d at codes[t token_step + d dim_step]. */
static void check_fp8(const fixture *f, const uint16_t *numbers, const uint8_t *codes,
        int64_t token_step, int64_t dim_step, float scale, const float *read) {
    float largest = 0.0f;
    bool is_coded = true;
    for (int64_t i = 0; i < PAGE * f->dim; i++) {
        const float size = fabsf(rt_bf16_to_float(numbers[i]));
        is_coded = is_coded && size < 0x1p127f;
        largest = fmaxf(largest, size);
    }
    CHECK(is_coded ? scale == attn_fp8_scale(largest) : isnan(scale));
    for (int64_t t = 0; t < PAGE; t++)
        for (int64_t d = 0; d < f->dim; d++) {
            const float x = rt_bf16_to_float(numbers[t * f->dim + d]);
            const float back = read[t * f->dim + d];
            CHECK(codes[t * token_step + d * dim_step] ==
                    (is_coded ? attn_fp8_code(x / scale) : 0));
            CHECK(is_coded ? fabs((double)back - (double)x) <=
                                     fmax(0x1p-4 * fabs((double)x), 0x1p-10 * (double)scale)
                           : isnan(back));
        }
}

static void check_head(fixture *f, int32_t kv_head) {
    const int64_t n = PAGE * f->dim;
    float *k = ath_zeros(n);
    float *v = ath_zeros(n);
    float scales[4];
    ath_read_sealed(&f->shape, f->page, kv_head, k, v);
    attn_page_unpack_sealed(&f->shape, f->page, kv_head, f->bytes);
    if (f->shape.kv_dtype == RT_FP8) {
        memcpy(scales, f->bytes + 2 * n, sizeof scales);
        check_fp8(f, f->k + kv_head * n, f->bytes, 1, PAGE, scales[0], k);
        check_fp8(f, f->v + kv_head * n, f->bytes + n, f->dim, 1, scales[1], v);
        CHECK(rt_float_bits(scales[2]) == 0 && rt_float_bits(scales[3]) == 0);
    } else {
        check_groups(f, kv_head, k, v);
    }
    free(k);
    free(v);
}

/* ---- instruction sets, canonical bytes ------------------------------------------------------- */

static void check_isa(fixture *f, const attn_seal_kernels *kernels) {
    const uint16_t *numbers = f->open_page;
    memset(f->other, 0x5a, (size_t)attn_page_bytes(&f->shape));
    for (int32_t kv_head = 0; kv_head < KV_HEADS; kv_head++) {
        const attn_sealed keys = attn_sealed_keys(&f->shape, kv_head);
        const attn_sealed values = attn_sealed_values(&f->shape, kv_head);
        kernels->seal(&keys, numbers + (int64_t)2 * kv_head * PAGE * f->dim, f->other);
        kernels->seal(&values, numbers + (int64_t)(2 * kv_head + 1) * PAGE * f->dim, f->other);
    }
    CHECK(memcmp(f->page, f->other, (size_t)attn_page_bytes(&f->shape)) == 0);
}

static void check_canonical(fixture *f, uint64_t *random) {
    uint8_t *back = memory(f->head_bytes + 64);
    for (int32_t kv_head = 0; kv_head < KV_HEADS; kv_head++) {
        for (int64_t i = 0; i < f->head_bytes; i++)
            f->bytes[i] = (uint8_t)random_below(random, 256);
        memset(f->page, 0x5a, (size_t)attn_page_bytes(&f->shape));
        memset(back, 0x5a, (size_t)f->head_bytes + 64);
        attn_page_pack_sealed(&f->shape, f->page, kv_head, f->bytes);
        attn_page_unpack_sealed(&f->shape, f->page, kv_head, back);
        CHECK(memcmp(back, f->bytes, (size_t)f->head_bytes) == 0);
        for (int i = 0; i < 64; i++) CHECK(back[f->head_bytes + i] == 0x5a);
        const uint8_t *others = (const uint8_t *)f->page + (1 - kv_head) * f->head_bytes;
        for (int64_t i = 0; i < f->head_bytes; i++) CHECK(others[i] == 0x5a);
    }
    rt_mem_free(back, f->head_bytes + 64);
}

static void check(int32_t head_dim, rt_dtype kv_dtype) {
    fixture f = fixture_create(head_dim, kv_dtype);
    uint64_t random = 211;
    for (int kind = 0; kind < KINDS; kind++) {
        fill(&f, kind, &random);
        memset(f.page, 0xa5, (size_t)attn_page_bytes(&f.shape));
        attn_page_seal(&f.shape, f.open_page, f.page);
        for (int32_t kv_head = 0; kv_head < KV_HEADS; kv_head++) check_head(&f, kv_head);
        check_isa(&f, &attn_seal_kernels_portable);
#if defined(__x86_64__)
        if (rt_machine_isa() >= RT_ISA_AVX2) check_isa(&f, &attn_seal_kernels_avx2);
        if (rt_machine_isa() >= RT_ISA_AVX512) check_isa(&f, &attn_seal_kernels_avx512);
#endif
    }
    check_canonical(&f, &random);
    fixture_free(&f);
}

int main(void) {
    static const int32_t dims[] = {16, 64, 80, 128, 256};
    for (size_t i = 0; i < sizeof dims / sizeof *dims; i++) {
        check(dims[i], RT_INT8);
        check(dims[i], RT_INT4);
        check(dims[i], RT_FP8);
    }
    return 0;
}
