/* A random checkpoint depends on its config and seed alone: the same seed gives the same files, byte
 * for byte, another seed other weights and nothing else.
 *
 * Method: for either naming write three models, seeds 7, 7 and 8, and compare their files. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "help_check.h"
#include "help_dir.h"
#include "runtime/base/file.h"
#include "runtime/base/size.h"
#include "runtime/random_model.h"

static int n_failed;

static bool is_same(const char *dir_a, const char *dir_b, const char *name) {
    const char *const dirs[2] = {dir_a, dir_b};
    char *bytes[2] = {NULL, NULL};
    int64_t n_bytes[2] = {0, 0};
    for (int i = 0; i < 2; i++) {
        char *path = NULL;
        help_require(rt_path_join(dirs[i], name, &path), "path");
        help_require(rt_file_read(path, 64 * RT_MIB, &bytes[i], &n_bytes[i]), "read");
        free(path);
    }
    const bool same =
            n_bytes[0] == n_bytes[1] && memcmp(bytes[0], bytes[1], (size_t)n_bytes[0]) == 0;
    free(bytes[0]);
    free(bytes[1]);
    return same;
}

/* Every file of A beside the one of that name in B; `is_weight_same` is what weights must be. */
static int compare(const char *dir_a, const char *dir_b, bool is_weight_same) {
    DIR *entries = opendir(dir_a);
    if (!entries) exit(1);
    int n_files = 0;
    for (const struct dirent *entry = readdir(entries); entry; entry = readdir(entries)) {
        if (entry->d_name[0] == '.') continue;
        n_files++;
        const bool is_weights = strcmp(entry->d_name, "model.safetensors") == 0;
        const bool wanted = is_weights ? is_weight_same : true;
        if (is_same(dir_a, dir_b, entry->d_name) == wanted) continue;
        printf("FAIL %s of %s and %s\n", entry->d_name, dir_a, dir_b);
        n_failed++;
    }
    (void)closedir(entries);
    return n_files;
}

static void check(const char *work, const char *label, const char *config_path) {
    static const uint64_t seeds[3] = {7, 7, 8};
    char dirs[3][96];
    for (int i = 0; i < 3; i++) {
        (void)snprintf(dirs[i], sizeof dirs[i], "%s/%s-%d", work, label, i);
        help_require(glm_random_model_write(dirs[i], config_path, seeds[i]), label);
    }
    const int n_same = compare(dirs[0], dirs[1], true);
    const int n_other = compare(dirs[0], dirs[2], false);
    if (n_same == 4 && n_other == 4) return;
    printf("FAIL %s: %d and %d files, 4 are wanted\n", label, n_same, n_other);
    n_failed++;
}

int main(void) {
    const char *work = help_dir();
    check(work, "hf", NULL);
    check(work, "native", "tests/golden/native_bf16_kv4/config.json");
    check(work, "f32", "tests/golden/native_f32_kv1/config.json");
    return n_failed ? 1 : 0;
}
