/* Inside the engine: what engine.c, session.c, prefill.c, decode.c and layer.c share. */
#ifndef GLM_ENGINE_H
#define GLM_ENGINE_H

#include "base/device.h"
#include "draft.h"
#include "identity.h"
#include "kvstore/kvstore.h"
#include "parallel/parallel.h"
#include "runtime.h"
#include "weights.h"

enum {
    GLM_DECODE_SEQS_MAX = 256,
    GLM_RECOVERIES_MAX = 3, /* of one run or step, from what a disk has lost */
    GLM_MLP_ROWS = 512      /* at once in the MLP on the CPU, whose rows are the longest by far */
};

typedef struct glm_backend glm_backend; /* backend.h */

/* Scratch of one chunk on the CPU: rows of fp32, `chunk` (or max_seqs) of each. */
typedef struct glm_buffers {
    glm_rows normed;   /* [hidden] padded */
    glm_rows qkv;      /* [(n_heads + 2 n_kv_heads) head_dim] */
    glm_rows attended; /* [n_heads head_dim]; also the attention state's out */
    float *state_max;  /* [n_heads] a row */
    float *state_sum;
    glm_rows part;   /* [n_heads head_dim]: of the split in progress, attn_state's part_out */
    float *part_max; /* [n_heads] a row, attn_state's */
    float *part_sum;
    glm_rows gate_up;     /* [2 x ffn padded], at most GLM_MLP_ROWS rows */
    glm_rows update;      /* [hidden] padded: what a sub-layer adds to the stream */
    void *decode_scratch; /* attn_decode_scratch_bytes */

    /* Several ranks: their shares of some rows of logits, on the way together. */
    int64_t gather_rows;
    float *share;  /* [gather_rows][part.vocab padded] */
    float *shares; /* [n_ranks][gather_rows][part.vocab padded] */
} glm_buffers;

/* How a token is to be drawn; n_valid 0: nobody asks the device for it. */
typedef struct glm_draw {
    glm_sampling sampling;
    int64_t step;
    int64_t n_valid;
} glm_draw;

/* What a GPU's last decode step draws, or has drawn. */
typedef struct glm_drawing {
    glm_draw draws[GLM_DECODE_SEQS_MAX]; /* of its rows */
    int32_t ids[GLM_DECODE_SEQS_MAX];    /* -1: a logit is not finite */
    int32_t n;                           /* rows: all of the step's, or 0: logits are wanted */
    int64_t serial;                      /* of logits that are on the device alone; -1: none */
} glm_drawing;

/* What ranks.c knows of the steps that all ranks take together. */
typedef struct glm_ranks {
    int64_t serial; /* of the last step */
    int32_t depth;  /* > 0: inside a step; what it calls is part of it */
    int64_t n_sessions_made;
    glm_session *sessions;
} glm_ranks;

/* A prefill on its way: where it stands, item by item. At most one per engine. */
typedef struct glm_prefill_run {
    glm_session *session; /* NULL: none running */
    int32_t *ids;         /* [n_ids] */
    int64_t n_ids;
    int64_t first_pos; /* position of ids[0] */
    int64_t *wanted;   /* [n_wanted] absolute positions whose logits are asked for, ascending */
    int64_t n_wanted;
    bool gives_all;        /* every position's logits are computed, as one more layer, */
    glm_take_logits *take; /* and given to this on rank 0; NULL on the others */
    void *context;
    int64_t asked_pos; /* where the caller's ids begin; a loss can make first_pos less */
    int64_t given_end; /* logits of the positions before it have been given */

    int64_t span_begin; /* absolute; the open span is [span_begin, span_end) */
    int64_t span_end;
    int32_t layer;      /* of the next item */
    int64_t chunk_pos;  /* where the next item's chunk begins */
    int64_t n_gathered; /* wanted rows whose final hidden state was copied to wanted_hidden */
    int32_t n_recoveries;
    double work_done;
    double work_total;
} glm_prefill_run;

struct glm_engine {
    glm_config config; /* of the model */
    glm_config part;   /* of this rank's part of it: fewer heads, columns of the MLP, ids */
    par_shard shard;   /* which part that is */
    glm_plan plan;
    par_comm *comm;
    glm_ranks ranks;
    char fingerprint[65];

    const glm_backend *backend;
    struct glm_cuda *cuda; /* of the CUDA backend; NULL otherwise */
    rt_device *device;     /* whose memory pages are in; NULL: the host's */
    rt_pool *pool;
    glm_ops ops; /* of the CPU's backend, as are: */
    glm_weights weights;
    rt_arena arena;
    glm_buffers buffers;

    kv_store *store;
    /* Hashes the weights, where sessions are kept on disk or ranks compare weights; otherwise NULL. */
    glm_identity_job *identity;
    bool compares_weights; /* the ranks read the weights from different files */
    char **kv_dirs;        /* [n_kv_dirs]: --kv-disk-dir or our cache directory */
    int32_t n_kv_dirs;
    char **other_dirs; /* [n_other_dirs]: those of other ranks, where --kv-disk-dir has %r */
    int32_t n_other_dirs;
    bool has_said_unkept;

    /* In the backend's memory: */
    void *hidden;        /* [span][hidden]: the residual stream of the open span */
    void *decode_hidden; /* [max_seqs][hidden] */
    void *wanted_hidden; /* [max_logits][hidden] */
    float *logits;       /* host: [max(max_logits, max_seqs)][vocab, padded while computed] */

    glm_prefill_run prefill;
    int (*stops)(void);    /* glm_engine_stop_if */
    int64_t logits_serial; /* which computation the logits belong to */
    glm_drawing drawing;
    glm_drafts drafts;
};

/* Drafted tokens whose keys and values the session holds already: speculate.c. On rank 0. */
typedef struct glm_ahead {
    int32_t draft[GLM_DRAFT_MAX];
    int32_t n;       /* tokens of the draft in the pass at hand */
    int32_t n_taken; /* of them, asked for since */
    bool is_refuted; /* the caller went on with another than the next of them */
    glm_draft_record record;
} glm_ahead;

struct glm_session {
    glm_engine *engine;
    int64_t number;    /* the same on every rank */
    glm_session *next; /* of the engine's */
    kv_seq *seq;
    int64_t logits_serial; /* the engine's serial when this session's logits were made */
    int64_t logits_row;
    int64_t n_logits;
    glm_draw draw;    /* of the token after the next step's */
    int32_t drawn_id; /* by it, of the logits of logits_serial, where has_drawn */
    bool has_drawn;
    glm_ahead ahead;
    struct glm_turn *turn; /* turn.h, on rank 0: of a text that others may be at; NULL: of none */
};

/* Whether the next step is to draw the session's token. Not where the last draw was not used: the caller wants logits. */
static inline bool glm_session_asks_to_draw(const glm_session *session) {
    return session->draw.n_valid > 0 && !session->has_drawn;
}

static inline attn_shape glm_attn_shape(const glm_config *config, rt_dtype kv_dtype) {
    return (attn_shape){.n_heads = config->n_heads,
            .n_kv_heads = config->n_kv_heads,
            .head_dim = config->head_dim,
            .rope_dim = config->rope_dim,
            .rope_base = config->rope_base,
            .kv_dtype = kv_dtype};
}

static inline int64_t glm_hidden_row_bytes(const glm_engine *engine) {
    return engine->config.hidden * rt_dtype_bytes(engine->plan.hidden_dtype);
}

/* Tokens of one kernel call: positions pos .. pos + n - 1 are appended, and of them n_attend from
 * attend_pos on go through the rest of the layer (all of them but in the last layer). */
typedef struct glm_chunk {
    int64_t pos;
    int64_t n;
    int64_t attend_pos;
    int64_t n_attend;
} glm_chunk;

/* What one of several sequences adds in one pass: n tokens from `pos`, its length, on. Decoded are single tokens only;
 * prefilled can be any number, also one that is left of more. */
typedef struct glm_added {
    kv_seq *seq;
    int64_t pos;
    int64_t n;
    bool is_decoded;
} glm_added;

/* Where the rows of several sequences lie in a pass's buffers: sequence by sequence, the decoded ones first. together.c. */
typedef struct glm_added_rows {
    int64_t n;
    int32_t n_decoded;                 /* the first ones */
    int64_t row0[GLM_DECODE_SEQS_MAX]; /* where each one's rows begin */
    int64_t ends[GLM_DECODE_SEQS_MAX]; /* tokens of each, the new ones included */
} glm_added_rows;
glm_added_rows glm_rows_of_added(const glm_added *added, int32_t n);

/* What the CPU's backend is made of; the functions of backend.h. layer.c, vocabulary.c, window.c. */
RT_MUST_CHECK rt_status glm_cpu_embed(
        glm_engine *engine, const int32_t *ids, int64_t n, void *hidden);
RT_MUST_CHECK rt_status glm_cpu_prefill(
        glm_engine *engine, int32_t layer, kv_seq *seq, const glm_chunk *chunk, void *hidden);
RT_MUST_CHECK rt_status glm_cpu_decode(glm_engine *engine, kv_seq *const *seqs,
        const int64_t *lengths, const int32_t *ids, int32_t n);
RT_MUST_CHECK rt_status glm_cpu_together(
        glm_engine *engine, int32_t layer, const glm_added *added, int32_t n, void *hidden);
RT_MUST_CHECK rt_status glm_cpu_logits(
        glm_engine *engine, const void *hidden, int64_t n_decoded, int64_t n, float *logits);
RT_MUST_CHECK rt_status glm_cpu_load_window(glm_engine *engine, kv_walk *walk, int64_t n_loads);
RT_MUST_CHECK rt_status glm_cpu_store_window(glm_engine *engine, kv_walk *walk, int64_t n_stores);
RT_MUST_CHECK rt_status glm_cpu_rows_to_pages(glm_engine *engine, const kv_rows *rows);
RT_MUST_CHECK rt_status glm_cpu_pages_to_rows(glm_engine *engine, const kv_rows *rows);

/* engine.c: RT_EINTERRUPTED where the function given to glm_engine_stop_if says so; `what` is being done, for people. */
RT_MUST_CHECK rt_status glm_engine_ask_stop(const glm_engine *engine, const char *what);
/* Whether a failed step may succeed when what was lost is computed again. */
static inline bool glm_is_mendable(rt_status status) {
    return status != RT_OK && status != RT_EINTERRUPTED;
}

/* decode.c: glm_decode of one session's n tokens, one after another, in one pass, where backend->decode_several is
 * there and its conditions hold. Row i of the logits, and of what is drawn, is that of token i; it is drawn as the
 * session asks, at its step + i. */
RT_MUST_CHECK rt_status glm_decode_several(glm_session *session, const int32_t *ids, int32_t n);

/* speculate.c: drop drafted tokens that nobody has asked for: the store then holds what the session's length says. */
void glm_session_drop_drafts(glm_session *session);
/* together.c: glm_prefill, with the logits of every one of the n_ids tokens: at most a chunk, and plan.max_logits. */
RT_MUST_CHECK rt_status glm_prefill_rows(glm_session *session, const int32_t *ids, int64_t n_ids);

/* decode.c: after a step of n sessions has failed with `failure` and was aborted: compute again what they have lost, up to
 * lengths[n]. Where they have lost nothing, return `failure`. */
RT_MUST_CHECK rt_status glm_restore_all(
        glm_session *const *sessions, const int64_t *lengths, int32_t n, rt_status failure);

/* session.c: whether a prefill can append ids[n_ids]: RT_EUSAGE where there are none, the session has no room for them,
 * or one is not in the vocabulary. */
RT_MUST_CHECK rt_status glm_session_check_ids(
        const glm_session *session, const int32_t *ids, int64_t n_ids);

/* session.c: whether both draws choose the same token from the same logits. */
bool glm_draw_is_like(const glm_draw *a, const glm_draw *b);

/* sampler.c: the draw of a step, in [0, 1). */
double glm_sampling_draw(uint64_t seed, int64_t step);

/* suspend.c: where a run of the same ids was suspended, make the one that begins go on from there. */
RT_MUST_CHECK rt_status glm_prefill_resume(glm_engine *engine, bool *is_resumed);
/* session.c: RT_ENUMERIC: rows of fp32 [n][vocab] hold NaN or Inf; which. */
RT_MUST_CHECK rt_status glm_logits_check(const float *rows, int64_t n, int64_t vocab);

/* prefill.c: make the run begin at `pos`, which is before its first position, with the ids that the session holds there. */
RT_MUST_CHECK rt_status glm_prefill_restart_at(glm_prefill_run *run, int64_t pos);
/* prefill.c: work (plan.h): of a whole layer for n tokens; what the run needs for its tokens [pos, end), in one layer and in
 * all. In the last layer that is keys and values, and the rest for wanted rows only. */
double glm_prefill_layer_work(const glm_engine *engine, int64_t pos, int64_t n);
double glm_prefill_item_work(const glm_engine *engine, int32_t layer, int64_t pos, int64_t end);
double glm_prefill_work(const glm_engine *engine, int64_t pos, int64_t end);
/* prefill.c: the layer of the next item, for kv_walk_then; -1: that item attends to nothing, or the span is over. */
int32_t glm_prefill_next_layer(const glm_engine *engine);

/* window.c: kv_walk_next with its loads, kv_walk_leave with its stores. */
RT_MUST_CHECK rt_status glm_window_enter(glm_engine *engine, kv_walk *walk, kv_window *window);
RT_MUST_CHECK rt_status glm_window_leave(glm_engine *engine, kv_walk *walk);

#endif
