/* Random operations: the store does what a plain model does, token for token, page for page.
 *
 * Method: the model keeps every sequence's tokens in an array of its own and its pages as numbers
 * that are never used twice; a page is used while some sequence lists its number. After each of
 * 100,000 operations the tokens of a sequence and the store's counts are compared. Seeds are
 * printed; `test_kvstore_model SEED` repeats one. */
#include <inttypes.h>
#include <string.h>

#include "help_kv.h"

enum {
    LAYERS = 2,
    POOL_PAGES = 24, /* of one layer */
    SEQS = 6,
    TOKENS = 40,
    SLOTS = TOKENS / KVH_PAGE_TOKENS,
    OPERATIONS = 10000,
    SEEDS = 10
};

typedef struct model_seq {
    kv_seq *seq; /* NULL: not there */
    uint64_t tokens[TOKENS];
    int64_t pages[SLOTS]; /* by number */
    int64_t n_pages, length, span, max_tokens, promised, made_up;
    int64_t old_tail; /* kept while a span has replaced it; -1 */
} model_seq;

typedef struct model {
    kv_store *store;
    model_seq seqs[SEQS];
    int64_t next_page;
    uint64_t next_value;
    uint64_t random;
} model;

static int64_t below(model *m, int64_t n) {
    return (int64_t)(random_next(&m->random) % (uint64_t)n);
}

static int64_t pages_for(int64_t n_tokens) {
    return (n_tokens + KVH_PAGE_TOKENS - 1) / KVH_PAGE_TOKENS;
}

static int64_t references(const model *m, int64_t page) {
    int64_t n = 0;
    for (int i = 0; i < SEQS; i++) {
        const model_seq *s = &m->seqs[i];
        if (!s->seq) continue;
        for (int64_t p = 0; p < s->n_pages; p++) n += s->pages[p] == page;
        n += s->old_tail == page;
    }
    return n;
}

/* Each page weighs 1: its references times 1 / references. Counted in 720ths: 6! covers 1 .. 6. */
static void count(const model *m, int64_t *used, int64_t *shared, int64_t *promised) {
    int64_t used_720 = 0, shared_720 = 0;
    *promised = 0;
    for (int i = 0; i < SEQS; i++) {
        const model_seq *s = &m->seqs[i];
        if (!s->seq) continue;
        *promised += s->promised;
        for (int64_t p = 0; p < s->n_pages + 1; p++) {
            const int64_t page = p < s->n_pages ? s->pages[p] : s->old_tail;
            if (page < 0) continue;
            const int64_t n = references(m, page);
            used_720 += 720 / n;
            if (n > 1) shared_720 += 720 / n;
        }
    }
    CHECK(used_720 % 720 == 0 && shared_720 % 720 == 0);
    *used = used_720 / 720;
    *shared = shared_720 / 720;
}

static int64_t room(const model *m) {
    int64_t used, shared, promised;
    count(m, &used, &shared, &promised);
    return POOL_PAGES - used - promised;
}

static void compare_counts(const model *m) {
    int64_t used, shared, promised;
    count(m, &used, &shared, &promised);
    const kv_stats stats = kv_store_stats(m->store);
    CHECK(stats.pages_used == used * LAYERS && stats.pages_shared == shared * LAYERS);
    CHECK(stats.pages_reserved == (used + promised) * LAYERS);
    CHECK(used + promised <= POOL_PAGES);
}

static void compare_tokens(const model *m, const model_seq *s) {
    CHECK(kv_seq_length(s->seq) == s->length && kv_seq_max_tokens(s->seq) == s->max_tokens);
    for (int32_t layer = 0; layer < LAYERS; layer++) {
        uint64_t values[TOKENS];
        kvh_read_all(m->store, s->seq, layer, values);
        CHECK(memcmp(values, s->tokens, (size_t)s->length * sizeof *values) == 0);
    }
}

static void model_drop(model *m, model_seq *s, int64_t n_pages) {
    while (s->n_pages > n_pages) {
        const int64_t page = s->pages[s->n_pages - 1];
        s->n_pages--;
        if (references(m, page) == 0) s->promised++;
    }
}

static void do_create(model *m, model_seq *s) {
    const int64_t max_tokens = below(m, TOKENS + 1);
    const bool fits = pages_for(max_tokens) <= room(m);
    kv_seq *seq = NULL;
    CHECK(kv_seq_create(m->store, max_tokens, &seq) == (fits ? RT_OK : RT_ENOFIT));
    if (!fits) return;
    *s = (model_seq){.seq = seq,
            .max_tokens = max_tokens,
            .promised = pages_for(max_tokens),
            .old_tail = -1};
}

static void do_fork(model *m, model_seq *s) {
    model_seq *parent = &m->seqs[below(m, SEQS)];
    if (!parent->seq || parent->span) return;
    const int64_t n_tokens = below(m, parent->length + 1);
    const int64_t max_tokens = n_tokens + below(m, TOKENS + 1 - n_tokens);
    const int64_t n_whole = n_tokens / KVH_PAGE_TOKENS;
    const bool fits = pages_for(max_tokens) - n_whole <= room(m);
    kv_seq *seq = NULL;
    CHECK(kv_seq_fork(parent->seq, n_tokens, max_tokens, &seq) == (fits ? RT_OK : RT_ENOFIT));
    if (!fits) return;
    *s = *parent;
    s->seq = seq;
    s->length = n_tokens;
    s->max_tokens = max_tokens;
    s->n_pages = pages_for(n_tokens);
    s->promised = pages_for(max_tokens) - s->n_pages;
    if (s->n_pages > n_whole) s->pages[n_whole] = m->next_page++;
}

static void do_begin(model *m, model_seq *s) {
    const int64_t left = s->max_tokens - s->length;
    const int64_t n_tokens = 1 + below(m, left + 2);
    if (n_tokens > left) {
        CHECK(kv_span_begin(s->seq, NULL, n_tokens) == RT_EUSAGE);
        return;
    }
    const int64_t n_pages = pages_for(s->length + n_tokens);
    const bool copies = s->length % KVH_PAGE_TOKENS && references(m, s->pages[s->n_pages - 1]) > 1;
    const int64_t n_fresh = n_pages - s->n_pages + copies;
    const int64_t missing = n_fresh > s->promised ? n_fresh - s->promised : 0;
    const bool fits = missing <= room(m);
    CHECK(kv_span_begin(s->seq, NULL, n_tokens) == (fits ? RT_OK : RT_ENOFIT));
    if (!fits) return;
    s->made_up = missing;
    s->promised += missing - n_fresh;
    if (copies) {
        s->old_tail = s->pages[s->n_pages - 1];
        s->pages[s->n_pages - 1] = m->next_page++;
    }
    while (s->n_pages < n_pages) s->pages[s->n_pages++] = m->next_page++;
    s->span = n_tokens;
    m->next_value += 1u << 20;
    kvh_write(m->store, s->seq, LAYERS, s->length, n_tokens, m->next_value);
    for (int64_t i = s->length; i < s->length + n_tokens; i++)
        s->tokens[i] = m->next_value + (uint64_t)i;
}

static void do_commit(model_seq *s) {
    kv_span_commit(s->seq);
    s->length += s->span;
    s->span = 0;
    s->old_tail = -1;
}

static void do_abort(model *m, model_seq *s) {
    kv_span_abort(s->seq);
    model_drop(m, s, pages_for(s->length));
    if (s->old_tail >= 0) {
        s->pages[s->n_pages - 1] = s->old_tail;
        s->old_tail = -1;
        s->promised++;
    }
    s->promised -= s->made_up;
    s->span = 0;
}

static void do_truncate(model *m, model_seq *s) {
    const int64_t n_tokens = below(m, s->length + 1);
    kv_seq_truncate(s->seq, n_tokens);
    model_drop(m, s, pages_for(n_tokens));
    s->length = n_tokens;
}

static void step(model *m) {
    model_seq *s = &m->seqs[below(m, SEQS)];
    const int64_t dice = below(m, 100);
    if (!s->seq) {
        if (dice < 40)
            do_create(m, s);
        else
            do_fork(m, s);
    } else if (dice < 12) {
        kv_seq_free(s->seq);
        s->seq = NULL;
    } else if (s->span) {
        if (dice < 70)
            do_commit(s);
        else
            do_abort(m, s);
    } else if (dice < 75) {
        do_begin(m, s);
    } else {
        do_truncate(m, s);
    }
    compare_counts(m);
    if (s->seq) compare_tokens(m, s);
}

static void run(uint64_t seed) {
    model m = {.store = kvh_open(LAYERS, (int64_t)POOL_PAGES * LAYERS), .random = seed};
    for (int i = 0; i < OPERATIONS; i++) step(&m);
    for (int i = 0; i < SEQS; i++) {
        if (m.seqs[i].seq) compare_tokens(&m, &m.seqs[i]);
        kv_seq_free(m.seqs[i].seq);
    }
    kv_store_close(m.store);
}

int main(int argc, char **argv) {
    kvh_run_seeds(argc, argv, SEEDS, run);
    return 0;
}
