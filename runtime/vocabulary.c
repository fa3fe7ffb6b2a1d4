/* Both ends of the model: ids -> hidden states, hidden states -> logits. Ranks share the vocabulary: each
 * has some rows of the embedding and of the output head. */
#include <string.h>

#include "engine.h"

/* A rank has some rows of the embedding: of the others' ids it brings zeros, and the sum is exact. */
static void embed_own(const glm_engine *engine, const int32_t *ids, int64_t n, float *rows) {
    const int64_t hidden = engine->config.hidden;
    for (int64_t i = 0; i < n; i++) {
        const int64_t id = ids[i] - engine->shard.first_vocab;
        for (int64_t k = 0; k < hidden; k++)
            rows[i * hidden + k] =
                    id >= 0 && id < engine->part.vocab
                            ? rt_load_float(engine->weights.embedding, id * hidden + k,
                                      engine->weights.embedding_dtype)
                            : 0.0f;
    }
}

rt_status glm_cpu_embed(glm_engine *engine, const int32_t *ids, int64_t n, void *hidden) {
    const glm_ops *ops = &engine->ops;
    const int64_t width = engine->config.hidden;
    const int64_t row_bytes = glm_hidden_row_bytes(engine);
    if (engine->comm->n_ranks == 1) {
        ops->embed(ops, engine->weights.embedding, engine->weights.embedding_dtype, ids, n, width,
                hidden, engine->plan.hidden_dtype);
        return RT_OK;
    }
    const glm_rows rows = {engine->buffers.update.data, width};
    const int64_t step = rt_max64(engine->plan.chunk, engine->plan.max_seqs);
    for (int64_t done = 0; done < n; done += step) {
        const int64_t count = rt_min64(step, n - done);
        void *to = (char *)hidden + done * row_bytes;
        embed_own(engine, ids + done, count, rows.data);
        RT_TRY(engine->comm->all_reduce(engine->comm, rows.data, count * width, NULL));
        memset(to, 0, (size_t)(count * row_bytes));
        ops->add(ops, to, engine->plan.hidden_dtype, rows, count, width);
    }
    return RT_OK;
}

static void head_of(glm_engine *engine, const void *hidden, int64_t n, glm_rows out) {
    const glm_ops *ops = &engine->ops;
    ops->norm(ops, hidden, engine->plan.hidden_dtype, engine->weights.final_norm,
            engine->config.rms_eps, n, engine->config.hidden, engine->buffers.normed);
    ops->linear(ops, &engine->weights.head, NULL, 0, engine->part.vocab, engine->buffers.normed, n,
            out);
}

/* Every rank has some ids' logits; rank after rank they are a row. */
static rt_status gather_rows(glm_engine *engine, int64_t n, float *logits) {
    const glm_buffers *b = &engine->buffers;
    const int64_t stride = glm_pad(engine->part.vocab);
    const int64_t share = engine->part.vocab;
    RT_TRY(engine->comm->all_gather(engine->comm, b->share, n * stride * 4, b->shares, NULL));
    for (int64_t i = 0; i < n; i++)
        for (int32_t r = 0; r < engine->comm->n_ranks; r++)
            memcpy(logits + i * engine->config.vocab + r * share, b->shares + (r * n + i) * stride,
                    (size_t)share * sizeof *logits);
    return RT_OK;
}

rt_status glm_cpu_logits(
        glm_engine *engine, const void *hidden, int64_t n_decoded, int64_t n, float *logits) {
    (void)n_decoded; /* the same bits */
    const bool is_shared = engine->comm->n_ranks > 1;
    const int64_t vocab = engine->config.vocab;
    const int64_t step = is_shared ? engine->buffers.gather_rows : engine->plan.chunk;
    const int64_t row_bytes = glm_hidden_row_bytes(engine);
    const glm_rows rows = {logits, glm_pad(vocab)};
    for (int64_t done = 0; done < n; done += step) {
        const int64_t count = rt_min64(step, n - done);
        const void *from = (const char *)hidden + done * row_bytes;
        head_of(engine, from, count,
                is_shared ? (glm_rows){engine->buffers.share, glm_pad(engine->part.vocab)}
                          : (glm_rows){logits + done * rows.stride, rows.stride});
        if (is_shared) RT_TRY(gather_rows(engine, count, logits + done * vocab));
    }
    if (is_shared || rows.stride == vocab) return RT_OK;
    for (int64_t i = 1; i < n; i++)
        memmove(logits + i * vocab, logits + i * rows.stride, (size_t)vocab * sizeof *logits);
    return RT_OK;
}
