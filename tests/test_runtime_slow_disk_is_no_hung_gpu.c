/* While a rank waits for the disk to make a span, a suspended one or a book durable, its group is idle: a process whose GPU
 * may wait for ever is not ended in the middle of that, however long it takes (parallel.h, par_comm_nccl_open). Before and
 * after it is not.
 *
 * Method: two ranks; at every fdatasync of rank 0's the group is looked at. Spans come to their commit by each way that
 * there is: a prefill, a decode, a prefill of several, of which each is given the tokens that complete a segment. */
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "help_check.h"
#include "help_dir.h"
#include "help_ranks.h"
#include "runtime/engine.h"

enum { SEGMENT = 4096, CHUNK = 1024, FEW = 64, LENGTH = SEGMENT + FEW, FILE_LEAST = 2 * 4096 };

static glm_engine *watched;
static atomic_int n_idle, n_busy;

/* Instead of libc's. What is smaller than a segment is written beside other calls: a model's fingerprint. */
int fdatasync(int fd) {
    struct stat st;
    if (watched && fstat(fd, &st) == 0 && st.st_size >= FILE_LEAST)
        (void)atomic_fetch_add(atomic_load(&watched->comm->is_idle) ? &n_idle : &n_busy, 1);
    return (int)syscall(SYS_fdatasync, fd);
}

static int n_failed;

/* Something was made durable since the last call, and all of it while idle. */
static void check(const char *what) {
    const int idle = atomic_exchange(&n_idle, 0);
    const int busy = atomic_exchange(&n_busy, 0);
    const bool is_good = idle > 0 && busy == 0;
    printf("%s %s: %d files synced while idle, %d while not\n", is_good ? "ok  " : "FAIL", what,
            idle, busy);
    n_failed += !is_good;
}

static glm_session *make_session(int first_id, int32_t ids[LENGTH]) {
    glm_session *session = NULL;
    for (int i = 0; i < LENGTH; i++) ids[i] = (first_id + i * 7) % 300;
    help_require(glm_session_create(watched, LENGTH, &session), "session");
    return session;
}

static void prefill(void) {
    int32_t ids[LENGTH];
    glm_session *session = make_session(1, ids);
    help_require(glm_prefill(session, ids, SEGMENT), "prefill");
    check("prefill");
    help_require(glm_prefill(session, ids + SEGMENT, 1), "prefill");
    help_require(glm_session_keep(session, "book", "note\n"), "keep");
    check("a book");
    glm_session_free(session);
}

static void decode(void) {
    int32_t ids[LENGTH];
    glm_session *session = make_session(2, ids);
    help_require(glm_prefill(session, ids, SEGMENT - 1), "prefill");
    help_require(glm_decode(&session, &ids[SEGMENT - 1], 1), "decode");
    check("decode");
    glm_session_free(session);
}

static void prefill_together(void) {
    int32_t ids[LENGTH];
    glm_session *session = make_session(3, ids);
    const int32_t *rest = ids + SEGMENT - FEW;
    const int64_t n_rest = FEW;
    help_require(glm_prefill(session, ids, SEGMENT - FEW), "prefill");
    help_require(glm_prefill_together(&session, &rest, &n_rest, 1), "prefill of several");
    check("prefill of several");
    glm_session_free(session);
}

static void suspend(void) {
    int32_t ids[LENGTH];
    glm_prefill_progress progress;
    glm_session *session = make_session(4, ids);
    help_require(glm_prefill_begin(session, ids, SEGMENT, NULL, 1), "begin");
    help_require(glm_prefill_step(session, &progress), "step");
    help_require(glm_prefill_suspend(session), "suspend");
    check("suspending");
    glm_session_free(session);
}

static int n_looks;

/* Called inside of a step, before each layer of each group of sessions. */
static int look(void) {
    n_looks++;
    if (!atomic_load(&watched->comm->is_idle)) return 0;
    printf("FAIL: the group is idle inside of a step, before a commit or after one\n");
    n_failed++;
    return 0;
}

/* More tokens than a chunk holds: the first session's are committed before the second's are computed. */
static void look_around_a_commit(void) {
    const int64_t n[2] = {CHUNK, CHUNK};
    int32_t ids[2][LENGTH];
    glm_session *sessions[2] = {make_session(5, ids[0]), make_session(6, ids[1])};
    const int32_t *lists[2] = {ids[0], ids[1]};
    glm_engine_stop_if(watched, look);
    help_require(glm_prefill_together(sessions, lists, n, 2), "prefill of two");
    glm_engine_stop_if(watched, NULL);
    if (n_looks != 2 || !atomic_load(&watched->comm->is_idle)) {
        printf("FAIL: %d looks, and idle %d behind the step\n", n_looks,
                (int)atomic_load(&watched->comm->is_idle));
        n_failed++;
    }
    for (int i = 0; i < 2; i++) glm_session_free(sessions[i]);
}

int main(int argc, char **argv) {
    int exit_code = 0;
    if (glm_rank_is_asked(argc, argv, &exit_code)) return exit_code;
    const help_shape shape = {.hidden = 32,
            .n_layers = 1,
            .n_heads = 2,
            .n_kv_heads = 2,
            .head_dim = 16,
            .ffn = 32,
            .vocab = 304,
            .dtype = "float32"};
    const char *dir = help_dir_in_memory();
    const glm_options options = {.model_dir = help_random_model(&shape, 7),
            .tensor_parallel = 2,
            .max_len = LENGTH,
            .max_seqs = 2,
            .extra_kv_tokens = LENGTH,
            .chunk = CHUNK,
            .threads = 1,
            .persists = true,
            .n_kv_disk_dirs = 1,
            .kv_disk_dirs = &dir};
    help_require(glm_engine_open(&options, &watched), "open");
    prefill();
    decode();
    prefill_together();
    suspend();
    look_around_a_commit();
    glm_engine *engine = watched;
    watched = NULL;
    glm_engine_close(engine);
    return n_failed ? 1 : 0;
}
