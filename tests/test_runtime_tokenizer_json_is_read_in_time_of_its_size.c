/* A tokenizer.json of long tokens is read in time that grows as its size does: how a token can be made of two others is
 * found without reading each of its pieces anew.
 *
 * Method: the bytes that the reader has hashed, piece by piece, to look for tokens are counted. Of such a file, read as often as
 * there are places to part a token in, they would be thousands of times its own. */
#include "help_dir.h"
#include "help_random.h"
#include "help_tokenizer.h"

enum { LONG_TOKENS = 8, OFTEN = 8 };

static int64_t n_looked_for;

int32_t __real_glm_vocab_find(const glm_vocab *vocab, const char *bytes, int64_t n_bytes);
int32_t __wrap_glm_vocab_find(const glm_vocab *vocab, const char *bytes, int64_t n_bytes);
int32_t __wrap_glm_vocab_find(const glm_vocab *vocab, const char *bytes, int64_t n_bytes) {
    n_looked_for += n_bytes;
    return __real_glm_vocab_find(vocab, bytes, n_bytes);
}

/* Long ones, each of which is two tokens in one way: a letter and the one before it, which is a byte shorter. */
static int64_t make_long_tokens(glm_vocab *vocab) {
    char bytes[GLM_TOKEN_BYTES_MAX];
    const int64_t shortest = GLM_TOKEN_BYTES_MAX - LONG_TOKENS;
    uint64_t random = 1;
    CHECK(glm_vocab_create(256 + LONG_TOKENS + 1, 256 + (LONG_TOKENS + 1) * GLM_TOKEN_BYTES_MAX,
                  vocab) == RT_OK);
    for (int i = 0; i < 256; i++) {
        bytes[0] = (char)i;
        CHECK(glm_vocab_add(vocab, bytes, 1) == GLM_NO_TOKEN);
    }
    for (int64_t i = 0; i < GLM_TOKEN_BYTES_MAX; i++)
        bytes[i] = (char)('a' + random_below(&random, 10));
    for (int64_t n = shortest; n <= GLM_TOKEN_BYTES_MAX; n++)
        CHECK(glm_vocab_add(vocab, bytes + GLM_TOKEN_BYTES_MAX - n, n) == GLM_NO_TOKEN);
    return vocab->starts[vocab->n_tokens];
}

int main(void) {
    glm_vocab vocab;
    const char *dir = help_dir();
    const int64_t n_bytes = make_long_tokens(&vocab);
    tokh_write_json(dir, &vocab);
    tokh_write_config(dir, vocab.n_tokens);
    n_looked_for = 0;
    glm_tokenizer *tokenizer = tokh_load(dir);
    printf("%lld bytes of tokens, %lld looked for\n", (long long)n_bytes, (long long)n_looked_for);
    CHECK(n_looked_for > 0 && n_looked_for < OFTEN * n_bytes);
    glm_tokenizer_free(tokenizer);
    glm_vocab_free(&vocab);
    return 0;
}
