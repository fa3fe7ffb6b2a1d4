/* Running the decode kernel over sequences of help_cuda.h. */
#ifndef HELP_CUDA_DECODE_H
#define HELP_CUDA_DECODE_H

#include "help_cuda.h"

struct decode_batch {
    attn_shape shape;
    int n_queries;
    std::vector<std::unique_ptr<cuda_layer>> layers; /* one a sequence */
    std::unique_ptr<cuda_buffer<uint16_t>> q;
    decode_batch(int n_heads, int n_kv_heads, int queries, const std::vector<int64_t> &lengths,
            uint64_t seed)
        : shape(cuda_shape(n_heads, n_kv_heads)), n_queries(queries) {
        for (const int64_t n : lengths)
            layers.emplace_back(new cuda_layer(shape, n, seed + (uint64_t)n));
        q.reset(new cuda_buffer<uint16_t>(rows() * 128));
        cuda_fill_normal(q->data, q->n, seed + 1);
    }
    int64_t rows() const {
        return (int64_t)layers.size() * n_queries * shape.n_heads;
    }
};

struct decode_result {
    cuda_buffer<uint16_t> out;
    cuda_buffer<float> lse;
    explicit decode_result(int64_t rows) : out(rows * 128), lse(rows) {}
};

/* Sequences [first, first + n) in one call, then once more with the same scratch: the tickets must
 * have been left as they were found. */
static inline void decode_run(
        const decode_batch &b, int64_t max_tokens, int first, int n, decode_result *result) {
    cuda_buffer<int64_t> lengths(n);
    cuda_buffer<void *const *> pages(n);
    std::vector<std::unique_ptr<cuda_buffer<void *>>> lists;
    for (int i = 0; i < n; i++) {
        const cuda_layer &layer = *b.layers[(size_t)(first + i)];
        lists.emplace_back(new cuda_buffer<void *>(layer.pages));
        lengths[i] = layer.n_tokens;
        pages[i] = lists.back()->data;
    }
    cuda_buffer<char> scratch(attn_cuda_decode_scratch_bytes(&b.shape, max_tokens, n, b.n_queries));
    memset(scratch.data, 0, (size_t)attn_cuda_decode_ticket_bytes(&b.shape, n));
    attn_cuda_decode_args args = {};
    args.q = b.q->data + (int64_t)first * b.n_queries * b.shape.n_heads * 128;
    args.q_stride = b.shape.n_heads * 128;
    args.lengths = lengths.data;
    args.max_tokens = max_tokens;
    args.n_seqs = n;
    args.n_queries = b.n_queries;
    args.pages = pages.data;
    args.attended = result->out.data + (int64_t)first * b.n_queries * b.shape.n_heads * 128;
    args.lse = result->lse.data + (int64_t)first * b.n_queries * b.shape.n_heads;
    args.scratch = scratch.data;
    CHECK(attn_cuda_decode(&b.shape, &args, NULL) == RT_OK);
    CHECK(attn_cuda_decode(&b.shape, &args, NULL) == RT_OK);
    cuda_wait();
}

static inline double decode_error(const decode_batch &b, const decode_result &result) {
    double worst = 0.0;
    for (size_t i = 0; i < b.layers.size(); i++)
        for (int j = 0; j < b.n_queries; j++)
            for (int h = 0; h < b.shape.n_heads; h++) {
                const int64_t at = ((int64_t)i * b.n_queries + j) * b.shape.n_heads + h;
                const int64_t seen = b.layers[i]->n_tokens - b.n_queries + j + 1;
                const cuda_row row = cuda_reference(*b.layers[i], h, b.q->data + at * 128, seen);
                worst = fmax(worst, cuda_error(row, result.out.data + at * 128, &result.lse[at]));
            }
    return worst;
}

static inline double decode_try(int n_heads, int n_kv_heads, int n_queries,
        const std::vector<int64_t> &lengths, uint64_t seed) {
    const decode_batch b(n_heads, n_kv_heads, n_queries, lengths, seed);
    decode_result result(b.rows());
    int64_t max = 0;
    for (const int64_t n : lengths) max = n > max ? n : max;
    decode_run(b, max, 0, (int)lengths.size(), &result);
    return decode_error(b, result);
}

#endif
