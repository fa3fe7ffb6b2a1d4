/* A file that was hashed is not read again while it is the same file; nothing else is believed.
 *
 * Method: count the bytes that identifying a model reads, with the cache full, damaged, forged,
 * in the hands of others or impossible, after touching a file, and after changing it behind the
 * back of its time of last write. Then overfill the cache, and let processes store at once. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "help_identity.h"
#include "runtime/base/file.h"
#include "runtime/base/size.h"
#include "runtime/hash_cache.h"

static const char *cache;   /* the file */
static int64_t model_bytes; /* of the model's three shards */
static glm_identity original;

static void expect_reads(int64_t wanted, const char *what) {
    int64_t bytes_read = -1;
    const glm_identity identity = identity_of("model", &bytes_read);
    identity_expect(identity_is_equal(&identity, &original), what);
    if (bytes_read == wanted) return;
    printf("FAIL %s: %lld bytes were read, not %lld\n", what, (long long)bytes_read,
            (long long)wanted);
    identity_expect(false, what);
}

static void check_hits(void) {
    expect_reads(model_bytes, "settled files, empty cache");
    expect_reads(0, "settled files, known");
}

/* What a cache may look like that must not be believed: all is read, and known again. The command
 * finds the file in $cache. */
static void check_distrust(const char *edit) {
    identity_shell("cache='%s'; %s", cache, edit);
    expect_reads(model_bytes, edit);
    expect_reads(0, "known again");
}

static void check_damage(void) {
    check_distrust("printf '{\"version\": 1, \"hash' >\"$cache\"");
    check_distrust("printf '[]' >\"$cache\"");
    check_distrust("printf '{\"version\": 1, \"hashes\": [1, {\"file\": 2}]}' >\"$cache\"");
    check_distrust("sed -i 's/\"version\": 1/\"version\": 2/' \"$cache\"");
    check_distrust("sed -i 's/\\(\"sha256\": \"\\)./\\1/' \"$cache\"");
    check_distrust("sed -i '/sha256/y/0123456789abcdef/123456789abcdef0/' \"$cache\"");
    check_distrust("chmod 620 \"$cache\"");
    check_distrust("chmod 602 \"$cache\"");
    check_distrust("truncate -s 2M \"$cache\"");
    check_distrust("rm \"$cache\"");
}

/* A good entry for a file of another size, write time or change time is not this file's. */
static void check_forged(void) {
    static const uint8_t wrong[GLM_SHA256_BYTES] = {1, 2, 3};
    uint8_t found[GLM_SHA256_BYTES];
    struct stat info;
    identity_expect(stat(identity_path("model/config.json"), &info) == 0, "stat");
    for (int i = 0; i < 5; i++) {
        struct stat other = info;
        other.st_size += i == 0;
        other.st_mtim.tv_nsec ^= i == 1;
        other.st_ctim.tv_nsec ^= i == 2;
        other.st_ino += i == 3;
        other.st_dev += i == 4;
        glm_hash_cache_store(&other, wrong);
        identity_expect(glm_hash_cache_find(&other, found), "stored is found");
        identity_expect(memcmp(found, wrong, sizeof found) == 0, "as it was stored");
        identity_expect(!glm_hash_cache_find(&info, found), "another file's hash");
    }
}

static void check_impossible_cache(void) {
    identity_expect(setenv("XDG_CACHE_HOME", identity_path("model/config.json"), 1) == 0, "setenv");
    expect_reads(model_bytes, "a file where the cache's directory should be");
    identity_shell("mkdir -p '%s' && chmod 777 '%s'", identity_path("public/glm1m"),
            identity_path("public/glm1m"));
    identity_expect(setenv("XDG_CACHE_HOME", identity_path("public"), 1) == 0, "setenv");
    expect_reads(model_bytes, "a directory that others may write to");
    expect_reads(model_bytes, "a directory that others may write to, again");
    identity_expect(setenv("XDG_CACHE_HOME", identity_path("."), 1) == 0, "setenv");
    expect_reads(0, "back in our own");
}

/* Touched: read again. Too young to be remembered: read each time, until it is old enough. */
static void check_changes(void) {
    const char *shard = identity_path("model/model-00001-of-00003.safetensors");
    struct stat info;
    identity_shell("touch '%s'", shard);
    identity_expect(stat(shard, &info) == 0, shard);
    expect_reads(info.st_size, "a touched file");
    const bool is_young = !glm_hash_cache_is_settled(&info);
    if (is_young) expect_reads(info.st_size, "a file too young to be remembered");
    identity_settle("model");
    (void)identity_of("model", NULL);
    expect_reads(0, "a touched file, known again");

    identity_flip(shard, 10);
    int64_t bytes_read = 0;
    const glm_identity other = identity_of("model", &bytes_read);
    identity_expect(!identity_is_equal(&original, &other), "written to, its time set back");
    identity_expect(bytes_read == info.st_size, "only what changed is read");
}

/* ---- many ------------------------------------------------------------------------------------ */

static struct stat made_up(int64_t number, uint8_t hash[GLM_SHA256_BYTES]) {
    struct stat info = {.st_size = number};
    memset(hash, (int)(number % 251), GLM_SHA256_BYTES);
    return info;
}

/* -1 wrong, 0 not there, 1 right */
static int look_up(int64_t number) {
    uint8_t wanted[GLM_SHA256_BYTES];
    uint8_t found[GLM_SHA256_BYTES];
    const struct stat info = made_up(number, wanted);
    if (!glm_hash_cache_find(&info, found)) return 0;
    return memcmp(found, wanted, sizeof found) == 0 ? 1 : -1;
}

static void store(int64_t number) {
    uint8_t hash[GLM_SHA256_BYTES];
    const struct stat info = made_up(number, hash);
    glm_hash_cache_store(&info, hash);
}

static void check_bounded(void) {
    struct stat info;
    for (int64_t i = 0; i < 300; i++) store(i);
    identity_expect(look_up(0) == 0, "the oldest entry is dropped");
    identity_expect(look_up(299) == 1 && look_up(100) == 1, "newer entries stay");
    identity_expect(stat(cache, &info) == 0 && info.st_size < 100 * RT_KIB, "the cache is small");
}

static void check_processes(void) {
    const int64_t n_processes = 4;
    const int64_t n_stores = 40;
    for (int64_t process = 0; process < n_processes; process++) {
        const pid_t child = fork();
        identity_expect(child >= 0, "fork");
        if (child != 0) continue;
        bool is_right = true;
        for (int64_t i = 0; i < n_stores; i++) {
            store(1000 + process * n_stores + i);
            for (int64_t other = 0; other < n_processes; other++)
                is_right = is_right && look_up(1000 + other * n_stores + i) >= 0;
        }
        _exit(is_right ? 0 : 1);
    }
    for (int process = 0; process < n_processes; process++) {
        int result = -1;
        identity_expect(wait(&result) > 0 && result == 0, "a process among others");
    }
    int n_kept = 0;
    for (int64_t i = 0; i < n_processes * n_stores; i++) n_kept += look_up(1000 + i) == 1;
    identity_expect(n_kept >= n_stores / 2, "entries of processes at once survive");
}

int main(void) {
    (void)identity_begin_test();
    cache = strdup(identity_path("glm1m/hashes.json"));
    identity_write_model("model", 512, 1400 * RT_KIB);
    identity_settle("model");
    glm_checkpoint *checkpoint = NULL;
    identity_require(glm_checkpoint_open(identity_path("model"), &checkpoint), "model");
    model_bytes = glm_checkpoint_bytes(checkpoint);
    glm_checkpoint_close(checkpoint);
    original = identity_of("model", NULL);
    identity_shell("rm '%s'", cache);
    check_hits();
    check_damage();
    check_forged();
    check_impossible_cache();
    check_changes();
    check_bounded();
    check_processes();
    free((void *)cache);
    return identity_end_test();
}
