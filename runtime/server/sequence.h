/* One answer at work: its session, where its prefill stands, and its text on the way out. Of a request
 * with several choices the first one is prefilled; the others hold pages, and fork it then. Used by the
 * scheduler's thread only. */
#ifndef SRV_SEQUENCE_H
#define SRV_SEQUENCE_H

#include "request.h"
#include "runtime/answer.h"

typedef struct srv_sequence {
    srv_request *request;
    srv_choice *choice;          /* of it */
    struct srv_sequence *leader; /* is prefilled for this one, too; NULL: nobody */
    glm_session *session; /* NULL: a choice whose fork has failed; its request is failing */
    int64_t n_room; /* tokens the session has room for: prompt and answer */
    bool is_decoding;
    int32_t next_id;          /* chosen, not in the session yet */
    int64_t piece_at;         /* which piece of prefill this sequence had last: larger is later */
    int64_t piece_pos;        /* where that began */
    srv_token *prompt_tokens; /* [prompt.n], where srv_request_judges_prompt(); or NULL */
    glm_answer answer;
    glm_reply reply;
    double work_total;
    double work_done;
    double last_token_s;
} srv_sequence;

/* Choose the next token by the logits of `session`, which holds what this one does or will, and give
 * out what it lets out. *finish stays SRV_FINISH_NONE where the answer goes on: sequence->next_id is then
 * what to decode.
 *
 * RT_ENUMERIC, RT_ENOMEM */
RT_MUST_CHECK rt_status srv_sequence_next(
        srv_sequence *sequence, glm_session *session, srv_finish *finish);

/* As glm_take_logits, of the prompt from piece_pos on; `context` is the sequence: what is said of its tokens. */
rt_status srv_sequence_judge_prompt(void *context, int64_t at, int64_t n, const float *logits);

/* Give out the prompt. RT_ENOMEM. */
RT_MUST_CHECK rt_status srv_sequence_echo(srv_sequence *sequence);

void srv_sequence_free(srv_sequence *sequence);

#endif
