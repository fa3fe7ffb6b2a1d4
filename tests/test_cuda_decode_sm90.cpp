/* The decode kernel for Hopper, run thread by thread on the CPU: what it writes is the definition's, within a
 * derived bound, and neither the batch, nor the longest length, nor the number of tokens changes a bit of a
 * row; over e4m3 pages likewise.
 *
 * Method: tests/emu runs the kernel's own text, blocks in random order. Pages lie in random order,
 * their unused rows hold NaN. Lengths are all tails 1..127 and what crosses the splits of 4096. */
#include "help_cuda_machine.h"

#include "attention/attn_decode_sm90.cu"

#define DECODE        attn_cuda_decode_sm90
#define DECODE_SPLITS 66
#include "help_cuda_decode.h"
#include "help_cuda_fp8.h"

/* Over e4m3 pages errors are no greater than over bf16 pages of what the codes say, whose weights are bf16: here those
 * of closed pages are f16. */
static void beside_bf16() {
    const int n_keys = cuda_is_fast() ? 1100 : 4500;
    const decode_batch b(8, 1, 1, {n_keys}, 15);
    cuda_layer &layer = *b.layers[0];
    const fp8_pages fp8(layer);
    decode_result codes(8), rows(8);
    emu_seed(0);
    fp8_run(b, fp8, 0, 1, &codes);
    const cuda_layer seen = fp8.seen_from(layer, n_keys - 1);
    layer.k = seen.k;
    layer.v = seen.v;
    for (int64_t t = 0; t < n_keys; t++) layer.put(0, t);
    decode_run(b, n_keys, 0, 1, &rows);
    double squares[2] = {};
    for (int h = 0; h < 8; h++) {
        const cuda_row row = cuda_reference(layer, h, b.q->data + h * 128, n_keys);
        for (int d = 0; d < 128; d++) {
            squares[0] += pow(rt_bf16_to_float(codes.out[h * 128 + d]) - row.out[d], 2);
            squares[1] += pow(rt_bf16_to_float(rows.out[h * 128 + d]) - row.out[d], 2);
        }
    }
    printf("e4m3: error %.3g, over bf16 pages %.3g\n", sqrt(squares[0] / 1024),
            sqrt(squares[1] / 1024));
    CHECK(squares[0] <= squares[1]);
}

/* Pages and queries of any size, which f16 could not hold: a row's error is within the bound of what it sees. A page
 * of huge values has no weight, so that what small ones come to is looked at; one has no keys or values but 0. */
static void sizes() {
    const int n_pages = 9, heads = 8;
    const decode_batch b(heads, 1, 1, {n_pages * 128 + 5}, 16);
    cuda_layer &layer = *b.layers[0];
    const int value_powers[10] = {15, 30, -20, 0, 3, 0, -7, 40, -20, -3};
    const int query_powers[8] = {0, -60, -30, -12, 3, 20, 24, 26};
    for (int64_t t = 0; t < layer.n_tokens; t++)
        for (int d = 0; d < 128; d++) {
            const int page = (int)(t / 128);
            float *k = &layer.k[(size_t)(t * 128 + d)], *v = &layer.v[(size_t)(t * 128 + d)];
            *v = rt_bf16_to_float(rt_float_to_bf16(ldexpf(*v, value_powers[page])));
            *k = rt_bf16_to_float(rt_float_to_bf16(ldexpf(*k, -24)));
            if (page == 3) *k = *v = 0.0f;
            if (d == 0) *k = page == 0 || page == 1 || page == 7 ? -256.0f : 0.0f;
        }
    for (int64_t t = 0; t < layer.n_tokens; t++) layer.put(0, t);
    for (int h = 0; h < heads; h++)
        for (int d = 0; d < 128; d++) {
            uint16_t *q = &b.q->data[h * 128 + d];
            *q = rt_float_to_bf16(d == 0 ? 64.0f : ldexpf(rt_bf16_to_float(*q), query_powers[h]));
        }
    const fp8_pages fp8(layer);
    decode_result result(heads);
    emu_seed(0);
    fp8_run(b, fp8, 0, 1, &result);
    const cuda_layer seen = fp8.seen_from(layer, layer.n_tokens - 1);
    double worst = 0.0;
    for (int h = 0; h < heads; h++)
        worst = fmax(worst, cuda_error(cuda_reference(seen, h, b.q->data + h * 128, layer.n_tokens),
                                    result.out.data + h * 128, &result.lse[h]));
    printf("sizes: worst error %.3f of the bound\n", worst);
    CHECK(worst <= 1.0);
}

/* Nothing but 0 in closed pages, whose scale is the smallest, and large values in the open one. */
static void zeros() {
    const decode_batch b(8, 1, 1, {261}, 18);
    cuda_layer &layer = *b.layers[0];
    for (int64_t t = 0; t < 261; t++)
        for (int d = 0; d < 128; d++) {
            layer.k[(size_t)(t * 128 + d)] *= t < 256 ? 0.0f : 1.0f;
            layer.v[(size_t)(t * 128 + d)] *= t < 256 ? 0.0f : 0x1p15f;
        }
    for (int64_t t = 0; t < 261; t++) layer.put(0, t);
    const fp8_pages fp8(layer);
    decode_result result(8);
    emu_seed(0);
    fp8_run(b, fp8, 0, 1, &result);
    const cuda_layer seen = fp8.seen_from(layer, 260);
    for (int h = 0; h < 8; h++)
        CHECK(cuda_error(cuda_reference(seen, h, b.q->data + h * 128, 261),
                      result.out.data + h * 128, &result.lse[h]) <= 1.0);
}

/* One key has a weight of 1 and a value of 0, thousands 2^-20 and 1: what they come to is right. */
static void flat() {
    const int n_keys = cuda_is_fast() ? 1029 : 8190;
    const decode_batch b(8, 1, 1, {n_keys}, 17);
    cuda_layer &layer = *b.layers[0];
    for (int64_t t = 0; t < n_keys; t++)
        for (int d = 0; d < 128; d++) {
            layer.k[(size_t)(t * 128 + d)] = t == 300 && d == 0 ? 20.0f : 0.0f;
            layer.v[(size_t)(t * 128 + d)] = t == 300 ? 0.0f : 1.0f;
        }
    for (int64_t t = 0; t < n_keys; t++) layer.put(0, t);
    for (int i = 0; i < 8 * 128; i++) b.q->data[i] = rt_float_to_bf16(i % 128 ? 0.0f : 7.84f);
    const fp8_pages fp8(layer);
    decode_result result(8);
    emu_seed(0);
    fp8_run(b, fp8, 0, 1, &result);
    const cuda_row row = cuda_reference(fp8.seen_from(layer, n_keys - 1), 0, b.q->data, n_keys);
    const double worst = cuda_error(row, result.out.data, &result.lse[0]);
    printf("flat: %.4g where %.4g is right, error %.3f of the bound\n",
            rt_bf16_to_float(result.out[0]), row.out[0], worst);
    CHECK(worst <= 1.0);
}

/* Tiles that a block takes one after the other: of other sequences, and of one, whose rows stay where they are; bits are
 * those of other blocks. */
static void tiles_one_after_the_other() {
    std::vector<int64_t> lengths = {300, 5, 700, 130, 37, 257};
    if (!cuda_is_fast()) lengths.push_back(2 * SPLIT + 4);
    double worst = fp8_several(8, lengths);
    if (!cuda_is_fast()) worst = fmax(worst, fp8_several(40, {SPLIT + 132})); /* of 64 columns */
    printf("e4m3, tiles one after the other: worst error %.3f of the bound\n", worst);
    CHECK(worst <= 1.0);
}

/* Every tile is taken once; and of those of two questions on a book of 128K, 128 of 32 pages and 8 of 20 on 132 SMs, no
 * block has a long one and a short one: some have two short ones. */
static void tiles_are_dealt() {
    enum { N_BLOCKS = 132, N_TILES = 136, N_LONG = 128, N_MANY = 5 * N_BLOCKS + 3 };
    int n_pages_max = 0;
    std::vector<int> n_taken(N_MANY);
    for (int block = 0; block < N_BLOCKS; block++) {
        int n_pages = 0;
        for (int at = block; at < N_MANY; at = next_tile(at, N_BLOCKS)) {
            n_taken[(size_t)at]++;
            if (at < N_TILES) n_pages += at < N_LONG ? 32 : 20;
        }
        n_pages_max = n_pages > n_pages_max ? n_pages : n_pages_max;
    }
    CHECK(n_taken == std::vector<int>(N_MANY, 1));
    CHECK(n_pages_max == 40);
}

int main() {
    tiles_are_dealt();
    decode_behaves();
    if (cuda_is_least()) {
        decode_many_splits(); /* two levels of the tree */
        fp8_behaves();
        return 0;
    }
    fp8_behaves();
    tiles_one_after_the_other();
    beside_bf16();
    sizes();
    zeros();
    flat();
    return 0;
}
