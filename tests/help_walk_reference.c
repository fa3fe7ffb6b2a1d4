#include <stdlib.h>
#include <string.h>

#include "help_check.h"
#include "help_walk.h"
#include "runtime/base/size.h"

enum { N_SESSIONS = 4, ROWS_MAX = 1 << 15, FRESH_ONE_IN = 16 };

typedef struct plain {
    glm_session *session; /* NULL: not there */
    walk_tokens tokens;
    int64_t used;
} plain;

typedef struct known {
    uint64_t key; /* 0: not there */
    float row[WALK_VOCAB];
} known;

struct walk_reference {
    bool tells_how;
    glm_engine *engine;
    int64_t n_uses;
    plain plains[N_SESSIONS];
    known rows[ROWS_MAX];
};

walk_reference *walk_reference_open(const walk_kind *kind, const char *model, const char *kv_dtype,
        int32_t n_ranks, const char *dir) {
    walk_reference *r = calloc(1, sizeof *r);
    CHECK(r);
    r->tells_how = kind->tells_how;
    const glm_options options = {.model_dir = model,
            .device = kind->device,
            .kv_dtype = kv_dtype,
            .tensor_parallel = n_ranks,
            .max_len = WALK_TOKENS,
            .extra_kv_tokens = (N_SESSIONS - 1) * WALK_TOKENS,
            .max_seqs = N_SESSIONS,
            .threads = 1,
            .persists = dir != NULL,
            .kv_disk_dirs = &dir,
            .n_kv_disk_dirs = dir != NULL};
    CHECK(glm_engine_open(&options, &r->engine) == RT_OK);
    const glm_plan *plan = glm_engine_plan(r->engine);
    CHECK(!plan->kv_overflows || plan->kv_pinned_tokens >= plan->max_len);
    CHECK(glm_engine_config(r->engine)->vocab == WALK_VOCAB);
    return r;
}

void walk_reference_close(walk_reference *r) {
    for (int i = 0; i < N_SESSIONS; i++) glm_session_free(r->plains[i].session);
    glm_engine_close(r->engine);
    free(r);
}

int64_t walk_reference_token_bytes(const walk_reference *r) {
    return rt_div_up(glm_engine_plan(r->engine)->kv_page_bytes, WALK_PAGE) *
           glm_engine_config(r->engine)->n_layers;
}

/* FNV-1a. */
static uint64_t key_of(const walk_reference *r, const walk_tokens *tokens, int64_t n) {
    uint64_t key = 0xcbf29ce484222325u;
    for (int64_t i = 0; i < n; i++) {
        const uint64_t how = r->tells_how ? tokens->hows[i] : 0;
        key = (key ^ ((uint64_t)tokens->ids[i] * 4 + how)) * 0x100000001b3u;
        key ^= key >> 29;
    }
    return key ? key : 1;
}

static bool is_prefix(const walk_reference *r, const walk_tokens *a, const walk_tokens *of) {
    return memcmp(a->ids, of->ids, (size_t)a->n * sizeof *a->ids) == 0 &&
           (!r->tells_how || memcmp(a->hows, of->hows, (size_t)a->n) == 0);
}

/* The session that holds the most of the first tokens, at most n - 1. */
static plain *longest(walk_reference *r, const walk_tokens *tokens, int64_t n) {
    plain *best = NULL;
    for (int i = 0; i < N_SESSIONS; i++) {
        plain *p = &r->plains[i];
        if (p->session && p->tokens.n < n && (!best || p->tokens.n > best->tokens.n) &&
                is_prefix(r, &p->tokens, tokens))
            best = p;
    }
    return best;
}

static plain *fresh(walk_reference *r) {
    plain *oldest = &r->plains[0];
    for (int i = 1; i < N_SESSIONS; i++)
        if (r->plains[i].used < oldest->used) oldest = &r->plains[i];
    glm_session_free(oldest->session);
    CHECK(glm_session_create(r->engine, WALK_TOKENS, &oldest->session) == RT_OK);
    oldest->tokens.n = 0;
    return oldest;
}

/* n tokens of the book; a page at least is worth reading. */
static void restore_book(plain *p, int64_t n) {
    static int32_t ids[WALK_TOKENS + 1];
    const int64_t n_found = n > WALK_PAGE ? n : WALK_PAGE;
    glm_reuse reuse;
    for (int64_t i = 0; i <= n_found; i++) ids[i] = walk_token(0, i);
    CHECK(glm_session_restore(p->session, ids, n_found + 1, &reuse) == RT_OK);
    CHECK(reuse.n_tokens == n_found);
    glm_session_truncate(p->session, n);
    CHECK(glm_session_length(p->session) == n);
}

/* Tokens at .. *end, all computed alike. */
static void add(const walk_reference *r, plain *p, const walk_tokens *tokens, int64_t at, int64_t n,
        int64_t *end) {
    const uint8_t how = r->tells_how ? tokens->hows[at] : WALK_PREFILLED;
    *end = at + 1;
    if (how == WALK_DECODED) {
        CHECK(glm_decode(&p->session, tokens->ids + at, 1) == RT_OK);
        return;
    }
    while (*end < n && (!r->tells_how || tokens->hows[*end] == how)) (*end)++;
    if (how == WALK_PREFILLED) {
        CHECK(glm_prefill(p->session, tokens->ids + at, *end - at) == RT_OK);
        return;
    }
    CHECK(at == 0);
    restore_book(p, *end);
}

/* Each token as it was computed. */
static void extend(const walk_reference *r, plain *p, const walk_tokens *tokens, int64_t n) {
    while (p->tokens.n < n) {
        const int64_t at = p->tokens.n;
        int64_t end = n;
        add(r, p, tokens, at, n, &end);
        memcpy(p->tokens.ids + at, tokens->ids + at, (size_t)(end - at) * sizeof *tokens->ids);
        memcpy(p->tokens.hows + at, tokens->hows + at, (size_t)(end - at));
        p->tokens.n = end;
    }
}

const float *walk_reference_row(walk_reference *r, const walk_tokens *tokens, int64_t n) {
    CHECK(n > 0 && n <= WALK_TOKENS);
    const uint64_t key = key_of(r, tokens, n);
    uint64_t at = key % ROWS_MAX;
    int64_t n_tries = 0;
    while (r->rows[at].key && r->rows[at].key != key) {
        at = (at + 1) % ROWS_MAX;
        CHECK(++n_tries < ROWS_MAX);
    }
    known *k = &r->rows[at];
    if (k->key) return k->row;
    plain *p = key / ROWS_MAX % FRESH_ONE_IN == 0 ? NULL : longest(r, tokens, n);
    if (!p) p = fresh(r);
    extend(r, p, tokens, n);
    p->used = ++r->n_uses;
    const float *row = NULL;
    int64_t n_rows = 0;
    CHECK(glm_session_logits(p->session, &row, &n_rows) == RT_OK && n_rows == 1);
    memcpy(k->row, row, sizeof k->row);
    k->key = key;
    return k->row;
}
