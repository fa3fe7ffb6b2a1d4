#include "help_model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "help_checkpoint.h"
#include "help_dir.h"
#include "runtime/base/float16.h"
#include "runtime/random_model.h"

static void require(rt_status status) {
    if (status == RT_OK) return;
    printf("FAIL help_model: %s\n", rt_error_text());
    exit(1);
}

/* ---- a checkpoint ---------------------------------------------------------------------------- */

static const char config[] = "{\"architectures\": [\"%s\"], \"model_type\": \"%s\",\n"
                             " \"attention_bias\": true, \"hidden_act\": \"silu\",\n"
                             " \"hidden_size\": 64, \"intermediate_size\": 72,\n"
                             " \"num_hidden_layers\": %d, \"num_attention_heads\": %d,\n"
                             " \"num_key_value_heads\": 2, \"head_dim\": 128,\n"
                             " \"partial_rotary_factor\": 0.5, \"rope_theta\": 100000000.0,\n"
                             " \"max_position_embeddings\": 1048576, \"rms_norm_eps\": 1e-05,\n"
                             " \"tie_word_embeddings\": false, \"vocab_size\": 272,\n"
                             " \"torch_dtype\": \"bfloat16\", \"pad_token_id\": 256,\n"
                             " \"eos_token_id\": [256, 263, 265]}\n";

static const char *model_for_gpu(bool is_0414, int n_heads) {
    char text[sizeof config + 64];
    char path[4096 + 32];
    char dir[4096];
    const char *parent = help_dir_in_memory();
    const int n =
            snprintf(text, sizeof text, config, is_0414 ? "Glm4ForCausalLM" : "GlmForCausalLM",
                    is_0414 ? "glm4" : "glm", is_0414 ? 5 : 2, n_heads);
    ckh_write(parent, "config.json", text, n);
    (void)snprintf(path, sizeof path, "%s/config.json", parent);
    (void)snprintf(dir, sizeof dir, "%s/model", parent);
    require(glm_random_model_write(dir, path, 7));
    char *out = strdup(dir);
    if (!out) exit(1);
    return out;
}

const char *help_model_for_gpu(bool is_0414) {
    static const char *dirs[2];
    if (!dirs[is_0414]) dirs[is_0414] = model_for_gpu(is_0414, 4);
    return dirs[is_0414];
}

const char *help_model_for_gpu_of(int n_heads) {
    static const char *dir;
    if (!dir) dir = model_for_gpu(false, n_heads);
    return dir;
}

/* ---- arithmetic ------------------------------------------------------------------------------ */

typedef struct model {
    glm_checkpoint *checkpoint;
    const glm_config *c;
    bool rounds;
    int64_t n;
} model;

/* A result of an operation. */
static double made(const model *m, double x) {
    if (!m->rounds) return x;
    return (double)rt_bf16_to_float(rt_float_to_bf16((float)x));
}

static double *zeros(int64_t n) {
    double *x = calloc((size_t)n, sizeof *x);
    if (!x) exit(1);
    return x;
}

static double *read_tensor(const model *m, glm_role role, int32_t layer) {
    const glm_tensor t = glm_checkpoint_tensor(m->checkpoint, role, layer);
    const int64_t n = t.n_rows * (t.n_cols > 0 ? t.n_cols : 1);
    void *stored = malloc((size_t)(n * rt_dtype_bytes(t.dtype)));
    double *out = zeros(n);
    if (!stored) exit(1);
    require(glm_checkpoint_read(m->checkpoint, role, layer, 0, t.n_rows, stored));
    for (int64_t i = 0; i < n; i++) out[i] = (double)rt_load_float(stored, i, t.dtype);
    free(stored);
    return out;
}

/* y[n][n_out] at `stride` = x[n][n_in] W^T + bias; frees W and bias. */
static void linear(const model *m, double *w, double *bias, int64_t n_out, int64_t n_in,
        const double *x, int64_t n, double *y, int64_t stride) {
    for (int64_t i = 0; i < n; i++)
        for (int64_t o = 0; o < n_out; o++) {
            double sum = bias ? bias[o] : 0.0;
            for (int64_t k = 0; k < n_in; k++) sum += x[i * n_in + k] * w[o * n_in + k];
            y[i * stride + o] = made(m, sum);
        }
    free(w);
    free(bias);
}

static void norm(const model *m, double *weight, const double *x, int64_t n, double *y) {
    const int64_t width = m->c->hidden;
    for (int64_t i = 0; i < n; i++) {
        double squares = 0.0;
        for (int64_t k = 0; k < width; k++) squares += x[i * width + k] * x[i * width + k];
        const double scale = 1.0 / sqrt(squares / (double)width + (double)m->c->rms_eps);
        for (int64_t k = 0; k < width; k++)
            y[i * width + k] = made(m, made(m, x[i * width + k] * scale) * weight[k]);
    }
    free(weight);
}

static void add(const model *m, double *x, const double *update) {
    for (int64_t i = 0; i < m->n * m->c->hidden; i++) x[i] = made(m, x[i] + update[i]);
}

static void rotate(const model *m, double *head, int64_t pos) {
    for (int32_t j = 0; 2 * j < m->c->rope_dim; j++) {
        const double theta = pow(m->c->rope_base, -2.0 * j / m->c->rope_dim);
        const double angle = (double)pos * theta;
        const double a = head[2 * j];
        const double b = head[2 * j + 1];
        head[2 * j] = made(m, a * cos(angle) - b * sin(angle));
        head[2 * j + 1] = made(m, b * cos(angle) + a * sin(angle));
    }
}

/* One query head at one position: out[head_dim]. */
static void attend(const model *m, const double *qkv, int64_t width, int64_t pos, int32_t head,
        double *out, double *weights) {
    const int64_t dim = m->c->head_dim;
    const int32_t kv_head = head / (m->c->n_heads / m->c->n_kv_heads);
    const double *q = qkv + pos * width + head * dim;
    const double *k = qkv + (m->c->n_heads + kv_head) * dim;
    const double *v = k + m->c->n_kv_heads * dim;
    double max = -INFINITY;
    double sum = 0.0;
    for (int64_t t = 0; t <= pos; t++) {
        double score = 0.0;
        for (int64_t i = 0; i < dim; i++) score += q[i] * k[t * width + i];
        weights[t] = score / sqrt((double)dim);
        max = fmax(max, weights[t]);
    }
    for (int64_t t = 0; t <= pos; t++) sum += weights[t] = exp(weights[t] - max);
    for (int64_t i = 0; i < dim; i++) {
        double value = 0.0;
        for (int64_t t = 0; t <= pos; t++) value += made(m, weights[t] / sum) * v[t * width + i];
        out[i] = made(m, value);
    }
}

static void attention(const model *m, int32_t layer, const double *x, double *update) {
    const glm_config *c = m->c;
    const int64_t dim = c->head_dim;
    const int64_t width = glm_config_qkv_rows(c);
    const int64_t q_width = c->n_heads * dim;
    const int64_t kv_width = c->n_kv_heads * dim;
    double *qkv = zeros(m->n * width);
    double *out = zeros(m->n * q_width);
    double *weights = zeros(m->n);
    const bool b = c->has_qkv_bias;
    linear(m, read_tensor(m, GLM_Q, layer), b ? read_tensor(m, GLM_Q_BIAS, layer) : NULL, q_width,
            c->hidden, x, m->n, qkv, width);
    linear(m, read_tensor(m, GLM_K, layer), b ? read_tensor(m, GLM_K_BIAS, layer) : NULL, kv_width,
            c->hidden, x, m->n, qkv + q_width, width);
    linear(m, read_tensor(m, GLM_V, layer), b ? read_tensor(m, GLM_V_BIAS, layer) : NULL, kv_width,
            c->hidden, x, m->n, qkv + q_width + kv_width, width);
    for (int64_t pos = 0; pos < m->n; pos++)
        for (int32_t h = 0; h < c->n_heads + c->n_kv_heads; h++)
            rotate(m, qkv + pos * width + h * dim, pos);
    for (int64_t pos = 0; pos < m->n; pos++)
        for (int32_t h = 0; h < c->n_heads; h++)
            attend(m, qkv, width, pos, h, out + pos * q_width + h * dim, weights);
    linear(m, read_tensor(m, GLM_ATTN_OUT, layer), NULL, c->hidden, q_width, out, m->n, update,
            c->hidden);
    free(qkv);
    free(out);
    free(weights);
}

static void mlp(const model *m, int32_t layer, const double *x, double *update) {
    const int64_t ffn = m->c->ffn;
    double *gate = zeros(m->n * ffn);
    double *up = zeros(m->n * ffn);
    linear(m, read_tensor(m, GLM_GATE, layer), NULL, ffn, m->c->hidden, x, m->n, gate, ffn);
    linear(m, read_tensor(m, GLM_UP, layer), NULL, ffn, m->c->hidden, x, m->n, up, ffn);
    for (int64_t i = 0; i < m->n * ffn; i++)
        gate[i] = made(m, made(m, gate[i] / (1.0 + exp(-gate[i]))) * up[i]);
    linear(m, read_tensor(m, GLM_DOWN, layer), NULL, m->c->hidden, ffn, gate, m->n, update,
            m->c->hidden);
    free(gate);
    free(up);
}

/* ---- the model ------------------------------------------------------------------------------- */

static void run_layer(const model *m, int32_t layer, double *x, double *normed, double *update) {
    norm(m, read_tensor(m, GLM_INPUT_NORM, layer), x, m->n, normed);
    attention(m, layer, normed, update);
    if (m->c->has_post_norms)
        norm(m, read_tensor(m, GLM_POST_ATTN_NORM, layer), update, m->n, update);
    add(m, x, update);
    norm(m, read_tensor(m, GLM_MLP_NORM, layer), x, m->n, normed);
    mlp(m, layer, normed, update);
    if (m->c->has_post_norms)
        norm(m, read_tensor(m, GLM_POST_MLP_NORM, layer), update, m->n, update);
    add(m, x, update);
}

double *help_model_logits(const char *dir, const int32_t *ids, int64_t n, bool rounds,
        const int64_t *wanted, int64_t n_wanted) {
    model m = {.rounds = rounds, .n = n};
    require(glm_checkpoint_open(dir, &m.checkpoint));
    m.c = glm_checkpoint_config(m.checkpoint);
    const int64_t hidden = m.c->hidden;
    double *x = zeros(n * hidden);
    double *normed = zeros(n * hidden);
    double *update = zeros(n * hidden);
    double *rows = zeros(n_wanted * hidden);
    double *logits = zeros(n_wanted * m.c->vocab);
    double *table = read_tensor(&m, GLM_EMBEDDING, 0);
    for (int64_t i = 0; i < n; i++)
        memcpy(x + i * hidden, table + ids[i] * hidden, (size_t)hidden * sizeof *x);
    for (int32_t layer = 0; layer < m.c->n_layers; layer++) run_layer(&m, layer, x, normed, update);
    norm(&m, read_tensor(&m, GLM_FINAL_NORM, 0), x, n, normed);
    for (int64_t i = 0; i < n_wanted; i++)
        memcpy(rows + i * hidden, normed + wanted[i] * hidden, (size_t)hidden * sizeof *rows);
    m.rounds = false;
    linear(&m, read_tensor(&m, GLM_OUTPUT_HEAD, 0), NULL, m.c->vocab, hidden, rows, n_wanted,
            logits, m.c->vocab);
    free(x);
    free(normed);
    free(update);
    free(rows);
    free(table);
    glm_checkpoint_close(m.checkpoint);
    return logits;
}

bool help_model_is_near(
        const char *what, const float *got, const double *exact, const double *rounded, int64_t n) {
    double max = 0.0;
    double allowed = 0.0;
    double mean = 0.0;
    double allowed_mean = 0.0;
    for (int64_t i = 0; i < n; i++) {
        const double error = fabs((double)got[i] - exact[i]);
        max = error <= max ? max : error; /* NaN stays */
        mean += error / (double)n;
        allowed = fmax(allowed, fabs(rounded[i] - exact[i]));
        allowed_mean += fabs(rounded[i] - exact[i]) / (double)n;
    }
    const bool is_near = max <= 2.0 * allowed && mean <= 1.5 * allowed_mean;
    printf("%s %s: max %.3g of %.3g, mean %.3g of %.3g\n", is_near ? "ok  " : "FAIL", what, max,
            2.0 * allowed, mean, 1.5 * allowed_mean);
    return is_near;
}
