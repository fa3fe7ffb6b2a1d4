/* How a random checkpoint is cut into files changes no weight, and what is cut is a checkpoint.
 *
 * Method: write one model whole and once more in shards of 100 kB. Read through their index, all
 * tensors are the same; no file holds more than a shard, save one with a single larger tensor. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "help_check.h"
#include "help_dir.h"
#include "runtime/base/file.h"
#include "runtime/base/size.h"
#include "runtime/random_model.h"

enum { SHARD_BYTES = 100000 };

static int n_failed;

/* A safetensors file: 8 bytes of length, a JSON header, the data. */
typedef struct weights {
    char *bytes;
    json_t *header;
    const char *data;
    int64_t n_data;
} weights;

static weights read_weights(const char *dir, const char *name) {
    weights file = {0};
    char *path = NULL;
    int64_t n_bytes = 0;
    uint64_t n_header = 0;
    help_require(rt_path_join(dir, name, &path), "path");
    help_require(rt_file_read(path, 64 * RT_MIB, &file.bytes, &n_bytes), "read");
    free(path);
    memcpy(&n_header, file.bytes, sizeof n_header);
    file.header = json_loadb(file.bytes + 8, n_header, 0, NULL);
    if (!file.header) exit(1);
    file.data = file.bytes + 8 + n_header;
    file.n_data = n_bytes - 8 - (int64_t)n_header;
    return file;
}

static void free_weights(weights *file) {
    json_decref(file->header);
    free(file->bytes);
}

/* Where a tensor's bytes are; NULL when the file has no such tensor. */
static const char *find(const weights *file, const char *name, int64_t *n_bytes) {
    const json_t *offsets = json_object_get(json_object_get(file->header, name), "data_offsets");
    if (!offsets) return NULL;
    const int64_t begin = json_integer_value(json_array_get(offsets, 0));
    *n_bytes = json_integer_value(json_array_get(offsets, 1)) - begin;
    return file->data + begin;
}

static json_t *read_index(const char *dir) {
    char *path = NULL;
    help_require(rt_path_join(dir, "model.safetensors.index.json", &path), "path");
    json_t *index = json_load_file(path, 0, NULL);
    free(path);
    if (!index) exit(1);
    return index;
}

static void check_tensor(
        const weights *whole, const char *dir, const char *name, const char *shard_name) {
    weights shard = read_weights(dir, shard_name);
    int64_t n_want = 0;
    int64_t n_got = 0;
    const char *want = find(whole, name, &n_want);
    const char *got = find(&shard, name, &n_got);
    const bool is_same = want && got && n_want == n_got && memcmp(want, got, (size_t)n_want) == 0;
    const bool is_small = shard.n_data <= SHARD_BYTES || shard.n_data == n_got;
    if (!is_same || !is_small) {
        printf("FAIL %s in %s: same %d, small enough %d\n", name, shard_name, is_same, is_small);
        n_failed++;
    }
    free_weights(&shard);
}

static void write_in_shards(const char *dir, const char *config_path) {
    const glm_random_options options = {
            .config_path = config_path, .seed = 7, .shard_bytes_max = SHARD_BYTES};
    glm_random_model *model = NULL;
    int64_t done = 0;
    int64_t total = 1;
    help_require(glm_random_model_begin(dir, &options, &model), "begin");
    while (done < total) help_require(glm_random_model_step(model, &done, &total), "step");
    glm_random_model_end(model);
}

static void check(const char *work, const char *label, const char *config_path) {
    char dir_whole[96];
    char dir_cut[96];
    (void)snprintf(dir_whole, sizeof dir_whole, "%s/%s-whole", work, label);
    (void)snprintf(dir_cut, sizeof dir_cut, "%s/%s-cut", work, label);
    help_require(glm_random_model_write(dir_whole, config_path, 7), label);
    write_in_shards(dir_cut, config_path);

    weights whole = read_weights(dir_whole, "model.safetensors");
    json_t *index = read_index(dir_cut);
    json_t *map = json_object_get(index, "weight_map");
    const char *name = NULL;
    json_t *shard_name = NULL;
    json_object_foreach(map, name, shard_name)
            check_tensor(&whole, dir_cut, name, json_string_value(shard_name));
    const json_t *total = json_object_get(json_object_get(index, "metadata"), "total_size");
    const size_t n_wanted = json_object_size(whole.header) - 1; /* without __metadata__ */
    if (json_object_size(map) != n_wanted || json_integer_value(total) != whole.n_data) {
        printf("FAIL %s: the index lists %zu tensors of %zu\n", label, json_object_size(map),
                n_wanted);
        n_failed++;
    }
    json_decref(index);
    free_weights(&whole);
}

int main(void) {
    const char *work = help_dir();
    check(work, "hf", NULL);
    check(work, "native", "tests/golden/native_bf16_kv4/config.json");
    return n_failed ? 1 : 0;
}
