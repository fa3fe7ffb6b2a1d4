/* What computes: one table of functions a kind of device. backend_cpu.c fills it with layer.c and
 * vocabulary.c, backend_cuda.c with kernels; the engine calls through it and never looks where
 * hidden states and pages are.
 *
 * Hidden states are [n][hidden] of plan.hidden_dtype in the backend's own memory: pointers into
 * engine->hidden, decode_hidden and wanted_hidden, which the engine only does arithmetic on. Calls may
 * queue their work and return; logits, and what is copied to host memory, is there on return.
 *
 * Errors of all: RT_EDEVICE, the device failed (it may be an earlier call's work); those of the store. */
#ifndef GLM_BACKEND_H
#define GLM_BACKEND_H

#include "checkpoint.h"
#include "engine.h"
#include "plan_speed.h"

struct glm_backend {
    const char *name; /* as --device has it */

    /* Whether there is a device of the kind, usable or not. NULL: always. */
    bool (*is_there)(void);
    /* Whether the machine has what it takes, for rank `place` of those here; what that is, or why not, in `text`.
     * `memory`: out, may be NULL. */
    bool (*is_usable)(int32_t place, char *text, int64_t room, rt_device_memory *memory);
    /* Whether it runs the model so; plan->kv_dtype and hidden_dtype are set. RT_EUNSUPPORTED, RT_EMODEL: what it
     * does not. */
    rt_status (*check)(const glm_config *config, const glm_options *options, const glm_plan *plan);
    /* A page of one layer, and its share of the bill, for plan->max_len, chunk and span: kv_page_bytes,
     * weights_bytes, hidden_bytes, scratch_bytes, graphs_bytes, driver_bytes, pinned_bytes, load_bytes; and weights_host_bytes, of the last
     * plan->n_streamed_layers layers. */
    void (*bill)(const glm_checkpoint *checkpoint, const glm_config *part, glm_plan *plan);
    /* Tokens of a chunk that suit it, fewer than `below`: the most and best of them, at least a page. INT64_MAX: what it
     * takes unless something else is asked for. */
    int64_t (*chunk)(const glm_config *part, const glm_speed *speed, int64_t below);
    /* What the plan's span and chunk are made of; of a GPU its times, too, for which a CPU is measured. RT_EUNSUPPORTED, RT_EDEVICE, RT_ENOMEM. */
    rt_status (*speed)(int32_t n_threads, glm_speed *out);
    /* Memory and speed of a device by its name (gpu_names.h), which need not be here; out: the name as it is written.
     * NULL: it has none. RT_EUSAGE: there is no such name. */
    rt_status (*expect)(const char **name, rt_device_memory *memory, glm_speed *speed);

    /* All ranks, before anything large: take the device, each its own; engine->comm sums where its memory is from
     * here on. RT_EUNSUPPORTED, RT_EDEVICE, RT_EPEER; the same on all. NULL: there is none to take. */
    rt_status (*meet)(glm_engine *engine);
    /* Read the weights. The plan, the share of the model and the pool are there. RT_EMODEL,
     * RT_EIO, RT_ENOMEM, RT_EDEVICE; close() undoes what was done. */
    rt_status (*open)(glm_engine *engine, const glm_checkpoint *checkpoint);
    /* All other memory, by the plan. */
    rt_status (*open_buffers)(glm_engine *engine);
    void (*close)(glm_engine *engine);

    /* Rows of the embedding: ids[n] -> hidden [n][hidden]. */
    rt_status (*embed)(glm_engine *engine, const int32_t *ids, int64_t n, void *hidden);
    /* One transformer layer over a chunk, in place on `hidden` [chunk->n][hidden]. */
    rt_status (*prefill)(
            glm_engine *engine, int32_t layer, kv_seq *seq, const glm_chunk *chunk, void *hidden);
    /* Tokens ids[n], one of each of n sequences, through the whole model -> engine->logits [n][vocab];
     * lengths[i] counts the new one. */
    rt_status (*decode)(glm_engine *engine, kv_seq *const *seqs, const int64_t *lengths,
            const int32_t *ids, int32_t n);
    /* The last n tokens of one sequence, as decode would take one after another, to the bit, in one pass -> rows of
     * engine->logits, or of what is drawn. They lie in one page, and do not fill it. Where it turns out that these are not
     * their bits, plan.n_speculative is less than n - 1 from then on. NULL: prefill does the same. */
    rt_status (*decode_several)(
            glm_engine *engine, kv_seq *seq, int64_t length, const int32_t *ids, int32_t n);
    /* A device that draws: where engine->drawing.n is n, decode fills drawing.ids and leaves the logits where they are;
     * this brings them. NULL: it does not. */
    rt_status (*fetch_logits)(glm_engine *engine, int64_t n);
    /* One layer over the tokens that n sequences add, at most a chunk of them all together, those that decode
     * one token first; in place on `hidden`, rows one after another. NULL: each by itself, then. */
    rt_status (*together)(
            glm_engine *engine, int32_t layer, const glm_added *added, int32_t n, void *hidden);
    /* Final norm and output head: hidden [n][hidden], of which the first n_decoded rows are of tokens that were decoded, the
     * others of a prefill -> logits fp32 [n][vocab], host memory. */
    rt_status (*logits)(
            glm_engine *engine, const void *hidden, int64_t n_decoded, int64_t n, float *logits);

    /* Hidden states from one of the engine's places to another; to and from host memory. */
    rt_status (*copy_hidden)(glm_engine *engine, void *to, const void *from, int64_t bytes);
    rt_status (*read_hidden)(glm_engine *engine, void *host, const void *from, int64_t bytes);
    rt_status (*write_hidden)(glm_engine *engine, void *to, const void *host, int64_t bytes);

    /* The loads of a window -> its pages; pages -> the stores that it leaves behind. */
    rt_status (*load_window)(glm_engine *engine, kv_walk *walk, int64_t n_loads);
    rt_status (*store_window)(glm_engine *engine, kv_walk *walk, int64_t n_stores);
    /* Canonical rows, or bytes of sealed pages, of whole pages of one head <-> the pages. */
    rt_status (*rows_to_pages)(glm_engine *engine, const kv_rows *rows);
    rt_status (*pages_to_rows)(glm_engine *engine, const kv_rows *rows);
};

extern const glm_backend glm_backend_cpu;
#ifdef GLM_WITH_CUDA
extern const glm_backend glm_backend_cuda;
#endif

/* The backend of a plan, or of options->device: "auto" (or NULL) is a GPU where there is one that runs the model
 * so, or options->gpu_name plans for one, otherwise the CPU. RT_EUSAGE: no such device; RT_EUNSUPPORTED: not in this build, or not to be used here,
 * why. */
const glm_backend *glm_backend_of(const glm_plan *plan);
RT_MUST_CHECK rt_status glm_backend_choose(const glm_config *config, const glm_options *options,
        const glm_plan *plan, const glm_backend **out);

/* What is free on the GPU of rank `place` of this host, where the options may mean it; 0: none. */
int64_t glm_backend_gpu_free(const glm_options *options, int32_t place);

/* One line on the GPU backend, for reports; whether it can be used. */
bool glm_backend_describe_cuda(char *text, int64_t room);

#endif
