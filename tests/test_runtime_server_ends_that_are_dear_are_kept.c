/* A text that makes way in memory is found on disk again, up to its last token, where to compute what it has behind its last
 * whole segment would take long; where that is quick only its whole segments are.
 *
 * Method: serve's scheduler, step by step, over the embedded model. A text of a segment and a half is kept; sessions beside it
 * take all pages but a few, so that it makes way for another text; then it is asked for again. What takes long is any time,
 * then more than it ever takes. */
#include "help_check.h"
#include "help_dir.h"
#include "help_needle.h"
#include "help_scheduler.h"
#include "kvstore/store_impl.h"

enum {
    N = KV_SEGMENT_TOKENS,
    TEXT = N + N / 2,
    OTHER = 900,
    CONTEXT = 4 * N,
    ROOM = 6 * ATTN_PAGE_TOKENS, /* less than the other text takes */
    FULL_MAX = 64
};

static srv_scheduler *scheduler;
static glm_session *beside[FULL_MAX];
static int n_beside;

static void start(const char *model, double dear_s) {
    const char *const dirs[] = {help_dir()};
    const glm_options options = {.model_dir = model,
            .device = "cpu",
            .max_len = CONTEXT,
            .chunk = 1024,
            .kv_disk_dirs = dirs,
            .n_kv_disk_dirs = 1,
            .persists = true,
            .keeps_forks = true,
            .max_seqs = 1};
    scheduler = help_scheduler_open(&options);
    scheduler->dear_s = dear_s;
}

/* n bytes, others for each seed: how many tokens were there, of *n_prompt. */
static int64_t answer(int64_t n, int seed, int64_t *n_prompt) {
    static char prompt[TEXT + 1];
    for (int64_t i = 0; i < n; i++) prompt[i] = (char)('a' + (i * i / 7 + seed * (i + 1)) % 23);
    prompt[n] = '\0';
    srv_request *request = help_scheduler_ask(scheduler,
            json_pack("{s:s, s:i, s:i}", "prompt", prompt, "max_tokens", 1, "temperature", 0));
    const int64_t n_cached = request->progress.n_cached;
    while (scheduler->n_running > 0)
        CHECK(srv_prefill_item(scheduler) || srv_decode_steps(scheduler));
    CHECK(request->phase == SRV_DONE && request->error.http == 0);
    *n_prompt = request->prompt.n;
    srv_request_drop(request);
    return n_cached;
}

static bool hold(int64_t n_tokens) {
    CHECK(n_beside < FULL_MAX);
    const rt_status status = glm_session_create(scheduler->engine, n_tokens, &beside[n_beside]);
    CHECK(status == RT_OK || status == RT_ENOFIT);
    n_beside += status == RT_OK;
    return status == RT_OK;
}

/* But for ROOM tokens' pages. */
static void hold_the_rest(void) {
    kv_store *store = scheduler->engine->store;
    const int64_t n_pages = kv_pool_room(&store->pool) / store->config.n_layers;
    CHECK(n_pages * ATTN_PAGE_TOKENS > ROOM && hold(n_pages * ATTN_PAGE_TOKENS - ROOM));
    while (hold(CONTEXT)) {
    }
}

static void check(const char *model, double dear_s, bool finds_all) {
    int64_t n_text, n_other;
    start(model, dear_s);
    CHECK(answer(TEXT, 0, &n_text) == 0 && scheduler->n_prefixes == 1);
    CHECK(n_text > N + N / 3 && n_text < 2 * N);
    hold_the_rest();
    (void)answer(OTHER, 1, &n_other);
    CHECK(scheduler->counters.n_evicted == 1);
    while (n_beside > 0) glm_session_free(beside[--n_beside]);
    const int64_t n = answer(TEXT, 0, &n_text);
    (void)printf("%lld of %lld tokens are there\n", (long long)n, (long long)n_text);
    CHECK(n == (finds_all ? n_text - 1 : N));
    help_scheduler_close(scheduler);
}

int main(void) {
    const char *model = help_needle_model();
    check(model, 0.0, true);
    check(model, 1e9, false);
    return 0;
}
