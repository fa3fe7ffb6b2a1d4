/* The page pool: one allocation, counted references, room promised ahead. Private to kvstore. */
#ifndef KV_PAGES_H
#define KV_PAGES_H

#include "runtime/base/device.h"
#include "runtime/base/status.h"

typedef struct kv_pool {
    rt_device *device; /* whose memory it is; NULL: the host's */
    char *memory;
    int64_t page_bytes;
    int64_t n_pages;
    int64_t n_free;
    int64_t n_promised; /* free pages that belong to someone already; <= n_free */
    int64_t n_shared;   /* pages with more than one reference */
    int32_t *refs;      /* by page */
    int32_t *free_list; /* n_free page numbers, the next one last */
} kv_pool;

/* Errors: RT_ENOMEM. */
RT_MUST_CHECK rt_status kv_pool_open(
        int64_t n_pages, int64_t page_bytes, rt_device *device, kv_pool *pool);
/* Every page must be free. A zeroed pool is fine. */
void kv_pool_close(kv_pool *pool);

/* Pages that are free and promised to nobody. */
int64_t kv_pool_room(const kv_pool *pool);

/* Promise n pages, n <= kv_pool_room(); or return n promised ones. */
void kv_pool_promise(kv_pool *pool, int64_t n_pages);
void kv_pool_unpromise(kv_pool *pool, int64_t n_pages);

/* A page out of the promised ones, with one reference; its bytes are unspecified. */
void *kv_pool_take(kv_pool *pool);

/* One page's bytes into another. */
void kv_pool_copy(const kv_pool *pool, void *to, const void *from);

/* One more reference. */
void kv_pool_share(kv_pool *pool, void *page);
/* One reference fewer; true when that was the last and the page is free, promised to nobody. */
bool kv_pool_drop(kv_pool *pool, void *page);
bool kv_pool_is_shared(const kv_pool *pool, const void *page);

#endif
