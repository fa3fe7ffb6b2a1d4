/* Steps of a walk that have to do with what is kept on disk. */
#include <fcntl.h>
#include <glob.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "help_check.h"
#include "help_ranks.h"
#include "help_walk.h"
#include "kvstore/kvstore.h"

static bool keeps(const walk *w) {
    return glm_engine_plan(w->engine)->kv_persists;
}

void walk_remember(walk *w, const walk_tokens *tokens) {
    w->kept[walk_below(w, WALK_KEPT)] = *tokens;
}

/* ---- found again --------------------------------------------------------------------------------------------------- */

static bool begins_with_book(const walk *w, const walk_tokens *tokens) {
    const int64_t n = tokens->n < w->n_book ? tokens->n : w->n_book;
    for (int64_t i = 0; i < n; i++)
        if (tokens->ids[i] != walk_token(0, i)) return false;
    return w->n_book > 0;
}

/* Of others than the book only what was prefilled is kept, and what is behind the book may be of either kind. */
static void note_hows(walk *w, walk_seq *s) {
    const bool is_book = begins_with_book(w, &s->tokens);
    for (int64_t i = 0; i < s->tokens.n; i++)
        s->tokens.hows[i] = is_book ? WALK_OF_BOOK : WALK_PREFILLED;
    if (!is_book || s->tokens.n <= w->n_book) return;
    glm_session_truncate(s->session, w->n_book);
    s->tokens.n = glm_session_length(s->session);
}

/* A sequence that holds nothing, or a fork of one that begins like the ids, at its last whole segment that is so. */
static rt_status begin_restored(walk *w, walk_seq *s, const walk_tokens *of, int64_t n) {
    for (int i = 0; w->options.keeps_forks && i < WALK_SEQS; i++) {
        const walk_seq *one = &w->seqs[i];
        int64_t n_common = 0;
        if (!one->session || one == w->running) continue;
        while (n_common < one->tokens.n && n_common < n - 1 &&
                one->tokens.ids[n_common] == of->ids[n_common])
            n_common++;
        const int64_t at = n_common / 4096 * 4096;
        if (at == 0 || walk_below(w, 4) == 0) continue;
        walk_say(w, "%d: fork of %d at %" PRId64 ", to be restored", (int)(s - w->seqs), i, at);
        s->is_fork = true;
        return glm_session_fork(one->session, at, s->max_tokens, &s->session);
    }
    s->is_fork = false;
    return glm_session_create(w->engine, s->max_tokens, &s->session);
}

/* ids[0 .. n) into a new sequence, as far as they are found: so many at least. */
static walk_seq *restore(walk *w, const walk_tokens *of, int64_t n, int64_t least) {
    walk_seq *s = walk_place(w);
    glm_reuse reuse = {0};
    if (!s || n < 1) return NULL;
    const int64_t longest = glm_engine_plan(w->engine)->max_len;
    n = n < longest ? n : longest;
    s->max_tokens = n + walk_below(w, longest - n + 1);
    const rt_status status = begin_restored(w, s, of, n);
    if (!walk_went(w, status, "create", RT_ENOFIT, RT_ENOFIT)) return NULL;
    s->tokens = *of;
    s->text = w->kind->tells_how ? 1 : (int32_t)walk_below(w, 2);
    (void)walk_went(
            w, glm_session_restore(s->session, of->ids, n, &reuse), "restore", RT_OK, RT_OK);
    walk_say(w, "%d: restore %" PRId64 " tokens of %" PRId64 " (%s)", (int)(s - w->seqs),
            reuse.n_tokens, n, reuse.reason);
    walk_note_length(w, s, 0, n - 1, "restored");
    if (s->tokens.n != reuse.n_tokens)
        walk_fail(w, "restore says %" PRId64 ", and holds %" PRId64, reuse.n_tokens, s->tokens.n);
    if (w->kind->tells_how) note_hows(w, s);
    s->n_held = s->tokens.n;
    if (s->tokens.n < least && least <= n - 1)
        walk_fail(w, "%" PRId64 " of %" PRId64 " tokens kept are found: %s", s->tokens.n, least,
                reuse.reason);
    return s;
}

/* Tokens of it that are surely on disk, where not much can be prefilled. */
static int64_t most_found(const walk *w, const walk_tokens *of) {
    return begins_with_book(w, of) ? w->n_book : 0;
}

/* Of what was there once, or of a text; and on from there to the same end, where a prefill may have been stopped. */
void walk_restore(walk *w) {
    const walk_tokens *of = &w->kept[walk_below(w, WALK_KEPT)];
    static walk_tokens text;
    if (of->n == 0 || walk_below(w, 4) == 0 || (w->n_book > 0 && walk_below(w, 2))) {
        const int32_t number = w->n_book > 0 ? 0 : (int32_t)walk_below(w, 2);
        text.n = w->n_book > 0 ? w->n_book + walk_below(w, 8) : 1 + walk_below(w, w->longest);
        for (int64_t i = 0; i < text.n; i++) {
            text.ids[i] = walk_token(number, i);
            text.hows[i] = WALK_PREFILLED;
        }
        of = &text;
    }
    const int64_t n = walk_below(w, 3) ? of->n : 1 + walk_below(w, of->n);
    if (w->kind->tells_how && w->n_book > 0 && n - most_found(w, of) > w->kind->longest) return;
    static walk_tokens aim;
    aim = *of;
    aim.n = n;
    walk_seq *s = restore(w, of, n, 0);
    if (!s || w->running || n > s->max_tokens || s->tokens.n >= n || walk_below(w, 4) == 0) return;
    memset(aim.hows, WALK_PREFILLED, (size_t)n);
    memcpy(aim.hows, s->tokens.hows, (size_t)s->tokens.n);
    if (walk_begin(w, s, &aim)) walk_go_on(w, walk_below(w, 3) ? INT64_MAX : 1 + walk_below(w, 6));
}

void walk_open_book(walk *w) {
    const int64_t b = walk_below(w, WALK_BOOKS);
    const walk_tokens *book = &w->books[b];
    char name[16];
    int32_t *ids = NULL;
    int64_t n = 0;
    if (!keeps(w)) return;
    (void)snprintf(name, sizeof name, "b%d", (int)b);
    const bool is_sure = book->n > 0 && !w->is_damaged;
    const rt_status status = glm_book_ids(w->engine, name, &ids, &n);
    const bool is_there = walk_went(
            w, status, "book", is_sure ? RT_OK : RT_EUSAGE, is_sure ? RT_OK : RT_ECORRUPT);
    if (!is_there) return;
    const bool is_same = n == book->n && memcmp(ids, book->ids, (size_t)n * sizeof *ids) == 0;
    free(ids);
    if (!is_same) walk_fail(w, "book %s has other tokens", name);
    static walk_tokens more;
    more = *book;
    if (more.n == WALK_TOKENS) return;
    more.ids[more.n] = walk_token(0, more.n);
    more.hows[more.n++] = WALK_PREFILLED;
    const int64_t whole = w->is_lossy ? n / WALK_PAGE * WALK_PAGE : n;
    (void)restore(w, &more, more.n, w->is_damaged || whole < WALK_PAGE ? 0 : whole);
}

/* ---- kept ---------------------------------------------------------------------------------------------------------- */

static bool is_prefilled(const walk_tokens *tokens) {
    for (int64_t i = 0; i < tokens->n; i++)
        if (tokens->hows[i] == WALK_DECODED) return false;
    return true;
}

void walk_keep(walk *w) {
    walk_seq *s = walk_some(w, true);
    const int64_t b = walk_below(w, WALK_BOOKS + 1);
    char name[16];
    if (!s || s->tokens.n == 0) return;
    if (w->kind->tells_how && !is_prefilled(&s->tokens)) return;
    (void)snprintf(name, sizeof name, "b%d", (int)b);
    const bool is_named = b < WALK_BOOKS;
    const bool cannot = (s->is_fork && !w->options.keeps_forks) || !keeps(w);
    walk_say(w, "%d: keep %" PRId64 " tokens as %s", (int)(s - w->seqs), s->tokens.n,
            is_named ? name : "nothing");
    const rt_status status =
            glm_session_keep(s->session, is_named ? name : NULL, "source=a walk\n");
    if (status == RT_OK && cannot) walk_fail(w, "a fork, or what is not to be kept, is kept");
    const bool is_kept = walk_went(w, status, "keep", cannot ? RT_EUSAGE : RT_ENOFIT, RT_EIO);
    if (is_kept && is_named) w->books[b] = s->tokens;
    walk_note_length(w, s, is_kept || !w->is_damaged ? s->tokens.n : 0, s->tokens.n, "kept");
}

/* A name, and all that nothing names, may go at any time. */
void walk_forget(walk *w) {
    const char *dirs[] = {w->dirs[0], w->dirs[1]};
    const int64_t b = walk_below(w, WALK_BOOKS);
    kv_gc_report report;
    kv_books *books = NULL;
    char name[16];
    (void)snprintf(name, sizeof name, "b%d", (int)b);
    if (!w->persists || w->n_ranks > 1) return;
    walk_say(w, "forget %s", name);
    if (kv_books_open(dirs, w->n_dirs, &books) != RT_OK) walk_fail(w, "%s", rt_error_text());
    const bool is_gone = walk_went(w, kv_books_remove(books, name), "remove", RT_EUSAGE, RT_EUSAGE);
    if (is_gone && w->books[b].n == 0 && !w->is_damaged) walk_fail(w, "%s was there", name);
    w->books[b].n = 0;
    if (walk_below(w, 2)) (void)walk_went(w, kv_books_gc(books, 0, &report), "gc", RT_OK, RT_OK);
    kv_books_close(books);
}

/* Of one that a GPU has kept, and a token more: about as the GPU has it. */
void walk_read_on_cpu(walk *w) {
    const char *dirs[] = {w->dirs[0], w->dirs[1]};
    static walk_tokens more;
    more = w->books[walk_below(w, WALK_BOOKS)];
    const int64_t n = w->is_lossy ? more.n / WALK_PAGE * WALK_PAGE : more.n;
    const glm_options options = {.model_dir = w->model,
            .device = "cpu",
            .kv_dtype = w->kv_dtype,
            .max_len = WALK_TOKENS,
            .threads = 1,
            .persists = true,
            .kv_disk_dirs = dirs,
            .n_kv_disk_dirs = w->n_dirs};
    glm_engine *engine = NULL;
    glm_session *session = NULL;
    glm_reuse reuse = {0};
    const float *row = NULL;
    int64_t n_rows = 0;
    if (n < WALK_PAGE || n == WALK_TOKENS) return;
    more.n = n;
    more.ids[more.n] = walk_token(0, more.n);
    more.hows[more.n++] = WALK_PREFILLED;
    help_require(glm_engine_open(&options, &engine), "CPU");
    help_require(glm_session_create(engine, WALK_TOKENS, &session), "CPU: session");
    help_require(glm_session_restore(session, more.ids, more.n, &reuse), "CPU: restore");
    if (reuse.n_tokens != n)
        walk_fail(w, "CPU: %" PRId64 " of %" PRId64 " tokens kept are found: %s", reuse.n_tokens, n,
                reuse.reason);
    help_require(glm_prefill(session, more.ids + n, 1), "CPU: prefill");
    help_require(glm_session_logits(session, &row, &n_rows), "CPU: logits");
    const double error =
            help_relative_error(row, walk_reference_row(w->reference, &more, more.n), WALK_VOCAB);
    walk_say(w, "CPU: reads %" PRId64 " tokens, error %.2g", n, error);
    if (!(error < 0.05)) walk_fail(w, "CPU: reads something else, error %g", error);
    glm_session_free(session);
    glm_engine_close(engine);
}

/* A bit of a segment is another one; nobody is told. */
void walk_damage(walk *w) {
    glob_t found = {0};
    for (int32_t i = 0; i < w->n_dirs; i++) {
        char pattern[192];
        (void)snprintf(pattern, sizeof pattern, "%s/vault/*/*/*.kvs", w->dirs[i]);
        (void)glob(pattern, i > 0 ? GLOB_APPEND : 0, NULL, &found);
    }
    if (found.gl_pathc > 0) {
        const char *path = found.gl_pathv[walk_below(w, (int64_t)found.gl_pathc)];
        const int fd = open(path, O_RDWR | O_CLOEXEC);
        const off_t size = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
        const off_t at = size > 0 ? (off_t)walk_below(w, size) : 0;
        uint8_t byte = 0;
        if (size == 0 || pread(fd, &byte, 1, at) != 1) walk_fail(w, "%s cannot be read", path);
        byte ^= (uint8_t)(1 << walk_below(w, 8));
        if (pwrite(fd, &byte, 1, at) != 1) walk_fail(w, "%s cannot be written", path);
        (void)close(fd);
        walk_say(w, "damage: a bit at %" PRId64 " of %" PRId64, (int64_t)at, (int64_t)size);
    }
    globfree(&found);
    if (walk_below(w, 2)) walk_look_at_all(w);
}

/* The prefill under way is stopped, and what is kept of it is found by whoever prefills the same. */
void walk_suspend(walk *w) {
    walk_seq *s = w->running;
    if (!s) return;
    const int64_t n = glm_session_length(s->session);
    walk_remember(w, &w->aim);
    w->running = NULL;
    if (walk_below(w, 4) == 0) {
        walk_say(w, "%d: abort at %" PRId64, (int)(s - w->seqs), n);
        glm_prefill_abort(s->session);
    } else {
        walk_say(w, "%d: suspend at %" PRId64, (int)(s - w->seqs), n);
        (void)walk_went(w, glm_prefill_suspend(s->session), "suspend", RT_EUSAGE, RT_ENOFIT);
    }
    s->tokens = w->aim;
    s->n_held = n;
    walk_note_length(w, s, walk_least(w, n), n, "stopped");
    if (!w->kind->tells_how || !w->persists || n / 4096 == w->aim.n / 4096) return;
    glm_session_free(
            s->session); /* what the book's extent held is computed again, and not as the CPU did */
    s->session = NULL;
}
