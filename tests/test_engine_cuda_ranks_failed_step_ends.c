/* Two ranks that are GPUs, and a prefill or a step of decode whose keys and values come and go: whatever call to CUDA or cuBLASLt fails
 * on one, or what it queued, it ends on both, and so does the program. Where all could agree on the failure what is done
 * again has the bits of what did not fail; otherwise the group is over. Where it was only that a graph could not be made, no
 * rank has one. A GPU that has failed is a rank that is lost, rank 0, too, whoever was first to notice.
 *
 * Method: a book goes on through windows on what plays two GPUs and NCCL, once for some of the calls of a prefill and of two steps. A
 * rank that waits for sums which the other one has not queued, or which never run there, would wait for ever: an alarm ends
 * the test then. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "help_dir.h"
#include "help_engine.h"
#include "help_needle.h"
#include "help_ranks.h"
#include "standin/standin_cuda.h"
#include "standin/standin_plain.h"

enum {
    N_BOOK = 4096 + 70,
    N_MAX = N_BOOK + 128,
    N_MORE = 60,
    PREFILL = 0, /* and then steps of decode */
    N_DONE = 3,
    N_LAYERS = 2,
    VOCAB = HELP_TWO_RANKS_VOCAB,
    FOR_EVER_S = 120
};

static const char *model;
static char dir[4096];
static int32_t ids[N_MAX];
static float right[N_DONE][VOCAB], got[N_DONE][VOCAB];
static int64_t n_calls[N_DONE]; /* where nothing fails */
static int64_t n_right, n_over;
static int n_failed;

static glm_engine *open_on(const char *device, int n_ranks, int64_t kv_bytes) {
    const glm_options options = {.model_dir = model,
            .device = device,
            .tensor_parallel = n_ranks,
            .device_kv_bytes = kv_bytes,
            .max_len = N_MAX,
            .chunk = 128};
    return help_engine_open_in(dir, options);
}

static void write_book(void) {
    (void)snprintf(dir, sizeof dir, "%s/r%%r", help_dir_in_memory());
    glm_engine *engine = open_on("cpu", 1, 0);
    help_engine_keep(engine, ids, N_BOOK, "text");
    glm_engine_close(engine);
}

/* So that nothing of the book stays. */
static int64_t little(void) {
    glm_engine *engine = open_on("cuda", 2, 0);
    const int64_t bytes = help_engine_little_kv(glm_engine_plan(engine), N_LAYERS);
    glm_engine_close(engine);
    return bytes;
}

static void complain(int what, int64_t at, const char *text) {
    printf("FAIL: call %lld of %s %d: %s\n", (long long)at, what == PREFILL ? "prefill" : "step",
            what, text);
    n_failed++;
}

/* The prefill, or a step, of which call `at` fails, 0: none. */
static rt_status take(glm_session *session, int what, int64_t at) {
    standin_cuda *gpu = standin_cuda_get();
    const int64_t length = glm_session_length(session);
    gpu->n_calls = 0;
    gpu->fail_at = at;
    const rt_status status = what == PREFILL
                                     ? glm_prefill(session, ids + length, N_BOOK + N_MORE - length)
                                     : glm_decode(&session, &ids[N_BOOK + N_MORE + what], 1);
    gpu->fail_at = 0;
    if (n_calls[what] == 0) n_calls[what] = gpu->n_calls; /* the first time nothing fails */
    if (status == RT_OK) help_engine_row(session, got[what], VOCAB);
    return status;
}

/* All up to `last`, of which call `at` fails; that again, where it came to an error. */
static void go_on(glm_session *session, int last, int64_t at) {
    for (int i = 0; i < last; i++) help_require(take(session, i, 0), "what comes before");
    const rt_status status = take(session, last, at);
    if (standin_cuda_get()->fails_in_kernel && status != RT_OK && status != RT_EPEER)
        complain(last, at, "a GPU that has failed is no rank that is lost");
    const rt_status again = status == RT_OK || status == RT_EPEER ? status : take(session, last, 0);
    if (again != RT_OK && again != RT_EPEER && again != RT_EDEVICE)
        complain(last, at, rt_error_text());
    if (again == RT_OK && at > 0 && memcmp(got[last], right[last], sizeof right[last]) != 0)
        complain(last, at, "other logits");
    n_right += again == RT_OK;
    n_over += again != RT_OK;
}

static void run(int64_t kv_bytes, int last, int64_t at) {
    glm_session *session = NULL;
    glm_reuse reuse = {0};
    (void)alarm(FOR_EVER_S);
    glm_engine *engine = open_on("cuda", 2, kv_bytes);
    help_require(glm_session_create(engine, N_MAX, &session), "session");
    help_require(glm_session_restore(session, ids, N_BOOK, &reuse), "restore");
    go_on(session, last, at);
    glm_session_free(session);
    glm_engine_close(engine);
    (void)alarm(0);
}

int main(int argc, char **argv) {
    const int64_t every = getenv("GLM_TEST_FAST") ? 71 : 31;
    int exit_code = 0;
    (void)setenv("STANDIN_CUDA_DEVICES", "2", 1);
    (void)setenv("STANDIN_CUDA_PLAIN", "1", 1); /* the kernels have tests of their own */
    if (glm_rank_is_asked(argc, argv, &exit_code)) return exit_code;
    standin_plain_use(true);
    help_engine_ids(ids, N_MAX, 23);
    model = help_model_of_two_ranks();
    write_book();
    const int64_t kv_bytes = little();
    run(kv_bytes, N_DONE - 1, 0);
    memcpy(right, got, sizeof right);
    n_right = 0;
    for (int kind = 0; kind < 2; kind++) {
        standin_cuda_get()->fails_in_kernel = kind == 1;
        for (int what = 0; what < N_DONE; what++)
            for (int64_t at = 1 + 3 * kind; at <= n_calls[what]; at += every)
                run(kv_bytes, what, at);
    }
    if (n_right == 0 || n_over == 0) complain(0, 0, "none is done again, or no group is over");
    printf("%lld, %lld and %lld calls: %lld as they should be, %lld groups over, %d not as they should be\n",
            (long long)n_calls[0], (long long)n_calls[1], (long long)n_calls[2], (long long)n_right,
            (long long)n_over, n_failed);
    return n_failed ? 1 : 0;
}
