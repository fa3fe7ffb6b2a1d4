/* How much of a text the disk has, counted before it is looked for, is how much is found: whole segments, and behind them one
 * that is not whole, as the end of a conversation is, as far as its tokens are the text's. One that the text goes on from
 * is found whichever its place among hundreds that begin alike.
 *
 * Method: a whole segment, and behind it and behind nothing many short ones, that have their first BEGINNING tokens in common
 * and part from each other there. Texts that end inside one, with it, behind it, and that part from it in its middle. */
#include "help_kv_memfs.h"
#include "help_kv_vault.h"

enum { N = KV_SEGMENT_TOKENS, TAILS = 150, BEGINNING = 40, STEP = 3, TEXT = N + 700 };

/* The tokens of a tail are those of the text, but from BEGINNING on for each tail others. */
static int32_t id_of(int32_t tail, int64_t i) {
    return (int32_t)(i * 7 % 151 + (i < BEGINNING ? 0 : 1000 * (tail + 1)));
}

static int64_t length_of(int32_t tail) {
    return BEGINNING + 60 + tail * STEP;
}

/* The first n_before tokens, and behind them those of a tail. */
static void make(int32_t *ids, int64_t n_before, int32_t tail) {
    for (int64_t i = 0; i < n_before; i++) ids[i] = (int32_t)(i * 11 % 499);
    for (int64_t i = n_before; i < TEXT; i++) ids[i] = id_of(tail, i - n_before);
}

static void check(kvh_vault *v, const int32_t *ids, int64_t n_ids, int64_t wanted) {
    int64_t n = -1;
    CHECK(kv_vault_count_after(v->vault, kv_vault_root(v->vault), 0, ids, n_ids, &n) == RT_OK);
    CHECK(n == wanted);
    CHECK(kvh_find(v, ids, n_ids, NULL) == wanted);
}

static void write_tails(kvh_vault *v, int64_t n_before) {
    int32_t ids[TEXT];
    const kv_hash *root = kv_vault_root(v->vault);
    kv_hash parent = *root;
    for (int32_t tail = 0; tail < TAILS; tail++) {
        make(ids, n_before, tail);
        if (tail == 0 && n_before > 0)
            CHECK(kvh_write_segment(v, root, 0, ids, N, &parent) == RT_OK);
        CHECK(kvh_write_segment(v, &parent, n_before, ids + n_before, (int32_t)length_of(tail),
                      NULL) == RT_OK);
    }
}

static void check_tails(kvh_vault *v, int64_t n_before) {
    int32_t ids[TEXT];
    for (int32_t tail = 0; tail < TAILS; tail += 29) {
        const int64_t n = n_before + length_of(tail);
        make(ids, n_before, tail);
        check(v, ids, n, n);
        check(v, ids, TEXT, n);
        check(v, ids, n_before + BEGINNING / 2, n_before + BEGINNING / 2);
    }
    make(ids, n_before, TAILS);
    check(v, ids, TEXT, n_before + BEGINNING);
    ids[n_before] = 5000;
    check(v, ids, TEXT, n_before);
}

/* Of few, one is found as far as it goes, also where it ends sooner than the text goes on. */
static void check_inside(kvh_vault *v) {
    int32_t ids[TEXT];
    make(ids, N, TAILS + 1);
    CHECK(kvh_write_segment(v, kv_vault_root(v->vault), 0, ids + N, 500, NULL) == RT_OK);
    check(v, ids + N, 300, 300);
    ids[N + 333] = 5;
    check(v, ids + N, 600, 333);
}

int main(void) {
    kvh_memfs *fs = kvh_memfs_new();
    kvh_vault v = kvh_vault_in_memory();
    kvh_vault_open(&v, kvh_memfs_io(fs));
    check_inside(&v);
    write_tails(&v, N);
    check_tails(&v, N);
    write_tails(&v, 0);
    kvh_vault_close(&v);
    kvh_vault_open(&v, kvh_memfs_io(fs)); /* in the order of its directory */
    check_tails(&v, N);
    check_tails(&v, 0);
    kvh_vault_close(&v);
    kvh_memfs_free(fs);
    return 0;
}
