/* Decode over e4m3 pages: the sequences of help_cuda_decode.h with their full pages sealed, and what a query
 * then sees: its own page as it was, every earlier one as its codes say. */
#ifndef HELP_CUDA_FP8_H
#define HELP_CUDA_FP8_H

#include "attention/attn_fp8.h"
#include "help_cuda_decode.h"

/* Rows of a KV head of a page, those past the last token 0. */
static inline std::vector<uint16_t> fp8_rows(
        const cuda_layer &layer, const std::vector<float> &from, int g, int64_t page) {
    std::vector<uint16_t> rows(128 * 128);
    for (int64_t t = page * 128; t < (page + 1) * 128 && t < layer.n_tokens; t++)
        for (int d = 0; d < 128; d++)
            rows[(size_t)((t % 128) * 128 + d)] =
                    rt_float_to_bf16(from[(size_t)((g * layer.n_tokens + t) * 128 + d)]);
    return rows;
}

struct fp8_pages {
    std::vector<std::unique_ptr<cuda_buffer<uint8_t>>> memory;
    std::vector<void *> pages; /* of the full ones; NULL for the last */
    cuda_layer sealed;         /* every full page as its codes say */

    explicit fp8_pages(const cuda_layer &layer) : sealed(layer.shape, 0, 0) {
        sealed.n_tokens = layer.n_tokens;
        sealed.k = layer.k;
        sealed.v = layer.v;
        for (int64_t page = 0; page < layer.n_tokens / 128; page++) {
            memory.emplace_back(new cuda_buffer<uint8_t>(
                    (int64_t)layer.shape.n_kv_heads * ATTN_FP8_PLACE_BYTES));
            pages.push_back(memory.back()->data);
            for (int g = 0; g < layer.shape.n_kv_heads; g++) seal(layer, g, page);
        }
        if (layer.n_tokens % 128) pages.push_back(NULL);
    }
    void seal(const cuda_layer &layer, int g, int64_t page) {
        uint8_t *head = memory[(size_t)page]->data + g * ATTN_FP8_PLACE_BYTES;
        attn_fp8_seal(fp8_rows(layer, layer.k, g, page).data(),
                fp8_rows(layer, layer.v, g, page).data(), head);
        float scales[2];
        memcpy(scales, head + ATTN_FP8_SCALES_AT, sizeof scales);
        for (int t = 0; t < 128; t++)
            for (int d = 0; d < 128; d++) {
                const size_t at = (size_t)((g * layer.n_tokens + page * 128 + t) * 128 + d);
                const uint8_t k = head[t * 128 + ((d / 16) ^ (t % 8)) * 16 + d % 16];
                const uint8_t v = head[ATTN_FP8_TILE_BYTES + t / 16 * 2048 + d * 16 + t % 16];
                sealed.k[at] = (float)((double)scales[0] * attn_fp8_number(k));
                sealed.v[at] = (float)((double)scales[1] * attn_fp8_number(v));
            }
    }
    /* What a query at pos sees. */
    cuda_layer seen_from(const cuda_layer &layer, int64_t pos) const {
        cuda_layer seen(layer.shape, 0, 0);
        seen.n_tokens = layer.n_tokens;
        seen.k = sealed.k;
        seen.v = sealed.v;
        for (int g = 0; g < layer.shape.n_kv_heads; g++)
            for (int64_t t = pos / 128 * 128; t <= pos; t++)
                for (int d = 0; d < 128; d++) {
                    const size_t at = (size_t)((g * layer.n_tokens + t) * 128 + d);
                    seen.k[at] = layer.k[at];
                    seen.v[at] = layer.v[at];
                }
        return seen;
    }
};

/* Query tokens [first, first + n) of one sequence. */
static inline void fp8_run(
        const decode_batch &b, const fp8_pages &fp8, int first, int n, decode_result *result) {
    const cuda_layer &layer = *b.layers[0];
    const int64_t length = layer.n_tokens - b.n_queries + first + n;
    const cuda_buffer<int64_t> lengths(std::vector<int64_t>{length});
    const cuda_buffer<void *> pages(fp8.pages);
    const cuda_buffer<void *> open(std::vector<void *>(
            layer.pages.begin() + (length - n) / 128, layer.pages.begin() + (length + 127) / 128));
    const cuda_buffer<void *const *> seq_pages(std::vector<void *const *>{pages.data});
    const cuda_buffer<void *const *> seq_open(std::vector<void *const *>{open.data});
    decode_memory memory(b.shape, length, 1, n);
    attn_cuda_decode_args args = {};
    args.q = b.q->data + (int64_t)first * b.shape.n_heads * 128;
    args.q_stride = b.shape.n_heads * 128;
    args.lengths = lengths.data;
    args.max_tokens = length;
    args.n_seqs = 1;
    args.n_queries = n;
    args.pages = seq_pages.data;
    args.attended = result->out.data + (int64_t)first * b.shape.n_heads * 128;
    args.lse = result->lse.data + (int64_t)first * b.shape.n_heads;
    memory.give(&args);
    args.open_pages = seq_open.data;
    emu_forget_global();
    CHECK(DECODE(&b.shape, &args, NULL) == RT_OK);
    cuda_wait();
}

/* n_queries query tokens together: the worst error in terms of the bound for what each sees; and each
 * alone has the same bits. */
static inline double fp8_try(
        int n_heads, int n_kv_heads, int n_queries, int64_t length, uint64_t seed, bool is_alone) {
    const decode_batch b(n_heads, n_kv_heads, n_queries, {length}, seed);
    const cuda_layer &layer = *b.layers[0];
    const fp8_pages fp8(layer);
    decode_result together(b.rows()), alone(b.rows());
    fp8_run(b, fp8, 0, n_queries, &together);
    double worst = 0.0;
    for (int j = 0; j < n_queries; j++) {
        const int64_t pos = length - n_queries + j;
        const cuda_layer seen = fp8.seen_from(layer, pos);
        for (int h = 0; h < n_heads; h++) {
            const int64_t at = (int64_t)j * n_heads + h;
            const cuda_row row = cuda_reference(seen, h, b.q->data + at * 128, pos + 1);
            worst = fmax(worst, cuda_error(row, together.out.data + at * 128, &together.lse[at]));
        }
        if (!is_alone || (cuda_is_fast() && j % 5 > 1)) continue;
        fp8_run(b, fp8, j, 1, &alone);
        const int64_t at = (int64_t)j * n_heads;
        CHECK(memcmp(together.out.data + at * 128, alone.out.data + at * 128, n_heads * 256) == 0);
        CHECK(memcmp(&together.lse[at], &alone.lse[at], n_heads * 4) == 0);
    }
    return worst;
}

/* Sequences over e4m3 pages, of which those of `passes` share pages; all in one call, attending as it says. */
static inline void fp8_run_all(const decode_batch &b,
        const std::vector<std::unique_ptr<fp8_pages>> &fp8, const decode_passes &passes,
        decode_result *result) {
    const int n = (int)b.layers.size();
    std::vector<std::unique_ptr<cuda_buffer<void *>>> lists;
    cuda_buffer<int64_t> lengths(n);
    cuda_buffer<void *const *> pages(n), open(n);
    int64_t max = 0;
    for (int i = 0; i < n; i++) {
        const cuda_layer &layer = *b.layers[(size_t)i];
        const int64_t first_open = (layer.n_tokens - b.n_queries) / 128;
        lengths[i] = layer.n_tokens;
        max = layer.n_tokens > max ? layer.n_tokens : max;
        lists.emplace_back(new cuda_buffer<void *>(fp8[(size_t)i]->pages));
        pages[i] = lists.back()->data;
        lists.emplace_back(new cuda_buffer<void *>(
                std::vector<void *>(layer.pages.begin() + first_open, layer.pages.end())));
        open[i] = lists.back()->data;
    }
    decode_memory memory(b.shape, max, n, b.n_queries);
    attn_cuda_decode_args args = {};
    args.q = b.q->data;
    args.q_stride = b.shape.n_heads * 128;
    args.lengths = lengths.data;
    args.max_tokens = max;
    args.n_seqs = n;
    args.n_queries = b.n_queries;
    args.pages = pages.data;
    args.open_pages = open.data;
    args.attended = result->out.data;
    args.lse = result->lse.data;
    memory.give(&args);
    emu_forget_global();
    decode_call(b.shape, args, passes);
}

/* Sequences that share split 0 of e4m3 pages, and attend to it together or not: the same bits. */
static inline double fp8_forks(int n_heads, int n_queries, const std::vector<int64_t> &lengths) {
    const int n = (int)lengths.size();
    const decode_batch b(n_heads, 1, n_queries, lengths, 23);
    std::vector<std::unique_ptr<fp8_pages>> fp8;
    decode_passes passes = {{{0, n, 0, 1}}, {}, n};
    for (int i = 0; i < n; i++) {
        decode_share(*b.layers[(size_t)i], *b.layers[0], ATTN_SPLIT_TOKENS);
        fp8.emplace_back(new fp8_pages(*b.layers[(size_t)i]));
        for (size_t page = 0; page < ATTN_SPLIT_TOKENS / 128; page++)
            fp8.back()->pages[page] = fp8.front()->pages[page];
        passes.list.push_back({i, 1, 1, 2});
        passes.order.push_back((i + 1) % n);
    }
    decode_result together(b.rows()), alone(b.rows());
    fp8_run_all(b, fp8, passes, &together);
    fp8_run_all(b, fp8, {}, &alone);
    CHECK(memcmp(together.out.data, alone.out.data, (size_t)b.rows() * 256) == 0);
    CHECK(memcmp(together.lse.data, alone.lse.data, (size_t)b.rows() * 4) == 0);
    double worst = 0.0;
    for (int64_t at = 0; at < b.rows(); at += 5) {
        const cuda_layer &layer = *b.layers[(size_t)(at / n_heads / n_queries)];
        const int64_t pos = layer.n_tokens - n_queries + at / n_heads % n_queries;
        const cuda_layer seen = fp8[(size_t)(at / n_heads / n_queries)]->seen_from(layer, pos);
        const cuda_row row =
                cuda_reference(seen, (int)(at % n_heads), b.q->data + at * 128, pos + 1);
        worst = fmax(worst, cuda_error(row, together.out.data + at * 128, &together.lse[at]));
    }
    return worst;
}

/* Sequences whose tiles one block takes one after the other, and two, and as many as there might be, of which some have none where
 * others are a split longer: the same bits. The worst error of their last tokens. */
static inline double fp8_several(int n_heads, const std::vector<int64_t> &lengths) {
    const decode_batch b(n_heads, 1, 1, lengths, 29);
    std::vector<std::unique_ptr<fp8_pages>> fp8;
    for (const auto &layer : b.layers) fp8.emplace_back(new fp8_pages(*layer));
    decode_result one(b.rows());
    emu_set_sm_count(1);
    fp8_run_all(b, fp8, {}, &one);
    for (const int n_sms : {1 << 30, 2}) {
        decode_result more(b.rows());
        emu_set_sm_count(n_sms);
        fp8_run_all(b, fp8, {}, &more);
        CHECK(memcmp(one.out.data, more.out.data, (size_t)b.rows() * 256) == 0);
        CHECK(memcmp(one.lse.data, more.lse.data, (size_t)b.rows() * 4) == 0);
    }
    double worst = 0.0;
    for (int64_t at = 0; at < b.rows(); at++) {
        const size_t seq = (size_t)(at / n_heads);
        const int64_t n_keys = b.layers[seq]->n_tokens;
        const cuda_row row = cuda_reference(fp8[seq]->seen_from(*b.layers[seq], n_keys - 1),
                (int)(at % n_heads), b.q->data + at * 128, n_keys);
        worst = fmax(worst, cuda_error(row, one.out.data + at * 128, &one.lse[at]));
    }
    return worst;
}

/* A query that is NaN, over one split and over two. */
static inline void fp8_nan_shows() {
    for (const int64_t length : {200, 4200}) {
        const decode_batch b(8, 1, 1, {length}, 19);
        const fp8_pages fp8(*b.layers[0]);
        decode_result result(8);
        b.q->data[2 * 128 + 5] = 0x7fc0;
        emu_seed(2);
        fp8_run(b, fp8, 0, 1, &result);
        decode_check_nan(result, 8);
    }
}

/* Of 8, 16 and 72 rows, queries on both sides of the end of a page and of a split; see decode_once about 72. */
static inline void fp8_once() {
    emu_seed(1);
    double worst = fp8_try(4, 1, 2, 129, 4, false);
    worst = fmax(worst, fp8_try(8, 2, 2, 4097, 5, false));
    worst = fmax(worst, fp8_try(1, 1, 72, 192, 6, false));
    printf("e4m3, once: worst error %.3f of the bound\n", worst);
    CHECK(worst <= 1.0);
}

static inline void fp8_behaves() {
    if (cuda_is_least()) return fp8_once();
    fp8_nan_shows();
    double worst = 0.0;
    emu_seed(1);
    worst = fmax(worst, fp8_try(8, 1, 1, 5, 1, false));
    worst = fmax(worst, fp8_try(8, 2, 1, 256, 2, false));
    worst = fmax(worst, fp8_try(8, 1, 3, 258, 3, true)); /* two in a page, one in the next */
    worst = fmax(worst, fp8_try(4, 1, 2, 129, 4, true));
    emu_seed(2);
    worst = fmax(worst, fp8_try(8, 1, 2, 4097, 5, true)); /* on both sides of a split's end */
    worst = fmax(worst, fp8_try(8, 1, 1, cuda_is_fast() ? 4200 : 8400, 6, false));
    emu_seed(0);
    worst = fmax(worst, fp8_try(8, 1, 16, 392, 7, true)); /* 128 rows */
    worst = fmax(worst, fp8_forks(8, 1, {4097, 4230, 4224}));
    emu_seed(8);
    if (!cuda_is_fast()) /* a query on either side; 96 rows */
        worst = fmax(worst, fp8_forks(16, 2, {4230, 4225, 4300}));
    printf("e4m3: worst error %.3f of the bound\n", worst);
    CHECK(worst <= 1.0);
}

#endif
