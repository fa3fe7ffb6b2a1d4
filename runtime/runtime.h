/* glm1m's engine: all that commands, benchmarks and tests need.
 *
 *   glm_engine_open     checkpoint -> plan -> weights, KV store, scratch; nothing large later
 *   glm_session_create  one sequence of tokens and its KV
 *   glm_prefill_begin / glm_prefill_step   many tokens, one (layer, chunk) item a step
 *   glm_prefill_begin_all   the same, where every position's logits are wanted
 *   glm_decode          one token for each of several sessions
 *   glm_decode_ahead    the same of one session, and tokens that may follow looked up and computed beside it
 *   glm_prefill_together   a few tokens for each of several sessions
 *   glm_session_fork    a second sequence that shares the first one's prefix
 *
 * With options.tensor_parallel > 1 the engine starts the other ranks (or meets them, under mpirun and
 * srun). They make the same calls as this process does (ranks.h), and nothing changes for the caller,
 * except that every call may fail with RT_EPEER: a rank is lost, and the engine can only be closed.
 *
 * The caller asks for work item by item, and decides between two items about progress, Ctrl-C and whose
 * item is next. To stop in the middle of an item there is glm_engine_stop_if. Not thread-safe: one thread
 * uses an engine. */
#ifndef GLM_RUNTIME_H
#define GLM_RUNTIME_H

#include "base/float16.h"
#include "base/status.h"
#include "config.h"
#include "plan.h"

typedef struct glm_engine glm_engine;
typedef struct glm_session glm_session;

/* Read config, plan, load weights, allocate everything.
 *
 *   options  copied; strings must live until the call returns
 *
 * Errors: RT_ENOFIT  the budgets do not hold options->max_len; the message says what would
 *         RT_EMODEL, RT_EIO  the checkpoint; RT_ENOMEM; RT_EUNSUPPORTED */
RT_MUST_CHECK rt_status glm_engine_open(const glm_options *options, glm_engine **out);

/* To be called first in main() of a program that opens engines of several ranks: the other ranks are the
 * same program, started as `program rank FD`. True: this process was such a rank; its work is done, and
 * it is to end with *exit_code. */
bool glm_rank_is_asked(int argc, char **argv, int *exit_code);

/* The same where mpirun or srun started several processes with one command line (ranks_launcher.c).
 * Rank 0 runs the command; the other processes are its engine's ranks.
 *
 *   is_other_rank  whether it started this one as another rank than 0
 *   has_served   to be called second in main(). True: this was another rank, and its work is done
 *   set_ranks    set options.tensor_parallel to the number of processes. RT_EUSAGE: it says another
 *   dismiss      to be called last in main(): the other ranks need not wait for an engine any more */
bool glm_launcher_is_other_rank(void);
bool glm_launcher_has_served(int argc, char **argv, int *exit_code);
RT_MUST_CHECK rt_status glm_launcher_set_ranks(glm_options *options);
void glm_launcher_dismiss(int argc, char **argv);

/* All sessions must have been freed. The other ranks end, too. Accepts NULL. */
void glm_engine_close(glm_engine *engine);

/* Whether all ranks are still there; returns at once. From the thread that uses the engine.
 * RT_EPEER  one is not: the message names it, its host and the last step */
RT_MUST_CHECK rt_status glm_engine_check(const glm_engine *engine);

/* From now on `stops` (NULL: nothing) is called before each layer of glm_prefill_together, and with one rank of glm_decode,
 * too. Where it returns other than 0 they fail with RT_EINTERRUPTED. */
void glm_engine_stop_if(glm_engine *engine, int (*stops)(void));

/* Borrowed, until the engine is closed. */
const glm_config *glm_engine_config(const glm_engine *engine);
const glm_plan *glm_engine_plan(const glm_engine *engine);
/* The checkpoint's fingerprint, 64 hex characters. */
const char *glm_engine_fingerprint(const glm_engine *engine);

/* A line for people that says where the KV goes that memory does not hold; "" where it holds all. Writes into `text` and
 * returns it. */
const char *glm_engine_overflow(const glm_engine *engine, char *text, int64_t room);

/* A sequence of at most max_tokens tokens, empty. Its pages are reserved now, so that appending
 * cannot fail for want of memory.
 *
 * Errors: RT_ENOFIT  the KV budget has fewer free pages; the message says how many tokens fit
 *         RT_EUSAGE  max_tokens is more than options->max_len, for which the engine's buffers are */
RT_MUST_CHECK rt_status glm_session_create(
        glm_engine *engine, int64_t max_tokens, glm_session **out);
/* A prefill under way is given up. Accepts NULL. */
void glm_session_free(glm_session *session);

/* Tokens whose K and V are in the cache. */
int64_t glm_session_length(const glm_session *session);

/* A new session holding the first n_tokens of `parent` (<= its length), with room for max_tokens.
 * Whole pages are shared and counted; a partial last page is copied. Where KV is lossy it may hold a
 * little less, as after glm_session_truncate.
 *
 * Errors: RT_EUSAGE  parent holds fewer; otherwise as glm_session_create */
RT_MUST_CHECK rt_status glm_session_fork(
        const glm_session *parent, int64_t n_tokens, int64_t max_tokens, glm_session **out);

/* Forget tokens from n_tokens on; where KV is lossy, from the start of the page that holds it unless
 * that page is still exact: glm_session_length tells. */
void glm_session_truncate(glm_session *session, int64_t n_tokens);

/* Make the session hold exactly the first n_tokens that it held: where KV is lossy, what a cut or an aborted step took with
 * it is computed again. Errors: as glm_prefill */
RT_MUST_CHECK rt_status glm_session_rewind(glm_session *session, int64_t n_tokens);

/* ---- what is kept on disk (options.persists) ------------------------------------------------- */

typedef struct glm_reuse {
    int64_t n_tokens; /* of the ids given, found on disk: the session's length now */
    char reason[512]; /* why it ends there, in words; "" when all was found */
    bool is_failure;  /* what follows is there, and cannot be had */
} glm_reuse;

/* Fill a session with the longest stored prefix of ids[n_ids]; at most n_ids - 1 tokens, so
 * that the last one is left to compute. It is empty or, a fork that is kept, holds their beginning in whole segments
 * (plan.kv_extent_tokens), and goes on from there. Where memory holds the session all is read and verified
 * now, otherwise when it is attended to; what does not verify is quarantined, and computed again.
 * Not to find anything is no failure.
 *
 * Errors: RT_EUSAGE  the session holds something else, or is too small; RT_ENOMEM */
RT_MUST_CHECK rt_status glm_session_restore(
        glm_session *session, const int32_t *ids, int64_t n_ids, glm_reuse *out);

/* Of ids[n_ids], of which `session` holds the first n_shared: to how many tokens glm_session_restore could bring a fork made
 * at the last whole segment of those. n_shared where the disk has no more that is worth a read. On rank 0 only; it looks
 * whether the files of whole segments are there, not into them. RT_ENOMEM */
RT_MUST_CHECK rt_status glm_session_find_after(glm_session *session, int64_t n_shared,
        const int32_t *ids, int64_t n_ids, int64_t *n_tokens);

/* Tokens from the start that are on disk now, of rank 0's heads: a later session finds them again. It looks there; the
 * last error's text stays. */
int64_t glm_session_kept(const glm_session *session);

/* Make a book of all that an idle session holds. `note`: lines for people ("source=..."). Without a name (`book` NULL) it
 * is kept on disk as long as there is room, and glm_session_restore finds all of it.
 *
 * Errors: RT_EUSAGE  the name, a fork that is not kept (options.keeps_forks), or an engine that keeps nothing
 *         RT_ENOFIT, RT_EIO  the disk; the session stays as it is */
RT_MUST_CHECK rt_status glm_session_keep(glm_session *session, const char *book, const char *note);

/* Make a book whole again that has lost segments: the session holds all of its tokens, the lost ones computed again.
 * Errors: as glm_session_keep; the book then stays as it was */
RT_MUST_CHECK rt_status glm_book_mend(glm_session *session, const char *book);

/* Save bytes of the caller's beside a text that is kept, under its ids and a number `what` of the caller's choice, and load
 * them again. Saving replaces them whole; they stay as long as there is room. On rank 0 only. *is_there is false where
 * there are none of that size.
 *
 * Errors: RT_EUSAGE  saving: the session is not kept; RT_ENOFIT, RT_EIO  the disk; RT_ENOMEM */
RT_MUST_CHECK rt_status glm_session_save_beside(glm_session *session, const int32_t *ids,
        int64_t n_ids, int32_t what, void *bytes, int64_t n_bytes);
RT_MUST_CHECK rt_status glm_session_load_beside(glm_session *session, const int32_t *ids,
        int64_t n_ids, int32_t what, void *bytes, int64_t n_bytes, bool *is_there);

/* Token ids of a book, for free().
 *
 * Errors: RT_EUSAGE    no such book, or it was made with another model or KV type: how they differ
 *         RT_ECORRUPT  a segment of it is missing or damaged, or a rank cannot read the directory of a
 *                      shard that it needs: which, and with whom it is; RT_EIO; RT_EPEER; RT_ENOMEM */
RT_MUST_CHECK rt_status glm_book_ids(
        glm_engine *engine, const char *book, int32_t **ids, int64_t *n_ids);

/* ---- prefill --------------------------------------------------------------------------------- */

/* Append tokens to the session, span by span, layer by layer, chunk by chunk.
 *
 *   ids        n_ids token ids, all in [0, vocab); copied
 *   logits_at  positions counted from the start of `ids`, ascending, whose logits are wanted;
 *              NULL with n_logits 1 means the last one
 *
 * Errors: RT_EUSAGE  an id outside the vocabulary, or more tokens than the session has room for */
RT_MUST_CHECK rt_status glm_prefill_begin(glm_session *session, const int32_t *ids, int64_t n_ids,
        const int64_t *logits_at, int64_t n_logits);

/* Is given the logits of ids[at] .. ids[at + n - 1]: fp32 [n][vocab] in host memory, valid until it returns. A status other
 * than RT_OK ends the prefill, which fails with it. */
typedef rt_status glm_take_logits(void *context, int64_t at, int64_t n, const float *logits);

/* glm_prefill_begin where the logits of every position are wanted, which memory need not hold all at once: `take` is given
 * them as spans go through the last layer, in ascending order, each once, at most plan.max_logits rows a call. Those of
 * the last position also stay (glm_session_logits). A suspended prefill of the same ids goes on where it stopped, if the
 * caller still has what was given before.
 *
 *   n_given        the caller has the rows of ids[0] .. ids[n_given - 1]: they are not given again
 *   take, context  called from glm_prefill_step, until that is done or fails
 *
 * Errors: as glm_prefill_begin */
RT_MUST_CHECK rt_status glm_prefill_begin_all(glm_session *session, const int32_t *ids,
        int64_t n_ids, int64_t n_given, glm_take_logits *take, void *context);

typedef struct glm_prefill_progress {
    int64_t tokens_done; /* tokens of this prefill that are through all layers, interpolated */
    int64_t tokens_total;
    double work_done; /* in proportion to time (plan.h), for late tokens cost more */
    double work_total;
    bool is_done;
} glm_prefill_progress;

/* How far a prefill is that was begun: one that was suspended before does not begin at 0. */
void glm_prefill_where(const glm_session *session, glm_prefill_progress *progress);

/* Seconds that so much work (plan.h) of a prefill takes, at the speed that the plan expects. */
double glm_session_planned_s(const glm_session *session, double work);

/* Do the next (layer, chunk) item. When progress->is_done, the logits are there.
 * After a failure, or glm_prefill_abort, the session is as it was at the last finished span.
 *
 * Errors: RT_EIO, RT_ENOFIT  the disk; RT_EDEVICE; RT_ENOMEM */
RT_MUST_CHECK rt_status glm_prefill_step(glm_session *session, glm_prefill_progress *progress);
void glm_prefill_abort(glm_session *session);

/* End the prefill as glm_prefill_abort does, but keep the open span on disk: the KV of the layers that are done, the hidden
 * states, and the place. A later prefill of the same ids goes on from there, also in another process whose span is no
 * smaller.
 *
 * Errors: RT_EUSAGE  nothing is kept here; RT_ENOFIT, RT_EIO  the disk. The prefill has ended all the same. */
RT_MUST_CHECK rt_status glm_prefill_suspend(glm_session *session);

/* begin, and step until done. For callers without progress or Ctrl-C. */
RT_MUST_CHECK rt_status glm_prefill(glm_session *session, const int32_t *ids, int64_t n_ids);

/* Logits of the last prefill or decode: fp32 [n_logits][vocab] in host memory, row i for the i-th
 * wanted position. Borrowed, valid until the engine's next prefill or decode.
 * RT_ENUMERIC  a row holds NaN or Inf; the message says the position */
RT_MUST_CHECK rt_status glm_session_logits(
        const glm_session *session, const float **logits, int64_t *n_rows);

/* Append ids[i] to sessions[i] and compute its next logits; one pass over the weights serves all.
 * n_sessions <= the plan's max_seqs; no session twice. Logits: glm_session_logits of each. What the disk has lost is
 * computed again.
 *
 * Errors: RT_EINTERRUPTED  as glm_prefill_together
 *         RT_EUSAGE  something was lost while another session's prefill is under way: abort that, glm_session_rewind each
 *                    session to its length before the call, and decode again */
RT_MUST_CHECK rt_status glm_decode(
        glm_session *const *sessions, const int32_t *ids, int32_t n_sessions);

/* glm_decode of one session, with drafts: up to options.n_speculative tokens that may follow `id` are looked up in what the
 * session holds (draft.h), and computed in the same pass. Where the next calls ask for just these, their logits are there
 * already, and the call returns at once. The session's tokens, length and logits are those of glm_decode, to the bit.
 * Nothing is drafted where nothing is found, nor on a CPU while another session's prefill is under way. Errors: as
 * glm_decode */
RT_MUST_CHECK rt_status glm_decode_ahead(glm_session *session, int32_t id);
/* Tokens that an engine has drafted so far, for all sessions. */
typedef struct glm_drafts {
    int64_t n_drafted;
    int64_t n_taken; /* of them, were right: asked for by a later call */
} glm_drafts;
glm_drafts glm_engine_drafts(const glm_engine *engine);

/* glm_prefill of ids[i][n_ids[i]] for each of n_sessions. As many sessions as a chunk holds go through the model in one
 * pass over the weights, and over each stretch of KV that they share. A session that is given one token is decoded beside
 * the others. The bits are those of one session after another. Logits of each one's last token: glm_session_logits.
 * n_sessions <= the plan's max_seqs; no session twice; no prefill under way.
 *
 * Errors: as glm_prefill; RT_EINTERRUPTED  glm_engine_stop_if. A session then holds what it held before, and perhaps some
 * of its new ids; where KV is lossy it may hold a little less after RT_EINTERRUPTED */
RT_MUST_CHECK rt_status glm_prefill_together(glm_session *const *sessions,
        const int32_t *const *ids, const int64_t *n_ids, int32_t n_sessions);

/* How to choose the next token. temperature 0 is greedy (the lowest id among equals). */
typedef struct glm_sampling {
    float temperature;
    float top_p;   /* 1: off */
    int32_t top_k; /* 0: off */
    float min_p; /* 0: off; else no token is drawn that has less than this share of the likeliest one's probability */
    uint64_t seed;
} glm_sampling;

/* min_p in logits: none is drawn that is less than the largest, plus this; at most 0, -INFINITY where it is off. */
float glm_sampling_margin(const glm_sampling *sampling);

/* Choose from one row of logits; ids >= n_valid (padding rows) are never chosen. `step` counts the
 * tokens drawn so far: the same seed and step give the same draw.
 * RT_ENUMERIC  NaN or Inf among the logits */
RT_MUST_CHECK rt_status glm_sample(const float *logits, int64_t vocab, int64_t n_valid,
        const glm_sampling *sampling, int64_t step, int32_t *id);

/* glm_sample from the last row of the session's logits. The next step is expected to be asked for in the same way:
 * where all sessions of a glm_decode on a GPU were, the GPU itself draws their next tokens, and the logits stay there
 * until glm_session_logits asks for them. */
RT_MUST_CHECK rt_status glm_session_choose(glm_session *session, int64_t n_valid,
        const glm_sampling *sampling, int64_t step, int32_t *id);

/* glm_sample among the ids for which `allows` is true. It is called for the likeliest id first, then on in that order, and
 * no further than temperature, top_p, top_k and min_p, which is of the likeliest one allowed, make it matter.
 * RT_EUSAGE  none is allowed */
typedef bool glm_allows(const void *context, int32_t id);
RT_MUST_CHECK rt_status glm_sample_allowed(const float *logits, int64_t vocab, int64_t n_valid,
        const glm_sampling *sampling, int64_t step, glm_allows *allows, const void *context,
        int32_t *id);

/* Whether a model ends its answers with it (eos_token_id). */
bool glm_is_stop_id(const glm_config *config, int32_t id);

#endif
