/* A file system in memory behind the store's I/O table. It remembers every effect, so that the disk a
 * crash would have left can be made from any moment; and any call can be made to fail. */
#ifndef HELP_KV_MEMFS_H
#define HELP_KV_MEMFS_H

#include "kvstore/io_files.h"

typedef struct kvh_memfs kvh_memfs;

/* An empty root. Paths start with '/'. */
kvh_memfs *kvh_memfs_new(void);
void kvh_memfs_free(kvh_memfs *fs);
/* An engine over it, and I/O over that, any number of times; the file system stays the caller's. */
kv_io_engine kvh_memfs_engine(kvh_memfs *fs);
kv_io *kvh_memfs_io(kvh_memfs *fs);
/* The same but for the functions that `instead` has: they are given the engine's `self`, and `inner` to go on to. One at a
 * time. */
kv_io *kvh_memfs_io_instead(kvh_memfs *fs, const kv_io_table *instead, kv_io_engine *inner);

/* Effects so far: files and directories made, renamed, removed, written, resized, synced. */
int64_t kvh_memfs_n_effects(const kvh_memfs *fs);

/* What may become of effects that no sync has covered. */
typedef enum kvh_crash {
    KVH_CRASH_ALL,    /* all are on the disk */
    KVH_CRASH_NONE,   /* none is */
    KVH_CRASH_RANDOM, /* any subset, writes torn between sectors of 512 bytes */
    KVH_CRASH_HOLES,  /* all are, but a sector of every third write */
} kvh_crash;
/* The disk after the first n_effects and a crash. What a sync before has covered is there: data by
 * a sync of the file, names by a sync of their directory. */
kvh_memfs *kvh_memfs_crash(const kvh_memfs *fs, int64_t n_effects, kvh_crash crash, uint64_t *seed);
/* A disk that says yes to syncs and does nothing: for tests of the tests. */
void kvh_memfs_lie(kvh_memfs *fs);

/* No more than so many bytes for all files together: then writes and reservations find it full, these once they have
 * taken what there was. */
void kvh_memfs_limit(kvh_memfs *fs, int64_t n_bytes);
/* A volume that was promised more room than there is behind it: of what is written after the first n_bytes of all
 * writes, a sector is not kept, though the answer is yes, as of one that is lost before it is extended. */
void kvh_memfs_thin(kvh_memfs *fs, int64_t n_bytes);
/* From now on, all that would change it is refused. */
void kvh_memfs_read_only(kvh_memfs *fs);
/* A file system that has no fallocate. */
void kvh_memfs_cannot_reserve(kvh_memfs *fs);

/* Calls so far, reads and writes included; and make number `at` (or all from there on) fail so. */
int64_t kvh_memfs_n_calls(const kvh_memfs *fs);
void kvh_memfs_fail(kvh_memfs *fs, int64_t at, int error, bool for_ever);

/* Files that are reachable and whose name ends so; physical bytes of all. */
int64_t kvh_memfs_count(const kvh_memfs *fs, const char *suffix);
int64_t kvh_memfs_bytes(const kvh_memfs *fs);

#endif
