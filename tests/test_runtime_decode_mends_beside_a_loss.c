/* Of two sessions that are decoded together one has lost what it had on disk. The other, which has lost nothing there, but
 * the rows of a page that the failed step had sealed, is computed again as well: both go on as without the loss.
 *
 * Method: fp8 pages. The first session streams from a segment whose last layer is spoiled; the second one is short, in memory,
 * and its next token fills a page, which the layers before have sealed when the step fails. */
#include <string.h>

#include "help_check.h"
#include "help_dir.h"
#include "help_engine.h"
#include "help_kv_vault.h"
#include "help_ranks.h"

enum { PAGE = 128, N_LONG = 4096 + 150, N_STEPS = 2, MAX_LEN = N_LONG + PAGE, VOCAB = 272 };

static const char *dirs[1];

/* Each one's logits after each of N_STEPS steps. */
typedef struct answers {
    float rows[N_STEPS][2][VOCAB];
} answers;

static void decode_both(const char *model, const int32_t *ids, bool is_damaged, answers *out) {
    const glm_options options = {.model_dir = model,
            .kv_dtype = "fp8",
            .max_len = MAX_LEN,
            .chunk = 512,
            .max_seqs = 2,
            .extra_kv_tokens = 2 * PAGE,
            .host_kv_bytes = INT64_C(5) << 20, /* a window, and the last rows */
            .persists = true,
            .kv_disk_dirs = dirs,
            .n_kv_disk_dirs = 1,
            .threads = 2};
    glm_engine *engine = NULL;
    glm_session *both[2];
    dirs[0] = help_dir();
    help_require(glm_engine_open(&options, &engine), "open");
    help_require(glm_session_create(engine, MAX_LEN, &both[0]), "session");
    help_require(glm_session_create(engine, 2 * PAGE, &both[1]), "session");
    help_require(glm_prefill(both[0], ids, N_LONG), "prefill");
    help_require(glm_prefill(both[1], ids + N_LONG, PAGE - 1), "prefill");
    if (is_damaged) kvh_spoil_last_layers(kvh_only_file(dirs[0], ".kvs"));
    for (int step = 0; step < N_STEPS; step++) {
        const int32_t next[] = {ids[2 * step], ids[2 * step + 1]};
        help_require(glm_decode(both, next, 2), "decode");
        for (int i = 0; i < 2; i++) help_engine_row(both[i], out->rows[step][i], VOCAB);
        CHECK(glm_session_length(both[1]) == PAGE + step);
    }
    CHECK(kvh_count_files(dirs[0], ".bad") == is_damaged);
    for (int i = 0; i < 2; i++) glm_session_free(both[i]);
    glm_engine_close(engine);
}

int main(void) {
    static answers want, got;
    static int32_t ids[N_LONG + PAGE];
    const help_shape shape = {.hidden = 64,
            .n_layers = 3,
            .n_heads = 4,
            .n_kv_heads = 2,
            .head_dim = 32,
            .ffn = 96,
            .vocab = VOCAB,
            .dtype = "bfloat16"};
    const char *model = help_random_model(&shape, 3);
    help_engine_ids(ids, N_LONG + PAGE, 5);
    decode_both(model, ids, false, &want);
    decode_both(model, ids, true, &got);
    CHECK(memcmp(&want, &got, sizeof want) == 0);
    return 0;
}
