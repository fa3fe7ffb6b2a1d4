/* Loading: a list of parts (a few MiB of rows each), read and laid out by all threads. */
#include "weights.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"

/* One part: as many whole panels as fit a few MiB, at least one panel of the longest row. */
static int64_t part_bytes(const glm_config *config) {
    const int64_t q_width = glm_config_q_width(config);
    const int64_t row_max = rt_max64(rt_max64(config->hidden, config->ffn), q_width);
    return rt_max64(4 * RT_MIB, GLM_PANEL * row_max * 4);
}

/* A block of a tensor goes to rows [row_at, ...) of a matrix; or, with linear NULL, byte for byte to
 * `raw`. */
typedef struct part {
    glm_role role;
    int32_t layer;
    glm_tensor_block block;
    const glm_linear *linear;
    int64_t row_at;
    void *raw;
} part;

typedef struct part_list {
    part *parts;
    int64_t n;
    int64_t capacity;
} part_list;

/* What is read, and how much of it. */
typedef struct source {
    const glm_checkpoint *checkpoint;
    const glm_config *share;
    const par_shard *shard;
    glm_linear_by by;
} source;

/* ---- which part ------------------------------------------------------------------------------ */

glm_tensor_block glm_shard_block(const glm_checkpoint *checkpoint, const par_shard *s,
        int64_t head_dim, glm_role role, int32_t layer) {
    const glm_tensor t = glm_checkpoint_tensor(checkpoint, role, layer);
    glm_tensor_block block = {.n_rows = t.n_rows, .n_cols = t.n_cols};
    switch (role) {
    case GLM_EMBEDDING:
    case GLM_OUTPUT_HEAD:
        block.row = s->first_vocab;
        block.n_rows = s->n_vocab;
        break;
    case GLM_Q:
    case GLM_Q_BIAS:
        block.row = s->first_head * head_dim;
        block.n_rows = s->n_heads * head_dim;
        break;
    case GLM_K:
    case GLM_V:
    case GLM_K_BIAS:
    case GLM_V_BIAS:
        block.row = s->first_kv_head * head_dim;
        block.n_rows = s->n_kv_heads * head_dim;
        break;
    case GLM_ATTN_OUT:
        block.col = s->first_head * head_dim;
        block.n_cols = s->n_heads * head_dim;
        break;
    case GLM_GATE:
    case GLM_UP:
        block.row = s->first_ffn;
        block.n_rows = s->n_ffn;
        break;
    case GLM_DOWN:
        block.col = s->first_ffn;
        block.n_cols = s->n_ffn;
        break;
    default:
        break;
    }
    return block;
}

static glm_tensor_block block_of(const source *from, glm_role role, int32_t layer) {
    return glm_shard_block(from->checkpoint, from->shard, from->share->head_dim, role, layer);
}

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

static int64_t linear_cost(int64_t n_out, int64_t n_in, rt_dtype dtype, glm_linear_by by) {
    return rt_arena_cost(glm_linear_bytes(n_out, n_in, dtype, by));
}

static int64_t layer_cost(const glm_checkpoint *checkpoint, const glm_config *share,
        glm_linear_by by, int32_t layer) {
    const int64_t hidden = share->hidden;
    const int64_t q_width = glm_config_q_width(share);
    const int64_t qkv_rows = glm_config_qkv_rows(share);
    const int64_t n_norms = share->has_post_norms ? 4 : 2;
    return n_norms * rt_arena_cost(glm_pad(hidden) * 4) + rt_arena_cost(qkv_rows * 4) +
           linear_cost(qkv_rows, hidden, qkv_dtype(checkpoint, layer), by) +
           linear_cost(hidden, q_width, dtype_of(checkpoint, GLM_ATTN_OUT, layer), by) +
           linear_cost(share->ffn, hidden, dtype_of(checkpoint, GLM_GATE, layer), by) +
           linear_cost(share->ffn, hidden, dtype_of(checkpoint, GLM_UP, layer), by) +
           linear_cost(hidden, share->ffn, dtype_of(checkpoint, GLM_DOWN, layer), by);
}

int64_t glm_weights_bytes(
        const glm_checkpoint *checkpoint, const glm_config *share, glm_linear_by by) {
    const rt_dtype embedding = dtype_of(checkpoint, GLM_EMBEDDING, 0);
    int64_t bytes =
            rt_arena_cost(share->n_layers * (int64_t)sizeof(glm_layer)) +
            rt_arena_cost(glm_pad(share->hidden) * 4) +
            rt_arena_cost(share->vocab * share->hidden * rt_dtype_bytes(embedding)) +
            linear_cost(share->vocab, share->hidden, dtype_of(checkpoint, GLM_OUTPUT_HEAD, 0), by);
    for (int32_t layer = 0; layer < share->n_layers; layer++)
        bytes += layer_cost(checkpoint, share, by, layer);
    return bytes;
}

/* Who reads at once: more than there are cores would take memory and wait. */
static int32_t n_readers(int n_threads) {
    return (int32_t)rt_min64(n_threads, rt_machine_cores());
}

int64_t glm_weights_load_bytes(const glm_config *config, int n_threads) {
    return n_readers(n_threads) * part_bytes(config);
}

/* ---- the list of parts ----------------------------------------------------------------------- */

static rt_status list_part(part_list *list, part one) {
    RT_TRY(rt_make_room(
            &list->parts, sizeof *list->parts, list->n, &list->capacity, "parts of the weights"));
    list->parts[list->n++] = one;
    return RT_OK;
}

/* Cut a tensor's block into parts of whole panels, each a few MiB. */
static rt_status list_tensor(part_list *list, const source *from, glm_role role, int32_t layer,
        const glm_linear *linear, int64_t row_at, void *raw) {
    const glm_tensor_block whole = block_of(from, role, layer);
    const rt_dtype dtype = dtype_of(from->checkpoint, role, layer);
    const int64_t row_bytes = whole.n_cols * rt_dtype_bytes(dtype);
    const int64_t step = part_bytes(from->share) / row_bytes / GLM_PANEL * GLM_PANEL;
    for (int64_t row = 0; row < whole.n_rows; row += step) {
        part one = {.role = role,
                .layer = layer,
                .block = whole,
                .linear = linear,
                .row_at = row_at + row};
        one.block.row += row;
        one.block.n_rows = rt_min64(step, whole.n_rows - row);
        if (raw) one.raw = (char *)raw + row * row_bytes;
        RT_TRY(list_part(list, one));
    }
    return RT_OK;
}

/* ---- carving and listing one layer ----------------------------------------------------------- */

static glm_linear take_linear(
        rt_arena *arena, const source *from, int64_t n_out, int64_t n_in, rt_dtype dtype) {
    return (glm_linear){
            .panels = rt_arena_take(arena, glm_linear_bytes(n_out, n_in, dtype, from->by)),
            .n_out = n_out,
            .n_in = n_in,
            .dtype = dtype,
            .by = glm_linear_by_of(from->by, dtype)};
}

/* Carve a matrix for a tensor's block and list its parts. */
static rt_status add_matrix(glm_weights *weights, part_list *list, const source *from,
        glm_role role, int32_t layer, glm_linear *out) {
    const glm_tensor_block block = block_of(from, role, layer);
    *out = take_linear(&weights->arena, from, block.n_rows, block.n_cols,
            dtype_of(from->checkpoint, role, layer));
    return list_tensor(list, from, role, layer, out, 0, NULL);
}

static rt_status read_vector(const source *from, glm_role role, int32_t layer, float *out) {
    const glm_tensor_block block = block_of(from, role, layer);
    const rt_dtype dtype = dtype_of(from->checkpoint, role, layer);
    void *stored = NULL;
    RT_TRY(rt_malloc(block.n_rows * rt_dtype_bytes(dtype), "a vector of weights", &stored));
    const rt_status status =
            glm_checkpoint_read(from->checkpoint, role, layer, block.row, block.n_rows, stored);
    for (int64_t i = 0; status == RT_OK && i < block.n_rows; i++)
        out[i] = rt_load_float(stored, i, dtype);
    free(stored);
    return status;
}

static rt_status add_vector(
        glm_weights *weights, const source *from, glm_role role, int32_t layer, float **out) {
    const glm_tensor_block block = block_of(from, role, layer);
    *out = rt_arena_take(&weights->arena, glm_pad(block.n_rows) * 4);
    return read_vector(from, role, layer, *out);
}

static rt_status add_qkv(glm_weights *weights, part_list *list, const source *from, int32_t index,
        glm_layer *layer) {
    const glm_config *share = from->share;
    const int64_t q_rows = glm_config_q_width(share);
    const int64_t k_rows = (int64_t)share->n_kv_heads * share->head_dim;
    const int64_t rows = glm_config_qkv_rows(share);
    layer->qkv = take_linear(
            &weights->arena, from, rows, share->hidden, qkv_dtype(from->checkpoint, index));
    RT_TRY(list_tensor(list, from, GLM_Q, index, &layer->qkv, 0, NULL));
    RT_TRY(list_tensor(list, from, GLM_K, index, &layer->qkv, q_rows, NULL));
    RT_TRY(list_tensor(list, from, GLM_V, index, &layer->qkv, q_rows + k_rows, NULL));
    if (!share->has_qkv_bias) return RT_OK;
    layer->qkv_bias = rt_arena_take(&weights->arena, rows * 4);
    RT_TRY(read_vector(from, GLM_Q_BIAS, index, layer->qkv_bias));
    RT_TRY(read_vector(from, GLM_K_BIAS, index, layer->qkv_bias + q_rows));
    return read_vector(from, GLM_V_BIAS, index, layer->qkv_bias + q_rows + k_rows);
}

static rt_status add_layer(
        glm_weights *weights, part_list *list, const source *from, int32_t index) {
    glm_layer *layer = &weights->layers[index];
    *layer = (glm_layer){0};
    RT_TRY(add_vector(weights, from, GLM_INPUT_NORM, index, &layer->input_norm));
    RT_TRY(add_qkv(weights, list, from, index, layer));
    RT_TRY(add_matrix(weights, list, from, GLM_ATTN_OUT, index, &layer->attn_out));
    RT_TRY(add_vector(weights, from, GLM_MLP_NORM, index, &layer->mlp_norm));
    RT_TRY(add_matrix(weights, list, from, GLM_GATE, index, &layer->gate));
    RT_TRY(add_matrix(weights, list, from, GLM_UP, index, &layer->up));
    RT_TRY(add_matrix(weights, list, from, GLM_DOWN, index, &layer->down));
    if (!from->share->has_post_norms) return RT_OK;
    RT_TRY(add_vector(weights, from, GLM_POST_ATTN_NORM, index, &layer->post_attn_norm));
    return add_vector(weights, from, GLM_POST_MLP_NORM, index, &layer->post_mlp_norm);
}

static rt_status add_all(glm_weights *weights, part_list *list, const source *from) {
    const int32_t n_layers = from->share->n_layers;
    weights->layers = rt_arena_take(&weights->arena, n_layers * (int64_t)sizeof(glm_layer));
    const glm_tensor_block embedding = block_of(from, GLM_EMBEDDING, 0);
    weights->embedding_dtype = dtype_of(from->checkpoint, GLM_EMBEDDING, 0);
    weights->embedding = rt_arena_take(&weights->arena,
            embedding.n_rows * embedding.n_cols * rt_dtype_bytes(weights->embedding_dtype));
    RT_TRY(list_tensor(list, from, GLM_EMBEDDING, 0, NULL, 0, weights->embedding));
    for (int32_t i = 0; i < n_layers; i++) RT_TRY(add_layer(weights, list, from, i));
    RT_TRY(add_vector(weights, from, GLM_FINAL_NORM, 0, &weights->final_norm));
    return add_matrix(weights, list, from, GLM_OUTPUT_HEAD, 0, &weights->head);
}

/* ---- reading --------------------------------------------------------------------------------- */

/* What a reader found wrong; its thread's error text does not reach the caller's by itself. */
typedef struct failure {
    rt_status status;
    char text[512];
} failure;

typedef struct read_job {
    const glm_checkpoint *checkpoint;
    const glm_ops *ops;
    const part *parts;
    int64_t n_parts;
    atomic_int_fast64_t next;
    char *staging; /* part_bytes per reader */
    int64_t part_bytes;
    failure *failures;
    atomic_bool has_failed;
} read_job;

static rt_status read_part(const read_job *job, const part *one, void *staging) {
    void *to = one->raw ? one->raw : staging;
    RT_TRY(glm_checkpoint_read_block(job->checkpoint, one->role, one->layer, &one->block, to));
    if (one->raw) return RT_OK;
    job->ops->pack(one->linear, one->row_at, one->block.n_rows, staging,
            dtype_of(job->checkpoint, one->role, one->layer));
    return RT_OK;
}

/* One part after the other, until none is left. */
static void read_parts(void *context, int64_t reader, int thread) {
    read_job *job = context;
    rt_status status = RT_OK;
    (void)thread;
    while (status == RT_OK && !atomic_load(&job->has_failed)) {
        const int64_t i = atomic_fetch_add(&job->next, 1);
        if (i >= job->n_parts) return;
        status = read_part(job, &job->parts[i], job->staging + reader * job->part_bytes);
    }
    if (status == RT_OK) return;
    failure *mine = &job->failures[reader];
    mine->status = status;
    (void)snprintf(mine->text, sizeof mine->text, "%s", rt_error_text());
    atomic_store(&job->has_failed, true);
}

static rt_status read_all(const source *from, const glm_ops *ops, const part_list *list) {
    const int n_threads = rt_pool_threads(ops->pool);
    const int32_t n = n_readers(n_threads);
    read_job job = {.checkpoint = from->checkpoint,
            .ops = ops,
            .parts = list->parts,
            .n_parts = list->n,
            .part_bytes = part_bytes(from->share)};
    const int64_t staging_bytes = glm_weights_load_bytes(from->share, n_threads);
    void *staging = NULL;
    RT_TRY(rt_calloc(n, (int64_t)sizeof(failure), "load status", &job.failures));
    rt_status status = rt_mem_alloc(staging_bytes, "load staging", &staging);
    if (status == RT_OK) {
        job.staging = staging;
        rt_pool_run(ops->pool, n, read_parts, &job);
        for (int32_t i = 0; i < n && status == RT_OK; i++)
            if (job.failures[i].status != RT_OK)
                status = rt_fail(job.failures[i].status, "%s", job.failures[i].text);
    }
    rt_mem_free(staging, staging_bytes);
    free(job.failures);
    return status;
}

rt_status glm_weights_load(const glm_checkpoint *checkpoint, const glm_config *share,
        const par_shard *shard, const glm_ops *ops, glm_weights *out) {
    const double start = rt_now();
    const source from = {.checkpoint = checkpoint,
            .share = share,
            .shard = shard,
            .by = ops->onednn ? GLM_LINEAR_ONEDNN : GLM_LINEAR_OWN};
    *out = (glm_weights){0};
    const int64_t bytes = glm_weights_bytes(checkpoint, share, from.by);
    RT_TRY(rt_arena_create(&out->arena, bytes, "the weights"));
    part_list list = {0};
    rt_status status = add_all(out, &list, &from);
    if (status == RT_OK) status = read_all(&from, ops, &list);
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
