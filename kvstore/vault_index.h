/* What the vault knows of its segments without opening them: found by their own chain hash and by
 * their parent's. Private to kvstore. */
#ifndef KV_VAULT_INDEX_H
#define KV_VAULT_INDEX_H

#include "vault_briefs.h"

typedef struct kv_known {
    kv_hash chain, parent;
    int64_t first_pos;
    int32_t n_tokens;
    int32_t dir;
    int32_t head_ids[KV_BRIEF_IDS];
    struct kv_known *next_chain, *next_parent; /* in the buckets */
} kv_known;

typedef struct kv_index {
    kv_known **by_chain, **by_parent; /* [n_buckets] */
    int64_t n_buckets;                /* a power of 2 */
    int64_t n_known;
} kv_index;

/* Nothing happens where the chain is known already. RT_ENOMEM. */
RT_MUST_CHECK rt_status kv_index_add(kv_index *index, const kv_brief *brief, int32_t dir);
void kv_index_remove(kv_index *index, const kv_hash *chain);
const kv_known *kv_index_find(const kv_index *index, const kv_hash *chain);
/* The first child of a parent (previous = NULL), and the next ones. */
const kv_known *kv_index_child(
        const kv_index *index, const kv_hash *parent, const kv_known *previous);
void kv_index_free(kv_index *index);

#endif
