/* Several ranks, one engine: how they do the same things in the same order.
 *
 * Rank 0 runs the command. Each call that it makes of runtime.h and that touches weights, keys or
 * values is a step: it is announced, with a serial number and its arguments, and every other rank,
 * which sleeps until then, makes the same call. Inside, ranks meet in sums (layer.c, vocabulary.c) and
 * wherever one of them may fail or find something the others do not (par_agree): no rank decides
 * alone. With one rank none of this costs anything. */
#ifndef GLM_RANKS_H
#define GLM_RANKS_H

#include "engine.h"

typedef enum glm_step_kind {
    GLM_STEP_CREATE = 1,
    GLM_STEP_FREE,
    GLM_STEP_FORK,
    GLM_STEP_TRUNCATE,
    GLM_STEP_REWIND,
    GLM_STEP_RESTORE,
    GLM_STEP_KEEP,
    GLM_STEP_BOOK,
    GLM_STEP_PREFILL_BEGIN,
    GLM_STEP_PREFILL,
    GLM_STEP_PREFILL_ABORT,
    GLM_STEP_PREFILL_SUSPEND,
    GLM_STEP_DECODE,
    GLM_STEP_TOGETHER,
    GLM_STEP_CLOSE,
    GLM_STEP_LAST = GLM_STEP_CLOSE
} glm_step_kind;

/* What is announced. The lists are what the kind says; NULL where it needs none. */
typedef struct glm_step {
    glm_step_kind kind;
    int64_t session;         /* number of the session it is about */
    int64_t numbers[3];      /* together: whether every token's logits are wanted */
    const int64_t *sessions; /* [n_sessions]: decode, together */
    int64_t n_sessions;
    const int32_t *ids; /* [n_ids]; decode: of each session one, or several of one session */
    int64_t n_ids;
    const int64_t *wanted; /* [n_wanted] */
    int64_t n_wanted;      /* together: how many of the ids are each session's */
    const char *texts[2];  /* a book's name and note; or its note and where rank 0 keeps it */
} glm_step;

/* Around every step, on every rank; nested ones are part of the outer one and announce nothing.
 * glm_step_begin: RT_EPEER, and the step is not begun. */
RT_MUST_CHECK rt_status glm_step_begin(glm_engine *engine, const glm_step *step);
void glm_step_end(glm_engine *engine);

/* Around what waits for the disk alone: for no other rank, and no device. The group counts as idle meanwhile, so that a
 * process whose GPU may wait for ever is ended behind it and not in the middle (parallel.h, par_comm_nccl_open). */
void glm_disk_begin(glm_engine *engine);
void glm_disk_end(glm_engine *engine);
/* kv_span_commit, between the two. */
void glm_session_commit(glm_session *session);

/* What of the step failed on any rank: the same answer on all. */
RT_MUST_CHECK rt_status glm_step_agree(glm_engine *engine, rt_status mine);
/* `mine`; where it is a failure of one of several ranks, which the others would wait for in vain, the group is over: RT_EPEER with the
 * reason, on that rank as on all others. */
RT_MUST_CHECK rt_status glm_group_end(const glm_engine *engine, rt_status mine);
/* What attention in a layer came to, on all ranks: one that lost keys must not leave the others waiting for it in
 * a sum. Where the plan has nothing on disk none can be lost, and there is no meeting: a rank that has no memory
 * left for a walk ends the group. */
RT_MUST_CHECK rt_status glm_layer_agree(glm_engine *engine, rt_status mine);
/* After a step failed on all ranks: from where keys and values of the session are lost, on whichever;
 * INT64_MAX where none are. The thread's error text is the failure's again. */
RT_MUST_CHECK rt_status glm_step_bad_pos(
        glm_engine *engine, const glm_session *session, rt_status failure, int64_t *pos);
/* The smallest of what the ranks bring. */
RT_MUST_CHECK rt_status glm_step_smallest(glm_engine *engine, int64_t *value);

/* Another rank: take the steps that rank 0 announces, until it closes its engine. RT_EPEER. */
RT_MUST_CHECK rt_status glm_ranks_follow(glm_engine *engine);

/* ranks_open.c: the group that options->tensor_parallel asks for; a group of one where it is 1 or 0. The
 * others have the options then. RT_EUNSUPPORTED, RT_EPEER, RT_ENOMEM. */
RT_MUST_CHECK rt_status glm_ranks_open(const glm_options *options, par_comm **out);
/* The cores that the ranks of this host may use together: the same ones, or each its own, where what started them has bound
 * them (srun, mpirun). After par_hello(). RT_EPEER */
RT_MUST_CHECK rt_status glm_ranks_cores(par_comm *comm, int32_t *cores);
/* Where this rank comes among those on its host; *n_here, where not NULL: how many they are. After par_hello(). */
int32_t glm_ranks_place(const par_comm *comm, int32_t *n_here);
/* All ranks: they are of one build and model, and multiply alike. */
RT_MUST_CHECK rt_status glm_ranks_check_model(par_comm *comm, const glm_options *options,
        const glm_config *config, const char *fingerprint);
/* ranks_weights.c, all ranks: whether some read other files than rank 0, so that contents are to be
 * compared; and whether this one is the first of those that read its files, whose content it must know. */
RT_MUST_CHECK rt_status glm_ranks_compare_files(
        par_comm *comm, const glm_checkpoint *checkpoint, bool *differ, bool *is_first);
/* All ranks: `identity`, the text of glm_identity_wait, is rank 0's, where a rank has one; NULL: it need
 * not. RT_EPEER: a rank has other weights, or another tokenizer; which, and the two values. */
RT_MUST_CHECK rt_status glm_ranks_compare_contents(par_comm *comm, const char *identity);
/* All ranks: rank 0's bytes. */
RT_MUST_CHECK rt_status glm_ranks_tell(par_comm *comm, void *bytes, int64_t n_bytes);

/* Another rank's whole life, in the group, which it closes: its exit code. */
int glm_ranks_serve(par_comm *comm);
/* Rank 0: there is no engine to open. RT_EPEER. */
RT_MUST_CHECK rt_status glm_ranks_dismiss(par_comm *comm);

/* ranks_launcher.c: what an MPI launcher says of this process, PAR_BY_SELF where none started several.
 * RT_EUSAGE: contradictions. */
RT_MUST_CHECK rt_status glm_launcher_find(par_world *world, char address[PAR_ADDRESS_BYTES]);
/* Join its group; once a process. */
RT_MUST_CHECK rt_status glm_launcher_join(const par_world *world, par_comm **out);

/* engine.c: open as a rank of the group, which the engine owns from here on, also on failure. */
RT_MUST_CHECK rt_status glm_engine_open_rank(
        const glm_options *options, par_comm *comm, glm_engine **out);
/* glm_engine_close of a rank that has nobody to tell it to: RT_EPEER where the others were not there to the end. */
RT_MUST_CHECK rt_status glm_engine_leave(glm_engine *engine);

#endif
