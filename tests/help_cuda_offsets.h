/* Rows beyond element 2^32 of the arrays of a million tokens: the same numbers as anywhere, in
 * their place.
 *
 * Method: arrays of 2^20 + 200 tokens x 32 heads x 128 are reserved, not filled: 35 GB. One block of the
 * launch runs, the last rows of the last head, over two segments, so that state goes out and comes
 * back; on a GPU all do. */
#ifndef HELP_CUDA_OFFSETS_H
#define HELP_CUDA_OFFSETS_H

#include "help_cuda.h"

template <typename T> static inline T *offsets_reserve(int64_t n) {
    return (T *)cuda_reserve((size_t)n * sizeof(T));
}

static inline int prefill_beyond_2_32(int tile_rows) {
    enum { HEADS = 32, KV_HEADS = 4, KEYS_LEFT = 200 };
    const int64_t first = (int64_t)1 << 20, n = first + KEYS_LEFT;
    const attn_shape shape = cuda_shape(HEADS, KV_HEADS);
    const cuda_layer layer(shape, KEYS_LEFT, 1);
    const cuda_buffer<void *> pages(layer.pages);
    attn_cuda_prefill_args args = {};
    uint16_t *q = offsets_reserve<uint16_t>(n * HEADS * 128);
    args.q = q;
    args.q_stride = HEADS * 128;
    args.n_tokens = n;
    args.max = offsets_reserve<float>(n * HEADS);
    args.sum = offsets_reserve<float>(n * HEADS);
    args.out = offsets_reserve<float>(n * HEADS * 128);
    args.attended = offsets_reserve<uint16_t>(n * HEADS * 128);
    args.lse = offsets_reserve<float>(n * HEADS);
    const int64_t n_tiles = (n + tile_rows - 1) / tile_rows;
    const int64_t rows_from = (n_tiles - 1) * tile_rows;
    std::vector<uint16_t> rows((size_t)(n - rows_from) * 128);
    for (int64_t t = rows_from; t < n; t++) {
        uint16_t *row = &rows[(size_t)(t - rows_from) * 128];
        cuda_fill_normal(row, 128, (uint64_t)t);
        cuda_copy(q + (t * HEADS + HEADS - 1) * 128, row, 256);
    }
    emu_seed(0);
    emu_set_sm_count(1 << 30); /* a block a tile */
    emu_only_block(HEADS - 1); /* the latest rows are the first tiles */
    for (int segment = 0; segment < 2; segment++) {
        args.pages = pages.data + segment;
        args.first_pos = first + segment * 128;
        args.n_keys = segment ? KEYS_LEFT - 128 : 128;
        args.is_first = segment == 0;
        args.is_last = segment == 1;
        CHECK(PREFILL(&shape, &args, NULL) == RT_OK);
        cuda_wait();
    }
    emu_only_block(-1);
    emu_set_sm_count(2);
    double worst = 0.0;
    for (int64_t t = rows_from > first ? rows_from : first; t < n; t += 7) {
        const int64_t row = t * HEADS + HEADS - 1;
        CHECK(row * 128 > (int64_t)1 << 32);
        const uint16_t *q_row = &rows[(size_t)(t - rows_from) * 128];
        const cuda_row right = cuda_reference(layer, HEADS - 1, q_row, t - first + 1);
        uint16_t attended[128];
        float lse;
        cuda_copy(attended, args.attended + row * 128, sizeof attended);
        cuda_copy(&lse, args.lse + row, sizeof lse);
        worst = fmax(worst, cuda_error(right, attended, &lse));
    }
    printf("beyond 2^32: worst error %.3f of the bound\n", worst);
    CHECK(worst <= 1.0);
    return 0;
}

#endif
