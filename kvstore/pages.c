/* The page pool. A page is free or has references; a free page may be promised. Always true:
 *
 *   1. n_pages = n_free + pages with at least one reference
 *   2. 0 <= n_promised <= n_free, so whoever was promised a page gets one
 *   3. n_shared = pages with more than one reference
 *   4. free_list[0 .. n_free) are exactly the pages with none, each once */
#include "pages.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/base/memory.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size)   ((void)(address), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#endif

static void *page_at(const kv_pool *pool, int32_t number) {
    return pool->memory + (int64_t)number * pool->page_bytes;
}

static int32_t number_of(const kv_pool *pool, const void *page) {
    const int64_t offset = (const char *)page - pool->memory;
    const int64_t number = offset / pool->page_bytes;
    rt_assert(offset >= 0 && offset % pool->page_bytes == 0 && number < pool->n_pages);
    return (int32_t)number;
}

/* ASan watches the pages of the host's memory. */
static void poison(const kv_pool *pool, void *memory, int64_t bytes) {
    if (!pool->device) ASAN_POISON_MEMORY_REGION(memory, (size_t)bytes);
}

static void unpoison(const kv_pool *pool, void *memory, int64_t bytes) {
    if (!pool->device) ASAN_UNPOISON_MEMORY_REGION(memory, (size_t)bytes);
}

static rt_status take_memory(rt_device *device, int64_t bytes, void **out) {
    return device ? device->alloc(device, bytes, "KV pages", out)
                  : rt_mem_alloc(bytes, "KV pages", out);
}

static void give_memory(const kv_pool *pool, int64_t bytes) {
    if (pool->device)
        pool->device->free(pool->device, pool->memory);
    else
        rt_mem_free(pool->memory, bytes);
}

rt_status kv_pool_open(int64_t n_pages, int64_t page_bytes, rt_device *device, kv_pool *pool) {
    rt_assert(n_pages > 0 && n_pages <= INT32_MAX && page_bytes > 0);
    rt_assert(n_pages <= INT64_MAX / page_bytes);
    *pool = (kv_pool){
            .device = device, .page_bytes = page_bytes, .n_pages = n_pages, .n_free = n_pages};
    rt_status status = RT_OK;
    void *memory = NULL;
    RT_TRY_GOTO(status, rt_calloc(n_pages, sizeof(int32_t), "page references", &pool->refs), out);
    RT_TRY_GOTO(status, rt_calloc(n_pages, sizeof(int32_t), "free pages", &pool->free_list), out);
    RT_TRY_GOTO(status, take_memory(device, n_pages * page_bytes, &memory), out);
    pool->memory = memory;
    poison(pool, memory, n_pages * page_bytes);
    for (int64_t i = 0; i < n_pages; i++) pool->free_list[i] = (int32_t)(n_pages - 1 - i);
    return RT_OK;
out:
    free(pool->refs);
    free(pool->free_list);
    *pool = (kv_pool){0};
    return status;
}

void kv_pool_close(kv_pool *pool) {
    rt_assert(pool->n_free == pool->n_pages && pool->n_promised == 0);
    const int64_t bytes = pool->n_pages * pool->page_bytes;
    unpoison(pool, pool->memory, bytes);
    give_memory(pool, bytes);
    free(pool->refs);
    free(pool->free_list);
    *pool = (kv_pool){0};
}

int64_t kv_pool_room(const kv_pool *pool) {
    return pool->n_free - pool->n_promised;
}

void kv_pool_promise(kv_pool *pool, int64_t n_pages) {
    rt_assert(n_pages >= 0 && n_pages <= kv_pool_room(pool));
    pool->n_promised += n_pages;
}

void kv_pool_unpromise(kv_pool *pool, int64_t n_pages) {
    rt_assert(n_pages >= 0 && n_pages <= pool->n_promised);
    pool->n_promised -= n_pages;
}

void *kv_pool_take(kv_pool *pool) {
    rt_assert(pool->n_promised > 0 && pool->n_free > 0);
    const int32_t number = pool->free_list[--pool->n_free];
    pool->n_promised--;
    rt_assert(pool->refs[number] == 0);
    pool->refs[number] = 1;
    void *page = page_at(pool, number);
    unpoison(pool, page, pool->page_bytes);
    return page;
}

void kv_pool_copy(const kv_pool *pool, void *to, const void *from) {
    if (pool->device)
        pool->device->copy(pool->device, to, from, pool->page_bytes);
    else
        memcpy(to, from, (size_t)pool->page_bytes);
}

void kv_pool_share(kv_pool *pool, void *page) {
    const int32_t number = number_of(pool, page);
    rt_assert(pool->refs[number] > 0 && pool->refs[number] < INT32_MAX);
    pool->n_shared += ++pool->refs[number] == 2;
}

bool kv_pool_drop(kv_pool *pool, void *page) {
    const int32_t number = number_of(pool, page);
    rt_assert(pool->refs[number] > 0);
    pool->n_shared -= pool->refs[number] == 2;
    if (--pool->refs[number] > 0) return false;
    poison(pool, page, pool->page_bytes);
    pool->free_list[pool->n_free++] = number;
    return true;
}

bool kv_pool_is_shared(const kv_pool *pool, const void *page) {
    return pool->refs[number_of(pool, page)] > 1;
}
