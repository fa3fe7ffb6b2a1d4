/* The picture of a needle evaluation: context length across, depth down, colour for the score. */
#ifndef GLM_HEATMAP_H
#define GLM_HEATMAP_H

#include "base/status.h"

typedef struct glm_heatmap {
    const char *title;    /* "GLM-4 needle in a haystack" */
    const char *subtitle; /* model, protocol, KV type: one line */
    int64_t n_lengths;
    const int64_t *lengths; /* tokens, ascending */
    int64_t n_depths;
    const double *depths; /* per cent, ascending; NaN where a row has none */
    const double *scores; /* [n_depths][n_lengths], 0 .. 1; NaN where nothing ran */
} glm_heatmap;

/* Write an SVG (our own) or a PNG (cairo). The file is replaced whole. RT_EIO, RT_ENOMEM. */
RT_MUST_CHECK rt_status glm_heatmap_write_svg(const glm_heatmap *map, const char *path);
RT_MUST_CHECK rt_status glm_heatmap_write_png(const glm_heatmap *map, const char *path);

#endif
