/* Linear layers where there are tiles of AMX: one row and two, which vectors multiply, come to the bits that they have among
 * others, where tiles do; with tiles in plain C, on any machine, and by the machine's, which agree.
 *
 * Method: rows and weights of which order and rounding show. Sums that cancel; numbers whose halves, products or sums are
 * below 2^-126, or near it; some that overflow in one half, in a chain or in the sum; sums of negative zeros, and what comes
 * to one; infinity and NaN of either kind. Inputs that fill no step, two pieces of a row, odd numbers of panels. Three rows
 * (tiles), each alone and each beside another (vectors): the same bits, or NaN in both. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "help_check.h"
#include "runtime/ops_simd.h"

void glm_linear_block_amx_emulated(const glm_block *block);

enum { ROWS = 3, OUTS_MAX = 5 * GLM_PANEL, INPUTS_MAX = 49186 };

static float x[ROWS][INPUTS_MAX];
static uint16_t panels[OUTS_MAX * INPUTS_MAX / 5]; /* one panel of the longest */
static float bias[OUTS_MAX];
static float wide[GLM_WIDE_FLOATS];

/* ---- numbers --------------------------------------------------------------------------------- */

static uint64_t state = 11;
static uint32_t any(uint32_t n) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 33) % n;
}

/* Of either sign, 2^low to 2^high, as many bits behind the first as are asked for. */
static float number(int low, int high, int bits) {
    const float mantissa = 1.0f + (float)any(1u << bits) / (float)(1u << bits);
    const float size = ldexpf(mantissa, low + (int)any((uint32_t)(high - low)));
    return any(2) ? size : -size;
}

static float of_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

typedef enum kind {
    PLAIN,
    CANCELS,
    SMALL,
    NEAR_THE_EDGE,
    HUGE_ONES,
    ZEROS,
    NOT_FINITE,
    KINDS
} kind;
static const char *const names[KINDS] = {
        "plain", "cancels", "small", "near 2^-126", "huge", "zeros", "not finite"};

static float of_row(kind k) {
    static const uint32_t others[] = {0x7f800000u, 0xff800000u, 0x7fc00000u, 0xff800001u,
            0x7f7fffffu, 0xff7f8000u, 0x00000001u, 0x80000000u};
    if (k == CANCELS) return number(-30, 30, 23);
    if (k == SMALL) return number(-140, -50, 23);
    if (k == NEAR_THE_EDGE) return number(-78, -62, 10);
    if (k == HUGE_ONES) return number(118, 128, 23);
    if (k == ZEROS) return any(60) ? 0x1p-70f : number(-64, -62, 1);
    if (k == NOT_FINITE && any(40) == 0) return of_bits(others[any(8)]);
    return number(-4, 1, 23);
}

static float of_weight(kind k) {
    static const uint32_t others[] = {
            0x7f800000u, 0xff800000u, 0x7fc00000u, 0x7f7f0000u, 0x00010000u, 0x80000000u};
    if (k == CANCELS) return number(-30, 30, 7);
    if (k == SMALL) return number(-130, -20, 7);
    if (k == NEAR_THE_EDGE) return number(-78, -62, 2);
    if (k == HUGE_ONES) return number(-12, 3, 7);
    if (k == ZEROS) return -fabsf(number(-64, -62, 1));
    if (k == NOT_FINITE && any(400) == 0) return of_bits(others[any(6)]);
    return number(-6, 0, 7);
}

/* Half of what cancels is what was two or 32 inputs before, with the other sign. */
static void make(kind k, int64_t n_in, int64_t n_outs) {
    for (int64_t r = 0; r < ROWS; r++)
        for (int64_t i = 0; i < n_in; i++) {
            const int64_t before = any(2) ? 2 : 32;
            const bool cancels = k == CANCELS && i >= before && any(2);
            x[r][i] = cancels ? -x[r][i - before] : of_row(k);
        }
    for (int64_t i = 0; i < n_in * n_outs; i++) {
        const bool repeats = k == CANCELS && i >= 32 * GLM_PANEL && any(2);
        panels[i] = repeats ? panels[i - 32 * GLM_PANEL]
                            : (uint16_t)(rt_float_bits(of_weight(k)) >> 16);
    }
    for (int64_t o = 0; o < n_outs; o++) bias[o] = k == PLAIN ? number(-3, 3, 23) : -0.0f;
}

/* ---- products -------------------------------------------------------------------------------- */

typedef void linear_block(const glm_block *block);

static glm_block block_of(int64_t n_in, int64_t n_outs, int64_t row, int64_t n, float *y) {
    return (glm_block){.panels = panels,
            .dtype = RT_BF16,
            .n_panels = n_outs / GLM_PANEL,
            .n_in = n_in,
            .bias = bias,
            .x = {x[row], INPUTS_MAX},
            .n = n,
            .y = {y, OUTS_MAX},
            .wide = wide};
}

static void expect_same(
        const float *got, const float *want, int64_t n_outs, kind k, int64_t n_in, int64_t n) {
    for (int64_t o = 0; o < n_outs; o++) {
        if (memcmp(&got[o], &want[o], sizeof *got) == 0) continue;
        if (isnan(got[o]) && isnan(want[o])) continue;
        printf("FAIL %s, %d inputs, %d rows, output %d: %a, by tiles %a\n", names[k], (int)n_in,
                (int)n, (int)o, (double)got[o], (double)want[o]);
        CHECK(false);
    }
}

static void check(linear_block *multiply, kind k, int64_t n_in, int64_t n_outs, float *by_tiles) {
    static float y[2 * OUTS_MAX];
    glm_block block = block_of(n_in, n_outs, 0, ROWS, by_tiles);
    multiply(&block);
    for (int64_t row = 0; row < ROWS; row++)
        for (int64_t n = 1; n <= 2 && row + n <= ROWS; n++) {
            block = block_of(n_in, n_outs, row, n, y);
            multiply(&block);
            for (int64_t r = 0; r < n; r++)
                expect_same(y + r * OUTS_MAX, by_tiles + (row + r) * OUTS_MAX, n_outs, k, n_in, n);
        }
}

static void check_shape(kind k, int64_t n_in, int64_t n_outs) {
    static float plain[ROWS * OUTS_MAX];
    make(k, n_in, n_outs);
    check(glm_linear_block_amx_emulated, k, n_in, n_outs, plain);
#if defined(GLM_WITH_AMX)
    static float tiles[ROWS * OUTS_MAX];
    if (rt_machine_isa() != RT_ISA_AMX) return;
    check(glm_linear_block_amx, k, n_in, n_outs, tiles);
    for (int64_t r = 0; r < ROWS; r++)
        expect_same(plain + r * OUTS_MAX, tiles + r * OUTS_MAX, n_outs, k, n_in, ROWS);
#endif
}

int main(void) {
    for (kind k = PLAIN; k < KINDS; k++) {
        check_shape(k, 2, GLM_PANEL);
        check_shape(k, 32, 2 * GLM_PANEL);
        check_shape(k, 62, 3 * GLM_PANEL);
        check_shape(k, 96, 5 * GLM_PANEL);
        check_shape(k, 1712, 4 * GLM_PANEL);
    }
    check_shape(PLAIN, 24610, GLM_PANEL);      /* two pieces of two rows, */
    check_shape(PLAIN, INPUTS_MAX, GLM_PANEL); /* and of one */
    return 0;
}
