/* Fuzz target: tokenizer.model. Whatever the bytes, they are refused with the file named, or they
 * are the one way to write down the table that was read: written again, the same bytes.
 *
 * Input: byte 0, 1 where the rest comes behind the 256 lines of the single bytes, else the rest is
 * the whole file. */
#include "help_fuzz.h"

#include "help_checkpoint.h"
#include "help_dir.h"
#include "runtime/tokenizer_files.h"

static char *path;

static void check_canonical(const glm_vocab *vocab, const tokh_text *file) {
    tokh_text again = {0};
    for (int32_t id = 0; id < vocab->n_tokens; id++) {
        const char *token = vocab->bytes + vocab->starts[id];
        const int64_t n = vocab->starts[id + 1] - vocab->starts[id];
        FUZZ_REQUIRE(n >= 1 && n <= GLM_TOKEN_BYTES_MAX);
        FUZZ_REQUIRE(glm_vocab_find(vocab, token, n) == id);
        tokh_put_line(&again, token, n, id);
    }
    FUZZ_REQUIRE(glm_vocab_missing_byte(vocab) < 0);
    FUZZ_REQUIRE(again.n == file->n && memcmp(again.bytes, file->bytes, (size_t)file->n) == 0);
    free(again.bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes) {
    glm_vocab vocab;
    tokh_text file = {0};
    if (n_bytes < 1) return 0;
    if (!path) path = ckh_path(help_dir_in_memory(), "tokenizer.model");
    tokh_put(&file, "", 0);
    if (data[0] == 1) tokh_put_bytes(&file);
    tokh_put(&file, data + 1, (int64_t)n_bytes - 1);
    ckh_write("/", path + 1, file.bytes, file.n);
    const rt_status status = glm_read_tokenizer_model(path, &vocab);
    FUZZ_REQUIRE(status == RT_OK || status == RT_EMODEL);
    if (status == RT_OK)
        check_canonical(&vocab, &file);
    else
        FUZZ_REQUIRE(strstr(rt_error_text(), "tokenizer.model"));
    glm_vocab_free(&vocab);
    free(file.bytes);
    return 0;
}

void fuzz_add_seeds(fuzz_corpus *corpus) {
    tokh_text bytes = {0};
    tokh_put_bytes(&bytes);
    fuzz_add_text(corpus, 0, bytes.bytes);
    free(bytes.bytes);
    fuzz_add_text(corpus, 1, "YWI= 256\nYWJj 257\nYWJjZA== 258\nIGFiY2Q= 259\n");
    fuzz_add_text(corpus, 1, "5L2g 256\n5L2g5aW9 257\nDQo= 258\n");
    fuzz_add_text(corpus, 1, "");
}

void fuzz_repair(uint8_t *bytes, size_t n_bytes) {
    if (n_bytes > 0 && bytes[0] > 1) bytes[0] = 1;
}
