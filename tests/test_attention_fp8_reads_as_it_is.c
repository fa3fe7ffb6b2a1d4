/* What a sealed page of fp8 stands for is what rows read, to the bit, of every code, whatever the scale; and where its values are
 * NaN, rows that leave the page out are as without it.
 *
 * Method: 128 keys far apart, and a query beside each, which gives that key's value alone: the codes of all numbers there
 * are, under small scales and large ones. Then one value is Inf, which makes NaN of the page's values, and every other query
 * is far from all of its keys. Prefilled and decoded; the page is the second of two, the first's keys and values are 0. */
#include <math.h>
#include <string.h>

#include "attention/attn_fp8.h"
#include "help_attention.h"

enum { HEADS = 8, KEYS = ATTN_PAGE_TOKENS, DIM = 128, TOKENS = 2 * KEYS + KEYS / HEADS };

static float number_at(int64_t key, int64_t d, int exponent) {
    const uint8_t code = (uint8_t)((key * 3 + d) % 256);
    const bool is_nan = (code & 0x7f) == 0x7f;
    return ldexpf((float)attn_fp8_number(is_nan ? code - 1 : code), exponent);
}

static void store_row(const ath_layer *layer, int64_t token, const float *k, const float *v) {
    uint16_t halves[2][DIM];
    for (int d = 0; d < DIM; d++) {
        halves[0][d] = rt_float_to_bf16(k[d]);
        halves[1][d] = rt_float_to_bf16(v[d]);
    }
    attn_page_pack(&layer->shape, layer->open_pages[token / KEYS], 0, (int32_t)(token % KEYS), 1,
            halves[0], halves[1]);
}

static void set_layer(ath_layer *layer, int exponent) {
    for (int64_t token = 0; token < TOKENS; token++) {
        const int64_t key = token - KEYS;
        const bool is_any = key >= 0 && key < KEYS;
        float k[DIM] = {0}, v[DIM] = {0};
        for (int d = 0; d < DIM && is_any; d++) v[d] = number_at(key, d, exponent);
        if (is_any) k[key] = 448.0f;
        store_row(layer, token, k, v);
    }
    for (int page = 0; page < 2; page++)
        attn_page_seal(&layer->shape, layer->open_pages[page], layer->pages[page]);
}

static void run(const ath_kernels *kernels, const ath_layer *layer, const float *q, float *out) {
    enum { QUERIES = KEYS / HEADS, ROW = HEADS * DIM };
    float last[ROW];
    const ath_queries queries = {.q = q, .pos = 2 * KEYS, .n_tokens = QUERIES};
    const attn_segment keys = ath_segment(layer, TOKENS);
    ath_prefill(kernels, layer, &queries, QUERIES, out, NULL);
    ath_decode(kernels, q + (QUERIES - 1) * ROW, &keys, 1, last);
    for (int i = 0; i < ROW; i++)
        CHECK(last[i] == out[(QUERIES - 1) * ROW + i] ||
                (isnan(last[i]) && isnan(out[(QUERIES - 1) * ROW + i])));
}

static void check_codes(const ath_kernels *kernels, ath_layer *layer, int exponent) {
    static float q[KEYS * DIM], out[KEYS * DIM];
    memset(q, 0, sizeof q);
    for (int key = 0; key < KEYS; key++) q[key * DIM + key] = 16.0f;
    set_layer(layer, exponent);
    run(kernels, layer, q, out);
    for (int i = 0; i < KEYS * DIM; i++) {
        const float expected = number_at(i / DIM, i % DIM, exponent) + 0.0f; /* -0 becomes 0 */
        CHECK(ath_same(&out[i], &expected, 1));
    }
}

/* Rows that leave the page out see only values of 0. */
static void check_nan(const ath_kernels *kernels, ath_layer *layer) {
    static float q[KEYS * DIM], out[KEYS * DIM];
    float k[DIM] = {0}, v[DIM] = {INFINITY};
    for (int row = 0; row < KEYS; row++)
        for (int d = 0; d < DIM; d++) q[row * DIM + d] = row % 2 == 0 ? 16.0f : -16.0f;
    set_layer(layer, 0);
    k[5] = 448.0f;
    store_row(layer, KEYS + 5, k, v);
    attn_page_seal(&layer->shape, layer->open_pages[1], layer->pages[1]);
    run(kernels, layer, q, out);
    for (int i = 0; i < KEYS * DIM; i++) CHECK(i / DIM % 2 == 0 ? isnan(out[i]) : out[i] == 0.0f);
}

int main(void) {
    static const int exponents[] = {-100, -20, 0, 100, 118};
    const attn_shape shape = ath_shape(HEADS, 1, DIM, RT_FP8);
    for (rt_isa isa = RT_ISA_PORTABLE; isa <= RT_ISA_AMX; isa++) {
        if (!ath_has(isa, &shape)) continue;
        ath_layer layer = ath_layer_create(&shape, TOKENS, 71);
        ath_kernels kernels = ath_open(&shape, isa, 2);
        for (size_t i = 0; i < sizeof exponents / sizeof *exponents; i++)
            check_codes(&kernels, &layer, exponents[i]);
        check_nan(&kernels, &layer);
        ath_close(&kernels);
        ath_layer_free(&layer);
    }
    return 0;
}
