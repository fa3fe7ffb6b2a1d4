/* The beginning of a text has the ids that the whole text begins with, wherever it ends: inside a word whose tokens merge over the
 * place, in white space whose pieces depend on what follows, between the bytes of a character, at the end. It ends with the
 * piece that has the last id asked for.
 *
 * Method: texts of random parts, in which the few letters of random tables of tokens stand beside characters of two to four
 * bytes, bytes that are none, digits, symbols and white space; each number of ids that there may be of them. */
#include "help_dir.h"
#include "help_random.h"
#include "help_tokenizer.h"
#include "runtime/tokenizer_bpe.h"
#include "runtime/tokenizer_scan.h"

enum { N_PARTS = 80 };

static const char *const parts[] = {"a", "ab", "abc", "cabba", "bbbbbbbbbbbbbbbb", "'s", "  ", " ",
        "\n", "\r\n\n", "\t ", "12345", ".", "!?", " (", "\xc3\xa9", "\xe6\xbc\xa2\xe5\xad\x97",
        "\xf0\x9f\x98\x80", "\xe6\xbc", "\xff"};

static tokh_text random_text(uint64_t *random) {
    tokh_text text = {0};
    for (int i = 0; i < N_PARTS; i++) {
        const char *part = parts[random_below(random, sizeof parts / sizeof *parts)];
        tokh_put(&text, part, (int64_t)strlen(part));
    }
    return text;
}

/* Ids of the pieces up to the one with which there are n_wanted, or of all. */
static int64_t count_ids(const glm_vocab *vocab, const tokh_text *text, int64_t n_wanted) {
    glm_bpe_scratch scratch;
    glm_ids ids = {0};
    CHECK(glm_bpe_scratch_create(vocab, &scratch) == RT_OK);
    for (int64_t at = 0, end = 0; at < text->n && ids.n < n_wanted; at = end) {
        end = glm_scan_piece(text->bytes, text->n, at);
        CHECK(glm_bpe_encode(vocab, &scratch, text->bytes + at, end - at, &ids) == RT_OK);
    }
    const int64_t n = ids.n;
    glm_ids_free(&ids);
    glm_bpe_scratch_free(&scratch);
    return n;
}

/* n_ids of them, behind an id that was there before. */
static void check_beginning(const glm_tokenizer *tokenizer, const glm_vocab *vocab,
        const tokh_text *text, const glm_ids *whole, int64_t n_ids) {
    glm_ids ids = {0};
    CHECK(glm_ids_push(&ids, 7) == RT_OK);
    CHECK(glm_tokenizer_encode_beginning(tokenizer, text->bytes, text->n, n_ids, &ids) == RT_OK);
    const glm_ids added = {.ids = ids.ids + 1, .n = ids.n - 1};
    CHECK(ids.ids[0] == 7);
    CHECK(added.n == count_ids(vocab, text, n_ids));
    CHECK(tokh_same_ids("a beginning", &added, whole->ids, added.n));
    glm_ids_free(&ids);
}

static void check_table(uint64_t seed) {
    uint64_t random = seed;
    glm_vocab vocab;
    glm_ids whole = {0};
    tokh_random_vocab(&random, 80, seed % 2 ? "abc" : NULL, &vocab);
    const char *dir = help_dir();
    tokh_write_model(dir, &vocab);
    glm_tokenizer *tokenizer = tokh_load(dir);
    tokh_text text = random_text(&random);
    CHECK(glm_tokenizer_encode(tokenizer, text.bytes, text.n, false, &whole) == RT_OK);
    for (int64_t n = 0; n <= whole.n + 1; n++) check_beginning(tokenizer, &vocab, &text, &whole, n);
    glm_ids_free(&whole);
    free(text.bytes);
    glm_tokenizer_free(tokenizer);
    glm_vocab_free(&vocab);
}

int main(void) {
    const uint64_t n_tables = tokh_is_fast() ? 4 : 12;
    for (uint64_t seed = 0; seed < n_tables; seed++) check_table(seed);
    return 0;
}
