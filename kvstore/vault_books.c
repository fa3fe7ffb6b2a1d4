/* Books as the vault writes them: a manifest under its name, after a look that all it names is there. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "book_format.h"
#include "runtime/base/memory.h"
#include "runtime/base/size.h"
#include "vault_inside.h"

/* Every segment follows the one before, and together they have the tokens. */
static rt_status check_chain(
        kv_vault *vault, const kv_hash *chains, int32_t n_segments, int64_t n_tokens) {
    const kv_hash *parent = &vault->root;
    int64_t n_stored = 0;
    for (int32_t i = 0; i < n_segments; i++) {
        const kv_known *known = kv_vault_know(vault, &chains[i]);
        if (!known)
            return rt_fail(RT_EIO,
                    "kvstore: of what was kept the tokens from %" PRId64
                    " on are on disk no longer",
                    (int64_t)i * KV_SEGMENT_TOKENS);
        rt_assert(kv_hash_equal(&known->parent, parent) && known->first_pos == n_stored);
        n_stored += known->n_tokens;
        parent = &chains[i];
    }
    rt_assert(n_tokens <= n_stored && n_tokens > (int64_t)(n_segments - 1) * KV_SEGMENT_TOKENS);
    return RT_OK;
}

/* Directories may be named in another order than when an older manifest of the name was written. */
static rt_status remove_others(kv_vault *vault, const char *file_name) {
    kv_io *io = vault->dirs.io;
    for (int32_t dir = 1; dir < vault->dirs.n_dirs; dir++) {
        const kv_path path = kv_dirs_join(&vault->dirs, dir, "books", file_name);
        const kv_path folder = kv_path_parent(&path);
        kv_io_stat st;
        bool exists;
        RT_TRY(kv_path_stat(io, path.text, &st, &exists));
        if (!exists) continue;
        RT_TRY(kv_path_unlink(io, path.text));
        RT_TRY(kv_path_sync_dir(io, folder.text));
    }
    return RT_OK;
}

/* The lock is held: what is there stays until the manifest holds it. */
static rt_status write_manifest(kv_vault *vault, const char *name, const kv_hash *chains,
        int32_t n_segments, int64_t n_tokens, const char *text, int64_t n_bytes) {
    char file_name[KV_BOOK_NAME_MAX + 8];
    (void)snprintf(file_name, sizeof file_name, "%s.book", name);
    const kv_path path = kv_dirs_join(&vault->dirs, 0, "books", file_name);
    RT_TRY(check_chain(vault, chains, n_segments, n_tokens));
    RT_TRY(kv_vault_save_fingerprint(vault));
    RT_TRY(kv_vault_make_room(vault, rt_round_up(n_bytes, KV_IO_ALIGN)));
    RT_TRY(check_chain(vault, chains, n_segments, n_tokens));
    RT_TRY(kv_dirs_write_text(&vault->dirs, 0, &path, text, n_bytes));
    return remove_others(vault, file_name);
}

/* It is in the first directory; readers take the first that they find. */
rt_status kv_vault_write_book(kv_vault *vault, const char *name, const kv_hash *chains,
        int32_t n_segments, int64_t n_tokens, const char *note) {
    RT_TRY(kv_book_check_name(name));
    kv_book book = {.n_tokens = n_tokens,
            .created_s = (int64_t)time(NULL),
            .n_segments = n_segments,
            .note = note ? strdup(note) : NULL};
    char *text = NULL;
    int64_t n_bytes;
    (void)snprintf(book.name, sizeof book.name, "%s", name);
    memcpy(book.fingerprint, vault->fingerprint.bytes, sizeof book.fingerprint);
    rt_status status = rt_calloc(rt_max64(n_segments, 1), 32, "a book's segments", &book.chains);
    for (int32_t i = 0; i < n_segments && status == RT_OK; i++)
        memcpy(book.chains[i], chains[i].bytes, 32);
    if (status == RT_OK && note && !book.note)
        status = rt_fail(RT_ENOMEM, "kvstore: no memory for a book's note");
    if (status == RT_OK) status = kv_book_format(&book, &text, &n_bytes);
    if (status == RT_OK) status = kv_dirs_lock(&vault->dirs);
    if (status == RT_OK) {
        status = write_manifest(vault, name, chains, n_segments, n_tokens, text, n_bytes);
        kv_dirs_unlock(&vault->dirs);
    }
    free(text);
    kv_book_free(&book);
    return status;
}

rt_status kv_vault_check_book(const kv_vault *vault, const kv_book *book) {
    char differences[KV_REASON_BYTES];
    if (memcmp(book->fingerprint, vault->fingerprint.bytes, 32) == 0) return RT_OK;
    const char *there = book->fingerprint_text ? book->fingerprint_text : "";
    (void)kv_fingerprint_difference(
            there, vault->fingerprint_text, differences, sizeof differences);
    if (!*there || !*differences)
        return rt_fail(RT_EUSAGE, "kvstore: book %s was made with another model or other settings",
                book->name);
    return rt_fail(RT_EUSAGE, "kvstore: book %s was made with %s", book->name, differences);
}
