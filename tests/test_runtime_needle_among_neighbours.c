/* Every needle is found among neighbours whose keys differ in one bit of one letter.
 *
 * Method: eleven cities, Constantine, and Constantine with the lowest bit of each letter turned in
 * turn; needles evenly spaced in a context that is prefilled once, each asked for in a fork. 1k
 * tokens hold ten of them, 16k all; an argument runs another length by hand (131072 takes minutes):
 *
 *   build/tests/test_runtime_needle_among_neighbours 131000 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "help_needle.h"

enum { N_CITIES = 11, N_KEYS = 23, ROOM = 512 };

static const char *const cities[N_CITIES] = {"Amsterdam", "Barcelona", "Casablanca", "Damascus",
        "Edinburgh", "Florence", "Gothenburg", "Helsinki", "Istanbul", "Jakarta", "Kathmandu"};
static const char original[] = "Constantine";

/* 0: the original; 1 .. 11: its neighbours; then the cities. */
static void key_of(int i, char key[32]) {
    (void)snprintf(key, 32, "%s", i > 11 ? cities[i - 12] : original);
    if (i >= 1 && i <= 11) key[i - 1] = (char)(key[i - 1] ^ 1);
}

static void make_context(glm_ids *ids, int64_t n_tokens, int n_keys) {
    help_append_opening(ids);
    for (int i = 0; i < n_keys; i++) {
        char key[32];
        key_of(i, key);
        const int64_t at = n_tokens * (i + 1) / (n_keys + 1);
        if (at > ids->n) help_append_filler(ids, at - ids->n, (uint64_t)i);
        help_append_needle(ids, key, i + 1);
    }
    if (n_tokens > ids->n) help_append_filler(ids, n_tokens - ids->n, 99);
}

static int ask(const glm_session *context, int i) {
    char key[32];
    char answer[32];
    char value[8];
    glm_ids question = {0};
    glm_session *fork = NULL;
    const int64_t length = glm_session_length(context);
    key_of(i, key);
    help_append_question(&question, key);
    help_require(glm_session_fork(context, length, length + ROOM, &fork), "fork");
    help_answer(fork, &question, answer);
    glm_session_free(fork);
    glm_ids_free(&question);
    help_value(i + 1, value);
    if (strncmp(answer, value, 7) == 0 && strcmp(answer + 7, ".") == 0) return 0;
    printf("FAIL %s: \"%s\" instead of %s\n", key, answer, value);
    return 1;
}

static int check(const char *dir, int64_t n_tokens, int n_keys) {
    glm_ids ids = {0};
    make_context(&ids, n_tokens, n_keys);
    const glm_options options = {
            .model_dir = dir, .max_len = ids.n + ROOM, .extra_kv_tokens = ROOM + 256};
    glm_engine *engine = NULL;
    glm_session *context = NULL;
    help_require(glm_engine_open(&options, &engine), "open");
    help_require(glm_session_create(engine, ids.n, &context), "session");
    help_require(glm_prefill(context, ids.ids, ids.n), "prefill");
    int n_missed = 0;
    for (int i = 0; i < n_keys; i++) n_missed += ask(context, i);
    printf("%" PRId64 " tokens: found %d of %d\n", ids.n, n_keys - n_missed, n_keys);
    glm_session_free(context);
    glm_engine_close(engine);
    glm_ids_free(&ids);
    return n_missed;
}

int main(int argc, char **argv) {
    const char *dir = help_needle_model();
    if (argc > 1) return check(dir, strtoll(argv[1], NULL, 10), N_KEYS) != 0;
    int n_missed = check(dir, 1000, 10);
    if (!getenv("GLM_TEST_FAST")) n_missed += check(dir, 16000, N_KEYS);
    return n_missed != 0;
}
