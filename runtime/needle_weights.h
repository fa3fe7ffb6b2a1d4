/* The demo checkpoint's weights, as needle_model.c writes them. */
#ifndef GLM_NEEDLE_WEIGHTS_H
#define GLM_NEEDLE_WEIGHTS_H

enum {
    NEEDLE_VOCAB = 272,
    NEEDLE_HIDDEN = 256,
    NEEDLE_LAYERS = 3,
    NEEDLE_FFN = 128,
    NEEDLE_HEADS = 4,
    NEEDLE_KV_HEADS = 2,
    NEEDLE_HEAD_DIM = 128,
    NEEDLE_Q_ROWS = NEEDLE_HEADS * NEEDLE_HEAD_DIM,
    NEEDLE_KV_ROWS = NEEDLE_KV_HEADS * NEEDLE_HEAD_DIM
};

/* One layer's tensors as they stand in the file. */
typedef struct needle_layer {
    double input_norm[NEEDLE_HIDDEN];
    double q[NEEDLE_Q_ROWS][NEEDLE_HIDDEN];
    double q_bias[NEEDLE_Q_ROWS];
    double k[NEEDLE_KV_ROWS][NEEDLE_HIDDEN];
    double k_bias[NEEDLE_KV_ROWS];
    double v[NEEDLE_KV_ROWS][NEEDLE_HIDDEN];
    double v_bias[NEEDLE_KV_ROWS];
    double o[NEEDLE_HIDDEN][NEEDLE_Q_ROWS];
    double mlp_norm[NEEDLE_HIDDEN];
    double gate_up[2 * NEEDLE_FFN][NEEDLE_HIDDEN];
    double down[NEEDLE_HIDDEN][NEEDLE_FFN];
} needle_layer;

typedef struct needle_weights {
    double embedding[NEEDLE_VOCAB][NEEDLE_HIDDEN];
    needle_layer layers[NEEDLE_LAYERS];
    double final_norm[NEEDLE_HIDDEN];
    double head[NEEDLE_VOCAB][NEEDLE_HIDDEN];
} needle_weights;

/* Into zeros. */
void needle_weights_fill(needle_weights *m);

#endif
