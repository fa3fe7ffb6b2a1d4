/* Weights that are not the model's, and an index that lies about them, are a bad model with a code;
 * no name in an index leads out of the checkpoint's directory.
 *
 * Method: two small checkpoints, one whole and one in two shards, damaged by a table of edits (in
 * tensor files of the same length, so that nothing else changes) and by what the file system can put
 * in a shard's place. */
#include "help_checkpoint.h"
#include "help_dir.h"

#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

static const char first_shard[] = "model-00001-of-00002.safetensors";
static const char second_shard[] = "model-00002-of-00002.safetensors";
static const char index_name[] = "model.safetensors.index.json";

static int n_failed;
static int n_cases;

/* code NULL: it must load. */
static void judge(const char *name, const char *dir, const char *code, const char *says) {
    const rt_status status = ckh_load(dir);
    n_cases++;
    if (!code && status == RT_OK) return;
    if (code && status == RT_EMODEL && strstr(rt_error_text(), code) &&
            strstr(rt_error_text(), says))
        return;
    n_failed++;
    (void)printf("FAIL %s: wanted %s and \"%s\", got %s: %s\n", name, code ? code : "no error",
            says, rt_status_name(status), status == RT_OK ? "" : rt_error_text());
}

/* ---- tensors that are not the model's -------------------------------------------------------- */

typedef struct edit {
    const char *name;
    const char *from; /* both of the same length in a tensor file */
    const char *to;
    const char *code;
    const char *says;
} edit;

#define O_PROJ(shape) "layers.0.self_attn.o_proj.weight\":{\"dtype\":\"F32\",\"shape\":" shape

static const edit tensor_edits[] = {
        {"nothing", "\"model.norm", "\"model.norm", NULL, ""},
        {"58 a transposed matrix", O_PROJ("[8,64]"), O_PROJ("[64,8]"), "MODEL_SHAPE",
                "o_proj.weight\" of "},
        {"58 a matrix that is a vector", O_PROJ("[8,64]"), O_PROJ("[512] "), "MODEL_SHAPE",
                "is [512], the config needs [8, 64]"},
        {"58 a transposed embedding", "[280,8]", "[8,280]", "MODEL_SHAPE",
                "is [8, 280], the config needs [280, 8]"},
        {"59 a tensor of another name", "\"model.norm.weight\"", "\"model.norm.weighs\"",
                "MODEL_MISSING_TENSOR", "\"model.norm.weight\""},
        {"59 a layer of another number", "\"model.layers.1.input_layernorm.weight\"",
                "\"model.layers.2.input_layernorm.weight\"", "MODEL_MISSING_TENSOR",
                "\"model.layers.1.input_layernorm.weight\""},
        {"59 a name with a space", "\"model.norm.weight\"", "\"model.norm weight\"",
                "MODEL_MISSING_TENSOR", "\"model.norm.weight\""},
};

/* Like ckh_edit, in bytes that are no text; the lengths are equal. */
static void edit_bytes(const char *dir, const char *file, const char *from, const char *to) {
    int64_t n_bytes = 0;
    char *bytes = ckh_read(dir, file, &n_bytes);
    char *place = memmem(bytes, (size_t)n_bytes, from, strlen(from));
    CHECK(place && strlen(from) == strlen(to));
    memcpy(place, to, strlen(to));
    ckh_write(dir, file, bytes, n_bytes);
    free(bytes);
}

static void try_tensor_edits(void) {
    const char *dir = ckh_make(CKH_HF);
    int64_t n_bytes = 0;
    char *good = ckh_read(dir, "model.safetensors", &n_bytes);
    for (size_t i = 0; i < sizeof tensor_edits / sizeof *tensor_edits; i++) {
        const edit *one = &tensor_edits[i];
        ckh_write(dir, "model.safetensors", good, n_bytes);
        edit_bytes(dir, "model.safetensors", one->from, one->to);
        judge(one->name, dir, one->code, one->says);
    }
    free(good);
}

/* The config asks for less or more than there is. */
static void try_other_configs(void) {
    static const edit edits[] = {
            {"59 a layer too many", "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1",
                    "MODEL_EXTRA_TENSOR", "\"model.layers.1."},
            {"59 a layer too few", "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3",
                    "MODEL_MISSING_TENSOR", "\"model.layers.2."},
            {"59 bias that nobody asked for", "\"attention_bias\": true",
                    "\"attention_bias\": false", "MODEL_EXTRA_TENSOR", ".bias\""},
            {"59 norms that nobody asked for", "\"glm4\"", "\"glm\"", "MODEL_EXTRA_TENSOR",
                    "layernorm.weight\""},
            {"59 the other spelling", "\"hidden_size\": 8", "\"hidden_size\": 16", "MODEL_SHAPE",
                    "the config needs [280, 16]"},
            {"58 another number of KV heads", "\"num_key_value_heads\": 2",
                    "\"num_key_value_heads\": 4", "MODEL_SHAPE", "config.json says 4 KV groups"},
    };
    const char *dir = ckh_make(CKH_HF);
    int64_t n_bytes = 0;
    char *good = ckh_read(dir, "config.json", &n_bytes);
    for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
        ckh_write(dir, "config.json", good, n_bytes);
        ckh_edit(dir, "config.json", edits[i].from, edits[i].to);
        judge(edits[i].name, dir, edits[i].code, edits[i].says);
    }
    free(good);
}

/* What the values are is no matter of the loader's; engines find NaN in their results. */
static void try_values(void) {
    static const struct {
        const char *name;
        uint8_t bytes[4];
    } values[] = {{"60 NaN", {0, 0, 0xc0, 0x7f}}, {"60 signalling NaN", {1, 0, 0x80, 0x7f}},
            {"60 infinity", {0, 0, 0x80, 0xff}}, {"60 zeros", {0, 0, 0, 0}},
            {"60 subnormal numbers", {1, 0, 0, 0}}};
    const char *dir = ckh_make(CKH_HF);
    int64_t n_bytes = 0;
    char *bytes = ckh_read(dir, "model.safetensors", &n_bytes);
    int64_t n_header = 0;
    memcpy(&n_header, bytes, sizeof n_header);
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        for (int64_t at = 8 + n_header; at < n_bytes; at++)
            bytes[at] = (char)values[i].bytes[(at - 8 - n_header) % 4];
        ckh_write(dir, "model.safetensors", bytes, n_bytes);
        judge(values[i].name, dir, NULL, "");
    }
    ckh_write(dir, "model.safetensors", "\x08\0\0\0\0\0\0\0{}      ", 16);
    judge("15 a file of no tensors", dir, "MODEL_MISSING_TENSOR", "\"model.embed_tokens.weight\"");
    free(bytes);
}

/* ---- an index that lies ---------------------------------------------------------------------- */

#define NORM_IN(shard) "\"model.norm.weight\": " shard

static const edit index_edits[] = {
        {"61 a path upwards", NORM_IN("\"model-00001-of-00002.safetensors\""),
                NORM_IN("\"../../etc/passwd\""), "IDX_PATH", "../../etc/passwd"},
        {"61 a path upwards with the right end", NORM_IN("\"model-00001-of-00002.safetensors\""),
                NORM_IN("\"../model-00001-of-00002.safetensors\""), "IDX_PATH", "is not the plain"},
        {"61 an absolute path", NORM_IN("\"model-00001-of-00002.safetensors\""),
                NORM_IN("\"/etc/passwd\""), "IDX_PATH", "/etc/passwd"},
        {"61 this directory", NORM_IN("\"model-00001-of-00002.safetensors\""), NORM_IN("\".\""),
                "IDX_PATH", ""},
        {"61 the directory above", NORM_IN("\"model-00001-of-00002.safetensors\""),
                NORM_IN("\"..\""), "IDX_PATH", ""},
        {"61 no name", NORM_IN("\"model-00001-of-00002.safetensors\""), NORM_IN("\"\""), "IDX_PATH",
                ""},
        {"61 only an ending", NORM_IN("\"model-00001-of-00002.safetensors\""),
                NORM_IN("\".safetensors\""), "IDX_PATH", ""},
        {"61 an escaped slash", NORM_IN("\"model-00001-of-00002.safetensors\""),
                NORM_IN("\"..\\u002fx.safetensors\""), "IDX_PATH", ""},
        {"61 another kind of file", NORM_IN("\"model-00001-of-00002.safetensors\""),
                NORM_IN("\"config.json\""), "IDX_PATH", "config.json"},
        {"61 a terminal's commands", NORM_IN("\"model-00001-of-00002.safetensors\""),
                NORM_IN("\"\\u001b[2J.safetensors\""), "IDX_PATH", "\\u001B[2J"},
        {"61 a NUL", NORM_IN("\"model-00001-of-00002.safetensors\""),
                NORM_IN("\"model.safetensors\\u0000\""), "JSON at byte ", ""},
        {"61 a name's type", NORM_IN("\"model-00001-of-00002.safetensors\""), NORM_IN("2"),
                "IDX_TYPE", "mapped to 2"},
        {"61 null for a name", NORM_IN("\"model-00001-of-00002.safetensors\""), NORM_IN("null"),
                "IDX_TYPE", "mapped to null"},
        {"62 the wrong shard", NORM_IN("\"model-00001-of-00002.safetensors\""),
                NORM_IN("\"model-00002-of-00002.safetensors\""), "IDX_MISMATCH",
                "\"model.norm.weight\" should be in model-00002-of-00002.safetensors"},
        {"62 a shard that is not there", NORM_IN("\"model-00001-of-00002.safetensors\""),
                NORM_IN("\"model-00003-of-00002.safetensors\""), "IDX_MISSING_SHARD",
                "1 of 3 files"},
        {"62 a tensor that is nowhere", NORM_IN("\"model-00001"),
                "\"model.nothing\": \"model-00002-of-00002.safetensors\", " NORM_IN(
                        "\"model-00001"),
                "IDX_MISMATCH", "\"model.nothing\""},
        {"62 a tensor not mentioned", NORM_IN("\"model-00001-of-00002.safetensors\""),
                "\"model.norm.weighs\": \"model-00001-of-00002.safetensors\"", "IDX_MISMATCH",
                "\"model.norm.weighs\""},
        {"62 a tensor mentioned twice", NORM_IN("\"model-00001"),
                NORM_IN("\"model-00002-of-00002.safetensors\", ") NORM_IN("\"model-00001"),
                "duplicate object key", "JSON at byte "},
        {"62 the total size is a lie", "\"total_size\": ", "\"total_size\": 1", NULL, ""},
        {"62 the total size is negative", "\"total_size\": ", "\"total_size\": -", NULL, ""},
        {"62 the total size is a string",
                "\"total_size\": ", "\"total_size\": \"many\", \"was\": ", NULL, ""},
        {"metadata is no object", "\"metadata\": {", "\"metadata\": 7, \"was\": {", "IDX_TYPE",
                "\"metadata\""},
        {"no map", "\"weight_map\"", "\"weight_maq\"", "IDX_TYPE", "\"weight_map\""},
        {"the map is an array", "\"weight_map\": {", "\"weight_map\": [], \"was\": {", "IDX_TYPE",
                "\"weight_map\""},
        {"the map is empty", "\"weight_map\": {", "\"weight_map\": {}, \"was\": {", "IDX_EMPTY",
                ""},
        {"not an object", "{\n  \"metadata\"", "[{\n  \"metadata\"", "JSON at byte ", ""},
        {"nothing wrong", "\"metadata\"", "\"metadata\"", NULL, ""},
};

static void try_index_edits(void) {
    const char *dir = ckh_make(CKH_SHARDS);
    int64_t n_bytes = 0;
    char *good = ckh_read(dir, index_name, &n_bytes);
    for (size_t i = 0; i < sizeof index_edits / sizeof *index_edits; i++) {
        const edit *one = &index_edits[i];
        ckh_write(dir, index_name, good, n_bytes);
        ckh_edit(dir, index_name, one->from, one->to);
        judge(one->name, dir, one->code, one->says);
    }
    for (int64_t n = 0; n < n_bytes - 2; n += 7) {
        ckh_write(dir, index_name, good, n);
        judge("a cut index", dir, "JSON at byte ", index_name);
    }
    free(good);
}

static void try_many_shards(void) {
    const char *dir = ckh_make(CKH_SHARDS);
    tokh_text text = {0};
    tokh_printf(&text, "{\"weight_map\": {");
    for (int i = 0; i < 1001; i++)
        tokh_printf(&text, "%s\"t%d\": \"%d.safetensors\"", i ? "," : "", i, i);
    tokh_printf(&text, "}}");
    ckh_write(dir, index_name, text.bytes, text.n);
    judge("1001 shards", dir, "IDX_SHARD_COUNT", "1000");
    free(text.bytes);
    text = (tokh_text){0};
    tokh_printf(&text, "{\"a\": \"");
    for (int i = 0; i < 17; i++) {
        static const char zeros[1 << 20];
        tokh_put(&text, zeros, sizeof zeros);
    }
    ckh_write(dir, index_name, text.bytes, text.n);
    judge("an index of 17 MiB", dir, "at most 16777216 are read", index_name);
    free(text.bytes);
}

/* ---- what can stand in a shard's place ------------------------------------------------------- */

static char *take_away(const char *dir, const char *name) {
    char *path = ckh_path(dir, name);
    CHECK(unlink(path) == 0);
    return path;
}

static void try_link(const char *name, const char *target, const char *code) {
    const char *dir = ckh_make(CKH_SHARDS);
    char *path = take_away(dir, second_shard);
    CHECK(symlink(target, path) == 0);
    judge(name, dir, code, second_shard);
    free(path);
}

static void try_places(void) {
    const char *outside = ckh_make(CKH_SHARDS);
    char *there = ckh_path(outside, second_shard);
    try_link("61 a link out of the directory", there, "IDX_PATH");
    try_link("61 a link to a device without end", "/dev/zero", "IDX_PATH");
    try_link("61 a link to a file of /proc", "/proc/self/mem", "IDX_PATH");
    try_link("61 a link to the directory", ".", "IDX_PATH");
    try_link("61 a link to itself", second_shard, "IDX_MISSING_SHARD");
    try_link("61 a link to nothing", "nothing", "IDX_MISSING_SHARD");
    free(there);

    const char *dir = ckh_make(CKH_SHARDS);
    char *path = take_away(dir, second_shard);
    CHECK(mkdir(path, 0700) == 0);
    judge("61 a directory", dir, "IDX_NOT_REGULAR", second_shard);
    CHECK(rmdir(path) == 0 && mkfifo(path, 0600) == 0);
    judge("61 a pipe nobody writes to", dir, "IDX_NOT_REGULAR", second_shard);
    free(path);

    dir = ckh_make(CKH_SHARDS);
    path = take_away(dir, index_name);
    CHECK(mkfifo(path, 0600) == 0);
    judge("61 an index that is a pipe", dir, "is not a regular file", index_name);
    free(path);

    dir = ckh_make(CKH_HF);
    path = take_away(dir, "model.safetensors");
    CHECK(symlink("/etc/passwd", path) == 0);
    judge("61 the only file is a link out", dir, "IDX_PATH", "/etc/passwd");
    CHECK(unlink(path) == 0);
    judge("no weights at all", dir, "holds no weights", "");
    free(path);
}

/* Two shards with the same tensor: the second is a copy of the first, under the second's name. */
static void try_same_tensors(void) {
    const char *dir = ckh_make(CKH_SHARDS);
    int64_t n_bytes = 0;
    char *bytes = ckh_read(dir, first_shard, &n_bytes);
    ckh_write(dir, second_shard, bytes, n_bytes);
    judge("62 two shards with the same tensors", dir, "IDX_DUP", "is in ");
    free(bytes);
}

/* A snapshot of the Hugging Face cache links into the blobs beside it, and only there. */
static void try_snapshot(void) {
    const char *repo = help_dir_in_memory();
    const char *made = ckh_make(CKH_HF);
    char *command = NULL;
    CHECK(asprintf(&command,
                  "cd %s && mkdir -p blobs snapshots/1 elsewhere && cp %s/* snapshots/1 && "
                  "mv snapshots/1/model.safetensors blobs/abc && "
                  "ln -s ../../blobs/abc snapshots/1/model.safetensors",
                  repo, made) > 0);
    CHECK(system(command) == 0);
    free(command);
    char *dir = ckh_path(repo, "snapshots/1");
    judge("a snapshot", dir, NULL, "");
    CHECK(asprintf(&command,
                  "cd %s && mv blobs/abc elsewhere/abc && "
                  "ln -sf ../../elsewhere/abc snapshots/1/model.safetensors",
                  repo) > 0);
    CHECK(system(command) == 0);
    free(command);
    judge("a snapshot that links elsewhere", dir, "IDX_PATH", "elsewhere/abc");
    free(dir);
}

int main(void) {
    try_tensor_edits();
    try_other_configs();
    try_values();
    try_index_edits();
    try_many_shards();
    try_places();
    try_same_tensors();
    try_snapshot();
    (void)printf("%d cases, %d failures\n", n_cases, n_failed);
    return n_failed > 0;
}
