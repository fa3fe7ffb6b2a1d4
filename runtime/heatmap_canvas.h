/* A heat-map as drawing operations, the same for every kind of file. */
#ifndef GLM_HEATMAP_CANVAS_H
#define GLM_HEATMAP_CANVAS_H

#include "heatmap.h"

typedef enum glm_anchor { GLM_ANCHOR_START, GLM_ANCHOR_MIDDLE, GLM_ANCHOR_END } glm_anchor;

/* Text on a baseline; all texts are valid UTF-8 without control characters. */
typedef struct glm_label {
    double x;
    double y;
    double size; /* of the font */
    uint32_t rgb;
    glm_anchor anchor;
    bool is_bold;
    bool is_upright; /* turned left by a right angle around (x, y) */
    const char *text;
} glm_label;

/* What draws. Lengths are pixels, y grows downwards, colours are 0xrrggbb. */
typedef struct glm_canvas {
    void *to;
    /* `note` says what the rectangle is, for files that can hold it; NULL for decoration. */
    void (*rect)(void *to, double x, double y, double width, double height, uint32_t rgb,
            const char *note);
    void (*line)(void *to, double x0, double y0, double x1, double y1, uint32_t rgb);
    void (*label)(void *to, const glm_label *label);
} glm_canvas;

/* The picture's size in pixels. */
void glm_heatmap_size(const glm_heatmap *map, int64_t *width, int64_t *height);
void glm_heatmap_draw(const glm_heatmap *map, const glm_canvas *canvas);

#endif
