#include "variant.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* The published config files, of the 32B a public listing of its metadata. The shape says which it
 * may be, the other numbers are compared. */
typedef struct published {
    const char *name;
    int64_t hidden;
    int32_t n_layers;
    int32_t n_heads;
    int32_t n_kv_heads;
    bool has_post_norms;
    bool has_qkv_bias;

    int64_t ffn;
    int64_t vocab;
    int64_t model_len;
    double rope_base;
    double rms_eps;
} published;

static const published models[] = {
        {"GLM-4-9B-Chat-1M", 4096, 40, 32, 4, false, true, 13696, 151552, 1048576, 1e8, 1.5625e-7},
        {"GLM-4-9B-Chat (128K)", 4096, 40, 32, 2, false, true, 13696, 151552, 131072, 5e6,
                1.5625e-7},
        {"GLM-4-9B (base, 8K)", 4096, 40, 32, 2, false, true, 13696, 151552, 8192, 1e4, 1.5625e-7},
        {"GLM-4-9B-0414", 4096, 40, 32, 2, true, true, 13696, 151552, 32768, 1e4, 1e-5},
        {"GLM-4-32B-0414", 6144, 61, 48, 2, true, false, 23040, 151552, 32768, 1e4, 1e-5},
};
enum { N_MODELS = sizeof models / sizeof *models, CHAT_1M = 0, CHAT_128K = 1, BASE = 2 };

/* Models tuned from GLM-4-9B: its shape, their own length and rotary base. */
enum { LONGCITE = 0 };
static const struct {
    const char *word;
    const char *name;
} tuned[] = {{"LongCite-glm4", "LongCite-glm4-9b"}, {"LongWriter-glm4", "LongWriter-glm4-9b"}};

static bool has_shape(const glm_config *config, const published *model) {
    return config->n_layers == model->n_layers && config->hidden == model->hidden &&
           config->n_heads == model->n_heads && config->n_kv_heads == model->n_kv_heads &&
           config->has_post_norms == model->has_post_norms && config->head_dim == 128;
}

static bool same_real(double a, double b) {
    return fabs(a - b) <= 1e-6 * fabs(b);
}

/* Of two models of one shape, the length tells, and where it is neither's, the rotary base. */
static int likeness(const glm_config *config, const published *model) {
    if (!has_shape(config, model)) return 0;
    return 1 + 2 * (config->model_len == model->model_len) +
           same_real(config->rope_base, model->rope_base);
}

static void add(glm_variant *variant, const char *format, ...) RT_PRINTF(2, 3);
static void add(glm_variant *variant, const char *format, ...) {
    char *text = variant->differences;
    const size_t used = strlen(text);
    va_list args;
    va_start(args, format);
    if (used > 0) (void)snprintf(text + used, GLM_VARIANT_TEXT - used, "; ");
    const size_t start = strlen(text);
    (void)vsnprintf(text + start, GLM_VARIANT_TEXT - start, format, args);
    va_end(args);
}

static void compare_int(glm_variant *variant, const char *what, int64_t got, int64_t wanted) {
    if (got != wanted) add(variant, "%s %" PRId64 " (published %" PRId64 ")", what, got, wanted);
}

static void compare_real(glm_variant *variant, const char *what, double got, double wanted) {
    if (!same_real(got, wanted)) add(variant, "%s %g (published %g)", what, got, wanted);
}

static void compare_shared(const glm_config *config, const published *model, glm_variant *variant) {
    compare_int(variant, "ffn", config->ffn, model->ffn);
    compare_int(variant, "vocab", config->vocab, model->vocab);
    compare_int(variant, "rotary dimensions", config->rope_dim, 64);
    compare_real(variant, "norm eps", (double)config->rms_eps, model->rms_eps);
    if (config->has_qkv_bias != model->has_qkv_bias)
        add(variant, "%s QKV bias (published with%s)", config->has_qkv_bias ? "a" : "no",
                model->has_qkv_bias ? "" : "out");
    if (config->is_tied) add(variant, "a tied output head (published: its own)");
}

static void compare_lengths(
        const glm_config *config, const published *model, glm_variant *variant) {
    compare_int(variant, "length", config->model_len, model->model_len);
    compare_real(variant, "rotary base", config->rope_base, model->rope_base);
}

/* The tuned model that the config or the directory names, NULL for neither. */
static const char *tuned_name(const glm_config *config, const char *dir) {
    for (size_t i = 0; i < sizeof tuned / sizeof *tuned; i++)
        if (strcasestr(config->origin, tuned[i].word) || strcasestr(dir, tuned[i].word))
            return tuned[i].name;
    return NULL;
}

void glm_variant_recognise(const glm_config *config, const char *dir, glm_variant *out) {
    *out = (glm_variant){
            .name = "GLM-4 architecture, no published shape", .is_0414 = config->has_post_norms};
    int best = -1;
    int best_likeness = 0;
    for (int i = 0; i < N_MODELS; i++) {
        const int like = likeness(config, &models[i]);
        if (like <= best_likeness) continue;
        best = i;
        best_likeness = like;
    }
    if (best < 0) return;

    const char *tuned_from = tuned_name(config, dir);
    const bool is_tuned = tuned_from && (best == CHAT_128K || best == BASE);
    out->name = is_tuned ? tuned_from : models[best].name;
    out->is_longcite = is_tuned && tuned_from == tuned[LONGCITE].name;
    out->is_base = best == BASE && !is_tuned;
    compare_shared(config, &models[best], out);
    if (!is_tuned) compare_lengths(config, &models[best], out);
    out->is_chat_1m = best == CHAT_1M && out->differences[0] == '\0';
}
