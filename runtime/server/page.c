#include "page.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "runtime/sha256.h"

enum { HASH_BYTES = 4 * ((GLM_SHA256_BYTES + 2) / 3) + 1 }; /* in base64, with a NUL */

/* Of what stands between an element's tags, which the page has once. */
static rt_status hash_element(const char *begin, const char *end, char hash[HASH_BYTES]) {
    uint8_t digest[GLM_SHA256_BYTES];
    const char *from = strstr(srv_page, begin);
    const char *to = from ? strstr(from, end) : NULL;
    rt_assert(to);
    from += strlen(begin);
    RT_TRY(glm_sha256_of(from, to - from, digest));
    (void)EVP_EncodeBlock((unsigned char *)hash, digest, GLM_SHA256_BYTES);
    return RT_OK;
}

rt_status srv_page_policy(char policy[SRV_PAGE_POLICY_BYTES]) {
    char style[HASH_BYTES];
    char script[HASH_BYTES];
    RT_TRY(hash_element("<style>", "</style>", style));
    RT_TRY(hash_element("<script>", "</script>", script));
    (void)snprintf(policy, SRV_PAGE_POLICY_BYTES,
            "default-src 'none'; style-src 'sha256-%s'; script-src 'sha256-%s'; "
            "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
            "frame-ancestors 'none'",
            style, script);
    return RT_OK;
}
