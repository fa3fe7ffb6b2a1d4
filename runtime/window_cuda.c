/* Pages of a GPU and the store's rows. Rows are decoded by all threads into pinned memory, a window at a time, copied
 * over, and put into pages by a kernel; the other way round the host waits for the rows before it encodes them. Rows that
 * stay in the host's memory are copied from and to where they lie, and nobody waits.
 *
 * In the slab and in rows_area each head of each extent has slab_stride bytes. A kernel wants, and makes,
 * [K|V][n_tokens][128]; while rows come in and their number is not known, V stands in the slab at half of
 * the stride. Of e4m3 pages it is full ones, one after the other, as canonical bytes; of open pages rows. */
#include <string.h>

#include "attention/attn_fp8.h"
#include "engine_cuda.h"

/* ---- lists of pointers ----------------------------------------------------------------------- */

rt_status glm_cuda_tables_send(glm_cuda_tables *tables, void *const *list, int64_t n,
        rt_stream stream, void *const **out) {
    const int64_t slot = tables->n_sent % GLM_CUDA_TABLES;
    void **host = tables->host + slot * tables->capacity;
    void **device = tables->device + slot * tables->capacity;
    rt_assert(n <= tables->capacity);
    RT_TRY(glm_cuda_event_wait(tables->sent[slot]));
    memcpy(host, list, (size_t)n * sizeof *host);
    RT_TRY(glm_cuda_copy_in(device, host, n * (int64_t)sizeof *host, stream));
    RT_TRY(glm_cuda_event_record(tables->sent[slot], stream));
    tables->n_sent++;
    *out = device;
    return RT_OK;
}

/* ---- where rows are -------------------------------------------------------------------------- */

/* One extent, every head of it. */
typedef struct moved {
    void *const *pages;
    int64_t n_tokens;
    int64_t first_head; /* its first head's place in the slab */
    bool is_sealed;
} moved;

static bool is_sealed(const glm_cuda *cuda) {
    return attn_is_lossy(&cuda->shape);
}

/* Of the K or the V of n_tokens of a head; of sealed pages of both, and nothing else is V's. */
static int64_t run_bytes(const glm_cuda *cuda, int64_t n_tokens, bool of_sealed) {
    if (of_sealed) return n_tokens / ATTN_PAGE_TOKENS * ATTN_FP8_HEAD_BYTES;
    return n_tokens * cuda->shape.head_dim * 2;
}

/* Of all of a head. */
static int64_t moved_bytes(const glm_cuda *cuda, const moved *m) {
    return (m->is_sealed ? 1 : 2) * run_bytes(cuda, m->n_tokens, m->is_sealed);
}

static char *in_slab(const glm_cuda *cuda, int64_t head) {
    return cuda->slab + head * cuda->slab_stride;
}

static char *in_area(const glm_cuda *cuda, int64_t head) {
    return cuda->rows_area + head * cuda->slab_stride;
}

/* The kernel's arguments: page pointers, then each head's rows. */
static rt_status send_arguments(glm_cuda *cuda, glm_cuda_tables *tables, const moved *m,
        rt_stream stream, attn_cuda_pack_args *out) {
    void *list[4096 / ATTN_PAGE_TOKENS + 256];
    const int64_t n_pages = rt_div_up(m->n_tokens, ATTN_PAGE_TOKENS);
    void *const *sent = NULL;
    rt_assert(n_pages <= 4096 / ATTN_PAGE_TOKENS && cuda->shape.n_kv_heads <= 256);
    memcpy(list, m->pages, (size_t)n_pages * sizeof *list);
    for (int32_t h = 0; h < cuda->shape.n_kv_heads; h++)
        list[n_pages + h] = in_area(cuda, m->first_head + h);
    RT_TRY(glm_cuda_tables_send(tables, list, n_pages + cuda->shape.n_kv_heads, stream, &sent));
    *out = (attn_cuda_pack_args){.pages = sent, .n_tokens = m->n_tokens, .runs = sent + n_pages};
    if (m->is_sealed) out->n_tokens -= m->n_tokens % ATTN_PAGE_TOKENS;
    return RT_OK;
}

static rt_status to_pages(const glm_cuda *cuda, const moved *m, const attn_cuda_pack_args *args,
        rt_stream stream) {
    return m->is_sealed ? attn_cuda_fp8_page_pack(&cuda->shape, args, stream)
                        : attn_cuda_page_pack(&cuda->shape, args, stream);
}

static rt_status to_rows(const glm_cuda *cuda, const moved *m, const attn_cuda_pack_args *args,
        rt_stream stream) {
    return m->is_sealed ? attn_cuda_fp8_page_unpack(&cuda->shape, args, stream)
                        : attn_cuda_page_unpack(&cuda->shape, args, stream);
}

/* ---- in -------------------------------------------------------------------------------------- */

/* By load, as the store numbers them: extents, heads within. */
typedef struct loads {
    glm_cuda *cuda;
    kv_walk *walk;
    struct {
        void *const *pages;
        int64_t n_tokens;
        const char *k; /* in the slab, or where they lie pinned */
        const char *v;
    } at[4096];
} loads;

static void load_item(void *context, int64_t item, int thread) {
    loads *l = context;
    const bool of_sealed = is_sealed(l->cuda);
    char *k = in_slab(l->cuda, item);
    char *v = k + l->cuda->slab_stride / 2;
    kv_rows rows;
    l->at[item].n_tokens = 0;
    l->at[item].k = k;
    l->at[item].v = v;
    for (int64_t row = 0; kv_walk_load(l->walk, item, row, thread, &rows); row += rows.n_tokens) {
        if (row == 0) l->at[item].pages = rows.pages;
        l->at[item].n_tokens = row + rows.n_tokens;
        if (rows.is_lasting) {
            l->at[item].k = rows.k;
            l->at[item].v = rows.v;
            continue;
        }
        const int64_t at = run_bytes(l->cuda, row, of_sealed);
        const int64_t bytes = run_bytes(l->cuda, rows.n_tokens, of_sealed);
        memcpy(k + at, rows.k, (size_t)bytes);
        if (!of_sealed) memcpy(v + at, rows.v, (size_t)bytes);
    }
}

/* Heads that came in short were found damaged; the store says so next. */
static bool is_whole(const loads *l, int64_t first, int32_t n_heads) {
    for (int32_t h = 1; h < n_heads; h++)
        if (l->at[first + h].n_tokens != l->at[first].n_tokens) return false;
    return l->at[first].n_tokens > 0;
}

/* Rows of a head -> rows_area. */
static rt_status copy_head(const loads *l, int64_t head) {
    const glm_cuda *cuda = l->cuda;
    const bool of_sealed = is_sealed(cuda);
    const int64_t bytes = run_bytes(cuda, l->at[head].n_tokens, of_sealed);
    char *to = in_area(cuda, head);
    RT_TRY(glm_cuda_copy_in(to, l->at[head].k, bytes, cuda->device.copy_in));
    if (of_sealed) return RT_OK;
    return glm_cuda_copy_in(to + bytes, l->at[head].v, bytes, cuda->device.copy_in);
}

static rt_status fill_pages(const loads *l, int64_t first) {
    glm_cuda *cuda = l->cuda;
    const moved m = {l->at[first].pages, l->at[first].n_tokens, first, is_sealed(cuda)};
    attn_cuda_pack_args args;
    RT_TRY(send_arguments(cuda, &cuda->in_tables, &m, cuda->device.copy_in, &args));
    return to_pages(cuda, &m, &args, cuda->device.copy_in);
}

/* Each extent of a window that is whole. */
static rt_status for_extents(
        const loads *l, int64_t n_loads, rt_status (*work)(const loads *l, int64_t first)) {
    const int32_t n_heads = l->cuda->shape.n_kv_heads;
    for (int64_t i = 0; i < n_loads; i += n_heads)
        if (is_whole(l, i, n_heads)) RT_TRY(work(l, i));
    return RT_OK;
}

static rt_status copy_heads(const loads *l, int64_t first) {
    for (int32_t h = 0; h < l->cuda->shape.n_kv_heads; h++) RT_TRY(copy_head(l, first + h));
    return RT_OK;
}

/* Where the host writes rows, to the slab and to where they will lie pinned, what was there is over. */
static rt_status free_slab(const glm_cuda *cuda, const kv_walk *walk) {
    if (kv_walk_is_lasting(walk)) return RT_OK;
    RT_TRY(glm_cuda_event_wait(cuda->copied));
    return glm_cuda_event_wait(cuda->left);
}

/* The copies go on beside what was computed with the window before. */
rt_status glm_cuda_load_window(glm_engine *engine, kv_walk *walk, int64_t n_loads) {
    glm_cuda *cuda = engine->cuda;
    const glm_cuda_device *device = &cuda->device;
    loads l = {.cuda = cuda, .walk = walk};
    rt_assert(n_loads <= 4096);
    RT_TRY(free_slab(cuda, walk));
    rt_pool_run(engine->pool, n_loads, load_item, &l);
    RT_TRY(glm_cuda_event_follow(device->copy_in, cuda->left));
    RT_TRY(for_extents(&l, n_loads, copy_heads));
    RT_TRY(glm_cuda_event_record(cuda->copied, device->copy_in));
    RT_TRY(glm_cuda_event_record(cuda->computed, device->compute));
    RT_TRY(glm_cuda_event_follow(device->copy_in, cuda->computed));
    RT_TRY(for_extents(&l, n_loads, fill_pages));
    RT_TRY(glm_cuda_event_record(cuda->loaded, device->copy_in));
    return glm_cuda_event_follow(device->compute, cuda->loaded);
}

/* ---- out ------------------------------------------------------------------------------------- */

typedef struct stores {
    glm_cuda *cuda;
    kv_walk *walk;
} stores;

static void store_item(void *context, int64_t item, int thread) {
    const stores *s = context;
    const kv_rows rows = kv_walk_rows(s->walk, item, thread);
    const bool of_sealed = is_sealed(s->cuda);
    const int64_t bytes = run_bytes(s->cuda, rows.n_tokens, of_sealed);
    if (!rows.is_lasting) {
        memcpy(rows.k, in_slab(s->cuda, item), (size_t)bytes);
        if (!of_sealed) memcpy(rows.v, in_slab(s->cuda, item) + bytes, (size_t)bytes);
    }
    kv_walk_store(s->walk, item, thread);
}

/* Pages -> rows_area, each store's. */
static rt_status unpack_all(const stores *s, int64_t n_stores) {
    glm_cuda *cuda = s->cuda;
    const rt_stream stream = cuda->device.copy_out;
    for (int64_t i = 0; i < n_stores; i += cuda->shape.n_kv_heads) {
        const kv_rows rows = kv_walk_rows(s->walk, i, 0);
        const moved m = {rows.pages, rows.n_tokens, i, is_sealed(cuda)};
        attn_cuda_pack_args args;
        RT_TRY(send_arguments(cuda, &cuda->out_tables, &m, stream, &args));
        RT_TRY(to_rows(cuda, &m, &args, stream));
    }
    return RT_OK;
}

/* To where they stay, or to be encoded, from the slab: `is_lasting` false, then. */
static rt_status copy_all_out(const stores *s, int64_t n_stores, bool *is_lasting) {
    *is_lasting = true;
    for (int64_t i = 0; i < n_stores; i++) {
        const kv_rows rows = kv_walk_rows(s->walk, i, 0);
        const moved m = {rows.pages, rows.n_tokens, i, is_sealed(s->cuda)};
        *is_lasting = *is_lasting && rows.is_lasting;
        RT_TRY(glm_cuda_copy_out(rows.is_lasting ? rows.k : in_slab(s->cuda, i),
                in_area(s->cuda, i), moved_bytes(s->cuda, &m), s->cuda->device.copy_out));
    }
    return RT_OK;
}

/* What was loaded may still be on its way out of the slab, and into pages that go out again. Pages are free for what is
 * computed next once their rows are in rows_area. */
static rt_status queue_stores(const stores *s, int64_t n_stores, bool *is_lasting) {
    const glm_cuda *cuda = s->cuda;
    const glm_cuda_device *device = &cuda->device;
    RT_TRY(glm_cuda_event_follow(device->copy_out, cuda->loaded));
    RT_TRY(glm_cuda_event_record(cuda->computed, device->compute));
    RT_TRY(glm_cuda_event_follow(device->copy_out, cuda->computed));
    RT_TRY(unpack_all(s, n_stores));
    RT_TRY(glm_cuda_event_record(cuda->unpacked, device->copy_out));
    RT_TRY(glm_cuda_event_follow(device->compute, cuda->unpacked));
    RT_TRY(copy_all_out(s, n_stores, is_lasting));
    return glm_cuda_event_record(cuda->left, device->copy_out);
}

rt_status glm_cuda_store_window(glm_engine *engine, kv_walk *walk, int64_t n_stores) {
    glm_cuda *cuda = engine->cuda;
    stores s = {.cuda = cuda, .walk = walk};
    bool is_lasting = false;
    const rt_status status = queue_stores(&s, n_stores, &is_lasting);
    if (status != RT_OK || !is_lasting)
        RT_TRY(glm_cuda_ranks_settle(
                engine, glm_cuda_wait(cuda->device.copy_out, "pages on their way to the disk")));
    RT_TRY(status);
    rt_pool_run(engine->pool, n_stores, store_item, &s);
    return RT_OK;
}

/* ---- one head, at once ----------------------------------------------------------------------- */

/* The kernels move all heads: those that are not meant go to, or come from, rows nobody looks at. */
static rt_status move_head(const glm_engine *engine, const kv_rows *rows, bool is_in) {
    glm_cuda *cuda = engine->cuda;
    const rt_stream stream = cuda->device.compute;
    const moved m = {rows->pages, rows->n_tokens, 0, is_sealed(cuda) && !rows->is_open};
    const int64_t bytes = run_bytes(cuda, rows->n_tokens, m.is_sealed);
    const int64_t of_values = m.is_sealed ? 0 : bytes;
    attn_cuda_pack_args args;
    char *slab = in_slab(cuda, rows->kv_head);
    RT_TRY(glm_cuda_event_wait(cuda->loaded));
    RT_TRY(glm_cuda_event_wait(cuda->left));
    RT_TRY(send_arguments(cuda, &cuda->out_tables, &m, stream, &args));
    RT_TRY(to_rows(cuda, &m, &args, stream));
    if (is_in) {
        memcpy(slab, rows->k, (size_t)bytes);
        if (of_values) memcpy(slab + bytes, rows->v, (size_t)of_values);
        RT_TRY(glm_cuda_copy_in(
                in_area(cuda, rows->kv_head), slab, moved_bytes(cuda, &m), stream));
        RT_TRY(to_pages(cuda, &m, &args, stream));
        return glm_cuda_wait(stream, "rows on their way to a page");
    }
    RT_TRY(glm_cuda_copy_out(
            slab, in_area(cuda, rows->kv_head), moved_bytes(cuda, &m), stream));
    RT_TRY(glm_cuda_ranks_settle(engine, glm_cuda_wait(stream, "a page's rows")));
    memcpy(rows->k, slab, (size_t)bytes);
    if (of_values) memcpy(rows->v, slab + bytes, (size_t)of_values);
    return RT_OK;
}

rt_status glm_cuda_rows_to_pages(glm_engine *engine, const kv_rows *rows) {
    return move_head(engine, rows, true);
}

rt_status glm_cuda_pages_to_rows(glm_engine *engine, const kv_rows *rows) {
    return move_head(engine, rows, false);
}
