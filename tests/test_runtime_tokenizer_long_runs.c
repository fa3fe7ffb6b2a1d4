/* No text is slow or deep: work grows with its length, the stack does not.
 *
 * Method: 16 MiB each of the runs that made other tokenizers quadratic or overflow their stack, and
 * 2 MiB of some more, encoded on a thread with a stack of 256 KiB. Counted, not timed: the bytes that went through
 * merging are at most one and a half times the text's. Every text comes back from its ids. With the published
 * tokens where they are found, otherwise with a table that has long tokens for each run. */
#include <pthread.h>

#include "help_random.h"
#include "help_tokenizer.h"
#include "runtime/tokenizer_bpe.h"
#include "runtime/tokenizer_files.h"
#include "runtime/tokenizer_scan.h"

/* The first N_FULL at full length. */
enum { N_FULL = 7 };
static const char *const units[] = {"a", " ", "\n", "^", "7", "中", "👨‍👩‍👧‍👦",
        "人工智能", "e\u0301", "  \n", "ab", "'s", "\xff", "\xe4\xb8", " \t"};

typedef struct long_run {
    const glm_vocab *vocab;
    const char *text;
    int64_t n_bytes;
    glm_bpe_scratch scratch;
    glm_ids ids;
} long_run;

static void *encode(void *argument) {
    long_run *run = argument;
    for (int64_t start = 0; start < run->n_bytes;) {
        const int64_t end = glm_scan_piece(run->text, run->n_bytes, start);
        CHECK(glm_bpe_encode(run->vocab, &run->scratch, run->text + start, end - start,
                      &run->ids) == RT_OK);
        start = end;
    }
    return NULL;
}

static void encode_on_small_stack(long_run *run) {
    pthread_attr_t attributes;
    pthread_t thread;
    CHECK(pthread_attr_init(&attributes) == 0);
    CHECK(pthread_attr_setstacksize(&attributes, 256 << 10) == 0);
    CHECK(pthread_create(&thread, &attributes, encode, run) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(pthread_attr_destroy(&attributes) == 0);
}

static void check_round_trip(const long_run *run) {
    int64_t at = 0;
    for (int64_t i = 0; i < run->ids.n; i++) {
        const int64_t start = run->vocab->starts[run->ids.ids[i]];
        const int64_t n = run->vocab->starts[run->ids.ids[i] + 1] - start;
        CHECK(n <= run->n_bytes - at);
        CHECK(memcmp(run->text + at, run->vocab->bytes + start, (size_t)n) == 0);
        at += n;
    }
    CHECK(at == run->n_bytes);
}

static void check(const glm_vocab *vocab, const char *text, int64_t n_bytes) {
    long_run run = {.vocab = vocab, .text = text, .n_bytes = n_bytes};
    CHECK(glm_bpe_scratch_create(vocab, &run.scratch) == RT_OK);
    encode_on_small_stack(&run);
    CHECK(run.scratch.bytes_merged <= n_bytes + n_bytes / 2);
    check_round_trip(&run);
    glm_ids_free(&run.ids);
    glm_bpe_scratch_free(&run.scratch);
}

static void check_runs(const glm_vocab *vocab, char *text, int64_t n_bytes) {
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        const int64_t n = (int64_t)strlen(units[i]);
        const int64_t n_text = i < N_FULL ? n_bytes : n_bytes / 8;
        for (int64_t k = 0; k < n_text; k++) text[k] = units[i][k % n];
        check(vocab, text, n_text);
    }
}

static void check_random(const glm_vocab *vocab, char *text, int64_t n_bytes) {
    uint64_t random = 5;
    for (int64_t k = 0; k < n_bytes; k++) text[k] = (char)random_below(&random, 256);
    check(vocab, text, n_bytes);
    for (int64_t k = 0; k < n_bytes; k++) text[k] = (char)('a' + random_below(&random, 26));
    check(vocab, text, n_bytes / 8);
}

/* The single bytes, and each unit doubled up to 512 bytes. */
static void make_vocab(glm_vocab *vocab) {
    CHECK(glm_vocab_create(1024, 1 << 20, vocab) == RT_OK);
    for (int i = 0; i < 256; i++) {
        const char byte = (char)i;
        CHECK(glm_vocab_add(vocab, &byte, 1) == GLM_NO_TOKEN);
    }
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        char token[1024];
        const int64_t n = (int64_t)strlen(units[i]);
        for (int64_t k = 0; k < (int64_t)sizeof token; k++) token[k] = units[i][k % n];
        for (int64_t length = 2; length < n; length++) (void)glm_vocab_add(vocab, token, length);
        for (int64_t length = n; length <= 512; length *= 2)
            (void)glm_vocab_add(vocab, token, length);
    }
}

static bool read_published(glm_vocab *vocab) {
    const char *data = getenv("GLM_TEST_DATA");
    char *path = NULL;
    CHECK(asprintf(&path, "%s/glm-4-9b-chat-1m/tokenizer.model", data ? data : "") > 0);
    const bool is_read = data && glm_read_tokenizer_model(path, vocab) == RT_OK;
    if (data && !is_read) glm_vocab_free(vocab);
    free(path);
    return is_read;
}

int main(void) {
    const int64_t n_bytes = tokh_is_fast() ? 1 << 18 : 1 << 24;
    char *text = malloc((size_t)n_bytes);
    CHECK(text);
    glm_vocab vocab;
    if (!read_published(&vocab)) make_vocab(&vocab);
    check_runs(&vocab, text, n_bytes);
    check_random(&vocab, text, n_bytes);
    glm_vocab_free(&vocab);
    free(text);
    return 0;
}
