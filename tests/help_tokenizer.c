#include "help_tokenizer.h"

#include <inttypes.h>
#include <unistd.h>

#include "help_random.h"
#include "runtime/base/file.h"

bool tokh_is_fast(void) {
    const char *fast = getenv("GLM_TEST_FAST");
    return fast && strcmp(fast, "1") == 0;
}

/* Texts */

void tokh_put(tokh_text *text, const void *bytes, int64_t n_bytes) {
    /* Grows by doubling: capacity is the power of two above n. */
    int64_t capacity = 64;
    while (capacity <= text->n) capacity *= 2;
    if (!text->bytes || text->n + n_bytes >= capacity) {
        while (capacity <= text->n + n_bytes) capacity *= 2;
        text->bytes = realloc(text->bytes, (size_t)capacity);
        CHECK(text->bytes);
    }
    memcpy(text->bytes + text->n, bytes, (size_t)n_bytes);
    text->n += n_bytes;
    text->bytes[text->n] = '\0';
}

void tokh_printf(tokh_text *text, const char *format, ...) {
    char *line = NULL;
    va_list args;
    va_start(args, format);
    const int n = vasprintf(&line, format, args);
    va_end(args);
    CHECK(n >= 0);
    tokh_put(text, line, n);
    free(line);
}

/* Directories */

void tokh_write(const char *dir, const char *name, const char *bytes, int64_t n_bytes) {
    char *path = NULL;
    CHECK(rt_path_join(dir, name, &path) == RT_OK);
    FILE *file = fopen(path, "wb");
    CHECK(file);
    const size_t n = n_bytes < 0 ? strlen(bytes) : (size_t)n_bytes;
    CHECK(fwrite(bytes, 1, n, file) == n);
    CHECK(fclose(file) == 0);
    free(path);
}

void tokh_remove(const char *dir, const char *name) {
    char *path = NULL;
    if (rt_path_join(dir, name, &path) != RT_OK) return;
    (void)unlink(path);
    free(path);
}

/* Files */

void tokh_put_line(tokh_text *text, const char *token, int64_t n_bytes, int64_t rank) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (int64_t i = 0; i < n_bytes; i += 3) {
        uint32_t bits = 0;
        for (int64_t k = i; k < i + 3; k++)
            bits = bits << 8 | (k < n_bytes ? (uint8_t)token[k] : 0u);
        char quad[4];
        for (int k = 0; k < 4; k++) quad[k] = digits[bits >> (18 - 6 * k) & 63];
        for (int64_t k = n_bytes - i + 1; k < 4; k++) quad[k] = '=';
        tokh_put(text, quad, 4);
    }
    tokh_printf(text, " %" PRId64 "\n", rank);
}

void tokh_put_bytes(tokh_text *text) {
    for (int byte = 0; byte < 256; byte++) {
        const char token = (char)byte;
        tokh_put_line(text, &token, 1, byte);
    }
}

void tokh_write_config(const char *dir, int64_t first_id) {
    static const char *const names[] = {"<|endoftext|>", "[MASK]", "[gMASK]", "[sMASK]", "<sop>",
            "<eop>", "<|system|>", "<|user|>", "<|assistant|>", "<|observation|>",
            "<|begin_of_image|>", "<|end_of_image|>", "<|begin_of_video|>", "<|end_of_video|>"};
    tokh_text text = {0};
    tokh_printf(&text, "{\"added_tokens_decoder\": {");
    for (int i = 0; i < 14; i++)
        tokh_printf(&text,
                "%s\"%" PRId64 "\": {\"content\": \"%s\", \"lstrip\": false, \"special\": true}",
                i == 0 ? "" : ", ", first_id + i, names[i]);
    tokh_printf(&text, "}}\n");
    tokh_write(dir, "tokenizer_config.json", text.bytes, text.n);
    free(text.bytes);
}

void tokh_write_model(const char *dir, const glm_vocab *vocab) {
    tokh_text text = {0};
    for (int32_t id = 0; id < vocab->n_tokens; id++)
        tokh_put_line(&text, vocab->bytes + vocab->starts[id],
                vocab->starts[id + 1] - vocab->starts[id], id);
    tokh_write(dir, "tokenizer.model", text.bytes, text.n);
    free(text.bytes);
}

/* The byte alphabet of tokenizer.json, as JSON: printable Latin-1 stands for itself, the other bytes
 * count on from U+0100. */
static void put_alphabet(tokh_text *json, const char *bytes, int64_t n_bytes) {
    for (int64_t i = 0; i < n_bytes; i++) {
        unsigned code_point = 0x100;
        const uint8_t byte = (uint8_t)bytes[i];
        for (unsigned b = 0; b <= byte; b++) {
            const bool is_printable = (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b != 0xad);
            if (b == byte && is_printable) code_point = b;
            if (b < byte && !is_printable) code_point++;
        }
        tokh_printf(json, "\\u%04x", code_point);
    }
}

static void put_merges(tokh_text *json, const glm_vocab *vocab) {
    const char *comma = "";
    for (int32_t id = 0; id < vocab->n_tokens; id++) {
        const char *token = vocab->bytes + vocab->starts[id];
        const int64_t n = vocab->starts[id + 1] - vocab->starts[id];
        for (int64_t i = 1; i < n; i++) {
            if (glm_vocab_find(vocab, token, i) == GLM_NO_TOKEN ||
                    glm_vocab_find(vocab, token + i, n - i) == GLM_NO_TOKEN)
                continue;
            tokh_printf(json, "%s\"", comma);
            put_alphabet(json, token, i);
            tokh_put(json, " ", 1);
            put_alphabet(json, token + i, n - i);
            tokh_put(json, "\"", 1);
            comma = ",";
        }
    }
}

const char *const tokh_pre_tokenizer =
        "{\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Split\", \"pattern\": "
        "{\"Regex\": "
        "\"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}{1,3}| "
        "?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+\"}, "
        "\"behavior\": "
        "\"Isolated\", \"invert\": false}, {\"type\": \"ByteLevel\", \"add_prefix_space\": false, "
        "\"trim_offsets\": true, \"use_regex\": false}]}";

void tokh_put_json(tokh_text *json, const glm_vocab *vocab) {
    tokh_printf(json,
            "{\"pre_tokenizer\": %s, \"model\": {\"type\": \"BPE\", "
            "\"ignore_merges\": true, \"vocab\": {",
            tokh_pre_tokenizer);
    for (int32_t id = 0; id < vocab->n_tokens; id++) {
        tokh_printf(json, "%s\"", id == 0 ? "" : ",");
        put_alphabet(
                json, vocab->bytes + vocab->starts[id], vocab->starts[id + 1] - vocab->starts[id]);
        tokh_printf(json, "\":%d", (int)id);
    }
    tokh_printf(json, "}, \"merges\": [");
    put_merges(json, vocab);
    tokh_printf(json, "]}}\n");
}

void tokh_write_json(const char *dir, const glm_vocab *vocab) {
    tokh_text json = {0};
    tokh_put_json(&json, vocab);
    tokh_write(dir, "tokenizer.json", json.bytes, json.n);
    free(json.bytes);
}

/* Tables */

static void add_bytes_shuffled(uint64_t *random, glm_vocab *vocab) {
    char bytes[256];
    for (int i = 0; i < 256; i++) bytes[i] = (char)i;
    for (int i = 255; i > 0; i--) {
        const int64_t k = random_below(random, i + 1);
        const char kept = bytes[i];
        bytes[i] = bytes[k];
        bytes[k] = kept;
    }
    for (int i = 0; i < 256; i++) CHECK(glm_vocab_add(vocab, &bytes[i], 1) == GLM_NO_TOKEN);
}

static bool is_within(const glm_vocab *vocab, int32_t id, const char *alphabet) {
    for (int64_t i = vocab->starts[id]; alphabet && i < vocab->starts[id + 1]; i++)
        if (vocab->bytes[i] == '\0' || !strchr(alphabet, vocab->bytes[i])) return false;
    return true;
}

static int32_t random_token(uint64_t *random, const glm_vocab *vocab, const char *alphabet) {
    for (;;) {
        const int32_t id = (int32_t)random_below(random, vocab->n_tokens);
        if (is_within(vocab, id, alphabet)) return id;
    }
}

void tokh_random_vocab(uint64_t *random, int32_t n_more, const char *alphabet, glm_vocab *vocab) {
    enum { TOKEN_MAX = 64 };
    CHECK(glm_vocab_create(256 + n_more, 256 + TOKEN_MAX * (int64_t)n_more, vocab) == RT_OK);
    add_bytes_shuffled(random, vocab);
    for (int attempts = 0; vocab->n_tokens < 256 + n_more && attempts < 100 * n_more; attempts++) {
        char joined[TOKEN_MAX];
        int64_t n = 0;
        for (int part = 0; part < 2; part++) {
            const int32_t id = random_token(random, vocab, alphabet);
            const int64_t n_bytes = vocab->starts[id + 1] - vocab->starts[id];
            if (n + n_bytes > TOKEN_MAX) break;
            memcpy(joined + n, vocab->bytes + vocab->starts[id], (size_t)n_bytes);
            n += n_bytes;
        }
        (void)glm_vocab_add(vocab, joined, n);
    }
}

/* Tokenizers */

glm_tokenizer *tokh_load(const char *dir) {
    glm_tokenizer *tokenizer = NULL;
    CHECK(glm_tokenizer_load(dir, &tokenizer) == RT_OK);
    return tokenizer;
}

glm_tokenizer *tokh_load_published(void) {
    const char *data = getenv("GLM_TEST_DATA");
    char *dir = NULL;
    char *path = NULL;
    CHECK(rt_path_join(data ? data : ".", "glm-4-9b-chat-1m", &dir) == RT_OK);
    CHECK(rt_path_join(dir, "tokenizer.model", &path) == RT_OK);
    if (!data || !rt_file_exists(path)) {
        (void)printf("skipped: no glm-4-9b-chat-1m/tokenizer.model under GLM_TEST_DATA\n");
        exit(TOKH_SKIP);
    }
    glm_tokenizer *tokenizer = tokh_load(dir);
    free(path);
    free(dir);
    return tokenizer;
}

static void print_ids(const char *what, const int32_t *ids, int64_t n) {
    (void)printf("%s:", what);
    for (int64_t i = 0; i < n; i++) (void)printf(" %" PRId32, ids[i]);
    (void)printf("\n");
}

bool tokh_same_ids(const char *what, const glm_ids *got, const int32_t *wanted, int64_t n_wanted) {
    if (got->n == n_wanted &&
            (n_wanted == 0 || memcmp(got->ids, wanted, (size_t)n_wanted * sizeof *wanted) == 0))
        return true;
    (void)printf("%s\n", what);
    print_ids("  got   ", got->ids, got->n);
    print_ids("  wanted", wanted, n_wanted);
    return false;
}

glm_ids tokh_encode(const glm_tokenizer *tokenizer, const char *text, bool with_special) {
    glm_ids ids = {0};
    CHECK(glm_tokenizer_encode(tokenizer, text, (int64_t)strlen(text), with_special, &ids) ==
            RT_OK);
    return ids;
}
