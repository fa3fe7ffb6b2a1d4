/* A process of a store that keeps its one sequence on disk, and forks of it, and what it does when a span is stopped in its
 * middle. */
#ifndef HELP_KV_KEPT_H
#define HELP_KV_KEPT_H

#include "help_kv.h"
#include "kvstore/store_impl.h"

typedef struct kvh_kept {
    kv_store *store;
    kv_seq *seq;
    int32_t n_layers;
} kvh_kept;

/* A sequence for max_tokens, all of it in memory, kept below /disk of `io`, which is the process's from here on. */
kvh_kept kvh_kept_begin(kv_io *io, int32_t n_layers, int64_t max_tokens);
/* The same, with a budget on disk; and with memory for so many pages, besides what is on its way to disk and back. */
kvh_kept kvh_kept_begin_within(kv_io *io, int32_t n_layers, int64_t max_tokens, int64_t bytes_max);
kvh_kept kvh_kept_begin_beyond(kv_io *io, int32_t n_layers, int64_t max_tokens, int64_t n_pages);
void kvh_kept_end(kvh_kept *p);

/* A span of the first s->end ids, written as far as `s` says that it was computed. */
void kvh_kept_write(kvh_kept *p, const int32_t *ids, const kv_suspension *s);
/* It is suspended: the rows of layers [0, n_layers) that are in no whole extent, then the rest. */
rt_status kvh_suspend(
        kv_store *store, kv_seq *seq, int32_t n_layers, const int32_t *ids, const kv_suspension *s);

/* That a span of n_ids from the first on was stopped in this layer, KVH_HIDDEN bytes of hidden states beside it; and a process
 * that writes it so far, suspends it and ends. */
enum { KVH_HIDDEN = 5000 };
kv_suspension kvh_stopped_at(int64_t n_ids, int32_t layer, int64_t layer_end);
rt_status kvh_kept_stop(kvh_kept *p, const int32_t *ids, const kv_suspension *s);

#endif
