/* Paths, the lock and small files of the vault's directories; vault_scan.c lists them, vault_known.c keeps
 * what is known of them.
 *
 * The lock is flock(2) on DIR/vault/lock of every directory, in the order of their inodes so that
 * two processes that name them differently do not wait for each other. Dead owners leave no lock. */
#include "vault_dirs.h"

#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "runtime/base/file.h"
#include "runtime/base/interrupt.h"
#include "runtime/base/lock.h"
#include "runtime/base/log.h"
#include "runtime/base/memory.h"
#include "runtime/base/size.h"

enum {
    DIR_BYTES_MAX = 3000,
    LOCK_SECONDS_MAX = 30,
    OWNER_SECONDS_MAX = 5,
    LOCK_SECONDS_STOPPING = 10, /* from when this process was asked to stop */
    LOCK_SECONDS_UNTOLD = 2,
    LOCK_TRIES_MAX = 8 /* of those that were removed meanwhile */
};

/* ---- open, close ----------------------------------------------------------------------------- */

static rt_status check_dirs(const char *const *dirs, int32_t n_dirs) {
    if (n_dirs < 1 || n_dirs > KV_DIRS_MAX)
        return rt_fail(RT_EUSAGE, "kvstore: %" PRId32 " disk directories; 1 to %d are possible",
                n_dirs, KV_DIRS_MAX);
    for (int32_t i = 0; i < n_dirs; i++)
        if (strlen(dirs[i]) > DIR_BYTES_MAX || !*dirs[i])
            return rt_fail(RT_EUSAGE, "kvstore: a disk directory's path has %zu bytes, not 1 to %d",
                    strlen(dirs[i]), DIR_BYTES_MAX);
    return RT_OK;
}

rt_status kv_dirs_open(kv_io *io, const char *const *dirs, int32_t n_dirs, kv_dirs *out) {
    RT_TRY(check_dirs(dirs, n_dirs));
    kv_dirs d = {.io = io, .n_dirs = n_dirs};
    rt_status status = RT_OK;
    RT_TRY_GOTO(status, rt_calloc(n_dirs, sizeof *d.roots, "directories", &d.roots), out);
    RT_TRY_GOTO(status, rt_calloc(n_dirs, sizeof *d.devices, "directories", &d.devices), out);
    RT_TRY_GOTO(status, rt_calloc(n_dirs, sizeof *d.locks, "directory locks", &d.locks), out);
    RT_TRY_GOTO(status, rt_calloc(n_dirs, sizeof *d.kept, "what directories keep", &d.kept), out);
    for (int32_t i = 0; i < n_dirs; i++)
        RT_TRY_GOTO(status, rt_path_join(dirs[i], "vault", &d.roots[i]), out);
    RT_TRY_GOTO(status, kv_blocks_create(io, &d.blocks), out);
    *out = d;
    return RT_OK;
out:
    kv_dirs_close(&d);
    return status;
}

void kv_dirs_close(kv_dirs *dirs) {
    rt_assert(!dirs->is_locked);
    kv_blocks_free(dirs->blocks);
    for (int32_t i = 0; dirs->roots && i < dirs->n_dirs; i++) free(dirs->roots[i]);
    free(dirs->roots);
    free(dirs->devices);
    free(dirs->locks);
    for (int32_t i = 0; dirs->kept && i < dirs->n_dirs; i++) kv_briefs_free(&dirs->kept[i]);
    free(dirs->kept);
    kv_briefs_free(&dirs->learned);
    *dirs = (kv_dirs){0};
}

/* mkdir -p, every new name durable. */
static rt_status make_path(kv_io *io, const char *path) {
    kv_path part = {0};
    kv_io_stat whole;
    bool is_there;
    RT_TRY(kv_path_stat(io, path, &whole, &is_there));
    if (is_there) return RT_OK;
    const size_t n_bytes = strlen(path);
    for (size_t i = 1; i <= n_bytes; i++) {
        if (path[i] != '/' && path[i] != 0) continue;
        memcpy(part.text, path, i);
        part.text[i] = 0;
        kv_io_stat st;
        bool exists;
        RT_TRY(kv_path_stat(io, part.text, &st, &exists));
        if (!exists) RT_TRY(kv_path_make_dir(io, part.text));
    }
    return RT_OK;
}

rt_status kv_dirs_make(kv_dirs *dirs) {
    kv_io_stat stats[KV_DIRS_MAX];
    for (int32_t i = 0; i < dirs->n_dirs; i++) {
        bool exists;
        RT_TRY(make_path(dirs->io, dirs->roots[i]));
        RT_TRY(kv_path_stat(dirs->io, dirs->roots[i], &stats[i], &exists));
        if (!exists || !stats[i].is_dir)
            return rt_fail(RT_EIO, "kvstore: %s is not a directory", dirs->roots[i]);
        dirs->devices[i] = stats[i].device;
        for (int32_t j = 0; j < i; j++)
            if (stats[j].inode == stats[i].inode && stats[j].device == stats[i].device)
                return rt_fail(RT_EUSAGE, "kvstore: %s and %s are the same directory",
                        dirs->roots[j], dirs->roots[i]);
    }
    return RT_OK;
}

/* ---- the lock -------------------------------------------------------------------------------- */

static void find_holder(kv_file *file, rt_lock_holder *out) {
    kv_io_stat st = {0};
    const rt_status ignored = kv_file_stat(file, &st);
    (void)ignored;
    rt_lock_find_holder(st.device, st.inode, out);
}

static rt_status refuse_held(const char *root, kv_file *file, double held_s) {
    rt_lock_holder holder;
    find_holder(file, &holder);
    return rt_fail(RT_EIO, "kvstore: %s/lock is held by %s for %.0f s%s", root, holder.who, held_s,
            holder.how);
}

static void say_held(const char *root, kv_file *file) {
    rt_lock_holder holder;
    find_holder(file, &holder);
    rt_log(RT_LOG_WARN, "kvstore", "waiting for %s/lock, which %s holds%s", root, holder.who,
            holder.how);
}

static rt_status lock_file(const char *root, kv_file *file, bool is_stoppable) {
    const double began = rt_now();
    double patience = LOCK_SECONDS_MAX;
    bool is_told = false, is_asked = false;
    for (;;) {
        bool got;
        RT_TRY(kv_file_lock_within(file, KV_IO_EXCLUSIVE, 0.05, &got));
        if (got) return RT_OK;
        if (!is_asked && atomic_load(&rt_interrupted_by)) {
            is_asked = true;
            patience = fmin(patience, rt_now() - began + LOCK_SECONDS_STOPPING);
        }
        if (is_stoppable && is_asked)
            return rt_fail(RT_EINTERRUPTED,
                    "stopped while %s/lock was waited for, which another process holds", root);
        if (rt_now() - began > patience) return refuse_held(root, file, rt_now() - began);
        if (is_told || rt_now() - began < LOCK_SECONDS_UNTOLD) continue;
        is_told = true;
        say_held(root, file);
    }
}

static void unlock_files(kv_dirs *dirs) {
    for (int32_t i = 0; i < dirs->n_dirs; i++) {
        kv_blocks_close_file(dirs->blocks, dirs->locks[i]);
        dirs->locks[i] = NULL;
    }
}

typedef struct lock_order {
    int32_t dir;
    kv_io_stat stat;
} lock_order;

static int compare_order(const void *a, const void *b) {
    const lock_order *p = a, *q = b;
    if (p->stat.device != q->stat.device) return p->stat.device < q->stat.device ? -1 : 1;
    return p->stat.inode < q->stat.inode ? -1 : p->stat.inode > q->stat.inode;
}

static rt_status open_lock(kv_dirs *dirs, int32_t dir) {
    const kv_path path = kv_dirs_join(dirs, dir, "", "lock");
    const int flags = O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK;
    return kv_file_open(dirs->io, path.text, flags, &dirs->locks[dir]);
}

static bool is_gone(const kv_dirs *dirs, int32_t dir) {
    kv_io_stat st;
    bool exists;
    return kv_path_stat(dirs->io, dirs->roots[dir], &st, &exists) == RT_OK && !exists;
}

/* The directory above `path`: false at the top. */
static bool climb(kv_path *path) {
    char *slash = strrchr(path->text, '/');
    const bool is_top = slash ? !slash[1] : strcmp(path->text, ".") == 0;
    if (!slash) (void)snprintf(path->text, sizeof path->text, ".");
    if (slash) slash[slash == path->text] = 0;
    return !is_top;
}

/* That what was on one file system is not made on another. Of directories above a link may lead to it: it is followed. */
static rt_status check_device(const kv_dirs *dirs, int32_t dir) {
    kv_path above = {0};
    char inside[KV_PATH_BYTES + 2];
    kv_io_stat st = {0};
    bool exists = false;
    (void)snprintf(above.text, sizeof above.text, "%s", dirs->roots[dir]);
    while (!exists && climb(&above)) {
        (void)snprintf(inside, sizeof inside, "%s/.", above.text);
        RT_TRY(kv_path_stat(dirs->io, inside, &st, &exists));
    }
    if (!exists || st.device == dirs->devices[dir]) return RT_OK;
    return rt_fail(RT_EIO,
            "kvstore: %s is there no longer, and %s is not on the file system that it was on: is "
            "that mounted?",
            dirs->roots[dir], above.text);
}

/* Somebody may have removed the directory, to begin anew: it is made again for what is to be kept. */
static rt_status open_or_make_lock(kv_dirs *dirs, int32_t dir) {
    const rt_status status = open_lock(dirs, dir);
    if (status != RT_EIO || !is_gone(dirs, dir)) return status;
    if (dirs->devices[dir] != 0) RT_TRY(check_device(dirs, dir));
    RT_TRY(make_path(dirs->io, dirs->roots[dir]));
    return open_lock(dirs, dir);
}

/* *is_there: the locks are of files that still have their names, and held; otherwise none is. */
static rt_status try_to_lock(kv_dirs *dirs, bool is_stoppable, bool *is_there) {
    lock_order order[KV_DIRS_MAX];
    rt_status status = RT_OK;
    *is_there = true;
    for (int32_t i = 0; i < dirs->n_dirs; i++) {
        RT_TRY_GOTO(status, is_stoppable ? open_lock(dirs, i) : open_or_make_lock(dirs, i), out);
        order[i].dir = i;
        RT_TRY_GOTO(status, kv_file_stat(dirs->locks[i], &order[i].stat), out);
    }
    qsort(order, (size_t)dirs->n_dirs, sizeof *order, compare_order);
    for (int32_t i = 0; i < dirs->n_dirs; i++) {
        kv_io_stat now;
        const int32_t dir = order[i].dir;
        RT_TRY_GOTO(status, lock_file(dirs->roots[dir], dirs->locks[dir], is_stoppable), out);
        RT_TRY_GOTO(status, kv_file_stat(dirs->locks[dir], &now), out);
        *is_there = *is_there && now.n_links > 0;
    }
    if (*is_there) return RT_OK;
out:
    unlock_files(dirs);
    return status;
}

/* Whoever removes the directory while its lock is waited for leaves us that of a file that nobody else opens any more. */
static rt_status lock(kv_dirs *dirs, bool is_stoppable) {
    bool is_there = false;
    rt_assert(!dirs->is_locked);
    for (int i = 0; i < LOCK_TRIES_MAX && !is_there; i++)
        RT_TRY(try_to_lock(dirs, is_stoppable, &is_there));
    if (!is_there)
        return rt_fail(RT_EIO,
                "kvstore: %s/lock is removed while it is waited for, again and again",
                dirs->roots[0]);
    dirs->is_locked = true;
    return RT_OK;
}

rt_status kv_dirs_lock(kv_dirs *dirs) {
    return lock(dirs, false);
}

rt_status kv_dirs_lock_stoppable(kv_dirs *dirs) {
    return lock(dirs, true);
}

void kv_dirs_unlock(kv_dirs *dirs) {
    rt_assert(dirs->is_locked);
    unlock_files(dirs);
    dirs->is_locked = false;
}

/* ---- paths ----------------------------------------------------------------------------------- */

int32_t kv_dirs_home(const kv_dirs *dirs, const kv_hash *hash) {
    uint32_t number;
    memcpy(&number, hash->bytes + 8, sizeof number);
    return (int32_t)(number % (uint32_t)dirs->n_dirs);
}

kv_path kv_dirs_path(const kv_dirs *dirs, int32_t dir, const kv_hash *fingerprint,
        const kv_hash *hash, const char *suffix) {
    char model[KV_HEX_BYTES], name[KV_HEX_BYTES];
    kv_path path;
    kv_hash_hex(fingerprint, model);
    kv_hash_hex(hash, name);
    (void)snprintf(path.text, sizeof path.text, "%s/%.8s/%.2s/%s%s", dirs->roots[dir], model, name,
            name, suffix);
    return path;
}

kv_path kv_dirs_join(const kv_dirs *dirs, int32_t dir, const char *folder, const char *name) {
    kv_path path;
    (void)snprintf(path.text, sizeof path.text, "%s%s%s%s%s", dirs->roots[dir], *folder ? "/" : "",
            folder, *name ? "/" : "", name);
    return path;
}

kv_path kv_path_parent(const kv_path *path) {
    kv_path parent = *path;
    char *slash = strrchr(parent.text, '/');
    rt_assert(slash && slash > parent.text);
    *slash = 0;
    return parent;
}

kv_path kv_dirs_temporary(const kv_path *beside, int64_t reserved_bytes) {
    const kv_path folder = kv_path_parent(beside);
    uint64_t random[2] = {0};
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        random[0] = (uint64_t)(rt_now() * 1e9); /* O_EXCL tells if it is not unique */
    kv_path path;
    const int n = snprintf(path.text, sizeof path.text,
            "%s/%ld.%016" PRIx64 "%016" PRIx64 ".%" PRId64 ".tmp", folder.text, (long)getpid(),
            random[0], random[1], reserved_bytes);
    rt_assert(n > 0 && n < (int)sizeof path.text);
    return path;
}

/* Whoever wrote it holds its lock for a moment longer than it has its name; killed there with io_uring's requests, until the
 * kernel has ended these, which may be after the process is gone. */
rt_status kv_dirs_hold(kv_file *file) {
    const char *path = kv_file_path(file);
    bool got;
    kv_io_stat st;
    RT_TRY(kv_file_lock_within(file, KV_IO_SHARED, OWNER_SECONDS_MAX, &got));
    if (!got)
        return rt_fail(RT_EIO, "kvstore: %s is locked by another process for %d s", path,
                OWNER_SECONDS_MAX);
    RT_TRY(kv_file_stat(file, &st));
    return st.n_links > 0 ? RT_OK : rt_fail(RT_EIO, "kvstore: %s has been removed", path);
}

rt_status kv_dirs_make_for(const kv_dirs *dirs, int32_t dir, const kv_path *path) {
    const kv_path folder = kv_path_parent(path);
    rt_assert(strncmp(folder.text, dirs->roots[dir], strlen(dirs->roots[dir])) == 0);
    return make_path(dirs->io, folder.text);
}

/* Of folders that lie side by side, as a model's do, those that are missing. */
static rt_status make_missing(kv_io *io, const kv_path *folders, int32_t n, const char **paths,
        kv_io_stat *stats, bool *exist) {
    kv_path made = {0}; /* where the one before lies */
    int32_t n_missing = 0;
    for (int32_t i = 0; i < n; i++) paths[i] = folders[i].text;
    RT_TRY(kv_paths_stat(io, paths, n, stats, exist));
    for (int32_t i = 0; i < n; i++) {
        if (exist[i]) continue;
        const kv_path above = kv_path_parent(&folders[i]);
        if (strcmp(above.text, made.text) != 0) RT_TRY(make_path(io, above.text));
        made = above;
        paths[n_missing++] = folders[i].text;
    }
    return kv_paths_make_dirs(io, paths, n_missing);
}

rt_status kv_dirs_make_for_all(
        const kv_dirs *dirs, const int32_t *dir, const kv_path *paths, int32_t n) {
    kv_path *folders = NULL;
    const char **texts = NULL;
    kv_io_stat *stats = NULL;
    bool *exist = NULL;
    rt_status status = rt_calloc(n + 1, sizeof *folders, "folders", &folders);
    if (status == RT_OK) status = rt_calloc(n + 1, sizeof *texts, "folders", &texts);
    if (status == RT_OK) status = rt_calloc(n + 1, sizeof *stats, "folders", &stats);
    if (status == RT_OK) status = rt_calloc(n + 1, sizeof *exist, "folders", &exist);
    for (int32_t i = 0; i < n && status == RT_OK; i++) {
        folders[i] = kv_path_parent(&paths[i]);
        rt_assert(strncmp(folders[i].text, dirs->roots[dir[i]], strlen(dirs->roots[dir[i]])) == 0);
    }
    if (status == RT_OK) status = make_missing(dirs->io, folders, n, texts, stats, exist);
    free(folders);
    free(texts);
    free(stats);
    free(exist);
    return status;
}

bool kv_dirs_quarantine(kv_dirs *dirs, const char *path, const char *why) {
    kv_path bad;
    char text[KV_WHY_BYTES]; /* `why` may be what the next failure overwrites */
    const int n = snprintf(bad.text, sizeof bad.text, "%s.bad", path);
    rt_assert(n > 0 && n < (int)sizeof bad.text);
    (void)snprintf(text, sizeof text, "%s", why);
    (void)snprintf(dirs->last_bad, sizeof dirs->last_bad, "%s: %s", path, text);
    const bool is_aside = kv_path_rename(dirs->io, path, bad.text) == RT_OK;
    dirs->n_quarantined += is_aside;
    dirs->n_stuck += !is_aside;
    const rt_status restored = is_aside ? RT_OK : rt_fail(RT_ECORRUPT, "%s", text);
    (void)restored;
    return is_aside;
}

const char *kv_aside_text(bool is_aside) {
    return is_aside ? "put aside as .bad" : "could not be put aside";
}

/* ---- small files ----------------------------------------------------------------------------- */

static rt_status write_padded(kv_dirs *dirs, kv_file *file, const char *text, int64_t n_bytes) {
    const int64_t n_padded = rt_max64(rt_round_up(n_bytes, KV_IO_ALIGN), KV_IO_ALIGN);
    void *memory = NULL;
    RT_TRY(rt_malloc(n_padded, "a small file", &memory));
    memcpy(memory, text, (size_t)n_bytes);
    memset((char *)memory + n_bytes, '\n', (size_t)(n_padded - n_bytes));
    const rt_status status = kv_blocks_write(dirs->blocks, file, 0, n_padded, memory);
    free(memory);
    return status == RT_OK ? kv_file_sync(file) : status;
}

rt_status kv_dirs_write_text(
        kv_dirs *dirs, int32_t dir, const kv_path *path, const char *text, int64_t n_bytes) {
    rt_assert(dirs->is_locked);
    RT_TRY(kv_dirs_make_for(dirs, dir, path));
    const kv_path temporary = kv_dirs_temporary(path, n_bytes);
    const kv_path folder = kv_path_parent(path);
    kv_file *file = NULL;
    RT_TRY(kv_file_open(dirs->io, temporary.text, O_RDWR | O_CREAT | O_EXCL, &file));
    rt_status status = write_padded(dirs, file, text, n_bytes);
    kv_blocks_close_file(dirs->blocks, file);
    if (status == RT_OK) status = kv_path_rename(dirs->io, temporary.text, path->text);
    if (status != RT_OK) {
        const rt_status ignored = kv_path_unlink(dirs->io, temporary.text);
        (void)ignored; /* swept later */
        return status;
    }
    return kv_path_sync_dir(dirs->io, folder.text);
}

static rt_status padded_bytes(kv_file *file, int64_t bytes_max, int64_t *n_bytes) {
    kv_io_stat st;
    RT_TRY(kv_file_stat(file, &st));
    *n_bytes = st.n_bytes;
    if (st.is_file && st.n_bytes >= KV_IO_ALIGN && st.n_bytes <= bytes_max &&
            st.n_bytes % KV_IO_ALIGN == 0)
        return RT_OK;
    return rt_fail(RT_ECORRUPT,
            "kvstore: %s has %" PRId64 " bytes, not whole blocks of %d up to %" PRId64,
            kv_file_path(file), st.n_bytes, KV_IO_ALIGN, bytes_max);
}

/* All that the reader has; then it is closed. */
static rt_status take_text(kv_reader *reader, int64_t n_bytes, char **text) {
    void *memory = NULL;
    rt_status status = rt_malloc(n_bytes + 1, "a small file", &memory);
    if (status == RT_OK) status = kv_reader_take(reader, memory, n_bytes);
    kv_reader_close(reader);
    if (status != RT_OK) {
        free(memory);
        return status;
    }
    *text = memory;
    (*text)[n_bytes] = 0;
    return RT_OK;
}

static rt_status ask_for_text(
        kv_dirs *dirs, kv_file *file, int64_t bytes_max, int64_t *n_bytes, kv_reader **out) {
    RT_TRY(padded_bytes(file, bytes_max, n_bytes));
    RT_TRY(kv_reader_open(dirs->blocks, file, 0, *n_bytes, out));
    const rt_status status = kv_reader_start(*out);
    if (status == RT_OK) return RT_OK;
    kv_reader_close(*out);
    *out = NULL;
    return status;
}

void kv_dirs_read_texts(kv_dirs *dirs, const char *const *paths, int32_t n, int64_t bytes_max,
        char **texts, int64_t *n_bytes) {
    kv_file *files[KV_TEXTS_AT_ONCE];
    kv_reader *readers[KV_TEXTS_AT_ONCE] = {0};
    rt_assert(n <= KV_TEXTS_AT_ONCE);
    kv_files_open(dirs->io, paths, n, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, files);
    for (int32_t i = 0; i < n; i++) {
        texts[i] = NULL;
        if (files[i] && ask_for_text(dirs, files[i], bytes_max, &n_bytes[i], &readers[i]) != RT_OK)
            readers[i] = NULL;
    }
    for (int32_t i = 0; i < n; i++) {
        if (readers[i] && take_text(readers[i], n_bytes[i], &texts[i]) != RT_OK) texts[i] = NULL;
        kv_blocks_close_file(dirs->blocks, files[i]);
    }
}

rt_status kv_dirs_take_text(
        kv_dirs *dirs, kv_file *file, int64_t bytes_max, char **text, int64_t *n_bytes) {
    kv_reader *reader = NULL;
    RT_TRY(ask_for_text(dirs, file, bytes_max, n_bytes, &reader));
    return take_text(reader, *n_bytes, text);
}

rt_status kv_dirs_read_text(kv_dirs *dirs, const char *path, int64_t bytes_max, char **text,
        int64_t *n_bytes, bool *exists) {
    kv_io_stat st;
    kv_file *file = NULL;
    *text = NULL;
    *n_bytes = 0;
    RT_TRY(kv_path_stat(dirs->io, path, &st, exists));
    *exists = *exists && st.is_file;
    if (!*exists) return RT_OK;
    RT_TRY(kv_file_open(dirs->io, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, &file));
    const rt_status status = kv_dirs_take_text(dirs, file, bytes_max, text, n_bytes);
    kv_blocks_close_file(dirs->blocks, file);
    return status;
}
