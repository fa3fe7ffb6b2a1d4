/* GPUs that lose one another: whichever call of NCCL fails, at once or later, on whichever rank; a call of CUDA on one
 * rank; a rank that dies while the others wait for its sum, in prefill and in a decode step that is a graph, rank 0
 * too: the others notice, and say which rank, its host, the step and the reason; nobody hangs or stays behind, nothing
 * is left on the device, and no answer is wrong.
 *
 * Method: two ranks on what plays GPUs and NCCL (tests/standin), which the environment tells when to fail. 3 tokens are
 * prefilled and 3 decoded, the last two by graph. Calls of NCCL, in order: the id, the communicator, 6 of prefill (the
 * embedding, two a layer, the logits), 6 of the first step, 6 while the graph is recorded, the end. Meetings: the
 * same, and 12 of the graph. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "help_ranks.h"
#include "runtime/base/log.h"
#include "runtime/runtime.h"
#include "standin/standin_cuda.h"

enum {
    N_IDS = 3,
    N_STEPS = 3,
    N_CALLS = 2 + 3 * 6 + 1,
    N_MEETINGS = 4 * 6,
    CALL_PREFILL = 4,
    CALL_GRAPH = 16,
    N_ASKED = 7, /* calls of CUDA */
    VOCAB = 272,
    ROOM = 1024,
    S_MAX = 60 /* nobody hangs: NCCL would wait 120 s, a frozen rank is noticed after 6 */
};
static double s_longest; /* of a run with a failure, opening and all: printed */

static int n_failed;
static const char *model;

/* A run that is not over by then is not waited for. */
static void give_up(int signal) {
    static const char text[] = "FAIL: a rank waits for one that has failed\n";
    (void)signal;
    (void)!write(STDOUT_FILENO, text, sizeof text - 1);
    _exit(1);
}

static void fault(const char *variable, int at, int rank) {
    char number[16];
    (void)snprintf(number, sizeof number, "%d", at);
    (void)setenv(variable, number, 1);
    (void)snprintf(number, sizeof number, "%d", rank);
    (void)setenv("STANDIN_NCCL_FAIL_RANK", number, 1);
}

static void no_fault(const char *variable) {
    (void)unsetenv(variable);
    (void)unsetenv("STANDIN_NCCL_FAIL_RANK");
}

static rt_status use(glm_session *session, float *logits) {
    const int32_t ids[N_IDS] = {1, 2, 3};
    const float *rows = NULL;
    int64_t n_rows = 0;
    RT_TRY(glm_prefill(session, ids, N_IDS));
    for (int i = 0; i < N_STEPS; i++) RT_TRY(glm_decode(&session, &ids[0], 1));
    RT_TRY(glm_session_logits(session, &rows, &n_rows));
    memcpy(logits, rows, VOCAB * sizeof *logits);
    return RT_OK;
}

/* The answer, and what became of it. */
static rt_status run(float logits[VOCAB], char text[ROOM], double *seconds) {
    glm_engine *engine = NULL;
    glm_session *session = NULL;
    const glm_options options = {.model_dir = model,
            .device = "cuda",
            .tensor_parallel = 2,
            .max_len = 64,
            .threads = 1};
    const double begin = rt_now();
    (void)alarm(S_MAX);
    rt_status status = glm_engine_open(&options, &engine);
    if (status == RT_OK) status = glm_session_create(engine, 64, &session);
    if (status == RT_OK) status = use(session, logits);
    (void)snprintf(text, ROOM, "%s", status == RT_OK ? "" : rt_error_text());
    glm_session_free(session);
    glm_engine_close(engine);
    (void)alarm(0);
    *seconds = rt_now() - begin;
    return status;
}

static void expect(bool is_true, const char *what, int at, int rank, const char *text) {
    if (is_true) return;
    printf("FAIL %s %d on rank %d: %s\n", what, at, rank, text);
    n_failed++;
}

static void note_time(double seconds) {
    if (seconds > s_longest) s_longest = seconds;
}

static void check_nothing_is_left(const char *what, int at, int rank) {
    const standin_cuda *gpu = standin_cuda_get();
    expect(gpu->n_objects == 0 && gpu->device_bytes == 0 && gpu->pinned_bytes == 0, what, at, rank,
            "something is left on the device");
}

/* A fault of one rank: a failure that names it. `words`: what the message says, too; NULL: what it may be. */
static void check_fault(const char *variable, int at, int rank, const char *words) {
    float logits[VOCAB];
    char text[ROOM];
    char name[32];
    double seconds = 0.0;
    fault(variable, at, rank);
    const rt_status status = run(logits, text, &seconds);
    no_fault(variable);
    (void)snprintf(name, sizeof name, "rank %d on ", rank);
    expect(status == RT_EPEER, variable, at, rank, status == RT_OK ? "not noticed" : text);
    expect(status == RT_OK || strstr(text, name), variable, at, rank, text);
    expect(status == RT_OK || !words || strstr(text, words), variable, at, rank, text);
    note_time(seconds);
    check_nothing_is_left(variable, at, rank);
}

/* The last call is the end's: there is an answer by then. */
static void check_calls(int step, const float *want) {
    float logits[VOCAB];
    char text[ROOM];
    double seconds = 0.0;
    for (int rank = 0; rank < 2; rank++)
        for (int at = rank; at < N_CALLS - 1; at += at < 2 ? 1 : step)
            if (at > 0) check_fault("STANDIN_NCCL_FAIL_AT", at, rank, "as the environment said");
    fault("STANDIN_NCCL_FAIL_AT", 0, 0);
    expect(run(logits, text, &seconds) == RT_EPEER && strstr(text, "ncclGetUniqueId"),
            "ncclGetUniqueId", 0, 0, text);
    fault("STANDIN_NCCL_FAIL_AT", N_CALLS - 1, 1);
    expect(run(logits, text, &seconds) == RT_OK, "ncclCommFinalize", N_CALLS - 1, 1, text);
    expect(memcmp(logits, want, sizeof logits) == 0, "logits", 0, 0, "are others");
    no_fault("STANDIN_NCCL_FAIL_AT");
}

/* Rank 1 reads the environment when it starts; this process has. Its first calls ask what is free; one that cannot
 * tell is believed to have as much as rank 0, until they meet. */
static void check_cuda(int step) {
    float logits[VOCAB];
    char text[ROOM];
    double seconds = 0.0;
    for (int at = N_ASKED + 1; at < 290; at += step) {
        char number[16];
        (void)snprintf(number, sizeof number, "%d", at);
        (void)setenv("STANDIN_CUDA_FAIL_AT", number, 1);
        const rt_status status = run(logits, text, &seconds);
        (void)unsetenv("STANDIN_CUDA_FAIL_AT");
        expect(status != RT_OK && strstr(text, "rank 1 on "), "call of CUDA", at, 1,
                status == RT_OK ? "not noticed" : text);
        note_time(seconds);
        check_nothing_is_left("call of CUDA", at, 1);
    }
}

/* Rank 0 dies: its child ends, by the kernel or by itself. This process is who gets orphans. */
static void check_rank_0(const char *self, int meeting) {
    int state = 0;
    const double begin = rt_now();
    fault("STANDIN_NCCL_KILL_AT", meeting, 0);
    (void)alarm(S_MAX);
    const pid_t zero = fork();
    if (zero == 0) {
        (void)execl(self, self, "zero", model, (char *)NULL);
        _exit(99);
    }
    no_fault("STANDIN_NCCL_KILL_AT");
    (void)waitpid(zero, &state, 0);
    expect(WIFSIGNALED(state) && WTERMSIG(state) == SIGKILL, "kill", meeting, 0, "it lives");
    while (waitpid(-1, &state, 0) > 0)
        expect(WIFSIGNALED(state) || WEXITSTATUS(state) == 6, "kill", meeting, 0,
                "the other rank ends with another code than 6");
    (void)alarm(0);
    note_time(rt_now() - begin);
}

int main(int argc, char **argv) {
    int exit_code = 0;
    float want[VOCAB];
    float again[VOCAB];
    char text[ROOM];
    double seconds = 0.0;
    (void)setenv("STANDIN_CUDA_DEVICES", "2", 1);
    if (glm_rank_is_asked(argc, argv, &exit_code)) return exit_code;
    (void)signal(SIGALRM, give_up);
    const bool is_fast = getenv("GLM_TEST_FAST") != NULL;
    const int step = is_fast ? 5 : 2;
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
    const help_shape shape = {.hidden = 64,
            .n_layers = 2,
            .n_heads = 4,
            .n_kv_heads = 2,
            .head_dim = 128,
            .ffn = 80,
            .vocab = VOCAB,
            .dtype = "bfloat16"};
    model = argc > 1 ? argv[2] : help_random_model(&shape, 9);
    if (argc > 1) return run(want, text, &seconds) == RT_OK ? 0 : 1;
    (void)standin_cuda_get();
    expect(run(want, text, &seconds) == RT_OK, "without", 0, 0, text);
    check_calls(step, want);
    check_fault("STANDIN_NCCL_BREAK_AT", CALL_PREFILL, 0, "remote process");
    check_fault("STANDIN_NCCL_BREAK_AT", CALL_GRAPH, 1, "remote process");
    check_fault("STANDIN_NCCL_KILL_AT", CALL_PREFILL, 1, "is gone");
    check_fault("STANDIN_NCCL_KILL_AT", N_MEETINGS - 2, 1, "is gone"); /* in the graph */
    check_cuda(is_fast ? 66 : 29);
    check_rank_0("/proc/self/exe", N_MEETINGS - 8);
    expect(run(again, text, &seconds) == RT_OK && memcmp(want, again, sizeof want) == 0,
            "after all", 0, 0, text);
    printf("the longest run with a failure, opening and all: %.2f s\n", s_longest);
    return n_failed ? 1 : 0;
}
