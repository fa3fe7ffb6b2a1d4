/* Ids and text are inverse: every text, valid UTF-8 or not, comes back from its ids byte for byte;
 * special tokens spelled out are plain text unless asked for; decode shows what it should.
 *
 * Method: random bytes and random characters through encode and glm_tokenizer_bytes; the control
 * tokens' texts with and without with_special; decode of padding, special and broken ids. */
#include "help_dir.h"
#include "help_random.h"
#include "help_tokenizer.h"

static glm_tokenizer *make_tokenizer(void) {
    uint64_t random = 11;
    glm_vocab vocab;
    const char *dir = help_dir();
    tokh_random_vocab(&random, 300, NULL, &vocab);
    tokh_write_model(dir, &vocab);
    /* A gap before the special tokens, as other checkpoints have it. */
    tokh_write_config(dir, vocab.n_tokens + 5);
    glm_vocab_free(&vocab);
    return tokh_load(dir);
}

static void check_round_trip(const glm_tokenizer *tokenizer, const char *text, int64_t n_bytes) {
    for (int with_special = 0; with_special < 2; with_special++) {
        glm_ids ids = {0};
        int64_t at = 0;
        CHECK(glm_tokenizer_encode(tokenizer, text, n_bytes, with_special, &ids) == RT_OK);
        for (int64_t i = 0; i < ids.n; i++) {
            int64_t n;
            const char *bytes = glm_tokenizer_bytes(tokenizer, ids.ids[i], &n, NULL);
            CHECK(n > 0 && n <= n_bytes - at && memcmp(text + at, bytes, (size_t)n) == 0);
            at += n;
        }
        CHECK(at == n_bytes);
        glm_ids_free(&ids);
    }
}

static void check_random_texts(const glm_tokenizer *tokenizer) {
    static const char *const pieces[] = {"word", " ", "\n", "中文", "é", "\xf0\x9f", "\xff",
            "<|user|>", "[gMASK]", "<|us", "\0", "12345", "'ll", "\xed\xa0\x80", "\xc0\x80"};
    uint64_t random = 1;
    for (int i = 0; i < 2000; i++) {
        tokh_text text = {0};
        const int64_t n = random_below(&random, 30);
        for (int64_t k = 0; k < n; k++) {
            const char byte = (char)random_below(&random, 256);
            const char *piece = pieces[random_below(&random, 15)];
            if (i % 2 == 0)
                tokh_put(&text, &byte, 1);
            else
                tokh_put(&text, piece, *piece ? (int64_t)strlen(piece) : 1);
        }
        check_round_trip(tokenizer, n > 0 ? text.bytes : "", text.n);
        free(text.bytes);
    }
}

static void check_specials(const glm_tokenizer *tokenizer) {
    const glm_special_ids ids = glm_tokenizer_specials(tokenizer);
    const int32_t first = ids.endoftext;
    CHECK(glm_tokenizer_size(tokenizer) == first + 14);

    /* Found where they begin, as the longest that fits, and nothing of them is left over. */
    const int32_t wanted[] = {ids.user, ids.user, ids.gmask};
    glm_ids spelled = tokh_encode(tokenizer, "<|user|><|user|>[gMASK]", true);
    CHECK(tokh_same_ids("specials", &spelled, wanted, 3));
    glm_ids_free(&spelled);

    glm_ids plain = tokh_encode(tokenizer, "<|user|><|endoftext|>[gMASK]", false);
    for (int64_t i = 0; i < plain.n; i++) CHECK(plain.ids[i] < first);
    glm_ids_free(&plain);

    glm_ids within = tokh_encode(tokenizer, "<<|user|<|user|>>", true);
    int64_t n_special = 0;
    for (int64_t i = 0; i < within.n; i++) n_special += within.ids[i] >= first;
    CHECK(n_special == 1);
    glm_ids_free(&within);
}

static void check_decode(const glm_tokenizer *tokenizer, const int32_t *ids, int64_t n_ids,
        bool with_special, const char *wanted) {
    char *text = NULL;
    int64_t n_bytes = 0;
    CHECK(glm_tokenizer_decode(tokenizer, ids, n_ids, with_special, &text, &n_bytes) == RT_OK);
    CHECK(n_bytes == (int64_t)strlen(wanted) && strcmp(text, wanted) == 0);
    free(text);
}

static int32_t byte_id(const glm_tokenizer *tokenizer, char byte) {
    glm_ids ids = {0};
    CHECK(glm_tokenizer_encode(tokenizer, &byte, 1, false, &ids) == RT_OK && ids.n == 1);
    const int32_t id = ids.ids[0];
    glm_ids_free(&ids);
    return id;
}

static void check_decoding(const glm_tokenizer *tokenizer) {
    const glm_special_ids specials = glm_tokenizer_specials(tokenizer);
    const int32_t a = byte_id(tokenizer, 'a');
    const int32_t padding = specials.endoftext - 1;
    const int32_t lead = byte_id(tokenizer, '\xe4');
    const int32_t shown[] = {a, specials.user, padding, -1, INT32_MAX, a};
    check_decode(tokenizer, shown, 6, true, "a<|user|>a");
    check_decode(tokenizer, shown, 6, false, "aa");
    const int32_t broken[] = {lead, a, lead};
    check_decode(tokenizer, broken, 3, false, "\ufffda\ufffd");
    check_decode(tokenizer, NULL, 0, true, "");

    bool is_special = false;
    int64_t n;
    (void)glm_tokenizer_bytes(tokenizer, specials.sop, &n, &is_special);
    CHECK(is_special && n == 5);
    (void)glm_tokenizer_bytes(tokenizer, padding, &n, &is_special);
    CHECK(!is_special && n == 0);
}

int main(void) {
    glm_tokenizer *tokenizer = make_tokenizer();
    check_random_texts(tokenizer);
    check_specials(tokenizer);
    check_decoding(tokenizer);
    glm_tokenizer_free(tokenizer);
    return 0;
}
