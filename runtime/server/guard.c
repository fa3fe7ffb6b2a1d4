#include "guard.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "limits.h"
#include "runtime/sha256.h"

rt_status srv_guard_init(srv_guard *guard, const char *host, bool is_loopback, const char *api_key,
        const srv_origins *origins) {
    *guard = (srv_guard){
            .is_loopback = is_loopback, .has_key = api_key != NULL, .origins = *origins};
    (void)snprintf(guard->host, sizeof guard->host, "%s", host);
    if (!api_key) return RT_OK;
    return glm_sha256_of(api_key, (int64_t)strlen(api_key), guard->key);
}

/* Every field of one name: how many, and the last one's value. */
typedef struct fields {
    const char *name;
    int n;
    const char *value;
    size_t n_bytes;
} fields;

static enum MHD_Result take(void *context, enum MHD_ValueKind kind, const char *key,
        size_t key_bytes, const char *value, size_t value_bytes) {
    fields *wanted = context;
    (void)kind;
    if (wanted->name &&
            (strlen(wanted->name) != key_bytes || strncasecmp(key, wanted->name, key_bytes) != 0))
        return MHD_YES;
    wanted->n++;
    wanted->value = value ? value : "";
    wanted->n_bytes = value ? value_bytes : 0;
    return MHD_YES;
}

/* `name` NULL: any. */
static fields find(struct MHD_Connection *connection, const char *name) {
    fields found = {.name = name, .value = ""};
    (void)MHD_get_connection_values_n(connection, MHD_HEADER_KIND, take, &found);
    return found;
}

/* ---- framing --------------------------------------------------------------------------------- */

static bool is_length(const fields *length) {
    if (length->n_bytes == 0 || length->n_bytes > 18) return false;
    for (size_t i = 0; i < length->n_bytes; i++)
        if (length->value[i] < '0' || length->value[i] > '9') return false;
    return true;
}

bool srv_guard_framing(struct MHD_Connection *connection, const char *version, srv_error *error) {
    const fields all = find(connection, NULL);
    const fields length = find(connection, MHD_HTTP_HEADER_CONTENT_LENGTH);
    const fields coding = find(connection, MHD_HTTP_HEADER_TRANSFER_ENCODING);
    const fields packing = find(connection, MHD_HTTP_HEADER_CONTENT_ENCODING);
    if (strcmp(version, "HTTP/1.1") != 0 && strcmp(version, "HTTP/1.0") != 0)
        return srv_refuse(
                error, 505, "http_version", NULL, "HTTP/1.0 and HTTP/1.1 are spoken here");
    if (all.n > srv_limit_of(SRV_HEADER_FIELDS))
        return srv_refuse(error, 431, "too_many_fields", NULL, "the header has %d fields", all.n);
    if (length.n > 1 || coding.n > 1 || (length.n && coding.n))
        return srv_refuse(error, 400, "framing", NULL,
                "one Content-Length or one Transfer-Encoding, not %d and %d", length.n, coding.n);
    if (length.n && !is_length(&length))
        return srv_refuse(error, 400, "framing", NULL, "Content-Length is no plain number");
    if (coding.n && strcasecmp(coding.value, "chunked") != 0)
        return srv_refuse(error, 400, "framing", NULL, "the only Transfer-Encoding is chunked");
    if (packing.n > 1 || (packing.n && strcasecmp(packing.value, "identity") != 0))
        return srv_refuse(error, 415, "content_encoding", NULL,
                "Content-Encoding %.40s is not read here: send the body as it is", packing.value);
    return true;
}

/* ---- where it comes from --------------------------------------------------------------------- */

/* "localhost:8000" -> the length of its name; an IPv6 address keeps its brackets. */
static size_t name_bytes(const char *host) {
    if (host[0] == '[') return strcspn(host, "]") + (strchr(host, ']') != NULL);
    return strcspn(host, ":");
}

static bool is_named(const char *host, size_t n_bytes, const char *name) {
    return strlen(name) == n_bytes && strncasecmp(host, name, n_bytes) == 0;
}

/* A web page elsewhere can have its own name resolve to our address (DNS rebinding). So only names are taken that no DNS
 * answers, and what --host says. */
static bool is_ours(const srv_guard *guard, const char *host) {
    const size_t n = name_bytes(host);
    const char *port = host + n;
    if (port[0] && (port[0] != ':' || strspn(port + 1, "0123456789") != strlen(port + 1)))
        return false;
    if (is_named(host, n, "localhost") || is_named(host, n, "[::1]") ||
            is_named(host, n, guard->host))
        return true;
    return strncmp(host, "127.", 4) == 0 && strspn(host, "0123456789.") == n;
}

/* Of a page of ours: by http, or by https where a proxy in front has the certificate. */
static bool is_own_origin(const char *origin, const char *host) {
    static const char *const schemes[] = {"http://", "https://"};
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
        const size_t n = strlen(schemes[i]);
        if (strncasecmp(origin, schemes[i], n) == 0 && strcasecmp(origin + n, host) == 0)
            return true;
    }
    return false;
}

bool srv_guard_origin(const srv_guard *guard, struct MHD_Connection *connection, srv_error *error) {
    const fields host = find(connection, MHD_HTTP_HEADER_HOST);
    const fields origin = find(connection, MHD_HTTP_HEADER_ORIGIN);
    if (host.n > 1 || (host.n == 0 && guard->is_loopback))
        return srv_refuse(error, 400, "host", NULL, "the request has %d Host fields", host.n);
    if (guard->is_loopback && !is_ours(guard, host.value))
        return srv_refuse(error, 403, "host", NULL,
                "Host is not this machine: localhost, a loopback address, or what --host says; a proxy "
                "in front can send localhost");
    if (origin.n == 0) return true;
    if (origin.n == 1 && (is_own_origin(origin.value, host.value) ||
                                 srv_origins_have(&guard->origins, origin.value)))
        return true;
    return srv_refuse(error, 403, "origin", NULL,
            "pages of other origins are not served: Origin is not Host, which a proxy in front may "
            "have changed, nor one of --allow-origin");
}

/* ---- the key --------------------------------------------------------------------------------- */

enum { KEY_BYTES = 1024 }; /* of one that is given, in base64 */

typedef struct text {
    const char *bytes;
    size_t n;
} text;

/* What follows the scheme's name, and the spaces behind that. */
static bool has_scheme(const fields *given, const char *scheme, text *rest) {
    size_t n = strlen(scheme);
    if (given->n_bytes < n || strncasecmp(given->value, scheme, n) != 0) return false;
    while (n < given->n_bytes && given->value[n] == ' ') n++;
    *rest = (text){given->value + n, given->n_bytes - n};
    return true;
}

/* base64 of "NAME:PASSWORD" -> the password, in `plain`. */
static bool decode_basic(text *value, unsigned char plain[KEY_BYTES]) {
    if (value->n == 0 || value->n > KEY_BYTES || value->n % 4 != 0) return false;
    int n = EVP_DecodeBlock(plain, (const unsigned char *)value->bytes, (int)value->n);
    for (size_t i = value->n; n > 0 && i > value->n - 2 && value->bytes[i - 1] == '='; i--) n--;
    const unsigned char *colon = n > 0 ? memchr(plain, ':', (size_t)n) : NULL;
    if (!colon) return false;
    *value = (text){(const char *)colon + 1, (size_t)(plain + n - colon - 1)};
    return true;
}

/* Pages of other sites, those of --allow-origin among them, must not act with a password that the browser adds by itself. */
static bool is_of_our_page(struct MHD_Connection *connection) {
    const fields site = find(connection, "Sec-Fetch-Site");
    const fields host = find(connection, MHD_HTTP_HEADER_HOST);
    const fields origin = find(connection, MHD_HTTP_HEADER_ORIGIN);
    if (site.n == 0) return origin.n == 0 || is_own_origin(origin.value, host.value);
    return strcasecmp(site.value, "same-origin") == 0 || strcasecmp(site.value, "none") == 0;
}

/* Hashes are compared: the time that takes tells nothing about the key, nor about its length. */
static bool check_key(const srv_guard *guard, text given, srv_error *error) {
    unsigned char hash[GLM_SHA256_BYTES];
    const rt_status status = glm_sha256_of(given.bytes, (int64_t)given.n, hash);
    if (status != RT_OK) return srv_refuse_status(error, status, NULL);
    if (CRYPTO_memcmp(hash, guard->key, sizeof hash) == 0) return true;
    return srv_refuse(error, 401, "invalid_api_key", NULL, "the key is not the one of --api-key");
}

bool srv_guard_key(
        const srv_guard *guard, struct MHD_Connection *connection, bool is_page, srv_error *error) {
    unsigned char plain[KEY_BYTES];
    if (!guard->has_key) return true;
    const fields authorization = find(connection, MHD_HTTP_HEADER_AUTHORIZATION);
    const fields key = find(connection, "X-Api-Key");
    text given = {key.value, key.n_bytes};
    if (authorization.n > 1 || key.n > 1 || authorization.n + key.n == 0)
        return srv_refuse(error, 401, "invalid_api_key", NULL,
                authorization.n + key.n ? "more than one key is given"
                                        : "a key is needed: Authorization: Bearer KEY");
    if (key.n && !check_key(guard, given, error)) return false;
    if (!authorization.n) return true;
    if (has_scheme(&authorization, "Bearer ", &given)) return check_key(guard, given, error);
    if (!has_scheme(&authorization, "Basic ", &given) || !decode_basic(&given, plain))
        return srv_refuse(error, 401, "invalid_api_key", NULL,
                "the schemes are Authorization: Bearer KEY, and Basic with the key as password");
    if (!is_page && !is_of_our_page(connection))
        return srv_refuse(error, 403, "site", NULL, "pages of other sites are not served");
    return check_key(guard, given, error);
}
