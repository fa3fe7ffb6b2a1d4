/* Linear layers by oneDNN equal their definition for rows rounded to bf16, with our kernels' bound; a row's bits
 * depend on that row alone; and oneDNN starts no threads.
 *
 * Method: odd shapes, rows longer than one product takes, and numbers of rows on both sides of the sizes that blocks have. The threads of this process
 * are counted once ours are there (and a sanitizer's), and again at the end. */
#include <dirent.h>
#include <stdio.h>

#include "help_linear.h"
#include "runtime/linear_choice.h"
#include "runtime/linear_onednn.h"

enum { N_THREADS = 2 };

static int n_threads_here(void) {
    DIR *dir = opendir("/proc/self/task");
    int n = 0;
    if (!dir) return 0;
    for (const struct dirent *entry = readdir(dir); entry; entry = readdir(dir))
        n += entry->d_name[0] != '.';
    (void)closedir(dir);
    return n;
}

static int check_shapes(const glm_ops *ops) {
    static const int64_t shapes[][3] = {{16, 1, 1}, {1, 7, 3}, {33, 512, 27}, {64, 513, 13},
            {100, 1025, 65}, {150, 1100, 96}, {149, 64, 50}, {80, 600, 4}, {128, 511, 17},
            {64, 8192, 65}, {33, 13696, 97}, {16, 4100, 3}};
    int n_failed = 0;
    for (int i = 0; i < 12; i++) {
        const help_linear_shape shape = {.dtype = RT_BF16,
                .by = GLM_LINEAR_ONEDNN,
                .n_out = shapes[i][0],
                .n_in = shapes[i][1],
                .n_rows = shapes[i][2],
                .has_bias = i % 2 == 0};
        glm_ops with = *ops;
        const int64_t width = shape.n_in;
        if (glm_ops_add_onednn(&with, &width, 1) != RT_OK) {
            printf("FAIL rows of %d: %s\n", (int)width, rt_error_text());
            return 1;
        }
        n_failed += help_linear_failures(&with, &shape);
        glm_linear_onednn_close(with.onednn);
    }
    return n_failed;
}

int main(void) {
    char text[256];
    const attn_shape shape = {.n_heads = 2, .n_kv_heads = 1, .head_dim = 32, .kv_dtype = RT_BF16};
    rt_pool *pool = NULL;
    glm_ops ops;
    if (!glm_linear_describe_onednn(text, sizeof text)) {
        printf("skipped: %s\n", text);
        return 77;
    }
    printf("%s\n", text);
    if (rt_pool_create(N_THREADS, &pool) != RT_OK) return 1;
    if (glm_ops_cpu_create(&shape, rt_machine_isa(), pool, &ops) != RT_OK) return 1;
    const int n_before = n_threads_here();
    int n_failed = check_shapes(&ops);
    if (n_threads_here() != n_before) {
        printf("FAIL %d threads, %d before\n", n_threads_here(), n_before);
        n_failed++;
    }
    glm_ops_free(&ops);
    rt_pool_free(pool);
    return n_failed ? 1 : 0;
}
