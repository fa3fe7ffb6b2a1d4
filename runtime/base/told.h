/* What TSan is told, where to follow every read and write would take most of its time.
 *
 * It does not follow a function that is RT_TOLD, which touches each number once or many times over: by rt_reads and
 * rt_writes its caller, or its own first lines, say once what is touched of the memory that is not the calling
 * thread's own. What it calls must be RT_TOLD, too, or always inlined. */
#ifndef RT_TOLD_H
#define RT_TOLD_H

#include <stdint.h>

#define RT_TOLD __attribute__((no_sanitize("thread")))

#if defined(__SANITIZE_THREAD__)
void __tsan_read_range(void *from, long n_bytes);
void __tsan_write_range(void *to, long n_bytes);

static inline __attribute__((always_inline)) void rt_reads(const void *from, int64_t n_bytes) {
    __tsan_read_range((void *)(uintptr_t)from, n_bytes);
}

static inline __attribute__((always_inline)) void rt_writes(void *to, int64_t n_bytes) {
    __tsan_write_range(to, n_bytes);
}
#else
static inline __attribute__((always_inline)) void rt_reads(const void *from, int64_t n_bytes) {
    (void)from, (void)n_bytes;
}

static inline __attribute__((always_inline)) void rt_writes(void *to, int64_t n_bytes) {
    (void)to, (void)n_bytes;
}
#endif

#endif
