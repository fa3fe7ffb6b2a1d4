/* Of a long haystack no more is tokenized than prompts may need, and they are those of the whole, to the last id: of every protocol
 * that takes them, round and depth, also where the haystack ends soon behind what is needed, or before, and is repeated.
 *
 * Method: prompts of a source as it is opened, and of the same one with the ids of the whole haystack, by the embedded model's
 * tokenizer, for which a character may be several tokens, and by GLM-4's where its files are. Haystacks of words, of Chinese
 * without a space, of one letter and of white space: pieces that are longer than a prompt. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "help_needle.h"
#include "help_tokenizer.h"

enum { ROUNDS = 3, BYTES_MAX = 40000 };

static int n_failed;

static void fail(const char *protocol, const char *part, int64_t n_bytes, const char *what) {
    printf("FAIL %s, %lld bytes of \"%.8s\": %s\n", protocol, (long long)n_bytes, part, what);
    n_failed++;
}

static const int64_t lengths[] = {700, 1000};
static const double depths[] = {37, 100};

static void make(const glm_needle_source *source, const glm_needle_cell *cell,
        glm_needle_prompt *out, rt_status *status) {
    *status = glm_needle_prompt_make(source, cell, out);
    if (*status != RT_OK) *out = (glm_needle_prompt){0};
}

static bool is_same(
        const glm_needle_source *cut, const glm_needle_source *whole, const glm_needle_cell *cell) {
    glm_needle_prompt a, b;
    rt_status status_a, status_b;
    make(cut, cell, &a, &status_a);
    make(whole, cell, &b, &status_b);
    const bool is_same =
            status_a == status_b && a.ids.n == b.ids.n && a.needle_token == b.needle_token &&
            (a.ids.n == 0 ||
                    memcmp(a.ids.ids, b.ids.ids, (size_t)a.ids.n * sizeof *a.ids.ids) == 0);
    glm_needle_prompt_free(&a);
    glm_needle_prompt_free(&b);
    return is_same;
}

static void check_cells(
        const glm_needle_source *cut, const glm_needle_source *whole, const char *part) {
    const char *protocol = cut->settings->protocol;
    for (int l = 0; l < 2; l++)
        for (int d = 0; d < 2; d++)
            for (int64_t round = 0; round < ROUNDS; round++) {
                const glm_needle_cell cell = {lengths[l], depths[d], round};
                if (!is_same(cut, whole, &cell))
                    fail(protocol, part, cut->haystack->n_bytes, "another prompt");
            }
}

static void check(const glm_tokenizer *tokenizer, const char *protocol, bool is_fast,
        const char *part, int64_t n_bytes) {
    static char text[BYTES_MAX + 1];
    static const char *const needles[] = {"A key is in the oven.", "Another is not."};
    const glm_needle_own own = {.n_needles = 2,
            .needles = needles,
            .question = "Where is the key?",
            .n_answers = 1,
            .answers = &needles[0]};
    const glm_needle_settings settings = {.protocol = protocol,
            .seed = 7,
            .is_fast = is_fast,
            .answer_prefix = "none",
            .own = own,
            .rounds = ROUNDS,
            .n_lengths = 2,
            .lengths = lengths,
            .n_depths = 2,
            .depths = depths};
    for (int64_t i = 0; i < n_bytes; i++) text[i] = part[(size_t)i % strlen(part)];
    text[n_bytes] = '\0';
    const glm_haystack haystack = {.text = text, .n_bytes = n_bytes};
    glm_needle_source cut;
    const bool is_open = glm_needle_source_open(&settings, tokenizer, &haystack, &cut) == RT_OK;
    glm_needle_source whole = cut;
    whole.haystack_ids = (glm_ids){0};
    help_require(
            glm_tokenizer_encode(tokenizer, text, n_bytes, false, &whole.haystack_ids), "whole");
    const int64_t needed = ROUNDS * lengths[1];
    if (is_open != (whole.haystack_ids.n >= needed || strcmp(protocol, "lwm") != 0))
        fail(protocol, part, n_bytes, is_open ? "too short, and taken" : "refused");
    if (is_open) check_cells(&cut, &whole, part);
    if (is_open && part[strlen(part) - 1] == ' ' && cut.haystack_ids.n > 2 * needed)
        fail(protocol, part, n_bytes, "more is tokenized than is needed");
    glm_ids_free(&whole.haystack_ids);
    if (is_open) glm_needle_source_free(&cut);
}

static void check_tokenizer(const glm_tokenizer *tokenizer) {
    static const char *const protocols[] = {"lwm", "gkamradt", "own"};
    static const char *const haystack_parts[] = {"Some words of a sentence, and more. Again. ",
            "\xe6\xbc\xa2\xe5\xad\x97\xe4\xb8\x8d\xe6\x98\xaf", "a", " \n \t"};
    static const int64_t sizes[] = {900, 3100, 4100, 14000, 17000, BYTES_MAX};
    for (int p = 0; p < 3; p++)
        for (int k = 0; k < 4; k++)
            for (int i = tokh_is_fast() ? 4 : 0; i < 6; i++)
                check(tokenizer, protocols[p], i % 2, haystack_parts[k], sizes[i]);
}

int main(void) {
    glm_tokenizer *tokenizer = NULL;
    help_require(glm_tokenizer_load(help_needle_model(), &tokenizer), "tokenizer");
    check_tokenizer(tokenizer);
    glm_tokenizer_free(tokenizer);
    if (getenv("GLM_TEST_DATA")) {
        tokenizer = tokh_load_published();
        check_tokenizer(tokenizer);
        glm_tokenizer_free(tokenizer);
    }
    return n_failed ? 1 : 0;
}
