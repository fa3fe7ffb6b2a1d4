/* Inside the CUDA backend: what backend_cuda.c, weights_cuda.c, stream_cuda.c, layer_cuda.c, decode_cuda.c, graphs_cuda.c,
 * pages_cuda.c, window_cuda.c, ranks_cuda.c and watch_cuda.c share.
 *
 * Order of work. Kernels run on device.compute. Rows come in on copy_in, a window or two ahead of compute, which follows
 * it and puts them into pages (window_cuda.c); weights that the device has no room for come likewise, a layer ahead
 * (stream_cuda.c). Pages go out on copy_out, which follows compute, and which compute follows where they may be used
 * again; the host waits for what it encodes when more is queued than that. Inside a layer it waits for nothing that is not
 * well past. Host memory that is copied from is not written again before an event says that the copy is done.
 *
 * Activations are bf16, [rows][width] without padding; attention's state and logits are fp32. */
#ifndef GLM_ENGINE_CUDA_H
#define GLM_ENGINE_CUDA_H

#include "attention/attn_cuda.h"
#include "engine.h"
#include "linear_cuda.h"
#include "ops_cuda.h"
#include "plan_speed.h"

enum {
    GLM_CUDA_TABLES = 4, /* page tables on their way at a time */
    GLM_CUDA_WIDE = 128, /* e4m3 pages that are widened at a time */
    GLM_CUDA_AHEAD = 2,  /* (layer, chunk) items that the host may be ahead of the device */
    GLM_CUDA_PLACES =
            3, /* for windows on their way: two that they come through, one that they go through */
    GLM_CUDA_LOGITS_MAX = 64 /* rows of logits at a time, where more are wanted than are decoded */
};

/* Device memory, bf16; NULL where the model has none. */
typedef struct glm_cuda_layer {
    uint16_t *input_norm;
    glm_cuda_matrix qkv;
    glm_cuda_matrix attn_out;
    uint16_t *post_attn_norm;
    uint16_t *mlp_norm;
    glm_cuda_matrix gate_up; /* [2 ffn, hidden]: gate first */
    glm_cuda_matrix down;
    uint16_t *post_mlp_norm;
} glm_cuda_layer;

typedef struct glm_cuda_weights {
    uint16_t *embedding;
    glm_cuda_layer *layers; /* [n_layers], host memory */
    uint16_t *final_norm;
    glm_cuda_matrix head;
    bool head_is_embedding;
} glm_cuda_weights;

/* Layers whose matrices the device does not keep: pinned memory has them, and two places on the device take them in
 * turns, the next layer's while one is computed (stream_cuda.c). Their glm_cuda_layer.*.numbers point into `host`;
 * norms and biases are on the device. */
typedef struct glm_cuda_stream {
    int32_t first;       /* layers from here on; n_layers: none */
    int64_t layer_bytes; /* matrices of one, in `host` and in a place */
    char *host;
    char *device; /* [2][layer_bytes] */
    struct {
        int32_t layer; /* -1: none yet */
        bool is_awaited;
        glm_cuda_layer weights; /* as they are in this place */
        glm_cuda_event come;
    } places[2];
    int32_t last; /* the place that was computed with last */
    glm_cuda_event freed;
} glm_cuda_stream;

/* Pointers that go to the device, one list after the other, on one stream. */
typedef struct glm_cuda_tables {
    void **host;   /* [GLM_CUDA_TABLES][capacity], pinned */
    void **device; /* the same */
    int64_t capacity;
    glm_cuda_event sent[GLM_CUDA_TABLES];
    int64_t n_sent; /* ever */
} glm_cuda_tables;

/* The tokens of a decode step: one of each of n sequences, or several of one, in one page that they do not fill. */
typedef struct glm_cuda_tokens {
    kv_seq *const *seqs;    /* [n] */
    const int64_t *lengths; /* [n], with these tokens */
    const int32_t *ids;     /* [n][n_each] */
    int32_t n;
    int32_t n_each;
} glm_cuda_tokens;
/* Of them all, at most. */
static inline int64_t glm_cuda_decode_rows(const glm_plan *plan) {
    return rt_max64(plan->max_seqs, 1 + (int64_t)plan->n_speculative);
}

/* What one decode step of up to glm_cuda_decode_rows tokens is told, in one block: positions, lengths, ids, then draws. */
typedef struct glm_cuda_step {
    int64_t *positions;
    int64_t *lengths;
    int32_t *ids;
    glm_cuda_draw *draws;
} glm_cuda_step;

/* Open pages of a layer that a decode step fills, and what they become. */
typedef struct glm_cuda_filled {
    void *open_pages[GLM_DECODE_SEQS_MAX];
    void *pages[GLM_DECODE_SEQS_MAX];
    int32_t n;
} glm_cuda_filled;

/* Which of up to max_seqs sequences attend to which splits together, as attn_cuda_decode_args has it; in memory that
 * begins with `order`. */
typedef struct glm_cuda_passes {
    int32_t *order;
    attn_cuda_pass *passes; /* [2 max_seqs] */
    int32_t n;
    int32_t n_together;
} glm_cuda_passes;
/* Of n sequences, in pointers' room: where passes begin, and all. */
#define GLM_CUDA_PASSES_AT(n)       (((n) + 3) / 4 * 2)
#define GLM_CUDA_PASSES_POINTERS(n) (GLM_CUDA_PASSES_AT(n) + 4 * (n))
static inline int64_t glm_cuda_passes_bytes(int64_t n) {
    return GLM_CUDA_PASSES_POINTERS(n) * (int64_t)sizeof(void *);
}
static inline glm_cuda_passes glm_cuda_passes_in(void *memory, int64_t n) {
    void **pointers = memory;
    return (glm_cuda_passes){.order = memory, .passes = (void *)(pointers + GLM_CUDA_PASSES_AT(n))};
}

/* Kinds of a decode step: by the number of sequences, and of those in a pass, up to a power of two. */
enum { GLM_CUDA_TOGETHER_KINDS = 9 };
_Static_assert(1 << (GLM_CUDA_TOGETHER_KINDS - 1) == GLM_DECODE_SEQS_MAX, "every pass has a kind");
static inline int32_t glm_cuda_together_kind(int32_t n_together) {
    int32_t kind = 0;
    while (1 << kind < n_together) kind++;
    return kind;
}

typedef struct glm_cuda_step_kind {
    glm_cuda_graph *graphs; /* [n_each]; NULL: there are none */
    int64_t last_step;      /* by n_steps of the GPU; 0: none yet */
    bool has_run;           /* one was queued whole */
} glm_cuda_step_kind;

/* Graphs of decode steps that are taken one way (graphs_cuda.c). */
typedef struct glm_cuda_graphs {
    glm_cuda_step_kind *kinds; /* [n_kinds] */
    int64_t n_kinds;
    int32_t n_each;  /* graphs of a step */
    int32_t n;       /* kinds that have graphs */
    bool is_refused; /* one was: no more are made */
} glm_cuda_graphs;

typedef struct glm_cuda_watch glm_cuda_watch;

typedef struct glm_cuda {
    glm_cuda_device device;
    glm_cuda_watch *watch; /* several ranks; NULL: there is none */
    glm_cublas *cublas;
    glm_cuda_weights weights;
    glm_cuda_stream stream;
    attn_shape shape;
    int64_t rows;        /* that the activations have room for */
    int64_t logits_rows; /* the same of logits on the device, */
    int64_t step_rows;   /* and of a decode step */

    /* Activations, device memory; heads, ffn: this rank's. */
    uint16_t *normed;    /* [rows][hidden] */
    uint16_t *qkv;       /* [rows][(n_heads + 2 n_kv_heads) 128] */
    uint16_t *q;         /* [rows][n_heads 128], rotated */
    uint16_t *attended;  /* the same */
    uint16_t *gate_up;   /* [rows][2 ffn] */
    uint16_t *activated; /* [rows][ffn] */
    uint16_t *update;    /* [rows][hidden] */
    float *state_max;    /* [rows][n_heads], between windows */
    float *state_sum;
    float *state_out;  /* [rows][n_heads][128] */
    float *logits;     /* [logits_rows][vocab] */
    float *sums;       /* several ranks: [rows][hidden], what is summed over them, and */
    float *shares;     /* [n_ranks][logits_rows][vocab of a rank], what each has; NULL for one */
    int32_t *ids;      /* [span], and pinned: */
    int32_t *host_ids; /* [span] */
    glm_cuda_event ids_sent;

    /* Prefill. */
    glm_cuda_tables tables;              /* of a window's pages, on compute */
    glm_cuda_event done[GLM_CUDA_AHEAD]; /* of the last items */
    int64_t n_items;
    void *spare_pages; /* where keys go when only queries are wanted yet: bf16 pages of a chunk, */
    void **spare_list; /* and where those are, on the device */
    int64_t n_spare_pages;

    /* e4m3 pages. */
    void *wide_pages;            /* [n_wide], bf16: what prefill reads of them */
    void **wide_list;            /* where those are, on the device */
    int64_t n_wide;              /* 0: pages are bf16, and the rest is not there */
    glm_cuda_tables seal_tables; /* of open pages that a decode step fills, and what they become, */
    glm_cuda_filled *filled;     /* [n_layers], in the step at hand */

    /* Windows to and from the store (window_cuda.c); NULL where all stays in memory. */
    char *slab;          /* canonical rows, [places][heads of an extent][window], pinned, and */
    char *rows_area;     /* on the device */
    int64_t slab_stride; /* bytes from a head of an extent to the next one's, */
    int64_t place_bytes; /* and from a place to the next one */
    int64_t n_windows;   /* that came, ever */
    int64_t n_forgotten; /* kv_walk_rows_forgotten, when the host last waited for all that was under way */
    glm_cuda_tables in_tables;
    glm_cuda_tables out_tables;
    glm_cuda_event come[GLM_CUDA_PLACES - 1];  /* rows are in the area, and have left the slab; */
    glm_cuda_event taken[GLM_CUDA_PLACES - 1]; /* are in pages */
    glm_cuda_event computed;                   /* what goes was attended to, */
    bool leaves_late;                          /* that was recorded then, and not when it goes */
    glm_cuda_event unpacked;                   /* has left its pages, */
    glm_cuda_event left;                       /* and is in the host's memory */

    /* Decode. */
    int64_t pages_max;       /* of a sequence */
    void **host_pages;       /* [n_layers][max_seqs][pages_max], pinned: what the device's say */
    void **pages;            /* the same, on the device */
    void ***seq_pages;       /* [n_layers][max_seqs]: where each begins, on the device */
    void ***host_open_pages; /* [n_layers][max_seqs], pinned, and */
    void ***open_pages;      /* on the device: where in `pages` the last one is, which is open */
    void *host_step_memory;  /* pinned, and */
    void *step_memory;       /* on the device */
    glm_cuda_step host_step;
    glm_cuda_step step;
    bool has_pass_queued; /* layers of several sequences that host_step and host_pages tell, and nobody may have waited for */
    int32_t *drawn; /* [decode rows], and pinned: */
    int32_t *host_drawn;
    void *decode_scratch; /* attn_cuda_decode_sm80 or _sm90: tickets of max_seqs sequences, then scratch of so many, a
                           * token each, or of one and decode rows */
    int64_t n_steps;           /* of decode, taken so far, either way: */
    glm_cuda_graphs at_once;   /* [max_seqs + 1][GLM_CUDA_TOGETHER_KINDS] kinds, a graph each; */
    glm_cuda_graphs by_layers; /* [max_seqs + 1], n_layers + 1 graphs each */

    /* Who shares pages (pages_cuda.c). */
    void *host_passes_memory;    /* pinned, and */
    void *passes_memory;         /* on the device, of a step over all keys, which is */
    glm_cuda_passes host_passes; /* this, */
    glm_cuda_passes passes;
    int32_t n_listed;            /* for so many sequences, */
    int64_t *listed_lengths;     /* [max_seqs]: of so many tokens; */
    bool has_other_pages;        /* since then: more than the last page of some */
    glm_cuda_tables pass_tables; /* of windows */
} glm_cuda;

/* weights_cuda.c. Bytes of the model in device memory, where the last n_streamed layers' matrices are not kept there, what
 * is lost behind them, and of those in pinned memory; pinned staging while it is read. */
int64_t glm_cuda_weights_bytes(const glm_config *config, int32_t n_streamed);
int64_t glm_cuda_weights_lost_bytes(const glm_config *config, int32_t n_streamed);
int64_t glm_cuda_weights_host_bytes(const glm_config *config, int32_t n_streamed);
int64_t glm_cuda_load_bytes(const glm_config *config, int32_t n_threads);
/* Every tensor, all of the pool's threads reading. Errors: RT_EIO, RT_EMODEL, RT_ENOMEM, RT_EDEVICE; what was
 * taken is freed by glm_cuda_weights_free, also after a failure. */
RT_MUST_CHECK rt_status glm_cuda_weights_load(glm_engine *engine, const glm_checkpoint *checkpoint);
void glm_cuda_weights_free(glm_cuda *cuda, int32_t n_layers);

/* stream_cuda.c. Open: memory for the layers plan.n_streamed_layers counts, before the weights are read. Layer: its
 * weights, for what is queued on compute until the next layer's are asked for; the next layer's, in the order of a
 * pass, begin to come. */
RT_MUST_CHECK rt_status glm_cuda_stream_open(glm_engine *engine, int64_t layer_bytes);
void glm_cuda_stream_close(glm_cuda *cuda);
RT_MUST_CHECK rt_status glm_cuda_stream_layer(
        glm_engine *engine, int32_t layer, const glm_cuda_layer **out);
static inline bool glm_cuda_streams(const glm_engine *engine) {
    return engine->plan.n_streamed_layers > 0;
}

/* buffers_cuda.c. What the engine takes besides weights and pages, and what is lost behind that. */
int64_t glm_cuda_buffers_device_bytes(const glm_config *config, const glm_plan *plan);
int64_t glm_cuda_buffers_lost_bytes(const glm_config *config, const glm_plan *plan);
int64_t glm_cuda_buffers_pinned_bytes(const glm_config *config, const glm_plan *plan);
RT_MUST_CHECK rt_status glm_cuda_buffers_open(glm_engine *engine);
void glm_cuda_buffers_close(glm_engine *engine);
/* Decode attention finds its tickets at zero, and leaves them so unless a step ends in the middle. Queued. */
RT_MUST_CHECK rt_status glm_cuda_clear_tickets(glm_engine *engine);

/* backend_cuda.c, all ranks: up to n_alike rows of decode have the bits that each has alone. No more tokens are drafted than
 * that, and where more sequences may be decoded at once the plan, which is recorded with results, says so. */
void glm_cuda_limit_drafts(glm_engine *engine, int64_t n_alike);

/* layer_cuda.c: where a product's kernel was refused so far, of a prefill or of as many rows as sequences may have, the plan
 * says that rows' bits may depend on their number. */
void glm_cuda_note_refused(glm_engine *engine);
/* The functions of backend.h, */
RT_MUST_CHECK rt_status glm_cuda_layer_embed(
        glm_engine *engine, const int32_t *ids, int64_t n, void *hidden);
RT_MUST_CHECK rt_status glm_cuda_layer_prefill(
        glm_engine *engine, int32_t layer, kv_seq *seq, const glm_chunk *chunk, void *hidden);
RT_MUST_CHECK rt_status glm_cuda_layer_logits(
        glm_engine *engine, const void *hidden, int64_t n_decoded, int64_t n, float *logits);
/* and what decode and layer_together_cuda.c need of them: q and keys of a chunk's rows, which lie from `row`
 * on, to a window, the first one or a later one, -> attended, the same rows, with the last; attended -> x, of n
 * rows; row `row` of qkv and on, a chunk -> q, with keys and values going where nobody looks; hidden += update
 * (through the norm that 0414 models have there; not where `has_update` is false), normed = norm(hidden) (not
 * where norm is NULL); the MLP, from normed to update. */
RT_MUST_CHECK rt_status glm_cuda_attend_to_window(glm_engine *engine, const glm_chunk *chunk,
        int64_t row, const kv_window_part *part, bool is_first);
RT_MUST_CHECK rt_status glm_cuda_finish_layer(
        glm_engine *engine, const glm_cuda_layer *layer, glm_cuda_rows rows, uint16_t *hidden);
/* A walk's last window was attended to. It is left late: what goes to the disk the host waits for, and encodes, while the
 * device has what was queued since then to compute. */
RT_MUST_CHECK rt_status glm_cuda_window_done(glm_engine *engine);
RT_MUST_CHECK rt_status glm_cuda_leave_late(glm_engine *engine, kv_walk *walk);
RT_MUST_CHECK rt_status glm_cuda_append_to_spare(
        glm_engine *engine, const glm_chunk *chunk, int64_t row);
RT_MUST_CHECK rt_status glm_cuda_add_update(glm_engine *engine, uint16_t *hidden, bool has_update,
        uint16_t *post_norm, const uint16_t *norm, int64_t n);
RT_MUST_CHECK rt_status glm_cuda_mlp(
        glm_engine *engine, const glm_cuda_layer *layer, glm_cuda_rows rows);

/* ranks_cuda.c. What NCCL takes of a GPU's memory, for the plan. */
int64_t glm_cuda_ranks_bytes(const glm_plan *plan);
/* All ranks, each with its device open: no two have the same, and from here on engine->comm sums in their memory.
 * `also_alone`: NCCL sums for one rank, too. RT_EUNSUPPORTED: fewer GPUs than ranks on a host, both numbers; no NCCL.
 * RT_EPEER. */
RT_MUST_CHECK rt_status glm_cuda_ranks_open(glm_engine *engine, bool also_alone);
/* Logits, and tokens that were drawn, come to the host's memory of the rank that runs the command: nobody reads those of the
 * others, who sleep until its next step. */
static inline bool glm_cuda_is_read(const glm_engine *engine) {
    return engine->comm->rank == 0;
}
/* As glm_layer_agree; but on a GPU that has failed nothing is agreed on: the group is over. */
RT_MUST_CHECK rt_status glm_cuda_ranks_agree(glm_engine *engine, rt_status mine);
/* After a wait: RT_EPEER where the group has ended, and sums were cut short; otherwise what the wait came to, and where that is a
 * failure, the group is over. */
RT_MUST_CHECK rt_status glm_cuda_ranks_settle(const glm_engine *engine, rt_status waited);
/* A linear layer of this rank's x [rows.n], summed over ranks -> update; device ids[n] -> hidden; normed -> logits [rows.n][vocab].
 * Queued. RT_EPEER. */
RT_MUST_CHECK rt_status glm_cuda_ranks_update(
        glm_engine *engine, const glm_cuda_matrix *weight, const uint16_t *x, glm_cuda_rows rows);
RT_MUST_CHECK rt_status glm_cuda_ranks_embed(
        glm_engine *engine, const int32_t *ids, int64_t n, uint16_t *hidden);
RT_MUST_CHECK rt_status glm_cuda_ranks_logits(glm_engine *engine, glm_cuda_rows rows);

/* watch_cuda.c, several ranks: from open to close a GPU that fails ends the group, whatever its rank is at. Closed before
 * the device is. RT_ENOMEM, RT_EDEVICE */
RT_MUST_CHECK rt_status glm_cuda_watch_open(glm_engine *engine);
/* `mine`, before it is agreed on: where it is an error of the GPU, which has failed for good, that has ended the group. Otherwise whether
 * the thread or an agreement is first would be what it came to. */
RT_MUST_CHECK rt_status glm_cuda_watch_look(const glm_cuda *cuda, rt_status mine);
void glm_cuda_watch_close(glm_cuda *cuda);

/* pages_cuda.c. Where the list of (layer, sequence i of the step) begins, in host_pages and in pages. */
int64_t glm_cuda_list_at(const glm_engine *engine, int32_t layer, int32_t i);
/* The pages of a part of a window, told to the device where it does not know them; none is known. */
RT_MUST_CHECK rt_status glm_cuda_list_pages(
        glm_engine *engine, int32_t layer, const kv_window_part *part);
void glm_cuda_forget_pages(glm_engine *engine);
/* Who attends with whom, of n sequences of so many tokens whose pages are listed, queued to go to the device: all of
 * them in all layers -> cuda->passes; those of the first n that a layer's window has -> *out, for what is queued before the
 * next window. */
RT_MUST_CHECK rt_status glm_cuda_pass_all(glm_engine *engine, const int64_t *lengths, int32_t n);
RT_MUST_CHECK rt_status glm_cuda_pass_window(glm_engine *engine, int32_t layer,
        const kv_window *window, const int64_t *lengths, int32_t n, glm_cuda_passes *out);

/* decode_cuda.c */
static inline int64_t glm_cuda_step_bytes(int64_t rows) {
    return rows * (int64_t)(2 * sizeof(int64_t) + sizeof(int32_t) + sizeof(glm_cuda_draw));
}
/* All layers of a step of sequences whose pages are listed, queued: or recorded, by graphs_cuda.c. Of a step of n_rows tokens, what
 * lies between the attention of one layer and that of layer `index`: 0, from the tokens on; n_layers, to the next ones. *layer is the
 * one before's weights, and then this one's. */
RT_MUST_CHECK rt_status glm_cuda_queue_step(glm_engine *engine, const glm_cuda_tokens *tokens);
RT_MUST_CHECK rt_status glm_cuda_queue_between(
        glm_engine *engine, int32_t index, int32_t n_rows, const glm_cuda_layer **layer);
/* graphs_cuda.c: a step of all layers at once, as a graph where there is one or one can be made. The kind of a step that is taken by
 * layers: kind->graphs[index], where there are or can be, are what glm_cuda_queue_between queues; whoever has queued all of the step
 * sets kind->has_run. Device memory that all graphs take, for the plan. */
RT_MUST_CHECK rt_status glm_cuda_graph_step(glm_engine *engine, const glm_cuda_tokens *tokens);
RT_MUST_CHECK rt_status glm_cuda_graph_layers(
        glm_engine *engine, const glm_cuda_tokens *tokens, glm_cuda_step_kind **out);
int64_t glm_cuda_graphs_bytes(const glm_config *config, const glm_plan *plan);
RT_MUST_CHECK rt_status glm_cuda_graphs_open(glm_engine *engine);
void glm_cuda_graphs_close(glm_engine *engine);

/* decode_cuda.c, of backend.h: */
RT_MUST_CHECK rt_status glm_cuda_fetch_logits(glm_engine *engine, int64_t n);
RT_MUST_CHECK rt_status glm_cuda_decode_step(glm_engine *engine, kv_seq *const *seqs,
        const int64_t *lengths, const int32_t *ids, int32_t n);
RT_MUST_CHECK rt_status glm_cuda_decode_several(
        glm_engine *engine, kv_seq *seq, int64_t length, const int32_t *ids, int32_t n);

/* layer_cuda.c: prefill over bf16 pages, by the GPU's kernel. Queued. */
RT_MUST_CHECK rt_status glm_cuda_prefill(glm_cuda *cuda, const attn_cuda_prefill_args *args);

/* and what layer_together_cuda.c needs of it, for sequences that add one token each, rows 0 .. n - 1: what a step is
 * told, when a pass that was queued before has read what it is told, lists of pages among it, which a pass that is
 * stopped between two layers has not; q, keys and values of those in a window -> attended; after a
 * failure. */
RT_MUST_CHECK rt_status glm_cuda_send_step(glm_engine *engine, const glm_cuda_tokens *tokens);
RT_MUST_CHECK rt_status glm_cuda_attend_to_parts(
        glm_engine *engine, int32_t layer, const kv_window *window, const glm_cuda_tokens *tokens);
void glm_cuda_start_afresh(glm_engine *engine);

/* speed_cuda.c, for the plan: backend.h */
int64_t glm_cuda_chunk(const glm_config *part, const glm_speed *speed, int64_t below);
RT_MUST_CHECK rt_status glm_cuda_speed(int32_t n_threads, glm_speed *out);
struct glm_cuda_chip;
glm_speed glm_cuda_speed_of(const struct glm_cuda_chip *chip);
/* gpus_cuda.c, likewise */
RT_MUST_CHECK rt_status glm_cuda_expect(
        const char **name, rt_device_memory *memory, glm_speed *speed);

/* layer_together_cuda.c */
RT_MUST_CHECK rt_status glm_cuda_layer_together(
        glm_engine *engine, int32_t layer, const glm_added *added, int32_t n, void *hidden);

/* fp8_cuda.c: prefill over e4m3 pages: args->pages, but for the queries' own, which are args->open_pages. The same bits
 * however keys are cut. */
RT_MUST_CHECK rt_status glm_cuda_prefill_fp8(glm_cuda *cuda, const attn_cuda_prefill_args *args);
/* n open pages, and then n pages that they become, have been listed on the device; or are in the host's memory, no
 * more than seal_tables has room for. Queued. */
RT_MUST_CHECK rt_status glm_cuda_seal_listed(
        glm_cuda *cuda, void *const *open_pages, void *const *pages, int64_t n);
RT_MUST_CHECK rt_status glm_cuda_seal(glm_cuda *cuda, void *const *both, int64_t n);

/* window_cuda.c. A list of pointers to the device, for the stream's next work. */
RT_MUST_CHECK rt_status glm_cuda_tables_send(
        glm_cuda_tables *tables, void *const *list, int64_t n, rt_stream stream, void *const **out);
RT_MUST_CHECK rt_status glm_cuda_load_window(glm_engine *engine, kv_walk *walk, int64_t n_loads);
RT_MUST_CHECK rt_status glm_cuda_store_window(glm_engine *engine, kv_walk *walk, int64_t n_stores);
RT_MUST_CHECK rt_status glm_cuda_rows_to_pages(glm_engine *engine, const kv_rows *rows);
RT_MUST_CHECK rt_status glm_cuda_pages_to_rows(glm_engine *engine, const kv_rows *rows);

#endif
