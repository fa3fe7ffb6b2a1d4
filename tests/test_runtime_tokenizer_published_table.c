/* Every id of the published tokenizer, however a text reaches it, and the same ids from either form
 * of the files.
 *
 * Method: the published tokenizer.model. (1) Each token's bytes as a text: 1077 are broken UTF-8,
 * 267 the pattern cuts (" 1", "2020"), every other one is its own encoding. (2) Each merged from
 * single bytes, by a definition written down here and by ours: 893 do not come about, which are
 * tokens only as whole pieces. (3) All 151552 ids decoded: tokens, control tokens, 209 padding rows that print
 * nothing. (4) The novel's ids have the sum that tiktoken's have (tests/golden/README.md). (5) The
 * table written as tokenizer.json with every merge, as Hugging Face's converter does: the same ids
 * for the novel; and with ignore_merges false, those of merging alone. Under GLM_TEST_FAST every
 * 16th token of (1) and (2), not counted, and no (5). */
#include <openssl/sha.h>

#include "help_dir.h"
#include "help_tokenizer.h"
#include "runtime/base/file.h"
#include "runtime/base/size.h"
#include "runtime/tokenizer_bpe.h"
#include "runtime/tokenizer_files.h"
#include "runtime/tokenizer_scan.h"
#include "runtime/utf8.h"

enum { TOKENS = 151329, IDS = 151343, ROWS = 151552, BROKEN = 1077, CUT = 267, UNMERGED = 893 };

static char *data_path(const char *name) {
    char *path = NULL;
    CHECK(rt_path_join(getenv("GLM_TEST_DATA"), name, &path) == RT_OK);
    return path;
}

static bool is_utf8(const char *bytes, int64_t n_bytes) {
    uint32_t code_point;
    for (int64_t at = 0; at < n_bytes;) {
        const int n = glm_utf8_decode(bytes + at, n_bytes - at, &code_point);
        if (n == 0) return false;
        at += n;
    }
    return true;
}

/* ---- (1) ------------------------------------------------------------------------------------- */

static int32_t token_step(void) {
    return tokh_is_fast() ? 16 : 1;
}

static void check_whole_tokens(const glm_tokenizer *tokenizer) {
    int n_broken = 0;
    int n_cut = 0;
    for (int32_t id = 0; id < TOKENS; id += token_step()) {
        int64_t n;
        bool is_special;
        const char *bytes = glm_tokenizer_bytes(tokenizer, id, &n, &is_special);
        CHECK(n > 0 && n <= 512 && !is_special);
        const bool is_broken = !is_utf8(bytes, n);
        const bool is_cut = !is_broken && glm_scan_piece(bytes, n, 0) != n;
        n_broken += is_broken;
        n_cut += is_cut;
        glm_ids ids = {0};
        CHECK(glm_tokenizer_encode(tokenizer, bytes, n, false, &ids) == RT_OK);
        if (!is_broken) CHECK((ids.n == 1 && ids.ids[0] == id) == !is_cut);
        glm_ids_free(&ids);
    }
    CHECK(tokh_is_fast() || (n_broken == BROKEN && n_cut == CUT));
    int64_t n;
    const char *spaces = glm_tokenizer_bytes(tokenizer, 112972, &n, NULL);
    CHECK(n == 512 && strspn(spaces, " ") >= 512);
}

/* ---- (2) ------------------------------------------------------------------------------------- */

/* Join the leftmost pair of lowest rank until there is none; the number of tokens left. */
static int64_t n_merged(const glm_vocab *vocab, const char *bytes, int64_t n_bytes) {
    int64_t edges[513];
    int64_t n = n_bytes;
    for (int64_t i = 0; i <= n; i++) edges[i] = i;
    for (;;) {
        int32_t lowest = GLM_NO_TOKEN;
        int64_t place = -1;
        for (int64_t i = 0; i + 1 < n; i++) {
            const int32_t rank = glm_vocab_find(vocab, bytes + edges[i], edges[i + 2] - edges[i]);
            if (rank < lowest) place = i;
            if (rank < lowest) lowest = rank;
        }
        if (place < 0) return n;
        memmove(&edges[place + 1], &edges[place + 2], (size_t)(n - place - 1) * sizeof *edges);
        n--;
    }
}

static void check_merging(glm_vocab *vocab) {
    int n_unmerged = 0;
    glm_bpe_scratch scratch;
    glm_ids ids = {0};
    CHECK(glm_bpe_scratch_create(vocab, &scratch) == RT_OK);
    vocab->is_merges_only = true;
    for (int32_t id = 0; id < TOKENS; id += token_step()) {
        const char *bytes = vocab->bytes + vocab->starts[id];
        const int64_t n = vocab->starts[id + 1] - vocab->starts[id];
        ids.n = 0;
        CHECK(glm_bpe_encode(vocab, &scratch, bytes, n, &ids) == RT_OK);
        CHECK(ids.n == n_merged(vocab, bytes, n));
        CHECK(ids.n > 1 || ids.ids[0] == id);
        CHECK(ids.n == 1 || is_utf8(bytes, n));
        n_unmerged += ids.n > 1;
    }
    CHECK(tokh_is_fast() || n_unmerged == UNMERGED);
    vocab->is_merges_only = false;
    glm_ids_free(&ids);
    glm_bpe_scratch_free(&scratch);
}

/* ---- (3) ------------------------------------------------------------------------------------- */

static void check_rows(const glm_tokenizer *tokenizer) {
    static const char *const specials[] = {"<|endoftext|>", "[MASK]", "[gMASK]", "[sMASK]", "<sop>",
            "<eop>", "<|system|>", "<|user|>", "<|assistant|>", "<|observation|>",
            "<|begin_of_image|>", "<|end_of_image|>", "<|begin_of_video|>", "<|end_of_video|>"};
    CHECK(glm_tokenizer_size(tokenizer) == IDS);
    for (int32_t id = TOKENS; id < ROWS; id++) {
        int64_t n;
        bool is_special;
        const char *bytes = glm_tokenizer_bytes(tokenizer, id, &n, &is_special);
        const char *wanted = id < IDS ? specials[id - TOKENS] : "";
        CHECK(n == (int64_t)strlen(wanted) && memcmp(bytes, wanted, (size_t)n) == 0);
        CHECK(is_special == (id < IDS));
    }
    const int32_t shown[] = {9703, 151343, 151336, 151551, 11, ROWS, -1};
    char *text = NULL;
    int64_t n_bytes = 0;
    CHECK(glm_tokenizer_decode(tokenizer, shown, 7, true, &text, &n_bytes) == RT_OK);
    CHECK(strcmp(text, "Hello<|user|>,") == 0 && n_bytes == 14);
    free(text);
}

/* ---- (4), (5) -------------------------------------------------------------------------------- */

static glm_ids encode_novel(const glm_tokenizer *tokenizer) {
    char *path = data_path("books/i_promessi_sposi.txt");
    char *text = NULL;
    int64_t n_bytes = 0;
    glm_ids ids = {0};
    CHECK(rt_file_read(path, 16 * RT_MIB, &text, &n_bytes) == RT_OK);
    CHECK(glm_tokenizer_encode(tokenizer, text, n_bytes, false, &ids) == RT_OK);
    free(text);
    free(path);
    return ids;
}

static void check_sum(const glm_ids *ids) {
    static const char wanted[] = "0601f75562c0967c80acb208a9aadb6f70a9b12e3a324c106ce3e8e06753dff3";
    unsigned char digest[SHA256_DIGEST_LENGTH];
    char hex[2 * SHA256_DIGEST_LENGTH + 1];
    tokh_text list = {0};
    for (int64_t i = 0; i < ids->n; i++)
        tokh_printf(&list, "%s%d", i == 0 ? "[" : ", ", (int)ids->ids[i]);
    tokh_put(&list, "]", 1);
    SHA256((const unsigned char *)list.bytes, (size_t)list.n, digest);
    for (size_t i = 0; i < sizeof digest; i++) (void)snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    CHECK(ids->n == 413055 && strcmp(hex, wanted) == 0);
    free(list.bytes);
}

static glm_tokenizer *load_json(const glm_vocab *vocab, bool ignores_merges) {
    const char *dir = help_dir();
    tokh_text json = {0};
    tokh_put_json(&json, vocab);
    if (!ignores_merges) {
        char *flag = strstr(json.bytes, "\"ignore_merges\": true");
        CHECK(flag);
        static const char off[] = "\"ignore_merges\":false";
        for (size_t i = 0; i < sizeof off - 1; i++) flag[i] = off[i];
    }
    tokh_write(dir, "tokenizer.json", json.bytes, json.n);
    tokh_write_config(dir, TOKENS);
    free(json.bytes);
    return tokh_load(dir);
}

static void check_json(const glm_vocab *vocab, const glm_ids *wanted) {
    glm_tokenizer *tokenizer = load_json(vocab, true);
    glm_ids ids = encode_novel(tokenizer);
    CHECK(tokh_same_ids("the novel from tokenizer.json", &ids, wanted->ids, wanted->n));
    check_rows(tokenizer);
    glm_ids_free(&ids);
    glm_tokenizer_free(tokenizer);
}

/* One of the 893 as a text: a token of its own, or what merging makes of it. */
static void check_unmerged(const glm_vocab *vocab) {
    const int32_t whole[] = {99855};
    const int32_t merged[] = {26767, 224, 98580};
    glm_tokenizer *tokenizer = load_json(vocab, false);
    glm_ids ids = tokh_encode(tokenizer, " 参考", false);
    CHECK(tokh_same_ids("merged", &ids, merged, 3));
    glm_ids_free(&ids);
    glm_tokenizer_free(tokenizer);
    tokenizer = tokh_load_published();
    ids = tokh_encode(tokenizer, " 参考", false);
    CHECK(tokh_same_ids("whole", &ids, whole, 1));
    glm_ids_free(&ids);
    glm_tokenizer_free(tokenizer);
}

int main(void) {
    glm_tokenizer *tokenizer = tokh_load_published();
    glm_vocab vocab;
    char *path = data_path("glm-4-9b-chat-1m/tokenizer.model");
    CHECK(glm_read_tokenizer_model(path, &vocab) == RT_OK);
    check_whole_tokens(tokenizer);
    check_merging(&vocab);
    check_rows(tokenizer);
    glm_ids ids = encode_novel(tokenizer);
    check_sum(&ids);
    if (!tokh_is_fast()) {
        check_json(&vocab, &ids);
        check_unmerged(&vocab);
    }
    glm_ids_free(&ids);
    glm_vocab_free(&vocab);
    glm_tokenizer_free(tokenizer);
    free(path);
    return 0;
}
