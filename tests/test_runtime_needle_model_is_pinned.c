/* The embedded checkpoint is the same file everywhere, to the last byte.
 *
 * Method: write it twice into fresh directories and compare the SHA-256 of model.safetensors with
 * the one recorded when its answers were checked (tests/golden/README.md). */
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/file.h"
#include "runtime/needle_model.h"

static const char expected[] = "8fdca300e26bb16dbc5e5da965526b25c0f0e91f2c8a3a20b72f78e170db485f";

static int check_one(void) {
    char dir[] = "/tmp/glm1m-test-XXXXXX";
    char path[64];
    if (!mkdtemp(dir)) return 1;
    (void)snprintf(path, sizeof path, "%s/model.safetensors", dir);
    char *bytes = NULL;
    int64_t n_bytes = 0;
    if (glm_needle_model_write(dir) != RT_OK ||
            rt_file_read(path, 1 << 24, &bytes, &n_bytes) != RT_OK) {
        printf("FAIL %s\n", rt_error_text());
        return 1;
    }
    unsigned char digest[EVP_MAX_MD_SIZE];
    char hex[65] = "";
    unsigned int n_digest = 0;
    if (!EVP_Digest(bytes, (size_t)n_bytes, digest, &n_digest, EVP_sha256(), NULL)) return 1;
    for (unsigned int i = 0; i < 32; i++) (void)snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    free(bytes);
    if (strcmp(hex, expected) != 0) printf("FAIL sha256 %s, expected %s\n", hex, expected);

    char command[64];
    (void)snprintf(command, sizeof command, "rm -r %s", dir);
    return system(command) != 0 || strcmp(hex, expected) != 0;
}

int main(void) {
    return check_one() || check_one();
}
