#include "memory.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "machine.h"
#include "size.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size)   ((void)(address), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#endif

enum { ALIGNMENT = 64, RED_ZONE = 64 };

/* A mapping of `bytes` rounded up that starts on a huge page: map one more, give back the ends. */
static void *map_aligned(int64_t bytes) {
    const size_t want = (size_t)rt_round_up(bytes, RT_HUGE_PAGE_BYTES);
    const size_t slack = (size_t)RT_HUGE_PAGE_BYTES;
    char *raw =
            mmap(NULL, want + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (raw == MAP_FAILED) return NULL;
    const size_t skip = (slack - (uintptr_t)raw % slack) % slack;
    if (skip) (void)munmap(raw, skip);
    (void)munmap(raw + skip + want, slack - skip);
    (void)madvise(raw + skip, want, MADV_HUGEPAGE);
    return raw + skip;
}

static bool is_mapped(int64_t bytes) {
    return bytes >= 2 * RT_HUGE_PAGE_BYTES;
}

int64_t rt_mem_cost(int64_t bytes) {
    return is_mapped(bytes) ? rt_round_up(bytes, RT_HUGE_PAGE_BYTES) : bytes;
}

static rt_status refuse(int64_t bytes, const char *what) {
    char text[RT_SIZE_TEXT];
    char left[RT_SIZE_TEXT];
    const int error = errno;
    rt_machine_memory memory;
    const bool is_limited = rt_machine_memory_read(&memory) == RT_OK && memory.own_name;
    errno = error;
    if (is_limited)
        return rt_fail_errno(RT_ENOMEM,
                "memory: cannot allocate %s (%" PRId64 " bytes) for %s; %s leaves this process %s",
                rt_format_bytes(bytes, text), bytes, what, memory.own_name,
                rt_format_bytes(memory.own_bytes, left));
    return rt_fail_errno(RT_ENOMEM, "memory: cannot allocate %s (%" PRId64 " bytes) for %s",
            rt_format_bytes(bytes, text), bytes, what);
}

rt_status rt_mem_alloc(int64_t bytes, const char *what, void **out) {
    rt_assert(bytes >= 0);
    void *ptr = NULL;
    if (is_mapped(bytes)) {
        ptr = map_aligned(bytes);
    } else {
        const size_t rounded = (size_t)rt_round_up(rt_max64(bytes, 1), ALIGNMENT);
        ptr = aligned_alloc(ALIGNMENT, rounded);
        if (ptr) memset(ptr, 0, rounded);
    }
    if (!ptr) return refuse(bytes, what);
    *out = ptr;
    return RT_OK;
}

void rt_mem_free(void *ptr, int64_t bytes) {
    if (!ptr) return;
    if (is_mapped(bytes))
        (void)munmap(ptr, (size_t)rt_round_up(bytes, RT_HUGE_PAGE_BYTES));
    else
        free(ptr);
}

rt_status rt_malloc(int64_t bytes, const char *what, void **out) {
    rt_assert(bytes >= 0);
    void *ptr = malloc((size_t)rt_max64(bytes, 1));
    if (!ptr) return refuse(bytes, what);
    *out = ptr;
    return RT_OK;
}

rt_status rt_calloc(int64_t count, int64_t element_bytes, const char *what, void *out) {
    rt_assert(count >= 0 && element_bytes > 0);
    void *ptr = calloc((size_t)rt_max64(count, 1), (size_t)element_bytes);
    if (!ptr)
        return rt_fail(RT_ENOMEM, "memory: cannot allocate %" PRId64 " x %" PRId64 " bytes for %s",
                count, element_bytes, what);
    memcpy(out, &ptr, sizeof ptr);
    return RT_OK;
}

rt_status rt_make_room(
        void *array, int64_t element_bytes, int64_t n, int64_t *room, const char *what) {
    if (n < *room) return RT_OK;
    const int64_t wanted = rt_max64(16, 2 * *room);
    int64_t bytes = INT64_MAX;
    void *old;
    void *larger = NULL;
    memcpy(&old, array, sizeof old);
    if (rt_checked_mul(wanted, element_bytes, &bytes)) larger = realloc(old, (size_t)bytes);
    if (!larger)
        return rt_fail(RT_ENOMEM, "memory: no room for %" PRId64 " %s of %" PRId64 " bytes each",
                wanted, what, element_bytes);
    memcpy(array, &larger, sizeof larger);
    *room = wanted;
    return RT_OK;
}

int64_t rt_arena_cost(int64_t bytes) {
    return rt_round_up(bytes, ALIGNMENT) + RED_ZONE;
}

rt_status rt_arena_create(rt_arena *arena, int64_t bytes, const char *what) {
    void *base = NULL;
    RT_TRY(rt_mem_alloc(bytes, what, &base));
    *arena = (rt_arena){.base = base, .size = bytes, .used = 0};
    ASAN_POISON_MEMORY_REGION(arena->base, (size_t)bytes);
    return RT_OK;
}

void rt_arena_free(rt_arena *arena) {
    if (!arena->base) return;
    ASAN_UNPOISON_MEMORY_REGION(arena->base, (size_t)arena->size);
    rt_mem_free(arena->base, arena->size);
    *arena = (rt_arena){0};
}

void *rt_arena_take(rt_arena *arena, int64_t bytes) {
    rt_assert(bytes >= 0 && arena->used + rt_arena_cost(bytes) <= arena->size);
    char *object = arena->base + arena->used;
    arena->used += rt_arena_cost(bytes);
    ASAN_UNPOISON_MEMORY_REGION(object, (size_t)bytes);
    return object;
}
