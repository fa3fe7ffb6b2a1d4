/* What the kvstore tests share: a tiny store, tokens that can be told apart, checks. */
#ifndef HELP_KV_H
#define HELP_KV_H

#include <stdio.h>
#include <stdlib.h>

#include "help_check.h"
#include "help_random.h"
#include "kvstore/kvstore.h"
#include "runtime/base/size.h"

/* Pages of 4 tokens, 16 bytes a token: boundaries come often. */
enum { KVH_PAGE_TOKENS = 4, KVH_TOKEN_BYTES = 16, KVH_PAGE_BYTES = 64 };

/* A store of n_pages pages. */
kv_config kvh_config(int32_t n_layers, int64_t n_pages);
kv_store *kvh_open(int32_t n_layers, int64_t n_pages);
kv_seq *kvh_seq(kv_store *store, int64_t max_tokens);

/* The canonical rows of a token: K, then V. */
enum { KVH_ROW_BYTES = 8 };

/* A store whose sequences overflow to a directory under /tmp that is gone with the process: extents
 * of 8 tokens, a window of 2, budget for n_pages besides what an overflow needs. */
kv_config kvh_overflow_config(int32_t n_layers, int64_t n_pages, int64_t n_cells);
const char *kvh_directory(void);

/* Write the open span's tokens [first, first + n) in every layer: token `pos` holds
 * (value + pos, layer). */
void kvh_write(kv_store *store, kv_seq *seq, int32_t n_layers, int64_t first, int64_t n_tokens,
        uint64_t value);
/* The first halves of all committed tokens in one layer; both halves are compared. */
void kvh_read_all(kv_store *store, kv_seq *seq, int32_t layer, uint64_t *values);
/* The same where the disk may fail. */
rt_status kvh_try_write(kv_store *store, kv_seq *seq, int32_t layer, int64_t first,
        int64_t n_tokens, uint64_t value);
rt_status kvh_try_read(kv_store *store, kv_seq *seq, int32_t layer, uint64_t *values);
/* Several in one walk: n_tokens[i] after those that seqs[i] has. */
rt_status kvh_try_write_together(kv_store *store, kv_seq *const *seqs, int32_t n_seqs,
        int32_t layer, const int64_t *n_tokens, uint64_t value);
/* KV_WALK_SAVE of one layer: its tail into the book being made. */
rt_status kvh_try_save(kv_store *store, kv_seq *seq, int32_t layer);
/* A walk to the end of what a layer holds, KV_WALK_LAST, and at_end(context), if that is not NULL, in its window. */
typedef rt_status kvh_visit(void *context);
rt_status kvh_try_walk_end(
        kv_store *store, kv_seq *seq, int32_t layer, kvh_visit *at_end, void *context);
/* Packing and unpacking, as attention does it. */
void kvh_rows_to_pages(const kv_rows *rows);
void kvh_pages_to_rows(const kv_rows *rows);
/* Several in one walk; what was seen before a failure is in values[i]. None may be empty. */
rt_status kvh_try_read_together(
        kv_store *store, kv_seq *const *seqs, int32_t n_seqs, int32_t layer, uint64_t **values);
/* Where the page of a position is in memory while its layer is walked. */
const void *kvh_page(kv_store *store, kv_seq *seq, int32_t layer, int64_t pos);
bool kvh_holds(kv_store *store, kv_seq *seq, int32_t n_layers, int64_t first, int64_t n_tokens,
        uint64_t value);

/* begin, write, commit. */
void kvh_append(kv_store *store, kv_seq *seq, int32_t n_layers, int64_t n_tokens, uint64_t value);

/* run() for seeds 1 to n, each named first; or for the program's argument alone. */
void kvh_run_seeds(int argc, char **argv, uint64_t n, void (*run)(uint64_t seed));

#endif
