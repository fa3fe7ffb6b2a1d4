/* A GPU behind backend.h: opening it, and what concerns the plan. */
#include "backend.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "engine_cuda.h"
#include "find_cuda.h"
#include "ranks.h"

enum { WIDTH_STEP = 8, VOCAB_STEP = 4 };

/* ---- the plan -------------------------------------------------------------------------------- */

static bool is_usable(int32_t place, char *text, int64_t room, rt_device_memory *memory) {
    char library[512];
    if (!glm_cuda_is_usable(place, text, room, memory)) return false;
    if (glm_cuda_try_kernel(glm_cuda_a_kernel()) != RT_OK) {
        (void)snprintf(text, (size_t)room, "%s", rt_error_text());
        return false;
    }
    const bool is_there = glm_cublas_is_there(library, sizeof library);
    const size_t n = is_there ? strlen(text) : 0;
    (void)snprintf(text + n, (size_t)room - n, "%s%s", is_there ? ", with " : "", library);
    return is_there;
}

static rt_status check_width(const char *what, int64_t width, int step) {
    if (width % step == 0) return RT_OK;
    return rt_fail(RT_EUNSUPPORTED, "--device cuda: %s is %" PRId64 "; a multiple of %d is needed",
            what, width, step);
}

/* Where the program starts the ranks, they see the GPUs that this process sees. A launcher may show each rank its
 * own: then they find out when they meet. */
static rt_status check_devices(const glm_options *options, int32_t n_ranks) {
    par_world world;
    char address[PAR_ADDRESS_BYTES];
    const int32_t n_here = options->ranks_here ? options->ranks_here : n_ranks;
    const int32_t n_devices = glm_cuda_count();
    RT_TRY(glm_launcher_find(&world, address));
    if (world.transport != PAR_BY_SELF || n_here <= n_devices) return RT_OK;
    return rt_fail(RT_EUNSUPPORTED,
            "--device cuda: %" PRId32 " ranks on this machine, which has %" PRId32
            " GPU%s; each rank needs its own",
            n_here, n_devices, n_devices == 1 ? "" : "s");
}

static rt_status check_ranks(
        const glm_config *config, const glm_options *options, int32_t n_ranks) {
    par_shard shard;
    glm_config part;
    char nccl[PAR_NAME_BYTES];
    if (n_ranks == 1 && !options->nccl) return RT_OK;
    RT_TRY(glm_plan_share(config, 0, n_ranks, &shard, &part));
    RT_TRY(check_width("a rank's share of ffn", part.ffn, WIDTH_STEP));
    RT_TRY(check_width("a rank's share of the vocabulary", part.vocab, VOCAB_STEP));
    if (options->gpu_name) return RT_OK; /* what is here is not asked */
    RT_TRY(check_devices(options, n_ranks));
    if (par_nccl_describe(nccl, sizeof nccl) == RT_OK) return RT_OK;
    return rt_fail(RT_EUNSUPPORTED, "--device cuda: ranks sum by NCCL: %s", rt_error_text());
}

static rt_status check(const glm_config *config, const glm_options *options, const glm_plan *plan) {
    const attn_shape shape = glm_attn_shape(config, plan->kv_dtype);
    if (config->dtype != RT_BF16)
        return rt_fail(RT_EUNSUPPORTED, "--device cuda: %s weights are not there yet; bf16 are",
                rt_dtype_name(config->dtype));
    if (options->linear && strcmp(options->linear, "onednn") == 0)
        return rt_fail(RT_EUNSUPPORTED, "--linear onednn is for the CPU; a GPU has cuBLASLt");
    RT_TRY(check_width("hidden", config->hidden, WIDTH_STEP));
    RT_TRY(check_width("ffn", config->ffn, WIDTH_STEP));
    RT_TRY(check_ranks(config, options, plan->n_ranks));
    if (attn_cuda_check(&shape) == RT_OK) return RT_OK;
    return rt_fail(RT_EUNSUPPORTED, "--device cuda: %s", rt_error_text());
}

/* Code of kernels and of cuBLASLt, and blocks of small pieces: on an H200 these and what is lost behind large pieces were 15 MiB of one
 * layer of the 9B. */
static const int64_t code_bytes = 32 * RT_MIB;

static void bill(const glm_checkpoint *checkpoint, const glm_config *part, glm_plan *plan) {
    const attn_shape shape = glm_attn_shape(part, plan->kv_dtype);
    (void)checkpoint;
    plan->kv_page_bytes =
            attn_is_lossy(&shape) ? attn_cuda_fp8_page_bytes(&shape) : attn_cuda_page_bytes(&shape);
    plan->weights_bytes = glm_cuda_weights_bytes(part, plan->n_streamed_layers);
    plan->weights_host_bytes = glm_cuda_weights_host_bytes(part, plan->n_streamed_layers);
    plan->hidden_bytes = rt_min64(plan->span, plan->max_len) * part->hidden * 2;
    plan->scratch_bytes = glm_cuda_buffers_device_bytes(part, plan) - plan->hidden_bytes;
    plan->graphs_bytes = glm_cuda_graphs_bytes(part, plan);
    plan->driver_bytes = plan->context_bytes + code_bytes + plan->graphs_bytes +
                         glm_cuda_weights_lost_bytes(part, plan->n_streamed_layers) +
                         glm_cuda_buffers_lost_bytes(part, plan) + glm_cuda_ranks_bytes(plan);
    plan->pinned_bytes = glm_cuda_buffers_pinned_bytes(part, plan);
    plan->load_bytes = glm_cuda_load_bytes(part, plan->threads);
}

/* ---- open and close -------------------------------------------------------------------------- */

static rt_status open_device(glm_engine *engine) {
    RT_TRY(rt_calloc(1, sizeof *engine->cuda, "the GPU", &engine->cuda));
    glm_cuda *cuda = engine->cuda;
    cuda->shape = glm_attn_shape(&engine->part, engine->plan.kv_dtype);
    RT_TRY(glm_cuda_device_open(glm_ranks_place(engine->comm, NULL), &cuda->device));
    engine->device = &cuda->device.base;
    return glm_cuda_try_kernel(glm_cuda_a_kernel());
}

static rt_status cuda_meet(glm_engine *engine) {
    RT_TRY(par_agree(engine->comm, open_device(engine), NULL));
    return glm_cuda_ranks_open(engine, engine->plan.sums_on_gpu);
}

static rt_status cuda_open(glm_engine *engine, const glm_checkpoint *checkpoint) {
    glm_cuda *cuda = engine->cuda;
    RT_TRY(glm_cublas_open(&cuda->device, &cuda->cublas));
    return glm_cuda_watch_look(cuda, glm_cuda_weights_load(engine, checkpoint));
}

/* ---- rows of decode that have the bits of one ------------------------------------------------- */

static rt_status count_alike(const glm_engine *engine, int64_t *n_alike) {
    const glm_cuda *cuda = engine->cuda;
    const glm_cuda_layer *layer = &cuda->weights.layers[0];
    const bool is_summed = engine->plan.sums_on_gpu;
    const struct {
        const glm_cuda_matrix *matrix;
        bool is_f32;
    } products[] = {{&layer->qkv, false}, {&layer->attn_out, is_summed}, {&layer->gate_up, false},
            {&layer->down, is_summed}, {&cuda->weights.head, true}};
    for (int i = 0; i < 5; i++)
        RT_TRY(glm_cublas_rows_alike(
                cuda->cublas, products[i].matrix, products[i].is_f32, *n_alike, n_alike));
    return RT_OK;
}

static void say_alike(const glm_engine *engine, int64_t n_alike) {
    const glm_plan *plan = &engine->plan;
    if (engine->comm->rank > 0) return;
    rt_log(RT_LOG_WARN, "linear",
            "cuBLASLt refuses the kernels of decode for %" PRId64 " rows: %" PRId32
            " tokens are drafted at most%s",
            n_alike + 1, plan->n_speculative,
            n_alike < plan->max_seqs
                    ? ", and an answer's bits may depend on how many are decoded with it"
                    : "");
}

void glm_cuda_limit_drafts(glm_engine *engine, int64_t n_alike) {
    glm_plan *plan = &engine->plan;
    plan->n_speculative = (int32_t)rt_min64(plan->n_speculative, rt_max64(n_alike - 1, 0));
    if (n_alike < plan->max_seqs) plan->linear_by = GLM_LINEAR_CUBLASLT_BY_ROWS;
    say_alike(engine, n_alike);
}

/* Drafts have the bits of one token after another, or there are none; all ranks alike. */
static rt_status settle_drafts(glm_engine *engine) {
    const int64_t n_max = glm_cuda_decode_rows(&engine->plan);
    int64_t n_alike = n_max;
    const rt_status status = count_alike(engine, &n_alike);
    RT_TRY(par_agree(engine->comm, status, &n_alike));
    if (n_alike < n_max) glm_cuda_limit_drafts(engine, n_alike);
    return RT_OK;
}

static rt_status cuda_open_buffers(glm_engine *engine) {
    RT_TRY(settle_drafts(engine));
    return glm_cuda_watch_look(engine->cuda, glm_cuda_buffers_open(engine));
}

/* Nothing is freed that queued work still uses: sums, too, which other ranks wait for. Behind a failure that is what is told. */
static void settle(const glm_engine *engine) {
    const glm_cuda_device *device = &engine->cuda->device;
    const rt_stream streams[] = {device->compute, device->copy_in, device->copy_out};
    char why[1024];
    (void)snprintf(why, sizeof why, "%s", rt_error_text());
    for (int i = 0; i < 3; i++)
        if (streams[i] &&
                glm_group_end(engine, glm_cuda_wait(streams[i], "what was queued")) != RT_OK)
            (void)!rt_fail(RT_EDEVICE, "%s", why);
}

static void cuda_close(glm_engine *engine) {
    glm_cuda *cuda = engine->cuda;
    if (!cuda) return;
    settle(engine);
    glm_cuda_watch_close(cuda);
    glm_cuda_buffers_close(engine);
    glm_cuda_weights_free(cuda, engine->config.n_layers);
    glm_cublas_close(cuda->cublas);
    glm_cuda_device_close(&cuda->device);
    free(cuda);
    engine->cuda = NULL;
    engine->device = NULL;
}

/* ---- hidden states --------------------------------------------------------------------------- */

static rt_status copy_hidden(glm_engine *engine, void *to, const void *from, int64_t bytes) {
    return glm_cuda_copy(to, from, bytes, engine->cuda->device.compute);
}

/* Through pinned memory, a piece at a time; rare enough to take it when it is needed. */
static rt_status move_hidden(
        glm_engine *engine, char *device, char *host, int64_t bytes, bool is_in) {
    const rt_stream stream = engine->cuda->device.compute;
    const int64_t step = 16 * RT_MIB;
    char *pinned = NULL;
    rt_status status =
            glm_cuda_pin(rt_min64(step, bytes), "hidden states", (void **)(void *)&pinned);
    for (int64_t at = 0; at < bytes && status == RT_OK; at += step) {
        const int64_t n = rt_min64(step, bytes - at);
        if (is_in) memcpy(pinned, host + at, (size_t)n);
        status = is_in ? glm_cuda_copy_in(device + at, pinned, n, stream)
                       : glm_cuda_copy_out(pinned, device + at, n, stream);
        const rt_status waited =
                glm_cuda_ranks_settle(engine, glm_cuda_wait(stream, "hidden states on their way"));
        if (status == RT_OK) status = waited;
        if (status == RT_OK && !is_in) memcpy(host + at, pinned, (size_t)n);
    }
    glm_cuda_unpin(pinned);
    return status;
}

static rt_status read_hidden(glm_engine *engine, void *host, const void *from, int64_t bytes) {
    return move_hidden(engine, (char *)(uintptr_t)from, host, bytes, false);
}

static rt_status write_hidden(glm_engine *engine, void *to, const void *host, int64_t bytes) {
    return move_hidden(engine, to, (char *)(uintptr_t)host, bytes, true);
}

const glm_backend glm_backend_cuda = {
        .name = "cuda",
        .is_there = glm_cuda_is_there,
        .is_usable = is_usable,
        .check = check,
        .bill = bill,
        .chunk = glm_cuda_chunk,
        .speed = glm_cuda_speed,
        .expect = glm_cuda_expect,
        .meet = cuda_meet,
        .open = cuda_open,
        .open_buffers = cuda_open_buffers,
        .close = cuda_close,
        .embed = glm_cuda_layer_embed,
        .prefill = glm_cuda_layer_prefill,
        .decode = glm_cuda_decode_step,
        .decode_several = glm_cuda_decode_several,
        .fetch_logits = glm_cuda_fetch_logits,
        .together = glm_cuda_layer_together,
        .logits = glm_cuda_layer_logits,
        .copy_hidden = copy_hidden,
        .read_hidden = read_hidden,
        .write_hidden = write_hidden,
        .load_window = glm_cuda_load_window,
        .store_window = glm_cuda_store_window,
        .rows_to_pages = glm_cuda_rows_to_pages,
        .pages_to_rows = glm_cuda_pages_to_rows,
};
