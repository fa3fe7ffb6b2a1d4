/* Of several ranks on GPUs only the first, which runs the command, copies logits to its host: the others' nobody reads.
 *
 * Method: prefill and decode on 2 GPUs that tests/standin plays, whose copies to the host each process counts. All pages stay
 * in memory: whatever else is copied there would be a finding, too. The first rank copies 4 rows of a prefill at once, and
 * a row of each of two sessions a step. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "help_ranks.h"
#include "standin/standin_cuda.h"

enum { N_IDS = 20, N_DECODED = 3 };

static const char counts_variable[] = "GLM_TEST_COUNTS";

/* Another rank's life is over. */
static bool write_counts(void) {
    const standin_cuda *cuda = standin_cuda_get();
    FILE *file = fopen(getenv(counts_variable), "w");
    if (!file) return false;
    const int n = fprintf(file, "%" PRId64 " %" PRId64 "\n", cuda->n_copies_out, cuda->bytes_out);
    return fclose(file) == 0 && n > 0;
}

static bool read_counts(const char *path, int64_t *n_copies, int64_t *bytes) {
    FILE *file = fopen(path, "r");
    const bool is_read = file && fscanf(file, "%" SCNd64 " %" SCNd64, n_copies, bytes) == 2;
    if (file) (void)fclose(file);
    return is_read;
}

int main(int argc, char **argv) {
    int exit_code = 0;
    (void)setenv("STANDIN_CUDA_DEVICES", "2", 1);
    if (glm_rank_is_asked(argc, argv, &exit_code)) return write_counts() ? exit_code : 1;
    const char *model = help_model_of_two_ranks();
    char path[512];
    (void)snprintf(path, sizeof path, "%s/counts", model);
    (void)setenv(counts_variable, path, 1);
    int32_t ids[N_IDS];
    for (int i = 0; i < N_IDS; i++) ids[i] = i * 7919 % 300;
    const glm_options options = {
            .model_dir = model, .device = "cuda", .tensor_parallel = 2, .chunk = 128, .threads = 2};
    int64_t n = 0;
    int64_t n_copies = -1;
    int64_t bytes = -1;
    free(help_ranks_logits(&options, ids, N_IDS, N_DECODED, &n));
    const int64_t wanted =
            (HELP_WANTED + 2 * N_DECODED) * (int64_t)HELP_TWO_RANKS_VOCAB * (int64_t)sizeof(float);
    const int64_t mine = standin_cuda_get()->bytes_out;
    const bool is_read = read_counts(path, &n_copies, &bytes);
    (void)remove(path);
    if (mine != wanted)
        printf("FAIL rank 0 copied %" PRId64 " bytes, wanted %" PRId64 "\n", mine, wanted);
    if (!is_read) printf("FAIL the other rank has left no counts\n");
    if (is_read && (n_copies != 0 || bytes != 0))
        printf("FAIL the other rank copied %" PRId64 " bytes to its host in %" PRId64 " copies\n",
                bytes, n_copies);
    return mine == wanted && is_read && n_copies == 0 && bytes == 0 ? 0 : 1;
}
