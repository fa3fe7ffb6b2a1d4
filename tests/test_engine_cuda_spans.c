/* A prefill of several short spans has the same bits whenever the device gets to it: token ids are copied to it from memory
 * that the next span's ids are written to, and the host may be as far ahead as that.
 *
 * Method: a random model of one layer on a GPU that tests/standin plays, whose spans are one (layer, chunk) item each: late,
 * and at once. In its last layer, which is its only one, what is not asked for is not attended from. */
#include <stdio.h>
#include <string.h>

#include "help_check.h"
#include "help_engine.h"
#include "help_ranks.h"
#include "standin/standin_cuda.h"
#include "standin/standin_plain.h"

enum { SPAN = 4096, N = SPAN + 40, VOCAB = 272 };

static int32_t ids[N];

static void run(const char *model, standin_order order, float row[VOCAB]) {
    const glm_options options = {.model_dir = model,
            .device = "cuda",
            .max_len = N,
            .span = SPAN,
            .chunk = SPAN,
            .threads = 1};
    glm_engine *engine = NULL;
    glm_session *session = NULL;
    standin_cuda_get()->order = order;
    help_require(glm_engine_open(&options, &engine), "engine");
    help_require(glm_session_create(engine, N, &session), "session");
    help_require(glm_prefill(session, ids, N), "prefill");
    help_engine_row(session, row, VOCAB);
    glm_session_free(session);
    glm_engine_close(engine);
}

int main(void) {
    const help_shape shape = {.hidden = 64,
            .n_layers = 1,
            .n_heads = 2,
            .n_kv_heads = 1,
            .head_dim = 128,
            .ffn = 72,
            .vocab = VOCAB,
            .dtype = "bfloat16"};
    float at_once[VOCAB], late[VOCAB];
    const char *model = help_random_model(&shape, 8);
    standin_plain_use(true);
    standin_cuda_get()->is_unguarded = true;
    help_engine_ids(ids, N, 17);
    run(model, STANDIN_EARLY, at_once);
    run(model, STANDIN_LATE, late);
    if (memcmp(at_once, late, sizeof late) == 0) return 0;
    printf("FAIL: other logits where the device is late\n");
    return 1;
}
