/* An engine before a file system in memory that counts what a slow disk is waited for. */
#ifndef HELP_KV_COUNTS_H
#define HELP_KV_COUNTS_H

#include "help_kv_memfs.h"

typedef struct kvh_counts {
    int64_t n_syncs, n_dir_syncs, n_writes, bytes_read;
    int64_t n_opens, n_looks, n_lists; /* files opened, paths looked at, folders listed */
    int64_t n_waits; /* for syncs, one after another: one for KV_IO_SYNCS_AT_ONCE side by side */
    int64_t n_after; /* syncs since a file was given a name that ends as said below */
} kvh_counts;

/* I/O over it, and counting from 0. One at a time. */
kv_io *kvh_counting_io(kvh_memfs *fs);
void kvh_begin_counting(const char *suffix);
kvh_counts kvh_counted(void);

#endif
