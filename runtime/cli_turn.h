/* A text that another process may be prefilling at this moment. */
#ifndef GLM_CLI_TURN_H
#define GLM_CLI_TURN_H

#include "cli.h"

/* Between glm_cli_restore of ids[n_ids], which left *reuse, and the prefill of the rest, of which the command keeps what is in
 * the first n_kept ids: while another process computes what the session lacks of those, wait for it, say so and how far
 * it is, and restore what it has kept. Then it is this process's turn, if anything is left, until glm_turn_give_back(session) or
 * the session's end. *waited_s: for how long.
 *
 * RT_EINTERRUPTED  Ctrl-C; others as glm_session_restore and glm_turn_take */
RT_MUST_CHECK rt_status glm_cli_take_turn(const glm_cli *cli, glm_session *session,
        const int32_t *ids, int64_t n_ids, int64_t n_kept, glm_reuse *reuse, double *waited_s);

#endif
