/* What was suspended goes on where it stopped, in another process's vault: layers that were written
 * are there and true, the others are wanted, and the finished segment is like any other. State beside
 * it comes back as saved, or not at all.
 *
 * Method: suspend with 0, 1 and all layers, reopen, resume, finish, find; damage; wrong arguments;
 * state of odd sizes, of another key, replaced, damaged, dropped. */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "help_kv_vault.h"

enum { N = 300 };

static void suspend(kvh_vault *v, const int32_t *ids, int32_t n_layers) {
    kv_writer *writer;
    CHECK(kv_writer_begin(v->vault, kv_vault_root(v->vault), 0, ids, N, &writer) == RT_OK &&
            writer);
    CHECK(kvh_fill_segment(v, writer, n_layers) == RT_OK);
    CHECK(kv_writers_suspend(&writer, 1, RT_OK) == RT_OK);
    CHECK(kvh_count_files(v->dirs[0], ".part") == 1 && kvh_count_files(v->dirs[0], ".tmp") == 0);
    CHECK(kvh_find(v, ids, N, NULL) == 0);
}

static kv_writer *resume(kvh_vault *v, const int32_t *ids) {
    kv_writer *writer;
    CHECK(kv_writer_resume(v->vault, kv_vault_root(v->vault), 0, ids, N, &writer) == RT_OK);
    return writer;
}

static void check_resume(int32_t n_layers) {
    kvh_vault v = kvh_vault_new(1);
    int32_t *ids = kvh_ids(1, N);
    kvh_vault_open(&v, NULL);
    CHECK(!resume(&v, ids));
    suspend(&v, ids, n_layers);
    kvh_vault_close(&v);
    kvh_vault_open(&v, NULL);
    kv_writer *writer = resume(&v, ids);
    CHECK(writer && kvh_count_files(v.dirs[0], ".part") == 0);
    for (int32_t layer = 0; layer < KVH_LAYERS; layer++)
        CHECK(kv_writer_has_layer(writer, layer) == (layer >= KVH_LAYERS - n_layers));
    CHECK(!resume(&v, ids)); /* somebody is at it */
    CHECK(kvh_fill_segment(&v, writer, KVH_LAYERS) == RT_OK);
    CHECK(kv_writer_finish(writer, NULL) == RT_OK);
    CHECK(kvh_find(&v, ids, N, NULL) == N);
    CHECK(!resume(&v, ids));
    free(ids);
    kvh_vault_remove(&v);
}

/* A suspended segment that is damaged anywhere but in its runs, or not the one asked for, is none. */
static void check_damage(void) {
    kvh_vault v = kvh_vault_new(1);
    int32_t *ids = kvh_ids(2, N);
    kvh_vault_open(&v, NULL);
    suspend(&v, ids, 1);
    const int64_t places[] = {20, 5000, -8192, -4096, -1};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        const char *path = kvh_only_file(v.dirs[0], ".part");
        const int fd = open(path, O_RDONLY);
        const int64_t end = lseek(fd, 0, SEEK_END);
        CHECK(close(fd) == 0);
        kvh_flip(path, places[i] < 0 ? end + places[i] : places[i]);
        CHECK(!resume(&v, ids));
        CHECK(kvh_count_files(v.dirs[0], ".part") == 0);
        CHECK(kvh_count_files(v.dirs[0], ".bad") == 1);
        suspend(&v, ids, 1);
    }
    ids[3]++;
    CHECK(!resume(&v, ids));
    ids[3]--;
    kv_writer *writer = resume(&v, ids);
    CHECK(writer);
    kv_writer_abort(writer);
    CHECK(kvh_count_files(v.dirs[0], ".tmp") == 0 && !resume(&v, ids));
    free(ids);
    kvh_vault_remove(&v);
}

static void check_state(void) {
    enum { A = 3000000, B = 1, C = 4096 };
    kvh_vault v = kvh_vault_new(2);
    kvh_vault_open(&v, NULL);
    char *bytes = malloc(A + B + C), *back = malloc(A + B + C);
    CHECK(bytes && back);
    for (int i = 0; i < A + B + C; i++) bytes[i] = (char)(i * 31 >> 3);
    const kv_part parts[] = {{bytes, A}, {bytes + A, B}, {bytes + A + B, C}};
    const kv_part room[] = {{back, A}, {back + A, B}, {back + A + B, C}};
    const kv_part other[] = {{back, A}, {back + A, B}, {back + A + B, C - 1}};
    kv_hash key = *kv_vault_root(v.vault);
    bool found;
    CHECK(kv_vault_load_state(v.vault, &key, room, 3, &found) == RT_OK && !found);
    CHECK(kv_vault_save_state(v.vault, &key, parts, 2) == RT_OK);
    CHECK(kv_vault_save_state(v.vault, &key, parts, 3) == RT_OK); /* replaced */
    kvh_vault_close(&v);
    kvh_vault_open(&v, NULL);
    CHECK(kv_vault_load_state(v.vault, &key, room, 3, &found) == RT_OK && found);
    CHECK(memcmp(bytes, back, A + B + C) == 0);
    key.bytes[0] ^= 1;
    CHECK(kv_vault_load_state(v.vault, &key, room, 3, &found) == RT_OK && !found);
    key.bytes[0] ^= 1;
    const int64_t places[] = {9, 100, 4095, 4096, 2000000, 3002000, 3006464, 3010560};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        const char *path = kvh_only_file(v.dirs[0], ".state");
        if (!*path) path = kvh_only_file(v.dirs[1], ".state");
        kvh_flip(path, places[i]);
        CHECK(kv_vault_load_state(v.vault, &key, room, 3, &found) == RT_OK && !found);
        CHECK(kv_vault_load_state(v.vault, &key, room, 3, &found) == RT_OK && !found);
        CHECK(kv_vault_save_state(v.vault, &key, parts, 3) == RT_OK);
    }
    CHECK(kv_vault_load_state(v.vault, &key, other, 3, &found) == RT_OK && !found);
    CHECK(kv_vault_save_state(v.vault, &key, parts, 3) == RT_OK);
    kv_vault_drop_state(v.vault, &key);
    CHECK(kv_vault_load_state(v.vault, &key, room, 3, &found) == RT_OK && !found);
    CHECK(kvh_count_files(v.dirs[0], ".tmp") + kvh_count_files(v.dirs[1], ".tmp") == 0);
    free(bytes);
    free(back);
    kvh_vault_remove(&v);
}

int main(void) {
    for (int32_t n_layers = 0; n_layers <= KVH_LAYERS; n_layers++) check_resume(n_layers);
    check_damage();
    check_state();
    return 0;
}
