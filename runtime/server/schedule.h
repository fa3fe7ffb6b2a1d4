/* Inside the scheduler, its thread's only but for intake.c:
 *
 *   scheduler.c   its life and its loop            intake.c     what other threads ask of it
 *   admission.c   who gets a session, and a slot   steps.c      decode and prefill
 *   endings.c     how a request ends               generate.c   a row of logits -> text */
#ifndef SRV_SCHEDULE_H
#define SRV_SCHEDULE_H

#include "runtime/engine.h"
#include "scheduler.h"
#include "sequence.h"

enum { SRV_WAITING_MAX = 256, SRV_PREFIXES_MAX = 64 };

/* A finished text: a session that holds it, and nothing besides. */
typedef struct srv_prefix {
    glm_session *session;
    int64_t used_at; /* larger is later */
} srv_prefix;

typedef struct srv_waiting {
    srv_request *request;
    const srv_sequence *joined; /* whose prefill it waits for, until that holds */
    int64_t joined_tokens;      /* so many of its own tokens; NULL: none */
} srv_waiting;

struct srv_scheduler {
    const glm_tokenizer *tokenizer;
    int32_t max_seqs;
    int wake_fd;

    pthread_mutex_t lock; /* of the next lines */
    srv_state state;
    glm_plan plan; /* once it is SRV_READY */
    int64_t context;
    srv_waiting waiting[SRV_WAITING_MAX]; /* only the scheduler's thread takes any away */
    int n_waiting;
    int64_t n_waiting_tokens;
    srv_counters counters;

    /* The scheduler's thread only. */
    glm_engine *engine;
    srv_sequence *running[GLM_DECODE_SEQS_MAX];
    int32_t n_running;
    srv_prefix prefixes[SRV_PREFIXES_MAX];
    int n_prefixes;
    int64_t clock;          /* counts pieces and uses */
    srv_sequence *piece_of; /* whose piece is open; NULL: none */
    int64_t piece_end;      /* where it ends */
    double piece_work;      /* of the sequence before it */
    bool is_admission_due;
    srv_error lost;      /* http: another rank is lost, and all that was under way with it */
    double drained_by_s; /* 0: not draining */
    int signal_fd;
    double counted_s;
};

/* Tokens of a piece at most, and the end of the one that begins at pos. */
int64_t srv_piece_tokens(const srv_scheduler *scheduler);

/* admission.c: give sessions to those that wait, as far as slots and pages go. */
void srv_admit(srv_scheduler *scheduler);
/* Keep what a sequence's session holds, if it has one, for prompts that begin like it. The session itself may be
 * what is kept: the sequence then has none. */
void srv_keep_prefix(srv_scheduler *scheduler, srv_sequence *sequence);
void srv_forget_prefixes(srv_scheduler *scheduler);

/* intake.c: a waiting request leaves the queue; the caller has its reference. */
void srv_leave_queue(srv_scheduler *scheduler, srv_request *request);
/* A part of a request is done: the next is queued, or the whole fails. The scheduler's thread only. */
void srv_go_on(srv_scheduler *scheduler, const srv_request *part, const srv_error *error);

/* steps.c: one decode step of all answers, one item of one prefill. False: there is none. */
bool srv_decode_step(srv_scheduler *scheduler);
bool srv_prefill_item(srv_scheduler *scheduler);

/* endings.c: a request is over. http 0 in `error`, or NULL: it went well. */
void srv_finish_request(srv_scheduler *scheduler, srv_request *request, const srv_error *error);
/* A choice that runs: its slot is free, what it computed is kept as far as it is whole. Its request is
 * over with the last one, or where there is an error. */
void srv_finish_sequence(srv_scheduler *scheduler, srv_sequence *sequence, srv_finish finish,
        const srv_error *error);
/* With the calling thread's last error; all choices of its request. */
void srv_fail_sequence(srv_scheduler *scheduler, srv_sequence *sequence, rt_status status);
/* All that run or wait: the server stops. */
void srv_fail_all(srv_scheduler *scheduler);
/* Those that run, and that nobody wants any more. */
void srv_drop_cancelled(srv_scheduler *scheduler);
/* RT_EPEER: the engine is of no use any more, for the reason that the first such failure gave. */
void srv_note_loss(srv_scheduler *scheduler, rt_status status);

#endif
