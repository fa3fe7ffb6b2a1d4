/* One request at work: its session, where its prefill stands, and its text on the way out. Used by
 * the scheduler's thread only. */
#ifndef SRV_SEQUENCE_H
#define SRV_SEQUENCE_H

#include "request.h"
#include "runtime/answer.h"

typedef struct srv_sequence {
    srv_request *request;
    glm_session *session;
    int64_t n_room; /* tokens the session has room for: prompt and answer */
    bool is_decoding;
    int32_t next_id;  /* chosen, not in the session yet */
    int64_t piece_at; /* which piece of prefill this sequence had last: larger is later */
    glm_answer answer;
    glm_reply reply;
    double work_total;
    double work_done;
    double last_token_s;
} srv_sequence;

/* Choose the next token by the session's logits and give out what it lets out. *finish stays
 * SRV_FINISH_NONE where the answer goes on: sequence->next_id is then what to decode.
 *
 * RT_ENUMERIC, RT_ENOMEM */
RT_MUST_CHECK rt_status srv_sequence_next(
        srv_sequence *sequence, const glm_engine *engine, srv_finish *finish);

void srv_sequence_free(srv_sequence *sequence);

#endif
