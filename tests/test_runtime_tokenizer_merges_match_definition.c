/* Merging gives what its definition says, also over windows and for tables no training would make.
 *
 * Method: the definition written down (a piece that is a token, for half of the tables; else join
 * the leftmost pair of lowest rank, look at all pairs again) against glm_bpe_encode, over random
 * tables of tokens and random pieces: short ones, ones of several windows, and ones of a table
 * whose windows disagree, where the whole piece must be merged at once. */
#include "help_random.h"
#include "help_tokenizer.h"
#include "runtime/tokenizer_bpe.h"

/* The rank of two neighbouring tokens joined. */
static int32_t pair_rank(
        const glm_vocab *vocab, const char *piece, const int64_t *starts, int64_t i) {
    return glm_vocab_find(vocab, piece + starts[i], starts[i + 2] - starts[i]);
}

/* starts[0..n] are the edges of n tokens; join tokens i and i + 1. */
static void join(int64_t *starts, int64_t *n, int64_t i) {
    memmove(&starts[i + 1], &starts[i + 2], (size_t)(*n - i - 1) * sizeof *starts);
    (*n)--;
}

static int64_t leftmost_lowest(
        const glm_vocab *vocab, const char *piece, const int64_t *starts, int64_t n) {
    int64_t best = -1;
    int32_t best_rank = GLM_NO_TOKEN;
    for (int64_t i = 0; i + 1 < n; i++) {
        const int32_t rank = pair_rank(vocab, piece, starts, i);
        if (rank < best_rank) {
            best_rank = rank;
            best = i;
        }
    }
    return best;
}

static glm_ids encode_by_definition(const glm_vocab *vocab, const char *piece, int64_t n_bytes) {
    glm_ids ids = {0};
    const int32_t whole =
            vocab->is_merges_only ? GLM_NO_TOKEN : glm_vocab_find(vocab, piece, n_bytes);
    if (whole != GLM_NO_TOKEN) {
        CHECK(glm_ids_push(&ids, whole) == RT_OK);
        return ids;
    }
    int64_t *starts = malloc((size_t)(n_bytes + 1) * sizeof *starts);
    CHECK(starts);
    for (int64_t i = 0; i <= n_bytes; i++) starts[i] = i;
    int64_t n = n_bytes;
    for (;;) {
        const int64_t i = leftmost_lowest(vocab, piece, starts, n);
        if (i < 0) break;
        join(starts, &n, i);
    }
    for (int64_t i = 0; i < n; i++)
        CHECK(glm_ids_push(&ids, glm_vocab_find(vocab, piece + starts[i],
                                         starts[i + 1] - starts[i])) == RT_OK);
    free(starts);
    return ids;
}

/* Bytes merged to encode the piece; exits when the ids are not those of the definition. */
static int64_t check_piece(const glm_vocab *vocab, const char *piece, int64_t n_bytes) {
    glm_bpe_scratch scratch;
    glm_ids ids = {0};
    CHECK(glm_bpe_scratch_create(vocab, &scratch) == RT_OK);
    CHECK(glm_bpe_encode(vocab, &scratch, piece, n_bytes, &ids) == RT_OK);
    glm_ids wanted = encode_by_definition(vocab, piece, n_bytes);
    CHECK(tokh_same_ids("a piece", &ids, wanted.ids, wanted.n));
    const int64_t bytes_merged = scratch.bytes_merged;
    glm_ids_free(&ids);
    glm_ids_free(&wanted);
    glm_bpe_scratch_free(&scratch);
    return bytes_merged;
}

static void fill_random(uint64_t *random, const char *alphabet, char *piece, int64_t n_bytes) {
    const int64_t n_letters = (int64_t)strlen(alphabet);
    for (int64_t i = 0; i < n_bytes; i++) piece[i] = alphabet[random_below(random, n_letters)];
}

/* One letter: ties everywhere. Two to eight: deep merges. */
static const char *const alphabets[] = {"a", "ab", "abc", "abcdefgh"};

static void check_random_tables(int n_tables, int n_pieces) {
    char piece[200];
    for (int table = 0; table < n_tables; table++) {
        uint64_t random = (uint64_t)table;
        const char *alphabet = alphabets[table % 4];
        glm_vocab vocab;
        tokh_random_vocab(&random, 1 + (int32_t)random_below(&random, 60), alphabet, &vocab);
        vocab.is_merges_only = table / 4 % 2 == 1;
        for (int i = 0; i < n_pieces; i++) {
            const int64_t n_bytes = 1 + random_below(&random, (int64_t)sizeof piece);
            fill_random(&random, alphabet, piece, n_bytes);
            (void)check_piece(&vocab, piece, n_bytes);
        }
        glm_vocab_free(&vocab);
    }
}

static void check_long_pieces(int n_tables) {
    enum { BYTES = 5000 };
    static char piece[BYTES];
    for (int table = 0; table < n_tables; table++) {
        uint64_t random = 1000 + (uint64_t)table;
        const char *alphabet = alphabets[table % 4];
        glm_vocab vocab;
        tokh_random_vocab(&random, 40, alphabet, &vocab);
        fill_random(&random, alphabet, piece, BYTES);
        CHECK(check_piece(&vocab, piece, BYTES) >= BYTES);
        glm_vocab_free(&vocab);
    }
}

/* A piece in which no two bytes follow each other twice, and a table of all these pairs, the last one
 * of lowest rank: pairs form from the right end on, and whether a pair begins at an even place is
 * decided there, however far away. */
static void make_far_sighted(uint64_t *random, char *piece, int64_t n_bytes, glm_vocab *vocab) {
    static bool is_used[256][256];
    CHECK(glm_vocab_create((int32_t)(256 + n_bytes), 256 + 2 * n_bytes, vocab) == RT_OK);
    for (int i = 0; i < 256; i++) {
        const char byte = (char)i;
        CHECK(glm_vocab_add(vocab, &byte, 1) == GLM_NO_TOKEN);
    }
    piece[0] = 'a';
    for (int64_t i = 1; i < n_bytes; i++) {
        do {
            piece[i] = (char)random_below(random, 256);
        } while (is_used[(uint8_t)piece[i - 1]][(uint8_t)piece[i]]);
        is_used[(uint8_t)piece[i - 1]][(uint8_t)piece[i]] = true;
    }
    for (int64_t i = n_bytes - 2; i >= 0; i--)
        CHECK(glm_vocab_add(vocab, piece + i, 2) == GLM_NO_TOKEN);
}

static void check_far_sighted(void) {
    enum { BYTES = 3001 };
    static char piece[BYTES];
    uint64_t random = 7;
    glm_vocab vocab;
    make_far_sighted(&random, piece, BYTES, &vocab);
    /* More than windows alone take: the piece was merged at once in the end. */
    CHECK(check_piece(&vocab, piece, BYTES) > 2 * BYTES);
    glm_vocab_free(&vocab);
}

int main(void) {
    check_random_tables(tokh_is_fast() ? 40 : 400, 50);
    check_long_pieces(tokh_is_fast() ? 4 : 16);
    check_far_sighted();
    return 0;
}
