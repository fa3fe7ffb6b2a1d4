/* A file that is about to replace another has a name that no other writer chooses, whatever number its process has: in
 * containers many have the number 1, and one directory.
 *
 * Method: the names that one process is given for one file are all different, and lie beside it. */
#include <string.h>

#include "help_check.h"
#include "help_dir.h"
#include "runtime/base/new_file.h"

enum { N = 100 };

int main(void) {
    static rt_new_file files[N];
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/results.json", help_dir_in_memory());
    const size_t n_path = strlen(path);
    for (int i = 0; i < N; i++) {
        CHECK(rt_new_file_open(path, &files[i]) == RT_OK);
        const char *name = files[i].temporary;
        CHECK(strncmp(name, path, n_path) == 0 && name[n_path] == '.' &&
                !strchr(name + n_path, '/'));
        for (int j = 0; j < i; j++) CHECK(strcmp(name, files[j].temporary) != 0);
    }
    for (int i = 0; i < N; i++) rt_new_file_close(&files[i]);
    return 0;
}
