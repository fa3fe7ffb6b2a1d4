/* Several sessions prefilled in one pass have the logits that each has alone, bit for bit, whatever they hold,
 * add and share: questions of one text, also beside answers under way, longer than a chunk, across the ends of
 * pages and extents, in memory and on disk, in every KV type, on ranks; also where they were stopped before
 * any layer, and began again. A session that is refused leaves the others as they were.
 *
 * Method: random weights, where every key counts, and forks of a text in one engine; each fork's ids alone in
 * a second engine, which decodes what is one token. Then the same of both after one step more, and two steps
 * of decode. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "help_expect.h"
#include "help_ranks.h"

enum {
    N_VOCAB = 300,
    N_LAYERS = 3,
    N_SESSIONS = 6,
    N_ROUNDS = 4,
    TEXT = 600,
    ROOM = 420,
    CHUNK = 128
};

typedef struct setup {
    const char *name;
    const char *kv_dtype;
    int64_t host_kv_bytes; /* 0: all of it in memory */
    int32_t n_ranks;
    bool is_stopped;
    bool is_in_stopped; /* another setup is this one, stopped, and goes on undisturbed: that is enough for sanitizers */
} setup;

/* What each fork holds of the text, and what it adds: 1 is decoded. 300 is more than a chunk, 256 are two. In round 1 the
 * first three begin a page each. */
static const int64_t held[N_SESSIONS] = {TEXT, TEXT, TEXT - 1, 512, TEXT, 300};
static const int64_t added[N_ROUNDS][N_SESSIONS] = {
        {36, 1, 17, 128, 300, 1}, {5, 40, 25, 256, 1, 60}, {1, 1, 1, 1, 1, 1}, {1, 1, 1, 1, 1, 1}};

static int32_t id_at(int64_t session, int64_t pos) {
    return (int32_t)((session * 101 + pos * 37 + pos * pos % 11) % 250);
}

static void fill(int64_t session, int64_t from, int64_t n, int32_t *ids) {
    for (int64_t i = 0; i < n; i++) ids[i] = id_at(session, from + i);
}

static glm_engine *open_engine(const setup *s, const char *model) {
    const char *dirs[] = {model};
    const glm_options options = {.model_dir = model,
            .max_len = TEXT + ROOM,
            .chunk = CHUNK,
            .max_seqs = N_SESSIONS,
            .extra_kv_tokens = (int64_t)N_SESSIONS * (ROOM + 256),
            .kv_dtype = s->kv_dtype,
            .host_kv_bytes = s->host_kv_bytes,
            .n_kv_disk_dirs = 1,
            .kv_disk_dirs = dirs,
            .tensor_parallel = s->n_ranks};
    glm_engine *engine = NULL;
    require(glm_engine_open(&options, &engine), s->name);
    expect(glm_engine_plan(engine)->kv_overflows == (s->host_kv_bytes > 0), s->name, "overflows");
    return engine;
}

/* Forks of one text; where KV is lossy they may hold a little less than asked for. */
static glm_session *fork_all(glm_engine *engine, glm_session **forks) {
    int32_t ids[TEXT];
    glm_session *text = NULL;
    fill(0, 0, TEXT, ids);
    require(glm_session_create(engine, TEXT, &text), "session");
    require(glm_prefill(text, ids, TEXT), "text");
    for (int i = 0; i < N_SESSIONS; i++)
        require(glm_session_fork(text, held[i], held[i] + ROOM, &forks[i]), "fork");
    return text;
}

static void take_rows(glm_session *const *sessions, int i, float *rows) {
    const float *logits = NULL;
    int64_t n_rows = 0;
    require(glm_session_logits(sessions[i], &logits, &n_rows), "logits");
    memcpy(rows + (int64_t)i * N_VOCAB, logits, N_VOCAB * sizeof *rows);
}

/* How many times more the engine goes on when it asks; and how many stops there were in each round. */
static int n_goes_on;
static int n_stops[N_ROUNDS];

static int stops(void) {
    return n_goes_on-- == 0;
}

static rt_status pass(glm_session *const *forks, const int32_t *const *lists, int round) {
    if (round < 2) return glm_prefill_together(forks, lists, added[round], N_SESSIONS);
    int32_t next[N_SESSIONS];
    for (int i = 0; i < N_SESSIONS; i++) next[i] = lists[i][0];
    return glm_decode(forks, next, N_SESSIONS);
}

/* From one stop to the next; a sanitizer sees each layer's, and each of decode. */
static int stride_of(int round) {
    return round < 2 && getenv("GLM_TEST_FAST") ? 5 : 1;
}

/* Stopped wherever it can be, the sessions are as before, or can be made so; then undisturbed. */
static int run_stopped(glm_session *const *forks, const int32_t *const *lists, int round) {
    int64_t before[N_SESSIONS];
    for (int i = 0; i < N_SESSIONS; i++) before[i] = glm_session_length(forks[i]);
    for (int n = 0;; n += stride_of(round)) {
        n_goes_on = n;
        const rt_status status = pass(forks, lists, round);
        if (status != RT_EINTERRUPTED) {
            require(status, "a pass that is not stopped");
            return n;
        }
        for (int i = 0; i < N_SESSIONS; i++) {
            expect(glm_session_length(forks[i]) >= before[i], "stopped", "it holds less");
            glm_session_truncate(forks[i], before[i]);
        }
    }
}

static void run_round(glm_session *const *forks, int round, bool is_together, float *rows) {
    static int32_t ids[N_SESSIONS][ROOM];
    const int32_t *lists[N_SESSIONS];
    for (int i = 0; i < N_SESSIONS; i++) {
        fill(i + 1, glm_session_length(forks[i]), added[round][i], ids[i]);
        lists[i] = ids[i];
    }
    if (is_together) n_stops[round] = run_stopped(forks, lists, round);
    for (int i = 0; i < N_SESSIONS; i++) {
        if (!is_together && added[round][i] == 1)
            require(glm_decode(&forks[i], ids[i], 1), "decode");
        else if (!is_together)
            require(glm_prefill(forks[i], ids[i], added[round][i]), "alone");
        take_rows(forks, i, rows);
    }
}

static void write_rows(const setup *s, const char *model, bool is_together, float *rows) {
    glm_session *forks[N_SESSIONS];
    glm_engine *engine = open_engine(s, model);
    glm_session *text = fork_all(engine, forks);
    if (s->is_stopped && is_together) glm_engine_stop_if(engine, stops);
    for (int round = 0; round < N_ROUNDS; round++)
        run_round(forks, round, is_together, rows + (int64_t)round * N_SESSIONS * N_VOCAB);
    for (int i = 0; i < N_SESSIONS; i++) glm_session_free(forks[i]);
    glm_session_free(text);
    glm_engine_close(engine);
}

/* The first of those places that is past the end. Round 0 takes two chunks of its longest alone, and then four passes. Ranks do not ask in decode. */
static int stops_due(const setup *s, int round) {
    static const int passes[N_ROUNDS] = {6, 6, 1, 1};
    if (round >= 2 && s->n_ranks > 1) return 0;
    const int stride = stride_of(round);
    return (passes[round] * N_LAYERS + stride - 1) / stride * stride;
}

static void check_same(const setup *s, const char *model) {
    static float alone[N_ROUNDS * N_SESSIONS * N_VOCAB];
    static float together[N_ROUNDS * N_SESSIONS * N_VOCAB];
    write_rows(s, model, false, alone);
    write_rows(s, model, true, together);
    for (int round = 0; round < N_ROUNDS; round++)
        expect(n_stops[round] == (s->is_stopped ? stops_due(s, round) : 0), s->name, "stops");
    for (int i = 0; i < N_ROUNDS * N_SESSIONS; i++) {
        if (memcmp(alone + i * N_VOCAB, together + i * N_VOCAB, N_VOCAB * sizeof *alone) == 0)
            continue;
        printf("FAIL %s: round %d, session %d has other logits\n", s->name, i / N_SESSIONS,
                i % N_SESSIONS);
        n_failed++;
    }
}

static void check_refusals(const char *model) {
    static const setup plain = {.name = "refusals", .kv_dtype = "bf16"};
    static const int32_t good[] = {1, 2, 3};
    static const int32_t bad[] = {1, 300, 3};
    static int32_t many[ROOM + 1];
    glm_session *forks[N_SESSIONS];
    glm_engine *engine = open_engine(&plain, model);
    glm_session *text = fork_all(engine, forks);
    const int32_t *lists[] = {good, bad};
    const int64_t counts[] = {3, 3};
    const int64_t too_many[] = {3, ROOM + 1};
    const int64_t none[] = {3, 0};
    expect(glm_prefill_together(forks, lists, counts, 2) == RT_EUSAGE, "refusals", "an id");
    lists[1] = many;
    expect(glm_prefill_together(forks, lists, too_many, 2) == RT_EUSAGE, "refusals", "no room");
    expect(glm_prefill_together(forks, lists, none, 2) == RT_EUSAGE, "refusals", "no ids");
    require(glm_prefill_begin(forks[2], good, 3, NULL, 1), "begin");
    expect(glm_prefill_together(forks, lists, counts, 2) == RT_EUSAGE, "refusals", "a prefill");
    glm_prefill_abort(forks[2]);
    expect(glm_session_length(forks[0]) == held[0], "refusals", "the first one is as it was");
    for (int i = 0; i < N_SESSIONS; i++) glm_session_free(forks[i]);
    glm_session_free(text);
    glm_engine_close(engine);
}

int main(int argc, char **argv) {
    int exit_code = 0;
    if (glm_rank_is_asked(argc, argv, &exit_code)) return exit_code;
    static const setup setups[] = {{.name = "bf16", .kv_dtype = "bf16"},
            {.name = "bf16 on disk",
                    .kv_dtype = "bf16",
                    .host_kv_bytes = 1 << 20,
                    .is_in_stopped = true},
            {.name = "int8", .kv_dtype = "int8"},
            {.name = "int4 on disk", .kv_dtype = "int4", .host_kv_bytes = 2600000},
            {.name = "2 ranks", .kv_dtype = "bf16", .n_ranks = 2, .is_in_stopped = true},
            {.name = "stopped", .kv_dtype = "bf16", .host_kv_bytes = 1 << 20, .is_stopped = true},
            {.name = "2 ranks, stopped", .kv_dtype = "bf16", .n_ranks = 2, .is_stopped = true}};
    const help_shape shape = {.hidden = 128,
            .n_layers = N_LAYERS,
            .n_heads = 8,
            .n_kv_heads = 4,
            .head_dim = 32,
            .ffn = 192,
            .vocab = N_VOCAB,
            .dtype = "bfloat16"};
    const char *model = help_random_model(&shape, 7);
    for (size_t i = 0; i < sizeof setups / sizeof *setups; i++)
        if (!setups[i].is_in_stopped || !getenv("GLM_TEST_FAST")) check_same(&setups[i], model);
    check_refusals(model);
    return n_failed > 0;
}
