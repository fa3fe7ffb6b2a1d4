/* Weights to the GPU: bf16 rows as they are in the checkpoint, of several ranks each its rows and columns. Every thread
 * reads a part, a few MiB of rows, into pinned memory of its own, queues its copy, and reads the next one when that
 * is done. Matrices that the device does not keep are read to where stream_cuda.c copies them from. */
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "engine_cuda.h"

enum { ALIGN_BYTES = 256 };

typedef struct part {
    glm_role role;
    int32_t layer;
    glm_tensor_block block;
    uint16_t *to;
    bool is_host;
} part;

typedef struct load {
    glm_engine *engine;
    const glm_checkpoint *checkpoint;
    part *parts;
    int64_t n_parts;
    int64_t capacity;
    int64_t part_bytes;
    char *host;    /* where the next matrix goes that is not kept on the device; NULL: it is kept */
    char *staging; /* part_bytes a thread, pinned */
    glm_cuda_event *sent;
    atomic_bool has_failed;
    struct {
        rt_status status;
        char text[512];
    } * failures; /* [threads] */
} load;

/* ---- sizes ----------------------------------------------------------------------------------- */

static int64_t part_bytes(const glm_config *config) {
    const int64_t q_width = glm_config_q_width(config);
    return rt_max64(4 * RT_MIB, 2 * rt_max64(rt_max64(config->hidden, config->ffn), q_width));
}

static int64_t matrix_bytes(int64_t n_out, int64_t n_in) {
    return rt_round_up(n_out * n_in * 2, ALIGN_BYTES);
}

static int64_t layer_matrices_bytes(const glm_config *c) {
    return matrix_bytes(glm_config_qkv_rows(c), c->hidden) +
           matrix_bytes(c->hidden, glm_config_q_width(c)) + matrix_bytes(2 * c->ffn, c->hidden) +
           matrix_bytes(c->hidden, c->ffn);
}

int64_t glm_cuda_weights_bytes(const glm_config *c, int32_t n_streamed) {
    const int64_t vectors = (c->has_post_norms ? 4 : 2) * matrix_bytes(c->hidden, 1) +
                            (c->has_qkv_bias ? matrix_bytes(glm_config_qkv_rows(c), 1) : 0);
    const int64_t n_here = n_streamed > 0 ? c->n_layers - n_streamed + 2 : c->n_layers;
    return (c->is_tied ? 1 : 2) * matrix_bytes(c->vocab, c->hidden) + matrix_bytes(c->hidden, 1) +
           c->n_layers * vectors + n_here * layer_matrices_bytes(c);
}

static int64_t lost(int64_t n_out, int64_t n_in) {
    return glm_cuda_lost_behind(matrix_bytes(n_out, n_in));
}

int64_t glm_cuda_weights_lost_bytes(const glm_config *c, int32_t n_streamed) {
    const int64_t of_layer = lost(glm_config_qkv_rows(c), c->hidden) +
                             lost(c->hidden, glm_config_q_width(c)) + lost(2 * c->ffn, c->hidden) +
                             lost(c->hidden, c->ffn);
    return (c->is_tied ? 1 : 2) * lost(c->vocab, c->hidden) +
           (c->n_layers - n_streamed) * of_layer +
           glm_cuda_lost_behind(n_streamed > 0 ? 2 * layer_matrices_bytes(c) : 0);
}

int64_t glm_cuda_weights_host_bytes(const glm_config *c, int32_t n_streamed) {
    return n_streamed * layer_matrices_bytes(c);
}

int64_t glm_cuda_load_bytes(const glm_config *config, int32_t n_threads) {
    return n_threads * part_bytes(config);
}

/* ---- what is to be read ---------------------------------------------------------------------- */

static rt_status list_part(load *l, part one) {
    RT_TRY(rt_make_room(
            &l->parts, sizeof *l->parts, l->n_parts, &l->capacity, "parts of the weights"));
    l->parts[l->n_parts++] = one;
    return RT_OK;
}

/* This rank's part of a tensor. */
static glm_tensor_block block_of(const load *l, glm_role role, int32_t layer) {
    const glm_engine *engine = l->engine;
    return glm_shard_block(l->checkpoint, &engine->shard, engine->config.head_dim, role, layer);
}

/* All of it, to where its rows follow one another. */
static rt_status list_tensor(load *l, glm_role role, int32_t layer, uint16_t *to, bool is_host) {
    const glm_tensor tensor = glm_checkpoint_tensor(l->checkpoint, role, layer);
    if (tensor.dtype != RT_BF16)
        return rt_fail(RT_EUNSUPPORTED,
                "--device cuda: layer %" PRId32 " has %s weights; a GPU takes bf16", layer,
                rt_dtype_name(tensor.dtype));
    const glm_tensor_block whole = block_of(l, role, layer);
    const int64_t n_cols = rt_max64(whole.n_cols, 1);
    const int64_t step = rt_max64(l->part_bytes / (n_cols * 2), 1);
    for (int64_t row = 0; row < whole.n_rows; row += step) {
        part one = {.role = role,
                .layer = layer,
                .block = whole,
                .to = to + row * n_cols,
                .is_host = is_host};
        one.block.row += row;
        one.block.n_rows = rt_min64(step, whole.n_rows - row);
        RT_TRY(list_part(l, one));
    }
    return RT_OK;
}

static glm_cuda_device *device_of(const load *l) {
    return &l->engine->cuda->device;
}

static rt_status add_vector(load *l, glm_role role, int32_t layer, uint16_t **out) {
    RT_TRY(GLM_CUDA_ALLOC(device_of(l), block_of(l, role, layer).n_rows, "weights", out));
    return list_tensor(l, role, layer, *out, false);
}

static rt_status take_matrix(load *l, int64_t n_out, int64_t n_in, glm_cuda_matrix *out) {
    out->n_out = n_out;
    out->n_in = n_in;
    if (l->host) {
        out->numbers = (uint16_t *)(void *)l->host;
        l->host += matrix_bytes(n_out, n_in);
        return RT_OK;
    }
    return GLM_CUDA_ALLOC(device_of(l), n_out * n_in, "weights", &out->numbers);
}

/* A matrix of one tensor, or of several one below the other; their biases likewise. */
static rt_status add_matrix(load *l, const glm_role *roles, int n_roles, int32_t layer,
        int64_t n_out, glm_cuda_matrix *out) {
    const int64_t n_in = block_of(l, roles[0], layer).n_cols;
    const bool is_host = l->host != NULL;
    int64_t row = 0;
    RT_TRY(take_matrix(l, n_out, n_in, out));
    for (int i = 0; i < n_roles; i++) {
        RT_TRY(list_tensor(l, roles[i], layer, out->numbers + row * n_in, is_host));
        row += block_of(l, roles[i], layer).n_rows;
    }
    rt_assert(row == n_out);
    return RT_OK;
}

static rt_status add_qkv_bias(load *l, int32_t layer, glm_cuda_matrix *qkv) {
    static const glm_role roles[] = {GLM_Q_BIAS, GLM_K_BIAS, GLM_V_BIAS};
    int64_t row = 0;
    RT_TRY(GLM_CUDA_ALLOC(device_of(l), qkv->n_out, "weights", &qkv->bias));
    for (int i = 0; i < 3; i++) {
        RT_TRY(list_tensor(l, roles[i], layer, qkv->bias + row, false));
        row += block_of(l, roles[i], layer).n_rows;
    }
    return RT_OK;
}

static rt_status add_layer(load *l, int32_t i, glm_cuda_layer *out) {
    static const glm_role qkv[] = {GLM_Q, GLM_K, GLM_V};
    static const glm_role attn_out[] = {GLM_ATTN_OUT};
    static const glm_role gate_up[] = {GLM_GATE, GLM_UP};
    static const glm_role down[] = {GLM_DOWN};
    const glm_config *config = &l->engine->part;
    RT_TRY(add_vector(l, GLM_INPUT_NORM, i, &out->input_norm));
    RT_TRY(add_matrix(l, qkv, 3, i, glm_config_qkv_rows(config), &out->qkv));
    if (config->has_qkv_bias) RT_TRY(add_qkv_bias(l, i, &out->qkv));
    RT_TRY(add_matrix(l, attn_out, 1, i, config->hidden, &out->attn_out));
    RT_TRY(add_vector(l, GLM_MLP_NORM, i, &out->mlp_norm));
    RT_TRY(add_matrix(l, gate_up, 2, i, 2 * config->ffn, &out->gate_up));
    RT_TRY(add_matrix(l, down, 1, i, config->hidden, &out->down));
    if (!config->has_post_norms) return RT_OK;
    RT_TRY(add_vector(l, GLM_POST_ATTN_NORM, i, &out->post_attn_norm));
    return add_vector(l, GLM_POST_MLP_NORM, i, &out->post_mlp_norm);
}

static rt_status add_all(load *l, glm_cuda_weights *weights) {
    static const glm_role embedding[] = {GLM_EMBEDDING};
    static const glm_role head[] = {GLM_OUTPUT_HEAD};
    const glm_config *config = &l->engine->part;
    glm_cuda_matrix table = {0};
    const rt_status status = add_matrix(l, embedding, 1, 0, config->vocab, &table);
    weights->embedding = table.numbers;
    weights->head = table;
    weights->head_is_embedding = true;
    RT_TRY(status);
    const glm_cuda_stream *stream = &l->engine->cuda->stream;
    for (int32_t i = 0; i < config->n_layers; i++) {
        l->host =
                i < stream->first ? NULL : stream->host + (i - stream->first) * stream->layer_bytes;
        RT_TRY(add_layer(l, i, &weights->layers[i]));
    }
    l->host = NULL;
    RT_TRY(add_vector(l, GLM_FINAL_NORM, 0, &weights->final_norm));
    if (config->is_tied) return RT_OK;
    weights->head = (glm_cuda_matrix){0};
    weights->head_is_embedding = false;
    return add_matrix(l, head, 1, 0, config->vocab, &weights->head);
}

/* ---- reading --------------------------------------------------------------------------------- */

static rt_status read_part(load *l, const part *one, int thread) {
    char *staging = l->staging + thread * l->part_bytes;
    const rt_stream stream = device_of(l)->copy_in;
    const int64_t bytes = one->block.n_rows * rt_max64(one->block.n_cols, 1) * 2;
    if (one->is_host)
        return glm_checkpoint_read_block(
                l->checkpoint, one->role, one->layer, &one->block, one->to);
    RT_TRY(glm_cuda_use(device_of(l)));
    RT_TRY(glm_cuda_event_wait(l->sent[thread]));
    RT_TRY(glm_checkpoint_read_block(l->checkpoint, one->role, one->layer, &one->block, staging));
    RT_TRY(glm_cuda_copy_in(one->to, staging, bytes, stream));
    return glm_cuda_event_record(l->sent[thread], stream);
}

static void read_item(void *context, int64_t item, int thread) {
    load *l = context;
    if (atomic_load(&l->has_failed)) return;
    const rt_status status = read_part(l, &l->parts[item], thread);
    if (status == RT_OK) return;
    l->failures[thread].status = status;
    (void)snprintf(
            l->failures[thread].text, sizeof l->failures[thread].text, "%s", rt_error_text());
    atomic_store(&l->has_failed, true);
}

static rt_status read_all(load *l, int n_threads) {
    const rt_stream stream = device_of(l)->copy_in;
    RT_TRY(rt_calloc(n_threads, sizeof *l->failures, "load status", &l->failures));
    RT_TRY(rt_calloc(n_threads, sizeof(glm_cuda_event), "events", &l->sent));
    for (int i = 0; i < n_threads; i++) RT_TRY(glm_cuda_event_create(&l->sent[i]));
    RT_TRY(glm_cuda_pin(n_threads * l->part_bytes, "load staging", (void **)(void *)&l->staging));
    rt_pool_run(l->engine->pool, l->n_parts, read_item, l);
    const rt_status waited = glm_cuda_wait(stream, "loading the weights");
    for (int i = 0; i < n_threads; i++)
        if (l->failures[i].status != RT_OK)
            return rt_fail(l->failures[i].status, "%s", l->failures[i].text);
    return waited;
}

rt_status glm_cuda_weights_load(glm_engine *engine, const glm_checkpoint *checkpoint) {
    const double start = rt_now();
    const int n_threads = rt_pool_threads(engine->pool);
    glm_cuda_weights *weights = &engine->cuda->weights;
    load l = {.engine = engine, .checkpoint = checkpoint, .part_bytes = part_bytes(&engine->part)};
    RT_TRY(rt_calloc(engine->config.n_layers, sizeof *weights->layers, "layers", &weights->layers));
    rt_status status = glm_cuda_stream_open(engine, layer_matrices_bytes(&engine->part));
    if (status == RT_OK) status = add_all(&l, weights);
    if (status == RT_OK) status = read_all(&l, n_threads);
    for (int i = 0; l.sent && i < n_threads; i++) glm_cuda_event_free(l.sent[i]);
    glm_cuda_unpin(l.staging);
    free(l.sent);
    free(l.failures);
    free(l.parts);
    RT_TRY(status);
    const double seconds = rt_now() - start;
    const int64_t bytes = glm_cuda_weights_bytes(&engine->part, 0);
    rt_log(RT_LOG_INFO, "weights", "loaded device=cuda bytes=%" PRId64 " ms=%.1f gb_per_s=%.2f",
            bytes, seconds * 1e3, (double)bytes / seconds * 1e-9);
    return RT_OK;
}

static void free_matrix(glm_cuda *cuda, const glm_cuda_matrix *matrix, bool is_here) {
    if (is_here) glm_cuda_free(&cuda->device, matrix->numbers);
    glm_cuda_free(&cuda->device, matrix->bias);
}

static void free_layer(glm_cuda *cuda, const glm_cuda_layer *layer, bool is_here) {
    glm_cuda_free(&cuda->device, layer->input_norm);
    free_matrix(cuda, &layer->qkv, is_here);
    free_matrix(cuda, &layer->attn_out, is_here);
    glm_cuda_free(&cuda->device, layer->post_attn_norm);
    glm_cuda_free(&cuda->device, layer->mlp_norm);
    free_matrix(cuda, &layer->gate_up, is_here);
    free_matrix(cuda, &layer->down, is_here);
    glm_cuda_free(&cuda->device, layer->post_mlp_norm);
}

void glm_cuda_weights_free(glm_cuda *cuda, int32_t n_layers) {
    glm_cuda_weights *weights = &cuda->weights;
    for (int32_t i = 0; weights->layers && i < n_layers; i++)
        free_layer(cuda, &weights->layers[i], i < cuda->stream.first);
    glm_cuda_free(&cuda->device, weights->embedding);
    glm_cuda_free(&cuda->device, weights->final_norm);
    if (!weights->head_is_embedding) free_matrix(cuda, &weights->head, true);
    free(weights->layers);
    glm_cuda_stream_close(cuda);
    *weights = (glm_cuda_weights){0};
}
