/* A prefill or a decode that is asked for wrongly is refused, with what is wrong, and changes nothing: what is asked for
 * rightly then has the bits that it has in an engine that nobody asks wrongly. Logits that a later step has replaced are not
 * given.
 *
 * Method: the same tokens in two engines, in one of which every wrong request comes before each right one. */
#include <string.h>

#include "attention/attention.h"
#include "help_check.h"
#include "help_engine.h"
#include "help_model.h"

enum { N_IDS = 20, MAX_LEN = N_IDS + 2, VOCAB = 272, MAX_LOGITS = 3, MAX_SEQS = 2 };

static int32_t ids[MAX_LEN + 2];
static glm_engine *engine;
static glm_session *sessions[MAX_SEQS + 1];

static void expect(rt_status status, const char *words) {
    CHECK(status == RT_EUSAGE);
    if (strstr(rt_error_text(), words)) return;
    printf("FAIL \"%s\" does not say: %s\n", rt_error_text(), words);
    exit(1);
}

/* An empty one. */
static void refuse_prefills(glm_session *session) {
    const int64_t twice[] = {4, 4}, descending[] = {5, 4}, negative[] = {-1}, behind[] = {N_IDS},
                  four[] = {0, 1, 2, 3};
    const int32_t unknown[] = {0, VOCAB}, below[] = {-1};
    expect(glm_prefill_begin(session, ids, N_IDS, twice, 2), "wanted at 4: positions must ascend");
    expect(glm_prefill_begin(session, ids, N_IDS, descending, 2), "positions must ascend");
    expect(glm_prefill_begin(session, ids, N_IDS, negative, 1), "lie in 0 .. 19");
    expect(glm_prefill_begin(session, ids, N_IDS, behind, 1), "wanted at 20");
    expect(glm_prefill_begin(session, ids, N_IDS, four, 4), "4 rows of logits asked for, 3");
    expect(glm_prefill(session, unknown, 2), "id 272");
    expect(glm_prefill(session, below, 1), "id -1");
    expect(glm_prefill(session, ids, MAX_LEN + 1), "23 tokens do not fit");
    expect(glm_prefill(session, ids, 0), "no tokens");
    CHECK(glm_session_length(session) == 0);
}

static void refuse_together(void) {
    const int32_t unknown[] = {VOCAB};
    const int32_t *lists[] = {ids, unknown, ids};
    const int64_t n_ids[] = {1, 1, 1};
    expect(glm_prefill_together(sessions, lists, n_ids, MAX_SEQS + 1), "3 sessions at once, 2");
    expect(glm_prefill_together(sessions, lists, n_ids, MAX_SEQS), "id 272");
}

static void refuse_decodes(void) {
    const int32_t wrong[] = {0, VOCAB}, below[] = {-1};
    const int64_t length = glm_session_length(sessions[0]);
    expect(glm_decode(sessions, ids, MAX_SEQS + 1), "3 sessions at once, 2 planned");
    expect(glm_decode(sessions, wrong, MAX_SEQS), "id 272; the vocabulary has 272");
    expect(glm_decode(sessions, below, 1), "id -1");
    CHECK(glm_session_length(sessions[0]) == length);
}

static void refuse_all(bool is_wrong) {
    if (!is_wrong) return;
    refuse_prefills(sessions[MAX_SEQS]);
    refuse_together();
    refuse_decodes();
}

/* The first session's rows lay where these are. */
static rt_status take(void *context, int64_t at, int64_t n, const float *logits) {
    const float *row = NULL;
    int64_t n_rows = 0;
    (void)context, (void)at, (void)n, (void)logits;
    expect(glm_session_logits(sessions[0], &row, &n_rows), "replaced by a later");
    return RT_OK;
}

/* Two have rows of one step: a third one's prefill takes their place, also where it gives its logits away as it goes. */
static void check_replaced(void) {
    const float *row = NULL;
    int64_t n_rows = 0;
    glm_prefill_progress progress = {0};
    help_require(glm_prefill_begin_all(sessions[2], ids, N_IDS, 0, take, NULL), "begin");
    CHECK(glm_session_logits(sessions[0], &row, &n_rows) == RT_OK);
    while (!progress.is_done) help_require(glm_prefill_step(sessions[2], &progress), "step");
    expect(glm_session_logits(sessions[1], &row, &n_rows), "replaced by a later");
}

static void run(bool is_wrong, float rows[3][VOCAB]) {
    const glm_options options = {.model_dir = help_model_for_gpu(false),
            .max_len = MAX_LEN,
            .max_logits = MAX_LOGITS,
            .max_seqs = MAX_SEQS,
            .extra_kv_tokens = MAX_SEQS * ATTN_PAGE_TOKENS,
            .threads = 1};
    help_require(glm_engine_open(&options, &engine), "open");
    for (int i = 0; i <= MAX_SEQS; i++)
        help_require(glm_session_create(engine, MAX_LEN, &sessions[i]), "session");
    refuse_all(is_wrong);
    help_require(glm_prefill(sessions[1], ids + 1, N_IDS), "prefill");
    help_require(glm_prefill(sessions[0], ids, N_IDS), "prefill");
    refuse_all(is_wrong);
    help_engine_row(sessions[0], rows[0], VOCAB);
    for (int i = 0; i < 2; i++) {
        help_require(glm_decode(sessions, ids + i, 2), "decode");
        if (i == 0) refuse_all(is_wrong);
    }
    for (int i = 0; i < 2; i++) help_engine_row(sessions[i], rows[1 + i], VOCAB);
    if (is_wrong) {
        expect(glm_decode(sessions, ids, 1), "the session is full at 22 tokens");
        check_replaced();
    }
    for (int i = 0; i <= MAX_SEQS; i++) glm_session_free(sessions[i]);
    glm_engine_close(engine);
}

int main(void) {
    static float want[3][VOCAB], got[3][VOCAB];
    help_engine_ids(ids, MAX_LEN + 2, 5);
    run(false, want);
    run(true, got);
    CHECK(memcmp(want, got, sizeof want) == 0);
    return 0;
}
