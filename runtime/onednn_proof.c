/* The proof that onednn.h speaks of: random rows, in blocks of every size, at several places of a block. */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "onednn_inside.h"

typedef struct trial {
    glm_onednn *o;
    int64_t width;
    uint16_t *x; /* in parts, of 2 x ROWS rows: rows, and the same rows again */
    uint16_t *panel;
    float *want; /* [ROWS][OUTS]: each row's, in the largest block */
} trial;

/* Numbers of all sizes up to 1 and down to 2^-8, so that sums in another order round otherwise. */
static uint16_t number(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    const double uniform = (double)(*state >> 11) * 0x1p-52 - 1.0;
    return rt_float_to_bf16((float)(uniform * ((*state & 0x100u) ? 1.0 : 0x1p-8)));
}

static void fill(const trial *t) {
    uint64_t state = 4;
    for (int64_t from = 0; from < t->width; from += GLM_ONEDNN_PART) {
        uint16_t *x = t->x + from * 2 * GLM_ONEDNN_ROWS;
        const int64_t half = GLM_ONEDNN_ROWS * glm_onednn_part(t->width, from);
        for (int64_t i = 0; i < half; i++) x[i] = x[half + i] = number(&state);
    }
    for (int64_t i = 0; i < GLM_ONEDNN_OUTS * t->width; i++) t->panel[i] = number(&state);
}

static uint16_t x_at(const trial *t, int64_t row, int64_t k) {
    const int64_t from = k - k % GLM_ONEDNN_PART;
    return t->x[from * 2 * GLM_ONEDNN_ROWS + row * glm_onednn_part(t->width, from) + k - from];
}

/* One output against its definition: the panel is laid out as we think. Each of `width` terms rounds at most
 * twice, as a product and as it is added; each part once more, as it is added. */
static bool is_product(const trial *t, int64_t row, int64_t out) {
    double sum = 0.0;
    double magnitude = 0.0;
    for (int64_t k = 0; k < t->width; k++) {
        const int64_t at = k / 2 * 2 * GLM_ONEDNN_OUTS + 2 * out + k % 2;
        const double term =
                (double)rt_bf16_to_float(x_at(t, row, k)) * (double)rt_bf16_to_float(t->panel[at]);
        sum += term;
        magnitude += fabs(term);
    }
    const double got = (double)t->want[row * GLM_ONEDNN_OUTS + out];
    const int64_t n_roundings = 2 * t->width + rt_div_up(t->width, GLM_ONEDNN_PART) + 1;
    return fabs(got - sum) <= (double)n_roundings * 0x1p-24 * magnitude;
}

static int multiply(const trial *t, int size, int64_t from) {
    const glm_onednn_rows_in x = {t->x, 2 * GLM_ONEDNN_ROWS, from};
    return glm_onednn_try(t->o, &t->o->threads[0], size, x, t->width, t->panel);
}

/* Blocks of a size that begin at row `from`: every row has the bits it has in the largest from row 0. */
static bool has_same_bits(const trial *t, int size, int64_t from) {
    glm_onednn_thread *thread = &t->o->threads[0];
    if (multiply(t, size, from) != 0) return false;
    for (int64_t row = 0; row < glm_onednn_sizes[size]; row++)
        if (memcmp(thread->sums + row * GLM_ONEDNN_OUTS,
                    t->want + (from + row) % GLM_ONEDNN_ROWS * GLM_ONEDNN_OUTS,
                    GLM_ONEDNN_OUTS * sizeof(float)) != 0)
            return false;
    return true;
}

static bool agrees(const trial *t, int size) {
    static const int64_t places[] = {0, 1, 13, 31, 47, 63};
    for (int i = 0; i < 6; i++)
        if (!has_same_bits(t, size, places[i])) return false;
    return true;
}

static rt_status prove_width(const trial *t) {
    fill(t);
    RT_TRY(glm_onednn_check(multiply(t, 0, 0), "a product"));
    memcpy(t->want, t->o->threads[0].sums, GLM_ONEDNN_TILE_BYTES);
    if (!is_product(t, 0, 0) || !is_product(t, 63, 63) || !is_product(t, 17, 34))
        return rt_fail(RT_EUNSUPPORTED, "linear: %s computes something else for rows of %lld",
                t->o->lib.name, (long long)t->width);
    for (int size = 0; size < GLM_ONEDNN_SIZES; size++) {
        if (!t->o->has_size[size] || agrees(t, size)) continue;
        if (size < 2)
            return rt_fail(RT_EUNSUPPORTED,
                    "linear: %s gives a row of %lld numbers other bits beside others, so that "
                    "answers would "
                    "depend on how a prompt is cut",
                    t->o->lib.name, (long long)t->width);
        t->o->has_size[size] = false;
    }
    return RT_OK;
}

rt_status glm_onednn_prove(glm_onednn *o, int64_t width) {
    trial t = {.o = o, .width = width};
    const int64_t row_bytes = t.width * (int64_t)sizeof *t.x;
    const int64_t bytes =
            (2 * GLM_ONEDNN_ROWS + GLM_ONEDNN_OUTS) * row_bytes + GLM_ONEDNN_TILE_BYTES;
    void *memory = NULL;
    RT_TRY(rt_mem_alloc(bytes, "a trial of oneDNN", &memory));
    t.want = memory;
    t.x = (uint16_t *)((char *)memory + GLM_ONEDNN_TILE_BYTES);
    t.panel = t.x + 2 * GLM_ONEDNN_ROWS * t.width;
    const rt_status status = prove_width(&t);
    rt_mem_free(memory, bytes);
    return status;
}
