/* The machine's tiles have the bits of those in plain C, which stand in for them in tests on other machines: what is added to what,
 * in which order and with which roundings, is as runtime/base/amx_tiles.h says. (The whole kernel's bits are not: what it does
 * between products goes by vectors, of 4 numbers there and of 16 here.)
 *
 * Method: products of tiles of several kinds, c of a kind of its own: numbers near 1, that cancel; of wide ranges; so small that products
 * or sums are below 2^-126, whole or in part; so large that some are infinite; any bits, NaN among them. Every element of
 * c has the same bits, or is NaN in both; what lies between lines is untouched. Skips without AMX. */
#include <math.h>
#include <string.h>

#include "help_check.h"
#include "help_random.h"
#include "runtime/base/machine.h"
#include "tile_product.h"

/* Numbers of any sign and mantissa, their exponents (biased by 127) in [first, last]. */
typedef struct range {
    int first;
    int last;
} range;

typedef struct kind {
    const char *name;
    range a;
    range b;
    range c;
} kind;

static const kind kinds[] = {
        {"near 1", {126, 127}, {126, 127}, {126, 128}},
        {"wide", {100, 150}, {100, 150}, {80, 170}},
        {"tiny products", {60, 64}, {60, 65}, {0, 3}},
        {"products that end below the smallest number", {55, 66}, {50, 66}, {0, 12}},
        {"tiny numbers", {0, 3}, {120, 130}, {0, 3}},
        {"tiny numbers times large ones", {0, 2}, {240, 254}, {110, 140}},
        {"huge", {185, 195}, {180, 190}, {240, 254}},
        {"all", {0, 255}, {0, 255}, {0, 255}},
};

static uint32_t number(range of, uint64_t *random) {
    const uint32_t exponent = (uint32_t)(of.first + random_below(random, of.last - of.first + 1));
    return (uint32_t)random_below(random, 2) << 31 | exponent << 23 |
           (uint32_t)random_below(random, 1 << 23);
}

static void fill(tile_operands *operands, const kind *of, uint64_t *random) {
    uint16_t *a = &operands->a[0][0][0], *b = &operands->b[0][0];
    float *c = &operands->c[0][0][0];
    for (size_t i = 0; i < sizeof operands->a / sizeof *a; i++)
        a[i] = (uint16_t)(number(of->a, random) >> 16);
    for (size_t i = 0; i < sizeof operands->b / sizeof *b; i++)
        b[i] = (uint16_t)(number(of->b, random) >> 16);
    for (size_t i = 0; i < sizeof operands->c / sizeof *c; i++) {
        const uint32_t bits = number(of->c, random);
        memcpy(c + i, &bits, sizeof bits);
    }
}

#if defined(GLM_WITH_AMX)
static void (*const by_machine)(tile_operands *) = tile_product_amx;
#else
static void (*const by_machine)(tile_operands *) = NULL;
#endif

static bool is_same(float x, float y) {
    return memcmp(&x, &y, sizeof x) == 0 || (isnan(x) && isnan(y));
}

static int64_t n_different(const tile_operands *one, const tile_operands *other) {
    const float *x = &one->c[0][0][0], *y = &other->c[0][0][0];
    int64_t n = 0;
    for (size_t i = 0; i < sizeof one->c / sizeof *x; i++) n += !is_same(x[i], y[i]);
    return n;
}

static int64_t check(const kind *of, int64_t n_products, uint64_t *random) {
    static tile_operands machine, plain;
    int64_t n = 0;
    for (int64_t i = 0; i < n_products; i++) {
        fill(&machine, of, random);
        plain = machine;
        by_machine(&machine);
        tile_product_amx_emulated(&plain);
        n += n_different(&machine, &plain);
    }
    if (n > 0) printf("FAIL %s: %lld numbers differ\n", of->name, (long long)n);
    return n;
}

/* One product that can be done by hand, everywhere. */
static void check_by_hand(void) {
    static tile_operands operands;
    for (int i = 0; i < TILE_LINES; i++) {
        operands.a[i][0][2 * i] = 0x3f80;     /* 1: row i takes even numbers of pair i, */
        operands.a[i][0][2 * i + 1] = 0x4000; /* and twice the odd ones */
        operands.c[i][0][3] = 0.5f;
        operands.c[i][1][3] = 7.0f;
        for (int j = 0; j < TILE_LINES; j++) {
            operands.b[i][2 * j] = (uint16_t)(i % 2 ? 0x3f80 : 0xc040); /* 1, -3 */
            operands.b[i][2 * j + 1] = j == 3 ? 0x4120 : 0x0001; /* 10, or so tiny that it is 0 */
        }
    }
    tile_product_amx_emulated(&operands);
    for (int i = 0; i < TILE_LINES; i++) {
        const float even = i % 2 ? 1.0f : -3.0f;
        for (int j = 0; j < TILE_LINES; j++)
            CHECK(operands.c[i][0][j] == even + (j == 3 ? 20.5f : 0.0f));
        CHECK(operands.c[i][1][3] == 7.0f);
    }
}

int main(void) {
    check_by_hand();
    if (!by_machine || rt_machine_isa() < RT_ISA_AMX) return 77;
    uint64_t random = 3;
    int64_t n = 0;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) n += check(&kinds[i], 1000, &random);
    return n > 0;
}
