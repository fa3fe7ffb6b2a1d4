/* The longest stored prefix. Full segments are found by the chain hash of the next 4096 ids; at the
 * end, the segment with the same parent that agrees longest is used as far as it agrees. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "runtime/base/memory.h"
#include "runtime/base/size.h"
#include "vault_inside.h"

/* Of segments with one parent and the same first ids only so many are looked into, and so many hashes made, of 16 KiB. */
enum { WHOLE_TRIES_MAX = 32, TAIL_TRIES_MAX = 64, HASHES_MAX = 1024 };

typedef struct search {
    kv_vault *vault;
    const int32_t *ids;
    int64_t n_ids;
    kv_hash chain; /* after what is found */
    kv_prefix *prefix;
    bool is_over;    /* the reason is given */
    bool only_looks; /* at what is there: nothing is imported */
} search;

/* ---- reasons --------------------------------------------------------------------------------- */

/* 12288 -> "12,288" */
static const char *with_commas(int64_t n, char text[RT_SIZE_TEXT]) {
    char digits[RT_SIZE_TEXT];
    const int n_digits = snprintf(digits, sizeof digits, "%" PRId64, n);
    int at = 0;
    for (int i = 0; i < n_digits && at < RT_SIZE_TEXT - 2; i++) {
        if (i > 0 && (n_digits - i) % 3 == 0) text[at++] = ',';
        text[at++] = digits[i];
    }
    text[at] = 0;
    return text;
}

/* The first reason counts. */
static void end_because(search *s, const char *format, ...) RT_PRINTF(2, 3);
static void end_because(search *s, const char *format, ...) {
    if (s->is_over) return;
    s->is_over = true;
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(s->prefix->reason, KV_REASON_BYTES, format, arguments);
    va_end(arguments);
}

/* A segment that is known does not open. */
static void end_at_failure(search *s) {
    char text[KV_REASON_BYTES];
    (void)snprintf(text, sizeof text, "%s", rt_error_text());
    s->prefix->is_failure = s->prefix->is_failure || !s->is_over;
    end_because(s, "%s", text);
}

static void end_at_nothing(search *s) {
    char n[RT_SIZE_TEXT];
    const char *others = s->vault->others;
    if (s->prefix->n_tokens > 0)
        end_because(s, "no segment after %s tokens", with_commas(s->prefix->n_tokens, n));
    else if (s->vault->index.n_known > 0)
        end_because(s, "nothing stored starts with these tokens");
    else if (*others)
        end_because(s, "nothing stored for this model; there is for %s", others);
    else
        end_because(s, "nothing stored for this model");
}

/* ---- steps ----------------------------------------------------------------------------------- */

static rt_status push(search *s, kv_segment *segment, int64_t n_tokens) {
    kv_prefix *p = s->prefix;
    kv_segment **more = realloc(p->segments, (size_t)(p->n_segments + 1) * sizeof *more);
    if (!more) {
        kv_segment_close(segment);
        return rt_fail(RT_ENOMEM, "kvstore: no memory for %" PRId32 " segments", p->n_segments + 1);
    }
    p->segments = more;
    p->segments[p->n_segments++] = segment;
    p->n_tokens += n_tokens;
    s->chain = segment->header.chain;
    return RT_OK;
}

static int32_t common_ids(const int32_t *a, const int32_t *b, int64_t n) {
    int32_t i = 0;
    while (i < n && a[i] == b[i]) i++;
    return i;
}

static int64_t n_left(const search *s) {
    return s->n_ids - s->prefix->n_tokens;
}

static const int32_t *ids_left(const search *s) {
    return s->ids + s->prefix->n_tokens;
}

static bool has_other_heads(const kv_vault *vault, const kv_hash *chain) {
    for (int64_t i = 0; i < vault->n_foreign; i++)
        if (kv_hash_equal(&vault->foreign[i].chain, chain)) return true;
    return false;
}

/* The segment, here or where other ranks keep its heads. */
static rt_status know_or_import(search *s, const kv_hash *chain, const kv_known **known) {
    bool is_there = false;
    *known = kv_vault_know(s->vault, chain);
    if (*known) return RT_OK;
    RT_TRY(kv_vault_import(s->vault, chain, &is_there));
    if (is_there)
        *known = kv_vault_know(s->vault, chain);
    else if (has_other_heads(s->vault, chain))
        end_at_failure(s);
    return RT_OK;
}

/* A damaged one is set aside, and put together again from other ranks' files where those hold it. */
static rt_status open_known(search *s, const kv_known *known, kv_segment **out) {
    const kv_hash chain = known->chain; /* what fails to open is known no longer */
    char text[KV_REASON_BYTES];
    bool is_there = false;
    const rt_status status = kv_vault_open_segment(s->vault, known, out);
    if (status != RT_ECORRUPT || s->only_looks) return status;
    (void)snprintf(text, sizeof text, "%s", rt_error_text());
    RT_TRY(kv_vault_import(s->vault, &chain, &is_there));
    known = is_there ? kv_vault_know(s->vault, &chain) : NULL;
    return known ? kv_vault_open_segment(s->vault, known, out) : rt_fail(status, "%s", text);
}

/* The next full segment. *found is false where there is none: look for a partial match. */
static rt_status step(search *s, bool *found) {
    kv_hash chain;
    kv_segment *segment = NULL;
    *found = false;
    if (n_left(s) < KV_SEGMENT_TOKENS) return RT_OK;
    RT_TRY(kv_chain_next(&s->chain, ids_left(s), KV_SEGMENT_TOKENS, &chain));
    const kv_known *known = NULL;
    RT_TRY(know_or_import(s, &chain, &known));
    if (!known) return RT_OK;
    const rt_status status = open_known(s, known, &segment);
    if (status == RT_ENOMEM) return status;
    if (status != RT_OK) {
        end_at_failure(s);
        return RT_OK;
    }
    const kv_segment_header *h = &segment->header;
    if (h->n_tokens != KV_SEGMENT_TOKENS || h->first_pos != s->prefix->n_tokens ||
            !kv_hash_equal(&h->parent, &s->chain) ||
            common_ids(segment->ids, ids_left(s), KV_SEGMENT_TOKENS) != KV_SEGMENT_TOKENS) {
        kv_segment_close(segment); /* a SHA-256 collision, in effect */
        end_because(s, "a segment of the same hash holds other tokens");
        return RT_OK;
    }
    *found = true;
    return push(s, segment, KV_SEGMENT_TOKENS);
}

/* How far a known segment can agree, by the ids that the index has. */
static int64_t agreement_max(const search *s, const kv_known *known) {
    const int64_t n = rt_min64(known->n_tokens, n_left(s));
    const int64_t n_seen = rt_min64(n, KV_BRIEF_IDS);
    const int64_t n_common = common_ids(known->head_ids, ids_left(s), n_seen);
    return n_common < n_seen ? n_common : n;
}

/* One child of the chain so far: *best is the one that agrees longest. */
static rt_status try_child(search *s, const kv_known *known, kv_segment **best, int64_t *n_best) {
    kv_segment *segment = NULL;
    const rt_status status = open_known(s, known, &segment);
    if (status == RT_ENOMEM) return status;
    if (status != RT_OK) {
        end_at_failure(s); /* the reason, unless another child does */
        return RT_OK;
    }
    const int64_t n =
            common_ids(segment->ids, ids_left(s), rt_min64(segment->header.n_tokens, n_left(s)));
    kv_segment **worse = n > *n_best ? best : &segment;
    kv_segment_close(*worse);
    if (worse != best) return RT_OK;
    *best = segment;
    *n_best = n;
    return RT_OK;
}

/* How many children have been looked into. */
typedef struct tries {
    int n_whole, n_tails;
} tries;

/* Whether a child can agree for longer than n_best, and is to be looked into. Only some are: a server has thousands of
 * conversations that begin alike, and for a new one any of them is as good. */
static bool is_likely(const search *s, const kv_known *known, int64_t n_best, tries *n) {
    if (known->first_pos != s->prefix->n_tokens || agreement_max(s, known) <= n_best) return false;
    if (known->n_tokens < KV_SEGMENT_TOKENS) return n->n_tails++ < TAIL_TRIES_MAX;
    return !s->only_looks && n->n_whole++ < WHOLE_TRIES_MAX;
}

/* The longest child that is less than a whole segment, and with all of which the ids go on: by their hash, without a look into
 * it. NULL: there is none. RT_ENOMEM */
static rt_status find_tail(const search *s, const kv_known **longest) {
    int n_hashes = 0;
    *longest = NULL;
    for (const kv_known *known = kv_index_child(&s->vault->index, &s->chain, NULL); known;
            known = kv_index_child(&s->vault->index, &s->chain, known)) {
        const int64_t n = known->n_tokens;
        kv_hash hash;
        if (known->first_pos != s->prefix->n_tokens || n == KV_SEGMENT_TOKENS) continue;
        if (*longest && n <= (*longest)->n_tokens) continue;
        if (agreement_max(s, known) < n || n_hashes == HASHES_MAX) continue;
        n_hashes++;
        RT_TRY(kv_chain_next(&s->chain, ids_left(s), (int32_t)n, &hash));
        if (kv_hash_equal(&hash, &known->chain)) *longest = known;
    }
    return RT_OK;
}

/* The child that agrees longest with the ids that are left, opened; NULL: there is none, or it could not be opened. */
static rt_status find_child(search *s, kv_segment **best, int64_t *n_best) {
    tries n = {0};
    const kv_known *tail = NULL;
    *best = NULL;
    *n_best = 0;
    rt_status status = find_tail(s, &tail);
    if (status == RT_OK && tail) status = try_child(s, tail, best, n_best);
    const kv_known *known = kv_index_child(&s->vault->index, &s->chain, NULL);
    while (known && status == RT_OK && n_left(s) > *n_best) {
        const kv_known *next = kv_index_child(&s->vault->index, &s->chain, known);
        if (is_likely(s, known, *n_best, &n))
            status = try_child(s, known, best, n_best); /* may forget it */
        known = next;
    }
    if (status == RT_OK) return RT_OK;
    kv_segment_close(*best);
    *best = NULL;
    return status;
}

/* The last segment, as far as it agrees. */
static rt_status finish_inside(search *s) {
    kv_segment *best = NULL;
    int64_t n_best = 0;
    RT_TRY(kv_vault_import_children(s->vault, &s->chain));
    RT_TRY(find_child(s, &best, &n_best));
    return best ? push(s, best, n_best) : RT_OK;
}

static void end_inside(search *s) {
    char n[RT_SIZE_TEXT];
    const kv_prefix *p = s->prefix;
    const kv_segment *last = p->n_segments ? p->segments[p->n_segments - 1] : NULL;
    if (n_left(s) == 0) s->is_over = false; /* whatever went wrong on the way */
    if (n_left(s) == 0)
        end_because(s, "all %s tokens are stored", with_commas(p->n_tokens, n));
    else if (last && last->header.first_pos + last->header.n_tokens > p->n_tokens)
        end_because(s, "what is stored differs after %s tokens", with_commas(p->n_tokens, n));
    else
        end_at_nothing(s);
}

/* ---- the interface --------------------------------------------------------------------------- */

rt_status kv_vault_find_after(kv_vault *vault, const kv_hash *after, int64_t n_before,
        const int32_t *ids, int64_t n_ids, kv_prefix *out) {
    search s = {.vault = vault, .ids = ids, .n_ids = n_ids, .chain = *after, .prefix = out};
    *out = (kv_prefix){.n_tokens = n_before};
    rt_status status = RT_OK;
    bool found = true;
    while (status == RT_OK && found) status = step(&s, &found);
    if (status == RT_OK && !s.is_over) status = finish_inside(&s);
    if (status == RT_OK) end_inside(&s);
    kv_vault_close_ready(vault);
    if (status != RT_OK) kv_prefix_free(out);
    return status;
}

rt_status kv_vault_find(kv_vault *vault, const int32_t *ids, int64_t n_ids, kv_prefix *out) {
    return kv_vault_find_after(vault, &vault->root, 0, ids, n_ids, out);
}

rt_status kv_vault_notice(kv_vault *vault, const int32_t *ids, int64_t n_ids) {
    kv_hash chain = vault->root;
    int64_t at = 0;
    for (; at + KV_SEGMENT_TOKENS < n_ids; at += KV_SEGMENT_TOKENS) {
        const kv_hash parent = chain;
        RT_TRY(kv_chain_next(&parent, ids + at, KV_SEGMENT_TOKENS, &chain));
    }
    for (int64_t end = rt_max64(n_ids - 1, at + 1); end <= n_ids; end++) {
        kv_hash last;
        RT_TRY(kv_chain_next(&chain, ids + at, (int32_t)(end - at), &last));
        (void)kv_vault_know(vault, &last);
    }
    return RT_OK;
}

/* Whether a segment of the next n ids follows, here or where other ranks keep its heads. */
static rt_status has_next(const search *s, int64_t n, kv_hash *chain, bool *is_there) {
    RT_TRY(kv_chain_next(&s->chain, ids_left(s), (int32_t)n, chain));
    *is_there = kv_vault_know(s->vault, chain) != NULL;
    return *is_there ? RT_OK : kv_vault_has_copy(s->vault, chain, is_there);
}

static rt_status count_whole(search *s) {
    while (n_left(s) >= KV_SEGMENT_TOKENS) {
        bool is_there = false;
        kv_hash chain;
        RT_TRY(has_next(s, KV_SEGMENT_TOKENS, &chain, &is_there));
        if (!is_there) return RT_OK;
        s->chain = chain;
        s->prefix->n_tokens += KV_SEGMENT_TOKENS;
    }
    return RT_OK;
}

/* What follows inside a segment: by its hash, which kv_vault_notice looks for, too; or as far as one that is known agrees. */
static rt_status count_inside(search *s) {
    kv_segment *tail = NULL;
    int64_t n_tail = 0;
    for (int64_t n = rt_min64(n_left(s), KV_SEGMENT_TOKENS - 1); n > 0 && n >= n_left(s) - 1; n--) {
        bool is_there = false;
        kv_hash chain;
        RT_TRY(has_next(s, n, &chain, &is_there));
        if (is_there) n_tail = n;
        if (is_there) break;
    }
    if (n_tail == 0) RT_TRY(find_child(s, &tail, &n_tail));
    kv_segment_close(tail);
    s->prefix->n_tokens += n_tail;
    return RT_OK;
}

rt_status kv_vault_count_after(kv_vault *vault, const kv_hash *after, int64_t n_before,
        const int32_t *ids, int64_t n_ids, int64_t *n_tokens) {
    kv_prefix prefix = {.n_tokens = n_before};
    search s = {.vault = vault,
            .ids = ids,
            .n_ids = n_ids,
            .chain = *after,
            .prefix = &prefix,
            .only_looks = true};
    RT_TRY(count_whole(&s));
    RT_TRY(count_inside(&s));
    *n_tokens = prefix.n_tokens;
    return RT_OK;
}

/* Where the first ones should be, as far as they are known; their number in *n. */
static rt_status place_known(
        kv_vault *vault, const int32_t *ids, int64_t n_segments, kv_path *paths, int32_t *n) {
    kv_hash chain = vault->root;
    for (*n = 0; *n < n_segments; ++*n) {
        const kv_hash parent = chain;
        RT_TRY(kv_chain_next(
                &parent, ids + *n * (int64_t)KV_SEGMENT_TOKENS, KV_SEGMENT_TOKENS, &chain));
        const kv_known *known = kv_index_find(&vault->index, &chain);
        if (!known) return RT_OK;
        paths[*n] = kv_vault_path(vault, known->dir, &chain, ".kvs");
    }
    return RT_OK;
}

/* Side by side: a drive far away takes a second for a look. */
rt_status kv_vault_still_has(
        kv_vault *vault, const int32_t *ids, int64_t n_segments, int64_t *n_there) {
    kv_path *paths = NULL;
    const char **texts = NULL;
    kv_io_stat *stats = NULL;
    bool *exist = NULL;
    int32_t n = 0;
    *n_there = 0;
    rt_status status = rt_calloc(n_segments + 1, sizeof *paths, "paths of segments", &paths);
    if (status == RT_OK)
        status = rt_calloc(n_segments + 1, sizeof *texts, "paths of segments", &texts);
    if (status == RT_OK)
        status = rt_calloc(n_segments + 1, sizeof *stats, "paths of segments", &stats);
    if (status == RT_OK)
        status = rt_calloc(n_segments + 1, sizeof *exist, "paths of segments", &exist);
    if (status == RT_OK) status = place_known(vault, ids, n_segments, paths, &n);
    for (int32_t i = 0; i < n && status == RT_OK; i++) texts[i] = paths[i].text;
    if (status == RT_OK) status = kv_paths_stat(vault->dirs.io, texts, n, stats, exist);
    while (status == RT_OK && *n_there < n && exist[*n_there]) ++*n_there;
    free(paths);
    free(texts);
    free(stats);
    free(exist);
    return status;
}

void kv_prefix_free(kv_prefix *prefix) {
    for (int32_t i = 0; i < prefix->n_segments; i++) kv_segment_close(prefix->segments[i]);
    free(prefix->segments);
    *prefix = (kv_prefix){0};
}
