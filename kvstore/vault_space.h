/* Room on the disk: what is used, and who makes way. Private to kvstore. */
#ifndef KV_VAULT_SPACE_H
#define KV_VAULT_SPACE_H

#include "vault_dirs.h"

typedef struct kv_space_report {
    int64_t n_swept;   /* dead temporaries and quarantined files removed */
    int64_t n_evicted; /* others */
    int64_t bytes_before;
    int64_t bytes_used; /* now */
} kv_space_report;

/* Remove temporaries whose owner is dead. What lies there, these included, is the caller's to free. The lock is held. */
RT_MUST_CHECK rt_status kv_space_sweep(
        kv_dirs *dirs, kv_listing *listing, kv_space_report *report);

/* Until n_needed more bytes fit below bytes_max. Removed, in this order and only as far as needed: dead
 * temporaries, quarantined files, then what no book holds and nobody uses, leaves before their parents,
 * lowest score first: cost to compute again x how lately it was used / bytes; what is known of segments, where that
 * helps. The lock is held.
 * Errors: RT_ENOFIT  not even so; then no segment was removed for it. RT_EIO, RT_ENOMEM */
RT_MUST_CHECK rt_status kv_space_make_room(
        kv_dirs *dirs, int64_t bytes_max, int64_t n_needed, kv_space_report *report);
/* The same, but as far as it goes: everything that may go, goes, to reach bytes_max. */
RT_MUST_CHECK rt_status kv_space_shrink(kv_dirs *dirs, int64_t bytes_max, kv_space_report *report);

#endif
