/* A vault's life in one scripted run over a file system in memory, and what it was promised on the way:
 * for tests of crashes and faults. */
#ifndef HELP_KV_SCRIPT_H
#define HELP_KV_SCRIPT_H

#include "help_kv_memfs.h"
#include "help_kv_vault.h"

/* From so many effects on, so much of the subject must be there. */
typedef enum kvh_subject {
    KVH_PREFIX,    /* tokens of the prefix that the book names */
    KVH_BOOK,      /* its version, 1 or 2; 3: removed for good */
    KVH_PART,      /* 1: a suspended segment */
    KVH_STATE,     /* version of the state beside it */
    KVH_CONTINUED, /* tokens of the prefix that was suspended and finished */
    KVH_N_SUBJECTS
} kvh_subject;

typedef struct kvh_promise {
    int64_t from;
    kvh_subject subject;
    int64_t least;
} kvh_promise;

typedef struct kvh_promises {
    kvh_promise all[64];
    int n;
    int n_failed; /* calls that returned an error */
} kvh_promises;

/* Write two segments, name them twice, suspend a third with state, restart, resume and finish it, write
 * more than fits, remove the book, restart. Goes on after errors; what failed is not promised. */
kvh_promises kvh_script_run_vault(kvh_memfs *fs);

/* Restart on a disk that is left after n_effects. Returns how many promises are broken, half-written
 * files visible, or temporaries left over; says the first on stderr if `says_so`. Wrong bytes stop
 * the test. */
int kvh_script_check(
        kvh_memfs *disk, const kvh_promises *promises, int64_t n_effects, bool says_so);

#endif
