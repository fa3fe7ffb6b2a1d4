/* A server that stops between two pieces of a prompt says how much of it is found when the same request comes again: what is on
 * the disk then, not what was computed, of which somebody may have removed a part, or a full disk may have kept none.
 *
 * Method: serve's scheduler, step by step, over the embedded model: two pieces of three are done. Nothing is removed; the
 * segment of the second one; all of them. The request that comes again finds as much as was said. */
#include <string.h>
#include <unistd.h>

#include "help_check.h"
#include "help_dir.h"
#include "help_kv_vault.h"
#include "help_needle.h"
#include "help_scheduler.h"

enum { N = KV_SEGMENT_TOKENS, PROMPT = 2 * N + 100, ANSWER = 4, CHUNK = 1024 };

static const char *dirs[1];

static srv_request *submit(srv_scheduler *scheduler) {
    static char prompt[PROMPT];
    for (int i = 0; i < PROMPT - 1; i++) prompt[i] = (char)('a' + i * i / 7 % 23);
    return help_scheduler_ask(scheduler,
            json_pack("{s:s, s:i, s:i}", "prompt", prompt, "max_tokens", ANSWER, "temperature", 0));
}

static srv_scheduler *start(const char *model) {
    const glm_options options = {.model_dir = model,
            .device = "cpu",
            .max_len = PROMPT + 64,
            .chunk = CHUNK,
            .kv_disk_dirs = dirs,
            .n_kv_disk_dirs = 1,
            .persists = true,
            .max_seqs = 1};
    return help_scheduler_open(&options);
}

/* Those from `first` on, by the position that is in their header. */
static void remove_segments(int64_t first) {
    char command[512];
    (void)snprintf(command, sizeof command,
            "find '%s' -name '*.kvs' | while read -r file; do"
            " [ \"$(od -An -t d8 -j 112 -N 8 \"$file\")\" -lt %lld ] || rm \"$file\"; done",
            dirs[0], (long long)first);
    CHECK(system(command) == 0);
}

/* Of which everything from `removed` on goes before the server stops. */
static void check(const char *model, int64_t removed) {
    char said[64];
    srv_scheduler *scheduler = start(model);
    srv_request *request = submit(scheduler);
    CHECK(scheduler->n_running == 1);
    const glm_session *session = scheduler->running[0]->session;
    while (glm_session_length(session) < 2 * N) CHECK(srv_prefill_item(scheduler));
    CHECK(!scheduler->piece_of && request->progress.n_processed == 2 * N);
    remove_segments(removed);
    srv_fail_all(scheduler);
    (void)printf("%s\n", request->error.message);
    (void)snprintf(said, sizeof said, "; %lld of the prompt's ", (long long)removed);
    CHECK(request->phase == SRV_DONE && request->error.http == 503);
    CHECK((strstr(request->error.message, said) != NULL) == (removed > 0));
    CHECK((strstr(request->error.message, "kept") != NULL) == (removed > 0));
    srv_request_drop(request);
    help_scheduler_close(scheduler);

    scheduler = start(model);
    request = submit(scheduler);
    CHECK(request->progress.n_cached == removed);
    srv_fail_all(scheduler);
    srv_request_drop(request);
    help_scheduler_close(scheduler);
}

int main(void) {
    const char *model = help_needle_model();
    dirs[0] = help_dir();
    check(model, 2 * N);
    remove_segments(0);
    check(model, N);
    remove_segments(0);
    check(model, 0);
    return 0;
}
