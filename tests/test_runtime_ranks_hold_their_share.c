/* A rank reads its share of the weights from the disk, and holds its share of keys and values: what was
 * measured is what the formula says, also of 8 ranks over 4 KV heads, which hold as much as 4 do.
 *
 * Method: one model; 1, 2, 4 and 8 ranks. /proc says what each rank's process has read once it is open
 * (its slices; besides them the files' headers and a few ends for the fingerprint, at most 4 MiB), and
 * how its resident memory grows with 1,920 tokens after the first 128, which have touched all scratch.
 * Skipped under sanitizers, whose memory is not the program's. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "help_check.h"
#include "help_ranks.h"
#include "runtime/base/size.h"

enum { FIRST = 128, REST = 1920, RANKS_MAX = 8 };

static const help_shape shape = {.hidden = 256,
        .n_layers = 8,
        .n_heads = 8,
        .n_kv_heads = 4,
        .head_dim = 128,
        .ffn = 2048,
        .vocab = 16384,
        .dtype = "bfloat16"};
static int n_failed;

/* Bytes of weights that a rank needs, from the shapes alone. */
static int64_t weights_of(int n_ranks) {
    const int64_t kv_heads = rt_max64(shape.n_kv_heads / n_ranks, 1);
    const int64_t q = (int64_t)shape.n_heads / n_ranks * shape.head_dim;
    const int64_t kv = kv_heads * shape.head_dim;
    const int64_t qkv = (q + 2 * kv) * (shape.hidden + 1);
    const int64_t mlp = 3 * (int64_t)shape.ffn / n_ranks * shape.hidden;
    const int64_t layer = qkv + q * shape.hidden + mlp + 2 * (int64_t)shape.hidden;
    return 2 * (shape.n_layers * layer + shape.hidden +
                       2 * (int64_t)shape.vocab / n_ranks * shape.hidden);
}

static int64_t kv_of(int n_ranks, int64_t n_tokens) {
    const int64_t kv_heads = rt_max64(shape.n_kv_heads / n_ranks, 1);
    return n_tokens * shape.n_layers * 2 * kv_heads * shape.head_dim * 2;
}

/* A number behind a key in a file of /proc. */
static int64_t proc_number(long pid, const char *name, const char *key) {
    char path[64];
    char line[256];
    int64_t number = -1;
    (void)snprintf(path, sizeof path, "/proc/%ld/%s", pid, name);
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, key, strlen(key)) == 0) number = strtoll(line + strlen(key), NULL, 10);
    if (file) (void)fclose(file);
    return number;
}

/* The other ranks' processes, in the order of their numbers. */
static int find_ranks(long *pids) {
    char path[64];
    int n = 0;
    (void)snprintf(path, sizeof path, "/proc/self/task/%ld/children", (long)getpid());
    FILE *file = fopen(path, "r");
    while (file && n < RANKS_MAX && fscanf(file, "%ld", &pids[n]) == 1) n++;
    if (file) (void)fclose(file);
    return n;
}

static void compare(const char *what, int rank, int n_ranks, int64_t got, int64_t want,
        int64_t below, int64_t above) {
    const bool is_good = got >= want - below && got <= want + above;
    printf("%s %s of rank %d of %d: %" PRId64 ", by the formula %" PRId64 "\n",
            is_good ? "ok  " : "FAIL", what, rank, n_ranks, got, want);
    n_failed += !is_good;
}

static void check(const char *model, int n_ranks) {
    const glm_options options = {.model_dir = model,
            .tensor_parallel = n_ranks,
            .max_len = FIRST + REST,
            .chunk = FIRST,
            .threads = 1};
    const int64_t read_before = proc_number((long)getpid(), "io", "rchar: ");
    glm_engine *engine = NULL;
    glm_session *session = NULL;
    int32_t ids[FIRST + REST];
    long pids[RANKS_MAX] = {(long)getpid()};
    int64_t before[RANKS_MAX];
    for (int i = 0; i < FIRST + REST; i++) ids[i] = i * 37 % 1000;
    help_require(glm_engine_open(&options, &engine), "open");
    help_require(glm_session_create(engine, FIRST + REST, &session), "session");
    const int n_found = n_ranks > 1 ? find_ranks(pids + 1) : 0;
    if (n_found != n_ranks - 1) n_failed++;
    for (int r = 0; r <= n_found; r++)
        compare("bytes read", r, n_ranks,
                proc_number(pids[r], "io", "rchar: ") - (r ? 0 : read_before), weights_of(n_ranks),
                0, 4 * RT_MIB);
    help_require(glm_prefill(session, ids, FIRST), "prefill");
    for (int r = 0; r <= n_found; r++) before[r] = proc_number(pids[r], "status", "VmRSS:") * 1024;
    help_require(glm_prefill(session, ids, REST), "prefill");
    const int64_t want = kv_of(n_ranks, REST);
    for (int r = 0; r <= n_found; r++)
        compare("bytes of keys and values", r, n_ranks,
                proc_number(pids[r], "status", "VmRSS:") * 1024 - before[r], want,
                want / 10 + 2 * RT_MIB, want / 10 + 2 * RT_MIB);
    glm_session_free(session);
    glm_engine_close(engine);
}

int main(int argc, char **argv) {
    int exit_code = 0;
    if (glm_rank_is_asked(argc, argv, &exit_code)) return exit_code;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    printf("skipped: the sanitizer's memory is not the program's\n");
    return 77;
#endif
    const char *model = help_random_model(&shape, 3);
    for (int n_ranks = 8; n_ranks >= 1; n_ranks /= 2) check(model, n_ranks);
    return n_failed ? 1 : 0;
}
