/* A run of needle whose cell another one has taken away, which waited for the lock of the directory no longer than it did,
 * writes it again at its end, and keeps the other's.
 *
 * Method: a run writes its cell, and results.json is then replaced by what another had read before. Locks are as ever. */
#include <string.h>

#include "help_check.h"
#include "help_dir.h"
#include "runtime/needle_share.h"

static const int64_t lengths[] = {500, 600};
static const double depths[] = {0};
static const glm_needle_settings settings = {.protocol = "lwm",
        .answer_prefix = "none",
        .own = {.text = ""},
        .rounds = 1,
        .n_lengths = 2,
        .lengths = lengths,
        .n_depths = 1,
        .depths = depths};
static const glm_needle_header header = {.settings = &settings,
        .model = "model",
        .fingerprint = "f",
        .kv_dtype = "bf16",
        .linear = "own",
        .haystack_sha256 = "h",
        .haystack_source = "s"};

static void add(glm_needle_results *results, int64_t length, const char *response) {
    glm_needle_record record = {.cell = {length, 0, 0}, .score = 1.0};
    char text[32];
    (void)snprintf(text, sizeof text, "%s", response);
    record.response = text;
    CHECK(glm_needle_results_add(results, &record) == RT_OK);
}

int main(void) {
    const char *dir = help_dir();
    glm_needle_results ours = {.header = header};
    glm_needle_results others = {.header = header};
    glm_needle_results there = {.header = header};
    glm_needle_share share;
    add(&ours, lengths[0], "ours");
    add(&others, lengths[1], "another's");
    glm_needle_share_open(&ours, dir, &share);
    CHECK(glm_needle_share_save(&share) == RT_OK && ours.n == 1);
    CHECK(glm_needle_results_save(&others, dir) ==
            RT_OK); /* without what we have written since it read */
    CHECK(glm_needle_share_end(&share) == RT_OK);
    glm_needle_share_close(&share);

    CHECK(glm_needle_results_load(&there, dir) == RT_OK && there.n == 2);
    for (int i = 0; i < 2; i++)
        CHECK(glm_needle_results_has(&there, &(glm_needle_cell){lengths[i], 0, 0}));
    glm_needle_results_free(&ours);
    glm_needle_results_free(&others);
    glm_needle_results_free(&there);
    return 0;
}
