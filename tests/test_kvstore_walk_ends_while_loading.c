/* A walk may end while a window's rows are on their way, as where a GPU has refused a copy: the next one finds every
 * sequence as it was.
 *
 * Method: a sequence is cut inside an extent that is on disk, and is to grow; that walk is given up in each window with
 * something else in the pages that are being loaded; then it grows, and all is read. With memory for none of it, for
 * some and for all. */
#include <string.h>

#include "help_kv.h"

enum { LAYERS = 2, WRITTEN = 30, CUT = 12, GROWN = 14, VALUE = 1000 };

static int n_given_up; /* while a window was loading */

static void load(kv_walk *walk, const kv_window *window, bool is_right) {
    kv_rows rows;
    for (int64_t i = 0; i < window->n_loads; i++)
        for (int64_t row = 0; kv_walk_load(walk, i, row, 0, &rows); row += rows.n_tokens)
            if (is_right)
                kvh_rows_to_pages(&rows);
            else
                memset(rows.pages[0], 0xee, KVH_PAGE_BYTES);
}

/* In window `at`. */
static void give_up(kv_store *store, kv_seq *seq, int32_t layer, int at) {
    const int64_t end = GROWN;
    kv_walk *walk = NULL;
    kv_window window;
    int64_t n_stores = 0;
    CHECK(kv_walk_begin(store, layer, &seq, &end, 1, KV_WALK_ALL, &walk) == RT_OK);
    for (int i = 0; i < at; i++) {
        CHECK(kv_walk_next(walk, &window) == RT_OK);
        load(walk, &window, true);
        CHECK(kv_walk_loaded(walk) == RT_OK);
        CHECK(kv_walk_leave(walk, &n_stores) == RT_OK);
        CHECK(n_stores == 0);
    }
    CHECK(kv_walk_next(walk, &window) == RT_OK);
    load(walk, &window, false);
    n_given_up += window.n_loads > 0;
    kv_walk_end(walk);
}

static void check(int64_t n_pages, int at) {
    const kv_config config = kvh_overflow_config(LAYERS, n_pages, 64);
    kv_store *store = NULL;
    CHECK(kv_store_open(&config, &store) == RT_OK);
    kv_seq *seq = kvh_seq(store, WRITTEN + 4);
    kvh_append(store, seq, LAYERS, WRITTEN, VALUE);
    kv_seq_truncate(seq, CUT);
    CHECK(kv_span_begin(seq, NULL, GROWN - CUT) == RT_OK);
    give_up(store, seq, 0, at);
    kv_span_abort(seq);
    kvh_append(store, seq, LAYERS, GROWN - CUT, VALUE);
    CHECK(kvh_holds(store, seq, LAYERS, 0, GROWN, VALUE));
    kv_seq_free(seq);
    kv_store_close(store);
}

int main(void) {
    for (int64_t n_pages = 0; n_pages <= 24; n_pages += 4)
        for (int at = 0; at < 2; at++) check(n_pages, at);
    printf("%d walks ended while a window was loading\n", n_given_up);
    CHECK(n_given_up >= 8);
    return 0;
}
