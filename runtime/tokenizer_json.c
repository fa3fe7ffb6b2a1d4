/* tokenizer.json and tokenizer_config.json, the forms of Hugging Face.
 *
 * tokenizer.json writes a token's bytes as characters, GPT-2's way: a printable Latin-1 byte is the
 * character of that number, the other 68 are U+0100, U+0101, ... in order. We take ids for ranks,
 * so everything in the file that would make its owner's ids differ from ours is refused: another
 * pattern, a normalizer, merges in another order than the ids. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/memory.h"
#include "base/size.h"
#include "json_file.h"
#include "tokenizer_files.h"
#include "utf8.h"

/* A test builds this file with one check missing, to see that its fuzz target notices. */
#ifndef GLM_MUTANT_SAME_ID
#define GLM_MUTANT_SAME_ID 0
#endif

static const int64_t file_bytes_max = 64 * RT_MIB;

static const char *const pattern =
        "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}|"
        " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

/* ---- special tokens -------------------------------------------------------------------------- */

/* Stripping and whole-word matching would change what text around a special token becomes. */
static rt_status check_flags(const char *where, const json_t *token) {
    static const char *const flags[] = {"lstrip", "rstrip", "single_word"};
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        const json_t *flag = json_object_get(token, flags[i]);
        if (flag && !json_is_false(flag))
            return rt_fail(RT_EMODEL, "tokenizer: TK_FLAG: %s: %s must be false", where, flags[i]);
    }
    return RT_OK;
}

static rt_status add_special(const char *where, const json_t *token, int64_t id, int32_t n_tokens,
        glm_special_list *specials) {
    const json_t *content = json_object_get(token, "content");
    if (!json_is_string(content))
        return rt_fail(RT_EMODEL, "tokenizer: TK_TYPE: %s: content is not a string", where);
    RT_TRY(check_flags(where, token));
    return glm_specials_add(specials, where, n_tokens, id, json_string_value(content),
            (int64_t)json_string_length(content));
}

enum { WHERE_BYTES = 1024 };

static rt_status read_added_tokens(
        const char *path, const json_t *root, int32_t n_tokens, glm_special_list *specials) {
    const json_t *tokens = json_object_get(root, "added_tokens");
    if (tokens && !json_is_array(tokens))
        return rt_fail(RT_EMODEL, "tokenizer: TK_TYPE: %s: added_tokens is not an array", path);
    size_t i;
    json_t *token;
    json_array_foreach(tokens, i, token) {
        char where[WHERE_BYTES];
        (void)snprintf(where, sizeof where, "%s: added_tokens[%zu]", path, i);
        const json_t *id = json_object_get(token, "id");
        if (!json_is_integer(id))
            return rt_fail(RT_EMODEL, "tokenizer: TK_TYPE: %s: id is not an integer", where);
        RT_TRY(add_special(where, token, json_integer_value(id), n_tokens, specials));
    }
    return RT_OK;
}

/* "151329" -> 151329; -1 unless it is a decimal number of at most ten digits. */
static int64_t parse_id(const char *key) {
    const size_t n = strspn(key, "0123456789");
    if (n == 0 || n > 10 || key[n] != '\0' || (n > 1 && key[0] == '0')) return -1;
    return strtoll(key, NULL, 10);
}

static rt_status read_decoder(
        const char *path, json_t *root, int32_t n_tokens, glm_special_list *specials) {
    json_t *tokens = json_object_get(root, "added_tokens_decoder");
    if (tokens && !json_is_object(tokens))
        return rt_fail(
                RT_EMODEL, "tokenizer: TK_TYPE: %s: added_tokens_decoder is not an object", path);
    const char *key;
    json_t *token;
    json_object_foreach(tokens, key, token) {
        char where[WHERE_BYTES];
        (void)snprintf(where, sizeof where, "%s: added_tokens_decoder[\"%.32s\"]", path, key);
        const int64_t id = parse_id(key);
        if (id < 0) return rt_fail(RT_EMODEL, "tokenizer: TK_ID: %s: the key is not an id", where);
        RT_TRY(add_special(where, token, id, n_tokens, specials));
    }
    return RT_OK;
}

rt_status glm_read_tokenizer_config(
        const char *path, int32_t n_tokens, glm_special_list *specials) {
    json_t *root;
    rt_status status = glm_json_load("tokenizer", path, file_bytes_max, &root);
    if (status == RT_OK) status = read_decoder(path, root, n_tokens, specials);
    json_decref(root);
    return status;
}

/* ---- ordinary tokens ------------------------------------------------------------------------- */

static bool is_printable_byte(uint32_t byte) {
    return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xff && byte != 0xad);
}

/* The byte that a character stands for, or -1. */
static int alphabet_byte(uint32_t code_point) {
    if (code_point < 0x100) return is_printable_byte(code_point) ? (int)code_point : -1;
    uint32_t n = code_point - 0x100;
    for (uint32_t byte = 0; byte < 0x100; byte++)
        if (!is_printable_byte(byte) && n-- == 0) return (int)byte;
    return -1;
}

/* Characters of the alphabet to bytes; -1 where one is not in it or there are too many. */
static int64_t decode_alphabet(const char *text, int64_t n_chars, char bytes[GLM_TOKEN_BYTES_MAX]) {
    int64_t n_bytes = 0;
    for (int64_t at = 0; at < n_chars;) {
        uint32_t code_point = 0;
        const int length = glm_utf8_decode(text + at, n_chars - at, &code_point);
        const int byte = length == 0 ? -1 : alphabet_byte(code_point);
        if (byte < 0 || n_bytes == GLM_TOKEN_BYTES_MAX) return -1;
        bytes[n_bytes++] = (char)byte;
        at += length;
    }
    return n_bytes;
}

/* The keys of model.vocab by id, borrowed. Ids must be 0..n-1, each once. */
static rt_status sort_vocab(const char *path, json_t *entries, const char **keys) {
    const int64_t n = (int64_t)json_object_size(entries);
    const char *key;
    json_t *value;
    json_object_foreach(entries, key, value) {
        const int64_t id = json_is_integer(value) ? json_integer_value(value) : -1;
        if (id < 0 || id >= n)
            return rt_fail(RT_EMODEL,
                    "tokenizer: TK_ID: %s: model.vocab[\"%.64s\"] is not an id; %" PRId64
                    " tokens have the ids from 0 on without gaps",
                    path, key, n);
        if (keys[id] && !GLM_MUTANT_SAME_ID)
            return rt_fail(RT_EMODEL,
                    "tokenizer: TK_ID_DUP: %s: model.vocab gives id %" PRId64
                    " to \"%.64s\" and \"%.64s\"",
                    path, id, keys[id], key);
        keys[id] = key;
    }
    return RT_OK;
}

static rt_status add_tokens(
        const char *path, const char *const *keys, int64_t n_tokens, glm_vocab *vocab) {
    char bytes[GLM_TOKEN_BYTES_MAX];
    for (int64_t id = 0; id < n_tokens; id++) {
        const int64_t n_bytes = decode_alphabet(keys[id], (int64_t)strlen(keys[id]), bytes);
        if (n_bytes < 1)
            return rt_fail(RT_EMODEL,
                    "tokenizer: TK_ALPHABET: %s: model.vocab[\"%.64s\"] is not 1 to %d characters "
                    "of the byte "
                    "alphabet",
                    path, keys[id], GLM_TOKEN_BYTES_MAX);
        /* Different keys are different bytes: the alphabet has one character a byte. */
        const int32_t earlier = glm_vocab_add(vocab, bytes, n_bytes);
        rt_assert(earlier == GLM_NO_TOKEN);
    }
    const int missing = glm_vocab_missing_byte(vocab);
    if (missing >= 0)
        return rt_fail(RT_EMODEL,
                "tokenizer: TK_BYTE_MISSING: %s: model.vocab lacks the single byte 0x%02x", path,
                (unsigned)missing);
    return RT_OK;
}

static int64_t keys_bytes(json_t *entries) {
    int64_t n = 0;
    const char *key;
    json_t *value;
    json_object_foreach(entries, key, value) n += (int64_t)strlen(key);
    return n;
}

/* What tokenizer.model's form always means is a switch here, off where it is not written: a piece
 * that is a token is that token, though merging may not lead to it (893 of GLM-4's tokens). */
static rt_status read_ignore_merges(const char *path, const json_t *model, glm_vocab *vocab) {
    const json_t *value = json_object_get(model, "ignore_merges");
    if (value && !json_is_boolean(value))
        return rt_fail(RT_EMODEL,
                "tokenizer: TK_TYPE: %s: model.ignore_merges is neither true nor false", path);
    vocab->is_merges_only = !json_is_true(value);
    return RT_OK;
}

static rt_status read_vocab(const char *path, json_t *model, glm_vocab *vocab) {
    json_t *entries = json_object_get(model, "vocab");
    if (!json_is_object(entries))
        return rt_fail(RT_EMODEL, "tokenizer: TK_TYPE: %s: model.vocab is not an object", path);
    const int64_t n = (int64_t)json_object_size(entries);
    if (n > GLM_TOKENS_MAX)
        return rt_fail(RT_EMODEL,
                "tokenizer: TK_TOO_MANY: %s: model.vocab has %" PRId64
                " tokens, at most %d are read",
                path, n, GLM_TOKENS_MAX);
    RT_TRY(glm_vocab_create((int32_t)n, keys_bytes(entries), vocab));
    const char **keys = NULL;
    RT_TRY(rt_calloc(n, sizeof *keys, "the tokens' names", &keys));
    rt_status status = sort_vocab(path, entries, keys);
    if (status == RT_OK) status = add_tokens(path, keys, n, vocab);
    free(keys);
    if (status == RT_OK) status = read_ignore_merges(path, model, vocab);
    return status;
}

/* ---- what must be as GLM-4 has it ------------------------------------------------------------ */

/* A merge is "left right" or ["left", "right"]. */
static bool split_merge(const json_t *merge, const char *parts[2], int64_t n_chars[2]) {
    for (size_t i = 0; i < 2 && json_is_array(merge); i++) {
        const json_t *part = json_array_get(merge, i);
        if (json_array_size(merge) != 2 || !json_is_string(part)) return false;
        parts[i] = json_string_value(part);
        n_chars[i] = (int64_t)json_string_length(part);
    }
    if (json_is_array(merge)) return true;
    const char *text = json_string_value(merge);
    const char *space = text ? strchr(text, ' ') : NULL;
    if (!space) return false;
    parts[0] = text;
    n_chars[0] = space - text;
    parts[1] = space + 1;
    n_chars[1] = (int64_t)json_string_length(merge) - n_chars[0] - 1;
    return true;
}

/* The token that a merge makes out of two; GLM_NO_TOKEN unless all three are tokens. */
static int32_t merge_result(const glm_vocab *vocab, const json_t *merge) {
    const char *parts[2];
    int64_t n_chars[2];
    char bytes[2 * GLM_TOKEN_BYTES_MAX];
    int64_t n_bytes = 0;
    if (!split_merge(merge, parts, n_chars)) return GLM_NO_TOKEN;
    for (int i = 0; i < 2; i++) {
        const int64_t n = decode_alphabet(parts[i], n_chars[i], bytes + n_bytes);
        if (n < 1 || glm_vocab_find(vocab, bytes + n_bytes, n) == GLM_NO_TOKEN) return GLM_NO_TOKEN;
        n_bytes += n;
    }
    return glm_vocab_find(vocab, bytes, n_bytes);
}

/* A token, and the hashes of its beginnings, so that none of its pieces is read anew. */
typedef struct hashed_token {
    char bytes[GLM_TOKEN_BYTES_MAX + GLM_KEY_BYTES];
    uint64_t hashes[GLM_TOKEN_BYTES_MAX + 1];
} hashed_token;

static int64_t hash_token(const glm_vocab *vocab, int32_t id, hashed_token *token) {
    const int64_t n = vocab->starts[id + 1] - vocab->starts[id];
    memcpy(token->bytes, vocab->bytes + vocab->starts[id], (size_t)n);
    token->hashes[0] = 0;
    for (int64_t i = 0; i < n; i++)
        token->hashes[i + 1] = glm_hash_byte(token->hashes[i], token->bytes[i]);
    return n;
}

static bool is_token(
        const glm_vocab *vocab, const hashed_token *token, int64_t start, int64_t end) {
    const int32_t id =
            end - start < 3 ? glm_vocab_find(vocab, token->bytes + start, end - start)
                            : glm_vocab_find_span(vocab, token->bytes, token->hashes, start, end);
    return id != GLM_NO_TOKEN;
}

/* How many ways there are to join two tokens to a third. */
static int64_t count_joins(const glm_vocab *vocab) {
    int64_t n_joins = 0;
    hashed_token token = {{0}, {0}};
    for (int32_t id = 0; id < vocab->n_tokens; id++) {
        const int64_t n = hash_token(vocab, id, &token);
        for (int64_t i = 1; i < n; i++)
            n_joins += is_token(vocab, &token, 0, i) && is_token(vocab, &token, i, n);
    }
    return n_joins;
}

/* Earlier merges must make lower ids: only then are ids ranks. */
static rt_status check_merges(const char *path, const json_t *model, const glm_vocab *vocab) {
    const json_t *merges = json_object_get(model, "merges");
    if (!json_is_array(merges))
        return rt_fail(RT_EMODEL, "tokenizer: TK_TYPE: %s: model.merges is not an array", path);
    int32_t before = 0;
    size_t i;
    json_t *merge;
    json_array_foreach(merges, i, merge) {
        const int32_t id = merge_result(vocab, merge);
        if (id == GLM_NO_TOKEN)
            return rt_fail(RT_EMODEL,
                    "tokenizer: TK_MERGE: %s: model.merges[%zu] does not join two tokens to a "
                    "third",
                    path, i);
        if (id < before)
            return rt_fail(RT_EMODEL,
                    "tokenizer: TK_MERGE_ORDER: %s: model.merges[%zu] makes token %" PRId32
                    " after token %" PRId32 ": ids are not ranks",
                    path, i, id, before);
        before = id;
    }
    const int64_t n_joins = count_joins(vocab);
    if ((int64_t)i < n_joins)
        rt_log(RT_LOG_WARN, "tokenizer",
                "%s lists %zu of %" PRId64
                " merges; all are used, as with tokenizer.model, which can give other ids",
                path, i, n_joins);
    return RT_OK;
}

static bool is_type(const json_t *object, const char *type) {
    const char *name = json_string_value(json_object_get(object, "type"));
    return name && strcmp(name, type) == 0;
}

/* Absent, null or the empty string. */
static bool is_unset(const json_t *value) {
    return !value || json_is_null(value) ||
           (json_is_string(value) && json_string_length(value) == 0);
}

static rt_status check_model(const char *path, const json_t *model) {
    static const char *const unset[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    if (!json_is_object(model))
        return rt_fail(RT_EMODEL, "tokenizer: TK_TYPE: %s: model is not an object", path);
    if (json_object_get(model, "type") && !is_type(model, "BPE"))
        return rt_fail(RT_EMODEL, "tokenizer: TK_KIND: %s: model.type is not BPE", path);
    for (size_t i = 0; i < sizeof unset / sizeof *unset; i++)
        if (!is_unset(json_object_get(model, unset[i])))
            return rt_fail(
                    RT_EMODEL, "tokenizer: TK_KIND: %s: model.%s must be empty", path, unset[i]);
    return RT_OK;
}

static rt_status check_split(const char *path, const json_t *split) {
    const char *regex =
            json_string_value(json_object_get(json_object_get(split, "pattern"), "Regex"));
    const char *behavior = json_string_value(json_object_get(split, "behavior"));
    if (!regex || strcmp(regex, pattern) != 0)
        return rt_fail(RT_EMODEL,
                "tokenizer: TK_PATTERN: %s: pre_tokenizer: the pattern is not GLM-4's", path);
    if (!behavior || strcmp(behavior, "Isolated") != 0 ||
            json_is_true(json_object_get(split, "invert")))
        return rt_fail(RT_EMODEL,
                "tokenizer: TK_PATTERN: %s: pre_tokenizer: Split must be Isolated", path);
    return RT_OK;
}

/* Split by our pattern, then bytes to characters without adding or splitting anything. */
static rt_status check_pre_tokenizer(const char *path, const json_t *root) {
    const json_t *sequence = json_object_get(root, "pre_tokenizer");
    if (is_unset(sequence)) {
        rt_log(RT_LOG_WARN, "tokenizer", "%s names no pattern, GLM-4's is taken", path);
        return RT_OK;
    }
    const json_t *steps = json_object_get(sequence, "pretokenizers");
    const json_t *bytes = json_array_get(steps, 1);
    if (!is_type(sequence, "Sequence") || json_array_size(steps) != 2 ||
            !is_type(json_array_get(steps, 0), "Split") || !is_type(bytes, "ByteLevel"))
        return rt_fail(RT_EMODEL,
                "tokenizer: TK_PATTERN: %s: pre_tokenizer is not Split and ByteLevel", path);
    if (!json_is_false(json_object_get(bytes, "add_prefix_space")) ||
            !json_is_false(json_object_get(bytes, "use_regex")))
        return rt_fail(RT_EMODEL,
                "tokenizer: TK_PATTERN: %s: pre_tokenizer: ByteLevel must have add_prefix_space "
                "and use_regex "
                "false",
                path);
    return check_split(path, json_array_get(steps, 0));
}

static rt_status read_tokens(const char *path, const json_t *root, glm_vocab *vocab) {
    json_t *model = json_object_get(root, "model");
    RT_TRY(check_model(path, model));
    if (!is_unset(json_object_get(root, "normalizer")))
        return rt_fail(RT_EMODEL, "tokenizer: TK_KIND: %s: GLM-4 has no normalizer", path);
    RT_TRY(check_pre_tokenizer(path, root));
    RT_TRY(read_vocab(path, model, vocab));
    return check_merges(path, model, vocab);
}

rt_status glm_read_tokenizer_json(
        const char *path, glm_vocab *vocab, int32_t n_tokens, glm_special_list *specials) {
    if (vocab) memset(vocab, 0, sizeof *vocab);
    json_t *root;
    rt_status status = glm_json_load("tokenizer", path, file_bytes_max, &root);
    if (status == RT_OK && vocab) status = read_tokens(path, root, vocab);
    if (status == RT_OK)
        status = read_added_tokens(path, root, vocab ? vocab->n_tokens : n_tokens, specials);
    json_decref(root);
    return status;
}
