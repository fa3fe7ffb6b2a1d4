/* Large memory: whole mappings with a name, and arenas carved from them.
 *
 * Everything large is planned, allocated once when the engine opens, and named, so that a
 * refusal can say what was asked for. Arenas put 64-byte red zones between objects under ASan. */
#ifndef RT_MEMORY_H
#define RT_MEMORY_H

#include "status.h"

/* `bytes` of zeroed memory, 64-byte aligned (2 MiB aligned, on huge pages where the kernel
 * grants them, from 4 MiB on). The caller owns it: rt_mem_free(ptr, bytes).
 *
 * Errors: RT_ENOMEM  the kernel refused; the message names `what` and the bytes */
RT_MUST_CHECK rt_status rt_mem_alloc(int64_t bytes, const char *what, void **out);
void rt_mem_free(void *ptr, int64_t bytes);
/* What such an allocation may take of the machine: whole huge pages, where it is on them. */
enum { RT_HUGE_PAGE_BYTES = 2 * 1024 * 1024 };
int64_t rt_mem_cost(int64_t bytes);

/* Small memory. Like malloc, but a refusal is an error with text; freed by free(). */
RT_MUST_CHECK rt_status rt_malloc(int64_t bytes, const char *what, void **out);
/* Zeroed array of `count` elements, the product checked. `out` is the address of a pointer of any
 * type. */
RT_MUST_CHECK rt_status rt_calloc(
        int64_t count, int64_t element_bytes, const char *what, void *out);

/* Room for one element more behind n of an array that grows: where there is none, it moves to twice as much.
 *
 *   array  the address of a pointer of any type; NULL at first; the array is the caller's, for free()
 *   room   elements that it has room for; 0 at first
 *   what   they are, for the message
 *
 * Errors: RT_ENOMEM  the array is as it was */
RT_MUST_CHECK rt_status rt_make_room(
        void *array, int64_t element_bytes, int64_t n, int64_t *room, const char *what);

/* One allocation, given out front to back, and freed as one. */
typedef struct rt_arena {
    char *base;
    int64_t size;
    int64_t used;
} rt_arena;

/* Bytes an object takes from an arena, alignment and red zone included: sum these to plan. */
int64_t rt_arena_cost(int64_t bytes);

/* As rt_mem_alloc. RT_ENOMEM. */
RT_MUST_CHECK rt_status rt_arena_create(rt_arena *arena, int64_t bytes, const char *what);
/* What was taken from it is gone, too. An arena of zeros has nothing to free. */
void rt_arena_free(rt_arena *arena);

/* Zeroed, 64-byte aligned, the arena's. Asserts that it fits: the plan said so. */
void *rt_arena_take(rt_arena *arena, int64_t bytes);

#endif
