/* Fuzz target: model.safetensors.index.json over two good shards. Whatever the bytes, the index is
 * refused with its file or a shard named, or it tells the truth: read by other means, it maps just
 * the tensors there are to just the files they are in, and these lie in the directory.
 *
 * Input: the file. */
#include "help_fuzz.h"

#include <jansson.h>
#include <limits.h>

#include "help_checkpoint.h"
#include "runtime/checkpoint_files.h"

static const char *dir;

static void check_inside(const glm_shard *shard) {
    char root[PATH_MAX];
    char target[PATH_MAX];
    char *path = ckh_path(dir, shard->name);
    FUZZ_REQUIRE(realpath(dir, root) && realpath(path, target));
    FUZZ_REQUIRE(strncmp(root, target, strlen(root)) == 0 && target[strlen(root)] == '/');
    FUZZ_REQUIRE(!strchr(shard->name, '/'));
    free(path);
}

static void check_truth(const glm_shards *shards, const uint8_t *data, size_t n_bytes) {
    json_t *root = json_loadb((const char *)data, n_bytes, 0, NULL);
    json_t *map = json_object_get(root, "weight_map");
    FUZZ_REQUIRE(json_object_size(map) == (size_t)shards->n_tensors);
    for (int64_t i = 0; i < shards->n_tensors; i++) {
        const glm_located *one = &shards->tensors[i];
        const char *mapped = json_string_value(json_object_get(map, one->tensor->name));
        FUZZ_REQUIRE(mapped && strcmp(mapped, one->shard->name) == 0);
    }
    for (int32_t i = 0; i < shards->n_shards; i++) check_inside(&shards->shards[i]);
    json_decref(root);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes) {
    glm_shards shards;
    if (!dir) dir = ckh_make(CKH_SHARDS);
    ckh_write(dir, "model.safetensors.index.json", data, (int64_t)n_bytes);
    const rt_status status = glm_shards_open(dir, &shards);
    FUZZ_REQUIRE(status == RT_OK || status == RT_EMODEL);
    if (status == RT_OK)
        check_truth(&shards, data, n_bytes);
    else
        FUZZ_REQUIRE(strncmp(rt_error_text(), "checkpoint: ", 12) == 0);
    glm_shards_close(&shards);
    return 0;
}

void fuzz_add_seeds(fuzz_corpus *corpus) {
    const char *made = ckh_make(CKH_SHARDS);
    int64_t n_bytes = 0;
    char *text = ckh_read(made, "model.safetensors.index.json", &n_bytes);
    fuzz_add(corpus, text, (size_t)n_bytes);
    free(text);
}

void fuzz_repair(uint8_t *bytes, size_t n_bytes) {
    (void)bytes;
    (void)n_bytes;
}
