/* Of a prompt the disk has more than a kept text: where the pages are not there that reading it would take, all that the kept
 * text has is taken over, and the text stays, instead of making way.
 *
 * Method: serve's scheduler, step by step, over the embedded model. The disk has a prompt of two segments from a server before;
 * a kept text shares one and a half of them. Sessions beside it hold all of the pages but for those behind what is shared,
 * and all cells for what overflows; then none. */
#include "help_check.h"
#include "help_dir.h"
#include "help_needle.h"
#include "help_scheduler.h"
#include "kvstore/store_impl.h"

enum {
    N = KV_SEGMENT_TOKENS,
    SHARED = N + N / 2,
    PROMPT = 2 * N + 100,
    CONTEXT = 4 * N,
    ROOM = 25 * ATTN_PAGE_TOKENS, /* less than from N on, and more than from SHARED on */
    FULL_MAX = 64
};

static srv_scheduler *scheduler;
static glm_session *beside[FULL_MAX];
static int n_beside;

static void start(const char *model, const char *const *dirs) {
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
}

/* n bytes, the first SHARED of every prompt alike. */
static srv_request *submit(int64_t n) {
    static char prompt[PROMPT + 1];
    for (int64_t i = 0; i < n; i++) prompt[i] = (char)('a' + i * i / 7 % 23);
    if (n > SHARED) prompt[SHARED] = '!';
    prompt[n] = '\0';
    return help_scheduler_ask(scheduler,
            json_pack("{s:s, s:i, s:i}", "prompt", prompt, "max_tokens", 1, "temperature", 0));
}

static void answer(int64_t n) {
    srv_request *request = submit(n);
    while (scheduler->n_running > 0)
        CHECK(srv_prefill_item(scheduler) || srv_decode_steps(scheduler));
    CHECK(request->phase == SRV_DONE && request->error.http == 0);
    srv_request_drop(request);
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

static void let_go(void) {
    while (n_beside > 0) glm_session_free(beside[--n_beside]);
}

/* What the prompt finds, in memory or on the disk, in tokens. */
static int64_t find(void) {
    srv_request *request = submit(PROMPT);
    CHECK(scheduler->n_running == 1);
    const int64_t n = request->progress.n_cached;
    srv_fail_all(scheduler);
    srv_request_drop(request);
    (void)printf("%lld tokens are there, %d texts are kept\n", (long long)n, scheduler->n_prefixes);
    return n;
}

int main(void) {
    const char *const dirs[] = {help_dir()};
    const char *model = help_needle_model();
    start(model, dirs);
    answer(PROMPT);
    help_scheduler_close(scheduler);

    start(model, dirs);
    answer(SHARED);
    CHECK(scheduler->n_prefixes == 1);
    const glm_session *kept = scheduler->prefixes[0].session;
    hold_the_rest();
    const int64_t n = find();
    CHECK(n >= SHARED && n < 2 * N);
    CHECK(scheduler->prefixes[0].session == kept);
    let_go();
    CHECK(find() == 2 * N);
    help_scheduler_close(scheduler);
    return 0;
}
