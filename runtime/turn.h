/* Whose turn it is to prefill a text, among processes that keep what they prefill in one directory, on one machine or on
 * several: one computes, the others wait, and go on from what it has kept. On rank 0 only; cli_turn.c waits. */
#ifndef GLM_TURN_H
#define GLM_TURN_H

#include "runtime.h"

typedef enum glm_turn_state {
    GLM_TURN_NONE, /* compute: nobody need wait for it, or nobody can tell where the file system knows no locks */
    GLM_TURN_OURS,    /* nobody else begins until it is given back or this process ends */
    GLM_TURN_ANOTHERS /* another process is at what comes behind the session's tokens */
} glm_turn_state;

/* The session holds the beginning of ids, as it was restored, and is to compute what it lacks of the first n_kept, which are
 * kept on disk then. There is no turn where nothing is kept, where no more is missing than is computed in a moment, and for
 * texts that are shorter than a segment. The same ids at every call for a session. RT_ENOMEM; RT_EIO, RT_EMODEL  as the
 * engine's open */
RT_MUST_CHECK rt_status glm_turn_take(
        glm_session *session, const int32_t *ids, int64_t n_kept, glm_turn_state *state);
/* The same of who waits for nobody: it is not ours where another process has it, or where asking for it fails. */
void glm_turn_claim(glm_session *session, const int32_t *ids, int64_t n_kept);
/* How many of n_ids are kept where only whole segments are. */
int64_t glm_turn_whole(const glm_session *session, int64_t n_ids);
/* Of a session for which a turn was asked for: restore more of ids[n_ids], if others have kept more meanwhile, which is looked for
 * first (glm_session_find_after). *has_come: it holds more than before. What does not verify, or other ranks do not have yet, is tried
 * again when the turn is the session's, and not before.
 * Errors as glm_session_restore, whose *reuse it leaves as that was where it restores nothing */
RT_MUST_CHECK rt_status glm_turn_restore(
        glm_session *session, const int32_t *ids, int64_t n_ids, glm_reuse *reuse, bool *has_come);
/* Another's turn is over for this session, though it was not given back: glm_turn_take is about a turn behind that one. */
void glm_turn_pass_by(glm_session *session);
/* What was to be kept is, or never will be. The end of a session does so, too. */
void glm_turn_give_back(glm_session *session);

/* It is ours, and the prefill begins: tell the others who it is. */
void glm_turn_begin(glm_session *session);
/* While it is ours: tell the others how far the prefill is. Where nothing more is kept of it, it is given back. */
void glm_turn_tell(glm_session *session, const glm_prefill_progress *progress);

enum { GLM_TURN_HOST = 64 };
/* What the process says whose turn it is. */
typedef struct glm_turn_note {
    char host[GLM_TURN_HOST];
    int64_t process;
    int64_t n_done; /* tokens of its text */
    int64_t n_total;
    double work_share; /* of its prefill's work; -1: it has not begun */
    int64_t n_told;    /* grows as long as it moves */
} glm_turn_note;
/* False: it has said nothing, or that cannot be read. */
bool glm_turn_look(const glm_session *session, glm_turn_note *out);

/* Of a session that ends. Accepts NULL. */
typedef struct glm_turn glm_turn;
void glm_turn_free(glm_turn *turn);

#endif
