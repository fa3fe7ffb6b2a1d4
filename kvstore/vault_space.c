/* Always true of what is removed here:
 *
 *   1. The vault's lock is held, and so is an exclusive lock on the file: nobody reads or writes it.
 *   2. No book holds it; no segment or suspended segment in the directories has it as its parent. (A
 *      writer holds a shared lock on the parent it extends.)
 *   3. Its path lies below DIR/vault and its name is one that the vault gives.
 *
 * Usage is counted afresh each time, in physical bytes as du counts; a temporary counts as what it
 * has reserved. So processes need not tell each other anything. */
#include "vault_space.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "book_format.h"
#include "runtime/base/memory.h"
#include "runtime/base/size.h"
#include "segment.h"

/* Something that could make way. */
typedef struct candidate {
    const kv_entry *entry;
    kv_hash chain; /* of segments and suspended segments */
    kv_hash parent;
    bool has_parent;
    bool is_segment;
    bool is_out;  /* pinned, in use, or gone */
    bool is_gone; /* removed here */
    int32_t n_children;
    int64_t changed_s; /* of one that the listing has not seen */
    double cost;
    double score;
} candidate;

typedef struct space {
    kv_dirs *dirs;
    kv_listing listing;
    candidate *candidates; /* sorted by chain */
    int64_t n_candidates;
    int64_t *leaves; /* [n_leaves] of [n_candidates], a heap: i goes before 2i + 1 and 2i + 2 */
    int64_t n_leaves;
    int64_t bytes; /* used now */
    kv_space_report *report;
} space;

/* ---- removal --------------------------------------------------------------------------------- */

/* False, with no error, if somebody uses it or it is gone. */
static bool lock_for_removal(space *s, const kv_entry *entry, kv_file **file) {
    bool got = false;
    if (kv_file_open(s->dirs->io, entry->path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, file) != RT_OK)
        return false;
    if (kv_file_lock(*file, KV_IO_EXCLUSIVE, &got) == RT_OK && got) return true;
    kv_blocks_close_file(s->dirs->blocks, *file);
    return false;
}

static bool try_remove(space *s, const kv_entry *entry) {
    kv_file *file = NULL;
    if (!lock_for_removal(s, entry, &file)) return false;
    const bool is_removed = kv_path_unlink(s->dirs->io, entry->path) == RT_OK;
    kv_blocks_close_file(s->dirs->blocks, file);
    if (is_removed) s->bytes -= entry->bytes;
    return is_removed;
}

static void remove_kind(space *s, kv_entry_kind kind) {
    for (int64_t i = 0; i < s->listing.n_entries; i++) {
        const kv_entry *entry = &s->listing.entries[i];
        if (entry->kind == kind && try_remove(s, entry)) s->report->n_swept++;
    }
}

/* Durably: it is not to come back, and say how large segments were that have been written again. */
static rt_status remove_known(space *s) {
    remove_kind(s, KV_ENTRY_KNOWN);
    for (int64_t i = 0; i < s->listing.n_entries; i++) {
        const kv_entry *entry = &s->listing.entries[i];
        if (entry->kind == KV_ENTRY_KNOWN)
            RT_TRY(kv_path_sync_dir(s->dirs->io, s->dirs->roots[entry->dir]));
    }
    return RT_OK;
}

/* What is known of segments, where that is enough: gone in vain, it would cost a look into each of them. */
static rt_status remove_known_for(space *s, int64_t bytes_max) {
    int64_t n_bytes = 0;
    for (int64_t i = 0; i < s->listing.n_entries; i++)
        if (s->listing.entries[i].kind == KV_ENTRY_KNOWN) n_bytes += s->listing.entries[i].bytes;
    const bool is_enough = s->bytes > bytes_max && s->bytes - n_bytes <= bytes_max;
    return is_enough ? remove_known(s) : RT_OK;
}

/* ---- candidates ------------------------------------------------------------------------------ */

/* Relative cost of computing n tokens at a position: linear layers alike everywhere, attention growing
 * with the position, as much as they at about 25,000 tokens in the 9B model. */
static double recompute_cost(int64_t first_pos, int64_t n_tokens) {
    const double middle = (double)first_pos + (double)n_tokens / 2;
    return (double)n_tokens * (1 + middle / 25000);
}

/* 1 now, 1/2 an hour ago, 1/25 a day ago. */
static double recency(int64_t changed_s) {
    return 1 / (1 + (double)rt_max64((int64_t)time(NULL) - changed_s, 0) / 3600);
}

/* From its name, or by a look into it: false, if that is of no use. */
static bool know_segment(
        space *s, const kv_entry *entry, kv_hash *parent, int64_t *first_pos, int64_t *n_tokens) {
    const kv_brief *known = kv_dirs_brief(s->dirs, entry);
    kv_segment_brief brief;
    if (!known && kv_segment_peek(s->dirs, entry->path, &entry->hash, &brief) != RT_OK)
        return false;
    *parent = known ? known->parent : brief.header.parent;
    *first_pos = known ? known->first_pos : brief.header.first_pos;
    *n_tokens = known ? known->n_tokens : brief.header.n_tokens;
    return true;
}

static void add_candidate(space *s, const kv_entry *entry) {
    candidate c = {.entry = entry, .is_segment = entry->kind == KV_ENTRY_SEGMENT};
    c.cost = recompute_cost(0, 1); /* unreadable, or state: little is lost */
    if (entry->kind != KV_ENTRY_STATE) {
        int64_t first_pos, n_tokens;
        c.chain = entry->hash;
        c.has_parent = know_segment(s, entry, &c.parent, &first_pos, &n_tokens);
        if (c.has_parent) c.cost = recompute_cost(first_pos, n_tokens);
    } else {
        c.cost = recompute_cost(0, KV_SEGMENT_TOKENS);
    }
    s->candidates[s->n_candidates++] = c;
}

/* What is known was not looked at, and when it was used last is not known of it. */
static rt_status look_at_unseen(space *s) {
    const char **paths = NULL;
    kv_io_stat *stats = NULL;
    bool *exist = NULL;
    int32_t n = 0;
    rt_status status = rt_calloc(s->n_candidates + 1, sizeof *paths, "what could make way", &paths);
    if (status == RT_OK)
        status = rt_calloc(s->n_candidates + 1, sizeof *stats, "what could make way", &stats);
    if (status == RT_OK)
        status = rt_calloc(s->n_candidates + 1, sizeof *exist, "what could make way", &exist);
    for (int64_t i = 0; i < s->n_candidates && status == RT_OK; i++)
        if (!s->candidates[i].is_out && s->candidates[i].entry->is_unseen)
            paths[n++] = s->candidates[i].entry->path;
    if (status == RT_OK) status = kv_paths_stat(s->dirs->io, paths, n, stats, exist);
    n = 0;
    for (int64_t i = 0; i < s->n_candidates && status == RT_OK; i++) {
        candidate *c = &s->candidates[i];
        if (!c->is_out && c->entry->is_unseen) c->changed_s = stats[n++].changed_s;
    }
    free(paths);
    free(stats);
    free(exist);
    return status;
}

static rt_status score_all(space *s) {
    RT_TRY(look_at_unseen(s));
    for (int64_t i = 0; i < s->n_candidates; i++) {
        candidate *c = &s->candidates[i];
        const int64_t changed_s = c->entry->is_unseen ? c->changed_s : c->entry->stat.changed_s;
        c->score = c->cost * recency(changed_s) / (double)rt_max64(c->entry->bytes, 1);
    }
    return RT_OK;
}

static int compare_candidates(const void *a, const void *b) {
    const candidate *p = a, *q = b;
    return memcmp(&p->chain, &q->chain, sizeof p->chain);
}

/* The first candidate of this chain, or the first after it. */
static int64_t lower_bound(const space *s, const kv_hash *chain) {
    int64_t from = 0, to = s->n_candidates;
    while (from < to) {
        const int64_t middle = (from + to) / 2;
        if (memcmp(&s->candidates[middle].chain, chain, sizeof *chain) < 0)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

/* Children more or fewer for every copy of a segment. */
static void count_child(space *s, const kv_hash *parent, int32_t change) {
    for (int64_t i = lower_bound(s, parent);
            i < s->n_candidates && kv_hash_equal(&s->candidates[i].chain, parent); i++)
        if (s->candidates[i].is_segment) s->candidates[i].n_children += change;
}

static void pin(space *s, const kv_hash *chain) {
    for (int64_t i = lower_bound(s, chain);
            i < s->n_candidates && kv_hash_equal(&s->candidates[i].chain, chain); i++)
        if (s->candidates[i].is_segment) s->candidates[i].is_out = true;
}

/* A damaged manifest holds nothing; one that cannot be read now might. */
static rt_status pin_book(space *s, const kv_entry *entry) {
    char *text = NULL;
    int64_t n_bytes;
    bool exists;
    kv_book book = {0};
    rt_status status =
            kv_dirs_read_text(s->dirs, entry->path, KV_BOOK_BYTES_MAX, &text, &n_bytes, &exists);
    if (status == RT_OK && exists) status = kv_book_parse(text, n_bytes, &book);
    for (int32_t i = 0; i < book.n_segments; i++) {
        kv_hash chain;
        memcpy(chain.bytes, book.chains[i], sizeof chain.bytes);
        pin(s, &chain);
    }
    kv_book_free(&book);
    free(text);
    return status == RT_ECORRUPT ? RT_OK : status;
}

static rt_status collect(space *s) {
    RT_TRY(rt_calloc(rt_max64(s->listing.n_entries, 1), sizeof *s->candidates,
            "what could make way on the disk", &s->candidates));
    RT_TRY(rt_calloc(rt_max64(s->listing.n_entries, 1), sizeof *s->leaves,
            "what could make way on the disk", &s->leaves));
    for (int64_t i = 0; i < s->listing.n_entries; i++) {
        const kv_entry_kind kind = s->listing.entries[i].kind;
        if (kind == KV_ENTRY_SEGMENT || kind == KV_ENTRY_PART || kind == KV_ENTRY_STATE)
            add_candidate(s, &s->listing.entries[i]);
    }
    qsort(s->candidates, (size_t)s->n_candidates, sizeof *s->candidates, compare_candidates);
    for (int64_t i = 0; i < s->n_candidates; i++)
        if (s->candidates[i].has_parent) count_child(s, &s->candidates[i].parent, 1);
    for (int64_t i = 0; i < s->listing.n_entries; i++)
        if (s->listing.entries[i].kind == KV_ENTRY_BOOK)
            RT_TRY(pin_book(s, &s->listing.entries[i]));
    return score_all(s);
}

/* ---- eviction -------------------------------------------------------------------------------- */

static int64_t evictable_bytes(const space *s) {
    int64_t n_bytes = 0;
    for (int64_t i = 0; i < s->n_candidates; i++)
        if (!s->candidates[i].is_out) n_bytes += s->candidates[i].entry->bytes;
    return n_bytes;
}

/* Whether a makes way before b. */
static bool is_before(const space *s, int64_t a, int64_t b) {
    const double p = s->candidates[a].score, q = s->candidates[b].score;
    return p < q || (p <= q && a < b);
}

static void add_leaf(space *s, int64_t leaf) {
    int64_t i = s->n_leaves++;
    for (; i > 0 && is_before(s, leaf, s->leaves[(i - 1) / 2]); i = (i - 1) / 2)
        s->leaves[i] = s->leaves[(i - 1) / 2];
    s->leaves[i] = leaf;
}

/* The cheapest; the last one sinks from the top. */
static int64_t take_leaf(space *s) {
    const int64_t taken = s->leaves[0], last = s->leaves[--s->n_leaves];
    int64_t i = 0;
    for (;;) {
        int64_t next = 2 * i + 1;
        if (next >= s->n_leaves) break;
        next += next + 1 < s->n_leaves && is_before(s, s->leaves[next + 1], s->leaves[next]);
        if (!is_before(s, s->leaves[next], last)) break;
        s->leaves[i] = s->leaves[next];
        i = next;
    }
    s->leaves[i] = last;
    return taken;
}

static bool is_leaf(const candidate *c) {
    return !c->is_out && c->n_children == 0;
}

/* A child has gone: nothing else might hold its parent. */
static void release_parent(space *s, const kv_hash *parent) {
    count_child(s, parent, -1);
    for (int64_t i = lower_bound(s, parent);
            i < s->n_candidates && kv_hash_equal(&s->candidates[i].chain, parent); i++)
        if (s->candidates[i].is_segment && is_leaf(&s->candidates[i])) add_leaf(s, i);
}

static bool has_segments(const space *s) {
    bool has = false;
    for (int64_t i = 0; i < s->n_candidates; i++)
        has |= s->candidates[i].is_segment && !s->candidates[i].is_gone;
    return has;
}

static void evict_until(space *s, int64_t bytes_max) {
    for (int64_t i = 0; i < s->n_candidates; i++)
        if (is_leaf(&s->candidates[i])) add_leaf(s, i);
    while (s->bytes > bytes_max && s->n_leaves > 0) {
        candidate *c = &s->candidates[take_leaf(s)];
        c->is_out = true;
        c->is_gone = try_remove(s, c->entry);
        if (!c->is_gone) continue;
        s->report->n_evicted++;
        if (c->has_parent) release_parent(s, &c->parent);
    }
}

/* ---- the interface --------------------------------------------------------------------------- */

static rt_status begin(kv_dirs *dirs, kv_space_report *report, space *out) {
    rt_assert(dirs->is_locked);
    *report = (kv_space_report){0};
    *out = (space){.dirs = dirs, .report = report};
    RT_TRY(kv_dirs_scan(dirs, &out->listing));
    out->bytes = report->bytes_before = out->listing.bytes;
    remove_kind(out, KV_ENTRY_TEMPORARY);
    return RT_OK;
}

static void end(space *s) {
    s->report->bytes_used = s->bytes;
    free(s->candidates);
    free(s->leaves);
    kv_listing_free(&s->listing);
}

static rt_status refuse(const kv_dirs *dirs, int64_t bytes_max, int64_t n_needed, int64_t n_used) {
    char needed[RT_SIZE_TEXT], used[RT_SIZE_TEXT], max[RT_SIZE_TEXT];
    return rt_fail(RT_ENOFIT,
            "kvstore: %s more do not fit on the disk: %s are used in %s%s, %s may be, and too "
            "little may go",
            rt_format_bytes(n_needed, needed), rt_format_bytes(n_used, used), dirs->roots[0],
            dirs->n_dirs > 1 ? " and other directories" : "", rt_format_bytes(bytes_max, max));
}

rt_status kv_space_sweep(kv_dirs *dirs, kv_listing *listing, kv_space_report *report) {
    space s;
    const rt_status status = begin(dirs, report, &s);
    *listing = s.listing;
    s.listing = (kv_listing){0};
    end(&s);
    return status;
}

rt_status kv_space_make_room(
        kv_dirs *dirs, int64_t bytes_max, int64_t n_needed, kv_space_report *report) {
    space s;
    rt_status status = begin(dirs, report, &s);
    const int64_t target = bytes_max - n_needed; /* both >= 0: no overflow */
    if (status == RT_OK && s.bytes > target) remove_kind(&s, KV_ENTRY_BAD);
    if (status == RT_OK && s.bytes > target) {
        status = collect(&s);
        if (status == RT_OK) status = remove_known_for(&s, target + evictable_bytes(&s));
        if (status == RT_OK && s.bytes - evictable_bytes(&s) <= target) evict_until(&s, target);
        if (status == RT_OK) status = remove_known_for(&s, target); /* some were in use */
        if (status == RT_OK && s.bytes > target)
            status = refuse(dirs, bytes_max, n_needed, s.bytes);
    }
    end(&s);
    return status;
}

rt_status kv_space_shrink(kv_dirs *dirs, int64_t bytes_max, kv_space_report *report) {
    space s;
    rt_status status = begin(dirs, report, &s);
    if (status == RT_OK) remove_kind(&s, KV_ENTRY_BAD);
    if (status == RT_OK) status = collect(&s);
    if (status == RT_OK) evict_until(&s, bytes_max);
    if (status == RT_OK && !has_segments(&s)) status = remove_known(&s);
    end(&s);
    return status;
}
