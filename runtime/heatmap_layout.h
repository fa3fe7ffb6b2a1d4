/* Where things are in a heat-map: shared by the SVG and the PNG, in pixels. */
#ifndef GLM_HEATMAP_LAYOUT_H
#define GLM_HEATMAP_LAYOUT_H

#include "heatmap.h"

typedef struct glm_heatmap_layout {
    double width;
    double height;
    double left; /* of the grid */
    double top;
    double cell_width;
    double cell_height;
    bool has_cell_text; /* the score fits into a cell */
    int64_t label_step; /* every so many columns get a label */
} glm_heatmap_layout;

glm_heatmap_layout glm_heatmap_lay_out(const glm_heatmap *map);

/* Colour of a score, 0xrrggbb; grey for NaN. */
uint32_t glm_heatmap_colour(double score);

/* Text on that colour: black or white, whichever is easier to read. */
uint32_t glm_heatmap_text_colour(double score);

/* "64K", "1M", "16k"; "50 %"; "97". Each writes into `text` and returns it. */
const char *glm_heatmap_length_text(int64_t tokens, char text[32]);
const char *glm_heatmap_depth_text(double depth, char text[32]);
const char *glm_heatmap_score_text(double score, char text[32]);

#endif
