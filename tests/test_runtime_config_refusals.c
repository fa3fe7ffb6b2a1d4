/* A config.json or generation_config.json that is not exactly understood is a bad model, and the
 * message has a code and names the file, the key and the byte.
 *
 * Method: the configs of two small checkpoints. Every integer takes every odd value there is; other
 * damage is a table of edits; both files are cut at every byte. Whatever is accepted must be in the
 * documented range. */
#include "help_checkpoint.h"
#include "help_dir.h"

#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

static int n_failed;
static int n_cases;

static void fail(const char *name, const char *what) {
    n_failed++;
    (void)printf("FAIL %s: %s: %s\n", name, what, rt_error_text());
}

/* Whether the error begins "config: CODE"; of a value that is written somewhere, with its byte. */
static bool has_code(const char *code) {
    static const char *const of_values[] = {"CF_TYPE", "CF_VALUE", "CF_UNSUPPORTED"};
    static const char module[] = "config: ";
    const char *text = rt_error_text();
    const size_t n = strlen(code);
    if (strncmp(text, module, sizeof module - 1) != 0) return false;
    text += sizeof module - 1;
    if (strncmp(text, code, n) != 0) return false;
    for (size_t i = 0; i < sizeof of_values / sizeof *of_values; i++)
        if (strcmp(code, of_values[i]) == 0) return strncmp(text + n, " at byte ", 9) == 0;
    return text[n] == ':' || text[n] == ' ';
}

/* ---- integers -------------------------------------------------------------------------------- */

typedef struct integer_key {
    const char *key;
    const char *as_written; /* in the good config */
    int64_t min;
    int64_t max;
} integer_key;

static const integer_key native_keys[] = {
        {"num_layers", "1", 1, GLM_LAYERS_MAX},
        {"num_attention_heads", "2", 1, 1024},
        {"multi_query_group_num", "1", 1, 2},
        {"kv_channels", "4", 2, 1024},
        {"hidden_size", "4", 2, 1 << 17},
        {"ffn_hidden_size", "6", 1, 1 << 20},
        {"padded_vocab_size", "12", 1, 1 << 24},
        {"seq_length", "1048576", 1, 1 << 24},
};
static const integer_key hf_keys[] = {
        {"num_hidden_layers", "2", 1, GLM_LAYERS_MAX},
        {"num_attention_heads", "4", 1, 1024},
        {"num_key_value_heads", "2", 1, 4},
        {"head_dim", "16", 2, 1024},
        {"hidden_size", "8", 2, 1 << 17},
        {"intermediate_size", "12", 1, 1 << 20},
        {"vocab_size", "280", 1, 1 << 24},
        {"max_position_embeddings", "4096", 1, 1 << 24},
};

/* `is_json` false: the whole file is refused as JSON, with its byte. */
static const struct odd_value {
    const char *text;
    bool is_integer;
    bool is_json;
    int64_t value;
} odd_values[] = {
        {"-1", true, true, -1},
        {"-0", true, true, 0},
        {"0", true, true, 0},
        {"1", true, true, 1},
        {"3", true, true, 3},
        {"2147483647", true, true, INT32_MAX},
        {"2147483648", true, true, INT64_C(2147483648)},
        {"4294967297", true, true, INT64_C(4294967297)},
        {"1099511627776", true, true, INT64_C(1) << 40},
        {"9007199254740993", true, true, (INT64_C(1) << 53) + 1},
        {"9223372036854775807", true, true, INT64_MAX},
        {"9223372036854775808", true, false, 0},
        {"-9223372036854775809", true, false, 0},
        {"1e309", false, false, 0},
        {"NaN", false, false, 0},
        {"Infinity", false, false, 0},
        {"0x10", false, false, 0},
        {"01", false, false, 0},
        {"4.0", false, true, 0},
        {"1e2", false, true, 0},
        {"\"4\"", false, true, 0},
        {"true", false, true, 0},
        {"null", false, true, 0},
        {"[4]", false, true, 0},
        {"{}", false, true, 0},
};

/* The byte at which the key's value begins, as an error says it. */
static bool is_at_value(const char *dir, const char *key) {
    char wanted[64];
    char quoted[64];
    int64_t n_bytes = 0;
    char *text = ckh_read(dir, "config.json", &n_bytes);
    (void)snprintf(quoted, sizeof quoted, "\"%s\": ", key);
    const char *at = strstr(text, quoted);
    CHECK(at);
    (void)snprintf(wanted, sizeof wanted, " at byte %td: ", at + strlen(quoted) - text);
    free(text);
    return strstr(rt_error_text(), wanted);
}

static void judge_integer(const char *dir, const char *name, const integer_key *key,
        const struct odd_value *odd, rt_status status, const glm_config *config) {
    const bool is_in_range =
            odd->is_integer && odd->is_json && odd->value >= key->min && odd->value <= key->max;
    n_cases++;
    if (status == RT_OK) {
        if (!is_in_range) fail(name, "accepted");
        if (config->n_heads % config->n_kv_heads != 0 || config->rope_dim % 2 != 0)
            fail(name, "contradicts itself");
        return;
    }
    if (status != RT_EMODEL) fail(name, "another status");
    if (!strstr(rt_error_text(), "config.json")) fail(name, "the file is not named");
    if (!odd->is_json && !strstr(rt_error_text(), "JSON at byte ")) fail(name, "no byte");
    if (odd->is_json && !is_in_range && !strstr(rt_error_text(), key->key))
        fail(name, "the key is not named");
    if (odd->is_json && !is_in_range &&
            (!has_code(odd->is_integer ? "CF_RANGE" : "CF_TYPE") || !is_at_value(dir, key->key)))
        fail(name, "another code, or byte");
}

static void try_integers(ckh_kind kind, const integer_key *keys, size_t n_keys) {
    const char *dir = ckh_make(kind);
    int64_t n_bytes = 0;
    char *good = ckh_read(dir, "config.json", &n_bytes);
    for (size_t i = 0; i < n_keys; i++)
        for (size_t j = 0; j < sizeof odd_values / sizeof *odd_values; j++) {
            char was[96];
            char is[96];
            glm_config config;
            (void)snprintf(was, sizeof was, "\"%s\": %s", keys[i].key, keys[i].as_written);
            (void)snprintf(is, sizeof is, "\"%s\": %s", keys[i].key, odd_values[j].text);
            ckh_write(dir, "config.json", good, n_bytes);
            ckh_edit(dir, "config.json", was, is);
            judge_integer(
                    dir, is, &keys[i], &odd_values[j], glm_config_load(dir, &config), &config);
        }
    free(good);
}

/* ---- edits ----------------------------------------------------------------------------------- */

typedef struct edit {
    const char *name;
    const char *from;
    const char *to;
    const char *says; /* NULL: it is a good config all the same */
    const char *code; /* NULL where says is */
} edit;

#define LAYERS "\"num_layers\": 1,"
#define RATIO  "\"rope_ratio\": 10000,"
#define EOS    "\"eos_token_id\": [2, 3]"

static const edit native_edits[] = {
        {"unchanged", LAYERS, LAYERS, NULL, NULL},
        {"auto_map is ignored", LAYERS, LAYERS "\"auto_map\": {\"AutoModel\": \"evil.Evil\"},",
                NULL, NULL},
        {"unknown keys are ignored", LAYERS, LAYERS "\"foo\": [1, {\"bar\": null}],", NULL, NULL},
        {"a key is missing", LAYERS, "", "\"num_layers\" is missing", "CF_MISSING"},
        {"a key comes twice", LAYERS, LAYERS LAYERS, "duplicate object key", "JSON_DUP_KEY"},
        {"a key comes twice, once escaped", LAYERS, LAYERS "\"num_la\\u0079ers\": 1,",
                "duplicate object key", "JSON_DUP_KEY"},
        {"two counts of layers", LAYERS, LAYERS "\"num_hidden_layers\": 2,",
                "\"num_layers\" is 1 and \"num_hidden_layers\" is 2", "CF_CONFLICT"},
        {"heads not divisible", "\"num_attention_heads\": 2", "\"num_attention_heads\": 7", NULL,
                NULL},
        {"rope ratio 0", RATIO, "\"rope_ratio\": 0,", "\"rope_ratio\" is 0", "CF_RANGE"},
        {"rope ratio negative", RATIO, "\"rope_ratio\": -1.5,", "\"rope_ratio\" is -1.5",
                "CF_RANGE"},
        {"rope ratio NaN", RATIO, "\"rope_ratio\": NaN,", "JSON at byte ", "JSON_SYNTAX"},
        {"rope ratio huge", RATIO, "\"rope_ratio\": 1e10,", "\"rope_ratio\" is 1", "CF_RANGE"},
        {"rope ratio a string", RATIO, "\"rope_ratio\": \"500\",", "\"rope_ratio\" is \"500\"",
                "CF_TYPE"},
        {"rope ratio lost", RATIO, "", "\"rope_ratio\" is missing", "CF_MISSING"},
        {"eos negative", EOS, "\"eos_token_id\": -1", "\"eos_token_id\"", "CF_VALUE"},
        {"eos behind the vocabulary", EOS, "\"eos_token_id\": [2, 12]", "\"eos_token_id\"",
                "CF_VALUE"},
        {"eos 2^32 + 2", EOS, "\"eos_token_id\": 4294967298", "\"eos_token_id\"", "CF_VALUE"},
        {"eos a string", EOS, "\"eos_token_id\": \"2\"", "\"eos_token_id\"", "CF_VALUE"},
        {"eos a list in a list", EOS, "\"eos_token_id\": [[2]]", "\"eos_token_id\"", "CF_VALUE"},
        {"eos an object", EOS, "\"eos_token_id\": {}", "\"eos_token_id\"", "CF_VALUE"},
        {"eos empty", EOS, "\"eos_token_id\": []", NULL, NULL},
        {"eos null", EOS, "\"eos_token_id\": null", NULL, NULL},
        {"another model", "\"chatglm\"", "\"llama\"", "\"model_type\" is \"llama\"", "CF_VALUE"},
        {"no model type", "\"model_type\": \"chatglm\", ", "", "\"model_type\" is missing",
                "CF_MISSING"},
        {"model type a number", "\"chatglm\"", "4", "\"model_type\" is 4", "CF_VALUE"},
        {"model type with a NUL", "\"chatglm\"", "\"chatglm\\u0000\"", "JSON at byte ", "JSON_NUL"},
        {"another dtype", "\"bfloat16\"", "\"int8\"", "\"torch_dtype\" is \"int8\"", "CF_VALUE"},
        {"dtype a list", "\"bfloat16\"", "[\"bfloat16\"]", "\"torch_dtype\" is [\"bfloat16\"]",
                "CF_VALUE"},
        {"a switch is a string", "\"rmsnorm\": true", "\"rmsnorm\": \"true\"", "\"rmsnorm\"",
                "CF_TYPE"},
        {"a switch is 1", "\"rmsnorm\": true", "\"rmsnorm\": 1", "\"rmsnorm\"", "CF_TYPE"},
        {"a switch is off", "\"rmsnorm\": true", "\"rmsnorm\": false", "\"rmsnorm\"", "CF_VALUE"},
        {"bias where there is none", "\"add_bias_linear\": false", "\"add_bias_linear\": true",
                "\"add_bias_linear\"", "CF_VALUE"},
        {"epsilon 0", "1.5625e-07", "0", "\"layernorm_epsilon\"", "CF_RANGE"},
        {"epsilon negative", "1.5625e-07", "-1e-5", "\"layernorm_epsilon\"", "CF_RANGE"},
        {"quantised", LAYERS, LAYERS "\"quantization_config\": {\"bits\": 4},",
                "\"quantization_config\"", "CF_UNSUPPORTED"},
        {"quantised otherwise", LAYERS, LAYERS "\"quantization_bit\": 4,", "\"quantization_bit\"",
                "CF_RANGE"},
        {"a vision tower", LAYERS, LAYERS "\"vision_config\": {},", "\"vision_config\"",
                "CF_UNSUPPORTED"},
        {"a prefix encoder", LAYERS, LAYERS "\"pre_seq_len\": 128,", "\"pre_seq_len\"",
                "CF_UNSUPPORTED"},
        {"a terminal's commands", "\"chatglm\"", "\"\\u001b[2J\\u0007\"", "\"\\u001B[2J\\u0007\"",
                "CF_VALUE"},
        {"a control character in a string", "\"chatglm\"", "\"\x1b[2J\"", "control character",
                "JSON_SYNTAX"},
        {"bad UTF-8", "\"chatglm\"", "\"chat\xff\"", "unable to decode byte 0xff", "JSON_UTF8"},
        {"a byte order mark", "{\"model_type\"", "\xef\xbb\xbf{\"model_type\"", "JSON at byte ",
                "JSON_SYNTAX"},
        {"a comment", LAYERS, LAYERS "/* */", "JSON at byte ", "JSON_SYNTAX"},
        {"a trailing comma", EOS "}", EOS ",}", "JSON at byte ", "JSON_SYNTAX"},
        {"something behind it", EOS "}", EOS "} {}", "end of file expected", "JSON_TRAILING"},
        {"an array around it", "{\"model_type\"", "[{\"model_type\"", "JSON at byte ", "JSON_CUT"},
};

static void try_edits(ckh_kind kind, const char *file, const edit *edits, size_t n_edits) {
    const char *dir = ckh_make(kind);
    int64_t n_bytes = 0;
    char *good = ckh_read(dir, file, &n_bytes);
    for (size_t i = 0; i < n_edits; i++) {
        glm_config config;
        ckh_write(dir, file, good, n_bytes);
        ckh_edit(dir, file, edits[i].from, edits[i].to);
        const rt_status status = glm_config_load(dir, &config);
        n_cases++;
        if (!edits[i].says && status != RT_OK) fail(edits[i].name, "refused");
        if (edits[i].says && status != RT_EMODEL) fail(edits[i].name, "not a bad model");
        if (edits[i].says && status == RT_EMODEL &&
                (!strstr(rt_error_text(), edits[i].says) || !strstr(rt_error_text(), file)))
            fail(edits[i].name, "says something else");
        if (edits[i].says && !has_code(edits[i].code)) fail(edits[i].name, edits[i].code);
    }
    free(good);
}

#define HEADS "\"num_attention_heads\": 4, \"num_key_value_heads\": 2"
#define THETA "\"rope_theta\": 10000, \"partial_rotary_factor\": 0.5,"

static const edit hf_edits[] = {
        {"unchanged", HEADS, HEADS, NULL, NULL},
        {"heads not divisible", HEADS, "\"num_attention_heads\": 4, \"num_key_value_heads\": 3",
                "cannot be divided", "CF_CONFLICT"},
        {"more KV heads than heads", HEADS,
                "\"num_attention_heads\": 2, \"num_key_value_heads\": 4",
                "\"num_key_value_heads\" is 4", "CF_RANGE"},
        {"an odd number of rotary dimensions", THETA,
                "\"rope_theta\": 10000, \"partial_rotary_factor\": 0.3125,", "even number",
                "CF_CONFLICT"},
        {"no rotary dimension", THETA, "\"rope_theta\": 10000, \"partial_rotary_factor\": 0.01,",
                "even number", "CF_CONFLICT"},
        {"more rotary dimensions than there are", THETA,
                "\"rope_theta\": 10000, \"partial_rotary_factor\": 2,",
                "\"partial_rotary_factor\" is 2", "CF_RANGE"},
        {"theta 0", THETA, "\"rope_theta\": 0,", "\"rope_theta\" is 0", "CF_RANGE"},
        {"theta missing", THETA, "", "\"rope_theta\" is missing", "CF_MISSING"},
        {"theta twice, not the same", THETA, "\"rope_parameters\": {\"rope_theta\": 500}," THETA,
                "in \"rope_parameters\"", "CF_CONFLICT"},
        {"scaled angles", THETA, THETA "\"rope_scaling\": {\"type\": \"yarn\"},", "\"yarn\"",
                "CF_UNSUPPORTED"},
        {"scaled angles of no kind", THETA, THETA "\"rope_scaling\": 7,", "\"rope_scaling\" is 7",
                "CF_VALUE"},
        {"another activation", "\"silu\"", "\"gelu\"", "\"hidden_act\" is \"gelu\"", "CF_VALUE"},
};

static const edit generation_edits[] = {
        {"unchanged", "0.8", "0.8", NULL, NULL},
        {"temperature negative", "\"temperature\": 0.8", "\"temperature\": -1", "\"temperature\"",
                "CF_RANGE"},
        {"temperature a string", "\"temperature\": 0.8", "\"temperature\": \"1\"",
                "\"temperature\"", "CF_TYPE"},
        {"temperature 1e309", "\"temperature\": 0.8", "\"temperature\": 1e309", "JSON at byte ",
                "JSON_NUMBER"},
        {"top_p 0", "\"top_p\": 0.8", "\"top_p\": 0", "\"top_p\"", "CF_RANGE"},
        {"top_p 2", "\"top_p\": 0.8", "\"top_p\": 2", "\"top_p\"", "CF_RANGE"},
        {"top_k negative", "\"top_p\": 0.8", "\"top_k\": -1", "\"top_k\"", "CF_RANGE"},
        {"min_p 2", "\"top_p\": 0.8", "\"min_p\": 2", "\"min_p\"", "CF_RANGE"},
        {"top_k 2^31", "\"top_p\": 0.8", "\"top_k\": 2147483648", "\"top_k\"", "CF_RANGE"},
        {"do_sample 1", "\"do_sample\": true", "\"do_sample\": 1", "\"do_sample\"", "CF_TYPE"},
        {"eos behind the vocabulary", "[256, 257]", "[280]", "\"eos_token_id\"", "CF_VALUE"},
        {"too many eos", "[256, 257]", "[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]",
                "\"eos_token_id\"", "CF_RANGE"},
        {"not an object",
                "{\"eos_token_id\": [256, 257], \"do_sample\": true, \"temperature\": "
                "0.8, \"top_p\": 0.8}",
                "[]", "is not a JSON object", "JSON_NOT_OBJECT"},
};

/* ---- files ----------------------------------------------------------------------------------- */

static void require_bad(const char *name, const char *dir, const char *says) {
    glm_config config;
    n_cases++;
    if (glm_config_load(dir, &config) != RT_EMODEL) fail(name, "not a bad model");
    if (!strstr(rt_error_text(), says)) fail(name, "says something else");
}

/* A file of one thing repeated. */
static void try_repeated(const char *dir, const char *name, const char *before, const char *one,
        int64_t n, const char *after, const char *says) {
    tokh_text text = {0};
    tokh_put(&text, before, (int64_t)strlen(before));
    for (int64_t i = 0; i < n; i++) tokh_put(&text, one, (int64_t)strlen(one));
    tokh_put(&text, after, (int64_t)strlen(after));
    ckh_write(dir, "config.json", text.bytes, text.n);
    require_bad(name, dir, says);
    free(text.bytes);
}

static void try_files(void) {
    const char *dir = help_dir_in_memory();
    char *path = ckh_path(dir, "config.json");
    ckh_write(dir, "config.json", "", 0);
    require_bad("an empty file", dir, "JSON at byte ");
    ckh_write(dir, "config.json", "{\"a\": 1}\0", 9);
    require_bad("a NUL behind it", dir, "JSON at byte ");
    try_repeated(dir, "100,000 brackets", "{\"a\": ", "[", 100000, "", "maximum parsing depth");
    try_repeated(dir, "an eos of 100,000 ids", "{\"model_type\": \"chatglm\", \"eos_token_id\": [0",
            ",1", 100000, "]}", "is missing");
    try_repeated(dir, "a file of 2 MiB", "{\"a\": \"", "xxxxxxxx", 1 << 18, "\"}",
            "has 2097161 bytes, at most 1048576 are read");
    CHECK(unlink(path) == 0 && mkdir(path, 0700) == 0);
    require_bad("a directory", dir, "is not a regular file");
    CHECK(rmdir(path) == 0 && mkfifo(path, 0600) == 0);
    require_bad("a pipe nobody writes to", dir, "is not a regular file");
    CHECK(unlink(path) == 0 && symlink("/dev/zero", path) == 0);
    require_bad("a device without end", dir, "is not a regular file");
    CHECK(unlink(path) == 0);
    glm_config config;
    CHECK(glm_config_load(dir, &config) == RT_EMODEL);
    free(path);
}

/* With a million ids the list itself is refused, before any id is looked at. */
static void try_long_eos(void) {
    const char *dir = ckh_make(CKH_NATIVE);
    tokh_text ids = {0};
    tokh_printf(&ids, "\"eos_token_id\": [2");
    for (int i = 0; i < 400000; i++) tokh_put(&ids, ",2", 2);
    tokh_printf(&ids, "]");
    ckh_edit(dir, "config.json", EOS, ids.bytes);
    require_bad("an eos of 400,001 ids", dir, "a list of at most 64 ids");
    free(ids.bytes);
}

/* The shortest length, GLM-4-9B-Chat's, of which the base of a lost rope_ratio is surely wrong, and one less. */
static void try_lost_ratio(void) {
    glm_config config;
    const char *dir = ckh_make(CKH_NATIVE);
    ckh_edit(dir, "config.json", RATIO, "");
    ckh_edit(dir, "config.json", "\"seq_length\": 1048576", "\"seq_length\": 131072");
    require_bad("rope ratio lost at 128K", dir, "\"rope_ratio\" is missing");
    ckh_edit(dir, "config.json", "\"seq_length\": 131072", "\"seq_length\": 131071");
    CHECK(glm_config_load(dir, &config) == RT_OK && config.rope_base == 1e4);
}

static void try_cuts(ckh_kind kind, const char *file, const char *says) {
    const char *dir = ckh_make(kind);
    int64_t n_bytes = 0;
    char *good = ckh_read(dir, file, &n_bytes);
    CHECK(good[n_bytes - 1] == '\n');
    for (int64_t n = 0; n < n_bytes - 1; n++) {
        ckh_write(dir, file, good, n);
        require_bad("a cut file", dir, says);
    }
    free(good);
}

#define N_OF(table) (sizeof(table) / sizeof *(table))

int main(void) {
    try_integers(CKH_NATIVE, native_keys, N_OF(native_keys));
    try_integers(CKH_HF, hf_keys, N_OF(hf_keys));
    try_edits(CKH_NATIVE, "config.json", native_edits, N_OF(native_edits));
    try_edits(CKH_HF, "config.json", hf_edits, N_OF(hf_edits));
    try_edits(CKH_HF, "generation_config.json", generation_edits, N_OF(generation_edits));
    try_files();
    try_long_eos();
    try_lost_ratio();
    try_cuts(CKH_NATIVE, "config.json", "config.json:");
    try_cuts(CKH_HF, "generation_config.json", "generation_config.json:");
    (void)printf("%d cases, %d failures\n", n_cases, n_failed);
    return n_failed > 0;
}
