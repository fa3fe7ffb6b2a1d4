/* However many (layer, chunk) items a prefill on a GPU has, the host is never further ahead than a few of them: so it can be
 * stopped soon, and what fails is told soon.
 *
 * Method: a tiny random model on a GPU that tests/standin plays, which does nothing before it is waited for; the kernels that
 * are queued after each item. Two items and one that is being computed are three. */
#include <stdio.h>

#include "help_check.h"
#include "help_engine.h"
#include "help_model.h"
#include "standin/standin_cuda.h"
#include "standin/standin_plain.h"

enum { N = 160, CHUNK = 16, N_ITEMS = 2 * N / CHUNK, AHEAD = 3 };

int main(void) {
    static int32_t ids[N];
    glm_session *session = NULL;
    glm_prefill_progress progress = {0};
    int64_t of_first = 0, most = 0, n_items = 0;
    standin_plain_use(true);
    help_engine_ids(ids, N, 3);
    glm_engine *engine = help_engine_open(help_model_for_gpu(false), "cuda", NULL, N, CHUNK);
    help_require(glm_session_create(engine, N, &session), "session");
    help_require(glm_prefill_begin(session, ids, N, NULL, 1), "begin");
    for (; !progress.is_done; n_items++) {
        help_require(glm_prefill_step(session, &progress), "step");
        const int64_t n = standin_cuda_n_queued();
        if (n_items == 0) of_first = n;
        if (n > most) most = n;
    }
    glm_session_free(session);
    glm_engine_close(engine);
    if (n_items == N_ITEMS && of_first > 0 && most > of_first && most <= AHEAD * of_first) return 0;
    printf("FAIL: %lld items, %lld kernels of the first one, up to %lld queued\n",
            (long long)n_items, (long long)of_first, (long long)most);
    return 1;
}
