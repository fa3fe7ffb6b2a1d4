#include "help_kv_memfs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "help_kv.h"
#include "help_kv_memfs_disk.h"
#include "runtime/base/size.h"

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
    memfs_name last;
    TROUBLE(fs);
    const int dir = memfs_parent_of(fs, path, &last);
    if (dir < 0) return dir;
    if (fs->is_read_only && (flags & (O_RDWR | O_WRONLY | O_CREAT))) return -EROFS;
    const memfs_entry *e = memfs_entry_of(&fs->inodes[dir], last.text);
    if (!e && !(flags & O_CREAT)) return -ENOENT;
    if (e && (flags & O_EXCL)) return -EEXIST;
    int number = e ? e->inode : -1;
    if (e && fs->inodes[number].is_dir) return -EISDIR;
    if (!e) {
        number = memfs_new_inode(fs, false);
        memfs_happen(
                fs, (memfs_effect){.kind = MEMFS_MADE, .dir = dir, .name = last, .inode = number});
    }
    int fd = 0;
    while (fd < MEMFS_FILES_MAX && fs->files[fd].is_open) fd++;
    CHECK(fd < MEMFS_FILES_MAX);
    fs->files[fd] = (memfs_open){.is_open = true, .inode = number};
    return fd;
}

static int mem_close(void *self, int fd) {
    kvh_memfs *fs = self;
    CHECK(fs->files[fd].is_open);
    fs->files[fd] = (memfs_open){0};
    return 0;
}

static memfs_inode *node_of(kvh_memfs *fs, int fd) {
    CHECK(fd >= 0 && fd < MEMFS_FILES_MAX && fs->files[fd].is_open);
    return &fs->inodes[fs->files[fd].inode];
}

/* How large a file may become. An open file counts even without a name. */
static int64_t room_for(const kvh_memfs *fs, int number) {
    int64_t n = fs->n_bytes_max;
    for (int i = 0; i < fs->n_inodes; i++) {
        bool is_there = fs->inodes[i].n_links > 0;
        for (int fd = 0; fd < MEMFS_FILES_MAX; fd++)
            is_there = is_there || (fs->files[fd].is_open && fs->files[fd].inode == i);
        if (is_there && i != number) n -= rt_round_up(fs->inodes[i].n_bytes, KV_IO_ALIGN);
    }
    return fs->n_bytes_max == 0 ? INT64_MAX : n / KV_IO_ALIGN * KV_IO_ALIGN;
}

/* Of what is more than there is it takes all that there is, as ext4 does. */
static int mem_reserve(void *self, int fd, int64_t n_bytes) {
    kvh_memfs *fs = self;
    TROUBLE(fs);
    if (fs->cannot_reserve) return -EOPNOTSUPP;
    const int64_t n_given = rt_min64(n_bytes, room_for(fs, fs->files[fd].inode));
    if (n_given > node_of(fs, fd)->n_bytes)
        memfs_happen(fs,
                (memfs_effect){
                        .kind = MEMFS_RESIZED, .inode = fs->files[fd].inode, .n_bytes = n_given});
    return n_given < n_bytes ? -ENOSPC : 0;
}

static int mem_truncate(void *self, int fd, int64_t n_bytes) {
    kvh_memfs *fs = self;
    TROUBLE(fs);
    if (fs->is_read_only) return -EROFS;
    (void)node_of(fs, fd);
    memfs_happen(
            fs, (memfs_effect){
                        .kind = MEMFS_RESIZED, .inode = fs->files[fd].inode, .n_bytes = n_bytes});
    return 0;
}

static int mem_sync(void *self, int fd) {
    kvh_memfs *fs = self;
    TROUBLE(fs);
    (void)node_of(fs, fd);
    if (!fs->is_lying)
        memfs_happen(fs, (memfs_effect){.kind = MEMFS_SYNCED, .inode = fs->files[fd].inode});
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
    const memfs_inode *node = node_of(fs, r->fd);
    if (!r->is_write) {
        const int64_t n = rt_max64(rt_min64(r->n_bytes, node->n_bytes - r->offset), 0);
        memcpy(r->bytes, node->bytes + (n > 0 ? r->offset : 0), (size_t)n);
        return n;
    }
    if (r->offset + r->n_bytes > node->n_bytes &&
            r->offset + r->n_bytes > room_for(fs, fs->files[r->fd].inode))
        return -ENOSPC;
    const memfs_effect e = {.kind = MEMFS_WRITTEN,
            .inode = fs->files[r->fd].inode,
            .offset = r->offset,
            .n_bytes = r->n_bytes,
            .bytes = r->bytes};
    const int64_t lost = fs->thin_at - fs->n_written;
    fs->n_written += r->n_bytes;
    if (fs->thin_at > 0 && lost >= 0 && lost < r->n_bytes)
        memfs_happen_but_for(fs, &e, lost / MEMFS_SECTOR * MEMFS_SECTOR);
    else
        memfs_happen(fs, e);
    return r->n_bytes;
}

static int mem_submit(void *self, const kv_io_request *requests, int n_requests) {
    kvh_memfs *fs = self;
    int n = 0;
    for (; n < n_requests && fs->n_answers < KV_IO_DEPTH_MAX; n++)
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
    for (int i = 0; i < MEMFS_FILES_MAX && lock != KV_IO_UNLOCKED; i++) {
        const memfs_open *other = &fs->files[i];
        if (i == fd || !other->is_open || other->inode != fs->files[fd].inode) continue;
        if (other->lock == KV_IO_EXCLUSIVE ||
                (other->lock == KV_IO_SHARED && lock == KV_IO_EXCLUSIVE))
            return -EWOULDBLOCK;
    }
    fs->files[fd].lock = lock;
    return 0;
}

static int stat_inode(const kvh_memfs *fs, int number, kv_io_stat *out) {
    const memfs_inode *node = &fs->inodes[number];
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
    const int number = memfs_inode_at(fs, path);
    return number < 0 ? number : stat_inode(fs, number, out);
}

static int mem_rename(void *self, const char *from, const char *to) {
    kvh_memfs *fs = self;
    TROUBLE(fs);
    if (fs->is_read_only) return -EROFS;
    memfs_effect e = {.kind = MEMFS_RENAMED};
    e.dir = memfs_parent_of(fs, from, &e.name);
    e.to_dir = memfs_parent_of(fs, to, &e.to_name);
    if (e.dir < 0 || e.to_dir < 0) return -ENOENT;
    e.inode = memfs_inode_at(fs, from);
    if (e.inode < 0) return e.inode;
    memfs_happen(fs, e);
    return 0;
}

static int mem_unlink(void *self, const char *path) {
    kvh_memfs *fs = self;
    TROUBLE(fs);
    if (fs->is_read_only) return -EROFS;
    memfs_effect e = {.kind = MEMFS_REMOVED};
    const int number = memfs_inode_at(fs, path);
    if (number < 0) return number;
    if (fs->inodes[number].is_dir) return -EISDIR;
    e.dir = memfs_parent_of(fs, path, &e.name);
    memfs_happen(fs, e);
    return 0;
}

static int mem_touch(void *self, const char *path) {
    kvh_memfs *fs = self;
    TROUBLE(fs);
    if (fs->is_read_only) return -EROFS;
    const int number = memfs_inode_at(fs, path);
    if (number >= 0) fs->inodes[number].changed_s = time(NULL);
    return number < 0 ? number : 0;
}

static int mem_make_dir(void *self, const char *path) {
    kvh_memfs *fs = self;
    TROUBLE(fs);
    if (fs->is_read_only) return -EROFS;
    memfs_effect e = {.kind = MEMFS_MADE};
    e.dir = memfs_parent_of(fs, path, &e.name);
    if (e.dir < 0) return e.dir;
    if (memfs_entry_of(&fs->inodes[e.dir], e.name.text)) return -EEXIST;
    e.inode = memfs_new_inode(fs, true);
    memfs_happen(fs, e);
    return 0;
}

static int mem_sync_dir(void *self, const char *path) {
    kvh_memfs *fs = self;
    TROUBLE(fs);
    const int number = memfs_inode_at(fs, path);
    if (number < 0) return number;
    if (!fs->is_lying) memfs_happen(fs, (memfs_effect){.kind = MEMFS_DIR_SYNCED, .dir = number});
    return 0;
}

static int mem_list_dir(void *self, const char *path, char **names) {
    kvh_memfs *fs = self;
    TROUBLE(fs);
    const int number = memfs_inode_at(fs, path);
    if (number < 0) return number;
    const memfs_inode *dir = &fs->inodes[number];
    if (!dir->is_dir) return -ENOTDIR;
    char *at = *names = malloc((size_t)dir->n_entries * MEMFS_NAME_MAX_BYTES + 1);
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

static kv_io *io_by(kvh_memfs *fs, const kv_io_table *table) {
    const kv_io_engine engine = {.table = table, .self = fs};
    kv_io *io = NULL;
    CHECK(kv_io_create_on(engine, &(kv_io_config){0}, &io) == RT_OK);
    return io;
}

kv_io *kvh_memfs_io_instead(kvh_memfs *fs, const kv_io_table *instead, kv_io_engine *inner) {
    enum { SLOT = sizeof(void (*)(void)) }; /* a table is functions alone */
    static const char nothing[SLOT];
    static kv_io_table table;
    *inner = kvh_memfs_engine(fs);
    table = *inner->table;
    for (size_t at = 0; at < sizeof table; at += SLOT) {
        const char *given = (const char *)instead + at;
        if (memcmp(given, nothing, SLOT) != 0) memcpy((char *)&table + at, given, SLOT);
    }
    return io_by(fs, &table);
}

kv_io *kvh_memfs_io(kvh_memfs *fs) {
    return io_by(fs, kvh_memfs_engine(fs).table);
}

/* ---- what tests ask of it -------------------------------------------------------------------- */

kvh_memfs *kvh_memfs_new(void) {
    kvh_memfs *fs = calloc(1, sizeof *fs);
    CHECK(fs);
    CHECK(memfs_new_inode(fs, true) == MEMFS_ROOT);
    return fs;
}

void kvh_memfs_free(kvh_memfs *fs) {
    for (int i = 0; i < fs->n_inodes; i++) {
        free(fs->inodes[i].bytes);
        free(fs->inodes[i].entries);
    }
    for (int64_t i = 0; i < fs->n_effects; i++)
        if (fs->effects[i].kind == MEMFS_WRITTEN) free(fs->effects[i].bytes);
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
    const memfs_inode *node = &fs->inodes[dir];
    int64_t n = 0;
    for (int i = 0; i < node->n_entries; i++) {
        const memfs_entry *e = &node->entries[i];
        const size_t n_name = strlen(e->name.text), n_suffix = strlen(suffix);
        if (fs->inodes[e->inode].is_dir)
            n += count_below(fs, e->inode, suffix);
        else
            n += n_name >= n_suffix && strcmp(e->name.text + n_name - n_suffix, suffix) == 0;
    }
    return n;
}

int64_t kvh_memfs_count(const kvh_memfs *fs, const char *suffix) {
    return count_below(fs, MEMFS_ROOT, suffix);
}

int64_t kvh_memfs_bytes(const kvh_memfs *fs) {
    int64_t n = 0;
    for (int i = 0; i < fs->n_inodes; i++)
        if (fs->inodes[i].n_links > 0) n += rt_round_up(fs->inodes[i].n_bytes, KV_IO_ALIGN);
    return n;
}
