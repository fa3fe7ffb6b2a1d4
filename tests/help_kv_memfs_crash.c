/* The disk that a crash would have left. */
#include <stdlib.h>

#include "help_kv.h"
#include "help_kv_memfs_disk.h"

/* Which of the first n effects a sync among them covers. */
static bool *covered(const kvh_memfs *fs, int64_t n) {
    bool *is_covered = calloc((size_t)n + 1, 1);
    bool *is_synced = calloc((size_t)fs->n_inodes, 1);
    CHECK(is_covered && is_synced);
    for (int64_t i = n - 1; i >= 0; i--) {
        const memfs_effect *e = &fs->effects[i];
        if (e->kind == MEMFS_SYNCED) is_synced[e->inode] = true;
        if (e->kind == MEMFS_DIR_SYNCED) is_synced[e->dir] = true;
        if (e->kind == MEMFS_WRITTEN || e->kind == MEMFS_RESIZED)
            is_covered[i] = is_synced[e->inode];
        if (e->kind == MEMFS_MADE || e->kind == MEMFS_REMOVED) is_covered[i] = is_synced[e->dir];
        if (e->kind == MEMFS_RENAMED) is_covered[i] = is_synced[e->to_dir];
    }
    free(is_synced);
    return is_covered;
}

/* Some sectors of a write. */
static void tear(kvh_memfs *fs, const memfs_effect *e, uint64_t *seed) {
    for (int64_t at = 0; at < e->n_bytes; at += MEMFS_SECTOR)
        if (random_next(seed) >> 63)
            memfs_write_bytes(&fs->inodes[e->inode], e->offset + at, e->bytes + at, MEMFS_SECTOR);
}

/* All of them but one. */
static void leave_hole(kvh_memfs *fs, const memfs_effect *e, uint64_t *seed) {
    const int64_t hole =
            (int64_t)(random_next(seed) % (uint64_t)(e->n_bytes / MEMFS_SECTOR)) * MEMFS_SECTOR;
    memfs_inode *node = &fs->inodes[e->inode];
    memfs_write_bytes(node, e->offset, e->bytes, hole);
    const int64_t rest = hole + MEMFS_SECTOR;
    memfs_write_bytes(node, e->offset + rest, e->bytes + rest, e->n_bytes - rest);
}

/* An effect that no sync covers: on the disk, not, or in part. */
static void maybe_apply(kvh_memfs *fs, const memfs_effect *e, bool is_late, uint64_t *seed) {
    const uint64_t r = random_next(seed);
    if (e->kind == MEMFS_WRITTEN && r % 3 == 0)
        tear(fs, e, seed);
    else if (!is_late && (r >> 8) % 2)
        memfs_apply(fs, e);
}

kvh_memfs *kvh_memfs_crash(
        const kvh_memfs *fs, int64_t n_effects, kvh_crash crash, uint64_t *seed) {
    kvh_memfs *disk = kvh_memfs_new();
    bool *is_covered = covered(fs, n_effects);
    for (int i = 1; i < fs->n_inodes; i++) (void)memfs_new_inode(disk, fs->inodes[i].is_dir);
    /* Half of the random disks keep the order of names: those after some moment are lost. */
    const int64_t cut = random_next(seed) % 2
                                ? n_effects
                                : (int64_t)(random_next(seed) % (uint64_t)(n_effects + 1));
    for (int64_t i = 0; i < n_effects; i++) {
        const memfs_effect *e = &fs->effects[i];
        if (is_covered[i] || crash == KVH_CRASH_ALL)
            memfs_apply(disk, e);
        else if (crash == KVH_CRASH_RANDOM)
            maybe_apply(disk, e, i >= cut, seed);
        else if (crash == KVH_CRASH_HOLES && e->kind == MEMFS_WRITTEN && random_next(seed) % 3 == 0)
            leave_hole(disk, e, seed);
        else if (crash == KVH_CRASH_HOLES)
            memfs_apply(disk, e);
    }
    free(is_covered);
    return disk;
}
