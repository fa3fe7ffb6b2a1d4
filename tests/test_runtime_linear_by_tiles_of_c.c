/* Linear layers by tiles of AMX, whose tiles are plain C here, on any machine and under sanitizers: a product of rows and
 * weights within the bound of help_linear.h; the bits of a row the same alone as among others, whatever the thread's
 * scratch makes of a slice, and by halves made elsewhere, of a few inputs at a time; nothing is written past the rows and
 * outputs that there are, and what lies behind rows and weights takes no part. Where the machine has tiles, they give the same bits.
 *
 * Method: random weights packed here by the layout that ops.h documents, NaN behind the last of them and behind each row, few and
 * many rows, odd numbers of panels, inputs that fill no step, one slice of inputs and several. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "help_check.h"
#include "runtime/ops_simd.h"

void glm_linear_block_amx_emulated(const glm_block *block);
void glm_tiles_split_amx_emulated(glm_rows x, int64_t n, int64_t k, int64_t n_k, uint16_t *halves);
void glm_tiles_multiply_amx_emulated(
        const glm_block *block, const uint16_t *halves, int64_t k, int64_t n_k);

enum { PAST = 37, AMX_STEP = 32 };

typedef struct matrix {
    int64_t n_panels;
    int64_t n_in;
    uint16_t *panels;
    float *values; /* [n_in][n_out] */
    float *bias;
} matrix;

static uint64_t state = 7;
static float uniform(void) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (float)((double)(state >> 11) * 0x1p-52 - 1.0);
}

static void *room(int64_t n, size_t bytes) {
    void *at = calloc((size_t)n, bytes);
    CHECK(at);
    return at;
}

static matrix matrix_create(int64_t n_panels, int64_t n_in) {
    const int64_t n_out = n_panels * GLM_PANEL;
    const int64_t past = AMX_STEP * GLM_PANEL;
    matrix m = {
            n_panels, n_in, room(n_out * n_in + past, 2), room(n_out * n_in, 4), room(n_out, 4)};
    for (int64_t i = 0; i < past; i++) m.panels[n_out * n_in + i] = 0x7fc0;
    for (int64_t o = 0; o < n_out; o++) {
        m.bias[o] = uniform();
        for (int64_t k = 0; k < n_in; k++) {
            const uint16_t w = rt_float_to_bf16(uniform());
            const int64_t pair = (o / GLM_PANEL * n_in / 2 + k / 2) * GLM_PANEL + o % GLM_PANEL;
            m.panels[2 * pair + k % 2] = w;
            m.values[k * n_out + o] = rt_bf16_to_float(w);
        }
    }
    return m;
}

static void matrix_free(matrix *m) {
    free(m->panels);
    free(m->values);
    free(m->bias);
}

static glm_block block_of(const matrix *m, glm_rows x, int64_t n, glm_rows y, float *wide) {
    return (glm_block){.panels = m->panels,
            .dtype = RT_BF16,
            .n_panels = m->n_panels,
            .n_in = m->n_in,
            .bias = m->bias,
            .x = x,
            .n = n,
            .y = y,
            .wide = wide};
}

static void check_row(const matrix *m, const float *x, const float *y) {
    const int64_t n_out = m->n_panels * GLM_PANEL;
    for (int64_t o = 0; o < n_out; o++) {
        double sum = (double)m->bias[o], size = fabs(sum);
        for (int64_t k = 0; k < m->n_in; k++) {
            const double term = (double)x[k] * (double)m->values[k * n_out + o];
            sum += term;
            size += fabs(term);
        }
        const double bound = ((double)m->n_in + 2) * 0x1p-24 + 0x1p-17;
        CHECK(fabs((double)y[o] - sum) <= bound * size);
    }
}

static void multiply_in_parts(const glm_block *block, int64_t inputs) {
    const int64_t halves = (block->n + 15) / 16 * 16 * ((inputs + 31) / 32 * 32) * 2;
    uint16_t *to = aligned_alloc(64, (size_t)halves * sizeof *to);
    CHECK(to);
    for (int64_t k = 0; k < block->n_in; k += inputs) {
        const int64_t n_k = rt_min64(inputs, block->n_in - k);
        for (int64_t i = 0; i < halves; i++) to[i] = 0x7fc0;
        glm_tiles_split_amx_emulated(block->x, block->n, k, n_k, to);
        glm_tiles_multiply_amx_emulated(block, to, k, n_k);
    }
    free(to);
}

/* The bits that are in y, and go over what is no number; nothing elsewhere. */
static void check_parts(glm_block block, glm_rows y) {
    const int64_t n_out = block.n_panels * GLM_PANEL;
    const glm_rows again = {room(block.n * y.stride + PAST, 4), y.stride};
    block.y = again;
    block.wide = NULL;
    for (int64_t inputs = 32; inputs < 2 * block.n_in; inputs *= 4) {
        for (int64_t i = 0; i < block.n * y.stride + PAST; i++) again.data[i] = NAN;
        multiply_in_parts(&block, inputs);
        for (int64_t i = 0; i < block.n * y.stride + PAST; i++)
            if (i / y.stride >= block.n || i % y.stride >= n_out) CHECK(isnan(again.data[i]));
        for (int64_t r = 0; r < block.n; r++)
            CHECK(memcmp(again.data + r * y.stride, y.data + r * y.stride, (size_t)n_out * 4) == 0);
    }
    free(again.data);
}

static void check(int64_t n_rows, int64_t n_in, int64_t n_panels, float *wide) {
    matrix m = matrix_create(n_panels, n_in);
    const int64_t n_out = n_panels * GLM_PANEL, stride = n_out + 16;
    const glm_rows x = {room(n_rows * (n_in + PAST), 4), n_in + PAST};
    const glm_rows y = {room(n_rows * stride + PAST, 4), stride};
    const glm_rows alone = {room(stride, 4), stride};
    for (int64_t i = 0; i < n_rows * x.stride; i++)
        x.data[i] = i % x.stride < n_in ? uniform() : NAN;
    for (int64_t i = 0; i < n_rows * stride + PAST; i++) y.data[i] = -77.0f;
    glm_block block = block_of(&m, x, n_rows, y, wide);
    glm_linear_block_amx_emulated(&block);
    for (int64_t i = 0; i < n_rows * stride + PAST; i++)
        if (i / stride >= n_rows || i % stride >= n_out) CHECK(y.data[i] == -77.0f);
    if (n_rows > 2) check_parts(block, y);
    for (int64_t r = 0; r<n_rows; r += n_rows> 40 ? 31 : 5) {
        check_row(&m, x.data + r * x.stride, y.data + r * stride);
        block = block_of(&m, (glm_rows){x.data + r * x.stride, x.stride}, 1, alone, wide);
        glm_linear_block_amx_emulated(&block);
        CHECK(memcmp(alone.data, y.data + r * stride, (size_t)n_out * 4) == 0);
    }
#if defined(GLM_WITH_AMX)
    if (rt_machine_isa() == RT_ISA_AMX && glm_ops_has_tiles(RT_ISA_AMX)) {
        const glm_rows tiles = {room(n_rows * stride, 4), stride};
        block = block_of(&m, x, n_rows, tiles, wide);
        glm_linear_block_amx(&block);
        for (int64_t r = 0; r < n_rows; r++)
            CHECK(memcmp(tiles.data + r * stride, y.data + r * stride, (size_t)n_out * 4) == 0);
        free(tiles.data);
    }
#endif
    free(alone.data);
    free(y.data);
    free(x.data);
    matrix_free(&m);
}

int main(void) {
    float *wide = room(GLM_WIDE_FLOATS, 4);
    check(1, 32, 1, wide);
    check(1, 6176, 2, wide); /* two slices of 16 rows */
    check(16, 96, 3, wide);
    check(3, 2, 1, wide);
    check(18, 1712, 4, wide); /* 8 ranks' of a 9B */
    check(40, 94, 3, wide);
    check(17, 64, 2, wide);
    check(33, 160, 5, wide);
    check(193, 544, 3, wide); /* 192 rows in two slices, and one more */
    check(193, 526, 2, wide);
    check(80, 930, 5, wide); /* three chunks, a part of a step in the last */
    free(wide);
    return 0;
}
