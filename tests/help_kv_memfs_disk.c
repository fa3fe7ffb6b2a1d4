#include "help_kv_memfs_disk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "help_kv.h"
#include "runtime/base/size.h"

/* ---- inodes ---------------------------------------------------------------------------------- */

int memfs_new_inode(kvh_memfs *fs, bool is_dir) {
    if (fs->n_inodes == fs->inodes_room) {
        fs->inodes_room = 2 * fs->inodes_room + 16;
        fs->inodes = realloc(fs->inodes, (size_t)fs->inodes_room * sizeof *fs->inodes);
        CHECK(fs->inodes);
    }
    fs->inodes[fs->n_inodes] = (memfs_inode){.is_dir = is_dir, .changed_s = time(NULL)};
    return fs->n_inodes++;
}

static void resize(memfs_inode *node, int64_t n_bytes) {
    if (n_bytes > node->room) {
        node->room = rt_max64(n_bytes, 2 * node->room);
        node->bytes = realloc(node->bytes, (size_t)node->room);
        CHECK(node->bytes);
    }
    if (n_bytes > node->n_bytes)
        memset(node->bytes + node->n_bytes, 0, (size_t)(n_bytes - node->n_bytes));
    node->n_bytes = n_bytes;
}

void memfs_write_bytes(memfs_inode *node, int64_t offset, const uint8_t *bytes, int64_t n) {
    if (n == 0) return;
    if (offset + n > node->n_bytes) resize(node, offset + n);
    memcpy(node->bytes + offset, bytes, (size_t)n);
}

memfs_entry *memfs_entry_of(const memfs_inode *dir, const char *text) {
    for (int i = 0; i < dir->n_entries; i++)
        if (strcmp(dir->entries[i].name.text, text) == 0) return &dir->entries[i];
    return NULL;
}

static void remove_entry(kvh_memfs *fs, int dir, const char *text) {
    memfs_inode *node = &fs->inodes[dir];
    memfs_entry *e = memfs_entry_of(node, text);
    if (!e) return;
    fs->inodes[e->inode].n_links--;
    *e = node->entries[--node->n_entries];
}

static void set_entry(kvh_memfs *fs, int dir, const memfs_name *text, int number) {
    remove_entry(fs, dir, text->text);
    memfs_inode *node = &fs->inodes[dir];
    if (node->n_entries == node->entries_room) {
        node->entries_room = 2 * node->entries_room + 8;
        node->entries = realloc(node->entries, (size_t)node->entries_room * sizeof *node->entries);
        CHECK(node->entries);
    }
    node->entries[node->n_entries++] = (memfs_entry){.name = *text, .inode = number};
    fs->inodes[number].n_links++;
}

/* ---- effects --------------------------------------------------------------------------------- */

void memfs_apply(kvh_memfs *fs, const memfs_effect *e) {
    switch (e->kind) {
    case MEMFS_MADE:
        set_entry(fs, e->dir, &e->name, e->inode);
        break;
    case MEMFS_RENAMED:
        remove_entry(fs, e->dir, e->name.text);
        set_entry(fs, e->to_dir, &e->to_name, e->inode);
        break;
    case MEMFS_REMOVED:
        remove_entry(fs, e->dir, e->name.text);
        break;
    case MEMFS_WRITTEN:
        memfs_write_bytes(&fs->inodes[e->inode], e->offset, e->bytes, e->n_bytes);
        break;
    case MEMFS_RESIZED:
        resize(&fs->inodes[e->inode], e->n_bytes);
        break;
    case MEMFS_SYNCED:
    case MEMFS_DIR_SYNCED:
        break;
    }
}

void memfs_happen(kvh_memfs *fs, memfs_effect e) {
    memfs_apply(fs, &e);
    if (fs->n_effects == fs->effects_room) {
        fs->effects_room = 2 * fs->effects_room + 64;
        fs->effects = realloc(fs->effects, (size_t)fs->effects_room * sizeof *fs->effects);
        CHECK(fs->effects);
    }
    if (e.kind == MEMFS_WRITTEN) {
        uint8_t *copy = malloc((size_t)e.n_bytes);
        CHECK(copy);
        memcpy(copy, e.bytes, (size_t)e.n_bytes);
        e.bytes = copy;
    }
    fs->effects[fs->n_effects++] = e;
}

void memfs_happen_but_for(kvh_memfs *fs, const memfs_effect *e, int64_t lost) {
    memfs_effect before = *e, after = *e;
    before.n_bytes = lost;
    after.offset += lost + MEMFS_SECTOR;
    after.bytes += lost + MEMFS_SECTOR;
    after.n_bytes -= lost + MEMFS_SECTOR;
    if (before.n_bytes > 0) memfs_happen(fs, before);
    if (after.n_bytes > 0) memfs_happen(fs, after);
}

/* ---- paths ----------------------------------------------------------------------------------- */

int memfs_parent_of(const kvh_memfs *fs, const char *path, memfs_name *last) {
    int dir = MEMFS_ROOT;
    CHECK(*path == '/');
    for (;;) {
        path += strspn(path, "/");
        const size_t n = strcspn(path, "/");
        CHECK(n < MEMFS_NAME_MAX_BYTES);
        memset(last, 0, sizeof *last);
        memcpy(last->text, path, n);
        path += n;
        if (!*path) return dir;
        const memfs_entry *e = memfs_entry_of(&fs->inodes[dir], last->text);
        if (!e) return -ENOENT;
        dir = e->inode;
        if (!fs->inodes[dir].is_dir) return -ENOTDIR;
    }
}

int memfs_inode_at(const kvh_memfs *fs, const char *path) {
    memfs_name last;
    const int dir = memfs_parent_of(fs, path, &last);
    if (dir < 0 || !*last.text) return dir;
    const memfs_entry *e = memfs_entry_of(&fs->inodes[dir], last.text);
    return e ? e->inode : -ENOENT;
}
