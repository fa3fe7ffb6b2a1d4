/* One answer under way: its session, how far its prefill is, and its text on the way out. Of a request
 * with several choices only the first is prefilled, the leader; the others hold pages meanwhile, and
 * then fork its session. Used by the scheduler's thread only. */
#ifndef SRV_SEQUENCE_H
#define SRV_SEQUENCE_H

#include "request.h"
#include "runtime/answer.h"
#include "runtime/chat.h"

typedef struct srv_sequence {
    srv_request *request;
    srv_choice *choice;          /* the one of the request that this is */
    struct srv_sequence *leader; /* whose prefill it waits for; NULL: it has its own, or decodes */
    glm_session *session;        /* NULL: a choice whose fork has failed; its request is failing */
    int64_t n_room;              /* tokens the session has room for: prompt and answer */
    bool is_decoding;
    int32_t next_id;          /* chosen, not in the session yet */
    int64_t piece_at;         /* scheduler->clock when its last piece of prefill began */
    int64_t piece_pos;        /* the position where that piece began */
    srv_token *prompt_tokens; /* [prompt.n], where srv_request_judges_prompt(); or NULL */
    int64_t judged_end;       /* up to here the logits of the prompt's positions have been judged */
    int32_t end_ids[SRV_STOP_IDS_MAX + GLM_STOP_IDS_MAX +
                    GLM_CHAT_TURN_ENDS]; /* that end the answer */
    int n_end_ids;
    glm_answer answer;
    glm_reply reply;
    double work_total; /* of its prefill, plan.h */
    double work_done;
    double last_token_s; /* rt_now() of its last token; 0: none yet */
} srv_sequence;

/* Choose the answer's next token by the logits of `session`, its own or the leader's, and add the text that this completes
 * to the request. *finish stays SRV_FINISH_NONE where the answer goes on: sequence->next_id is then to be decoded.
 *
 * Errors: RT_ENUMERIC, RT_ENOMEM */
RT_MUST_CHECK rt_status srv_sequence_next(
        srv_sequence *sequence, glm_session *session, srv_finish *finish);

/* A glm_take_logits for the prompt from piece_pos on; `context` is the sequence. Fills prompt_tokens, and sets judged_end. */
rt_status srv_sequence_judge_prompt(void *context, int64_t at, int64_t n, const float *logits);

/* Add the prompt's text to the answer, with its logprobs where prompt_tokens has them. RT_ENOMEM. */
RT_MUST_CHECK rt_status srv_sequence_echo(srv_sequence *sequence);

void srv_sequence_free(srv_sequence *sequence);

#endif
