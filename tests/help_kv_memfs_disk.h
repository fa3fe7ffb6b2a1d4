/* The files of a file system in memory, and what has happened to them, between help_kv_memfs.c and
 * help_kv_memfs_crash.c. */
#ifndef HELP_KV_MEMFS_DISK_H
#define HELP_KV_MEMFS_DISK_H

#include "help_kv_memfs.h"

enum { MEMFS_NAME_MAX_BYTES = 160, MEMFS_FILES_MAX = 256, MEMFS_SECTOR = 512, MEMFS_ROOT = 0 };

typedef struct memfs_name {
    char text[MEMFS_NAME_MAX_BYTES];
} memfs_name;

typedef struct memfs_entry {
    memfs_name name;
    int inode;
} memfs_entry;

typedef struct memfs_inode {
    bool is_dir;
    int64_t n_bytes, room;
    uint8_t *bytes;
    memfs_entry *entries; /* of a directory */
    int n_entries, entries_room;
    int n_links;
    int64_t changed_s;
} memfs_inode;

typedef enum memfs_effect_kind {
    MEMFS_MADE,
    MEMFS_RENAMED,
    MEMFS_REMOVED,
    MEMFS_WRITTEN,
    MEMFS_RESIZED,
    MEMFS_SYNCED,
    MEMFS_DIR_SYNCED
} memfs_effect_kind;

typedef struct memfs_effect {
    memfs_effect_kind kind;
    int inode; /* made, renamed, written, resized, synced */
    int dir, to_dir;
    memfs_name name, to_name;
    int64_t offset, n_bytes;
    uint8_t *bytes; /* written */
} memfs_effect;

typedef struct memfs_open {
    bool is_open;
    int inode;
    kv_io_lock lock;
} memfs_open;

struct kvh_memfs {
    memfs_inode *inodes;
    int n_inodes, inodes_room;
    memfs_effect *effects;
    int64_t n_effects, effects_room;
    bool is_lying;
    memfs_open files[MEMFS_FILES_MAX];
    int n_answers;
    kv_io_answer answers[KV_IO_DEPTH_MAX];
    int64_t n_calls, fail_at;
    int fail_error;
    bool fails_for_ever;
    int64_t n_bytes_max;        /* 0: no limit */
    int64_t n_written, thin_at; /* thin_at 0: it keeps everything */
    bool cannot_reserve, is_read_only;
};

/* Its number. It has no name yet. */
int memfs_new_inode(kvh_memfs *fs, bool is_dir);
void memfs_write_bytes(memfs_inode *node, int64_t offset, const uint8_t *bytes, int64_t n);
/* NULL: there is none of that name. */
memfs_entry *memfs_entry_of(const memfs_inode *dir, const char *text);

/* The directory of a path's last component, and that component. -errno. */
int memfs_parent_of(const kvh_memfs *fs, const char *path, memfs_name *last);
/* -errno. */
int memfs_inode_at(const kvh_memfs *fs, const char *path);

/* To files and names. */
void memfs_apply(kvh_memfs *fs, const memfs_effect *e);
/* The same, and it is remembered. */
void memfs_happen(kvh_memfs *fs, memfs_effect e);
/* A write of which one sector is not kept. */
void memfs_happen_but_for(kvh_memfs *fs, const memfs_effect *e, int64_t lost);

#endif
