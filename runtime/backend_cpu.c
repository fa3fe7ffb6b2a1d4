/* The CPU behind backend.h: fp32 activations in host memory, everything done on return. */
#include "backend.h"

#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "linear_choice.h"
#include "linear_onednn.h"

/* ---- the arena: sizes for the plan, then the same sizes carved ------------------------------- */

static glm_rows take_rows(rt_arena *arena, int64_t n, int64_t stride) {
    return (glm_rows){.data = rt_arena_take(arena, n * stride * 4), .stride = stride};
}

enum { CHUNK = 1024 };

/* Rows that the chunk buffers hold: a chunk of prefill or a step of decode. */
static int64_t buffer_rows(const glm_plan *plan) {
    return rt_max64(plan->chunk, plan->max_seqs);
}

static int64_t logits_rows(const glm_plan *plan) {
    return rt_max64(plan->max_logits, plan->max_seqs);
}

/* Whole rows, whatever part of them is this rank's. */
static int64_t logits_bytes(const glm_config *part, const glm_plan *plan) {
    return logits_rows(plan) * glm_pad(plan->n_ranks * part->vocab) * 4;
}

/* Rows of logits that ranks put together at a time. */
static int64_t gather_rows(const glm_config *part, const glm_plan *plan) {
    const int64_t row_bytes = plan->n_ranks * glm_pad(part->vocab) * 4;
    return rt_max64(rt_min64(16 * RT_MIB / row_bytes, 64), 1);
}

static int64_t share_bytes(const glm_config *part, const glm_plan *plan) {
    return gather_rows(part, plan) * glm_pad(part->vocab) * 4;
}

static int64_t shares_cost(const glm_config *part, const glm_plan *plan) {
    if (plan->n_ranks == 1) return 0;
    return rt_arena_cost(share_bytes(part, plan)) +
           rt_arena_cost(plan->n_ranks * share_bytes(part, plan));
}

static int64_t arena_bytes(const glm_config *config, const glm_plan *plan) {
    const int64_t rows = buffer_rows(plan);
    const int64_t hidden_row = config->hidden * rt_dtype_bytes(plan->hidden_dtype);
    const int64_t q_width = glm_config_q_width(config);
    const attn_shape shape = glm_attn_shape(config, plan->kv_dtype);
    return rt_arena_cost(rt_min64(plan->span, plan->max_len) * hidden_row) +
           rt_arena_cost(plan->max_seqs * hidden_row) +
           rt_arena_cost(plan->max_logits * hidden_row) +
           rt_arena_cost(rows * glm_row_stride(config->hidden) * 4) +
           rt_arena_cost(rows * glm_pad(config->hidden) * 4) +
           rt_arena_cost(rows * glm_config_qkv_rows(config) * 4) +
           2 * rt_arena_cost(rows * q_width * 4) + 4 * rt_arena_cost(rows * config->n_heads * 4) +
           rt_arena_cost(
                   rt_min64(rows, GLM_MLP_ROWS) * glm_row_stride(2 * glm_pad(config->ffn)) * 4) +
           rt_arena_cost(attn_decode_scratch_bytes(&shape, plan->max_len, plan->max_seqs)) +
           rt_arena_cost(logits_bytes(config, plan)) + shares_cost(config, plan);
}

static void carve(glm_engine *engine) {
    const glm_config *config = &engine->part;
    const glm_plan *plan = &engine->plan;
    rt_arena *arena = &engine->arena;
    glm_buffers *b = &engine->buffers;
    const int64_t rows = buffer_rows(plan);
    const int64_t hidden_row = glm_hidden_row_bytes(engine);
    const attn_shape shape = glm_attn_shape(config, plan->kv_dtype);
    engine->hidden = rt_arena_take(arena, rt_min64(plan->span, plan->max_len) * hidden_row);
    engine->decode_hidden = rt_arena_take(arena, plan->max_seqs * hidden_row);
    engine->wanted_hidden = rt_arena_take(arena, plan->max_logits * hidden_row);
    b->normed = take_rows(arena, rows, glm_row_stride(config->hidden));
    b->update = take_rows(arena, rows, glm_pad(config->hidden));
    b->qkv = take_rows(arena, rows, glm_config_qkv_rows(config));
    b->attended = take_rows(arena, rows, glm_config_q_width(config));
    b->part = take_rows(arena, rows, glm_config_q_width(config));
    b->state_max = rt_arena_take(arena, rows * config->n_heads * 4);
    b->state_sum = rt_arena_take(arena, rows * config->n_heads * 4);
    b->part_max = rt_arena_take(arena, rows * config->n_heads * 4);
    b->part_sum = rt_arena_take(arena, rows * config->n_heads * 4);
    b->gate_up = take_rows(
            arena, rt_min64(rows, GLM_MLP_ROWS), glm_row_stride(2 * glm_pad(config->ffn)));
    b->decode_scratch =
            rt_arena_take(arena, attn_decode_scratch_bytes(&shape, plan->max_len, plan->max_seqs));
    engine->logits = rt_arena_take(arena, logits_bytes(config, plan));
    if (plan->n_ranks == 1) return;
    b->gather_rows = gather_rows(config, plan);
    b->share = rt_arena_take(arena, share_bytes(config, plan));
    b->shares = rt_arena_take(arena, plan->n_ranks * share_bytes(config, plan));
}

/* ---- the plan -------------------------------------------------------------------------------- */

static bool is_usable(int32_t place, char *text, int64_t room, rt_device_memory *memory) {
    (void)place;
    (void)snprintf(text, (size_t)room, "%s", rt_isa_name(rt_machine_isa()));
    if (memory) *memory = (rt_device_memory){0};
    return true;
}

static rt_status check(const glm_config *config, const glm_options *options, const glm_plan *plan) {
    const attn_shape shape = glm_attn_shape(config, plan->kv_dtype);
    const rt_status status = attn_cpu_check(&shape);
    (void)options;
    if (status != RT_EUSAGE) return status;
    return rt_fail(RT_EMODEL, "plan: CF_UNSUPPORTED: config.json's numbers: %s", rt_error_text());
}

static int64_t onednn_bytes(const glm_config *part, const glm_plan *plan) {
    int64_t widths[GLM_LINEAR_WIDTHS];
    glm_linear_widths(part, widths);
    if (plan->linear_by != GLM_LINEAR_ONEDNN) return 0;
    return glm_linear_onednn_scratch_bytes(widths, GLM_LINEAR_WIDTHS, plan->threads);
}

static void bill(const glm_checkpoint *checkpoint, const glm_config *part, glm_plan *plan) {
    const attn_shape shape = glm_attn_shape(part, plan->kv_dtype);
    const int64_t hidden_row = part->hidden * rt_dtype_bytes(plan->hidden_dtype);
    plan->kv_page_bytes = attn_page_bytes(&shape);
    plan->weights_bytes = rt_mem_cost(glm_weights_bytes(checkpoint, part, plan->linear_by));
    plan->hidden_bytes = rt_min64(plan->span, plan->max_len) * hidden_row;
    plan->scratch_bytes = rt_mem_cost(arena_bytes(part, plan)) - plan->hidden_bytes +
                          glm_ops_cpu_bytes(&shape, rt_machine_isa(), plan->threads) +
                          onednn_bytes(part, plan);
    plan->pinned_bytes = 0;
    plan->load_bytes = rt_mem_cost(glm_weights_load_bytes(part, plan->threads)) +
                       glm_ops_cpu_bytes(&shape, rt_machine_isa(), plan->threads);
}

/* ---- open and close -------------------------------------------------------------------------- */

static rt_status open_ops(glm_engine *engine) {
    const attn_shape shape = glm_attn_shape(&engine->part, engine->plan.kv_dtype);
    const rt_status status =
            glm_ops_cpu_create(&shape, rt_machine_isa(), engine->pool, &engine->ops);
    /* It is the model that asks for the shape. */
    if (status == RT_EUSAGE) return rt_fail(RT_EMODEL, "%s", rt_error_text());
    if (status != RT_OK || engine->plan.linear_by != GLM_LINEAR_ONEDNN) return status;
    int64_t widths[GLM_LINEAR_WIDTHS];
    glm_linear_widths(&engine->part, widths);
    return glm_ops_add_onednn(&engine->ops, widths, GLM_LINEAR_WIDTHS);
}

static rt_status cpu_open(glm_engine *engine, const glm_checkpoint *checkpoint) {
    RT_TRY(open_ops(engine));
    return glm_weights_load(
            checkpoint, &engine->part, &engine->shard, &engine->ops, &engine->weights);
}

static rt_status open_buffers(glm_engine *engine) {
    const int64_t bytes = arena_bytes(&engine->part, &engine->plan);
    RT_TRY(rt_arena_create(&engine->arena, bytes, "hidden states and scratch"));
    carve(engine);
    return RT_OK;
}

static void cpu_close(glm_engine *engine) {
    rt_arena_free(&engine->arena);
    glm_weights_free(&engine->weights);
    glm_ops_free(&engine->ops);
}

/* ---- hidden states: host memory -------------------------------------------------------------- */

static rt_status copy(glm_engine *engine, void *to, const void *from, int64_t bytes) {
    (void)engine;
    memcpy(to, from, (size_t)bytes);
    return RT_OK;
}

static int64_t chunk(const glm_config *part, const glm_speed *speed, int64_t below) {
    (void)part;
    (void)speed;
    if (below > CHUNK) return CHUNK;
    return rt_max64(below / 2 / ATTN_PAGE_TOKENS, 1) * ATTN_PAGE_TOKENS;
}

const glm_backend glm_backend_cpu = {
        .name = "cpu",
        .is_usable = is_usable,
        .check = check,
        .bill = bill,
        .chunk = chunk,
        .speed = glm_usual_speed,
        .open = cpu_open,
        .open_buffers = open_buffers,
        .close = cpu_close,
        .embed = glm_cpu_embed,
        .prefill = glm_cpu_prefill,
        .decode = glm_cpu_decode,
        .together = glm_cpu_together,
        .logits = glm_cpu_logits,
        .copy_hidden = copy,
        .read_hidden = copy,
        .write_hidden = copy,
        .load_window = glm_cpu_load_window,
        .store_window = glm_cpu_store_window,
        .rows_to_pages = glm_cpu_rows_to_pages,
        .pages_to_rows = glm_cpu_pages_to_rows,
};
