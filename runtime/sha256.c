#include "sha256.h"

#include <openssl/evp.h>
#include <stdlib.h>

#include "base/memory.h"

struct glm_sha256 {
    EVP_MD_CTX *context;
};

static rt_status check(int is_done) {
    return is_done == 1 ? RT_OK : rt_fail(RT_ENOMEM, "sha256: no memory for libcrypto");
}

rt_status glm_sha256_create(glm_sha256 **out) {
    glm_sha256 *sha = NULL;
    RT_TRY(rt_calloc(1, sizeof *sha, "a SHA-256", &sha));
    sha->context = EVP_MD_CTX_new();
    const rt_status status =
            check(sha->context && EVP_DigestInit_ex(sha->context, EVP_sha256(), NULL) == 1);
    if (status == RT_OK)
        *out = sha;
    else
        glm_sha256_free(sha);
    return status;
}

void glm_sha256_free(glm_sha256 *sha) {
    if (!sha) return;
    EVP_MD_CTX_free(sha->context);
    free(sha);
}

rt_status glm_sha256_add(glm_sha256 *sha, const void *bytes, int64_t n_bytes) {
    rt_assert(n_bytes >= 0);
    return check(EVP_DigestUpdate(sha->context, bytes, (size_t)n_bytes));
}

rt_status glm_sha256_add_field(glm_sha256 *sha, const void *bytes, int64_t n_bytes) {
    uint8_t number[8];
    for (int i = 0; i < 8; i++) number[i] = (uint8_t)(n_bytes >> (8 * i));
    RT_TRY(glm_sha256_add(sha, number, sizeof number));
    return glm_sha256_add(sha, bytes, n_bytes);
}

rt_status glm_sha256_finish(glm_sha256 *sha, uint8_t digest[GLM_SHA256_BYTES]) {
    RT_TRY(check(EVP_DigestFinal_ex(sha->context, digest, NULL)));
    return check(EVP_DigestInit_ex(sha->context, EVP_sha256(), NULL));
}

rt_status glm_sha256_of(const void *bytes, int64_t n_bytes, uint8_t digest[GLM_SHA256_BYTES]) {
    return check(EVP_Digest(bytes, (size_t)n_bytes, digest, NULL, EVP_sha256(), NULL));
}

static rt_status add_pieces(
        glm_sha256 *sha, const char *bytes, int64_t n_bytes, const glm_watch *watch) {
    enum { PIECE_BYTES = 16 * GLM_WATCH_BYTES };
    for (int64_t done = 0; done < n_bytes;) {
        const int64_t n = n_bytes - done < PIECE_BYTES ? n_bytes - done : PIECE_BYTES;
        RT_TRY(glm_sha256_add(sha, bytes + done, n));
        done += n;
        if (n_bytes > PIECE_BYTES) RT_TRY(glm_watch_at(watch, "hashed", done, n_bytes));
    }
    return RT_OK;
}

rt_status glm_sha256_of_text(const void *bytes, int64_t n_bytes, const glm_watch *watch,
        uint8_t digest[GLM_SHA256_BYTES]) {
    glm_sha256 *sha = NULL;
    RT_TRY(glm_sha256_create(&sha));
    rt_status status = add_pieces(sha, bytes, n_bytes, watch);
    if (status == RT_OK) status = glm_sha256_finish(sha, digest);
    glm_sha256_free(sha);
    return status;
}

const char *glm_sha256_hex(const uint8_t digest[GLM_SHA256_BYTES], char hex[GLM_SHA256_HEX]) {
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < GLM_SHA256_BYTES; i++) {
        hex[2 * i] = digits[digest[i] >> 4];
        hex[2 * i + 1] = digits[digest[i] & 15];
    }
    hex[GLM_SHA256_HEX - 1] = '\0';
    return hex;
}
