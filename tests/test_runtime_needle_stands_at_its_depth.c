/* The needle stands where its cell and its record say, of whatever kind the text is: at the depth that was asked for, to a
 * sentence, also in Chinese and in a text without full stops, between two characters; and needle_token is the token that it
 * begins in, also where sentences that are put together are fewer tokens than they were.
 *
 * Method: the prompt's text, token by token, up to the needle, by the embedded model's tokenizer and by GLM-4's where its
 * files are. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "help_needle.h"
#include "help_tokenizer.h"
#include "runtime/prose.h"

enum { TEXT_BYTES = 60000, SENTENCE_TOKENS = 512 };

static const int64_t lengths[] = {2000, 4097, 9999};
static const double depths[] = {0, 12.5, 50, 99, 100};
static int n_failed;

/* The first byte of what is between the needle's newlines. */
static int64_t find_needle(const char *text, const char *needle) {
    char line[GLM_NEEDLE_TEXT];
    (void)snprintf(line, sizeof line, "%s", needle + strspn(needle, "\n"));
    line[strcspn(line, "\n")] = '\0';
    const char *at = strstr(text, line);
    return at ? at - text - (int64_t)strspn(needle, "\n") : -1;
}

/* The text's last character may be: it ends where the tokens do. */
static bool has_torn(const char *text, int64_t n_bytes) {
    return memmem(text, (size_t)n_bytes, "\xef\xbf\xbd", 3) != NULL;
}

static void check_cell(
        const glm_needle_source *source, const char *what, int64_t length, double depth) {
    const glm_needle_cell cell = {length, depth, 0};
    glm_needle_prompt prompt;
    char *text = NULL;
    int64_t n_bytes = 0;
    int64_t token = 0;
    int64_t end = 0; /* of that token */
    help_require(glm_needle_prompt_make(source, &cell, &prompt), "prompt");
    help_require(glm_tokenizer_decode(
                         source->tokenizer, prompt.ids.ids, prompt.ids.n, true, &text, &n_bytes),
            "text");
    const int64_t at = find_needle(text, prompt.task.needle);
    for (; token < prompt.ids.n; token++) {
        int64_t n = 0;
        (void)glm_tokenizer_bytes(source->tokenizer, prompt.ids.ids[token], &n, NULL);
        if ((end += n) > at) break;
    }
    const int64_t n_context = prompt.ids.n - 150; /* about: question and template are not of it */
    const int64_t off = llabs(token - (int64_t)((double)n_context * depth / 100.0));
    const bool is_placed = off <= SENTENCE_TOKENS + n_context / 50;
    const bool is_torn =
            at >= 0 && depth < 100 && has_torn(text, at + (int64_t)strlen(prompt.task.needle) + 3);
    const bool is_told =
            token == prompt.needle_token || has_torn(text, at); /* whose bytes these are not */
    if (at < 0 || !is_placed || is_torn || !is_told) {
        printf("FAIL %s, %s%s, length %" PRId64 ", depth %g: at token %" PRId64 " of %" PRId64
               ", needle_token %" PRId64 "%s\n",
                what, source->settings->protocol, source->settings->is_fast ? " fast" : "", length,
                depth, token, prompt.ids.n, prompt.needle_token,
                is_torn ? ", a character is torn" : "");
        n_failed++;
    }
    free(text);
    glm_needle_prompt_free(&prompt);
}

static void check(const glm_tokenizer *tokenizer, const char *protocol, bool is_fast, bool is_plain,
        const char *part) {
    static const char *const needles[] = {"A key is in the oven."};
    const glm_needle_settings settings = {.protocol = protocol,
            .seed = 7,
            .is_fast = is_fast,
            .is_plain = is_plain,
            .answer_prefix = "none",
            .own = {.n_needles = 1,
                    .needles = needles,
                    .question = "Where?",
                    .n_answers = 1,
                    .answers = needles},
            .rounds = 1,
            .n_lengths = 3,
            .lengths = lengths,
            .n_depths = 5,
            .depths = depths};
    char *text = NULL;
    int64_t n_bytes = 0;
    glm_needle_source source;
    help_require(glm_prose_make(5, TEXT_BYTES, &text, &n_bytes), "prose");
    const int64_t n_part = (int64_t)strlen(part);
    for (int64_t i = 0; i < n_bytes && n_part > 0; i++) text[i] = part[i % n_part];
    if (n_part > 0) n_bytes -= n_bytes % n_part;
    const glm_haystack haystack = {.text = text, .n_bytes = n_bytes};
    help_require(glm_needle_source_open(&settings, tokenizer, &haystack, &source), "source");
    for (int l = 0; l < 3; l++)
        for (int d = 0; d < 5; d++)
            check_cell(&source, n_part > 0 ? part : "prose", lengths[l], depths[d]);
    glm_needle_source_free(&source);
    free(text);
}

static void check_tokenizer(const glm_tokenizer *tokenizer) {
    static const char *const protocols[] = {"lwm", "own", "ruler:single_2"};
    static const char *const parts[] = {"", /* prose */
            "\u4eca\u5929\u5929\u6c14\u5f88\u597d\uff0c\u6211\u4eec\u53bb\u516c\u56ed\u3002\n",
            "\u6f22\u5b57\u4e0d\u662f", "words without an end "};
    for (int p = 0; p < 3; p++)
        for (int k = 0; k < 4; k++)
            for (int how = 0; how < 3; how++)
                check(tokenizer, protocols[p], how == 1, how == 2, parts[k]);
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
