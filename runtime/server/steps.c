/* What a round of the loop computes: a token of each answer, and an item of one prefill. */

#include "runtime/base/log.h"
#include "runtime/base/size.h"
#include "runtime/turn.h"
#include "schedule.h"

enum { DISK_PIECE_TOKENS = 4096 };
/* Of an item's time: so long are steps taken for each. */
static const double decode_share = 0.25;

/* ---- decode ---------------------------------------------------------------------------------- */

static void count_token(srv_scheduler *scheduler, srv_sequence *sequence) {
    srv_request *request = sequence->request;
    const double now = rt_now();
    (void)pthread_mutex_lock(&scheduler->lock);
    scheduler->counters.n_generated_tokens++;
    if (sequence->last_token_s == 0.0)
        srv_histogram_add(&scheduler->counters.first_token, now - request->submitted_s);
    else
        srv_histogram_add(&scheduler->counters.next_token, now - sequence->last_token_s);
    (void)pthread_mutex_unlock(&scheduler->lock);
    sequence->last_token_s = now;
}

/* The session's logits are there: the next token, and perhaps the end. */
static void take_token(srv_scheduler *scheduler, srv_sequence *sequence) {
    srv_finish finish = SRV_FINISH_NONE;
    const rt_status status = srv_sequence_next(sequence, sequence->session, &finish);
    count_token(scheduler, sequence);
    if (status != RT_OK)
        srv_fail_sequence(scheduler, sequence, status);
    else if (finish != SRV_FINISH_NONE)
        srv_finish_sequence(scheduler, sequence, finish, NULL);
}

static rt_status decode_again(
        glm_session *const *sessions, const int64_t *lengths, const int32_t *ids, int32_t n) {
    for (int32_t i = 0; i < n; i++) RT_TRY(glm_session_rewind(sessions[i], lengths[i]));
    return glm_decode(sessions, ids, n);
}

/* The open piece is over, and what it has not committed is to be computed again. */
static void give_up_piece(srv_scheduler *scheduler) {
    srv_sequence *sequence = scheduler->piece_of;
    glm_prefill_abort(sequence->session);
    sequence->work_done = scheduler->piece_work;
    scheduler->piece_of = NULL;
}

/* Where forks hold what a sequence has to write anew, it may find no room in the middle of an answer: kept texts go first.
 * Where a step has to compute again what the disk has lost, it needs the engine's prefill, and fails while another piece
 * holds that: then the piece is given up. False: neither is left. */
static bool make_way(srv_scheduler *scheduler, rt_status failure) {
    if (failure == RT_ENOFIT && srv_forget_oldest(scheduler)) return true;
    if (!scheduler->piece_of) return false;
    give_up_piece(scheduler);
    return true;
}

/* The sessions get back what a failed step has cut from them, and it is taken once more. */
static rt_status decode(
        srv_scheduler *scheduler, glm_session *const *sessions, const int32_t *ids, int32_t n) {
    int64_t lengths[GLM_DECODE_SEQS_MAX];
    for (int32_t i = 0; i < n; i++) lengths[i] = glm_session_length(sessions[i]);
    rt_status status =
            n == 1 ? glm_decode_ahead(sessions[0], ids[0]) : glm_decode(sessions, ids, n);
    while (status != RT_OK && make_way(scheduler, status))
        status = decode_again(sessions, lengths, ids, n);
    return status;
}

/* It may have ended meanwhile: an error of one choice ends the others of its request. */
static bool is_running(const srv_scheduler *scheduler, const srv_sequence *sequence) {
    for (int32_t i = 0; i < scheduler->n_running; i++)
        if (scheduler->running[i] == sequence) return true;
    return false;
}

static bool decode_step(srv_scheduler *scheduler) {
    srv_sequence *sequences[GLM_DECODE_SEQS_MAX];
    glm_session *sessions[GLM_DECODE_SEQS_MAX];
    int32_t ids[GLM_DECODE_SEQS_MAX];
    int32_t n = 0;
    for (int32_t i = 0; i < scheduler->n_running; i++) {
        srv_sequence *sequence = scheduler->running[i];
        if (!sequence->is_decoding) continue;
        sequences[n] = sequence;
        sessions[n] = sequence->session;
        ids[n++] = sequence->next_id;
    }
    if (n == 0) return false;
    const rt_status status = decode(scheduler, sessions, ids, n);
    for (int32_t i = 0; i < n; i++) {
        if (!is_running(scheduler, sequences[i])) continue;
        if (status == RT_OK)
            take_token(scheduler, sequences[i]);
        else
            srv_fail_sequence(scheduler, sequences[i], status);
    }
    return true;
}

bool srv_decode_steps(srv_scheduler *scheduler) {
    const double until = rt_now() + decode_share * scheduler->item_s;
    if (!decode_step(scheduler)) return false;
    while (rt_now() < until)
        if (!decode_step(scheduler)) break;
    return true;
}

/* ---- prefill --------------------------------------------------------------------------------- */

int64_t srv_piece_tokens(const srv_scheduler *scheduler) {
    const glm_plan *plan = glm_engine_plan(scheduler->engine);
    return plan->kv_overflows || plan->kv_persists ? rt_min64(DISK_PIECE_TOKENS, plan->span)
                                                   : plan->chunk;
}

static int64_t n_left(const srv_sequence *sequence) {
    return sequence->request->prompt.n - glm_session_length(sequence->session);
}

/* Whose piece is next: every second time the prompt with the least left, else the one whose last piece is the longest
 * ago. */
static srv_sequence *choose_prefill(const srv_scheduler *scheduler) {
    srv_sequence *chosen = NULL;
    for (int32_t i = 0; i < scheduler->n_running; i++) {
        srv_sequence *one = scheduler->running[i];
        if (one->is_decoding || one->leader) continue;
        const bool is_better =
                !chosen || (scheduler->clock % 2 == 0 ? n_left(one) < n_left(chosen)
                                                      : one->piece_at < chosen->piece_at);
        if (is_better) chosen = one;
    }
    return chosen;
}

/* The rows of a piece that was given up may have been judged already: they are not computed again. */
static rt_status begin_piece(srv_scheduler *scheduler, srv_sequence *sequence) {
    const glm_ids *prompt = &sequence->request->prompt;
    const int64_t size = srv_piece_tokens(scheduler);
    const int64_t pos = glm_session_length(sequence->session);
    const int64_t end = rt_min64((pos / size + 1) * size, prompt->n);
    sequence->piece_at = ++scheduler->clock;
    sequence->piece_pos = pos;
    const int64_t n_judged = rt_max64(rt_min64(sequence->judged_end, end) - pos, 0);
    if (sequence->prompt_tokens)
        RT_TRY(glm_prefill_begin_all(sequence->session, prompt->ids + pos, end - pos, n_judged,
                srv_sequence_judge_prompt, sequence));
    else
        RT_TRY(glm_prefill_begin(
                sequence->session, prompt->ids + pos, end - pos, NULL, end == prompt->n ? 1 : 0));
    scheduler->piece_of = sequence;
    scheduler->piece_end = end;
    scheduler->piece_work = sequence->work_done;
    (void)pthread_mutex_lock(&scheduler->lock);
    scheduler->counters.n_pieces++;
    (void)pthread_mutex_unlock(&scheduler->lock);
    return RT_OK;
}

/* `share` of the prefill's work is done; 0: not known. */
static void show(srv_request *request, int64_t n_processed, double share) {
    (void)pthread_mutex_lock(&request->lock);
    srv_progress *progress = &request->progress;
    progress->n_processed = n_processed;
    if (share > 0.0 && progress->started_s > 0.0)
        progress->eta_s = (rt_now() - progress->started_s) * (1.0 - share) / share;
    if (request->settings.has_progress) srv_request_wake(request);
    (void)pthread_mutex_unlock(&request->lock);
}

/* Requests that have joined this prefill are shown its progress, too. */
static void show_progress(srv_scheduler *scheduler, srv_sequence *sequence, int64_t n_processed) {
    const double share =
            sequence->work_total > 0.0 ? sequence->work_done / sequence->work_total : 1.0;
    show(sequence->request, n_processed, share);
    (void)pthread_mutex_lock(&scheduler->lock);
    for (int i = 0; i < scheduler->n_waiting; i++) {
        const srv_waiting *one = &scheduler->waiting[i];
        if (one->joined == sequence)
            show(one->request, rt_min64(n_processed, one->joined_tokens), 0.0);
    }
    (void)pthread_mutex_unlock(&scheduler->lock);
}

/* Where KV is lossy a fork may hold a little less than the prompt. That is computed again, which replaces the logits: all
 * first tokens must have been chosen before. */
static rt_status fork_leader(
        srv_scheduler *scheduler, const srv_sequence *leader, srv_sequence *follower) {
    const glm_ids *prompt = &leader->request->prompt;
    rt_status status = RT_OK;
    glm_session_free(follower->session); /* its pages are for the fork */
    follower->session = NULL;
    do /* the fork of a prompt that went to disk may need more than was held for it */
        status = glm_session_fork(leader->session, prompt->n, follower->n_room, &follower->session);
    while (status == RT_ENOFIT && srv_forget_oldest(scheduler));
    RT_TRY(status);
    do {
        const int64_t length = glm_session_length(follower->session);
        if (length == prompt->n) return RT_OK;
        status = glm_prefill(follower->session, prompt->ids + length, prompt->n - length);
    } while (status == RT_ENOFIT && srv_forget_oldest(scheduler));
    return status;
}

/* The prompt is computed: choose the first token of each choice, all by the leader's logits, and give each that goes on a
 * session of its own. */
static void begin_choices(srv_scheduler *scheduler, srv_sequence *leader) {
    srv_sequence *group[SRV_CHOICES_MAX];
    srv_finish finish[SRV_CHOICES_MAX];
    rt_status status = RT_OK;
    int n = 0;
    for (int32_t i = 0; i < scheduler->n_running; i++)
        if (scheduler->running[i] == leader || scheduler->running[i]->leader == leader)
            group[n++] = scheduler->running[i];
    for (int i = 0; i < n && status == RT_OK; i++) {
        status = srv_sequence_next(group[i], leader->session, &finish[i]);
        count_token(scheduler, group[i]);
    }
    for (int i = 0; i < n && status == RT_OK; i++) {
        group[i]->is_decoding = true;
        if (group[i] != leader && finish[i] == SRV_FINISH_NONE)
            status = fork_leader(scheduler, leader, group[i]);
        group[i]->leader = NULL;
    }
    if (status != RT_OK) {
        srv_fail_sequence(scheduler, leader, status);
        return;
    }
    for (int i = 0; i < n; i++)
        if (finish[i] != SRV_FINISH_NONE) srv_finish_sequence(scheduler, group[i], finish[i], NULL);
}

/* The answer begins with the prompt. False: the sequence is over. */
static bool echo(srv_scheduler *scheduler, srv_sequence *sequence) {
    const rt_status status = srv_sequence_echo(sequence);
    if (status != RT_OK)
        srv_fail_sequence(scheduler, sequence, status);
    else if (sequence->request->settings.max_tokens == 0)
        srv_finish_sequence(scheduler, sequence, SRV_FINISH_LENGTH, NULL);
    else
        return true;
    return false;
}

static void end_piece(srv_scheduler *scheduler, srv_sequence *sequence) {
    srv_request *request = sequence->request;
    scheduler->piece_of = NULL;
    scheduler->is_admission_due = true;
    if (scheduler->piece_end < request->prompt.n) return;
    glm_turn_give_back(sequence->session);
    (void)pthread_mutex_lock(&request->lock);
    request->phase = SRV_DECODING;
    (void)pthread_mutex_unlock(&request->lock);
    if (request->settings.echoes && !echo(scheduler, sequence)) return;
    begin_choices(scheduler, sequence);
}

/* Begin a piece, or do the next item of the open one. Where there is no room for it and kept texts go for that, it is
 * given up: another turn begins it again. */
static rt_status take_item(
        srv_scheduler *scheduler, srv_sequence *sequence, glm_prefill_progress *progress) {
    rt_status status = scheduler->piece_of ? RT_OK : begin_piece(scheduler, sequence);
    if (status == RT_OK) status = glm_prefill_step(sequence->session, progress);
    if (status == RT_OK) return RT_OK;
    if (scheduler->piece_of) give_up_piece(scheduler); /* the engine has */
    return status == RT_ENOFIT && srv_forget_oldest(scheduler) ? RT_OK : status;
}

bool srv_prefill_item(srv_scheduler *scheduler) {
    srv_sequence *sequence = scheduler->piece_of ? scheduler->piece_of : choose_prefill(scheduler);
    const double begun_s = rt_now();
    scheduler->item_s = 0.0;
    if (!sequence) return false;
    glm_prefill_progress progress = {0};
    const rt_status status = take_item(scheduler, sequence, &progress);
    if (status != RT_OK) {
        srv_fail_sequence(scheduler, sequence, status);
        return true;
    }
    scheduler->item_s = rt_now() - begun_s;
    if (!scheduler->piece_of) return true;
    sequence->work_done = scheduler->piece_work + progress.work_done;
    show_progress(scheduler, sequence,
            scheduler->piece_end - progress.tokens_total + progress.tokens_done);
    if (progress.is_done) end_piece(scheduler, sequence);
    return true;
}
