/* Stands between a test program and its allocator and its reads: counts them, and makes one fail.
 *
 * Defines malloc, calloc, realloc, aligned_alloc, mmap and pread for the whole process, libraries
 * included, so exactly one file of a program may include it. Beneath are the sanitizer's functions
 * where there is one, else the C library's. Counting is on between faults_begin and faults_end, for
 * allocations only in the thread that began: a sanitizer's own, as a thread starts, must not fail. */
#ifndef HELP_FAULTS_H
#define HELP_FAULTS_H

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { FAULTS_NEVER = -1 };

/* What is told before read number `i`, of n_bytes of fd; it may change both how much is asked for
 * and the file. An errno makes the read fail, 0 lets it happen. */
typedef int faults_on_read(int fd, int64_t i, size_t *n_bytes);

static struct faults {
    atomic_bool is_on;
    atomic_llong n_allocations;
    atomic_llong bytes_allocated; /* asked for, never less for what is freed */
    atomic_llong fail_at;         /* the allocation with this number is refused */
    atomic_llong n_reads;
    atomic_llong bytes_read;
    faults_on_read *on_read;
} faults = {.fail_at = FAULTS_NEVER};

static _Thread_local bool faults_is_mine;

static inline void faults_begin(int64_t fail_at, faults_on_read *on_read) {
    atomic_store(&faults.n_allocations, 0);
    atomic_store(&faults.bytes_allocated, 0);
    atomic_store(&faults.fail_at, fail_at);
    atomic_store(&faults.n_reads, 0);
    atomic_store(&faults.bytes_read, 0);
    faults.on_read = on_read;
    faults_is_mine = true;
    atomic_store(&faults.is_on, true);
}

static inline void faults_end(void) {
    atomic_store(&faults.is_on, false);
    faults_is_mine = false;
}

/* ---- allocations ----------------------------------------------------------------------------- */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
void *__interceptor_malloc(size_t n_bytes);
void *__interceptor_calloc(size_t n, size_t n_bytes);
void *__interceptor_realloc(void *old, size_t n_bytes);
void *__interceptor_aligned_alloc(size_t alignment, size_t n_bytes);
void *__interceptor_mmap(void *at, size_t n_bytes, int prot, int flags, int fd, off_t offset);
ssize_t __interceptor_pread(int fd, void *bytes, size_t n_bytes, off_t offset);
#define real_malloc        __interceptor_malloc
#define real_calloc        __interceptor_calloc
#define real_realloc       __interceptor_realloc
#define real_aligned_alloc __interceptor_aligned_alloc
#define real_mmap          __interceptor_mmap
#define real_pread         __interceptor_pread
#else
void *__libc_malloc(size_t n_bytes);
void *__libc_calloc(size_t n, size_t n_bytes);
void *__libc_realloc(void *old, size_t n_bytes);
void *__libc_memalign(size_t alignment, size_t n_bytes);
#define real_malloc        __libc_malloc
#define real_calloc        __libc_calloc
#define real_realloc       __libc_realloc
#define real_aligned_alloc __libc_memalign
static inline void *real_mmap(void *at, size_t n_bytes, int prot, int flags, int fd, off_t offset) {
    return (void *)syscall(SYS_mmap, at, n_bytes, prot, flags, fd, offset);
}
static inline ssize_t real_pread(int fd, void *bytes, size_t n_bytes, off_t offset) {
    return syscall(SYS_pread64, fd, bytes, n_bytes, offset);
}
#endif

/* These run before a sanitizer has set itself up. */
#define UNWATCHED __attribute__((no_sanitize("address", "thread", "undefined")))

/* Whether this allocation may happen. */
UNWATCHED static bool faults_allow(size_t n_bytes) {
    if (!faults_is_mine) return true;
    atomic_fetch_add(&faults.bytes_allocated, (long long)n_bytes);
    if (atomic_fetch_add(&faults.n_allocations, 1) != atomic_load(&faults.fail_at)) return true;
    errno = ENOMEM;
    return false;
}

UNWATCHED void *malloc(size_t n_bytes) {
    return faults_allow(n_bytes) ? real_malloc(n_bytes) : NULL;
}

UNWATCHED void *calloc(size_t n, size_t n_bytes) {
    return faults_allow(n * n_bytes) ? real_calloc(n, n_bytes) : NULL;
}

UNWATCHED void *realloc(void *old, size_t n_bytes) {
    return faults_allow(n_bytes) ? real_realloc(old, n_bytes) : NULL;
}

UNWATCHED void *aligned_alloc(size_t alignment, size_t n_bytes) {
    return faults_allow(n_bytes) ? real_aligned_alloc(alignment, n_bytes) : NULL;
}

UNWATCHED void *mmap(void *at, size_t n_bytes, int prot, int flags, int fd, off_t offset) {
    return faults_allow(n_bytes) ? real_mmap(at, n_bytes, prot, flags, fd, offset) : MAP_FAILED;
}

/* ---- reads ----------------------------------------------------------------------------------- */

ssize_t pread(int fd, void *bytes, size_t n_bytes, off_t offset) {
    if (atomic_load(&faults.is_on)) {
        const int64_t i = atomic_fetch_add(&faults.n_reads, 1);
        const int error = faults.on_read ? faults.on_read(fd, i, &n_bytes) : 0;
        if (error) {
            errno = error;
            return -1;
        }
    }
    const ssize_t n = real_pread(fd, bytes, n_bytes, offset);
    if (n > 0 && atomic_load(&faults.is_on)) atomic_fetch_add(&faults.bytes_read, n);
    return n;
}

#endif
