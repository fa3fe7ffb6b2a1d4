/* The door to the disk: everything of the store that reaches the kernel goes through one table.
 *
 * Two engines fill it in, io_uring.c and io_pread.c; tests put a third in front of either, which
 * injects faults. An engine is simple: it takes requests, gives each an answer, and need not get it
 * right; io.c resumes, retries, matches and gives up. Private to kvstore. */
#ifndef KV_IO_ENGINE_H
#define KV_IO_ENGINE_H

#include "runtime/base/status.h"

typedef enum kv_io_urgency {
    KV_IO_NOW,    /* reads that somebody waits for */
    KV_IO_AHEAD,  /* prefetch */
    KV_IO_BEHIND, /* write-back */
    KV_IO_URGENCIES
} kv_io_urgency;

typedef struct kv_io_request {
    int fd;
    bool is_write;
    void *bytes; /* the engine's until the answer */
    int64_t n_bytes;
    int64_t offset;
    uint64_t tag;          /* comes back with the answer */
    kv_io_urgency urgency; /* an engine that has to choose takes the more urgent */
} kv_io_request;

typedef struct kv_io_answer {
    uint64_t tag;
    int64_t result; /* bytes moved, or -errno */
} kv_io_answer;

/* What stat(2) says, as far as the store asks. */
typedef struct kv_io_stat {
    bool is_file; /* a regular file */
    bool is_dir;
    int64_t n_bytes;
    int64_t physical_bytes; /* of the disk; what budgets count */
    int64_t changed_s;      /* seconds since 1970 */
    int64_t n_links;
    uint64_t device;
    uint64_t inode;
} kv_io_stat;

enum { KV_IO_SYNCS_AT_ONCE = 17 };

/* Of a file's data, or of a directory's names. */
typedef struct kv_io_sync {
    int fd;
    const char *dir; /* NULL: the file's */
    int result;      /* 0, or -errno */
} kv_io_sync;

/* stat(2) of a path, and the names of a directory. */
typedef struct kv_io_look {
    const char *path;
    kv_io_stat stat;
    int result;
} kv_io_look;
typedef struct kv_io_list {
    const char *dir;
    char *names; /* as list_dir's */
    int result;
} kv_io_list;

/* open(2) of a path. */
typedef struct kv_io_opening {
    const char *path;
    int flags;
    int result; /* a file descriptor, or -errno */
} kv_io_opening;

typedef enum kv_io_lock { KV_IO_UNLOCKED, KV_IO_SHARED, KV_IO_EXCLUSIVE } kv_io_lock;

/* Every function returns a count or 0, or -errno. */
typedef struct kv_io_table {
    int (*open)(void *self, const char *path, int flags); /* open(2); a file descriptor */
    int (*close)(void *self, int fd);
    int (*reserve)(void *self, int fd, int64_t n_bytes); /* fallocate(2) from 0 */
    int (*sync)(void *self, int fd);                     /* fdatasync(2) */
    int (*make_buffered)(void *self, int fd);            /* take O_DIRECT off again */

    /* Memory that many requests will use, for engines that can register it. Once. */
    int (*lend)(void *self, void *base, int64_t n_bytes);
    /* Take the first requests; returns how many. The others were not touched. */
    int (*submit)(void *self, const kv_io_request *requests, int n_requests);
    /* Up to n_max answers in any order; waits for the first, at most timeout_ms, also when nothing
     * is unanswered: whoever has to wait for better times does it here. */
    int (*complete)(void *self, kv_io_answer *answers, int n_max, int timeout_ms);
    /* No request is unanswered. */
    void (*free)(void *self);

    /* Names, sizes and locks: what the vault does to directories. Engines for tests of reads and
     * writes alone leave them out. */
    int (*truncate)(void *self, int fd, int64_t n_bytes);
    int (*lock)(void *self, int fd, kv_io_lock lock); /* flock(2); -EWOULDBLOCK, never waits */
    int (*stat_file)(void *self, int fd, kv_io_stat *out);
    int (*stat)(void *self, const char *path, kv_io_stat *out); /* lstat(2) */
    int (*rename)(void *self, const char *from, const char *to);
    int (*unlink)(void *self, const char *path);
    int (*touch)(void *self, const char *path); /* changed now */
    int (*make_dir)(void *self, const char *path);
    int (*sync_dir)(void *self, const char *path); /* fsync(2) of the directory */
    /* All of them, side by side, KV_IO_SYNCS_AT_ONCE at a time. An engine may leave these out: then they are one after
     * another. */
    void (*sync_all)(void *self, kv_io_sync *syncs, int n);
    void (*look_all)(void *self, kv_io_look *looks, int n);
    void (*list_all)(void *self, kv_io_list *lists, int n);
    void (*open_all)(void *self, kv_io_opening *openings, int n);
    /* How many names but . and .. it has; *names holds them, each ended by NUL; free(). */
    int (*list_dir)(void *self, const char *path, char **names);
} kv_io_table;

typedef struct kv_io_engine {
    const kv_io_table *table;
    void *self;
} kv_io_engine;

/* depth: requests unanswered at a time.
 * Errors: RT_EUNSUPPORTED  io_uring is not to be had here; the message says why
 *         RT_ENOMEM        threads or memory */
RT_MUST_CHECK rt_status kv_io_uring_create(int depth, kv_io_engine *out);
RT_MUST_CHECK rt_status kv_io_pread_create(int depth, kv_io_engine *out);

/* The calls that are the same in both: kv_io_table's first five. */
int kv_io_posix_open(void *self, const char *path, int flags);
int kv_io_posix_close(void *self, int fd);
int kv_io_posix_reserve(void *self, int fd, int64_t n_bytes);
int kv_io_posix_sync(void *self, int fd);
int kv_io_posix_make_buffered(void *self, int fd);

/* The same in both, too, for an initializer of kv_io_table: everything from truncate on. */
int kv_io_posix_truncate(void *self, int fd, int64_t n_bytes);
int kv_io_posix_lock(void *self, int fd, kv_io_lock lock);
int kv_io_posix_stat_file(void *self, int fd, kv_io_stat *out);
int kv_io_posix_stat(void *self, const char *path, kv_io_stat *out);
int kv_io_posix_rename(void *self, const char *from, const char *to);
int kv_io_posix_unlink(void *self, const char *path);
int kv_io_posix_touch(void *self, const char *path);
int kv_io_posix_make_dir(void *self, const char *path);
int kv_io_posix_sync_dir(void *self, const char *path);
int kv_io_posix_list_dir(void *self, const char *path, char **names);
void kv_io_posix_sync_all(void *self, kv_io_sync *syncs, int n); /* io_sync.c */
void kv_io_posix_look_all(void *self, kv_io_look *looks, int n);
void kv_io_posix_list_all(void *self, kv_io_list *lists, int n);
void kv_io_posix_open_all(void *self, kv_io_opening *openings, int n);
#define KV_IO_POSIX_NAMES                                                                       \
    .truncate = kv_io_posix_truncate, .lock = kv_io_posix_lock,                                 \
    .stat_file = kv_io_posix_stat_file, .stat = kv_io_posix_stat, .rename = kv_io_posix_rename, \
    .unlink = kv_io_posix_unlink, .touch = kv_io_posix_touch, .make_dir = kv_io_posix_make_dir, \
    .sync_dir = kv_io_posix_sync_dir, .list_dir = kv_io_posix_list_dir,                         \
    .sync_all = kv_io_posix_sync_all, .look_all = kv_io_posix_look_all,                         \
    .list_all = kv_io_posix_list_all, .open_all = kv_io_posix_open_all

#endif
