/* Every tensor is found by name, compared with the config, and cut into parts by role. Tensors
 * without a role are refused: they would change the answer and be ignored. */
#include "checkpoint.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/size.h"
#include "checkpoint_files.h"
#include "checkpoint_names.h"
#include "json_file.h"
#include "sha256.h"

/* Where the rows of one role lie; file NULL until found. */
typedef struct part {
    const glm_safetensors *file;
    int64_t offset;
    glm_tensor tensor;
} part;

struct glm_checkpoint {
    char *dir;
    glm_config config;
    glm_shards shards;
    char missing[GLM_MISSING_TEXT];
    part *parts; /* [n_layers][GLM_N_ROLES]; what is outside the layers is in layer 0's */
};

static part *part_of(const glm_checkpoint *checkpoint, glm_role role, int32_t layer) {
    if (role == GLM_OUTPUT_HEAD && checkpoint->config.is_tied) role = GLM_EMBEDDING;
    if (glm_role_is_outside(role)) layer = 0;
    rt_assert(role < GLM_N_ROLES && layer >= 0 && layer < checkpoint->config.n_layers);
    return &checkpoint->parts[(int64_t)layer * GLM_N_ROLES + role];
}

/* ---- shapes ---------------------------------------------------------------------------------- */

enum { SHAPE_TEXT = 192 };

static const char *shape_text(int32_t rank, const int64_t *shape, char text[SHAPE_TEXT]) {
    int n = snprintf(text, SHAPE_TEXT, "[");
    for (int32_t i = 0; i < rank; i++)
        n += snprintf(text + n, SHAPE_TEXT - (size_t)n, "%s%" PRId64, i ? ", " : "", shape[i]);
    (void)snprintf(text + n, SHAPE_TEXT - (size_t)n, "]");
    return text;
}

static int64_t kind_rows(const glm_config *config, const glm_kind *kind) {
    int64_t rows = 0;
    for (int32_t i = 0; i < kind->n_roles; i++)
        rows += glm_role_rows(config, glm_kind_role(kind, i));
    return rows;
}

static bool is_kv(glm_role role) {
    return role == GLM_K || role == GLM_V || role == GLM_K_BIAS || role == GLM_V_BIAS;
}

/* The number of KV heads with which the shape would be right; 0 when there is none. */
static int64_t groups_held(
        const glm_config *config, const glm_kind *kind, const glm_st_tensor *tensor) {
    int64_t q_rows = 0;
    int64_t n_kv = 0;
    for (int32_t i = 0; i < kind->n_roles; i++) {
        const glm_role role = glm_kind_role(kind, i);
        if (is_kv(role))
            n_kv++;
        else
            q_rows += glm_role_rows(config, role);
    }
    if (n_kv == 0) return 0;
    const int64_t rows = tensor->shape[0] - q_rows;
    const int64_t group_rows = n_kv * config->head_dim;
    return rows > 0 && rows % group_rows == 0 ? rows / group_rows : 0;
}

static rt_status refuse_shape(const glm_config *config, const glm_kind *kind,
        const glm_located *found, int32_t rank, const int64_t *wanted) {
    const glm_st_tensor *tensor = found->tensor;
    char got_text[SHAPE_TEXT];
    char wanted_text[SHAPE_TEXT];
    char why[96] = "";
    const bool same_width = tensor->rank == rank && (rank == 1 || tensor->shape[1] == wanted[1]);
    const int64_t groups = same_width ? groups_held(config, kind, tensor) : 0;
    if (groups > 0)
        (void)snprintf(why, sizeof why,
                ": config.json says %" PRId32 " KV groups, the rows hold %" PRId64,
                config->n_kv_heads, groups);
    return rt_fail(RT_EMODEL,
            "checkpoint: MODEL_SHAPE: tensor \"%s\" of %s is %s, the config needs %s%s",
            tensor->name, found->shard->file->path,
            shape_text(tensor->rank, tensor->shape, got_text),
            shape_text(rank, wanted, wanted_text), why);
}

static rt_status check_shape(
        const glm_config *config, const glm_kind *kind, const glm_located *found) {
    const int64_t wanted[] = {kind_rows(config, kind), glm_role_cols(config, kind->first)};
    const int32_t rank = glm_role_is_vector(kind->first) ? 1 : 2;
    const glm_st_tensor *tensor = found->tensor;
    if (tensor->rank == rank && tensor->shape[0] == wanted[0] &&
            (rank == 1 || tensor->shape[1] == wanted[1]))
        return RT_OK;
    return refuse_shape(config, kind, found, rank, wanted);
}

/* ---- from tensors to parts ------------------------------------------------------------------- */

static void cut(
        glm_checkpoint *checkpoint, const glm_kind *kind, int32_t layer, const glm_located *found) {
    int64_t offset = found->tensor->offset;
    for (int32_t i = 0; i < kind->n_roles; i++) {
        const glm_role role = glm_kind_role(kind, i);
        const glm_tensor tensor = {.dtype = found->tensor->dtype,
                .n_rows = glm_role_rows(&checkpoint->config, role),
                .n_cols = glm_role_cols(&checkpoint->config, role)};
        *part_of(checkpoint, role, layer) =
                (part){.file = found->shard->file, .offset = offset, .tensor = tensor};
        offset += tensor.n_rows * tensor.n_cols * rt_dtype_bytes(tensor.dtype);
    }
}

/* A tensor that is absent, unwanted, or a second home of its roles is left to the checks below. */
static rt_status place(glm_checkpoint *checkpoint, const glm_kind *kind, int32_t layer) {
    const glm_config *config = &checkpoint->config;
    char name[GLM_TENSOR_NAME_BYTES];
    if (!glm_role_is_needed(config, kind->first)) return RT_OK;
    glm_located *found = glm_shards_find(
            &checkpoint->shards, glm_tensor_name(config->naming, kind, layer, name));
    if (!found) return RT_OK;
    for (int32_t i = 0; i < kind->n_roles; i++)
        if (part_of(checkpoint, glm_kind_role(kind, i), layer)->file) return RT_OK;
    RT_TRY(check_shape(config, kind, found));
    cut(checkpoint, kind, layer, found);
    found->is_used = true;
    return RT_OK;
}

typedef rt_status visit_kind(glm_checkpoint *checkpoint, const glm_kind *kind, int32_t layer);

static rt_status for_each_kind(glm_checkpoint *checkpoint, visit_kind *visit) {
    const glm_kinds outside = glm_kinds_outside(checkpoint->config.naming);
    const glm_kinds inside = glm_kinds_of_layer(checkpoint->config.naming);
    for (int32_t i = 0; i < outside.n; i++) RT_TRY(visit(checkpoint, &outside.kinds[i], 0));
    for (int32_t layer = 0; layer < checkpoint->config.n_layers; layer++)
        for (int32_t i = 0; i < inside.n; i++) RT_TRY(visit(checkpoint, &inside.kinds[i], layer));
    return RT_OK;
}

/* ---- missing and extra ----------------------------------------------------------------------- */

static const char *other_spelling(const glm_checkpoint *checkpoint) {
    const bool is_native = checkpoint->config.naming == GLM_NAMES_NATIVE;
    const glm_kinds other = glm_kinds_outside(is_native ? GLM_NAMES_HF : GLM_NAMES_NATIVE);
    if (!glm_shards_find(&checkpoint->shards, other.kinds[0].name)) return "";
    return is_native ? "; the tensors have Hugging Face names, for which config.json must say "
                       "model_type \"glm\" or \"glm4\""
                     : "; the tensors have native names, for which config.json must say "
                       "model_type \"chatglm\"";
}

static rt_status check_present(glm_checkpoint *checkpoint, const glm_kind *kind, int32_t layer) {
    const glm_config *config = &checkpoint->config;
    char name[GLM_TENSOR_NAME_BYTES];
    if (!glm_role_is_needed(config, kind->first)) return RT_OK;
    for (int32_t i = 0; i < kind->n_roles; i++)
        if (!part_of(checkpoint, glm_kind_role(kind, i), layer)->file)
            return rt_fail(RT_EMODEL, "checkpoint: MODEL_MISSING_TENSOR: %s has no tensor \"%s\"%s",
                    checkpoint->dir, glm_tensor_name(config->naming, kind, layer, name),
                    other_spelling(checkpoint));
    return RT_OK;
}

static bool ends_with(const char *text, const char *end) {
    const size_t n = strlen(text);
    const size_t n_end = strlen(end);
    return n >= n_end && strcmp(text + n - n_end, end) == 0;
}

/* Saved by the models' own code, without a meaning of their own: inv_freq is a buffer for base
 * 10000 with rope_ratio not applied; a tied head repeats the embedding. */
static bool is_harmless(const glm_config *config, const char *name) {
    if (ends_with(name, ".inv_freq")) return true;
    return config->is_tied && (strcmp(name, "lm_head.weight") == 0 ||
                                      strcmp(name, "transformer.output_layer.weight") == 0);
}

static rt_status check_extra(const glm_checkpoint *checkpoint) {
    for (int64_t i = 0; i < checkpoint->shards.n_tensors; i++) {
        const glm_located *one = &checkpoint->shards.tensors[i];
        const char *name = one->tensor->name;
        if (one->is_used || is_harmless(&checkpoint->config, name)) continue;
        const bool is_vision = strncmp(name, "transformer.vision.", 19) == 0 ||
                               strncmp(name, "model.vision", 12) == 0;
        return rt_fail(RT_EMODEL,
                "checkpoint: MODEL_EXTRA_TENSOR: tensor \"%s\" of %s %s (%" PRId32 " layers%s%s)",
                name, one->shard->file->path,
                is_vision ? "is of a vision tower (GLM-4V), which is unsupported"
                          : "has no place in the model that config.json describes",
                checkpoint->config.n_layers,
                checkpoint->config.has_qkv_bias ? ", QKV bias" : ", no QKV bias",
                checkpoint->config.has_post_norms ? ", post-norms" : "");
    }
    return RT_OK;
}

/* ---- opening --------------------------------------------------------------------------------- */

/* Of tensors that are not there, what the config needs. */
static rt_status expect(glm_checkpoint *checkpoint, const glm_kind *kind, int32_t layer) {
    const glm_config *config = &checkpoint->config;
    if (!glm_role_is_needed(config, kind->first)) return RT_OK;
    for (int32_t i = 0; i < kind->n_roles; i++) {
        const glm_role role = glm_kind_role(kind, i);
        part_of(checkpoint, role, layer)->tensor = (glm_tensor){.dtype = config->dtype,
                .n_rows = glm_role_rows(config, role),
                .n_cols = glm_role_cols(config, role)};
    }
    return RT_OK;
}

static rt_status open_tensors(glm_checkpoint *checkpoint) {
    RT_TRY(glm_shards_open(checkpoint->dir, &checkpoint->shards));
    RT_TRY(for_each_kind(checkpoint, place));
    RT_TRY(for_each_kind(checkpoint, check_present));
    return check_extra(checkpoint);
}

static rt_status open_into(glm_checkpoint *checkpoint, const char *dir, bool is_to_plan) {
    bool is_missing = false;
    checkpoint->dir = strdup(dir);
    if (!checkpoint->dir) return rt_fail(RT_ENOMEM, "checkpoint: no memory for the path %s", dir);
    RT_TRY(glm_config_load(dir, &checkpoint->config));
    RT_TRY(rt_calloc((int64_t)checkpoint->config.n_layers * GLM_N_ROLES, sizeof *checkpoint->parts,
            "the parts of a checkpoint", &checkpoint->parts));
    if (is_to_plan) RT_TRY(glm_shards_missing(dir, &is_missing, checkpoint->missing));
    return is_missing ? for_each_kind(checkpoint, expect) : open_tensors(checkpoint);
}

static rt_status open_either(const char *dir, bool is_to_plan, glm_checkpoint **out) {
    glm_checkpoint *checkpoint = NULL;
    RT_TRY(rt_calloc(1, sizeof *checkpoint, "a checkpoint", &checkpoint));
    const rt_status status = open_into(checkpoint, dir, is_to_plan);
    if (status == RT_OK)
        *out = checkpoint;
    else
        glm_checkpoint_close(checkpoint);
    return status;
}

rt_status glm_checkpoint_open(const char *dir, glm_checkpoint **out) {
    return open_either(dir, false, out);
}

rt_status glm_checkpoint_open_to_plan(const char *dir, glm_checkpoint **out) {
    return open_either(dir, true, out);
}

void glm_checkpoint_close(glm_checkpoint *checkpoint) {
    if (!checkpoint) return;
    glm_shards_close(&checkpoint->shards);
    free(checkpoint->parts);
    free(checkpoint->dir);
    free(checkpoint);
}

/* ---- asking ---------------------------------------------------------------------------------- */

const glm_config *glm_checkpoint_config(const glm_checkpoint *checkpoint) {
    return &checkpoint->config;
}

const char *glm_checkpoint_dir(const glm_checkpoint *checkpoint) {
    return checkpoint->dir;
}

const glm_shards *glm_checkpoint_shards(const glm_checkpoint *checkpoint) {
    return &checkpoint->shards;
}

glm_tensor glm_checkpoint_tensor(const glm_checkpoint *checkpoint, glm_role role, int32_t layer) {
    const part *one = part_of(checkpoint, role, layer);
    rt_assert(one->tensor.n_rows > 0);
    return one->tensor;
}

rt_status glm_checkpoint_read(const glm_checkpoint *checkpoint, glm_role role, int32_t layer,
        int64_t row, int64_t n_rows, void *out) {
    const part *one = part_of(checkpoint, role, layer);
    rt_assert(one->file && row >= 0 && n_rows >= 0 && row <= one->tensor.n_rows - n_rows);
    const int64_t row_bytes = one->tensor.n_cols * rt_dtype_bytes(one->tensor.dtype);
    return glm_st_read(one->file, out, n_rows * row_bytes, one->offset + row * row_bytes);
}

/* Rows that are read in part lie together: the disk is asked for all of them at once. */
static void will_need(const part *one, int64_t offset, int64_t n_bytes) {
    (void)posix_fadvise(one->file->source.fd, offset, n_bytes, POSIX_FADV_WILLNEED);
}

rt_status glm_checkpoint_read_block(const glm_checkpoint *checkpoint, glm_role role, int32_t layer,
        const glm_tensor_block *block, void *out) {
    const part *one = part_of(checkpoint, role, layer);
    const glm_tensor *t = &one->tensor;
    rt_assert(block->row >= 0 && block->n_rows >= 0 && block->row <= t->n_rows - block->n_rows);
    rt_assert(block->col >= 0 && block->n_cols > 0 && block->col <= t->n_cols - block->n_cols);
    if (block->n_cols == t->n_cols)
        return glm_checkpoint_read(checkpoint, role, layer, block->row, block->n_rows, out);
    const int64_t item = rt_dtype_bytes(t->dtype);
    const int64_t row_bytes = t->n_cols * item;
    const int64_t n_bytes = block->n_cols * item;
    const int64_t first = one->offset + block->row * row_bytes + block->col * item;
    will_need(one, first, block->n_rows * row_bytes);
    for (int64_t i = 0; i < block->n_rows; i++)
        RT_TRY(glm_st_read(one->file, (char *)out + i * n_bytes, n_bytes, first + i * row_bytes));
    return RT_OK;
}

bool glm_checkpoint_has_weights(const glm_checkpoint *checkpoint) {
    return checkpoint->shards.n_shards > 0;
}

const char *glm_checkpoint_missing(const glm_checkpoint *checkpoint) {
    return checkpoint->missing;
}

int64_t glm_checkpoint_bytes(const glm_checkpoint *checkpoint) {
    int64_t bytes = 0;
    for (int32_t i = 0; i < checkpoint->shards.n_shards; i++)
        bytes += checkpoint->shards.shards[i].file->source.n_bytes;
    return bytes;
}

/* ---- the fingerprint ------------------------------------------------------------------------- */

static rt_status hash_range(
        glm_sha256 *sha, const glm_safetensors *file, void *buffer, int64_t from, int64_t to) {
    for (int64_t at = from; at < to;) {
        const int64_t n = rt_min64(RT_MIB, to - at);
        RT_TRY(glm_st_read(file, buffer, n, at));
        RT_TRY(glm_sha256_add(sha, buffer, n));
        at += n;
    }
    return RT_OK;
}

/* Its name and size, its header with the data's first bytes, its last MiB. */
static rt_status hash_shard(glm_sha256 *sha, const glm_shard *shard, void *buffer) {
    const int64_t n_bytes = shard->file->source.n_bytes;
    char title[512];
    (void)snprintf(title, sizeof title, "%s %" PRId64 "\n", shard->name, n_bytes);
    RT_TRY(glm_sha256_add(sha, title, (int64_t)strlen(title)));
    const int64_t front = rt_min64(n_bytes, rt_max64(RT_MIB, shard->file->header.data_at));
    RT_TRY(hash_range(sha, shard->file, buffer, 0, front));
    return hash_range(sha, shard->file, buffer, rt_max64(front, n_bytes - RT_MIB), n_bytes);
}

static rt_status hash_config(glm_sha256 *sha, const char *dir) {
    char *path = NULL;
    char *text = NULL;
    int64_t n_bytes = 0;
    RT_TRY(rt_path_join(dir, "config.json", &path));
    rt_status status = glm_model_file_read("checkpoint", path, RT_MIB, &text, &n_bytes);
    if (status == RT_OK) status = glm_sha256_add(sha, text, n_bytes);
    free(text);
    free(path);
    return status;
}

static rt_status hash_all(glm_sha256 *sha, const glm_checkpoint *checkpoint, void *buffer) {
    RT_TRY(hash_config(sha, checkpoint->dir));
    for (int32_t i = 0; i < checkpoint->shards.n_shards; i++)
        RT_TRY(hash_shard(sha, &checkpoint->shards.shards[i], buffer));
    return RT_OK;
}

rt_status glm_checkpoint_fingerprint(const glm_checkpoint *checkpoint, char hex[65]) {
    void *buffer = NULL;
    glm_sha256 *sha = NULL;
    uint8_t digest[GLM_SHA256_BYTES];
    RT_TRY(rt_malloc(RT_MIB, "the fingerprint", &buffer));
    rt_status status = glm_sha256_create(&sha);
    if (status == RT_OK) status = hash_all(sha, checkpoint, buffer);
    if (status == RT_OK) status = glm_sha256_finish(sha, digest);
    if (status == RT_OK) (void)glm_sha256_hex(digest, hex);
    glm_sha256_free(sha);
    free(buffer);
    return status;
}
