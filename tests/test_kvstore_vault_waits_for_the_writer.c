/* A segment that has its name, and is still locked by who wrote it, is waited for: what was committed a moment
 * before a kill -9 is found by who starts at once.
 *
 * Method: another process locks a segment as its writer does, and lets go when somebody has asked for it in vain, and
 * again. The linker puts __wrap_kv_io_posix_lock before the question. */
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include "help_kv_vault.h"
#include "kvstore/io_engine.h"

enum { N = KV_SEGMENT_TOKENS, REFUSALS = 3 };

static int n_refused;
static int let_go_fd; /* whoever holds the lock reads it */

int __real_kv_io_posix_lock(void *self, int fd, kv_io_lock lock);
int __wrap_kv_io_posix_lock(void *self, int fd, kv_io_lock lock);
int __wrap_kv_io_posix_lock(void *self, int fd, kv_io_lock lock) {
    const int result = __real_kv_io_posix_lock(self, fd, lock);
    if (result == -EWOULDBLOCK && ++n_refused == REFUSALS) CHECK(write(let_go_fd, "", 1) == 1);
    return result;
}

/* Returns once it holds the lock. */
static pid_t lock_elsewhere(const char *path) {
    int pipes[2], let_go[2];
    char byte = 0;
    CHECK(pipe(pipes) == 0 && pipe(let_go) == 0);
    let_go_fd = let_go[1];
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        (void)close(let_go[1]);
        const int fd = open(path, O_RDWR);
        if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) != 0) _exit(1);
        if (write(pipes[1], &byte, 1) != 1 || read(let_go[0], &byte, 1) != 1) _exit(1);
        _exit(0);
    }
    (void)close(pipes[1]);
    CHECK(read(pipes[0], &byte, 1) == 1 && close(pipes[0]) == 0);
    return child;
}

int main(void) {
    kvh_vault v = kvh_vault_new(1);
    int32_t *ids = kvh_ids(1, N);
    char reason[KV_REASON_BYTES];
    int how = 0;
    kvh_vault_open(&v, NULL);
    CHECK(kvh_write_prefix(&v, ids, N, NULL) == 1);
    kvh_vault_close(&v);
    kvh_vault_open(&v, NULL);
    const pid_t child = lock_elsewhere(kvh_only_file(v.dirs[0], ".kvs"));
    const int64_t n_found = kvh_find(&v, ids, N, reason);
    if (n_found != N) printf("found %lld: %s\n", (long long)n_found, reason);
    (void)close(let_go_fd);
    CHECK(n_found == N && n_refused >= REFUSALS);
    CHECK(waitpid(child, &how, 0) == child && WIFEXITED(how) && WEXITSTATUS(how) == 0);
    free(ids);
    kvh_vault_remove(&v);
    return 0;
}
