/* Fuzz target: tokenizer.json and tokenizer_config.json. Whatever the bytes, they are refused with
 * the file named, or what was read is whole: every id has bytes of its own, every single byte an id,
 * every control token an id behind them and a text, each once.
 *
 * Input: byte 0, even for tokenizer.json, odd for tokenizer_config.json of a vocabulary of 256; then
 * the file. */
#include "help_fuzz.h"

#include "help_checkpoint.h"
#include "help_dir.h"
#include "runtime/base/log.h"
#include "runtime/tokenizer_files.h"

static void check_vocab(const glm_vocab *vocab) {
    FUZZ_REQUIRE(glm_vocab_missing_byte(vocab) < 0);
    for (int32_t id = 0; id < vocab->n_tokens; id++) {
        const int64_t n = vocab->starts[id + 1] - vocab->starts[id];
        FUZZ_REQUIRE(n >= 1 && n <= GLM_TOKEN_BYTES_MAX);
        FUZZ_REQUIRE(glm_vocab_find(vocab, vocab->bytes + vocab->starts[id], n) == id);
    }
}

static void check_specials(const glm_special_list *list, int32_t n_tokens) {
    FUZZ_REQUIRE(list->n >= 0 && list->n <= GLM_SPECIALS_MAX);
    for (int32_t i = 0; i < list->n; i++) {
        const glm_special *one = &list->items[i];
        FUZZ_REQUIRE(one->id >= n_tokens && one->id <= GLM_SPECIAL_ID_MAX);
        FUZZ_REQUIRE(one->n_bytes >= 1 && (size_t)one->n_bytes == strlen(one->text));
        for (int32_t j = 0; j < i; j++)
            FUZZ_REQUIRE(list->items[j].id != one->id && strcmp(list->items[j].text, one->text));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes) {
    static const char *dir;
    glm_vocab vocab = {0};
    glm_special_list specials = {0};
    if (n_bytes < 1) return 0;
    if (!dir) {
        dir = help_dir_in_memory();
        /* A file without a pattern is warned of, once a file. */
        FUZZ_REQUIRE(setenv("GLM_LOG", "error", 1) == 0 && rt_log_init() == RT_OK);
    }
    const bool is_config = data[0] & 1;
    const char *name = is_config ? "tokenizer_config.json" : "tokenizer.json";
    ckh_write(dir, name, data + 1, (int64_t)n_bytes - 1);
    char *path = ckh_path(dir, name);
    const rt_status status = is_config ? glm_read_tokenizer_config(path, 256, &specials)
                                       : glm_read_tokenizer_json(path, &vocab, 0, &specials);
    FUZZ_REQUIRE(status == RT_OK || status == RT_EMODEL);
    if (status == RT_OK && !is_config) check_vocab(&vocab);
    if (status == RT_OK) check_specials(&specials, is_config ? 256 : vocab.n_tokens);
    if (status != RT_OK) FUZZ_REQUIRE(strstr(rt_error_text(), name));
    free(path);
    glm_specials_free(&specials);
    glm_vocab_free(&vocab);
    return 0;
}

void fuzz_add_seeds(fuzz_corpus *corpus) {
    glm_vocab vocab;
    tokh_text json = {0};
    int64_t n_bytes = 0;
    uint64_t random = 3;
    tokh_random_vocab(&random, 12, "abc ", &vocab);
    tokh_put_json(&json, &vocab);
    fuzz_add_text(corpus, 0, json.bytes);
    free(json.bytes);
    glm_vocab_free(&vocab);
    const char *dir = help_dir_in_memory();
    tokh_write_config(dir, 256);
    char *text = ckh_read(dir, "tokenizer_config.json", &n_bytes);
    fuzz_add_text(corpus, 1, text);
    free(text);
}

void fuzz_repair(uint8_t *bytes, size_t n_bytes) {
    (void)bytes;
    (void)n_bytes;
}
