/* Pages of a GPU and the store's rows. Rows are decoded by all threads into pinned memory, a window at a time, copied
 * over, and put into pages by a kernel; the other way round the host waits for the rows before it encodes them. Rows that
 * stay in the host's memory are copied from and to where they lie, and nobody waits.
 *
 * There are two places that windows come through, in turns, and one that they go through; a place is pinned memory, its
 * slab, and as much on the device, its area. With windows w of a layer, each of which is attended to:
 *
 *     disk     | read w+2           | read w+3                 | ... and on into the next (layer, chunk) item
 *     host     | decode w+1 -> slab | decode w+2 -> other slab | ...            (only what comes from the disk)
 *     copy_in  | copy w+1 -> area   | copy w+2 -> other area   | ...
 *     compute  | pages of w, attend | pages of w+1, attend     | ... output projection, MLP
 *     copy_out |                                               | rows -> area -> host, of extents that are whole
 *
 * A copy waits for the kernel that emptied its area two windows ago (`taken`), that kernel's like for the copy (`come`): the
 * link stands still only where both areas are full. Rows that go leave when the layer's last window has been attended to
 * (`computed`); pages are free for what is computed next once their rows are in the area (`unpacked`), and what is copied
 * in next may be what has just gone out (`left`). The host waits for a slab that it writes, that is for a copy two
 * windows ago, and for rows that it encodes: those after the layer's MLP has been queued (layer_cuda.c), in decode the
 * next layer's qkv, too. For a read it waits where the disk is slower than what is computed: it was asked for when the
 * window before the last had been decoded, or in the item before (kv_walk_then); two windows are queued by then. SPEED.md, a
 * whole model, GPU, 6, has what each step takes.
 *
 * In slab and area each head of each extent has slab_stride bytes. A kernel wants, and makes,
 * [K|V][n_tokens][128]; while rows come in and their number is not known, V stands in the slab at half of
 * the stride. Of e4m3 pages it is full ones, one after the other, as canonical bytes; of open pages rows. */
#include <string.h>

#include "attention/attn_fp8.h"
#include "engine_cuda.h"

/* ---- lists of pointers ----------------------------------------------------------------------- */

/* Where the next list is written, once what was there is on the device. */
static rt_status list_room(glm_cuda_tables *tables, void ***out) {
    const int64_t slot = tables->n_sent % GLM_CUDA_TABLES;
    *out = tables->host + slot * tables->capacity;
    return glm_cuda_event_wait(tables->sent[slot]);
}

static rt_status send_list(
        glm_cuda_tables *tables, int64_t n, rt_stream stream, void *const **out) {
    const int64_t slot = tables->n_sent % GLM_CUDA_TABLES;
    void **device = tables->device + slot * tables->capacity;
    RT_TRY(glm_cuda_copy_in(
            device, tables->host + slot * tables->capacity, n * (int64_t)sizeof *device, stream));
    RT_TRY(glm_cuda_event_record(tables->sent[slot], stream));
    tables->n_sent++;
    *out = device;
    return RT_OK;
}

rt_status glm_cuda_tables_send(glm_cuda_tables *tables, void *const *list, int64_t n,
        rt_stream stream, void *const **out) {
    void **host = NULL;
    rt_assert(n <= tables->capacity);
    RT_TRY(list_room(tables, &host));
    memcpy(host, list, (size_t)n * sizeof *host);
    return send_list(tables, n, stream, out);
}

/* ---- where rows are -------------------------------------------------------------------------- */

enum { OUT = GLM_CUDA_PLACES - 1, EXTENTS_MAX = 64 };

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

static char *in_slab(const glm_cuda *cuda, int place, int64_t head) {
    return cuda->slab + place * cuda->place_bytes + head * cuda->slab_stride;
}

static char *in_area(const glm_cuda *cuda, int place, int64_t head) {
    return cuda->rows_area + place * cuda->place_bytes + head * cuda->slab_stride;
}

static int64_t n_pages_of(const moved *m) {
    return rt_div_up(m->n_tokens, ATTN_PAGE_TOKENS);
}

/* The kernels' arguments, of n extents: of each its pages, then each head's rows. */
static rt_status send_arguments(glm_cuda *cuda, glm_cuda_tables *tables, int place, const moved *m,
        int32_t n, rt_stream stream, void *const **out) {
    const int32_t n_heads = cuda->shape.n_kv_heads;
    void **list = NULL;
    int64_t at = 0;
    RT_TRY(list_room(tables, &list));
    for (int32_t i = 0; i < n; i++) {
        rt_assert(at + n_pages_of(&m[i]) + n_heads <= tables->capacity);
        memcpy(list + at, m[i].pages, (size_t)n_pages_of(&m[i]) * sizeof *list);
        at += n_pages_of(&m[i]);
        for (int32_t h = 0; h < n_heads; h++)
            list[at++] = in_area(cuda, place, m[i].first_head + h);
    }
    return send_list(tables, at, stream, out);
}

static rt_status to_pages(
        const glm_cuda *cuda, const attn_cuda_pack_args *args, bool of_sealed, rt_stream stream) {
    return of_sealed ? attn_cuda_fp8_page_pack(&cuda->shape, args, stream)
                     : attn_cuda_page_pack(&cuda->shape, args, stream);
}

static rt_status to_rows(
        const glm_cuda *cuda, const attn_cuda_pack_args *args, bool of_sealed, rt_stream stream) {
    return of_sealed ? attn_cuda_fp8_page_unpack(&cuda->shape, args, stream)
                     : attn_cuda_page_unpack(&cuda->shape, args, stream);
}

/* A kernel for each of n extents, whose arguments were sent. */
static rt_status move(const glm_cuda *cuda, const moved *m, int32_t n, void *const *sent,
        bool is_in, rt_stream stream) {
    for (int32_t i = 0; i < n; i++) {
        const attn_cuda_pack_args args = {.pages = sent,
                .n_tokens = m[i].n_tokens - (m[i].is_sealed ? m[i].n_tokens % ATTN_PAGE_TOKENS : 0),
                .runs = sent + n_pages_of(&m[i])};
        RT_TRY((is_in ? to_pages : to_rows)(cuda, &args, m[i].is_sealed, stream));
        sent += n_pages_of(&m[i]) + cuda->shape.n_kv_heads;
    }
    return RT_OK;
}

/* Copies that follow one another on both sides are one: an extent's rows in the host's memory are, of 8 MiB instead of 1. */
typedef struct copies {
    rt_stream stream;
    bool is_in;
    char *to;
    const char *from;
    int64_t bytes; /* not queued yet */
} copies;

static rt_status end_copies(copies *c) {
    const int64_t bytes = c->bytes;
    c->bytes = 0;
    if (bytes == 0) return RT_OK;
    return (c->is_in ? glm_cuda_copy_in : glm_cuda_copy_out)(c->to, c->from, bytes, c->stream);
}

static rt_status copy(copies *c, char *to, const char *from, int64_t bytes) {
    if (c->bytes == 0 || to != c->to + c->bytes || from != c->from + c->bytes) {
        RT_TRY(end_copies(c));
        c->to = to;
        c->from = from;
    }
    c->bytes += bytes;
    return RT_OK;
}

/* ---- in -------------------------------------------------------------------------------------- */

/* By load, as the store numbers them: extents, heads within. */
typedef struct loads {
    glm_cuda *cuda;
    kv_walk *walk;
    int place;
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
    char *k = in_slab(l->cuda, l->place, item);
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

/* The extents that came in whole. */
static int32_t list_loads(const loads *l, int64_t n_loads, moved list[EXTENTS_MAX]) {
    const int32_t n_heads = l->cuda->shape.n_kv_heads;
    int32_t n = 0;
    rt_assert(n_loads <= (int64_t)EXTENTS_MAX * n_heads);
    for (int64_t i = 0; i < n_loads; i += n_heads)
        if (is_whole(l, i, n_heads))
            list[n++] = (moved){l->at[i].pages, l->at[i].n_tokens, i, is_sealed(l->cuda)};
    return n;
}

/* Rows of a head -> its area. */
static rt_status copy_head(const loads *l, int64_t head, copies *c) {
    const glm_cuda *cuda = l->cuda;
    const bool of_sealed = is_sealed(cuda);
    const int64_t bytes = run_bytes(cuda, l->at[head].n_tokens, of_sealed);
    char *to = in_area(cuda, l->place, head);
    RT_TRY(copy(c, to, l->at[head].k, bytes));
    return of_sealed ? RT_OK : copy(c, to + bytes, l->at[head].v, bytes);
}

static rt_status copy_all_in(const loads *l, const moved *list, int32_t n) {
    copies c = {.stream = l->cuda->device.copy_in, .is_in = true};
    for (int32_t i = 0; i < n; i++)
        for (int32_t h = 0; h < l->cuda->shape.n_kv_heads; h++)
            RT_TRY(copy_head(l, list[i].first_head + h, &c));
    return end_copies(&c);
}

/* Where the host writes rows, to the slab and to where they will lie pinned, what was there is over: in the slab two
 * windows ago; where extents were forgotten, everything that was under way. */
static rt_status free_slab(glm_cuda *cuda, const kv_walk *walk, int place) {
    const int64_t n_forgotten = kv_walk_rows_forgotten(walk);
    if (kv_walk_is_lasting(walk)) return RT_OK;
    RT_TRY(glm_cuda_event_wait(cuda->come[place]));
    if (n_forgotten == cuda->n_forgotten) return RT_OK;
    RT_TRY(glm_cuda_event_wait(cuda->come[1 - place]));
    RT_TRY(glm_cuda_event_wait(cuda->left));
    cuda->n_forgotten = n_forgotten;
    return RT_OK;
}

static rt_status queue_loads(const loads *l, int64_t n_loads) {
    glm_cuda *cuda = l->cuda;
    const glm_cuda_device *device = &cuda->device;
    moved list[EXTENTS_MAX];
    void *const *sent = NULL;
    const int32_t n = list_loads(l, n_loads, list);
    if (n == 0) return RT_OK;
    RT_TRY(glm_cuda_event_follow(device->copy_in, cuda->left));
    RT_TRY(glm_cuda_event_follow(device->copy_in, cuda->taken[l->place]));
    RT_TRY(send_arguments(cuda, &cuda->in_tables, l->place, list, n, device->copy_in, &sent));
    const rt_status status =
            copy_all_in(l, list, n); /* some have been queued, also where one was not */
    const rt_status noted = glm_cuda_event_record(cuda->come[l->place], device->copy_in);
    RT_TRY(status);
    RT_TRY(noted);
    RT_TRY(glm_cuda_event_follow(device->compute, cuda->come[l->place]));
    RT_TRY(move(cuda, list, n, sent, true, device->compute));
    return glm_cuda_event_record(cuda->taken[l->place], device->compute);
}

rt_status glm_cuda_load_window(glm_engine *engine, kv_walk *walk, int64_t n_loads) {
    glm_cuda *cuda = engine->cuda;
    loads l = {.cuda = cuda, .walk = walk, .place = (int)(cuda->n_windows++ % OUT)};
    rt_assert(n_loads <= 4096);
    RT_TRY(free_slab(cuda, walk, l.place));
    rt_pool_run(engine->pool, n_loads, load_item, &l);
    return queue_loads(&l, n_loads);
}

/* ---- out ------------------------------------------------------------------------------------- */

typedef struct stores {
    glm_cuda *cuda;
    kv_walk *walk;
} stores;

/* A piece of a store. */
static void store_item(void *context, int64_t item, int thread) {
    const stores *s = context;
    const int64_t n_pieces = kv_walk_pieces(s->walk);
    const int64_t store = item / n_pieces, first = item % n_pieces * KV_PIECE_TOKENS;
    const kv_rows rows = kv_walk_piece(s->walk, store, first, thread);
    if (rows.n_tokens == 0 || rows.is_lasting) return;
    const bool of_sealed = is_sealed(s->cuda);
    const char *slab = in_slab(s->cuda, OUT, store) + run_bytes(s->cuda, first, of_sealed);
    const int64_t bytes = run_bytes(s->cuda, rows.n_tokens, of_sealed);
    memcpy(rows.k, slab, (size_t)bytes);
    if (!of_sealed) {
        const int32_t n_tokens = kv_walk_rows(s->walk, store, thread).n_tokens;
        memcpy(rows.v, slab + run_bytes(s->cuda, n_tokens, false), (size_t)bytes);
    }
    kv_walk_store(s->walk, store, &rows, first, thread);
}

static int32_t list_stores(const stores *s, int64_t n_stores, moved list[EXTENTS_MAX]) {
    const int32_t n_heads = s->cuda->shape.n_kv_heads;
    int32_t n = 0;
    rt_assert(n_stores <= (int64_t)EXTENTS_MAX * n_heads);
    for (int64_t i = 0; i < n_stores; i += n_heads) {
        const kv_rows rows = kv_walk_rows(s->walk, i, 0);
        list[n++] = (moved){rows.pages, rows.n_tokens, i, is_sealed(s->cuda)};
    }
    return n;
}

/* To where they stay, or to be encoded, from the slab: `is_lasting` false, then. */
static rt_status copy_all_out(
        const stores *s, const moved *list, int64_t n_stores, bool *is_lasting) {
    const int32_t n_heads = s->cuda->shape.n_kv_heads;
    copies c = {.stream = s->cuda->device.copy_out};
    *is_lasting = true;
    for (int64_t i = 0; i < n_stores; i++) {
        const kv_rows rows = kv_walk_rows(s->walk, i, 0);
        *is_lasting = *is_lasting && rows.is_lasting;
        RT_TRY(copy(&c, rows.is_lasting ? rows.k : in_slab(s->cuda, OUT, i),
                in_area(s->cuda, OUT, i), moved_bytes(s->cuda, &list[i / n_heads])));
    }
    return end_copies(&c);
}

static rt_status queue_stores(const stores *s, int64_t n_stores, bool *is_lasting) {
    glm_cuda *cuda = s->cuda;
    const rt_stream stream = cuda->device.copy_out;
    moved list[EXTENTS_MAX];
    void *const *sent = NULL;
    const int32_t n = list_stores(s, n_stores, list);
    if (!cuda->leaves_late) RT_TRY(glm_cuda_event_record(cuda->computed, cuda->device.compute));
    RT_TRY(glm_cuda_event_follow(stream, cuda->computed));
    RT_TRY(send_arguments(cuda, &cuda->out_tables, OUT, list, n, stream, &sent));
    RT_TRY(move(cuda, list, n, sent, false, stream));
    RT_TRY(glm_cuda_event_record(cuda->unpacked, stream));
    RT_TRY(glm_cuda_event_follow(cuda->device.compute, cuda->unpacked));
    RT_TRY(copy_all_out(s, list, n_stores, is_lasting));
    return glm_cuda_event_record(cuda->left, stream);
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
    rt_pool_run(engine->pool, n_stores * kv_walk_pieces(walk), store_item, &s);
    return RT_OK;
}

/* ---- one head, at once ----------------------------------------------------------------------- */

/* The kernels move all heads: those that are not meant go to, or come from, rows nobody looks at. */
static rt_status queue_head(glm_cuda *cuda, const moved *m, int32_t kv_head, bool is_in) {
    const rt_stream stream = cuda->device.compute;
    const int64_t bytes = moved_bytes(cuda, m);
    void *const *sent = NULL;
    char *slab = in_slab(cuda, OUT, kv_head);
    char *area = in_area(cuda, OUT, kv_head);
    RT_TRY(send_arguments(cuda, &cuda->out_tables, OUT, m, 1, stream, &sent));
    RT_TRY(move(cuda, m, 1, sent, false, stream));
    if (!is_in) return glm_cuda_copy_out(slab, area, bytes, stream);
    RT_TRY(glm_cuda_copy_in(area, slab, bytes, stream));
    return move(cuda, m, 1, sent, true, stream);
}

static rt_status move_head(const glm_engine *engine, const kv_rows *rows, bool is_in) {
    glm_cuda *cuda = engine->cuda;
    const moved m = {rows->pages, rows->n_tokens, 0, is_sealed(cuda) && !rows->is_open};
    const int64_t bytes = run_bytes(cuda, rows->n_tokens, m.is_sealed);
    const int64_t of_values = m.is_sealed ? 0 : bytes;
    char *slab = in_slab(cuda, OUT, rows->kv_head);
    RT_TRY(glm_cuda_event_wait(cuda->left));
    if (is_in) memcpy(slab, rows->k, (size_t)bytes);
    if (is_in && of_values) memcpy(slab + bytes, rows->v, (size_t)of_values);
    const rt_status status = queue_head(cuda, &m, rows->kv_head, is_in);
    if (status != RT_OK) glm_cuda_finish(cuda->device.compute); /* some of it was queued */
    RT_TRY(status);
    RT_TRY(glm_cuda_ranks_settle(
            engine, glm_cuda_wait(cuda->device.compute, "a page's rows on their way")));
    if (!is_in) memcpy(rows->k, slab, (size_t)bytes);
    if (!is_in && of_values) memcpy(rows->v, slab + bytes, (size_t)of_values);
    return RT_OK;
}

rt_status glm_cuda_rows_to_pages(glm_engine *engine, const kv_rows *rows) {
    return move_head(engine, rows, true);
}

rt_status glm_cuda_pages_to_rows(glm_engine *engine, const kv_rows *rows) {
    return move_head(engine, rows, false);
}
