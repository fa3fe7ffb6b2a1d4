/* The token ids of a book, which are in its segments, or why they are not to be had. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "books.h"
#include "runtime/base/size.h"
#include "segment.h"
#include "store_impl.h"
#include "vault_inside.h"

/* The ids of a segment are in its file: without it nobody can compute it again. */
static rt_status refuse_book(const kv_book *book, int32_t i, rt_status status, const char *why) {
    return rt_fail(status, "kvstore: book %s: segment %" PRId32 " of %" PRId32 " %s", book->name,
            i + 1, book->n_segments, why);
}

/* The segment's file of that ending in any directory. */
static bool has_file(kv_vault *vault, const kv_hash *chain, const char *suffix, kv_path *path) {
    bool exists = false;
    for (int32_t dir = 0; dir < vault->dirs.n_dirs && !exists; dir++) {
        kv_io_stat st;
        *path = kv_vault_path(vault, dir, chain, suffix);
        if (kv_path_stat(vault->dirs.io, path->text, &st, &exists) != RT_OK) exists = false;
    }
    return exists;
}

/* Where nobody may rename it, as on a drive that is only read, it is there still. */
static bool is_damaged(kv_vault *vault, const kv_hash *chain, const kv_path *path) {
    kv_segment *segment = NULL;
    const rt_status status = kv_segment_open(&vault->dirs, path->text, chain, &segment);
    if (status == RT_OK) kv_segment_close(segment);
    return status == RT_ECORRUPT;
}

static rt_status refuse_unknown(kv_vault *vault, const kv_book *book, int32_t i) {
    const kv_hash chain = kv_hash_of(book->chains[i]);
    char why[KV_PATH_BYTES + 200];
    kv_path path;
    if (has_file(vault, &chain, ".kvs", &path)) {
        const bool damaged = is_damaged(vault, &chain, &path);
        (void)snprintf(why, sizeof why,
                damaged ? "is damaged, and could not be put aside: %s; prefill its source again"
                        : "cannot be read: %s",
                path.text);
        return refuse_book(book, i, damaged ? RT_ECORRUPT : RT_EIO, why);
    }
    if (has_file(vault, &chain, ".kvs.bad", &path)) {
        (void)snprintf(why, sizeof why,
                "was damaged and is put aside as %s; prefill its source again", path.text);
        return refuse_book(book, i, RT_ECORRUPT, why);
    }
    path = kv_vault_path(vault, kv_dirs_home(&vault->dirs, &chain), &chain, ".kvs");
    (void)snprintf(why, sizeof why,
            "is missing: there is no %s%s; if it is on another drive, name its directory, otherwise "
            "prefill its source again",
            path.text, vault->dirs.n_dirs > 1 ? ", nor is it in the other directories" : "");
    return refuse_book(book, i, RT_ECORRUPT, why);
}

static rt_status refuse_unread(kv_vault *vault, const kv_book *book, int32_t i, rt_status status) {
    char why[KV_WHY_BYTES];
    if (status == RT_ECORRUPT) return refuse_unknown(vault, book, i);
    (void)snprintf(why, sizeof why, "cannot be read: %s", rt_error_text());
    return refuse_book(book, i, status, why);
}

static rt_status take_ids(const kv_book *book, int32_t i, const kv_segment *segment, int32_t *ids) {
    const int64_t first = (int64_t)i * KV_SEGMENT_TOKENS;
    RT_TRY(kv_book_check_place(book, i, segment));
    const int64_t n = rt_min64(segment->header.n_tokens, book->n_tokens - first);
    memcpy(ids + first, segment->ids, (size_t)n * sizeof *ids);
    return RT_OK;
}

/* A file that was put aside for its keys and values has the ids still, whose hash its name is: whoever has those computes the others
 * again, and another process may be about it. */
static bool has_ids_aside(kv_vault *vault, const kv_book *book, int32_t i, int32_t *ids) {
    const kv_hash chain = kv_hash_of(book->chains[i]);
    kv_segment *segment = NULL;
    kv_path path;
    if (!has_file(vault, &chain, ".kvs.bad", &path)) return false;
    if (kv_segment_open(&vault->dirs, path.text, &chain, &segment) != RT_OK) return false;
    const rt_status status = take_ids(book, i, segment, ids);
    kv_segment_close(segment);
    return status == RT_OK;
}

static rt_status copy_ids(kv_vault *vault, const kv_book *book, int32_t i, int32_t *ids) {
    const kv_hash chain = kv_hash_of(book->chains[i]);
    const kv_known *known = kv_vault_know(vault, &chain);
    bool is_there = known != NULL;
    kv_segment *segment = NULL;
    if (!known) RT_TRY(kv_vault_import(vault, &chain, &is_there));
    if (!known && is_there) known = kv_vault_know(vault, &chain);
    if (!known && has_ids_aside(vault, book, i, ids)) return RT_OK;
    if (!is_there && vault->n_foreign > 0)
        return rt_fail(RT_ECORRUPT, "kvstore: book %s: segment %" PRId32 " of %" PRId32 ": %s",
                book->name, i + 1, book->n_segments, rt_error_text());
    if (!known) return refuse_unknown(vault, book, i);
    const rt_status opened = kv_vault_open_segment(vault, known, &segment);
    if (opened != RT_OK) return refuse_unread(vault, book, i, opened);
    const rt_status taken = take_ids(book, i, segment, ids);
    if (taken != RT_OK) {
        kv_segment_close(segment);
        return taken;
    }
    kv_vault_put_by(vault, segment);
    return RT_OK;
}

rt_status kv_store_book_ids(kv_store *store, const kv_book *book, int32_t *ids) {
    if (!store->vault)
        return rt_fail(RT_EUSAGE, "kvstore: book %s: nothing is kept here", book->name);
    RT_TRY(kv_vault_check_book(store->vault, book));
    for (int32_t i = 0; i < book->n_segments; i++) RT_TRY(copy_ids(store->vault, book, i, ids));
    return RT_OK;
}
