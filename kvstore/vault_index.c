#include "vault_index.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/base/memory.h"
#include "runtime/base/size.h"

enum { BUCKETS_MIN = 256 };

/* Hashes are uniformly distributed as they are. */
static int64_t bucket(const kv_index *index, const kv_hash *hash) {
    uint64_t number;
    memcpy(&number, hash->bytes, sizeof number);
    return (int64_t)(number & (uint64_t)(index->n_buckets - 1));
}

static void link_known(kv_index *index, kv_known *known) {
    kv_known **chain = &index->by_chain[bucket(index, &known->chain)];
    kv_known **parent = &index->by_parent[bucket(index, &known->parent)];
    known->next_chain = *chain;
    known->next_parent = *parent;
    *chain = *parent = known;
}

static rt_status grow(kv_index *index) {
    kv_index more = {
            .n_buckets = rt_max64(BUCKETS_MIN, 2 * index->n_buckets), .n_known = index->n_known};
    RT_TRY(rt_calloc(more.n_buckets, sizeof(kv_known *), "the vault's index", &more.by_chain));
    if (rt_calloc(more.n_buckets, sizeof(kv_known *), "the vault's index", &more.by_parent) !=
            RT_OK) {
        free(more.by_chain);
        return RT_ENOMEM;
    }
    for (int64_t i = 0; i < index->n_buckets; i++)
        for (kv_known *known = index->by_chain[i]; known;) {
            kv_known *next = known->next_chain;
            link_known(&more, known);
            known = next;
        }
    free(index->by_chain);
    free(index->by_parent);
    *index = more;
    return RT_OK;
}

rt_status kv_index_add(kv_index *index, const kv_brief *brief, int32_t dir) {
    if (index->n_known >= index->n_buckets) RT_TRY(grow(index));
    if (kv_index_find(index, &brief->chain)) return RT_OK;
    kv_known *known = NULL;
    RT_TRY(rt_calloc(1, sizeof *known, "the vault's index", &known));
    *known = (kv_known){.chain = brief->chain,
            .parent = brief->parent,
            .first_pos = brief->first_pos,
            .n_tokens = brief->n_tokens,
            .dir = dir};
    memcpy(known->head_ids, brief->head_ids, sizeof known->head_ids);
    link_known(index, known);
    index->n_known++;
    return RT_OK;
}

static kv_known **link_to(const kv_index *index, const kv_hash *chain) {
    kv_known **link = &index->by_chain[bucket(index, chain)];
    while (*link && !kv_hash_equal(&(*link)->chain, chain)) link = &(*link)->next_chain;
    return link;
}

const kv_known *kv_index_find(const kv_index *index, const kv_hash *chain) {
    return index->n_buckets ? *link_to(index, chain) : NULL;
}

void kv_index_remove(kv_index *index, const kv_hash *chain) {
    kv_known *known = index->n_buckets ? *link_to(index, chain) : NULL;
    if (!known) return;
    *link_to(index, chain) = known->next_chain;
    kv_known **link = &index->by_parent[bucket(index, &known->parent)];
    while (*link != known) link = &(*link)->next_parent;
    *link = known->next_parent;
    free(known);
    index->n_known--;
}

const kv_known *kv_index_child(
        const kv_index *index, const kv_hash *parent, const kv_known *previous) {
    if (!index->n_buckets) return NULL;
    const kv_known *known =
            previous ? previous->next_parent : index->by_parent[bucket(index, parent)];
    while (known && !kv_hash_equal(&known->parent, parent)) known = known->next_parent;
    return known;
}

void kv_index_free(kv_index *index) {
    for (int64_t i = 0; i < index->n_buckets; i++)
        while (index->by_chain[i]) {
            kv_known *known = index->by_chain[i];
            index->by_chain[i] = known->next_chain;
            free(known);
        }
    free(index->by_chain);
    free(index->by_parent);
    *index = (kv_index){0};
}
