/* tokenizer.model and tokenizer.json of the same tokens give the same ids, wherever the control
 * tokens are told; ignore_merges decides whether a piece that is a token is taken whole.
 *
 * Method: random tables written in both forms, the control tokens in tokenizer_config.json or in
 * added_tokens; random texts through each. With ignore_merges false, or not there, a token that
 * merging cannot make is not found. */
#include "help_dir.h"
#include "help_random.h"
#include "help_tokenizer.h"

enum { TABLES = 12, TEXTS = 300, MORE_TOKENS = 120 };

/* Letters that tokens are made of, so that pieces are often tokens. */
static const char alphabet[] = "abcde";

static void fill_text(uint64_t *random, tokh_text *text) {
    static const char *const others[] = {
            " ", "\n", "7", "!", "\xe4\xb8\xad", "\xff", "<|user|>", "[gMASK]<sop>", "<|us", "'s"};
    text->n = 0;
    const int64_t n = 1 + random_below(random, 60);
    for (int64_t i = 0; i < n; i++) {
        const char *other = others[random_below(random, 10)];
        if (random_below(random, 5) == 0)
            tokh_put(text, other, (int64_t)strlen(other));
        else
            tokh_put(text, &alphabet[random_below(random, 5)], 1);
    }
}

/* The table as tokenizer.json with `flag` for its ignore_merges member, a whole member with its
 * comma, and `added` for another one. */
static const char *make_json(const glm_vocab *vocab, const char *flag, const char *added) {
    const char *dir = help_dir();
    static const char usual[] = "\"ignore_merges\": true, ";
    tokh_text usual_json = {0};
    tokh_text json = {0};
    tokh_put_json(&usual_json, vocab);
    const char *at = strstr(usual_json.bytes, usual);
    CHECK(at && usual_json.bytes[0] == '{');
    tokh_printf(&json, "{%s", added);
    tokh_put(&json, usual_json.bytes + 1, at - usual_json.bytes - 1);
    tokh_printf(&json, "%s%s", flag, at + strlen(usual));
    tokh_write(dir, "tokenizer.json", json.bytes, json.n);
    free(usual_json.bytes);
    free(json.bytes);
    return dir;
}

static char *added_tokens(int32_t first_id) {
    static const char *const names[] = {"<|endoftext|>", "[MASK]", "[gMASK]", "[sMASK]", "<sop>",
            "<eop>", "<|system|>", "<|user|>", "<|assistant|>", "<|observation|>"};
    tokh_text text = {0};
    tokh_printf(&text, "\"added_tokens\": [");
    for (int i = 0; i < 10; i++)
        tokh_printf(&text,
                "%s{\"id\": %d, \"content\": \"%s\", \"lstrip\": false, \"rstrip\": false, "
                "\"normalized\": false, \"special\": true}",
                i == 0 ? "" : ", ", (int)first_id + i, names[i]);
    tokh_printf(&text, "], ");
    return text.bytes;
}

static int64_t check_same(const glm_tokenizer *a, const glm_tokenizer *b, uint64_t seed) {
    tokh_text text = {0};
    int64_t n_different = 0;
    for (int i = 0; i < TEXTS; i++) {
        fill_text(&seed, &text);
        for (int with_special = 0; with_special < 2; with_special++) {
            glm_ids one = {0};
            glm_ids other = {0};
            CHECK(glm_tokenizer_encode(a, text.bytes, text.n, with_special, &one) == RT_OK);
            CHECK(glm_tokenizer_encode(b, text.bytes, text.n, with_special, &other) == RT_OK);
            n_different += one.n != other.n ||
                           memcmp(one.ids, other.ids, (size_t)one.n * sizeof *one.ids) != 0;
            glm_ids_free(&one);
            glm_ids_free(&other);
        }
    }
    free(text.bytes);
    return n_different;
}

static void check_files(const glm_vocab *vocab, uint64_t seed) {
    char *added = added_tokens(vocab->n_tokens);
    const char *model_dir = help_dir();
    const char *json_dir = make_json(vocab, "\"ignore_merges\": true, ", "");
    const char *alone_dir = make_json(vocab, "\"ignore_merges\": true, ", added);
    tokh_write_model(model_dir, vocab);
    tokh_write_config(model_dir, vocab->n_tokens);
    tokh_write_config(json_dir, vocab->n_tokens);
    glm_tokenizer *model = tokh_load(model_dir);
    glm_tokenizer *json = tokh_load(json_dir);
    glm_tokenizer *alone = tokh_load(alone_dir);
    CHECK(check_same(model, json, seed) == 0);
    CHECK(check_same(model, alone, seed) == 0);
    CHECK(glm_tokenizer_specials(alone).observation == vocab->n_tokens + 9);

    /* Both files in one directory: the tokens of the first, the control tokens of either. */
    tokh_write_model(alone_dir, vocab);
    glm_tokenizer *both = tokh_load(alone_dir);
    CHECK(check_same(model, both, seed) == 0);
    glm_tokenizer_free(model);
    glm_tokenizer_free(json);
    glm_tokenizer_free(alone);
    glm_tokenizer_free(both);
    free(added);
}

/* "abcd" is a token that merging cannot make: "bc" comes first, and joins with neither side. */
static void make_unmergeable(glm_vocab *vocab) {
    CHECK(glm_vocab_create(259, 300, vocab) == RT_OK);
    for (int i = 0; i < 256; i++) {
        const char byte = (char)i;
        CHECK(glm_vocab_add(vocab, &byte, 1) == GLM_NO_TOKEN);
    }
    CHECK(glm_vocab_add(vocab, "bc", 2) == GLM_NO_TOKEN);
    CHECK(glm_vocab_add(vocab, "ab", 2) == GLM_NO_TOKEN);
    CHECK(glm_vocab_add(vocab, "abcd", 4) == GLM_NO_TOKEN);
}

static void check_flag(const glm_vocab *vocab, const char *flag, const int32_t *wanted, int64_t n) {
    const char *dir = make_json(vocab, flag, "");
    glm_tokenizer *tokenizer = tokh_load(dir);
    glm_ids ids = tokh_encode(tokenizer, "abcd", false);
    CHECK(tokh_same_ids(flag, &ids, wanted, n));
    glm_ids_free(&ids);
    glm_tokenizer_free(tokenizer);
}

static void check_ignore_merges(void) {
    const int32_t whole[] = {258};
    const int32_t merged[] = {'a', 256, 'd'};
    glm_vocab vocab;
    make_unmergeable(&vocab);
    check_flag(&vocab, "\"ignore_merges\": true, ", whole, 1);
    check_flag(&vocab, "\"ignore_merges\": false, ", merged, 3);
    check_flag(&vocab, "", merged, 3);
    glm_tokenizer *tokenizer = NULL;
    const char *dir = make_json(&vocab, "\"ignore_merges\": 1, ", "");
    CHECK(glm_tokenizer_load(dir, &tokenizer) == RT_EMODEL);
    CHECK(strstr(rt_error_text(), "ignore_merges"));
    glm_vocab_free(&vocab);
}

int main(void) {
    for (uint64_t table = 0; table < (tokh_is_fast() ? 2 : TABLES); table++) {
        uint64_t random = table;
        glm_vocab vocab;
        tokh_random_vocab(&random, MORE_TOKENS, alphabet, &vocab);
        check_files(&vocab, 100 + table);
        glm_vocab_free(&vocab);
    }
    check_ignore_merges();
    return 0;
}
