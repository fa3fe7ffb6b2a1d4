/* Processes that share a vault, evict from it, collect its garbage and are killed at any moment: nobody
 * reads a wrong byte, the budget holds at every moment, and nothing half-written is left visible.
 *
 * Method: three processes write and read prefixes that together take many times the budget, and now and
 * then do what `book gc` does; one after another is killed (SIGKILL) and replaced. Meanwhile du is compared with
 * the cap, under the vault's lock so that what is counted stands still. `test_kvstore_vault_two_processes N`: N
 * kills. */
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "help_kv_vault.h"

enum { N = KV_SEGMENT_TOKENS, PROCESSES = 3, PREFIXES = 12, TOKENS = 2 * N + 30, SLACK = 32 << 10 };

/* What the processes tell each other. */
typedef struct shared {
    atomic_bool is_over;
    atomic_long n_steps[PROCESSES]; /* of the process in each place */
    atomic_long n_found;
    atomic_long n_written;
    atomic_long n_collected; /* files */
} shared;

static shared *board;
static kvh_vault vault;

/* ---- a process ------------------------------------------------------------------------------- */

static void write_some(kvh_vault *v, const int32_t *ids) {
    kv_hash parent = *kv_vault_root(v->vault);
    for (int64_t pos = 0; pos < TOKENS; pos += N) {
        const int32_t n = pos + N <= TOKENS ? N : (int32_t)(TOKENS - pos);
        kv_hash chain;
        const rt_status status = kvh_write_segment(v, &parent, pos, ids + pos, n, &chain);
        CHECK(status == RT_OK || status == RT_ENOFIT || status == RT_EIO);
        if (status != RT_OK) return; /* no room, or evicted under way */
        parent = chain;
        atomic_fetch_add(&board->n_written, 1);
    }
}

/* All that no book holds and nobody uses, or down to half of the budget. */
static void collect(const kvh_vault *v, bool all) {
    const char *const dir = v->dirs[0];
    kv_books *books = NULL;
    kv_gc_report report;
    CHECK(kv_books_open(&dir, 1, &books) == RT_OK);
    CHECK(kv_books_gc(books, all ? 0 : v->bytes_max / 2, &report) == RT_OK);
    CHECK(report.bytes_after <= report.bytes_before);
    atomic_fetch_add(&board->n_collected, report.n_removed);
    kv_books_close(books);
}

static void live(int place, uint64_t seed) {
    kvh_vault v = vault;
    kvh_vault_open(&v, NULL);
    while (!atomic_load(&board->is_over)) {
        const uint64_t r = random_next(&seed);
        int32_t *ids = kvh_ids(100 + r % PREFIXES, TOKENS);
        if (r >> 32 & 1) write_some(&v, ids);
        const int64_t n_found = kvh_find(&v, ids, TOKENS, NULL);
        CHECK(n_found % N == 0 || n_found == TOKENS);
        atomic_fetch_add(&board->n_found, n_found > 0);
        free(ids);
        if ((r >> 48 & 7) == 0) collect(&v, r >> 56 & 1);
        if (r >> 40 & 1) { /* as a new process would */
            CHECK(kv_vault_stats_of(v.vault).n_quarantined == 0);
            kvh_vault_close(&v);
            kvh_vault_open(&v, NULL);
        }
        atomic_fetch_add(&board->n_steps[place], 1);
    }
    CHECK(kv_vault_stats_of(v.vault).n_quarantined == 0);
    kvh_vault_close(&v);
}

static pid_t start(int place, uint64_t seed) {
    atomic_store(&board->n_steps[place], 0);
    const pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        live(place, seed);
        _exit(0);
    }
    return pid;
}

/* ---- the one who watches --------------------------------------------------------------------- */

static void check_budget(void) {
    char path[400];
    (void)snprintf(path, sizeof path, "%s/vault/lock", vault.dirs[0]);
    const int fd = open(path, O_RDWR);
    CHECK(fd >= 0 && flock(fd, LOCK_EX) == 0);
    (void)snprintf(path, sizeof path, "%s/vault", vault.dirs[0]);
    const int64_t n_used = kvh_du(path);
    CHECK(close(fd) == 0);
    if (n_used > vault.bytes_max)
        (void)fprintf(stderr, "%lld of %lld\n", (long long)n_used, (long long)vault.bytes_max);
    CHECK(n_used <= vault.bytes_max);
}

/* Until the process has done something; it may not end by itself. */
static void wait_for_steps(pid_t pid, int place, long n) {
    while (atomic_load(&board->n_steps[place]) < n) {
        int how;
        CHECK(waitpid(pid, &how, WNOHANG) == 0);
        check_budget();
        (void)usleep(500);
    }
}

static void kill_one(pid_t *pids, int place, uint64_t seed) {
    int how;
    wait_for_steps(pids[place], place, 2 + (long)(seed % 3));
    (void)usleep((useconds_t)(seed * 7919 % 5000));
    CHECK(kill(pids[place], SIGKILL) == 0);
    CHECK(waitpid(pids[place], &how, 0) == pids[place]);
    CHECK(WIFSIGNALED(how) && WTERMSIG(how) == SIGKILL);
    check_budget();
    pids[place] = start(place, seed);
}

/* The budget is free for one more, whatever the killed ones had begun. */
static void write_and_find(void) {
    int32_t *ids = kvh_ids(99, TOKENS);
    write_some(&vault, ids);
    CHECK(kvh_find(&vault, ids, TOKENS, NULL) == TOKENS);
    CHECK(kvh_count_files(vault.dirs[0], ".kvs") > 0);
    free(ids);
}

static bool has_seen_all(void) {
    return atomic_load(&board->n_written) > 0 && atomic_load(&board->n_found) > 0 &&
           atomic_load(&board->n_collected) > 0;
}

/* The survivors end well, and what they leave is whole and usable. */
static void check_end(pid_t *pids) {
    for (int place = 0; place < PROCESSES; place++) wait_for_steps(pids[place], place, 2);
    while (!has_seen_all())
        wait_for_steps(
                pids[0], 0, atomic_load(&board->n_steps[0]) + 1); /* chance may take longer */
    atomic_store(&board->is_over, true);
    for (int place = 0; place < PROCESSES; place++) {
        int how;
        CHECK(waitpid(pids[place], &how, 0) == pids[place]);
        CHECK(WIFEXITED(how) && WEXITSTATUS(how) == 0);
    }
    kvh_vault_open(&vault, NULL); /* the last step may have been to collect all */
    CHECK(kvh_count_files(vault.dirs[0], ".tmp") == 0);
    CHECK(kvh_count_files(vault.dirs[0], ".bad") == 0);
    for (uint64_t i = 0; i < PREFIXES; i++) {
        int32_t *ids = kvh_ids(100 + i, TOKENS);
        (void)kvh_find(&vault, ids, TOKENS, NULL);
        free(ids);
    }
    write_and_find();
    CHECK(kv_vault_stats_of(vault.vault).n_quarantined == 0);
}

int main(int argc, char **argv) {
    const int n_kills = argc > 1 ? atoi(argv[1]) : getenv("GLM_TEST_FAST") ? 5 : 30;
    board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(board != MAP_FAILED);
    vault = kvh_vault_new(1);
    vault.shape = (kv_segment_shape){RT_BF16, 2, 1, 4};
    vault.bytes_max = 6 * (kv_segment_bytes_max(&vault.shape, N) + SLACK);
    kvh_vault_open(&vault, NULL);
    kvh_vault_close(&vault);
    pid_t pids[PROCESSES];
    for (int place = 0; place < PROCESSES; place++) pids[place] = start(place, (uint64_t)place + 1);
    for (int i = 0; i < n_kills; i++) kill_one(pids, i % PROCESSES, 10 + (uint64_t)i);
    check_end(pids);
    (void)printf("%d kills, %ld segments written, %ld finds, %ld files collected\n", n_kills,
            atomic_load(&board->n_written), atomic_load(&board->n_found),
            atomic_load(&board->n_collected));
    kvh_vault_remove(&vault);
    return 0;
}
