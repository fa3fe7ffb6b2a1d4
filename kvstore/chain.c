#include "chain.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "numbers are hashed as they lie");

/* ---- hashes ---------------------------------------------------------------------------------- */

bool kv_hash_equal(const kv_hash *a, const kv_hash *b) {
    return memcmp(a, b, sizeof *a) == 0;
}

const char *kv_hash_hex(const kv_hash *hash, char text[KV_HEX_BYTES]) {
    static const char digits[] = "0123456789abcdef";
    for (int i = 0; i < KV_HASH_BYTES; i++) {
        text[2 * i] = digits[hash->bytes[i] >> 4];
        text[2 * i + 1] = digits[hash->bytes[i] & 15];
    }
    text[2 * KV_HASH_BYTES] = 0;
    return text;
}

static int digit_value(char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool kv_hash_parse(const char *text, kv_hash *out) {
    for (int i = 0; i < KV_HASH_BYTES; i++) {
        const int high = digit_value(text[2 * i]);
        const int low = high < 0 ? -1 : digit_value(text[2 * i + 1]);
        if (low < 0) return false;
        out->bytes[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

/* ---- the chain ------------------------------------------------------------------------------- */

typedef struct part {
    const void *bytes;
    size_t n_bytes;
} part;

static rt_status hash_parts(const part *parts, int n_parts, kv_hash *out) {
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool is_good = context && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1;
    for (int i = 0; i < n_parts && is_good; i++)
        is_good = EVP_DigestUpdate(context, parts[i].bytes, parts[i].n_bytes) == 1;
    is_good = is_good && EVP_DigestFinal_ex(context, out->bytes, NULL) == 1;
    EVP_MD_CTX_free(context);
    return is_good ? RT_OK : rt_fail(RT_ENOMEM, "kvstore: cannot compute a SHA-256");
}

rt_status kv_chain_root(const kv_hash *fingerprint, kv_hash *out) {
    static const char tag[] = "glm1m chain root 1";
    const part parts[] = {{tag, sizeof tag}, {fingerprint, sizeof *fingerprint}};
    return hash_parts(parts, 2, out);
}

rt_status kv_chain_next(const kv_hash *parent, const int32_t *ids, int32_t n_tokens, kv_hash *out) {
    static const char tag[] = "glm1m chain next 1";
    const part parts[] = {{tag, sizeof tag}, {parent, sizeof *parent}, {&n_tokens, sizeof n_tokens},
            {ids, (size_t)n_tokens * sizeof *ids}};
    return hash_parts(parts, 4, out);
}

/* ---- texts ----------------------------------------------------------------------------------- */

static const char *next_line(const char *line) {
    line += strcspn(line, "\n");
    return line + (*line == '\n');
}

/* The line of `text` with the key of `line`; NULL: none. */
static const char *line_like(const char *text, const char *line) {
    const size_t key_bytes = strcspn(line, "=\n") + 1;
    for (; *text; text = next_line(text))
        if (strncmp(text, line, key_bytes) == 0) return text;
    return NULL;
}

/* Append words and a line; what is no character becomes '?'. */
static void say(char *out, int64_t room, const char *words, const char *line) {
    const int64_t used = (int64_t)strlen(out);
    if (used + 1 >= room) return;
    (void)snprintf(
            out + used, (size_t)(room - used), "%s%.*s", words, (int)strcspn(line, "\n"), line);
    for (char *c = out + used; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f) *c = '?';
}

static bool is_same_line(const char *a, const char *b) {
    const size_t n = strcspn(a, "\n");
    return n == strcspn(b, "\n") && strncmp(a, b, n) == 0;
}

const char *kv_fingerprint_difference(
        const char *there, const char *here, char *out, int64_t room) {
    *out = 0;
    for (const char *line = there; *line; line = next_line(line)) {
        const char *match = line_like(here, line);
        if (*line == '\n' || (match && is_same_line(line, match))) continue;
        say(out, room, *out ? "; " : "", line);
        say(out, room, match ? ", this run has " : ", which this run has not", match ? match : "");
    }
    for (const char *line = here; *line; line = next_line(line))
        if (*line != '\n' && !line_like(there, line))
            say(out, room, *out ? "; this run has " : "less, this run has ", line);
    return out;
}
