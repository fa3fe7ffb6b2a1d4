#include "help_dir.h"

#include <errno.h>
#include <ftw.h>
#include <unistd.h>

#include "help_check.h"

enum { DIRS_MAX = 256 };
static char *dirs[DIRS_MAX];
static int n_dirs;
static pid_t owner;

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *where) {
    (void)info, (void)kind, (void)where;
    return remove(path);
}

static int remove_tree(const char *path) {
    return nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

void help_remove_dir(const char *path) {
    CHECK(remove_tree(path) == 0 || errno == ENOENT);
}

static void remove_dirs(void) {
    for (int i = 0; i < n_dirs; i++) {
        if (getpid() == owner) (void)remove_tree(dirs[i]);
        free(dirs[i]);
    }
}

static const char *dir_below(const char *parent) {
    char *dir = NULL;
    CHECK(n_dirs < DIRS_MAX);
    CHECK(asprintf(&dir, "%s/glm1m-test-%ld-XXXXXX", parent, (long)getpid()) > 0);
    CHECK(mkdtemp(dir));
    if (n_dirs == 0) CHECK(atexit(remove_dirs) == 0);
    if (n_dirs == 0) owner = getpid();
    dirs[n_dirs++] = dir;
    return dir;
}

const char *help_dir(void) {
    const char *parent = getenv("TMPDIR");
    return dir_below(parent ? parent : "/tmp");
}

const char *help_dir_in_memory(void) {
    return access("/dev/shm", W_OK) == 0 ? dir_below("/dev/shm") : help_dir();
}
