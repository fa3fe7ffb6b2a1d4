#include "help_kv_memfs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "help_kv.h"
#include "runtime/base/size.h"

enum { NAME_MAX_BYTES = 160, FILES_MAX = 256, DEPTH = KV_IO_DEPTH_MAX, SECTOR = 512, ROOT = 0 };

typedef struct name {
    char text[NAME_MAX_BYTES];
} name;

typedef struct entry {
    name name;
    int inode;
} entry;

typedef struct inode {
    bool is_dir;
    int64_t n_bytes, room;
    uint8_t *bytes;
    entry *entries; /* of a directory */
    int n_entries, entries_room;
    int n_links;
    int64_t changed_s;
} inode;

typedef enum effect_kind {
    MADE,
    RENAMED,
    REMOVED,
    WRITTEN,
    RESIZED,
    SYNCED,
    DIR_SYNCED
} effect_kind;

typedef struct effect {
    effect_kind kind;
    int inode; /* made, renamed, written, resized, synced */
    int dir, to_dir;
    name name, to_name;
    int64_t offset, n_bytes;
    uint8_t *bytes; /* written */
} effect;

typedef struct open_file {
    bool is_open;
    int inode;
    kv_io_lock lock;
} open_file;

struct kvh_memfs {
    inode *inodes;
    int n_inodes, inodes_room;
    effect *effects;
    int64_t n_effects, effects_room;
    bool is_lying;
    open_file files[FILES_MAX];
    int n_answers;
    kv_io_answer answers[DEPTH];
    int64_t n_calls, fail_at;
    int fail_error;
    bool fails_for_ever;
    int64_t n_bytes_max; /* 0: no limit */
    int64_t n_written, thin_at; /* thin_at 0: it keeps everything */
    bool cannot_reserve, is_read_only;
};

/* ---- inodes ---------------------------------------------------------------------------------- */

static int new_inode(kvh_memfs *fs, bool is_dir) {
    if (fs->n_inodes == fs->inodes_room) {
        fs->inodes_room = 2 * fs->inodes_room + 16;
        fs->inodes = realloc(fs->inodes, (size_t)fs->inodes_room * sizeof *fs->inodes);
        CHECK(fs->inodes);
    }
    fs->inodes[fs->n_inodes] = (inode){.is_dir = is_dir, .changed_s = time(NULL)};
    return fs->n_inodes++;
}

static void resize(inode *node, int64_t n_bytes) {
    if (n_bytes > node->room) {
        node->room = rt_max64(n_bytes, 2 * node->room);
        node->bytes = realloc(node->bytes, (size_t)node->room);
        CHECK(node->bytes);
    }
    if (n_bytes > node->n_bytes)
        memset(node->bytes + node->n_bytes, 0, (size_t)(n_bytes - node->n_bytes));
    node->n_bytes = n_bytes;
}

static void write_bytes(inode *node, int64_t offset, const uint8_t *bytes, int64_t n) {
    if (n == 0) return;
    if (offset + n > node->n_bytes) resize(node, offset + n);
    memcpy(node->bytes + offset, bytes, (size_t)n);
}

static entry *entry_of(const inode *dir, const char *text) {
    for (int i = 0; i < dir->n_entries; i++)
        if (strcmp(dir->entries[i].name.text, text) == 0) return &dir->entries[i];
    return NULL;
}

static void remove_entry(kvh_memfs *fs, int dir, const char *text) {
    inode *node = &fs->inodes[dir];
    entry *e = entry_of(node, text);
    if (!e) return;
    fs->inodes[e->inode].n_links--;
    *e = node->entries[--node->n_entries];
}

static void set_entry(kvh_memfs *fs, int dir, const name *text, int number) {
    remove_entry(fs, dir, text->text);
    inode *node = &fs->inodes[dir];
    if (node->n_entries == node->entries_room) {
        node->entries_room = 2 * node->entries_room + 8;
        node->entries = realloc(node->entries, (size_t)node->entries_room * sizeof *node->entries);
        CHECK(node->entries);
    }
    node->entries[node->n_entries++] = (entry){.name = *text, .inode = number};
    fs->inodes[number].n_links++;
}

/* ---- effects --------------------------------------------------------------------------------- */

static void apply(kvh_memfs *fs, const effect *e) {
    switch (e->kind) {
    case MADE:
        set_entry(fs, e->dir, &e->name, e->inode);
        break;
    case RENAMED:
        remove_entry(fs, e->dir, e->name.text);
        set_entry(fs, e->to_dir, &e->to_name, e->inode);
        break;
    case REMOVED:
        remove_entry(fs, e->dir, e->name.text);
        break;
    case WRITTEN:
        write_bytes(&fs->inodes[e->inode], e->offset, e->bytes, e->n_bytes);
        break;
    case RESIZED:
        resize(&fs->inodes[e->inode], e->n_bytes);
        break;
    case SYNCED:
    case DIR_SYNCED:
        break;
    }
}

static void happen(kvh_memfs *fs, effect e) {
    apply(fs, &e);
    if (fs->n_effects == fs->effects_room) {
        fs->effects_room = 2 * fs->effects_room + 64;
        fs->effects = realloc(fs->effects, (size_t)fs->effects_room * sizeof *fs->effects);
        CHECK(fs->effects);
    }
    if (e.kind == WRITTEN) {
        uint8_t *copy = malloc((size_t)e.n_bytes);
        CHECK(copy);
        memcpy(copy, e.bytes, (size_t)e.n_bytes);
        e.bytes = copy;
    }
    fs->effects[fs->n_effects++] = e;
}

/* A write of which one sector is not kept. */
static void happen_but_for(kvh_memfs *fs, const effect *e, int64_t lost) {
    effect before = *e, after = *e;
    before.n_bytes = lost;
    after.offset += lost + SECTOR;
    after.bytes += lost + SECTOR;
    after.n_bytes -= lost + SECTOR;
    if (before.n_bytes > 0) happen(fs, before);
    if (after.n_bytes > 0) happen(fs, after);
}

/* ---- paths ----------------------------------------------------------------------------------- */

/* The directory of a path's last component, and that component. -errno. */
static int parent_of(const kvh_memfs *fs, const char *path, name *last) {
    int dir = ROOT;
    CHECK(*path == '/');
    for (;;) {
        path += strspn(path, "/");
        const size_t n = strcspn(path, "/");
        CHECK(n < NAME_MAX_BYTES);
        memset(last, 0, sizeof *last);
        memcpy(last->text, path, n);
        path += n;
        if (!*path) return dir;
        const entry *e = entry_of(&fs->inodes[dir], last->text);
        if (!e) return -ENOENT;
        dir = e->inode;
        if (!fs->inodes[dir].is_dir) return -ENOTDIR;
    }
}

static int inode_at(const kvh_memfs *fs, const char *path) {
    name last;
    const int dir = parent_of(fs, path, &last);
    if (dir < 0 || !*last.text) return dir;
    const entry *e = entry_of(&fs->inodes[dir], last.text);
    return e ? e->inode : -ENOENT;
}

/* ---- the table ------------------------------------------------------------------------------- */

static int trouble(kvh_memfs *fs) {
    const int64_t call = fs->n_calls++;
    const bool fails =
            fs->fail_error && (call == fs->fail_at || (fs->fails_for_ever && call > fs->fail_at));
    return fails ? -fs->fail_error : 0;
}

#define TROUBLE(fs)                        \
    do {                                   \
        const int trouble_ = trouble(fs);  \
        if (trouble_ < 0) return trouble_; \
    } while (0)

static int mem_open(void *self, const char *path, int flags) {
    kvh_memfs *fs = self;
    name last;
    TROUBLE(fs);
    const int dir = parent_of(fs, path, &last);
    if (dir < 0) return dir;
    if (fs->is_read_only && (flags & (O_RDWR | O_WRONLY | O_CREAT))) return -EROFS;
    const entry *e = entry_of(&fs->inodes[dir], last.text);
    if (!e && !(flags & O_CREAT)) return -ENOENT;
    if (e && (flags & O_EXCL)) return -EEXIST;
    int number = e ? e->inode : -1;
    if (e && fs->inodes[number].is_dir) return -EISDIR;
    if (!e) {
        number = new_inode(fs, false);
        happen(fs, (effect){.kind = MADE, .dir = dir, .name = last, .inode = number});
    }
    int fd = 0;
    while (fd < FILES_MAX && fs->files[fd].is_open) fd++;
    CHECK(fd < FILES_MAX);
    fs->files[fd] = (open_file){.is_open = true, .inode = number};
    return fd;
}

static int mem_close(void *self, int fd) {
    kvh_memfs *fs = self;
    CHECK(fs->files[fd].is_open);
    fs->files[fd] = (open_file){0};
    return 0;
}

static inode *node_of(kvh_memfs *fs, int fd) {
    CHECK(fd >= 0 && fd < FILES_MAX && fs->files[fd].is_open);
    return &fs->inodes[fs->files[fd].inode];
}

/* Whether a file may become so large. An open file counts even without a name. */
static bool has_room(const kvh_memfs *fs, int number, int64_t n_bytes) {
    int64_t n = rt_round_up(n_bytes, KV_IO_ALIGN);
    for (int i = 0; i < fs->n_inodes; i++) {
        bool is_there = fs->inodes[i].n_links > 0;
        for (int fd = 0; fd < FILES_MAX; fd++)
            is_there = is_there || (fs->files[fd].is_open && fs->files[fd].inode == i);
        if (is_there && i != number) n += rt_round_up(fs->inodes[i].n_bytes, KV_IO_ALIGN);
    }
    return fs->n_bytes_max == 0 || n <= fs->n_bytes_max;
}

static int mem_reserve(void *self, int fd, int64_t n_bytes) {
    kvh_memfs *fs = self;
    TROUBLE(fs);
    if (fs->cannot_reserve) return -EOPNOTSUPP;
    if (!has_room(fs, fs->files[fd].inode, n_bytes)) return -ENOSPC;
    if (n_bytes > node_of(fs, fd)->n_bytes)
        happen(fs, (effect){.kind = RESIZED, .inode = fs->files[fd].inode, .n_bytes = n_bytes});
    return 0;
}

static int mem_truncate(void *self, int fd, int64_t n_bytes) {
    kvh_memfs *fs = self;
    TROUBLE(fs);
    if (fs->is_read_only) return -EROFS;
    (void)node_of(fs, fd);
    happen(fs, (effect){.kind = RESIZED, .inode = fs->files[fd].inode, .n_bytes = n_bytes});
    return 0;
}

static int mem_sync(void *self, int fd) {
    kvh_memfs *fs = self;
    TROUBLE(fs);
    (void)node_of(fs, fd);
    if (!fs->is_lying) happen(fs, (effect){.kind = SYNCED, .inode = fs->files[fd].inode});
    return 0;
}

static int mem_make_buffered(void *self, int fd) {
    (void)self, (void)fd;
    return 0;
}

static int mem_lend(void *self, void *base, int64_t n_bytes) {
    (void)self, (void)base, (void)n_bytes;
    return 0;
}

static int64_t move_bytes(kvh_memfs *fs, const kv_io_request *r) {
    TROUBLE(fs);
    const inode *node = node_of(fs, r->fd);
    if (!r->is_write) {
        const int64_t n = rt_max64(rt_min64(r->n_bytes, node->n_bytes - r->offset), 0);
        memcpy(r->bytes, node->bytes + (n > 0 ? r->offset : 0), (size_t)n);
        return n;
    }
    if (r->offset + r->n_bytes > node->n_bytes &&
            !has_room(fs, fs->files[r->fd].inode, r->offset + r->n_bytes))
        return -ENOSPC;
    const effect e = {.kind = WRITTEN,
            .inode = fs->files[r->fd].inode,
            .offset = r->offset,
            .n_bytes = r->n_bytes,
            .bytes = r->bytes};
    const int64_t lost = fs->thin_at - fs->n_written;
    fs->n_written += r->n_bytes;
    if (fs->thin_at > 0 && lost >= 0 && lost < r->n_bytes)
        happen_but_for(fs, &e, lost / SECTOR * SECTOR);
    else
        happen(fs, e);
    return r->n_bytes;
}

static int mem_submit(void *self, const kv_io_request *requests, int n_requests) {
    kvh_memfs *fs = self;
    int n = 0;
    for (; n < n_requests && fs->n_answers < DEPTH; n++)
        fs->answers[fs->n_answers++] =
                (kv_io_answer){.tag = requests[n].tag, .result = move_bytes(fs, &requests[n])};
    return n ? n : -EAGAIN;
}

static int mem_complete(void *self, kv_io_answer *answers, int n_max, int timeout_ms) {
    kvh_memfs *fs = self;
    (void)timeout_ms;
    const int n = fs->n_answers < n_max ? fs->n_answers : n_max;
    memcpy(answers, fs->answers, (size_t)n * sizeof *answers);
    memmove(fs->answers, fs->answers + n, (size_t)(fs->n_answers - n) * sizeof *answers);
    fs->n_answers -= n;
    return n;
}

static void mem_free(void *self) {
    (void)self;
}

static int mem_lock(void *self, int fd, kv_io_lock lock) {
    kvh_memfs *fs = self;
    TROUBLE(fs);
    (void)node_of(fs, fd);
    for (int i = 0; i < FILES_MAX && lock != KV_IO_UNLOCKED; i++) {
        const open_file *other = &fs->files[i];
        if (i == fd || !other->is_open || other->inode != fs->files[fd].inode) continue;
        if (other->lock == KV_IO_EXCLUSIVE ||
                (other->lock == KV_IO_SHARED && lock == KV_IO_EXCLUSIVE))
            return -EWOULDBLOCK;
    }
    fs->files[fd].lock = lock;
    return 0;
}

static int stat_inode(const kvh_memfs *fs, int number, kv_io_stat *out) {
    const inode *node = &fs->inodes[number];
    *out = (kv_io_stat){.is_file = !node->is_dir,
            .is_dir = node->is_dir,
            .n_bytes = node->n_bytes,
            .physical_bytes = rt_round_up(node->n_bytes, KV_IO_ALIGN),
            .changed_s = node->changed_s,
            .n_links = node->n_links,
            .inode = (uint64_t)number};
    return 0;
}

static int mem_stat_file(void *self, int fd, kv_io_stat *out) {
    kvh_memfs *fs = self;
    TROUBLE(fs);
    (void)node_of(fs, fd);
    return stat_inode(fs, fs->files[fd].inode, out);
}

static int mem_stat(void *self, const char *path, kv_io_stat *out) {
    kvh_memfs *fs = self;
    TROUBLE(fs);
    const int number = inode_at(fs, path);
    return number < 0 ? number : stat_inode(fs, number, out);
}

static int mem_rename(void *self, const char *from, const char *to) {
    kvh_memfs *fs = self;
    TROUBLE(fs);
    if (fs->is_read_only) return -EROFS;
    effect e = {.kind = RENAMED};
    e.dir = parent_of(fs, from, &e.name);
    e.to_dir = parent_of(fs, to, &e.to_name);
    if (e.dir < 0 || e.to_dir < 0) return -ENOENT;
    e.inode = inode_at(fs, from);
    if (e.inode < 0) return e.inode;
    happen(fs, e);
    return 0;
}

static int mem_unlink(void *self, const char *path) {
    kvh_memfs *fs = self;
    TROUBLE(fs);
    if (fs->is_read_only) return -EROFS;
    effect e = {.kind = REMOVED};
    const int number = inode_at(fs, path);
    if (number < 0) return number;
    if (fs->inodes[number].is_dir) return -EISDIR;
    e.dir = parent_of(fs, path, &e.name);
    happen(fs, e);
    return 0;
}

static int mem_touch(void *self, const char *path) {
    kvh_memfs *fs = self;
    TROUBLE(fs);
    if (fs->is_read_only) return -EROFS;
    const int number = inode_at(fs, path);
    if (number >= 0) fs->inodes[number].changed_s = time(NULL);
    return number < 0 ? number : 0;
}

static int mem_make_dir(void *self, const char *path) {
    kvh_memfs *fs = self;
    TROUBLE(fs);
    if (fs->is_read_only) return -EROFS;
    effect e = {.kind = MADE};
    e.dir = parent_of(fs, path, &e.name);
    if (e.dir < 0) return e.dir;
    if (entry_of(&fs->inodes[e.dir], e.name.text)) return -EEXIST;
    e.inode = new_inode(fs, true);
    happen(fs, e);
    return 0;
}

static int mem_sync_dir(void *self, const char *path) {
    kvh_memfs *fs = self;
    TROUBLE(fs);
    const int number = inode_at(fs, path);
    if (number < 0) return number;
    if (!fs->is_lying) happen(fs, (effect){.kind = DIR_SYNCED, .dir = number});
    return 0;
}

static int mem_list_dir(void *self, const char *path, char **names) {
    kvh_memfs *fs = self;
    TROUBLE(fs);
    const int number = inode_at(fs, path);
    if (number < 0) return number;
    const inode *dir = &fs->inodes[number];
    if (!dir->is_dir) return -ENOTDIR;
    char *at = *names = malloc((size_t)dir->n_entries * NAME_MAX_BYTES + 1);
    CHECK(at);
    for (int i = 0; i < dir->n_entries; i++) {
        const size_t n = strlen(dir->entries[i].name.text) + 1;
        memcpy(at, dir->entries[i].name.text, n);
        at += n;
    }
    return dir->n_entries;
}

kv_io_engine kvh_memfs_engine(kvh_memfs *fs) {
    static const kv_io_table table = {.open = mem_open,
            .close = mem_close,
            .reserve = mem_reserve,
            .sync = mem_sync,
            .make_buffered = mem_make_buffered,
            .lend = mem_lend,
            .submit = mem_submit,
            .complete = mem_complete,
            .free = mem_free,
            .truncate = mem_truncate,
            .lock = mem_lock,
            .stat_file = mem_stat_file,
            .stat = mem_stat,
            .rename = mem_rename,
            .unlink = mem_unlink,
            .touch = mem_touch,
            .make_dir = mem_make_dir,
            .sync_dir = mem_sync_dir,
            .list_dir = mem_list_dir};
    return (kv_io_engine){.table = &table, .self = fs};
}

kv_io *kvh_memfs_io(kvh_memfs *fs) {
    kv_io *io;
    CHECK(kv_io_create_on(kvh_memfs_engine(fs), &(kv_io_config){0}, &io) == RT_OK);
    return io;
}

/* ---- crashes --------------------------------------------------------------------------------- */

/* Which of the first n effects a sync among them covers. */
static bool *covered(const kvh_memfs *fs, int64_t n) {
    bool *is_covered = calloc((size_t)n + 1, 1);
    bool *is_synced = calloc((size_t)fs->n_inodes, 1);
    CHECK(is_covered && is_synced);
    for (int64_t i = n - 1; i >= 0; i--) {
        const effect *e = &fs->effects[i];
        if (e->kind == SYNCED) is_synced[e->inode] = true;
        if (e->kind == DIR_SYNCED) is_synced[e->dir] = true;
        if (e->kind == WRITTEN || e->kind == RESIZED) is_covered[i] = is_synced[e->inode];
        if (e->kind == MADE || e->kind == REMOVED) is_covered[i] = is_synced[e->dir];
        if (e->kind == RENAMED) is_covered[i] = is_synced[e->to_dir];
    }
    free(is_synced);
    return is_covered;
}

/* Some sectors of a write. */
static void tear(kvh_memfs *fs, const effect *e, uint64_t *seed) {
    for (int64_t at = 0; at < e->n_bytes; at += SECTOR)
        if (kvh_random(seed) >> 63)
            write_bytes(&fs->inodes[e->inode], e->offset + at, e->bytes + at, SECTOR);
}

/* All of them but one. */
static void leave_hole(kvh_memfs *fs, const effect *e, uint64_t *seed) {
    const int64_t hole = (int64_t)(kvh_random(seed) % (uint64_t)(e->n_bytes / SECTOR)) * SECTOR;
    inode *node = &fs->inodes[e->inode];
    write_bytes(node, e->offset, e->bytes, hole);
    const int64_t rest = hole + SECTOR;
    write_bytes(node, e->offset + rest, e->bytes + rest, e->n_bytes - rest);
}

/* An effect that no sync covers: on the disk, not, or in part. */
static void maybe_apply(kvh_memfs *fs, const effect *e, bool is_late, uint64_t *seed) {
    const uint64_t r = kvh_random(seed);
    if (e->kind == WRITTEN && r % 3 == 0)
        tear(fs, e, seed);
    else if (!is_late && (r >> 8) % 2)
        apply(fs, e);
}

kvh_memfs *kvh_memfs_new(void) {
    kvh_memfs *fs = calloc(1, sizeof *fs);
    CHECK(fs);
    CHECK(new_inode(fs, true) == ROOT);
    return fs;
}

kvh_memfs *kvh_memfs_crash(
        const kvh_memfs *fs, int64_t n_effects, kvh_crash crash, uint64_t *seed) {
    kvh_memfs *disk = kvh_memfs_new();
    bool *is_covered = covered(fs, n_effects);
    for (int i = 1; i < fs->n_inodes; i++) (void)new_inode(disk, fs->inodes[i].is_dir);
    /* Half of the random disks keep the order of names: those after some moment are lost. */
    const int64_t cut = kvh_random(seed) % 2
                                ? n_effects
                                : (int64_t)(kvh_random(seed) % (uint64_t)(n_effects + 1));
    for (int64_t i = 0; i < n_effects; i++) {
        const effect *e = &fs->effects[i];
        if (is_covered[i] || crash == KVH_CRASH_ALL)
            apply(disk, e);
        else if (crash == KVH_CRASH_RANDOM)
            maybe_apply(disk, e, i >= cut, seed);
        else if (crash == KVH_CRASH_HOLES && e->kind == WRITTEN && kvh_random(seed) % 3 == 0)
            leave_hole(disk, e, seed);
        else if (crash == KVH_CRASH_HOLES)
            apply(disk, e);
    }
    free(is_covered);
    return disk;
}

void kvh_memfs_free(kvh_memfs *fs) {
    for (int i = 0; i < fs->n_inodes; i++) {
        free(fs->inodes[i].bytes);
        free(fs->inodes[i].entries);
    }
    for (int64_t i = 0; i < fs->n_effects; i++)
        if (fs->effects[i].kind == WRITTEN) free(fs->effects[i].bytes);
    free(fs->inodes);
    free(fs->effects);
    free(fs);
}

void kvh_memfs_lie(kvh_memfs *fs) {
    fs->is_lying = true;
}

int64_t kvh_memfs_n_effects(const kvh_memfs *fs) {
    return fs->n_effects;
}

int64_t kvh_memfs_n_calls(const kvh_memfs *fs) {
    return fs->n_calls;
}

void kvh_memfs_fail(kvh_memfs *fs, int64_t at, int error, bool for_ever) {
    fs->fail_at = at;
    fs->fail_error = error;
    fs->fails_for_ever = for_ever;
}

void kvh_memfs_limit(kvh_memfs *fs, int64_t n_bytes) {
    fs->n_bytes_max = n_bytes;
}

void kvh_memfs_thin(kvh_memfs *fs, int64_t n_bytes) {
    fs->thin_at = n_bytes;
}

void kvh_memfs_read_only(kvh_memfs *fs) {
    fs->is_read_only = true;
}

void kvh_memfs_cannot_reserve(kvh_memfs *fs) {
    fs->cannot_reserve = true;
}

/* ---- a look from outside --------------------------------------------------------------------- */

static int64_t count_below(const kvh_memfs *fs, int dir, const char *suffix) {
    const inode *node = &fs->inodes[dir];
    int64_t n = 0;
    for (int i = 0; i < node->n_entries; i++) {
        const entry *e = &node->entries[i];
        const size_t n_name = strlen(e->name.text), n_suffix = strlen(suffix);
        if (fs->inodes[e->inode].is_dir)
            n += count_below(fs, e->inode, suffix);
        else
            n += n_name >= n_suffix && strcmp(e->name.text + n_name - n_suffix, suffix) == 0;
    }
    return n;
}

int64_t kvh_memfs_count(const kvh_memfs *fs, const char *suffix) {
    return count_below(fs, ROOT, suffix);
}

int64_t kvh_memfs_bytes(const kvh_memfs *fs) {
    int64_t n = 0;
    for (int i = 0; i < fs->n_inodes; i++)
        if (fs->inodes[i].n_links > 0) n += rt_round_up(fs->inodes[i].n_bytes, KV_IO_ALIGN);
    return n;
}
