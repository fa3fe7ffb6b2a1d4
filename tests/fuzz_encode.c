/* Fuzz target: encode(). Whatever the text, the ids are the tokenizer's, their bytes one after the
 * other are the text again, streamed they are the same as decoded at once, and ids that were in the
 * list before stay; nothing beyond the text's last byte is read.
 *
 * Input: byte 0, odd where control tokens spelled out in the text count; then the text. */
#include "help_fuzz.h"

#include "help_checkpoint.h"
#include "help_dir.h"

static glm_tokenizer *tokenizer;

static void drop_tokenizer(void) {
    glm_tokenizer_free(tokenizer);
}

static void prepare(void) {
    glm_vocab vocab;
    uint64_t random = 5;
    if (tokenizer) return;
    const char *dir = help_dir_in_memory();
    tokh_random_vocab(&random, 400, "abc 1\n'\xe4\xbd\xa0", &vocab);
    tokh_write_model(dir, &vocab);
    tokh_write_config(dir, vocab.n_tokens);
    tokenizer = tokh_load(dir);
    glm_vocab_free(&vocab);
    FUZZ_REQUIRE(atexit(drop_tokenizer) == 0);
}

static void check_bytes(const glm_ids *ids, const char *text, int64_t n_bytes, bool with_special) {
    int64_t at = 0;
    for (int64_t i = 1; i < ids->n; i++) {
        int64_t n = 0;
        bool is_special = false;
        FUZZ_REQUIRE(ids->ids[i] >= 0 && ids->ids[i] < glm_tokenizer_size(tokenizer));
        const char *bytes = glm_tokenizer_bytes(tokenizer, ids->ids[i], &n, &is_special);
        FUZZ_REQUIRE(n > 0 && n <= n_bytes - at && memcmp(bytes, text + at, (size_t)n) == 0);
        FUZZ_REQUIRE(with_special || !is_special);
        at += n;
    }
    FUZZ_REQUIRE(at == n_bytes);
}

static void check_stream(const glm_ids *ids) {
    char *whole = NULL;
    int64_t n_whole = 0;
    tokh_text streamed = {0};
    glm_utf8_stream stream = {0};
    char out[3 * (GLM_TOKEN_BYTES_MAX + 3)];
    FUZZ_REQUIRE(glm_tokenizer_decode(
                         tokenizer, ids->ids + 1, ids->n - 1, true, &whole, &n_whole) == RT_OK);
    for (int64_t i = 1; i < ids->n; i++) {
        int64_t n = 0;
        const char *bytes = glm_tokenizer_bytes(tokenizer, ids->ids[i], &n, NULL);
        tokh_put(&streamed, out, glm_utf8_stream_feed(&stream, bytes, n, false, out));
    }
    tokh_put(&streamed, out, glm_utf8_stream_feed(&stream, "", 0, true, out));
    FUZZ_REQUIRE(streamed.n == n_whole && memcmp(streamed.bytes, whole, (size_t)n_whole) == 0);
    free(streamed.bytes);
    free(whole);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes) {
    glm_ids ids = {0};
    if (n_bytes < 1) return 0;
    prepare();
    const bool with_special = data[0] & 1;
    const int64_t n_text = (int64_t)n_bytes - 1;
    const char *text = (const char *)fuzz_at_the_end(data + 1, n_bytes - 1);
    FUZZ_REQUIRE(glm_ids_push(&ids, 7) == RT_OK);
    FUZZ_REQUIRE(glm_tokenizer_encode(tokenizer, text, n_text, with_special, &ids) == RT_OK);
    FUZZ_REQUIRE(ids.ids[0] == 7);
    check_bytes(&ids, text, n_text, with_special);
    check_stream(&ids);
    glm_ids_free(&ids);
    return 0;
}

void fuzz_add_seeds(fuzz_corpus *corpus) {
    static const char *const texts[] = {"", "a", "Hello, world! It's 2024.\n", "   \n\n  x  \r\n",
            "12345 67890 1 22 333 4444", "abc abc  abcabc aaaa bbbb cccc abcabcabcabcabc",
            "<|user|>\nabc<|assistant|>[gMASK]<sop>", "don't I'LL we've 'S 'tis",
            "\xe4\xbd\xa0\xe5\xa5\xbd\xef\xbc\x8c\xe4\xb8\x96\xe7\x95\x8c",
            "\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x92\xbb e\xcc\x81 \xd9\xa1\xd9\xa2 \xc2\xa0",
            "\xff\xfe\xc0\x80\xed\xa0\x80\xf5\x80\x80\x80\xe4\xbd", "^^^^^^^^????....!!!!\n\n\n",
            "if (x == 1) { return foo[a].bar; }\n\t\t// done\n"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        for (uint8_t first = 0; first < 2; first++) fuzz_add_text(corpus, first, texts[i]);
}

void fuzz_repair(uint8_t *bytes, size_t n_bytes) {
    (void)bytes;
    (void)n_bytes;
}
