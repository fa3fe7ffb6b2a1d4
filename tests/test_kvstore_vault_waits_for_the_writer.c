/* A segment that has its name, and is still locked by who wrote it, is waited for: what was committed a moment
 * before a kill -9 is found by who starts at once.
 *
 * Method: another process locks a segment as its writer does and lets go after a while, and a prefix is looked
 * for in between. */
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include "help_kv_vault.h"

enum { N = KV_SEGMENT_TOKENS, LOCKED_MS = 300 };

/* Returns once it holds the lock. */
static pid_t lock_elsewhere(const char *path) {
    int pipes[2];
    char byte = 0;
    CHECK(pipe(pipes) == 0);
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        const int fd = open(path, O_RDWR);
        if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) != 0) _exit(1);
        if (write(pipes[1], &byte, 1) != 1) _exit(1);
        (void)usleep(LOCKED_MS * 1000);
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
    CHECK(waitpid(child, &how, 0) == child && WIFEXITED(how) && WEXITSTATUS(how) == 0);
    if (n_found != N) printf("found %lld: %s\n", (long long)n_found, reason);
    CHECK(n_found == N);
    free(ids);
    kvh_vault_remove(&v);
    return 0;
}
