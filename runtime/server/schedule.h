/* Inside the scheduler. Called by its own thread alone, but for intake.c:
 *
 *   scheduler.c   its life and its loop            intake.c     what other threads ask of it
 *   admission.c   who gets a session, and a slot   steps.c      decode and prefill
 *   prefixes.c    finished texts that are kept     generate.c   a row of logits -> text
 *   endings.c     how a request ends */
#ifndef SRV_SCHEDULE_H
#define SRV_SCHEDULE_H

#include "runtime/engine.h"
#include "scheduler.h"
#include "sequence.h"

enum {
    SRV_WAITING_MAX = 256,
    SRV_PREFIXES_MAX = 64,
    SRV_PREFIX_TOKENS_MIN = 16 /* shorter texts are not worth a session */
};

/* A finished text, kept for prompts that begin like it. */
typedef struct srv_prefix {
    glm_session *session;
    int64_t used_at; /* larger is later */
} srv_prefix;

typedef struct srv_waiting {
    srv_request *request;
    const srv_sequence *joined; /* it waits for this one's prefill; NULL: for none */
    int64_t joined_tokens;      /* until that holds so many tokens of its prompt */
} srv_waiting;

struct srv_scheduler {
    const glm_tokenizer *tokenizer;
    int32_t max_seqs;
    int wake_fd;

    pthread_mutex_t lock; /* guards what follows, down to counters */
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
    int64_t clock;          /* counts pieces begun and prefixes used */
    srv_sequence *piece_of; /* whose piece of prefill is under way; NULL: nobody's */
    int64_t piece_end;      /* the position at which that piece ends */
    double piece_work;      /* the sequence's work_done when it began */
    bool is_admission_due;  /* a slot or pages may have become free, or a request has come */
    srv_error lost;         /* http != 0: a rank is lost, and so is the engine */
    double drained_by_s;    /* rt_now() at which draining ends; 0: not draining */
    int signal_fd;
    double dear_s; /* the end of a text that takes longer to compute is kept when that makes way */
    double item_s; /* what the last item of a prefill took; 0: there was none to compute */
    double counted_s; /* when counters were last brought up to date */
};

/* The most tokens of a piece. Pieces end at multiples of that, or with the prompt. */
int64_t srv_piece_tokens(const srv_scheduler *scheduler);

/* admission.c: give sessions to those that wait, as far as slots and pages go. */
void srv_admit(srv_scheduler *scheduler);

/* ---- prefixes.c ---- */

/* How many tokens two texts have in common at their beginning. */
int64_t srv_common(const int32_t *a, int64_t n_a, const int32_t *b, int64_t n_b);
/* Keep what a sequence's session holds, if it has one, for prompts that begin like it. The session itself may be
 * what is kept: the sequence then has none. */
void srv_keep_prefix(srv_scheduler *scheduler, srv_sequence *sequence);
/* When the server ends: write to disk, where anything is kept there, what kept texts have behind their last whole segments, the
 * latest ones first, as far as drained_by_s goes, but one at least. They are forgotten with that. */
void srv_save_prefixes(srv_scheduler *scheduler);
void srv_forget_prefixes(srv_scheduler *scheduler);
void srv_forget_prefix(srv_scheduler *scheduler, int place);
/* The kept text used longest ago, for room on the disk; false: there is none. */
bool srv_forget_oldest(srv_scheduler *scheduler);
/* The same for room in memory: what of it took longer than dear_s to compute and is not on disk goes there first. *spared, an index,
 * is left out, and follows its text when that moves. */
bool srv_evict_prefix(srv_scheduler *scheduler, int *spared);

/* ---- the others ---- */

/* Tokens that all choices of a request need room for. */
int64_t srv_room_of_choices(const srv_request *request);

/* intake.c: its answers are too many, or too long, for the pages there are; `why` says more. Always false. */
bool srv_refuse_room(const srv_request *request, const char *why, srv_error *error);

/* intake.c: take a waiting request out of the queue; the queue's reference is the caller's then. */
void srv_leave_queue(srv_scheduler *scheduler, srv_request *request);
/* A prompt of a request with several is done: queue the next one, or fail the whole request where `error` says that
 * this one failed. */
void srv_queue_next_part(srv_scheduler *scheduler, const srv_request *part, const srv_error *error);

/* steps.c: decode steps of all answers, one or, beside a prefill, for a quarter of what its last item took; one (layer, chunk)
 * item of one prefill. False: there was nothing to do. */
bool srv_decode_steps(srv_scheduler *scheduler);
bool srv_prefill_item(srv_scheduler *scheduler);

/* endings.c: a request is over: with `error`, or well where that is NULL or its http is 0. */
void srv_finish_request(srv_scheduler *scheduler, srv_request *request, const srv_error *error);
/* A running choice is over: its slot becomes free, and what it computed is kept up to the last whole piece. The request is
 * over with its last choice; with an error it is over at once, with all of its choices. */
void srv_finish_sequence(srv_scheduler *scheduler, srv_sequence *sequence, srv_finish finish,
        const srv_error *error);
/* End a choice, and with it all others of its request, with `status` and the thread's last error text. RT_EPEER is
 * only noted: the loop then ends all requests. */
void srv_fail_sequence(srv_scheduler *scheduler, srv_sequence *sequence, rt_status status);
/* End all requests that run or wait, because the server stops or a rank is lost. */
void srv_fail_all(srv_scheduler *scheduler);
/* End those running requests that were cancelled. */
void srv_drop_cancelled(srv_scheduler *scheduler);
/* Where `status` is RT_EPEER: note in scheduler->lost that the engine is of no use any more, with the first such failure's
 * text. */
void srv_note_loss(srv_scheduler *scheduler, rt_status status);

#endif
