/* Whoever removes the directories of a vault that is open, to begin anew, has what comes then kept, without an end of the
 * process.
 *
 * Method: write a segment and state; remove both directories, then one, then what is in them; write others, and find them, and
 * not the first one. */
#include <string.h>

#include "help_dir.h"
#include "help_kv_vault.h"

enum { N = KV_SEGMENT_TOKENS };

static int64_t n_found(kvh_vault *v, uint64_t seed) {
    int32_t *ids = kvh_ids(seed, N);
    const int64_t n = kvh_find(v, ids, N, NULL);
    free(ids);
    return n;
}

static void check_state_is_kept(kvh_vault *v, uint64_t seed) {
    uint64_t written = seed, read = 0;
    bool found = false;
    kv_hash key = *kv_vault_root(v->vault);
    key.bytes[0] ^= (uint8_t)seed;
    const kv_part out = {.bytes = &written, .n_bytes = sizeof written};
    const kv_part in = {.bytes = &read, .n_bytes = sizeof read};
    CHECK(kv_vault_save_state(v->vault, &key, &out, 1) == RT_OK);
    CHECK(kv_vault_load_state(v->vault, &key, &in, 1, &found) == RT_OK && found && read == seed);
}

/* Those of `seed` alone are there. */
static void check_is_kept(kvh_vault *v, uint64_t seed, uint64_t removed) {
    CHECK(kvh_write_first(v, seed, N, NULL) == RT_OK);
    CHECK(n_found(v, seed) == N);
    if (removed) CHECK(n_found(v, removed) == 0);
    check_state_is_kept(v, seed);
}

static void remove_vault(const kvh_vault *v, int32_t dir) {
    char path[400];
    (void)snprintf(path, sizeof path, "%s/vault", v->dirs[dir]);
    help_remove_dir(path);
}

int main(void) {
    kvh_vault v = kvh_vault_new(2);
    kvh_vault_open(&v, NULL);
    check_is_kept(&v, 1, 0);
    help_remove_dir(v.dirs[0]);
    help_remove_dir(v.dirs[1]);
    check_is_kept(&v, 2, 1);
    remove_vault(&v, 0);
    remove_vault(&v, 1);
    check_is_kept(&v, 3, 2);
    help_remove_dir(v.dirs[1]);
    check_is_kept(&v, 4, 0);
    kvh_vault_remove(&v);
    return 0;
}
