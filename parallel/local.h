/* What the files of comm_local share. Private to parallel.
 *
 * One shared mapping (a memfd that rank 0 makes) holds a head and one slot a rank. Beside it every
 * rank but 0 has two sockets with rank 0: one for what rank 0 tells, one for heartbeats. */
#ifndef PAR_LOCAL_H
#define PAR_LOCAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "parallel.h"

enum {
    LOCAL_SLOT_BYTES = 1 << 20, /* of a collective's operand at a time */
    LOCAL_MAIL_BYTES = 1 << 16, /* of a send */
    LOCAL_SPINS_MIN = 400,  /* looks at a word before sleeping, 10 to 100 us; none where there */
    LOCAL_SPINS_MAX = 4000, /* are more ranks than cores */
    LOCAL_LINE = 64         /* what two ranks write lies in different cache lines */
};

/* What a rank says of what lies in its slot: checked before it is used. */
typedef struct local_label {
    uint64_t serial; /* collectives so far, this one included; mails so far */
    int64_t n_bytes; /* of this piece */
    int64_t n_total; /* of the operand */
    uint32_t kind;
    uint32_t peer;                /* root, or whom a mail is for */
    uint64_t hash[PAR_RANKS_MAX]; /* of the part each rank reads; [0] where all read all */
    uint64_t result_hash;         /* of the part of a sum that this rank took */
} local_label;

typedef struct local_rank {
    _Alignas(LOCAL_LINE) _Atomic uint32_t posted; /* phases finished; a futex */
    _Alignas(LOCAL_LINE) _Atomic uint32_t mailed; /* mails put down; a futex */
    _Alignas(LOCAL_LINE) _Atomic uint32_t taken;  /* of them read; a futex */
    _Alignas(LOCAL_LINE) local_label label;
    local_label mail;
} local_rank;

/* Before what rank 0 tells. */
typedef struct local_told {
    uint64_t magic;
    uint64_t serial;
    int64_t n_bytes;
    uint64_t hash;
} local_told;

/* The group is over once `ended` is set; the text is there, or will not come, once it is 2. */
typedef struct local_head {
    _Alignas(LOCAL_LINE) _Atomic uint32_t ended;
    char why[768];
    local_rank ranks[PAR_RANKS_MAX];
} local_head;

typedef struct local_peer {
    int control_fd; /* -1: none */
    int beat_fd;
    pid_t pid;        /* rank 0: the child; 0: none, or reaped. Others: rank 0, their parent */
    double last_seen; /* by the heartbeat thread alone */
    bool has_left;    /* in an orderly way; likewise */
} local_peer;

typedef struct local_comm {
    par_comm comm; /* first */
    local_head *head;
    char *slots; /* [n_ranks][LOCAL_SLOT_BYTES] */
    float *sum;  /* [LOCAL_SLOT_BYTES / 4] */
    char *mails; /* [n_ranks][LOCAL_MAIL_BYTES] */
    int64_t mapped_bytes;
    local_peer peers[PAR_RANKS_MAX]; /* rank 0: all others; others: only rank 0 */
    uint64_t serial;
    uint32_t phase; /* posted so far; wraps */
    uint64_t told;
    int32_t n_spins;

    pthread_t beat;
    bool has_beat;
    int wake_fd;        /* eventfd: the heartbeat thread is to end */
    bool is_over;       /* an operation failed: */
    char why[1024];     /* the first one, with the step it was in */
    uint32_t last_kind; /* of collective: after a barrier closing is orderly */
} local_comm;

static inline local_comm *local_of(par_comm *comm) {
    return (local_comm *)comm;
}

/* comm_local.c: map the memory, fill the function pointers. Takes fds over, also on failure. */
RT_MUST_CHECK rt_status local_create(
        int32_t rank, int32_t n_ranks, int memory_fd, local_comm **out);

/* End the group, once: wake everyone. Any thread. */
void local_end(local_comm *local, const char *why);
/* RT_EPEER with the text of local_end. */
RT_MUST_CHECK rt_status local_ended(local_comm *local);

static inline bool local_has_ended(const local_comm *local) {
    return atomic_load_explicit(&local->head->ended, memory_order_relaxed) != 0;
}
/* End the group for what another rank sent. RT_EPEER. */
RT_MUST_CHECK rt_status local_blame(local_comm *local, int rank, const char *what);

/* local_data.c: as in parallel.h. */
rt_status local_all_reduce(par_comm *comm, float *data, int64_t n, void *stream);
rt_status local_all_gather(
        par_comm *comm, const void *mine, int64_t n_bytes, void *all, void *stream);
rt_status local_broadcast(par_comm *comm, void *data, int64_t n_bytes, int32_t root, void *stream);
rt_status local_send(par_comm *comm, const void *data, int64_t n_bytes, int32_t to, void *stream);
rt_status local_recv(par_comm *comm, void *data, int64_t n_bytes, int32_t from, void *stream);
rt_status local_share(par_comm *comm, const void *mine, int64_t n_bytes, void *all);
rt_status local_barrier(par_comm *comm);
/* Bytes that came from a rank are those that it hashed; otherwise it is blamed. */
RT_MUST_CHECK rt_status local_check_hash(
        local_comm *local, int rank, const void *bytes, int64_t n_bytes, uint64_t hash);
/* Whether the last collective was a barrier. */
bool local_is_at_barrier(const local_comm *local);
/* Wake whoever sleeps in shared memory. */
void local_wake(local_comm *local);

/* local_beat.c. Errors: RT_ENOMEM */
RT_MUST_CHECK rt_status local_beat_start(local_comm *local);
/* is_orderly: the others are told that this rank is not lost. */
void local_beat_stop(local_comm *local, bool is_orderly);
/* "rank 2 on HOST": who, for messages. */
const char *local_who(const local_comm *local, int rank, char text[128]);

/* local_launch.c: wait for the children, killing those that do not end by themselves. */
void local_reap(local_comm *local);

#endif
