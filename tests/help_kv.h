/* What the kvstore tests share: a tiny store, tokens that can be told apart, checks. */
#ifndef HELP_KV_H
#define HELP_KV_H

#include <stdio.h>
#include <stdlib.h>

#include "kvstore/kvstore.h"

#define CHECK(condition)                                                                      \
    do {                                                                                      \
        if (!(condition)) {                                                                   \
            (void)fprintf(stderr, "%s:%d: not so: %s (last error: %s)\n", __FILE__, __LINE__, \
                    #condition, rt_error_text());                                             \
            exit(1);                                                                          \
        }                                                                                     \
    } while (0)

/* Pages of 4 tokens, 16 bytes a token: boundaries come often. */
enum { KVH_PAGE_TOKENS = 4, KVH_TOKEN_BYTES = 16, KVH_PAGE_BYTES = 64 };

/* A store of n_pages pages. */
kv_config kvh_config(int32_t n_layers, int64_t n_pages);
kv_store *kvh_open(int32_t n_layers, int64_t n_pages);
kv_seq *kvh_seq(kv_store *store, int64_t max_tokens);

/* Write the open span's tokens [first, first + n) in every layer: token `pos` holds
 * (value + pos, layer). Read one back; both halves of the token are compared. */
void kvh_write(kv_seq *seq, int32_t n_layers, int64_t first, int64_t n_tokens, uint64_t value);
uint64_t kvh_read(kv_seq *seq, int32_t layer, int64_t pos);
bool kvh_holds(kv_seq *seq, int32_t n_layers, int64_t first, int64_t n_tokens, uint64_t value);

/* begin, write, commit. */
void kvh_append(kv_seq *seq, int32_t n_layers, int64_t n_tokens, uint64_t value);

/* A generator with nothing to it (splitmix64): the same numbers everywhere. */
uint64_t kvh_random(uint64_t *state);

#endif
