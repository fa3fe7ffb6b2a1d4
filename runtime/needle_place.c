/* Where a needle goes, and where it is. */
#include <string.h>

#include "base/size.h"
#include "needle.h"

/* A cell's prompt is the same whatever else is in the grid. Fast mode shares beginnings: there those of all lengths of a round
 * are one. */
static int64_t rounds_apart(const glm_needle_settings *settings, const glm_needle_cell *cell) {
    return settings->is_fast ? glm_needle_longest(settings) : cell->length;
}

rt_status glm_needle_stretch(
        const glm_needle_source *source, const glm_needle_cell *cell, int64_t n, glm_ids *out) {
    const glm_ids *all = &source->haystack_ids;
    const int64_t apart = rounds_apart(source->settings, cell);
    int64_t at = cell->round * apart % all->n;
    while (n > 0) {
        const int64_t n_now = rt_min64(n, all->n - at);
        RT_TRY(glm_ids_append(out, all->ids + at, n_now));
        n -= n_now;
        at = 0;
    }
    return RT_OK;
}

/* ---- inserting ------------------------------------------------------------------------------- */

static const char *bytes_of(const glm_needle_source *source, int32_t id, int64_t *n_bytes) {
    return glm_tokenizer_bytes(source->tokenizer, id, n_bytes, NULL);
}

/* "." alone, as the scripts have it; of Chinese and Japanese also what ends with theirs, and then perhaps a line. */
static bool is_full_stop(const glm_needle_source *source, int32_t id) {
    static const char wide[] = "\u3002";
    const int64_t n_wide = (int64_t)sizeof wide - 1;
    int64_t n = 0;
    if (source->period_ids.n == 1 && id == source->period_ids.ids[0]) return true;
    const char *bytes = bytes_of(source, id, &n);
    while (n > 0 && (bytes[n - 1] == '\n' || bytes[n - 1] == ' ')) n--;
    return n >= n_wide && memcmp(bytes + n - n_wide, wide, (size_t)n_wide) == 0;
}

static bool begins_character(const glm_needle_source *source, int32_t id) {
    int64_t n = 0;
    const char *bytes = bytes_of(source, id, &n);
    return n == 0 || ((unsigned char)bytes[0] & 0xc0) != 0x80;
}

enum { SENTENCE_TOKENS_MAX = 512 };

int64_t glm_needle_insertion_point(
        const glm_needle_source *source, const int32_t *context, int64_t n, double depth) {
    if (depth >= 100.0) return n;
    int64_t at = (int64_t)((double)n * depth / 100.0);
    const int64_t least = at - rt_max64(SENTENCE_TOKENS_MAX, n / 50);
    int64_t stop = at;
    while (stop > 0 && stop >= least && !is_full_stop(source, context[stop - 1])) stop--;
    if (stop >= least) return stop;
    while (at > 0 && !begins_character(source, context[at])) at--;
    return at;
}

/* With `needle` there. */
static rt_status insert(const glm_needle_source *source, const int32_t *context, int64_t n,
        const char *needle, double depth, glm_ids *out, int64_t *needle_at) {
    const int64_t at = glm_needle_insertion_point(source, context, n, depth);
    *needle_at = out->n + at;
    RT_TRY(glm_ids_append(out, context, at));
    RT_TRY(glm_tokenizer_encode(source->tokenizer, needle, (int64_t)strlen(needle), false, out));
    return glm_ids_append(out, context + at, n - at);
}

rt_status glm_needle_hide(const glm_needle_source *source, const glm_needle_cell *cell,
        const glm_needle_task *task, int64_t n_tokens, glm_ids *context, int64_t *needle_at) {
    int64_t n_needle = 0;
    glm_ids text = {0};
    RT_TRY(glm_needle_tokens(source, task->needle, &n_needle));
    rt_status status = glm_needle_stretch(source, cell, rt_max64(n_tokens - n_needle, 0), &text);
    if (status == RT_OK)
        status = insert(source, text.ids, text.n, task->needle, cell->depth, context, needle_at);
    glm_ids_free(&text);
    return status;
}

/* ---- finding --------------------------------------------------------------------------------- */

int64_t glm_needle_token_at(
        const glm_needle_source *source, const glm_ids *ids, int64_t from, int64_t at) {
    for (int64_t end = 0; from < ids->n; from++) {
        int64_t n = 0;
        (void)bytes_of(source, ids->ids[from], &n);
        end += n;
        if (end > at) break;
    }
    return from;
}
