/* Dense or plain: how a store packs what it writes. Private to kvstore. */
#ifndef KV_PACKING_H
#define KV_PACKING_H

#include "stored.h"

/* What was measured on one extent. Seconds are of one thread, for a byte of canonical rows. */
typedef struct kv_packing_facts {
    double disk_bytes_s; /* read past the page cache, all drives together; 0: not known */
    double dense_ratio;  /* bytes stored densely for a byte of rows */
    double dense_s;      /* to verify and decode what is dense, */
    double plain_s;      /* and what is plain */
    int32_t n_threads;
} kv_packing_facts;

/* Plain where the threads could not keep up with the disk otherwise: where it brings what is dense faster
 * than they would decode that in half of their time. The other half goes into laying out pages,
 * memory that is touched for the first time, and attention. */
kv_packing kv_packing_for(const kv_packing_facts *facts);

/* Once the first whole extent is encoded, densely, in `slot`: measure, and choose. The slot is to be
 * repacked then. Needs a free slot. */
void kv_staging_choose_packing(kv_staging *staging, kv_slot *slot);
/* What is encoded in `slot` again, as was chosen. */
void kv_staging_repack(kv_staging *staging, kv_slot *slot);

#endif
