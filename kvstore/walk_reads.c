/* Reading ahead: the extents of a walk in its order, then those of the walk that follows it. */
#include "store_impl.h"

static void read_this(kv_walk *walk) {
    for (; walk->next_read < walk->n_loads; walk->next_read++) {
        kv_load *load = &walk->loads[walk->next_read];
        if (kv_stored_is_lasting(load->stored, load->slot)) continue;
        if (!load->slot)
            load->slot = kv_staging_read(&walk->store->staging, load->stored, KV_IO_AHEAD);
        if (!load->slot) return;
    }
}

/* What the first sequence does not hold in memory: in most walks that is all there is to read. */
static void read_next(kv_walk *walk) {
    const kv_seq *seq = walk->seqs[0];
    if (walk->next_layer < 0 || !seq->stored) return;
    for (; walk->next_extent < seq->n_extents; walk->next_extent++) {
        const int64_t page = walk->next_extent * kv_pages_of_extent(walk->store);
        kv_stored *stored = *kv_stored_slot(seq, walk->next_layer, walk->next_extent);
        if (!stored || stored->rows || *kv_page_slot(seq, walk->next_layer, page)) continue;
        if (!kv_staging_read_early(&walk->store->staging, stored)) return;
    }
}

void kv_walk_read_ahead(kv_walk *walk) {
    if (!walk->store->has_overflow) return;
    read_this(walk);
    if (walk->next_read == walk->n_loads) read_next(walk);
    if (walk->n_loads > 0 || walk->next_layer >= 0) kv_staging_poll(&walk->store->staging);
}

/* Only the first loads without a gap: one further on would hold what an earlier one waits for; and no
 * more than leaves to writes what this walk may need. */
static void take_over(kv_walk *walk) {
    kv_staging *staging = &walk->store->staging;
    const int64_t end = rt_min64(walk->n_loads, kv_staging_readable(staging));
    for (; walk->next_read < end; walk->next_read++) {
        kv_load *load = &walk->loads[walk->next_read];
        load->slot = kv_staging_take_early(staging, load->stored);
        if (!load->slot && !load->stored->rows) break;
    }
    kv_staging_forget_early(staging);
}

void kv_walk_begin_reads(kv_walk *walk) {
    if (!walk->store->has_overflow) return;
    kv_staging_spare(&walk->store->staging, walk->may_store);
    take_over(walk);
    kv_walk_read_ahead(walk);
}

void kv_walk_then(kv_walk *walk, int32_t layer) {
    rt_assert(walk->is_open && layer >= 0 && layer < walk->store->config.n_layers);
    walk->next_layer = layer;
    kv_walk_read_ahead(walk);
}
