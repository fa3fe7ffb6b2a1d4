/* Numbers by counter: value i of a tensor is a hash of (seed, name, i), so that files are the same
 * whatever the order or the step they are written in. A normal variate is the sum of the hash's four
 * 16-bit parts, centred (Irwin-Hall with n = 4: bell-shaped, within +-3.5 standard deviations). */
#include "random_model.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/memstream.h"
#include "base/pool.h"
#include "base/random.h"
#include "base/size.h"
#include "byte_tokenizer.h"
#include "checkpoint_names.h"
#include "checkpoint_write.h"

enum {
    BATCH = 1 << 22,
    SLICE = 1 << 16
}; /* numbers that are written at once; that a thread makes */

static const int64_t shard_bytes_usual = 2000000000;

typedef struct planned {
    glm_tensor_spec spec;
    glm_role role; /* the first one; its kind decides the distribution */
    int32_t shard;
} planned;

struct glm_random_model {
    char *dir;
    glm_config config;
    uint64_t seed;
    int64_t shard_bytes_max;
    planned *tensors;
    int64_t n_tensors;
    int32_t n_shards;

    int64_t tensor; /* the next number to write: this tensor, */
    int64_t index;  /* this element */
    glm_checkpoint_writer *writer;
    int64_t done;
    int64_t total;
    rt_pool *pool;
    void *batch;
};

static const char default_config[] = "{\n"
                                     "  \"architectures\": [\"GlmForCausalLM\"],\n"
                                     "  \"model_type\": \"glm\",\n"
                                     "  \"attention_bias\": true,\n"
                                     "  \"hidden_act\": \"silu\",\n"
                                     "  \"hidden_size\": 256,\n"
                                     "  \"intermediate_size\": 688,\n"
                                     "  \"num_hidden_layers\": 4,\n"
                                     "  \"num_attention_heads\": 8,\n"
                                     "  \"num_key_value_heads\": 2,\n"
                                     "  \"head_dim\": 64,\n"
                                     "  \"partial_rotary_factor\": 0.5,\n"
                                     "  \"rope_theta\": 100000000.0,\n"
                                     "  \"max_position_embeddings\": 1048576,\n"
                                     "  \"rms_norm_eps\": 1.5625e-07,\n"
                                     "  \"tie_word_embeddings\": false,\n"
                                     "  \"vocab_size\": 272,\n"
                                     "  \"torch_dtype\": \"bfloat16\",\n"
                                     "  \"pad_token_id\": 256,\n"
                                     "  \"eos_token_id\": [256, 263, 265]\n"
                                     "}\n";

/* ---- what to write --------------------------------------------------------------------------- */

static bool is_listed(const glm_random_model *model, int64_t from, glm_role role) {
    for (int64_t i = from; i < model->n_tensors; i++)
        if (model->tensors[i].role == role) return true;
    return false;
}

/* The tensors of one group: the usual name of each, aliases and parts left out. */
static void list_kinds(glm_random_model *model, glm_kinds kinds, int32_t layer) {
    const int64_t from = model->n_tensors;
    bool is_covered[GLM_N_ROLES] = {false};
    for (int32_t i = 0; i < kinds.n; i++) {
        const glm_kind *kind = &kinds.kinds[i];
        if (is_covered[kind->first] || is_listed(model, from, kind->first)) continue;
        if (!glm_role_is_needed(&model->config, kind->first)) continue;
        planned *one = &model->tensors[model->n_tensors++];
        *one = (planned){.role = kind->first, .spec = {.dtype = model->config.dtype}};
        char name[GLM_TENSOR_NAME_BYTES];
        (void)snprintf(one->spec.name, sizeof one->spec.name, "%s",
                glm_tensor_name(model->config.naming, kind, layer, name));
        for (int32_t r = 0; r < kind->n_roles; r++) {
            is_covered[(int)kind->first + r] = true;
            one->spec.n_rows += glm_role_rows(&model->config, (glm_role)((int)kind->first + r));
        }
        if (!glm_role_is_vector(kind->first))
            one->spec.n_cols = glm_role_cols(&model->config, kind->first);
    }
}

static rt_status list_tensors(glm_random_model *model) {
    const glm_naming naming = model->config.naming;
    const glm_kinds outside = glm_kinds_outside(naming);
    const glm_kinds inside = glm_kinds_of_layer(naming);
    const int64_t n_max = outside.n + (int64_t)inside.n * model->config.n_layers;
    RT_TRY(rt_calloc(n_max, sizeof *model->tensors, "a list of tensors", &model->tensors));
    list_kinds(model, outside, 0);
    for (int32_t layer = 0; layer < model->config.n_layers; layer++)
        list_kinds(model, inside, layer);
    int64_t in_shard = 0;
    for (int64_t i = 0; i < model->n_tensors; i++) {
        const int64_t bytes = glm_tensor_spec_bytes(&model->tensors[i].spec);
        if (in_shard > 0 && in_shard + bytes > model->shard_bytes_max) {
            model->n_shards++;
            in_shard = 0;
        }
        in_shard += bytes;
        model->total += bytes;
        model->tensors[i].shard = model->n_shards;
    }
    model->n_shards++;
    return RT_OK;
}

/* ---- numbers --------------------------------------------------------------------------------- */

static uint64_t tensor_key(const glm_random_model *model, const planned *one) {
    uint64_t key = rt_random_mix(model->seed + RT_RANDOM_STEP);
    for (const char *c = one->spec.name; *c; c++)
        key = rt_random_mix(key ^ (uint64_t)(unsigned char)*c);
    return key;
}

static float normal(uint64_t key, int64_t index) {
    const uint64_t h = rt_random_mix(key + (uint64_t)index * RT_RANDOM_STEP);
    const int64_t sum = (int64_t)(h & 0xffff) + (int64_t)(h >> 16 & 0xffff) +
                        (int64_t)(h >> 32 & 0xffff) + (int64_t)(h >> 48);
    /* Mean 2 x 65535, variance 4 x (2^32 - 1) / 12. */
    return (float)(sum - 131070) * (float)(1.7320508075688772 / 65536.0);
}

static void distribution(const planned *one, float *mean, float *deviation) {
    *mean = 0.0f;
    *deviation = 0.1f; /* biases */
    if (!glm_role_is_vector(one->role))
        *deviation = one->role == GLM_EMBEDDING ? 0.02f : 1.0f / sqrtf((float)one->spec.n_cols);
    else if (one->role != GLM_Q_BIAS && one->role != GLM_K_BIAS && one->role != GLM_V_BIAS) {
        *mean = 1.0f; /* norms */
        *deviation = 0.02f;
    }
}

typedef struct batch {
    const glm_random_model *model;
    uint64_t key;
    float mean, deviation;
    rt_dtype dtype;
    int64_t n;
} batch;

static void fill_slice(void *context, int64_t slice, int thread) {
    const batch *b = context;
    void *const to = b->model->batch;
    (void)thread;
    const int64_t end = rt_min64(b->n, (slice + 1) * SLICE);
    for (int64_t i = slice * SLICE; i < end; i++) {
        /* The product is exact in double: fused or not, the sum rounds the same. */
        const float value =
                (float)((double)b->mean +
                        (double)b->deviation * (double)normal(b->key, b->model->index + i));
        if (b->dtype == RT_F32)
            ((float *)to)[i] = value;
        else if (b->dtype == RT_BF16)
            ((uint16_t *)to)[i] = rt_float_to_bf16(value);
        else
            ((uint16_t *)to)[i] = rt_float_to_f16(value);
    }
}

static void fill_batch(glm_random_model *model, const planned *one, int64_t n) {
    batch b = {.model = model, .key = tensor_key(model, one), .dtype = one->spec.dtype, .n = n};
    distribution(one, &b.mean, &b.deviation);
    rt_pool_run(model->pool, (n + SLICE - 1) / SLICE, fill_slice, &b);
}

/* ---- files ----------------------------------------------------------------------------------- */

static void shard_name(const glm_random_model *model, int32_t shard, char name[64]) {
    if (model->n_shards == 1)
        (void)snprintf(name, 64, "model.safetensors");
    else
        (void)snprintf(name, 64, "model-%05" PRId32 "-of-%05" PRId32 ".safetensors", shard + 1,
                model->n_shards);
}

static rt_status open_shard(glm_random_model *model, int32_t shard) {
    int64_t n = 0;
    glm_tensor_spec *specs = NULL;
    RT_TRY(rt_calloc(model->n_tensors, sizeof *specs, "a shard's tensors", &specs));
    for (int64_t i = 0; i < model->n_tensors; i++)
        if (model->tensors[i].shard == shard) specs[n++] = model->tensors[i].spec;
    char name[64];
    char *path = NULL;
    shard_name(model, shard, name);
    rt_status status = rt_path_join(model->dir, name, &path);
    if (status == RT_OK) status = glm_checkpoint_writer_open(path, specs, n, &model->writer);
    free(path);
    free(specs);
    return status;
}

static rt_status close_shard(glm_random_model *model) {
    glm_checkpoint_writer *writer = model->writer;
    model->writer = NULL;
    return glm_checkpoint_writer_finish(writer);
}

/* Written last: where it stands, every shard does. */
static rt_status write_index(const glm_random_model *model) {
    if (model->n_shards == 1) return RT_OK;
    char *text = NULL;
    size_t n_text = 0;
    FILE *out = rt_memstream_open(&text, &n_text);
    if (!out) return rt_fail_errno(RT_ENOMEM, "random model: no memory for the index");
    (void)fprintf(out, "{\n  \"metadata\": {\"total_size\": %" PRId64 "},\n  \"weight_map\": {\n",
            model->total);
    for (int64_t i = 0; i < model->n_tensors; i++) {
        char name[64];
        shard_name(model, model->tensors[i].shard, name);
        (void)fprintf(out, "    \"%s\": \"%s\"%s\n", model->tensors[i].spec.name, name,
                i + 1 < model->n_tensors ? "," : "");
    }
    (void)fputs("  }\n}\n", out);
    if (!rt_memstream_close(out, &text))
        return rt_fail(RT_ENOMEM, "random model: no memory for the index");
    const rt_status status = glm_write_text(model->dir, "model.safetensors.index.json", text);
    free(text);
    return status;
}

/* Bytes of this model's files that an earlier run left and this one replaces. */
static int64_t bytes_replaced(const glm_random_model *model) {
    int64_t total = 0;
    for (int32_t shard = 0; shard < model->n_shards; shard++) {
        char name[64];
        char *path = NULL;
        struct stat info;
        shard_name(model, shard, name);
        if (rt_path_join(model->dir, name, &path) != RT_OK) return total;
        if (stat(path, &info) == 0) total += (int64_t)info.st_size;
        free(path);
    }
    return total;
}

rt_status glm_random_model_config(const char *config_path, char **text) {
    int64_t n_bytes = 0;
    if (config_path) return rt_file_read(config_path, RT_MIB, text, &n_bytes);
    *text = strdup(default_config);
    return *text ? RT_OK : rt_fail(RT_ENOMEM, "random model: no memory for a config");
}

/* ---- begin, step, end ------------------------------------------------------------------------ */

static rt_status prepare(glm_random_model *model) {
    RT_TRY(glm_config_load(model->dir, &model->config));
    RT_TRY(list_tensors(model));
    RT_TRY(glm_checkpoint_check_room(model->dir, model->dir, model->total - bytes_replaced(model)));
    RT_TRY(rt_malloc((int64_t)BATCH * 4, "random numbers", &model->batch));
    RT_TRY(rt_pool_create(0, &model->pool));
    RT_TRY(glm_byte_tokenizer_write(model->dir, model->config.vocab));
    return open_shard(model, 0);
}

/* A config is read where it will stand; one that cannot be used is taken away again. */
static rt_status write_config_and_prepare(glm_random_model *model, const char *text) {
    char *path = NULL;
    RT_TRY(rt_path_join(model->dir, "config.json", &path));
    const bool is_new = !rt_file_exists(path);
    rt_status status = glm_write_text(model->dir, "config.json", text);
    if (status == RT_OK) status = prepare(model);
    if (status != RT_OK && is_new) {
        (void)unlink(path);
        (void)rmdir(model->dir); /* refused, rightly, where something else is in it */
    }
    free(path);
    return status;
}

static rt_status begin(glm_random_model *model, const char *dir, const char *config_path) {
    model->dir = strdup(dir);
    if (!model->dir) return rt_fail(RT_ENOMEM, "random model: no memory for the path %s", dir);
    char *text = NULL;
    RT_TRY(glm_random_model_config(config_path, &text));
    rt_status status = rt_mkdirs(dir);
    if (status == RT_OK) status = write_config_and_prepare(model, text);
    free(text);
    return status;
}

rt_status glm_random_model_begin(
        const char *dir, const glm_random_options *options, glm_random_model **out) {
    rt_assert(options->shard_bytes_max >= 0);
    glm_random_model *model = NULL;
    RT_TRY(rt_calloc(1, sizeof *model, "a random model", &model));
    model->seed = options->seed;
    model->shard_bytes_max =
            options->shard_bytes_max ? options->shard_bytes_max : shard_bytes_usual;
    const rt_status status = begin(model, dir, options->config_path);
    if (status != RT_OK) {
        glm_random_model_end(model);
        return status;
    }
    *out = model;
    return RT_OK;
}

/* The current tensor is written: on to the next, in its shard. */
static rt_status next_tensor(glm_random_model *model) {
    const int32_t shard = model->tensors[model->tensor].shard;
    model->tensor++;
    model->index = 0;
    const bool is_last = model->tensor == model->n_tensors;
    if (!is_last && model->tensors[model->tensor].shard == shard) return RT_OK;
    RT_TRY(close_shard(model));
    return is_last ? write_index(model) : open_shard(model, shard + 1);
}

rt_status glm_random_model_step(glm_random_model *model, int64_t *done, int64_t *total) {
    const planned *one = &model->tensors[model->tensor];
    const int64_t element = rt_dtype_bytes(one->spec.dtype);
    const int64_t n_elements = glm_tensor_spec_bytes(&one->spec) / element;
    const int64_t n = rt_min64(BATCH, n_elements - model->index);
    fill_batch(model, one, n);
    RT_TRY(glm_checkpoint_writer_append(model->writer, model->batch, n * element));
    model->index += n;
    model->done += n * element;
    if (model->index == n_elements) RT_TRY(next_tensor(model));
    *done = model->done;
    *total = model->total;
    return RT_OK;
}

void glm_random_model_end(glm_random_model *model) {
    if (!model) return;
    glm_checkpoint_writer_abort(model->writer);
    rt_pool_free(model->pool);
    free(model->batch);
    free(model->tensors);
    free(model->dir);
    free(model);
}

rt_status glm_random_model_write(const char *dir, const char *config_path, uint64_t seed) {
    const glm_random_options options = {.config_path = config_path, .seed = seed};
    glm_random_model *model = NULL;
    RT_TRY(glm_random_model_begin(dir, &options, &model));
    int64_t done = 0;
    int64_t total = 1;
    rt_status status = RT_OK;
    while (status == RT_OK && done < total) status = glm_random_model_step(model, &done, &total);
    glm_random_model_end(model);
    return status;
}
