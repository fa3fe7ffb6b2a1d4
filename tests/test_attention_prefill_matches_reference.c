/* Prefill equals the plain definition, whatever the shape.
 *
 * Method: odd head counts, head sizes and lengths, all KV types, query tokens that start at 0, in
 * the middle of a page and across splits; every row of every instruction set against fp64, within
 * the bound that help_attention.h derives. Rows of pages past the last token hold NaN. */
#include <math.h>

#include "help_attention.h"

typedef struct prefill_case {
    int32_t n_heads;
    int32_t n_kv_heads;
    int32_t head_dim;
    rt_dtype kv_dtype;
    int64_t pos; /* of the first query token; keys 0 .. pos + n_tokens - 1 */
    int64_t n_tokens;
    int64_t chunk;
} prefill_case;

static const prefill_case cases[] = {
        {1, 1, 16, RT_BF16, 0, 1, 1},
        {1, 1, 32, RT_F32, 0, 129, 129},
        {2, 1, 64, RT_BF16, 0, 200, 64},
        {3, 1, 48, RT_BF16, 5, 131, 50},
        {4, 2, 128, RT_BF16, 100, 61, 61},
        {4, 4, 48, RT_F32, 127, 2, 2},
        {5, 1, 32, RT_F32, 1000, 40, 7},
        {6, 3, 64, RT_F32, 383, 130, 128},
        {7, 7, 16, RT_BF16, 250, 33, 33},
        {8, 1, 128, RT_BF16, 0, 97, 97},
        {8, 2, 128, RT_F32, 300, 90, 45},
        {8, 8, 32, RT_BF16, 640, 128, 128},
        {16, 1, 256, RT_BF16, 77, 20, 20},
        {32, 4, 128, RT_BF16, 1023, 4, 4},
        {4, 1, 32, RT_BF16, 4090, 20, 20},
        {8, 4, 16, RT_F32, 8191, 3, 3},
        {4, 2, 128, RT_INT8, 100, 200, 200},
        {3, 1, 48, RT_INT8, 4000, 140, 50},
        {8, 1, 256, RT_INT4, 250, 20, 7},
        {5, 5, 80, RT_INT4, 0, 300, 300},
        {8, 1, 128, RT_FP8, 4090, 20, 20},
        {6, 2, 48, RT_FP8, 100, 160, 70},
};

typedef struct result {
    float *out;
    float *lse;
} result;

static result run(const prefill_case *c, const ath_layer *layer, const float *q, rt_isa isa) {
    const int64_t n_rows = c->n_tokens * c->n_heads;
    const ath_queries queries = {.q = q, .pos = c->pos, .n_tokens = c->n_tokens};
    const result r = {.out = ath_zeros(n_rows * c->head_dim), .lse = ath_zeros(n_rows)};
    ath_kernels kernels = ath_open(&layer->shape, isa, 2);
    ath_prefill(&kernels, layer, &queries, c->chunk, r.out, r.lse);
    ath_close(&kernels);
    return r;
}

static void check_rows(const prefill_case *c, const ath_layer *layer, const float *q,
        const result *results, double *errors) {
    const int64_t n_rows = c->n_tokens * c->n_heads;
    const int64_t step = ath_is_fast() ? 13 : 1; /* coprime to the usual head counts */
    for (int64_t r = 0; r < n_rows; r += step) {
        ath_row row;
        ath_layer_reference(layer, (int32_t)(r % c->n_heads), q + r * c->head_dim,
                c->pos + r / c->n_heads + 1, &row);
        for (rt_isa isa = RT_ISA_PORTABLE; isa <= RT_ISA_AMX; isa++)
            if (ath_has(isa, &layer->shape))
                errors[isa] =
                        fmax(errors[isa], ath_error(&row, isa, results[isa].out + r * c->head_dim,
                                                  results[isa].lse + r, c->head_dim));
    }
}

static void errors_of(size_t i, double *errors) {
    const prefill_case *c = &cases[i];
    const uint64_t seed = 1000 + i;
    const attn_shape shape = ath_shape(c->n_heads, c->n_kv_heads, c->head_dim, c->kv_dtype);
    ath_layer layer = ath_layer_create(&shape, c->pos + c->n_tokens, seed);
    float *q = ath_normals(c->n_tokens * c->n_heads * c->head_dim, seed + 7);
    result results[ATH_ISAS] = {{NULL, NULL}};
    for (rt_isa isa = RT_ISA_PORTABLE; isa <= RT_ISA_AMX; isa++)
        if (ath_has(isa, &shape)) results[isa] = run(c, &layer, q, isa);
    check_rows(c, &layer, q, results, errors);
    for (rt_isa isa = RT_ISA_PORTABLE; isa <= RT_ISA_AMX; isa++) {
        free(results[isa].out);
        free(results[isa].lse);
    }
    free(q);
    ath_layer_free(&layer);
}

int main(void) {
    ath_check_cases(sizeof cases / sizeof *cases, errors_of);
    return 0;
}
