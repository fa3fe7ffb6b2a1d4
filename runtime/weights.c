/* Loading: a list of parts (a few MiB of rows each), read and laid out by all threads. */
#include "weights.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"

/* One part: as many whole panels as fit a few MiB, at least one panel of the longest row. */
static int64_t part_bytes(const glm_config *config) {
    const int64_t q_width = (int64_t)config->n_heads * config->head_dim;
    const int64_t row_max = rt_max64(rt_max64(config->hidden, config->ffn), q_width);
    return rt_max64(4 * RT_MIB, GLM_PANEL * row_max * 4);
}

/* Rows [row, row + n_rows) of a tensor go to rows [row_at, ...) of a matrix; or, with linear NULL,
 * byte for byte to `raw`. */
typedef struct part {
    glm_role role;
    int32_t layer;
    int64_t row;
    int64_t n_rows;
    const glm_linear *linear;
    int64_t row_at;
    void *raw;
} part;

typedef struct part_list {
    part *parts;
    int64_t n;
    int64_t capacity;
} part_list;

/* ---- sizes ----------------------------------------------------------------------------------- */

/* q, k and v become one matrix; in f32 should they be of different types. */
static rt_dtype qkv_dtype(const glm_checkpoint *checkpoint, int32_t layer) {
    const rt_dtype q = glm_checkpoint_tensor(checkpoint, GLM_Q, layer).dtype;
    const rt_dtype k = glm_checkpoint_tensor(checkpoint, GLM_K, layer).dtype;
    const rt_dtype v = glm_checkpoint_tensor(checkpoint, GLM_V, layer).dtype;
    return q == k && k == v ? q : RT_F32;
}

static rt_dtype dtype_of(const glm_checkpoint *checkpoint, glm_role role, int32_t layer) {
    return glm_checkpoint_tensor(checkpoint, role, layer).dtype;
}

static int64_t linear_cost(int64_t n_out, int64_t n_in, rt_dtype dtype) {
    return rt_arena_cost(glm_linear_bytes(n_out, n_in, dtype));
}

static int64_t layer_cost(
        const glm_checkpoint *checkpoint, const glm_config *share, int32_t layer) {
    const int64_t hidden = share->hidden;
    const int64_t q_width = (int64_t)share->n_heads * share->head_dim;
    const int64_t qkv_rows = glm_config_qkv_rows(share);
    const int64_t n_norms = share->has_post_norms ? 4 : 2;
    return n_norms * rt_arena_cost(glm_pad(hidden) * 4) + rt_arena_cost(qkv_rows * 4) +
           linear_cost(qkv_rows, hidden, qkv_dtype(checkpoint, layer)) +
           linear_cost(hidden, q_width, dtype_of(checkpoint, GLM_ATTN_OUT, layer)) +
           linear_cost(share->ffn, hidden, dtype_of(checkpoint, GLM_GATE, layer)) +
           linear_cost(share->ffn, hidden, dtype_of(checkpoint, GLM_UP, layer)) +
           linear_cost(hidden, share->ffn, dtype_of(checkpoint, GLM_DOWN, layer));
}

int64_t glm_weights_bytes(const glm_checkpoint *checkpoint, const glm_config *share) {
    const rt_dtype embedding = dtype_of(checkpoint, GLM_EMBEDDING, 0);
    int64_t bytes =
            rt_arena_cost(share->n_layers * (int64_t)sizeof(glm_layer)) +
            rt_arena_cost(glm_pad(share->hidden) * 4) +
            rt_arena_cost(share->vocab * share->hidden * rt_dtype_bytes(embedding)) +
            linear_cost(share->vocab, share->hidden, dtype_of(checkpoint, GLM_OUTPUT_HEAD, 0));
    for (int32_t layer = 0; layer < share->n_layers; layer++)
        bytes += layer_cost(checkpoint, share, layer);
    return bytes;
}

int64_t glm_weights_load_bytes(const glm_config *config, int n_threads) {
    return n_threads * part_bytes(config);
}

/* ---- the list of parts ----------------------------------------------------------------------- */

static rt_status list_part(part_list *list, part one) {
    if (list->n == list->capacity) {
        const int64_t capacity = rt_max64(256, 2 * list->capacity);
        part *grown = realloc(list->parts, (size_t)capacity * sizeof *grown);
        if (!grown)
            return rt_fail(
                    RT_ENOMEM, "weights: no memory for a list of %" PRId64 " parts", capacity);
        list->parts = grown;
        list->capacity = capacity;
    }
    list->parts[list->n++] = one;
    return RT_OK;
}

/* Cut a tensor into parts of whole panels, each a few MiB. */
static rt_status list_tensor(part_list *list, const glm_checkpoint *checkpoint, glm_role role,
        int32_t layer, const glm_linear *linear, int64_t row_at, void *raw) {
    const glm_tensor t = glm_checkpoint_tensor(checkpoint, role, layer);
    const int64_t row_bytes = t.n_cols * rt_dtype_bytes(t.dtype);
    const int64_t step =
            part_bytes(glm_checkpoint_config(checkpoint)) / row_bytes / GLM_PANEL * GLM_PANEL;
    for (int64_t row = 0; row < t.n_rows; row += step) {
        part one = {.role = role,
                .layer = layer,
                .row = row,
                .n_rows = rt_min64(step, t.n_rows - row),
                .linear = linear,
                .row_at = row_at + row};
        if (raw) one.raw = (char *)raw + row * row_bytes;
        RT_TRY(list_part(list, one));
    }
    return RT_OK;
}

/* ---- carving and listing one layer ----------------------------------------------------------- */

static glm_linear take_linear(rt_arena *arena, int64_t n_out, int64_t n_in, rt_dtype dtype) {
    return (glm_linear){.panels = rt_arena_take(arena, glm_linear_bytes(n_out, n_in, dtype)),
            .n_out = n_out,
            .n_in = n_in,
            .dtype = dtype};
}

/* Carve a matrix for a whole tensor and list its parts. */
static rt_status add_matrix(glm_weights *weights, part_list *list, const glm_checkpoint *checkpoint,
        glm_role role, int32_t layer, glm_linear *out) {
    const glm_tensor t = glm_checkpoint_tensor(checkpoint, role, layer);
    *out = take_linear(&weights->arena, t.n_rows, t.n_cols, t.dtype);
    return list_tensor(list, checkpoint, role, layer, out, 0, NULL);
}

static rt_status read_vector(
        const glm_checkpoint *checkpoint, glm_role role, int32_t layer, float *out) {
    const glm_tensor t = glm_checkpoint_tensor(checkpoint, role, layer);
    void *stored = NULL;
    RT_TRY(rt_malloc(t.n_rows * rt_dtype_bytes(t.dtype), "a vector of weights", &stored));
    const rt_status status = glm_checkpoint_read(checkpoint, role, layer, 0, t.n_rows, stored);
    for (int64_t i = 0; status == RT_OK && i < t.n_rows; i++)
        out[i] = rt_load_float(stored, i, t.dtype);
    free(stored);
    return status;
}

static rt_status add_vector(glm_weights *weights, const glm_checkpoint *checkpoint, glm_role role,
        int32_t layer, float **out) {
    const glm_tensor t = glm_checkpoint_tensor(checkpoint, role, layer);
    *out = rt_arena_take(&weights->arena, glm_pad(t.n_rows) * 4);
    return read_vector(checkpoint, role, layer, *out);
}

static rt_status add_qkv(glm_weights *weights, part_list *list, const glm_checkpoint *checkpoint,
        int32_t index, glm_layer *layer) {
    const glm_config *config = glm_checkpoint_config(checkpoint);
    const int64_t q_rows = (int64_t)config->n_heads * config->head_dim;
    const int64_t k_rows = (int64_t)config->n_kv_heads * config->head_dim;
    const int64_t rows = glm_config_qkv_rows(config);
    layer->qkv = take_linear(&weights->arena, rows, config->hidden, qkv_dtype(checkpoint, index));
    RT_TRY(list_tensor(list, checkpoint, GLM_Q, index, &layer->qkv, 0, NULL));
    RT_TRY(list_tensor(list, checkpoint, GLM_K, index, &layer->qkv, q_rows, NULL));
    RT_TRY(list_tensor(list, checkpoint, GLM_V, index, &layer->qkv, q_rows + k_rows, NULL));
    if (!config->has_qkv_bias) return RT_OK;
    layer->qkv_bias = rt_arena_take(&weights->arena, rows * 4);
    RT_TRY(read_vector(checkpoint, GLM_Q_BIAS, index, layer->qkv_bias));
    RT_TRY(read_vector(checkpoint, GLM_K_BIAS, index, layer->qkv_bias + q_rows));
    return read_vector(checkpoint, GLM_V_BIAS, index, layer->qkv_bias + q_rows + k_rows);
}

static rt_status add_layer(
        glm_weights *weights, part_list *list, const glm_checkpoint *checkpoint, int32_t index) {
    glm_layer *layer = &weights->layers[index];
    *layer = (glm_layer){0};
    RT_TRY(add_vector(weights, checkpoint, GLM_INPUT_NORM, index, &layer->input_norm));
    RT_TRY(add_qkv(weights, list, checkpoint, index, layer));
    RT_TRY(add_matrix(weights, list, checkpoint, GLM_ATTN_OUT, index, &layer->attn_out));
    RT_TRY(add_vector(weights, checkpoint, GLM_MLP_NORM, index, &layer->mlp_norm));
    RT_TRY(add_matrix(weights, list, checkpoint, GLM_GATE, index, &layer->gate));
    RT_TRY(add_matrix(weights, list, checkpoint, GLM_UP, index, &layer->up));
    RT_TRY(add_matrix(weights, list, checkpoint, GLM_DOWN, index, &layer->down));
    if (!glm_checkpoint_config(checkpoint)->has_post_norms) return RT_OK;
    RT_TRY(add_vector(weights, checkpoint, GLM_POST_ATTN_NORM, index, &layer->post_attn_norm));
    return add_vector(weights, checkpoint, GLM_POST_MLP_NORM, index, &layer->post_mlp_norm);
}

static rt_status add_all(glm_weights *weights, part_list *list, const glm_checkpoint *checkpoint) {
    const glm_config *config = glm_checkpoint_config(checkpoint);
    weights->layers = rt_arena_take(&weights->arena, config->n_layers * (int64_t)sizeof(glm_layer));
    const glm_tensor embedding = glm_checkpoint_tensor(checkpoint, GLM_EMBEDDING, 0);
    weights->embedding_dtype = embedding.dtype;
    weights->embedding = rt_arena_take(
            &weights->arena, embedding.n_rows * embedding.n_cols * rt_dtype_bytes(embedding.dtype));
    RT_TRY(list_tensor(list, checkpoint, GLM_EMBEDDING, 0, NULL, 0, weights->embedding));
    for (int32_t i = 0; i < config->n_layers; i++) RT_TRY(add_layer(weights, list, checkpoint, i));
    RT_TRY(add_vector(weights, checkpoint, GLM_FINAL_NORM, 0, &weights->final_norm));
    return add_matrix(weights, list, checkpoint, GLM_OUTPUT_HEAD, 0, &weights->head);
}

/* ---- reading --------------------------------------------------------------------------------- */

/* What a thread found wrong; its own error text does not reach the caller's thread by itself. */
typedef struct failure {
    rt_status status;
    char text[512];
} failure;

typedef struct read_job {
    const glm_checkpoint *checkpoint;
    const glm_ops *ops;
    const part *parts;
    char *staging; /* part_bytes per thread */
    int64_t part_bytes;
    failure *failures;
    atomic_bool has_failed;
} read_job;

static rt_status read_part(const read_job *job, const part *one, void *staging) {
    if (one->raw)
        return glm_checkpoint_read(
                job->checkpoint, one->role, one->layer, one->row, one->n_rows, one->raw);
    RT_TRY(glm_checkpoint_read(
            job->checkpoint, one->role, one->layer, one->row, one->n_rows, staging));
    const glm_tensor t = glm_checkpoint_tensor(job->checkpoint, one->role, one->layer);
    job->ops->pack(one->linear, one->row_at, one->n_rows, staging, t.dtype);
    return RT_OK;
}

static void read_item(void *context, int64_t item, int thread) {
    read_job *job = context;
    if (atomic_load(&job->has_failed)) return;
    const rt_status status =
            read_part(job, &job->parts[item], job->staging + thread * job->part_bytes);
    if (status == RT_OK) return;
    failure *mine = &job->failures[thread];
    mine->status = status;
    (void)snprintf(mine->text, sizeof mine->text, "%s", rt_error_text());
    atomic_store(&job->has_failed, true);
}

static rt_status read_all(
        const glm_checkpoint *checkpoint, const glm_ops *ops, const part_list *list) {
    const int n_threads = rt_pool_threads(ops->pool);
    const glm_config *config = glm_checkpoint_config(checkpoint);
    read_job job = {.checkpoint = checkpoint,
            .ops = ops,
            .parts = list->parts,
            .part_bytes = part_bytes(config)};
    const int64_t staging_bytes = glm_weights_load_bytes(config, n_threads);
    void *staging = NULL;
    RT_TRY(rt_calloc(n_threads, (int64_t)sizeof(failure), "load status", &job.failures));
    rt_status status = rt_mem_alloc(staging_bytes, "load staging", &staging);
    if (status == RT_OK) {
        job.staging = staging;
        rt_pool_run(ops->pool, list->n, read_item, &job);
        for (int i = 0; i < n_threads && status == RT_OK; i++)
            if (job.failures[i].status != RT_OK)
                status = rt_fail(job.failures[i].status, "%s", job.failures[i].text);
    }
    rt_mem_free(staging, staging_bytes);
    free(job.failures);
    return status;
}

rt_status glm_weights_load(const glm_checkpoint *checkpoint, const glm_ops *ops, glm_weights *out) {
    const double start = rt_now();
    *out = (glm_weights){0};
    const int64_t bytes = glm_weights_bytes(checkpoint, glm_checkpoint_config(checkpoint));
    RT_TRY(rt_arena_create(&out->arena, bytes, "the weights"));
    part_list list = {0};
    rt_status status = add_all(out, &list, checkpoint);
    if (status == RT_OK) status = read_all(checkpoint, ops, &list);
    free(list.parts);
    if (status != RT_OK) {
        glm_weights_free(out);
        return status;
    }
    const double seconds = rt_now() - start;
    rt_log(RT_LOG_INFO, "weights", "loaded bytes=%" PRId64 " ms=%.1f gb_per_s=%.2f", bytes,
            seconds * 1e3, (double)bytes / seconds * 1e-9);
    return RT_OK;
}

void glm_weights_free(glm_weights *weights) {
    rt_arena_free(&weights->arena);
    *weights = (glm_weights){0};
}
