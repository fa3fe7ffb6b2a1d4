/* A row of logits -> a token -> its text -> events of the request. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/log.h"
#include "runtime/base/memory.h"
#include "runtime/base/pool.h"
#include "runtime/base/size.h"
#include "runtime/chat.h"
#include "runtime/engine.h"
#include "runtime/log_prob.h"
#include "sequence.h"

/* ---- log probabilities ----------------------------------------------------------------------- */

/* Put id i where it belongs among the best so far, which descend; of equals the lower id first. */
static void insert_top(srv_token *token, int n_top, const float *logits, int32_t id) {
    int place = token->n_top;
    while (place > 0 && logits[token->top_ids[place - 1]] < logits[id]) place--;
    if (place >= n_top) return;
    if (token->n_top < n_top) token->n_top++;
    for (int i = token->n_top - 1; i > place; i--) token->top_ids[i] = token->top_ids[i - 1];
    token->top_ids[place] = id;
}

/* The probability is among all rows of the output head, as in training; the top ones are of ids that exist. */
static void judge(
        const float *logits, int64_t vocab, int64_t n_valid, int n_top, srv_token *token) {
    const double total = glm_log_sum(logits, vocab);
    token->logprob = (float)((double)logits[token->id] - total);
    for (int64_t i = 0; n_top > 0 && i < n_valid; i++) insert_top(token, n_top, logits, (int32_t)i);
    for (int i = 0; i < token->n_top; i++)
        token->top_logprobs[i] = (float)((double)logits[token->top_ids[i]] - total);
}

/* ---- the prompt ------------------------------------------------------------------------------ */

typedef struct judged {
    srv_sequence *sequence;
    int64_t first; /* in the prompt: the token that row 0 foresees */
    int64_t vocab;
    int64_t n_valid;
    const float *logits;
} judged;

static void judge_row(void *context, int64_t row, int thread) {
    const judged *j = context;
    const srv_request *request = j->sequence->request;
    const int64_t at = j->first + row;
    (void)thread;
    if (at >= request->prompt.n) return;
    srv_token token = {.id = request->prompt.ids[at]};
    judge(j->logits + row * j->vocab, j->vocab, j->n_valid, request->settings.n_top, &token);
    j->sequence->prompt_tokens[at] = token;
}

rt_status srv_sequence_judge_prompt(void *context, int64_t at, int64_t n, const float *logits) {
    srv_sequence *sequence = context;
    glm_engine *engine = sequence->session->engine;
    const int64_t vocab = glm_engine_config(engine)->vocab;
    judged j = {.sequence = sequence,
            .first = sequence->piece_pos + at + 1,
            .vocab = vocab,
            .n_valid = rt_min64(vocab, glm_tokenizer_size(sequence->answer.tokenizer)),
            .logits = logits};
    rt_pool_run(engine->pool, n, judge_row, &j);
    sequence->judged_end = sequence->piece_pos + at + n;
    return RT_OK;
}

static rt_status echo_token(srv_sequence *sequence, int64_t at, glm_utf8_stream *utf8) {
    const srv_request *request = sequence->request;
    const int32_t id = request->prompt.ids[at];
    bool is_special = false;
    int64_t n_bytes = 0;
    char *text = NULL;
    const char *bytes = glm_tokenizer_bytes(sequence->answer.tokenizer, id, &n_bytes, &is_special);
    if (is_special) n_bytes = 0;
    if (sequence->prompt_tokens)
        RT_TRY(srv_choice_add_token(sequence->choice, &sequence->prompt_tokens[at]));
    RT_TRY(rt_calloc(3 * (n_bytes + 3), 1, "a token's text", &text));
    const bool is_last = at == request->prompt.n - 1;
    const int64_t n = glm_utf8_stream_feed(utf8, bytes, n_bytes, is_last, text);
    const rt_status status =
            n > 0 ? srv_choice_add(sequence->choice, SRV_EVENT_TEXT, text, n) : RT_OK;
    free(text);
    return status;
}

rt_status srv_sequence_echo(srv_sequence *sequence) {
    srv_request *request = sequence->request;
    glm_utf8_stream utf8 = {0};
    rt_status status = RT_OK;
    if (sequence->prompt_tokens)
        sequence->prompt_tokens[0] = (srv_token){.id = request->prompt.ids[0], .logprob = NAN};
    (void)pthread_mutex_lock(&request->lock);
    for (int64_t i = 0; i < request->prompt.n && status == RT_OK; i++)
        status = echo_token(sequence, i, &utf8);
    srv_request_wake(request);
    (void)pthread_mutex_unlock(&request->lock);
    return status;
}

/* ---- the answer ------------------------------------------------------------------------------ */

static rt_status add_logprobs(srv_sequence *sequence, const glm_session *session, int32_t id) {
    srv_request *request = sequence->request;
    srv_token token = {.id = id};
    const float *logits = NULL;
    int64_t n_rows = 0;
    RT_TRY(glm_session_logits(session, &logits, &n_rows));
    const int64_t vocab = glm_engine_config(session->engine)->vocab;
    const int64_t n_valid = rt_min64(vocab, glm_tokenizer_size(sequence->answer.tokenizer));
    judge(logits + (n_rows - 1) * vocab, vocab, n_valid, request->settings.n_top, &token);
    (void)pthread_mutex_lock(&request->lock);
    const rt_status status = srv_choice_add_token(sequence->choice, &token);
    (void)pthread_mutex_unlock(&request->lock);
    return status;
}

/* ---- text ------------------------------------------------------------------------------------ */

/* With the request's lock. */
static rt_status add_piece(srv_choice *choice, const glm_reply_piece *piece) {
    if (piece->text_bytes > 0)
        RT_TRY(srv_choice_add(choice, SRV_EVENT_TEXT, piece->text, piece->text_bytes));
    if (piece->call)
        RT_TRY(srv_choice_add(choice, SRV_EVENT_CALL, piece->call, (int64_t)strlen(piece->call)));
    if (piece->arguments_bytes > 0)
        RT_TRY(srv_choice_add(
                choice, SRV_EVENT_ARGUMENTS, piece->arguments, piece->arguments_bytes));
    return RT_OK;
}

static rt_status add_text(srv_sequence *sequence, const char *text, int64_t n_bytes) {
    glm_reply_piece piece;
    if (n_bytes == 0) return RT_OK;
    if (sequence->request->api == SRV_COMPLETION)
        return srv_choice_add(sequence->choice, SRV_EVENT_TEXT, text, n_bytes);
    RT_TRY(glm_reply_feed(&sequence->reply, text, n_bytes, &piece));
    return add_piece(sequence->choice, &piece);
}

/* The answer's form let the beginning of its first call through, and nothing but that can be held back. */
static bool is_in_call(const srv_sequence *sequence) {
    const glm_form *form = &sequence->answer.form;
    return form->n_name > 0 && !form->is_open && sequence->choice->n_calls == 0;
}

/* A piece of the name of such a call, where max_tokens or a stop text cut it, is neither an answer nor a call: it is
 * dropped. */
static rt_status end_part(srv_sequence *sequence, bool waits_for_tool) {
    glm_reply_piece piece;
    if (sequence->request->api == SRV_COMPLETION) return RT_OK;
    glm_reply_end_part(&sequence->reply, waits_for_tool, &piece);
    if (is_in_call(sequence)) piece.text_bytes = 0;
    return add_piece(sequence->choice, &piece);
}

/* The prompt of a call that the client demanded ends with the tool's name, which belongs to the answer. */
static rt_status begin_forced_call(srv_sequence *sequence) {
    const char *name = sequence->request->settings.forced_call;
    if (!name || sequence->choice->n_generated > 0) return RT_OK;
    RT_TRY(add_text(sequence, name, (int64_t)strlen(name)));
    return add_text(sequence, "\n", 1);
}

/* Add the text that token `id` completes; -1 ends the answer. */
static rt_status put(srv_sequence *sequence, int32_t id, bool waits_for_tool) {
    const char *text = NULL;
    int64_t n_bytes = 0;
    RT_TRY(glm_answer_put(&sequence->answer, id, &text, &n_bytes));
    RT_TRY(add_text(sequence, text, n_bytes));
    const int32_t part_end = glm_tokenizer_specials(sequence->answer.tokenizer).assistant;
    return id < 0 || id == part_end ? end_part(sequence, waits_for_tool) : RT_OK;
}

/* ---- the end --------------------------------------------------------------------------------- */

static void add_end_ids(srv_sequence *sequence, const int32_t *ids, int n) {
    for (int i = 0; i < n; i++) sequence->end_ids[sequence->n_end_ids++] = ids[i];
}

/* Before anything is chosen. */
static void list_end_ids(srv_sequence *sequence, const glm_engine *engine) {
    const srv_settings *settings = &sequence->request->settings;
    const glm_config *config = glm_engine_config(engine);
    int32_t turn_ends[GLM_CHAT_TURN_ENDS];
    sequence->n_end_ids = 0;
    add_end_ids(sequence, settings->stop_ids, settings->n_stop_ids);
    if (!settings->ignores_stop_ids) add_end_ids(sequence, config->stop_ids, config->n_stop_ids);
    if (!settings->ignores_stop_ids && sequence->request->api != SRV_COMPLETION)
        add_end_ids(sequence, turn_ends, glm_chat_turn_ends(sequence->answer.tokenizer, turn_ends));
    sequence->answer.end_ids = sequence->end_ids;
    sequence->answer.n_end_ids = sequence->n_end_ids;
    sequence->answer.n_least = settings->min_tokens;
}

static bool is_stop_id(const srv_sequence *sequence, int32_t id) {
    for (int i = 0; i < sequence->n_end_ids; i++)
        if (sequence->end_ids[i] == id) return true;
    return false;
}

/* Which stop text was found: what is held back begins with it. */
static int found_stop(const glm_stop *stop) {
    int found = 0;
    size_t longest = 0;
    for (int i = 0; i < stop->n_texts; i++) {
        const size_t length = strlen(stop->texts[i]);
        if (length <= (size_t)(stop->n_bytes - stop->n_out) && length > longest &&
                memcmp(stop->buffer + stop->n_out, stop->texts[i], length) == 0) {
            longest = length;
            found = i;
        }
    }
    return found;
}

/* No second call is wanted, and the part of the first is over. */
static bool ends_with_call(const srv_sequence *sequence, int32_t id) {
    return sequence->request->settings.calls_once && sequence->choice->n_calls > 0 &&
           id == glm_tokenizer_specials(sequence->answer.tokenizer).assistant;
}

/* The end: the name of such a call is one without arguments, once its line is over. Until then it could be the beginning
 * of another's. */
static rt_status put_end(srv_sequence *sequence, bool waits_for_tool) {
    const bool is_named = is_in_call(sequence) && sequence->answer.form.kind != GLM_FORM_CALL;
    return put(sequence, -1, waits_for_tool || is_named);
}

/* The token's text and whether it is the last, with the request's lock. */
static rt_status give_out(srv_sequence *sequence, int32_t id, srv_finish *finish) {
    srv_choice *choice = sequence->choice;
    const glm_stop *stop = &sequence->answer.stop;
    *finish = SRV_FINISH_NONE;
    RT_TRY(begin_forced_call(sequence));
    choice->n_generated++;
    if (is_stop_id(sequence, id)) {
        *finish = SRV_FINISH_STOP;
        const int32_t observation = glm_tokenizer_specials(sequence->answer.tokenizer).observation;
        return put_end(sequence, id == observation);
    }
    RT_TRY(put(sequence, id, false));
    if (glm_form_is_whole(&sequence->answer.form)) {
        *finish = SRV_FINISH_STOP;
        return put_end(sequence, true);
    }
    if (stop->is_found) {
        *finish = SRV_FINISH_STOP_TEXT;
        choice->stop_index = found_stop(stop);
    } else if (ends_with_call(sequence, id)) {
        *finish = SRV_FINISH_STOP;
    } else if (choice->n_generated >= sequence->request->settings.max_tokens) {
        *finish = SRV_FINISH_LENGTH;
    }
    return *finish == SRV_FINISH_NONE ? RT_OK : put_end(sequence, false);
}

/* The first choice draws as the only one of a request would; each other has a seed of its own. */
static glm_sampling sampling_of(const srv_sequence *sequence) {
    glm_sampling sampling = sequence->request->settings.sampling;
    const int64_t index = sequence->choice - sequence->request->choices;
    sampling.seed += (uint64_t)index * UINT64_C(0x632be59bd9b4e019);
    return sampling;
}

/* Each answer counts its own tokens. */
static rt_status begin_answer(srv_sequence *sequence, const glm_engine *engine) {
    const srv_request *request = sequence->request;
    glm_bias *bias = &sequence->answer.bias;
    list_end_ids(sequence, engine);
    RT_TRY(glm_bias_copy(bias, &request->settings.bias));
    return glm_bias_begin(
            bias, request->prompt.ids, request->prompt.n, glm_engine_config(engine)->vocab);
}

rt_status srv_sequence_next(srv_sequence *sequence, glm_session *session, srv_finish *finish) {
    srv_request *request = sequence->request;
    const glm_engine *engine = session->engine;
    const glm_sampling sampling = sampling_of(sequence);
    int32_t id = 0;
    if (sequence->choice->n_generated == 0) RT_TRY(begin_answer(sequence, engine));
    RT_TRY(glm_answer_choose(
            &sequence->answer, engine, session, &sampling, sequence->choice->n_generated, &id));
    if (request->settings.has_logprobs) RT_TRY(add_logprobs(sequence, session, id));
    (void)pthread_mutex_lock(&request->lock);
    const rt_status status = give_out(sequence, id, finish);
    if (request->first_token_s == 0.0) request->first_token_s = rt_now();
    srv_request_wake(request);
    (void)pthread_mutex_unlock(&request->lock);
    sequence->next_id = id;
    return status;
}

void srv_sequence_free(srv_sequence *sequence) {
    if (!sequence) return;
    glm_session_free(sequence->session);
    glm_answer_free(&sequence->answer);
    glm_reply_free(&sequence->reply);
    srv_request_drop(sequence->request);
    free(sequence->prompt_tokens);
    free(sequence);
}
