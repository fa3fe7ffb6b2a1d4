/* Decode of one session with drafts (draft.h): the token that is due and those that may follow it go through the model
 * in one pass, and each has its logits. The caller chooses from the first one's; as long as what it chooses
 * is the draft's next token, the logits behind that are there already.
 *
 * On the CPU the pass is a prefill, which gives the same bits as decode; on a GPU it is a decode step of several tokens
 * (backend.h, decode_several). So answers with drafts have the bits of those without. What a GPU is to draw after the
 * token that is due it draws after each of the pass, by the draws of the steps that come to them: that row's draw is
 * there when the caller does ask for it, and no logits need come. Should the device find that it cannot multiply so many
 * rows as it does one, the plan has it draft fewer from then on, and the pass is taken back: the step is one token's.
 *
 * Until then the session holds more keys and values than its length says: `n - n_taken` drafted tokens. Whatever else
 * the session is asked for drops them first. A pass stays within the page of the token that is due, and does not fill
 * it, so no page is sealed and no extent finished by what may be taken back: dropping is exact. */
#include "backend.h"

static int32_t n_ahead(const glm_session *session) {
    return session->ahead.n - session->ahead.n_taken;
}

int64_t glm_session_length(const glm_session *session) {
    return kv_seq_length(session->seq) - n_ahead(session);
}

/* Where the session was asked for something else before the first of them was due, nobody knows whether they were right. */
static void learn(glm_ahead *ahead) {
    if (ahead->n_taken > 0 || ahead->is_refuted)
        glm_draft_learn(&ahead->record, ahead->n, ahead->n_taken);
}

void glm_session_drop_drafts(glm_session *session) {
    glm_ahead *ahead = &session->ahead;
    const int64_t length = glm_session_length(session);
    const int32_t n_dropped = n_ahead(session);
    learn(ahead);
    ahead->n = ahead->n_taken = 0;
    ahead->is_refuted = false;
    if (n_dropped > 0) glm_session_truncate(session, length);
}

/* The token after this one is to be drawn by the device, and was not in the pass at hand, or otherwise. */
static bool lacks_draw(const glm_session *session) {
    const glm_engine *engine = session->engine;
    const glm_drawing *drawing = &engine->drawing;
    const int64_t row = session->logits_row + 1;
    if (!engine->backend->fetch_logits || !glm_session_asks_to_draw(session)) return false;
    return drawing->n <= row || !glm_draw_is_like(&session->draw, &drawing->draws[row]);
}

/* The draft's next token is the one that was chosen, and the logits behind it are still there. */
static bool is_there(const glm_session *session, int32_t id) {
    const glm_ahead *ahead = &session->ahead;
    return n_ahead(session) > 0 && ahead->draft[ahead->n_taken] == id &&
           session->logits_serial == session->engine->logits_serial && !lacks_draw(session);
}

/* As a step of its own leaves it. */
static void take_next(glm_session *session) {
    const glm_drawing *drawing = &session->engine->drawing;
    session->ahead.n_taken++;
    session->engine->drafts.n_taken++;
    session->logits_row++;
    session->has_drawn = glm_session_asks_to_draw(session) && drawing->n > 0;
    if (session->has_drawn)
        session->drawn_id = drawing->ids[session->logits_row];
    else
        session->draw = (glm_draw){0};
}

/* Tokens that may be drafted behind the one that is due. */
static int32_t room(const glm_session *session) {
    const glm_engine *engine = session->engine;
    const glm_plan *plan = &engine->plan;
    const int64_t length = kv_seq_length(session->seq);
    const int64_t in_page = ATTN_PAGE_TOKENS - 2 - length % ATTN_PAGE_TOKENS;
    const int64_t in_session = kv_seq_max_tokens(session->seq) - length - 1;
    int64_t in_pass = plan->n_speculative;
    if (!engine->backend->decode_several) {
        if (engine->prefill.session) return 0; /* as the pass is one */
        in_pass = rt_min64(in_pass, rt_min64(plan->chunk, plan->max_logits) - 1);
    }
    return (int32_t)rt_min64(in_pass, rt_min64(in_page, in_session));
}

static rt_status judge(glm_session *session, int32_t id, int32_t n) {
    glm_ahead *ahead = &session->ahead;
    const int64_t length = kv_seq_length(session->seq);
    int32_t ids[1 + GLM_DRAFT_MAX] = {id};
    for (int32_t i = 0; i < n; i++) ids[1 + i] = ahead->draft[i];
    RT_TRY(session->engine->backend->decode_several ? glm_decode_several(session, ids, 1 + n)
                                                    : glm_prefill_rows(session, ids, 1 + n));
    if (n > session->engine->plan.n_speculative) { /* these are not the bits of as many steps */
        glm_session_truncate(session, length);
        return glm_decode(&session, &id, 1);
    }
    ahead->n = n;
    session->engine->drafts.n_drafted += n;
    session->n_logits = 1;
    return RT_OK;
}

rt_status glm_decode_ahead(glm_session *session, int32_t id) {
    glm_ahead *ahead = &session->ahead;
    if (is_there(session, id)) {
        take_next(session);
        return RT_OK;
    }
    ahead->is_refuted = n_ahead(session) > 0 && ahead->draft[ahead->n_taken] != id;
    glm_session_drop_drafts(session);
    const int32_t n = glm_draft_find(&ahead->record, kv_seq_ids(session->seq),
            kv_seq_length(session->seq), id, room(session), ahead->draft);
    return n > 0 ? judge(session, id, n) : glm_decode(&session, &id, 1);
}

glm_drafts glm_engine_drafts(const glm_engine *engine) {
    return engine->drafts;
}
