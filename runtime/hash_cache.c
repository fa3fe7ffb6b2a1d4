/* hashes.json in our cache directory, newest entry first:
 *
 *   {"version": 1, "hashes": [
 *     {"file": "device:inode:size:write-time:change-time", "sha256": "...", "check": "..."}, ...]}
 *
 * "check" is the first half of the SHA-256 of the other two: an entry that was torn, edited or has
 * rotted is none. The file is only ever replaced whole. It decides which stored KV is taken for a
 * model's own, so that it must be ours alone: directory and file belong to this user and nobody
 * else may write to them. */
#include "hash_cache.h"

#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/size.h"
#include "hub.h"

enum {
    VERSION = 1,
    ENTRIES_MAX = 256,  /* some 60 KB */
    SETTLE_SECONDS = 2, /* the coarsest clock of a file system in use, FAT's */
    KEY_BYTES = 160,
    CHECK_BYTES = GLM_SHA256_BYTES + 1 /* hex of half a digest, and a NUL */
};

static const int64_t cache_bytes_max = RT_MIB;

/* ---- one entry ------------------------------------------------------------------------------- */

static const char *key_of(const struct stat *info, char key[KEY_BYTES]) {
    (void)snprintf(key, KEY_BYTES, "%ju:%ju:%jd:%jd.%09ld:%jd.%09ld", (uintmax_t)info->st_dev,
            (uintmax_t)info->st_ino, (intmax_t)info->st_size, (intmax_t)info->st_mtim.tv_sec,
            info->st_mtim.tv_nsec, (intmax_t)info->st_ctim.tv_sec, info->st_ctim.tv_nsec);
    return key;
}

static rt_status check_of(const char *key, const char *hex, char check[CHECK_BYTES]) {
    char text[KEY_BYTES + GLM_SHA256_HEX + 1];
    uint8_t digest[GLM_SHA256_BYTES];
    char digest_hex[GLM_SHA256_HEX];
    const int n = snprintf(text, sizeof text, "%s %s", key, hex);
    RT_TRY(glm_sha256_of(text, n, digest));
    (void)snprintf(check, CHECK_BYTES, "%.*s", CHECK_BYTES - 1, glm_sha256_hex(digest, digest_hex));
    return RT_OK;
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool parse_hex(const char *hex, uint8_t hash[GLM_SHA256_BYTES]) {
    if (strlen(hex) != GLM_SHA256_HEX - 1) return false;
    for (size_t i = 0; i < GLM_SHA256_BYTES; i++) {
        const int high = hex_digit(hex[2 * i]);
        const int low = hex_digit(hex[2 * i + 1]);
        if (high < 0 || low < 0) return false;
        hash[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static const char *text_of(const json_t *entry, const char *name) {
    const char *text = json_string_value(json_object_get(entry, name));
    return text ? text : "";
}

static bool is_of(const json_t *entry, const char *key) {
    return strcmp(text_of(entry, "file"), key) == 0;
}

static bool read_entry(const json_t *entry, const char *key, uint8_t hash[GLM_SHA256_BYTES]) {
    char check[CHECK_BYTES];
    const char *hex = text_of(entry, "sha256");
    return is_of(entry, key) && parse_hex(hex, hash) && check_of(key, hex, check) == RT_OK &&
           strcmp(text_of(entry, "check"), check) == 0;
}

/* ---- the file -------------------------------------------------------------------------------- */

static bool is_ours_alone(const struct stat *info) {
    return info->st_uid == geteuid() && (info->st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

/* RT_EIO where there is no file, too. */
static rt_status read_cache(const char *path, char **text, int64_t *n_bytes) {
    struct stat info;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    if (fd < 0) return rt_fail_errno(RT_EIO, "hash cache: cannot open %s", path);
    rt_status status = RT_OK;
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode) || !is_ours_alone(&info) ||
            info.st_size > cache_bytes_max)
        status = rt_fail(RT_EIO, "hash cache: %s is no file of this user alone", path);
    *n_bytes = info.st_size;
    if (status == RT_OK) {
        *text = malloc((size_t)*n_bytes + 1);
        status = *text ? rt_file_pread(fd, path, *text, *n_bytes, 0)
                       : rt_fail(RT_ENOMEM, "hash cache: no memory for %s", path);
    }
    (void)close(fd);
    return status;
}

/* The "hashes" of the file; NULL where there are none to be had. A new reference. */
static json_t *load(const char *path) {
    char *text = NULL;
    int64_t n_bytes = 0;
    json_t *root = NULL;
    if (read_cache(path, &text, &n_bytes) == RT_OK)
        root = json_loadb(text, (size_t)n_bytes, 0, NULL);
    free(text);
    json_t *hashes = json_object_get(root, "hashes");
    const bool is_known = json_integer_value(json_object_get(root, "version")) == VERSION;
    hashes = is_known && json_is_array(hashes) ? json_incref(hashes) : NULL;
    json_decref(root);
    return hashes;
}

static rt_status save(const char *path, json_t *hashes) {
    json_t *root = json_pack("{s:i, s:O}", "version", VERSION, "hashes", hashes);
    char *text = root ? json_dumps(root, JSON_INDENT(1)) : NULL;
    json_decref(root);
    if (!text) return rt_fail(RT_ENOMEM, "hash cache: no memory for the text of %s", path);
    const rt_status status = rt_file_replace(path, text, (int64_t)strlen(text));
    free(text);
    return status;
}

/* Ours alone, made where it is not yet; the path of the file in it for free(). */
static rt_status find_cache(char **path) {
    char *dir = NULL;
    struct stat info;
    RT_TRY(glm_cache_directory(&dir));
    rt_status status = rt_mkdirs(dir);
    if (status == RT_OK && stat(dir, &info) != 0)
        status = rt_fail_errno(RT_EIO, "hash cache: cannot stat %s", dir);
    if (status == RT_OK && !is_ours_alone(&info))
        status = rt_fail(RT_EIO, "hash cache: %s is not this user's alone", dir);
    if (status == RT_OK) status = rt_path_join(dir, "hashes.json", path);
    free(dir);
    return status;
}

/* ---- finding and storing --------------------------------------------------------------------- */

bool glm_hash_cache_find(const struct stat *info, uint8_t hash[GLM_SHA256_BYTES]) {
    char key[KEY_BYTES];
    char *path = NULL;
    if (find_cache(&path) != RT_OK) return false;
    json_t *hashes = load(path);
    free(path);
    (void)key_of(info, key);
    bool is_found = false;
    for (size_t i = 0; i < json_array_size(hashes) && !is_found; i++)
        is_found = read_entry(json_array_get(hashes, i), key, hash);
    json_decref(hashes);
    return is_found;
}

/* The entry in front of the others, each file once, the oldest dropped. */
static rt_status insert(json_t *hashes, const char *key, const uint8_t hash[GLM_SHA256_BYTES]) {
    char hex[GLM_SHA256_HEX];
    char check[CHECK_BYTES];
    RT_TRY(check_of(key, glm_sha256_hex(hash, hex), check));
    for (size_t i = json_array_size(hashes); i-- > 0;)
        if (is_of(json_array_get(hashes, i), key)) (void)json_array_remove(hashes, i);
    while (json_array_size(hashes) >= ENTRIES_MAX)
        (void)json_array_remove(hashes, json_array_size(hashes) - 1);
    json_t *entry = json_pack("{s:s, s:s, s:s}", "file", key, "sha256", hex, "check", check);
    if (entry && json_array_insert_new(hashes, 0, entry) == 0) return RT_OK;
    return rt_fail(RT_ENOMEM, "hash cache: no memory for an entry");
}

static rt_status store(const struct stat *info, const uint8_t hash[GLM_SHA256_BYTES]) {
    char key[KEY_BYTES];
    char *path = NULL;
    RT_TRY(find_cache(&path));
    json_t *hashes = load(path);
    if (!hashes) hashes = json_array();
    rt_status status = insert(hashes, key_of(info, key), hash);
    if (status == RT_OK) status = save(path, hashes);
    json_decref(hashes);
    free(path);
    return status;
}

void glm_hash_cache_store(const struct stat *info, const uint8_t hash[GLM_SHA256_BYTES]) {
    if (store(info, hash) != RT_OK) rt_log(RT_LOG_INFO, "identity", "%s", rt_error_text());
}

bool glm_hash_cache_is_settled(const struct stat *info) {
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0) return false;
    return now.tv_sec - info->st_ctim.tv_sec > SETTLE_SECONDS;
}
