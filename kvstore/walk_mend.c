/* What a walk finds damaged is read from a copy: another file of the same heads, this rank's in another
 * directory or another rank's, made this vault's own (vault_import.c). Nothing of the sequence changes but
 * the file that its extents are in, and the walk gives the window that failed once more. */
#include <inttypes.h>
#include <stdio.h>

#include "segment.h"
#include "store_impl.h"
#include "vault_inside.h"

/* The segment from elsewhere. On failure *out is NULL, and the text says why. */
static rt_status open_copy(kv_vault *vault, kv_segment *bad, const char *why, kv_segment **out) {
    const kv_hash chain = kv_segment_header_of(bad)->chain;
    bool is_there = false;
    RT_TRY(kv_vault_has_copy(vault, &chain, &is_there));
    if (is_there) kv_segment_quarantine(bad, why); /* one that cannot be read still has its name */
    const kv_known *known = kv_segment_has_its_name(bad) ? NULL : kv_vault_know(vault, &chain);
    if (known && kv_vault_open_segment(vault, known, out) == RT_OK) { /* this rank's own */
        (void)snprintf(vault->imported_from, sizeof vault->imported_from, "%s", (*out)->path);
        return RT_OK;
    }
    if (is_there) RT_TRY(kv_vault_import(vault, &chain, &is_there));
    known = is_there ? kv_vault_know(vault, &chain) : NULL;
    return known ? kv_vault_open_segment(vault, known, out)
                 : rt_fail(RT_ECORRUPT, "kvstore: there is no copy");
}

/* Every layer of the extent that is in the one segment is in the other from here on. */
static void move_extent(kv_walk *walk, kv_seq *seq, int64_t extent, kv_shared_segment *from,
        kv_shared_segment *to) {
    for (int32_t layer = 0; layer < walk->store->config.n_layers; layer++) {
        kv_stored *stored = *kv_stored_slot(seq, layer, extent);
        if (stored && stored->segment == from) kv_stored_replace(&walk->store->staging, stored, to);
    }
}

static rt_status mend(kv_walk *walk, const kv_load *load, const char *why) {
    kv_store *store = walk->store;
    kv_shared_segment *bad = load->stored->segment;
    kv_shared_segment *good = NULL;
    kv_segment *segment = NULL;
    RT_TRY(open_copy(store->vault, bad->segment, why, &segment));
    if (kv_segment_header_of(segment)->n_tokens != load->stored->n_tokens) {
        kv_segment_close(segment);
        return rt_fail(RT_ECORRUPT, "kvstore: the copy holds other tokens");
    }
    RT_TRY(kv_shared_segment_create(segment, &good));
    bad->refs++; /* until all have left it */
    for (int32_t i = 0; i < walk->n_seqs; i++)
        if (load->extent < walk->seqs[i]->n_extents)
            move_extent(walk, walk->seqs[i], load->extent, bad, good);
    kv_shared_segment_drop(&store->staging, bad);
    kv_shared_segment_drop(&store->staging, good);
    return RT_OK;
}

/* The window that failed comes again, and reading begins anew with it: staging that is read ahead would be
 * missing for what comes first. */
static void start_again(kv_walk *walk) {
    kv_staging *staging = &walk->store->staging;
    if (!walk->is_left) walk->step--; /* its loads failed; else it was not entered yet */
    walk->is_left = true;
    kv_staging_forget_reads(staging);
    kv_staging_forget_early(staging);
    walk->next_read = walk->steps[walk->step].first_load;
    for (int64_t i = walk->next_read; i < walk->n_loads; i++) walk->loads[i].slot = NULL;
    walk->next_extent = 0;
    kv_staging_poll(staging);
}

static const kv_step *failed_step(const kv_walk *walk) {
    return &walk->steps[walk->is_left ? walk->step : walk->step - 1];
}

rt_status kv_walk_mend(kv_walk *walk, rt_status failure, char text[KV_MEND_TEXT]) {
    char why[KV_WHY_BYTES];
    bool is_mended = false;
    (void)snprintf(why, sizeof why, "%s", rt_error_text());
    rt_assert(walk->is_open);
    const bool is_lost = failure == RT_ECORRUPT || failure == RT_EIO;
    if (!is_lost || !walk->store->vault) return rt_fail(failure, "%s", why);
    const kv_step *step = failed_step(walk);
    for (int64_t i = step->first_load; i < step->first_load + step->n_loads; i++) {
        const kv_load *load = &walk->loads[i];
        if (!load->stored->is_lost) continue;
        is_mended = load->stored->segment && mend(walk, load, why) == RT_OK;
        if (!is_mended) break;
    }
    if (!is_mended) return rt_fail(failure, "%s", why);
    (void)snprintf(text, KV_MEND_TEXT, "%s%s; read from %.1000s instead", why,
            failure == RT_EIO ? "; put aside as .bad" : "", walk->store->vault->imported_from);
    start_again(walk);
    return RT_OK;
}
