/* What decode's kernel reads instead of arguments: where the pages of every (layer, sequence) are, in lists that
 * the host keeps a copy of and sends only what has changed; and which sequences attend to which splits in one pass
 * (attn_cuda.h), which those lists say: forks of one book have its pages' addresses in common.
 *
 * A pass goes on for as long as all of its sequences have the same pages; then it divides into those that still have,
 * each of which goes on likewise, down to single sequences: a tree, and at most 2 n - 1 passes, those of most
 * splits first. */
#include <string.h>

#include "engine_cuda.h"

enum { SPLIT_PAGES = ATTN_SPLIT_TOKENS / ATTN_PAGE_TOKENS };

/* ---- lists of pages -------------------------------------------------------------------------- */

int64_t glm_cuda_list_at(const glm_engine *engine, int32_t layer, int32_t i) {
    return ((int64_t)layer * engine->plan.max_seqs + i) * engine->cuda->pages_max;
}

/* n pages from place `at` of the lists on, where they differ from what the device has there. */
static rt_status list_some(glm_cuda *cuda, int64_t at, void *const *pages, int64_t n) {
    void **host = cuda->host_pages + at;
    int64_t first = 0;
    int64_t end = n;
    while (first < end && host[first] == pages[first]) first++;
    while (end > first && host[end - 1] == pages[end - 1]) end--;
    if (first == end) return RT_OK;
    if (first < n - 1) cuda->has_other_pages = true;
    const int64_t bytes = (end - first) * (int64_t)sizeof *host;
    memcpy(host + first, pages + first, (size_t)bytes);
    return glm_cuda_copy_in(cuda->pages + at + first, host + first, bytes, cuda->device.compute);
}

/* A sequence's open page, which is the one at place `at`. */
static rt_status list_open(
        glm_engine *engine, int32_t layer, const kv_window_part *part, int64_t at) {
    glm_cuda *cuda = engine->cuda;
    const int64_t i = (int64_t)layer * engine->plan.max_seqs + part->seq;
    RT_TRY(list_some(cuda, at, part->open_pages, 1));
    if (cuda->host_open_pages[i] == cuda->pages + at) return RT_OK;
    cuda->host_open_pages[i] = cuda->pages + at;
    return glm_cuda_copy_in(cuda->open_pages + i, cuda->host_open_pages + i,
            (int64_t)sizeof *cuda->open_pages, cuda->device.compute);
}

rt_status glm_cuda_list_pages(glm_engine *engine, int32_t layer, const kv_window_part *part) {
    const int64_t page = part->first_pos / ATTN_PAGE_TOKENS;
    const int64_t at = glm_cuda_list_at(engine, layer, part->seq) + page;
    const int64_t n = rt_div_up(part->n_tokens, ATTN_PAGE_TOKENS);
    rt_assert(page + n <= engine->cuda->pages_max);
    if (!part->open_pages) return list_some(engine->cuda, at, part->pages, n);
    RT_TRY(list_some(engine->cuda, at, part->pages, n - 1));
    return list_open(engine, layer, part, at + n - 1);
}

void glm_cuda_forget_pages(glm_engine *engine) {
    glm_cuda *cuda = engine->cuda;
    const int64_t n = glm_cuda_list_at(engine, engine->config.n_layers, 0);
    for (int64_t i = 0; i < n; i++) cuda->host_pages[i] = NULL;
    for (int64_t i = 0; i < n / cuda->pages_max && cuda->host_open_pages; i++)
        cuda->host_open_pages[i] = NULL;
    cuda->has_other_pages = true;
}

/* ---- who shares what ------------------------------------------------------------------------- */

/* Splits of each sequence that are to be attended to, and those before which other sequences may have the same: they
 * end before the query token's page. */
typedef struct sharing {
    const glm_engine *engine;
    int32_t first_layer;
    int32_t end_layer;
    int32_t ends[GLM_DECODE_SEQS_MAX];
    int32_t shared_ends[GLM_DECODE_SEQS_MAX];
    glm_cuda_passes *out;
} sharing;

static bool have_same_pages(const sharing *s, int32_t a, int32_t b, int32_t split) {
    const glm_cuda *cuda = s->engine->cuda;
    if (s->shared_ends[a] <= split || s->shared_ends[b] <= split) return false;
    for (int32_t layer = s->first_layer; layer < s->end_layer; layer++) {
        void *const *of_a = cuda->host_pages + glm_cuda_list_at(s->engine, layer, a);
        void *const *of_b = cuda->host_pages + glm_cuda_list_at(s->engine, layer, b);
        const int64_t page = (int64_t)split * SPLIT_PAGES;
        if (memcmp(of_a + page, of_b + page, SPLIT_PAGES * sizeof *of_a) != 0) return false;
    }
    return true;
}

/* As far as all of a pass's sequences go together. */
static void extend(const sharing *s, attn_cuda_pass *pass) {
    const int32_t *seqs = s->out->order + pass->first;
    if (pass->n == 1) {
        pass->end_split = s->ends[seqs[0]];
        return;
    }
    for (;; pass->end_split++)
        for (int32_t i = 1; i < pass->n; i++)
            if (!have_same_pages(s, seqs[0], seqs[i], pass->end_split)) return;
}

/* Of the sequences order[first .. end), those that have the first one's pages change places to the front. Returns
 * how many they are. */
static int32_t gather(const sharing *s, int32_t first, int32_t end, int32_t split) {
    int32_t *order = s->out->order, filled = first + 1;
    for (int32_t i = filled; i < end; i++) {
        const int32_t taken = order[i];
        if (!have_same_pages(s, order[first], taken, split)) continue;
        order[i] = order[filled];
        order[filled++] = taken;
    }
    return filled - first;
}

/* What comes behind a pass, each of its sequences in one. */
static void divide(const sharing *s, attn_cuda_pass pass) {
    glm_cuda_passes *out = s->out;
    const int32_t end = pass.first + pass.n, split = pass.end_split;
    for (int32_t at = pass.first, n; at < end; at += n) {
        n = gather(s, at, end, split);
        out->passes[out->n++] = (attn_cuda_pass){at, n, split, split};
    }
}

/* order[n] is there. */
static void list_passes(const sharing *s, int32_t n, int32_t first_split) {
    glm_cuda_passes *out = s->out;
    out->passes[0] = (attn_cuda_pass){0, n, first_split, first_split};
    out->n = 1;
    out->n_together = 1;
    for (int32_t i = 0; i < out->n; i++) {
        attn_cuda_pass *pass = &out->passes[i];
        extend(s, pass);
        if (pass->end_split > pass->first_split && pass->n > out->n_together)
            out->n_together = pass->n;
        if (pass->n > 1) divide(s, *pass);
    }
}

/* ---- a step over all keys -------------------------------------------------------------------- */

static int32_t splits_of(int64_t n_tokens) {
    return (int32_t)rt_div_up(n_tokens, ATTN_SPLIT_TOKENS);
}

/* A token more of each, or so, and the same sequences and splits. */
static bool is_as_before(const glm_cuda *cuda, const int64_t *lengths, int32_t n) {
    if (cuda->has_other_pages || cuda->n_listed != n) return false;
    for (int32_t i = 0; i < n; i++) {
        const int64_t before = cuda->listed_lengths[i];
        if (lengths[i] < before || splits_of(lengths[i]) != splits_of(before)) return false;
    }
    return true;
}

static void list_anew(glm_engine *engine, const int64_t *lengths, int32_t n) {
    glm_cuda *cuda = engine->cuda;
    sharing s = {.engine = engine, .end_layer = engine->config.n_layers, .out = &cuda->host_passes};
    for (int32_t i = 0; i < n; i++) {
        cuda->host_passes.order[i] = i;
        s.ends[i] = splits_of(lengths[i]);
        s.shared_ends[i] = (int32_t)((lengths[i] - 1) / ATTN_SPLIT_TOKENS);
    }
    list_passes(&s, n, 0);
    cuda->has_other_pages = false;
    cuda->n_listed = n;
}

rt_status glm_cuda_pass_all(glm_engine *engine, const int64_t *lengths, int32_t n) {
    glm_cuda *cuda = engine->cuda;
    glm_cuda_passes *host = &cuda->host_passes;
    if (!is_as_before(cuda, lengths, n)) list_anew(engine, lengths, n);
    for (int32_t i = 0; i < n; i++) cuda->listed_lengths[i] = lengths[i];
    for (; host->n < 2 * n; host->n++) host->passes[host->n] = (attn_cuda_pass){0};
    cuda->passes.n = host->n;
    cuda->passes.n_together = host->n_together;
    return glm_cuda_copy_in(cuda->passes_memory, cuda->host_passes_memory,
            glm_cuda_passes_bytes(engine->plan.max_seqs), cuda->device.compute);
}

/* ---- a window -------------------------------------------------------------------------------- */

rt_status glm_cuda_pass_window(glm_engine *engine, int32_t layer, const kv_window *window,
        const int64_t *lengths, int32_t n, glm_cuda_passes *out) {
    int32_t order[GLM_DECODE_SEQS_MAX];
    attn_cuda_pass passes[2 * GLM_DECODE_SEQS_MAX];
    void *list[GLM_CUDA_PASSES_POINTERS(GLM_DECODE_SEQS_MAX)];
    glm_cuda_passes host = {.order = order, .passes = passes};
    sharing s = {.engine = engine, .first_layer = layer, .end_layer = layer + 1, .out = &host};
    int32_t n_here = 0;
    for (int32_t i = 0; i < window->n_parts; i++) {
        const kv_window_part *part = &window->parts[i];
        if (part->seq >= n) continue;
        const int64_t end = part->first_pos + part->n_tokens;
        order[n_here++] = part->seq;
        s.ends[part->seq] = splits_of(end);
        s.shared_ends[part->seq] =
                (int32_t)(rt_min64(end, lengths[part->seq] - 1) / ATTN_SPLIT_TOKENS);
        rt_assert(part->first_pos == window->parts[0].first_pos);
    }
    engine->cuda->has_other_pages = true;
    *out = (glm_cuda_passes){0};
    if (n_here == 0) return RT_OK;
    list_passes(&s, n_here, splits_of(window->parts[0].first_pos));
    const int64_t at = GLM_CUDA_PASSES_AT(n_here);
    memcpy(list, order, (size_t)n_here * sizeof *order);
    memcpy(list + at, passes, (size_t)host.n * sizeof *passes);
    void *const *sent = NULL;
    RT_TRY(glm_cuda_tables_send(&engine->cuda->pass_tables, list,
            at + host.n * (int64_t)(sizeof *passes / sizeof *list), engine->cuda->device.compute,
            &sent));
    *out = glm_cuda_passes_in((void *)(uintptr_t)sent, n_here);
    out->n = host.n;
    out->n_together = host.n_together;
    return RT_OK;
}
