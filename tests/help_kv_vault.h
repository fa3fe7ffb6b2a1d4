/* What the vault's tests share: a small vault, ids, segments whose every value is known. */
#ifndef HELP_KV_VAULT_H
#define HELP_KV_VAULT_H

#include "help_kv.h"
#include "kvstore/books.h"
#include "kvstore/vault.h"

/* 2 layers of 2 KV heads, 8 values each: a full segment stays below 1 MiB, a short one below 64 KiB. */
enum { KVH_LAYERS = 2, KVH_HEADS = 2, KVH_HEAD_DIM = 8 };

typedef struct kvh_vault {
    kv_io *io;
    kv_vault *vault;
    kv_codec *codec;
    char dirs[4][300];
    int32_t n_dirs;
    int64_t bytes_max;
    bool is_on_top;    /* bytes_max is: of what is there */
    const char *model; /* the fingerprint's text */
    kv_segment_shape shape;
    kv_heads heads; /* all 0: all that there are */
} kvh_vault;

/* A new directory for each; model "kv=bf16\n", no limit. kvh_vault_open as often as one likes. */
kvh_vault kvh_vault_new(int32_t n_dirs);
/* The same with the one directory /kv, of a file system in memory. */
kvh_vault kvh_vault_in_memory(void);
/* Over I/O of the caller's, which kvh_vault_close closes; NULL: the pread engine. */
void kvh_vault_open(kvh_vault *v, kv_io *io);
/* The same where it may fail; kvh_vault_close all the same. */
rt_status kvh_vault_try_open(kvh_vault *v, kv_io *io);
void kvh_vault_close(kvh_vault *v);
/* Close it and remove its directories. */
void kvh_vault_remove(kvh_vault *v);

/* n ids that are the same for the same seed; different seeds differ at the first id. */
int32_t *kvh_ids(uint64_t seed, int64_t n);

/* Place every layer that is not there yet, and write it: values are a function of the address. */
rt_status kvh_fill_segment(kvh_vault *v, kv_writer *writer, int32_t n_layers);
/* begin, fill, finish. The status of the first that fails; `chain` (may be NULL) is the segment's. */
rt_status kvh_write_segment(kvh_vault *v, const kv_hash *parent, int64_t first_pos,
        const int32_t *ids, int32_t n_tokens, kv_hash *chain);
/* The same of kvh_ids(seed, n_tokens), with nothing before them. */
rt_status kvh_write_first(kvh_vault *v, uint64_t seed, int32_t n_tokens, kv_hash *chain);
/* All segments of some ids; returns how many. chains: room for them, or NULL. */
int32_t kvh_write_prefix(kvh_vault *v, const int32_t *ids, int64_t n_tokens, kv_hash *chains);

/* Read and decode every run, and compare. RT_ECORRUPT or RT_EIO: it says so itself; wrong bytes
 * stop the test. */
rt_status kvh_read_segment(kvh_vault *v, const kv_segment *segment);
/* Find, check ids and all runs of what is found; returns its tokens. `reason`: KV_REASON_BYTES, or NULL. */
int64_t kvh_find(kvh_vault *v, const int32_t *ids, int64_t n_ids, char *reason);

/* Physical bytes below a directory, as du counts. */
int64_t kvh_du(const char *path);
/* The only file below a directory whose name ends so; "" if none. Not for threads. */
const char *kvh_only_file(const char *path, const char *suffix);
int64_t kvh_count_files(const char *path, const char *suffix);
/* Zeros in the second half of a segment, but for its footer: there are the runs of the last layers. */
void kvh_spoil_last_layers(const char *path);
/* One bit of the byte at a place of a file. */
void kvh_flip(const char *path, int64_t at);

#endif
