/* Fuzz target: config.json and generation_config.json. Whatever the bytes, they are refused as a bad
 * model with the file named, or every number of the config is in the range the runtime relies on.
 *
 * Input: byte 0, even for config.json, odd for generation_config.json beside a good config; then the
 * file. */
#include "help_fuzz.h"

#include <math.h>

#include "help_checkpoint.h"
#include "help_dir.h"

/* What no product of sizes passes 2^63 with. */
static void check_ranges(const glm_config *config) {
    FUZZ_REQUIRE(config->n_layers >= 1 && config->n_layers <= GLM_LAYERS_MAX);
    FUZZ_REQUIRE(config->n_heads >= 1 && config->n_heads <= 1024);
    FUZZ_REQUIRE(config->n_kv_heads >= 1 && config->n_heads % config->n_kv_heads == 0);
    FUZZ_REQUIRE(config->head_dim >= 2 && config->head_dim <= 1024);
    FUZZ_REQUIRE(config->rope_dim >= 2 && config->rope_dim % 2 == 0);
    FUZZ_REQUIRE(config->rope_dim <= config->head_dim);
    FUZZ_REQUIRE(config->hidden >= 2 && config->hidden <= 1 << 17);
    FUZZ_REQUIRE(config->ffn >= 1 && config->ffn <= 1 << 20);
    FUZZ_REQUIRE(config->vocab >= 1 && config->vocab <= 1 << 24);
    FUZZ_REQUIRE(config->model_len >= 1 && config->model_len <= 1 << 24);
    FUZZ_REQUIRE(isfinite(config->rope_base) && config->rope_base > 0);
    FUZZ_REQUIRE(config->rms_eps > 0 && config->rms_eps <= 0.1001F);
    FUZZ_REQUIRE(config->top_p > 0 && config->top_p <= 1 && isfinite(config->temperature));
    FUZZ_REQUIRE(config->top_k >= 0);
    FUZZ_REQUIRE(config->min_p >= 0.0F && config->min_p <= 1.0F);
    FUZZ_REQUIRE(config->n_stop_ids >= 0 && config->n_stop_ids <= GLM_STOP_IDS_MAX);
    for (int32_t i = 0; i < config->n_stop_ids; i++)
        FUZZ_REQUIRE(config->stop_ids[i] >= 0 && config->stop_ids[i] < config->vocab);
    FUZZ_REQUIRE(glm_config_parameters(config) > 0);
    FUZZ_REQUIRE(strlen(config->warning) < sizeof config->warning);
}

static const char *directories[2];
static char *good_config;

static void prepare(void) {
    int64_t n_bytes = 0;
    if (good_config) return;
    directories[0] = help_dir_in_memory();
    directories[1] = ckh_make(CKH_HF);
    good_config = ckh_read(directories[1], "config.json", &n_bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes) {
    glm_config config;
    if (n_bytes < 1) return 0;
    prepare();
    const bool is_generation = data[0] & 1;
    const char *name = is_generation ? "generation_config.json" : "config.json";
    ckh_write(directories[is_generation], name, data + 1, (int64_t)n_bytes - 1);
    const rt_status status = glm_config_load(directories[is_generation], &config);
    FUZZ_REQUIRE(status == RT_OK || status == RT_EMODEL);
    if (status == RT_OK)
        check_ranges(&config);
    else
        FUZZ_REQUIRE(strstr(rt_error_text(), name));
    return 0;
}

void fuzz_add_seeds(fuzz_corpus *corpus) {
    for (int kind = 0; kind < CKH_N_KINDS; kind++) {
        const char *dir = ckh_make((ckh_kind)kind);
        int64_t n_bytes = 0;
        char *text = ckh_read(dir, "config.json", &n_bytes);
        fuzz_add_text(corpus, 0, text);
        free(text);
        if (kind == CKH_NATIVE) continue;
        text = ckh_read(dir, "generation_config.json", &n_bytes);
        fuzz_add_text(corpus, 1, text);
        free(text);
    }
    fuzz_add_text(corpus, 1,
            "{\"do_sample\": false, \"top_k\": 40, \"min_p\": 0.05, \"eos_token_id\": 5, \"temperature\": 1}");
}

void fuzz_repair(uint8_t *bytes, size_t n_bytes) {
    (void)bytes;
    (void)n_bytes;
}
