/* Whoever is killed while it replaces a file leaves the old one, and nothing beside it.
 *
 * Method: a child that is killed when it syncs what it has written: of each way to write a file, the last moment at which
 * all of it is there without its name. File systems where files need one are none of those that tests run on. */
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "help_check.h"
#include "help_dir.h"
#include "runtime/base/file.h"
#include "runtime/checkpoint_write.h"
#include "runtime/npy.h"

static bool is_killed; /* in a child: at the next sync */

int fsync(int fd) {
    if (is_killed) (void)raise(SIGKILL);
    return (int)syscall(SYS_fsync, fd);
}

static void replace(void) {
    (void)!rt_file_replace("some.json", "more", 4);
}

static void write_npy(void) {
    const float row[2] = {1, 2};
    glm_npy npy;
    (void)!glm_npy_create("some.npy", 1, 2, &npy);
    (void)!glm_npy_append(&npy, row, 1);
    (void)!glm_npy_finish(&npy);
}

static void write_checkpoint(void) {
    const glm_tensor_spec spec = {.name = "a", .dtype = RT_F32, .n_rows = 2};
    const float rows[2] = {1, 2};
    glm_checkpoint_writer *writer = NULL;
    (void)!glm_checkpoint_writer_open("model.safetensors", &spec, 1, &writer);
    (void)!glm_checkpoint_writer_append(writer, rows, sizeof rows);
    (void)!glm_checkpoint_writer_finish(writer);
}

static int n_files(void) {
    int n = 0;
    DIR *dir = opendir(".");
    CHECK(dir != NULL);
    for (const struct dirent *entry; (entry = readdir(dir));) n += entry->d_name[0] != '.';
    (void)closedir(dir);
    return n;
}

/* How many files there are more, and how it ended. */
static int in_child(void (*write)(void), bool is_to_die, int *state) {
    const int before = n_files();
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        is_killed = is_to_die;
        write();
        _exit(0);
    }
    CHECK(waitpid(child, state, 0) == child);
    return n_files() - before;
}

static void check(void (*write)(void)) {
    int state = 0;
    CHECK(in_child(write, true, &state) == 0);
    CHECK(WIFSIGNALED(state) && WTERMSIG(state) == SIGKILL);
    CHECK(in_child(write, false, &state) == 1 && state == 0);
    CHECK(in_child(write, true, &state) == 0 && WIFSIGNALED(state));
}

int main(void) {
    char *text = NULL;
    int64_t n_bytes = 0;
    CHECK(chdir(help_dir()) == 0);
    check(replace);
    check(write_npy);
    check(write_checkpoint);
    CHECK(rt_file_read("some.json", 100, &text, &n_bytes) == RT_OK && strcmp(text, "more") == 0);
    free(text);
    CHECK(n_files() == 3);
    return 0;
}
