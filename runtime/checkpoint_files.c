#include "checkpoint_files.h"

#include <dirent.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/size.h"
#include "gguf.h"
#include "json_file.h"

/* A test builds this file with one check missing, to see that its fuzz target notices. */
#ifndef GLM_MUTANT_MAPPED
#define GLM_MUTANT_MAPPED 0
#endif

static const char single_name[] = "model.safetensors";
static const char index_name[] = "model.safetensors.index.json";
static const int64_t index_bytes_max = 16 * RT_MIB;

/* ---- where a shard may lie ------------------------------------------------------------------- */

static bool is_inside(const char *path, const char *dir, size_t dir_bytes) {
    return strncmp(path, dir, dir_bytes) == 0 && path[dir_bytes] == '/';
}

/* A snapshot in the Hugging Face cache, REPO/snapshots/REVISION, links to files in REPO/blobs. */
static bool is_blob(const char *path, const char *root) {
    static const char snapshots[] = "/snapshots";
    const char *revision = strrchr(root, '/');
    if (!revision) return false;
    const size_t before = (size_t)(revision - root);
    const size_t n = sizeof snapshots - 1;
    if (before < n || memcmp(revision - n, snapshots, n) != 0) return false;
    const size_t repo = before - n;
    return strncmp(path, root, repo) == 0 && strncmp(path + repo, "/blobs/", 7) == 0;
}

/* Printable, of this directory, and of the right kind. */
static bool is_shard_name(const char *name) {
    static const char suffix[] = ".safetensors";
    const size_t n = strlen(name);
    if (n <= sizeof suffix - 1 || n > NAME_MAX) return false;
    for (const char *at = name; *at; at++)
        if (*at == '/' || (unsigned char)*at < 0x20 || *at == 0x7f) return false;
    return strcmp(name + n - (sizeof suffix - 1), suffix) == 0;
}

static rt_status check_place(const char *dir, const char *path, struct stat *info) {
    char root[PATH_MAX];
    char target[PATH_MAX];
    if (!realpath(dir, root)) return rt_fail_errno(RT_EIO, "checkpoint: cannot resolve %s", dir);
    if (!realpath(path, target))
        return rt_fail_errno(RT_EIO, "checkpoint: cannot resolve %s", path);
    if (!is_inside(target, root, strlen(root)) && !is_blob(target, root))
        return rt_fail(RT_EMODEL,
                "checkpoint: IDX_PATH: %s leads to %s, outside the checkpoint's directory", path,
                target);
    if (stat(target, info) != 0) return rt_fail_errno(RT_EIO, "checkpoint: cannot stat %s", target);
    if (!S_ISREG(info->st_mode))
        return rt_fail(RT_EMODEL, "checkpoint: IDX_NOT_REGULAR: %s is no regular file", path);
    return RT_OK;
}

static rt_status open_shard(const char *dir, glm_shard *shard) {
    char *path = NULL;
    struct stat info;
    RT_TRY(rt_path_join(dir, shard->name, &path));
    rt_status status = check_place(dir, path, &info);
    if (status == RT_OK) status = glm_st_open(path, &shard->file);
    /* What was opened is what was checked, even if someone moved links in between. */
    if (status == RT_OK && (shard->file->opened.st_dev != info.st_dev ||
                                   shard->file->opened.st_ino != info.st_ino))
        status = rt_fail(RT_EMODEL, "checkpoint: IO_CHANGED: %s was replaced meanwhile", path);
    free(path);
    return status;
}

static rt_status open_all(const char *dir, glm_shards *out) {
    for (int32_t i = 0; i < out->n_shards; i++) RT_TRY(open_shard(dir, &out->shards[i]));
    return RT_OK;
}

/* ---- the index ------------------------------------------------------------------------------- */

typedef struct index_file {
    const char *path;
    json_t *root;
    json_t *map; /* tensor -> shard; the root's */
} index_file;

static rt_status check_index(index_file *index) {
    index->map = json_object_get(index->root, "weight_map");
    if (!json_is_object(index->map))
        return rt_fail(RT_EMODEL, "checkpoint: IDX_TYPE: %s: there is no object \"weight_map\"",
                index->path);
    const json_t *metadata = json_object_get(index->root, "metadata");
    if (metadata && !json_is_object(metadata))
        return rt_fail(
                RT_EMODEL, "checkpoint: IDX_TYPE: %s: \"metadata\" is no object", index->path);
    if (json_object_size(index->map) == 0)
        return rt_fail(RT_EMODEL, "checkpoint: IDX_EMPTY: %s maps no tensor", index->path);
    const char *tensor = NULL;
    json_t *shard = NULL;
    char text[GLM_JSON_TEXT];
    json_object_foreach(index->map, tensor, shard) {
        if (!json_is_string(shard))
            return rt_fail(RT_EMODEL,
                    "checkpoint: IDX_TYPE: %s: a tensor is mapped to %s, not to a file's name",
                    index->path, glm_json_text(shard, text));
        if (!is_shard_name(json_string_value(shard)))
            return rt_fail(RT_EMODEL,
                    "checkpoint: IDX_PATH: %s: %s is not the plain name of a .safetensors file",
                    index->path, glm_json_text(shard, text));
    }
    return RT_OK;
}

static int by_text(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static rt_status add_shard(glm_shards *out, const char *name) {
    if (out->n_shards == GLM_SHARDS_MAX)
        return rt_fail(RT_EMODEL, "checkpoint: IDX_SHARD_COUNT: the index names more than %d files",
                GLM_SHARDS_MAX);
    if (!out->shards)
        RT_TRY(rt_calloc(GLM_SHARDS_MAX, sizeof *out->shards, "shards", &out->shards));
    char *copy = strdup(name);
    if (!copy) return rt_fail(RT_ENOMEM, "checkpoint: no memory for the name of a shard");
    out->shards[out->n_shards++].name = copy;
    return RT_OK;
}

/* Every shard once, ascending. */
static rt_status list_shards(const index_file *index, glm_shards *out) {
    const char **names = NULL;
    const size_t n = json_object_size(index->map);
    size_t i = 0;
    RT_TRY(rt_calloc((int64_t)n, sizeof *names, "the names of an index", &names));
    const char *tensor = NULL;
    json_t *shard = NULL;
    json_object_foreach(index->map, tensor, shard) names[i++] = json_string_value(shard);
    qsort(names, n, sizeof *names, by_text);
    rt_status status = RT_OK;
    for (i = 0; i < n && status == RT_OK; i++)
        if (i == 0 || strcmp(names[i - 1], names[i]) != 0) status = add_shard(out, names[i]);
    free(names);
    return status;
}

/* How many are missing, and what that is to be called. */
static rt_status count_missing(
        const char *dir, const glm_shards *shards, int32_t *n, char text[GLM_MISSING_TEXT]) {
    const char *first = NULL;
    *n = 0;
    for (int32_t i = 0; i < shards->n_shards; i++) {
        char *path = NULL;
        RT_TRY(rt_path_join(dir, shards->shards[i].name, &path));
        if (!rt_file_exists(path) && (*n)++ == 0) first = shards->shards[i].name;
        free(path);
    }
    if (first)
        (void)snprintf(text, GLM_MISSING_TEXT,
                "%" PRId32 " of %" PRId32 " files of weights are missing, the first is %s", *n,
                shards->n_shards, first);
    return RT_OK;
}

static rt_status check_downloaded(const char *dir, const glm_shards *shards) {
    char text[GLM_MISSING_TEXT];
    int32_t n = 0;
    RT_TRY(count_missing(dir, shards, &n, text));
    if (n == 0) return RT_OK;
    return rt_fail(RT_EMODEL, "checkpoint: IDX_MISSING_SHARD: of %s %s; is the download complete?",
            dir, text);
}

/* ---- all tensors together -------------------------------------------------------------------- */

static int by_name(const void *a, const void *b) {
    return strcmp(((const glm_located *)a)->tensor->name, ((const glm_located *)b)->tensor->name);
}

static rt_status list_tensors(glm_shards *out) {
    for (int32_t i = 0; i < out->n_shards; i++)
        out->n_tensors += out->shards[i].file->header.n_tensors;
    RT_TRY(rt_calloc(out->n_tensors, sizeof *out->tensors, "a list of tensors", &out->tensors));
    glm_located *next = out->tensors;
    for (int32_t i = 0; i < out->n_shards; i++) {
        const glm_st_header *header = &out->shards[i].file->header;
        for (int32_t j = 0; j < header->n_tensors; j++)
            *next++ = (glm_located){&header->tensors[j], &out->shards[i], false};
    }
    qsort(out->tensors, (size_t)out->n_tensors, sizeof *out->tensors, by_name);
    for (int64_t i = 1; i < out->n_tensors; i++)
        if (by_name(&out->tensors[i - 1], &out->tensors[i]) == 0)
            return rt_fail(RT_EMODEL, "checkpoint: IDX_DUP: tensor \"%s\" is in %s and in %s",
                    out->tensors[i].tensor->name, out->tensors[i - 1].shard->name,
                    out->tensors[i].shard->name);
    return RT_OK;
}

static int compare_name(const void *name, const void *located) {
    return strcmp(name, ((const glm_located *)located)->tensor->name);
}

glm_located *glm_shards_find(const glm_shards *shards, const char *name) {
    if (shards->n_tensors == 0) return NULL;
    return bsearch(name, shards->tensors, (size_t)shards->n_tensors, sizeof *shards->tensors,
            compare_name);
}

/* ---- does the index tell the truth? ---------------------------------------------------------- */

static rt_status check_mapped(const index_file *index, const glm_shards *shards) {
    const char *name = NULL;
    json_t *shard = NULL;
    char text[GLM_JSON_TEXT];
    json_object_foreach(index->map, name, shard) {
        const glm_located *found = glm_shards_find(shards, name);
        if (found &&
                (GLM_MUTANT_MAPPED || strcmp(found->shard->name, json_string_value(shard)) == 0))
            continue;
        json_t *quoted = json_string(name);
        (void)glm_json_text(quoted, text);
        json_decref(quoted);
        return rt_fail(RT_EMODEL,
                "checkpoint: IDX_MISMATCH: %s: tensor %s should be in %s, it is in %s", index->path,
                text, json_string_value(shard), found ? found->shard->name : "none of the files");
    }
    return RT_OK;
}

static rt_status check_listed(const index_file *index, const glm_shards *shards) {
    for (int64_t i = 0; i < shards->n_tensors; i++) {
        const glm_located *one = &shards->tensors[i];
        if (json_object_get(index->map, one->tensor->name)) continue;
        return rt_fail(RT_EMODEL,
                "checkpoint: IDX_MISMATCH: %s does not mention tensor \"%s\", which is in %s",
                index->path, one->tensor->name, one->shard->name);
    }
    return RT_OK;
}

/* Nothing is computed from it: transformers, too, loads such a checkpoint. */
static void warn_of_total(const index_file *index, const glm_shards *shards) {
    const json_t *total = json_object_get(json_object_get(index->root, "metadata"), "total_size");
    if (!total) return;
    int64_t n_bytes = 0;
    for (int64_t i = 0; i < shards->n_tensors; i++) n_bytes += shards->tensors[i].tensor->n_bytes;
    if (json_is_number(total) && json_number_value(total) == (double)n_bytes) return;
    char text[GLM_JSON_TEXT];
    rt_log(RT_LOG_WARN, "checkpoint",
            "%s: \"total_size\" is %s, the tensors have %" PRId64 " bytes", index->path,
            glm_json_text(total, text), n_bytes);
}

/* ---- opening --------------------------------------------------------------------------------- */

static rt_status open_indexed(const char *dir, index_file *index, glm_shards *out) {
    RT_TRY(glm_json_load("checkpoint", index->path, index_bytes_max, &index->root));
    RT_TRY(check_index(index));
    RT_TRY(list_shards(index, out));
    RT_TRY(check_downloaded(dir, out));
    RT_TRY(open_all(dir, out));
    RT_TRY(list_tensors(out));
    RT_TRY(check_mapped(index, out));
    RT_TRY(check_listed(index, out));
    warn_of_total(index, out);
    return RT_OK;
}

static rt_status open_single(const char *dir, glm_shards *out) {
    RT_TRY(add_shard(out, single_name));
    RT_TRY(open_all(dir, out));
    return list_tensors(out);
}

/* Is any safetensors file there, whole or not? Also true where `dir` cannot be read. */
static bool is_begun(const char *dir) {
    static const char ending[] = ".safetensors";
    DIR *entries = opendir(dir);
    if (!entries) return true;
    bool is_found = false;
    for (const struct dirent *one; !is_found && (one = readdir(entries));) {
        const size_t n = strlen(one->d_name);
        is_found = n >= sizeof ending && strcmp(one->d_name + n - (sizeof ending - 1), ending) == 0;
    }
    (void)closedir(entries);
    return is_found;
}

static rt_status no_weights(const char *dir) {
    RT_TRY(glm_gguf_refuse_alone(dir));
    return rt_fail(RT_EMODEL, "checkpoint: IDX_NONE: %s holds no weights: neither %s nor %s%s", dir,
            single_name, index_name,
            is_begun(dir) ? ", but other .safetensors files, or links that lead nowhere; is "
                            "the download complete?"
                          : "");
}

rt_status glm_shards_open(const char *dir, glm_shards *out) {
    char *single = NULL;
    char *index_path = NULL;
    *out = (glm_shards){0};
    rt_status status = rt_path_join(dir, single_name, &single);
    if (status == RT_OK) status = rt_path_join(dir, index_name, &index_path);
    index_file index = {.path = index_path};
    if (status != RT_OK)
        ;
    else if (rt_file_exists(single))
        status = open_single(dir, out);
    else if (rt_file_exists(index_path))
        status = open_indexed(dir, &index, out);
    else
        status = no_weights(dir);
    json_decref(index.root);
    free(index_path);
    free(single);
    return status;
}

/* Of an index that is there. */
static rt_status missing_by_index(
        const char *dir, const char *index_path, bool *is_missing, char text[GLM_MISSING_TEXT]) {
    index_file index = {.path = index_path};
    glm_shards shards = {0};
    int32_t n = 0;
    rt_status status = glm_json_load("checkpoint", index_path, index_bytes_max, &index.root);
    if (status == RT_OK) status = check_index(&index);
    if (status == RT_OK) status = list_shards(&index, &shards);
    if (status == RT_OK) status = count_missing(dir, &shards, &n, text);
    glm_shards_close(&shards);
    json_decref(index.root);
    *is_missing = n > 0;
    return status;
}

static void say_no_index(const char *dir, char text[GLM_MISSING_TEXT]) {
    (void)snprintf(text, GLM_MISSING_TEXT, "%s",
            is_begun(dir)
                    ? "some files of weights are here, neither model.safetensors nor an index is"
                    : "no file of them is here");
}

rt_status glm_shards_missing(const char *dir, bool *is_missing, char text[GLM_MISSING_TEXT]) {
    char *single = NULL;
    char *index_path = NULL;
    *is_missing = false;
    rt_status status = rt_path_join(dir, single_name, &single);
    if (status == RT_OK) status = rt_path_join(dir, index_name, &index_path);
    if (status == RT_OK && !rt_file_exists(single)) {
        *is_missing = true;
        if (rt_file_exists(index_path))
            status = missing_by_index(dir, index_path, is_missing, text);
        else
            say_no_index(dir, text);
    }
    free(index_path);
    free(single);
    return status;
}

void glm_shards_close(glm_shards *shards) {
    for (int32_t i = 0; i < shards->n_shards; i++) {
        glm_st_close(shards->shards[i].file);
        free(shards->shards[i].name);
    }
    free(shards->shards);
    free(shards->tensors);
    *shards = (glm_shards){0};
}
