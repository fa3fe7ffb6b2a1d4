/* A prefill that shows its progress, and what is on disk already. */
#ifndef GLM_CLI_PREFILL_H
#define GLM_CLI_PREFILL_H

#include "cli.h"

/* A line on stderr where a flag is given that matters on a GPU only, and the CPU computes. */
void glm_cli_say_unused(const glm_cli *cli, const glm_plan *plan);

/* Lines on stderr: where the KV cache goes, if memory does not hold it; that it is lossy, if it is; and what
 * glm_cli_say_unused says. */
void glm_cli_say_kv(const glm_cli *cli, const glm_engine *engine);

/* glm_prefill with progress on stderr; logits_at and n_logits as in glm_prefill_begin.
 *
 * RT_EINTERRUPTED  Ctrl-C: the message says how far it was; the session is as after an abort */
RT_MUST_CHECK rt_status glm_cli_prefill(const glm_cli *cli, glm_session *session,
        const int32_t *ids, int64_t n_ids, const int64_t *logits_at, int64_t n_logits);
/* The same of glm_prefill_begin_all. */
RT_MUST_CHECK rt_status glm_cli_prefill_all(const glm_cli *cli, glm_session *session,
        const int32_t *ids, int64_t n_ids, glm_take_logits *take, void *context);

/* Whether what is prefilled is to be kept on disk and looked for there: --book or --kv-disk-dir is given, or the command
 * keeps in any case. For glm_options.persists. */
bool glm_cli_persists(const glm_cli *cli);

/* glm_session_restore into an empty session. Without glm_cli_persists() nothing is restored, and out->reason says so. */
RT_MUST_CHECK rt_status glm_cli_restore(const glm_cli *cli, glm_session *session,
        const int32_t *ids, int64_t n_ids, glm_reuse *out);
/* On stderr, unless --quiet: how many of n_ids tokens were found, how long the others, left_work (plan.h), will take by the
 * plan, and why no more were found. */
void glm_cli_say_reuse(const glm_cli *cli, const glm_session *session, double left_work,
        int64_t n_ids, const glm_reuse *reuse);
/* The session ends with the first n_there of ids: prefill the others, as glm_cli_prefill, for the logits of the last token.
 * After Ctrl-C what is computed is kept on disk for the next run, where glm_cli_persists(); the message then says that
 * `again`, for example "the same command", goes on from there. */
RT_MUST_CHECK rt_status glm_cli_prefill_kept(const glm_cli *cli, glm_session *session,
        const int32_t *ids, int64_t n_ids, int64_t n_there, const char *again);
/* Prefill what a session that was restored from the same ids still lacks, as glm_cli_prefill_all. After Ctrl-C, where
 * glm_cli_persists(), `keep` is called to keep what was made of the logits given so far: the same command goes on from
 * there. */
typedef struct glm_cli_taker {
    int64_t n_given; /* of the first n_given ids the caller has what it needs; at least the session's length */
    glm_take_logits *take; /* its `at` counts from the session's length */
    rt_status (*keep)(void *context);
    void *context;
} glm_cli_taker;
RT_MUST_CHECK rt_status glm_cli_prefill_all_kept(const glm_cli *cli, glm_session *session,
        const int32_t *ids, int64_t n_ids, const glm_cli_taker *taker);
/* Prefill what a session that was restored from the same ids still lacks, as glm_cli_prefill, for the
 * logits of the last token; where it lacks nothing, and was prefilled, it has them. After Ctrl-C the same command, given again, goes on
 * from there. *n_computed, unless it is NULL: tokens that this call computed. */
RT_MUST_CHECK rt_status glm_cli_prefill_rest(const glm_cli *cli, glm_session *session,
        const int32_t *ids, int64_t n_ids, int64_t *n_computed);

#endif
