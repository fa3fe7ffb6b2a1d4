/* What the I/O tests share: a disk in memory, an engine that injects faults, a scripted run. */
#ifndef HELP_KV_IO_H
#define HELP_KV_IO_H

#include "help_kv.h"
#include "kvstore/io_files.h"

/* A disk in memory with one file: requests are carried out when answers are asked for. */
kv_io_engine kvh_ramdisk(void);

typedef enum kvh_fault {
    KVH_NONE,
    /* in place of an answer */
    KVH_EIO,
    KVH_ENOSPC,
    KVH_EINTR,
    KVH_EAGAIN,
    KVH_ECANCELED,
    KVH_EINVAL, /* only while the file is O_DIRECT */
    KVH_ZERO,
    KVH_SHORT, /* half is done */
    KVH_MORE,  /* more bytes than asked for */
    /* beside the answer */
    KVH_STALE, /* before it, others that say all is done: of an earlier submission, of a later, of none */
    KVH_TWICE,
    KVH_REORDERED, /* held back until others have come, then last first */
    KVH_LATE,      /* not even begun before kvh_faults_release() */
    KVH_LOST,      /* the same, and EBADR says once that answers were lost */
    KVH_REQUEST_FAULTS,
    /* of a submission */
    KVH_SUBMIT_EAGAIN = KVH_REQUEST_FAULTS,
    KVH_SUBMIT_EBUSY,
    KVH_SUBMIT_EIO,
    KVH_SUBMIT_HALF,
    KVH_SUBMIT_NONE,
    /* of asking for answers */
    KVH_COMPLETE_EINTR,
    KVH_COMPLETE_EBADR,
    /* of calls about files; the script does not expect them */
    KVH_FILE_FAULTS,
    KVH_OPEN_EINTR = KVH_FILE_FAULTS,
    KVH_OPEN_EMFILE,
    KVH_RESERVE_ENOSPC,
    KVH_RESERVE_EOPNOTSUPP,
    KVH_SYNC_EIO,
    KVH_STOPPED, /* as if the process had been, for 30 ms of asking for answers */
    /* that only content tells */
    KVH_SILENT_FAULTS,
    KVH_FLIPPED = KVH_SILENT_FAULTS, /* a bit of what is read */
    KVH_UNWRITTEN,                   /* said to be, and what was there before still is */
    KVH_ELSEWHERE,                   /* what is read is from another place */
    KVH_N_FAULTS
} kvh_fault;

const char *kvh_fault_name(kvh_fault fault);
/* Whether, happening once, it must not be noticed. */
bool kvh_is_harmless_once(kvh_fault fault);
/* Whether answers stay away, so that only a deadline ends an operation. */
bool kvh_is_silent(kvh_fault fault, bool for_ever);

/* An engine before another: the events numbered `at` (or from there on) of the fault's kind go
 * wrong. Frees the other. */
typedef struct kvh_faults kvh_faults;
kv_io_engine kvh_inject(
        kv_io_engine inner, kvh_fault fault, int64_t at, bool for_ever, kvh_faults **out);
int64_t kvh_faults_injected(const kvh_faults *faults);
/* Events of the fault's kind so far. */
int64_t kvh_faults_events(const kvh_faults *faults);
/* Descriptors closed so far. */
int kvh_faults_closed(const kvh_faults *faults);
/* From here on nothing goes wrong. */
void kvh_faults_release(kvh_faults *faults);

/* The scripted run, half of its memory lent: n_blocks blocks of 4 or 8 KiB are written, synced, read back in
 * another order and urgency, rewritten in part and read again. Every operation ends; one that says ok has moved the
 * right bytes; counts of the others are returned. Late answers are released before everything is read a
 * last time. */
typedef struct kvh_outcome {
    int64_t n_ok;
    int64_t n_io;    /* RT_EIO */
    int64_t n_nofit; /* RT_ENOFIT */
    bool is_direct;
    bool is_lent;
    kv_io_stats stats;
} kvh_outcome;
kvh_outcome kvh_script(kv_io *io, const char *path, int n_blocks, kvh_faults *faults);

/* A directory of this test's own for files, removed by kvh_remove_dir. */
const char *kvh_make_dir(void);
void kvh_remove_dir(void);

#endif
