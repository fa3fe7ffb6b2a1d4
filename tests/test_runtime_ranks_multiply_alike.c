/* Ranks of which one has oneDNN multiply and the other our kernels compute nothing together: both are told who has
 * what.
 *
 * Method: this program is both ranks; each compares as if its own choice were the options'. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/linear_choice.h"
#include "runtime/ranks.h"

static const glm_config config = {
        .hidden = 64, .n_heads = 2, .n_kv_heads = 1, .head_dim = 32, .ffn = 96, .dtype = RT_BF16};

/* As a rank that would choose so. */
static rt_status compare(par_comm *comm, const char *linear) {
    const glm_options options = {.model_dir = "nowhere", .linear = linear};
    RT_TRY(par_hello(comm, "test=1\n"));
    return glm_ranks_check_model(comm, &options, &config, "the same");
}

static bool is_told(rt_status status) {
    const char *text = rt_error_text();
    if (status == RT_EPEER && strstr(text, "rank 1 on ") && strstr(text, " has linear=onednn") &&
            strstr(text, " has linear=own"))
        return true;
    printf("FAIL status %d: %s\n", (int)status, text);
    return false;
}

int main(int argc, char **argv) {
    char text[256];
    par_comm *comm = NULL;
    if (argc == 3 && strcmp(argv[1], "rank") == 0) {
        if (par_local_join((int)strtol(argv[2], NULL, 10), &comm) != RT_OK) return 1;
        const bool is_right = is_told(compare(comm, "onednn"));
        par_comm_close(comm);
        return is_right ? 0 : 1;
    }
    if (!glm_linear_describe_onednn(text, sizeof text)) {
        printf("skipped: %s\n", text);
        return 77;
    }
    if (par_local_launch(2, "/proc/self/exe", &comm) != RT_OK) return 1;
    const bool is_right = is_told(compare(comm, "own"));
    par_comm_close(comm);
    return is_right ? 0 : 1;
}
