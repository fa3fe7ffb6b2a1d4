#include "io_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "io_inside.h"
#include "runtime/base/log.h"
#include "runtime/base/memory.h"

static bool is_again(int result) {
    return result == -EINTR || result == -EAGAIN;
}

static bool is_absent(int result) {
    return result == -ENOENT || result == -ENOTDIR;
}

/* The call until it is no longer told to come again. */
#define TRY_AGAIN(result, call)                   \
    do {                                          \
        int n_left = KV_IO_TRIES_MAX;             \
        do (result) = (call);                     \
        while (is_again(result) && --n_left > 0); \
    } while (0)

static rt_status outcome(int result, const char *what, const char *path) {
    if (result >= 0) return RT_OK;
    errno = -result;
    return rt_fail_errno(
            kv_io_is_disk_full(-result) ? RT_ENOFIT : RT_EIO, "kvstore: cannot %s %s", what, path);
}

/* ---- files ----------------------------------------------------------------------------------- */

static int open_as(kv_io *io, const char *path, int flags) {
    int fd;
    TRY_AGAIN(fd, io->engine.table->open(io->engine.self, path, flags | O_CLOEXEC));
    return fd;
}

/* A file system without O_DIRECT may have created the file before it said so. */
static int open_buffered(kv_io *io, const char *path, int flags) {
    const int fd = open_as(io, path, flags);
    const bool is_ours = fd == -EEXIST && flags & O_EXCL;
    return is_ours ? open_as(io, path, flags & ~(O_EXCL | O_CREAT)) : fd;
}

static rt_status new_file(kv_io *io, const char *path, kv_file **out) {
    const size_t path_bytes = strlen(path) + 1;
    void *memory = NULL;
    RT_TRY(rt_malloc((int64_t)(sizeof(kv_file) + path_bytes), "a file", &memory));
    kv_file *file = memory;
    *file = (kv_file){.io = io, .is_direct = true};
    memcpy(file->path, path, path_bytes);
    *out = file;
    return RT_OK;
}

rt_status kv_file_open(kv_io *io, const char *path, int flags, kv_file **out) {
    kv_file *file = NULL;
    RT_TRY(new_file(io, path, &file));
    file->fd = open_as(io, path, flags | O_DIRECT);
    if (file->fd == -EINVAL) {
        file->is_direct = false;
        file->fd = open_buffered(io, path, flags);
    }
    if (file->fd < 0) {
        const int result = file->fd;
        free(file);
        return outcome(result, "open", path);
    }
    io->n_files++;
    *out = file;
    return RT_OK;
}

const char *kv_file_path(const kv_file *file) {
    return file->path;
}

bool kv_file_is_direct(const kv_file *file) {
    return file->is_direct;
}

void kv_file_release(kv_file *file) {
    (void)file->io->engine.table->close(file->io->engine.self, file->fd);
    free(file);
}

void kv_file_close(kv_file *file) {
    if (!file) return;
    rt_assert(file->n_undone == 0 && !file->is_closed);
    file->io->n_files--;
    file->is_closed = true;
    if (file->n_in_flight == 0) kv_file_release(file);
}

void kv_file_unreserve(kv_file *file, int64_t n_bytes) {
    const kv_io_engine *e = &file->io->engine;
    int ignored;
    TRY_AGAIN(ignored, e->table->truncate(e->self, file->fd, n_bytes));
    (void)ignored;
}

/* ext4 says that it is full once it has given all it had, and the file is as large as that then. */
rt_status kv_file_reserve(kv_file *file, int64_t n_bytes) {
    const kv_io_engine *e = &file->io->engine;
    kv_io_stat before;
    int result;
    RT_TRY(kv_file_stat(file, &before));
    TRY_AGAIN(result, e->table->reserve(e->self, file->fd, n_bytes));
    if (result == -EOPNOTSUPP || result == -ENOSYS) return RT_OK;
    if (result < 0) kv_file_unreserve(file, before.n_bytes);
    return outcome(result, "reserve space for", file->path);
}

/* A sync that was interrupted has lost nothing; any other that fails may have. */
static int sync_file(const kv_io_engine *e, int fd) {
    int result = -EINTR;
    for (int i = 0; i < KV_IO_TRIES_MAX && result == -EINTR; i++)
        result = e->table->sync(e->self, fd);
    return result;
}

static int sync_dir(const kv_io_engine *e, const char *path) {
    int result = -EINTR;
    for (int i = 0; i < KV_IO_TRIES_MAX && result == -EINTR; i++)
        result = e->table->sync_dir(e->self, path);
    return result;
}

rt_status kv_file_sync(kv_file *file) {
    const int result = file->is_dead ? -EIO : sync_file(&file->io->engine, file->fd);
    if (result < 0) file->is_dead = true;
    return outcome(result, "sync", file->path);
}

rt_status kv_file_truncate(kv_file *file, int64_t n_bytes) {
    const kv_io_engine *e = &file->io->engine;
    int result;
    TRY_AGAIN(result, e->table->truncate(e->self, file->fd, n_bytes));
    return outcome(result, "set the size of", file->path);
}

rt_status kv_file_stat(const kv_file *file, kv_io_stat *out) {
    const kv_io_engine *e = &file->io->engine;
    int result;
    TRY_AGAIN(result, e->table->stat_file(e->self, file->fd, out));
    return outcome(result, "look at", file->path);
}

rt_status kv_file_lock(kv_file *file, kv_io_lock lock, bool *got) {
    const kv_io_engine *e = &file->io->engine;
    int result = -EINTR; /* EAGAIN is the answer here */
    for (int i = 0; i < KV_IO_TRIES_MAX && result == -EINTR; i++)
        result = e->table->lock(e->self, file->fd, lock);
    *got = result >= 0;
    return result == -EWOULDBLOCK ? RT_OK : outcome(result, "lock", file->path);
}

rt_status kv_file_lock_within(kv_file *file, kv_io_lock lock, double seconds, bool *got) {
    const double patience = rt_now() + seconds;
    for (;;) {
        RT_TRY(kv_file_lock(file, lock, got));
        if (*got || rt_now() > patience) return RT_OK;
        (void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
}

/* ---- names ----------------------------------------------------------------------------------- */

rt_status kv_path_rename(kv_io *io, const char *from, const char *to) {
    const kv_io_engine *e = &io->engine;
    int result;
    TRY_AGAIN(result, e->table->rename(e->self, from, to));
    return outcome(result, "rename", from);
}

rt_status kv_path_unlink(kv_io *io, const char *path) {
    const kv_io_engine *e = &io->engine;
    int result;
    TRY_AGAIN(result, e->table->unlink(e->self, path));
    return result == -ENOENT ? RT_OK : outcome(result, "remove", path);
}

rt_status kv_path_sync_dir(kv_io *io, const char *path) {
    return outcome(sync_dir(&io->engine, path), "sync the directory", path);
}

/* The directory that the path is in; free(). */
static rt_status parent_of(const char *path, char **out) {
    const char *slash = strrchr(path, '/');
    const size_t n = slash > path ? (size_t)(slash - path) : 1;
    *out = slash ? strndup(path, n) : strdup(".");
    return *out ? RT_OK : rt_fail(RT_ENOMEM, "kvstore: no memory for the path %s", path);
}

/* Makes it, and adds its parent to the list, once. */
static rt_status make_dir(kv_io *io, const char *path, char **parents, int32_t *n_parents) {
    const kv_io_engine *e = &io->engine;
    char *parent = NULL;
    int result;
    TRY_AGAIN(result, e->table->make_dir(e->self, path));
    if (result == -EEXIST) return RT_OK;
    RT_TRY(outcome(result, "make the directory", path));
    RT_TRY(parent_of(path, &parent));
    for (int32_t i = 0; i < *n_parents && parent; i++)
        if (strcmp(parents[i], parent) == 0) {
            free(parent);
            parent = NULL;
        }
    if (parent) parents[(*n_parents)++] = parent;
    return RT_OK;
}

rt_status kv_paths_make_dirs(kv_io *io, const char *const *paths, int32_t n_paths) {
    char **parents = NULL;
    int32_t n_parents = 0;
    rt_status status = RT_OK;
    RT_TRY(rt_calloc(n_paths + 1, sizeof *parents, "directories to make", &parents));
    for (int32_t i = 0; i < n_paths && status == RT_OK; i++)
        status = make_dir(io, paths[i], parents, &n_parents);
    /* Those made before one that failed, too: who tries again finds them, and syncs nothing. */
    const rt_status synced = kv_paths_sync_dirs(io, (const char *const *)parents, n_parents);
    if (status == RT_OK) status = synced;
    for (int32_t i = 0; i < n_parents; i++) free(parents[i]);
    free(parents);
    return status;
}

rt_status kv_path_make_dir(kv_io *io, const char *path) {
    return kv_paths_make_dirs(io, &path, 1);
}

rt_status kv_path_stat(kv_io *io, const char *path, kv_io_stat *out, bool *exists) {
    const kv_io_engine *e = &io->engine;
    int result;
    *out = (kv_io_stat){0};
    TRY_AGAIN(result, e->table->stat(e->self, path, out));
    *exists = result >= 0;
    return is_absent(result) ? RT_OK : outcome(result, "look at", path);
}

void kv_path_touch(kv_io *io, const char *path) {
    const kv_io_engine *e = &io->engine;
    (void)e->table->touch(e->self, path);
}

static int compare_names(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* `result` names are in out->memory. */
static rt_status take_names(const char *path, int result, kv_names *out) {
    if (is_absent(result)) return RT_OK;
    RT_TRY(outcome(result, "list", path));
    if (rt_calloc(result, sizeof(char *), "names of a directory", &out->names) != RT_OK) {
        kv_names_free(out);
        return RT_ENOMEM;
    }
    const char *at = out->memory;
    for (out->n_names = 0; out->n_names < result; at += strlen(at) + 1)
        out->names[out->n_names++] = out->memory + (at - out->memory);
    if (result > 0) qsort(out->names, (size_t)result, sizeof(char *), compare_names);
    return RT_OK;
}

rt_status kv_path_list(kv_io *io, const char *path, kv_names *out) {
    const kv_io_engine *e = &io->engine;
    *out = (kv_names){0};
    int result;
    TRY_AGAIN(result, e->table->list_dir(e->self, path, &out->memory));
    return take_names(path, result, out);
}

void kv_names_free(kv_names *names) {
    free(names->names);
    free(names->memory);
    *names = (kv_names){0};
}

/* ---- many at a time ------------------------------------------------------------------------------ */

static void sync_all(const kv_io_engine *e, kv_io_sync *syncs, int32_t n) {
    for (int32_t i = 0; i < n; i++) syncs[i].result = -EINTR;
    if (e->table->sync_all) e->table->sync_all(e->self, syncs, n);
    for (int32_t i = 0; i < n; i++)
        if (syncs[i].result == -EINTR)
            syncs[i].result = syncs[i].dir ? sync_dir(e, syncs[i].dir) : sync_file(e, syncs[i].fd);
}

rt_status kv_files_sync(kv_io *io, kv_file *const *files, int32_t n_files) {
    kv_io_sync *syncs = NULL;
    rt_status status = RT_OK;
    if (n_files == 0) return RT_OK;
    RT_TRY(rt_calloc(n_files, sizeof *syncs, "syncs", &syncs));
    for (int32_t i = 0; i < n_files; i++) syncs[i].fd = files[i]->fd;
    sync_all(&io->engine, syncs, n_files);
    for (int32_t i = 0; i < n_files; i++) {
        const int result = files[i]->is_dead ? -EIO : syncs[i].result;
        if (result < 0) files[i]->is_dead = true;
        if (status == RT_OK) status = outcome(result, "sync", files[i]->path);
    }
    free(syncs);
    return status;
}

rt_status kv_paths_sync_dirs(kv_io *io, const char *const *paths, int32_t n_paths) {
    kv_io_sync *syncs = NULL;
    rt_status status = RT_OK;
    if (n_paths == 0) return RT_OK;
    RT_TRY(rt_calloc(n_paths, sizeof *syncs, "syncs", &syncs));
    for (int32_t i = 0; i < n_paths; i++) syncs[i].dir = paths[i];
    sync_all(&io->engine, syncs, n_paths);
    for (int32_t i = 0; i < n_paths && status == RT_OK; i++)
        status = outcome(syncs[i].result, "sync the directory", paths[i]);
    free(syncs);
    return status;
}

static void look_all(const kv_io_engine *e, kv_io_look *looks, int32_t n) {
    if (e->table->look_all) {
        e->table->look_all(e->self, looks, n);
        return;
    }
    for (int32_t i = 0; i < n; i++)
        looks[i].result = e->table->stat(e->self, looks[i].path, &looks[i].stat);
}

rt_status kv_paths_stat(
        kv_io *io, const char *const *paths, int32_t n_paths, kv_io_stat *out, bool *exist) {
    kv_io_look *looks = NULL;
    rt_status status = RT_OK;
    if (n_paths == 0) return RT_OK;
    RT_TRY(rt_calloc(n_paths, sizeof *looks, "paths to look at", &looks));
    for (int32_t i = 0; i < n_paths; i++) looks[i].path = paths[i];
    look_all(&io->engine, looks, n_paths);
    for (int32_t i = 0; i < n_paths && status == RT_OK; i++) {
        exist[i] = looks[i].result >= 0;
        out[i] = looks[i].stat;
        if (!exist[i] && !is_absent(looks[i].result)) /* once more */
            status = kv_path_stat(io, paths[i], &out[i], &exist[i]);
    }
    free(looks);
    return status;
}

rt_status kv_paths_list(kv_io *io, const char *const *paths, int32_t n_paths, kv_names *out) {
    const kv_io_engine *e = &io->engine;
    kv_io_list *lists = NULL;
    rt_status status = RT_OK;
    if (n_paths == 0) return RT_OK;
    memset(out, 0, (size_t)n_paths * sizeof *out);
    RT_TRY(rt_calloc(n_paths, sizeof *lists, "directories to list", &lists));
    for (int32_t i = 0; i < n_paths; i++)
        lists[i] = (kv_io_list){.dir = paths[i], .result = -EINTR};
    if (e->table->list_all) e->table->list_all(e->self, lists, n_paths);
    for (int32_t i = 0; i < n_paths; i++) out[i].memory = lists[i].names;
    /* Alone, one may have what they lacked side by side: a file. */
    for (int32_t i = 0; i < n_paths && status == RT_OK; i++)
        status = lists[i].result < 0 ? kv_path_list(io, paths[i], &out[i])
                                     : take_names(paths[i], lists[i].result, &out[i]);
    free(lists);
    return status;
}

static void open_all(const kv_io_engine *e, kv_io_opening *openings, int32_t n) {
    if (e->table->open_all) {
        e->table->open_all(e->self, openings, n);
        return;
    }
    for (int32_t i = 0; i < n; i++)
        openings[i].result = e->table->open(e->self, openings[i].path, openings[i].flags);
}

/* Of what has been opened. */
static kv_file *file_of(kv_io *io, const kv_io_opening *opening) {
    kv_file *file = NULL;
    if (opening->result < 0) return NULL;
    if (new_file(io, opening->path, &file) != RT_OK) {
        (void)io->engine.table->close(io->engine.self, opening->result);
        return NULL;
    }
    file->fd = opening->result;
    file->is_direct = opening->flags & O_DIRECT;
    io->n_files++;
    return file;
}

void kv_files_open(kv_io *io, const char *const *paths, int32_t n_paths, int flags, kv_file **out) {
    kv_io_opening *openings = NULL;
    int modes =
            2; /* past the page cache, and, where the file system has no such thing, through it */
    memset(out, 0, (size_t)n_paths * sizeof(kv_file *));
    if (rt_calloc(n_paths + 1, sizeof *openings, "files to open", &openings) != RT_OK) return;
    for (int mode = flags | O_CLOEXEC | O_DIRECT; modes-- > 0; mode &= ~O_DIRECT) {
        int32_t n = 0;
        bool is_refused = false;
        for (int32_t i = 0; i < n_paths; i++)
            if (!out[i]) openings[n++] = (kv_io_opening){.path = paths[i], .flags = mode};
        open_all(&io->engine, openings, n);
        n = 0;
        for (int32_t i = 0; i < n_paths; i++) {
            if (out[i]) continue;
            is_refused |= openings[n].result == -EINVAL;
            out[i] = file_of(io, &openings[n++]);
        }
        if (!is_refused) break;
    }
    free(openings);
}
