/* kill -9 in the middle of a prefill, on a drive that lost what it had said was durable: who goes on from there
 * has the logits of a run that nothing happened to, to the last bit, and says what was lost.
 *
 * Method: a random model, to whose logits every key and value of the text counts. A child prefills and is killed
 * once its first span is committed; in that span's segment a sector is then as it is when the power fails before
 * a drive has written it: zeros, or what lay there before. Another process goes on with the text. Sectors in
 * the keys and values of each layer, a child for each. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "help_check.h"
#include "help_dir.h"
#include "help_engine.h"
#include "help_kv_vault.h"
#include "help_ranks.h"

enum { SPAN = 4096, N_IDS = 2 * SPAN + 200, SECTOR = 512, PLACES = 4 };

static const char *dir, *dirs[1];
static char vault[512];
static const char *model;
static int32_t ids[N_IDS];
static int64_t n_ids = N_IDS;
static int64_t vocab;

/* Without zstd, which would notice by itself. */
static glm_options options_of(bool is_kept) {
    return (glm_options){.model_dir = model,
            .device = "cpu",
            .max_len = n_ids,
            .span = SPAN,
            .threads = 1,
            .kv_packing = "plain",
            .persists = is_kept,
            .kv_disk_dirs = dirs,
            .n_kv_disk_dirs = is_kept};
}

/* Logits of the last token, for free(). */
static float *prefill(bool is_kept, glm_reuse *reuse) {
    const glm_options options = options_of(is_kept);
    glm_engine *engine = NULL;
    glm_session *session = NULL;
    help_require(glm_engine_open(&options, &engine), "open");
    help_require(glm_session_create(engine, n_ids, &session), "session");
    if (is_kept) help_require(glm_session_restore(session, ids, n_ids, reuse), "restore");
    const int64_t n = glm_session_length(session);
    help_require(glm_prefill(session, ids + n, n_ids - n), "prefill");
    vocab = glm_engine_config(engine)->vocab;
    float *row = calloc((size_t)vocab, sizeof *row);
    CHECK(row);
    help_engine_row(session, row, vocab);
    glm_session_free(session);
    glm_engine_close(engine);
    return row;
}

/* Killed as soon as a segment has its name. */
static void kill_a_prefill(void) {
    glm_reuse reuse;
    int how = 0;
    (void)fflush(stdout);
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        free(prefill(true, &reuse));
        for (;;) (void)pause();
    }
    while (kvh_count_files(dir, ".kvs") == 0) {
        CHECK(waitpid(child, &how, WNOHANG) == 0);
        (void)usleep(2000);
    }
    CHECK(kill(child, SIGKILL) == 0 && waitpid(child, &how, 0) == child);
    CHECK(WIFSIGNALED(how) && WTERMSIG(how) == SIGKILL);
}

/* Of the first segment, a sector between its ids and its footer; what lay there before is of another place. */
static void lose_a_sector(int place) {
    char command[512], path[512] = "";
    char bytes[SECTOR] = {0};
    struct stat st;
    (void)snprintf(command, sizeof command, "find '%s' -name '*.kvs' | xargs ls -tr", dir);
    FILE *list = popen(command, "r");
    CHECK(list && fgets(path, sizeof path, list) && pclose(list) == 0);
    path[strcspn(path, "\n")] = 0;
    const int fd = open(path, O_RDWR);
    CHECK(fd >= 0 && fstat(fd, &st) == 0);
    const int64_t at = st.st_size * (2 * place + 1) / (2 * PLACES) / SECTOR * SECTOR;
    if (place % 2) CHECK(pread(fd, bytes, SECTOR, at / 2 / SECTOR * SECTOR) == SECTOR);
    CHECK(pwrite(fd, bytes, SECTOR, at) == SECTOR && fsync(fd) == 0 && close(fd) == 0);
}

static void check(int place, const float *want) {
    glm_reuse reuse;
    kill_a_prefill();
    lose_a_sector(place);
    float *got = prefill(true, &reuse);
    printf("sector %d: %lld tokens reused; %s\n", place, (long long)reuse.n_tokens, reuse.reason);
    if (memcmp(want, got, (size_t)vocab * sizeof *got) != 0) {
        printf("FAIL: other logits\n");
        exit(1);
    }
    CHECK(reuse.n_tokens == 0 && strstr(reuse.reason, "put aside"));
    CHECK(kvh_count_files(dir, ".bad") == 1);
    CHECK(kvh_count_files(dir, ".kvs") == n_ids / SPAN); /* whole again */
    free(got);
    got = prefill(true, &reuse);
    CHECK(reuse.n_tokens == n_ids / SPAN * SPAN);
    CHECK(memcmp(want, got, (size_t)vocab * sizeof *got) == 0);
    free(got);
    help_remove_dir(vault);
}

int main(void) {
    static const help_shape shape = {.hidden = 64,
            .n_layers = 2,
            .n_heads = 2,
            .n_kv_heads = 1,
            .head_dim = 32,
            .ffn = 96,
            .vocab = 300,
            .dtype = "bfloat16"};
    const bool is_fast = getenv("GLM_TEST_FAST");
    const int n_places = is_fast ? 1 : PLACES;
    if (is_fast) n_ids = SPAN + 200;
    dir = help_dir();
    dirs[0] = dir;
    (void)snprintf(vault, sizeof vault, "%s/vault", dir);
    model = help_random_model(&shape, 11);
    help_engine_ids(ids, N_IDS, 3);
    float *want = prefill(false, NULL);
    for (int place = 0; place < n_places; place++) check(place, want);
    free(want);
    return 0;
}
