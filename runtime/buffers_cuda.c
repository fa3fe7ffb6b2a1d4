/* All that the CUDA backend allocates besides weights and pages: one list says what and how much, for the plan
 * and for opening. */
#include <stdlib.h>

#include "attention/attn_fp8.h"
#include "backend.h"
#include "engine_cuda.h"

enum { BUFFERS_MAX = 56 };

typedef struct buffer {
    void *place; /* the address of a pointer */
    int64_t bytes;
    const char *what;
    bool is_pinned;
} buffer;

typedef struct buffer_list {
    buffer at[BUFFERS_MAX];
    int32_t n;
} buffer_list;

static void add(buffer_list *list, void *place, int64_t bytes, const char *what, bool is_pinned) {
    rt_assert(list->n < BUFFERS_MAX);
    list->at[list->n++] =
            (buffer){.place = place, .bytes = bytes, .what = what, .is_pinned = is_pinned};
}

static void on_device(buffer_list *list, void *place, int64_t bytes, const char *what) {
    add(list, place, bytes, what, false);
}

static void pinned(buffer_list *list, void *place, int64_t bytes, const char *what) {
    add(list, place, bytes, what, true);
}

/* ---- sizes ----------------------------------------------------------------------------------- */

static int64_t span_tokens(const glm_plan *plan) {
    return rt_min64(plan->span, plan->max_len);
}

static int64_t rows_of(const glm_plan *plan) {
    return rt_max64(plan->chunk, glm_cuda_decode_rows(plan));
}

/* `c`, here and below: what one rank has of the model. */
static int64_t logits_rows_of(const glm_plan *plan) {
    const int64_t wanted = rt_min64(plan->max_logits, GLM_CUDA_LOGITS_MAX);
    return rt_min64(rt_max64(wanted, glm_cuda_decode_rows(plan)), rows_of(plan));
}

/* Of a sequence, and of the spare pages of a chunk that begins in the middle of one. */
static int64_t pages_max(const glm_plan *plan) {
    return rt_div_up(plan->max_len, ATTN_PAGE_TOKENS);
}

static int64_t n_spare_pages(const glm_plan *plan) {
    return rt_div_up(plan->chunk, ATTN_PAGE_TOKENS) + 1;
}

static bool has_codes(const glm_plan *plan) {
    return plan->kv_open_page_bytes > 0;
}

static int64_t n_wide(const glm_plan *plan) {
    return has_codes(plan) ? rt_min64(GLM_CUDA_WIDE, pages_max(plan)) : 0;
}

/* Rows; of e4m3 pages those, or the rows of an open one. */
static int64_t slab_stride(const glm_config *config, const glm_plan *plan) {
    const int64_t page_rows = 2 * (int64_t)ATTN_PAGE_TOKENS * config->head_dim * 2;
    if (has_codes(plan))
        return rt_max64(page_rows,
                plan->kv_extent_tokens / ATTN_PAGE_TOKENS * (int64_t)ATTN_FP8_HEAD_BYTES);
    return 2 * (int64_t)plan->kv_extent_tokens * config->head_dim * 2;
}

static int64_t window_heads(const glm_config *config, const glm_plan *plan) {
    return (int64_t)plan->kv_window_extents * config->n_kv_heads;
}

/* Tickets, then scratch: of a token of each of max_seqs sequences, and of several of one. */
static int64_t splits_bytes(const attn_shape *shape, const glm_plan *plan) {
    return attn_cuda_decode_ticket_bytes(shape, plan->max_seqs) +
           rt_max64(attn_cuda_decode_scratch_bytes(shape, plan->max_len, plan->max_seqs, 1),
                   attn_cuda_decode_scratch_bytes(
                           shape, plan->max_len, 1, 1 + plan->n_speculative));
}

/* ---- the list -------------------------------------------------------------------------------- */

static void list_activations(
        buffer_list *list, glm_cuda *cuda, const glm_config *c, const glm_plan *plan) {
    const int64_t rows = rows_of(plan);
    const int64_t q_width = glm_config_q_width(c);
    on_device(list, &cuda->normed, rows * c->hidden * 2, "activations");
    on_device(list, &cuda->qkv, rows * glm_config_qkv_rows(c) * 2, "activations");
    on_device(list, &cuda->q, rows * q_width * 2, "activations");
    on_device(list, &cuda->attended, rows * q_width * 2, "activations");
    on_device(list, &cuda->gate_up, rows * 2 * c->ffn * 2, "activations");
    on_device(list, &cuda->activated, rows * c->ffn * 2, "activations");
    on_device(list, &cuda->update, rows * c->hidden * 2, "activations");
    on_device(list, &cuda->state_max, rows * c->n_heads * 4, "attention's state");
    on_device(list, &cuda->state_sum, rows * c->n_heads * 4, "attention's state");
    on_device(list, &cuda->state_out, rows * q_width * 4, "attention's state");
    on_device(list, &cuda->logits, logits_rows_of(plan) * plan->n_ranks * c->vocab * 4, "logits");
    on_device(list, &cuda->ids, span_tokens(plan) * 4, "token ids");
    pinned(list, &cuda->host_ids, span_tokens(plan) * 4, "token ids");
}

static void list_sums(
        buffer_list *list, glm_cuda *cuda, const glm_config *c, const glm_plan *plan) {
    if (!plan->sums_on_gpu) return;
    on_device(list, &cuda->sums, rows_of(plan) * c->hidden * 4, "sums over ranks");
    on_device(list, &cuda->shares, logits_rows_of(plan) * plan->n_ranks * c->vocab * 4,
            "logits of all ranks");
}

static void list_windows(
        buffer_list *list, glm_cuda *cuda, const glm_config *c, const glm_plan *plan) {
    const attn_shape shape = glm_attn_shape(c, plan->kv_dtype);
    const int64_t page_bytes = attn_cuda_page_bytes(&shape);
    const int64_t tables = GLM_CUDA_TABLES * (int64_t)sizeof(void *);
    on_device(list, &cuda->spare_pages, n_spare_pages(plan) * page_bytes, "spare pages");
    on_device(
            list, &cuda->spare_list, n_spare_pages(plan) * (int64_t)sizeof(void *), "page tables");
    pinned(list, &cuda->tables.host, tables * pages_max(plan), "page tables");
    on_device(list, &cuda->tables.device, tables * pages_max(plan), "page tables");
    if (has_codes(plan)) {
        on_device(list, &cuda->wide_pages, n_wide(plan) * page_bytes, "widened pages");
        on_device(list, &cuda->wide_list, n_wide(plan) * (int64_t)sizeof(void *), "page tables");
        pinned(list, &cuda->seal_tables.host, tables * 2 * plan->max_seqs, "page tables");
        on_device(list, &cuda->seal_tables.device, tables * 2 * plan->max_seqs, "page tables");
    }
    if (!plan->kv_overflows) return;
    const int64_t slab = GLM_CUDA_PLACES * window_heads(c, plan) * slab_stride(c, plan);
    const int64_t moved = window_heads(c, plan) +
                          plan->kv_window_extents * (plan->kv_extent_tokens / ATTN_PAGE_TOKENS);
    pinned(list, &cuda->slab, slab, "KV on its way to and from the disk");
    on_device(list, &cuda->rows_area, slab, "KV on its way to and from the disk");
    pinned(list, &cuda->in_tables.host, tables * moved, "page tables");
    on_device(list, &cuda->in_tables.device, tables * moved, "page tables");
    pinned(list, &cuda->out_tables.host, tables * moved, "page tables");
    on_device(list, &cuda->out_tables.device, tables * moved, "page tables");
}

static void list_decode(
        buffer_list *list, glm_cuda *cuda, const glm_config *c, const glm_plan *plan) {
    const attn_shape shape = glm_attn_shape(c, plan->kv_dtype);
    const int64_t n_lists = (int64_t)c->n_layers * plan->max_seqs;
    const int64_t pointers = n_lists * pages_max(plan) * (int64_t)sizeof(void *);
    pinned(list, &cuda->host_pages, pointers, "page tables");
    on_device(list, &cuda->pages, pointers, "page tables");
    on_device(list, &cuda->seq_pages, n_lists * (int64_t)sizeof(void *), "page tables");
    if (has_codes(plan)) {
        pinned(list, &cuda->host_open_pages, n_lists * (int64_t)sizeof(void *), "page tables");
        on_device(list, &cuda->open_pages, n_lists * (int64_t)sizeof(void *), "page tables");
    }
    const int64_t rows = glm_cuda_decode_rows(plan);
    pinned(list, &cuda->host_step_memory, glm_cuda_step_bytes(rows), "a decode step");
    on_device(list, &cuda->step_memory, glm_cuda_step_bytes(rows), "a decode step");
    on_device(list, &cuda->drawn, rows * 4, "a decode step");
    pinned(list, &cuda->host_drawn, rows * 4, "a decode step");
    on_device(list, &cuda->decode_scratch, splits_bytes(&shape, plan), "the splits of decode");
    const int64_t passes = glm_cuda_passes_bytes(plan->max_seqs);
    pinned(list, &cuda->host_passes_memory, passes, "a decode step");
    on_device(list, &cuda->passes_memory, passes, "a decode step");
    pinned(list, &cuda->pass_tables.host, GLM_CUDA_TABLES * passes, "a decode step");
    on_device(list, &cuda->pass_tables.device, GLM_CUDA_TABLES * passes, "a decode step");
}

/* `engine` is one whose pointers are to be filled, or a zeroed one. */
static void list_all(buffer_list *list, glm_engine *engine, glm_cuda *cuda, const glm_config *c,
        const glm_plan *plan) {
    const int64_t row = c->hidden * 2;
    list->n = 0;
    on_device(list, &engine->hidden, span_tokens(plan) * row, "hidden states");
    on_device(list, &engine->decode_hidden, glm_cuda_decode_rows(plan) * row, "hidden states");
    on_device(list, &engine->wanted_hidden, plan->max_logits * row, "hidden states");
    pinned(list, &engine->logits,
            rt_max64(plan->max_logits, glm_cuda_decode_rows(plan)) * plan->n_ranks * c->vocab * 4,
            "logits");
    list_activations(list, cuda, c, plan);
    list_sums(list, cuda, c, plan);
    list_windows(list, cuda, c, plan);
    list_decode(list, cuda, c, plan);
}

static int64_t rounded(int64_t bytes) {
    return rt_round_up(bytes, 256);
}

static int64_t sum_of(const glm_config *config, const glm_plan *plan, bool is_pinned,
        int64_t (*bytes_of)(int64_t bytes)) {
    glm_engine engine = {0};
    glm_cuda cuda = {0};
    buffer_list list;
    int64_t bytes = 0;
    list_all(&list, &engine, &cuda, config, plan);
    for (int32_t i = 0; i < list.n; i++)
        if (list.at[i].is_pinned == is_pinned) bytes += bytes_of(list.at[i].bytes);
    return bytes;
}

int64_t glm_cuda_buffers_device_bytes(const glm_config *config, const glm_plan *plan) {
    return sum_of(config, plan, false, rounded) + glm_cublas_bytes();
}

int64_t glm_cuda_buffers_lost_bytes(const glm_config *config, const glm_plan *plan) {
    return sum_of(config, plan, false, glm_cuda_lost_behind);
}

int64_t glm_cuda_buffers_pinned_bytes(const glm_config *config, const glm_plan *plan) {
    return sum_of(config, plan, true, rounded);
}

/* ---- open and close -------------------------------------------------------------------------- */

static rt_status take(glm_cuda *cuda, const buffer *one) {
    return one->is_pinned
                   ? glm_cuda_pin(one->bytes, one->what, one->place)
                   : cuda->device.base.alloc(&cuda->device.base, one->bytes, one->what, one->place);
}

/* Every event; `work` creates or frees. */
static rt_status for_events(glm_cuda *cuda, rt_status (*work)(glm_cuda_event *event)) {
    glm_cuda_tables *tables[] = {&cuda->tables, &cuda->in_tables, &cuda->out_tables,
            &cuda->seal_tables, &cuda->pass_tables};
    for (int i = 0; i < 5; i++)
        for (int k = 0; k < GLM_CUDA_TABLES; k++) RT_TRY(work(&tables[i]->sent[k]));
    for (int i = 0; i < GLM_CUDA_AHEAD; i++) RT_TRY(work(&cuda->done[i]));
    RT_TRY(work(&cuda->ids_sent));
    for (int i = 0; i < GLM_CUDA_PLACES - 1; i++) {
        RT_TRY(work(&cuda->come[i]));
        RT_TRY(work(&cuda->taken[i]));
    }
    RT_TRY(work(&cuda->computed));
    RT_TRY(work(&cuda->unpacked));
    return work(&cuda->left);
}

static rt_status free_event(glm_cuda_event *event) {
    glm_cuda_event_free(*event);
    *event = NULL;
    return RT_OK;
}

static glm_cuda_step step_in(void *memory, int64_t rows) {
    int64_t *numbers = memory;
    return (glm_cuda_step){.positions = numbers,
            .lengths = numbers + rows,
            .ids = (int32_t *)(numbers + 2 * rows),
            .draws = (glm_cuda_draw *)(void *)((int32_t *)(numbers + 2 * rows) + rows)};
}

/* n places of memory, `step` bytes from one to the next: the device is told once. */
static rt_status list_places(glm_cuda *cuda, void *list, void *first, int64_t step, int64_t n) {
    const int64_t bytes = n * (int64_t)sizeof(void *);
    void **lists = NULL;
    if (n == 0) return RT_OK;
    RT_TRY(glm_cuda_pin(bytes, "page tables", (void **)(void *)&lists));
    for (int64_t i = 0; i < n; i++) lists[i] = (char *)first + i * step;
    rt_status status = glm_cuda_copy_in(list, lists, bytes, cuda->device.compute);
    const rt_status waited = glm_cuda_wait(cuda->device.compute, "page tables");
    if (status == RT_OK) status = waited;
    glm_cuda_unpin(lists);
    return status;
}

/* Where each sequence's pages are listed, and where spare and widened ones are. */
static rt_status list_all_places(glm_engine *engine) {
    glm_cuda *cuda = engine->cuda;
    RT_TRY(list_places(cuda, cuda->seq_pages, cuda->pages,
            cuda->pages_max * (int64_t)sizeof(void *),
            (int64_t)engine->config.n_layers * engine->plan.max_seqs));
    RT_TRY(list_places(cuda, cuda->spare_list, cuda->spare_pages,
            attn_cuda_page_bytes(&cuda->shape), cuda->n_spare_pages));
    return list_places(cuda, cuda->wide_list, cuda->wide_pages, attn_cuda_page_bytes(&cuda->shape),
            cuda->n_wide);
}

rt_status glm_cuda_clear_tickets(glm_engine *engine) {
    const glm_cuda *cuda = engine->cuda;
    return glm_cuda_zero(cuda->decode_scratch,
            attn_cuda_decode_ticket_bytes(&cuda->shape, engine->plan.max_seqs),
            cuda->device.compute);
}

static void fill_numbers(glm_engine *engine) {
    glm_cuda *cuda = engine->cuda;
    const glm_plan *plan = &engine->plan;
    cuda->rows = rows_of(plan);
    cuda->logits_rows = logits_rows_of(plan);
    cuda->step_rows = glm_cuda_decode_rows(plan);
    cuda->pages_max = pages_max(plan);
    cuda->tables.capacity = cuda->pages_max;
    cuda->seal_tables.capacity = has_codes(plan) ? 2 * plan->max_seqs : 0;
    cuda->n_wide = n_wide(plan);
    cuda->n_spare_pages = n_spare_pages(plan);
    cuda->pass_tables.capacity = GLM_CUDA_PASSES_POINTERS(plan->max_seqs);
    if (!plan->kv_overflows) return;
    cuda->slab_stride = slab_stride(&engine->part, plan);
    cuda->place_bytes = window_heads(&engine->part, plan) * cuda->slab_stride;
    cuda->in_tables.capacity = cuda->out_tables.capacity =
            window_heads(&engine->part, plan) +
            plan->kv_window_extents * (plan->kv_extent_tokens / ATTN_PAGE_TOKENS);
}

rt_status glm_cuda_buffers_open(glm_engine *engine) {
    glm_cuda *cuda = engine->cuda;
    const int64_t max_seqs = engine->plan.max_seqs;
    buffer_list list;
    fill_numbers(engine);
    list_all(&list, engine, cuda, &engine->part, &engine->plan);
    for (int32_t i = 0; i < list.n; i++) RT_TRY(take(cuda, &list.at[i]));
    cuda->host_step = step_in(cuda->host_step_memory, cuda->step_rows);
    cuda->step = step_in(cuda->step_memory, cuda->step_rows);
    cuda->host_passes = glm_cuda_passes_in(cuda->host_passes_memory, max_seqs);
    cuda->passes = glm_cuda_passes_in(cuda->passes_memory, max_seqs);
    RT_TRY(glm_cuda_graphs_open(engine));
    RT_TRY(rt_calloc(max_seqs, sizeof(int64_t), "a decode step", &cuda->listed_lengths));
    RT_TRY(rt_calloc(engine->config.n_layers, sizeof *cuda->filled, "pages", &cuda->filled));
    glm_cuda_forget_pages(engine);
    RT_TRY(for_events(cuda, glm_cuda_event_create));
    RT_TRY(list_all_places(engine));
    return glm_cuda_clear_tickets(engine);
}

void glm_cuda_buffers_close(glm_engine *engine) {
    glm_cuda *cuda = engine->cuda;
    buffer_list list;
    glm_cuda_graphs_close(engine);
    free(cuda->listed_lengths);
    free(cuda->filled);
    (void)!for_events(cuda, free_event);
    list_all(&list, engine, cuda, &engine->part, &engine->plan);
    for (int32_t i = 0; i < list.n; i++) {
        void **place = list.at[i].place;
        if (list.at[i].is_pinned)
            glm_cuda_unpin(*place);
        else
            glm_cuda_free(&cuda->device, *place);
        *place = NULL;
    }
}
