/* A cell has one prompt, whatever other lengths and rounds are asked for: jobs with a length each and one command with all of
 * them evaluate the same, and --compare finds pairs.
 *
 * Method: the same cells of two grids, by the embedded model's tokenizer; of a long haystack and one that is repeated. */
#include <stdlib.h>
#include <string.h>

#include "help_needle.h"
#include "runtime/prose.h"

static const int64_t few[] = {2600, 3000};
static const int64_t many[] = {700, 2600, 3000, 6000};
static const double depths[] = {0, 50, 100};

static glm_needle_settings settings_of(
        const char *protocol, const int64_t *lengths, int64_t n_lengths, int64_t rounds) {
    static const char *const needles[] = {"A key is in the oven."};
    return (glm_needle_settings){.protocol = protocol,
            .seed = 7,
            .answer_prefix = "none",
            .own = {.n_needles = 1,
                    .needles = needles,
                    .question = "Where?",
                    .n_answers = 1,
                    .answers = needles},
            .rounds = rounds,
            .n_lengths = n_lengths,
            .lengths = lengths,
            .n_depths = 3,
            .depths = depths};
}

static void check(const glm_tokenizer *tokenizer, const char *protocol, int64_t n_haystack) {
    const glm_needle_settings settings[2] = {
            settings_of(protocol, few, 2, 3), settings_of(protocol, many, 4, 5)};
    glm_haystack haystack = {0};
    glm_needle_source sources[2];
    help_require(glm_prose_make(5, n_haystack, &haystack.text, &haystack.n_bytes), "prose");
    for (int i = 0; i < 2; i++)
        help_require(
                glm_needle_source_open(&settings[i], tokenizer, &haystack, &sources[i]), "source");
    for (int64_t k = 0; k < 2 * 3 * 3; k++) {
        const glm_needle_cell cell = {few[k % 2], depths[k / 2 % 3], k / 6};
        glm_needle_prompt prompts[2];
        for (int i = 0; i < 2; i++)
            help_require(glm_needle_prompt_make(&sources[i], &cell, &prompts[i]), "prompt");
        CHECK(prompts[0].ids.n == prompts[1].ids.n);
        CHECK(memcmp(prompts[0].ids.ids, prompts[1].ids.ids,
                      (size_t)prompts[0].ids.n * sizeof(int32_t)) == 0);
        for (int i = 0; i < 2; i++) glm_needle_prompt_free(&prompts[i]);
    }
    for (int i = 0; i < 2; i++) glm_needle_source_free(&sources[i]);
    free(haystack.text);
}

int main(void) {
    static const char *const protocols[] = {
            "lwm", "gkamradt", "own", "ruler:multikey_1", "ruler:vt"};
    glm_tokenizer *tokenizer = NULL;
    help_require(glm_tokenizer_load(help_needle_model(), &tokenizer), "tokenizer");
    for (int p = 0; p < 5; p++) check(tokenizer, protocols[p], 40000);
    check(tokenizer, "own", 2000);
    glm_tokenizer_free(tokenizer);
    return 0;
}
