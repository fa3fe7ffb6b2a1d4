/* The layout, and the SVG: rectangles and text, no library. */
#include "heatmap.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/size.h"
#include "heatmap_layout.h"

/* Scores 0, 1/4, 1/2, 3/4, 1: purple to yellow through teal, as dark to light as low to high, so
 * that it reads the same without colour vision and in grey. */
static const uint32_t stops[] = {0x440154, 0x3b528b, 0x21918c, 0x5ec962, 0xfde725};
enum { N_STOPS = sizeof stops / sizeof *stops };
static const uint32_t missing_colour = 0xd9d9d9;

static const double grid_width_wanted = 720.0;
static const double legend_width = 90.0;

glm_heatmap_layout glm_heatmap_lay_out(const glm_heatmap *map) {
    glm_heatmap_layout l = {.left = 90.0, .top = 76.0};
    l.cell_width = fmin(fmax(grid_width_wanted / (double)map->n_lengths, 12.0), 110.0);
    l.cell_height = fmin(fmax(400.0 / (double)map->n_depths, 12.0), 48.0);
    l.has_cell_text = l.cell_width >= 30.0 && l.cell_height >= 16.0;
    l.label_step = 1;
    while ((double)l.label_step * l.cell_width < 44.0) l.label_step++;
    const double grid_width = l.cell_width * (double)map->n_lengths;
    l.width = fmax(l.left + grid_width + legend_width, 560.0);
    l.height = fmax(l.top + l.cell_height * (double)map->n_depths + 62.0, 240.0);
    return l;
}

static uint32_t blend(uint32_t a, uint32_t b, double share) {
    uint32_t colour = 0;
    for (int shift = 0; shift <= 16; shift += 8) {
        const double from = (double)(a >> shift & 0xff);
        const double to = (double)(b >> shift & 0xff);
        colour |= (uint32_t)lround(from + (to - from) * share) << shift;
    }
    return colour;
}

uint32_t glm_heatmap_colour(double score) {
    if (isnan(score)) return missing_colour;
    const double place = fmin(fmax(score, 0.0), 1.0) * (N_STOPS - 1);
    const int stop = (int)fmin(floor(place), N_STOPS - 2);
    return blend(stops[stop], stops[stop + 1], place - stop);
}

uint32_t glm_heatmap_text_colour(double score) {
    return isnan(score) || score > 0.6 ? 0x000000 : 0xffffff;
}

const char *glm_heatmap_length_text(int64_t tokens, char text[32]) {
    if (tokens % (1 << 20) == 0)
        (void)snprintf(text, 32, "%" PRId64 "M", tokens >> 20);
    else if (tokens % 1024 == 0)
        (void)snprintf(text, 32, "%" PRId64 "K", tokens >> 10);
    else if (tokens % 1000 == 0)
        (void)snprintf(text, 32, "%" PRId64 "k", tokens / 1000);
    else
        (void)snprintf(text, 32, "%" PRId64, tokens);
    return text;
}

const char *glm_heatmap_depth_text(double depth, char text[32]) {
    (void)snprintf(text, 32, "%g %%", depth);
    return text;
}

const char *glm_heatmap_score_text(double score, char text[32]) {
    if (isnan(score)) return "";
    (void)snprintf(text, 32, "%.0f", 100.0 * score);
    return text;
}

/* ---- SVG ------------------------------------------------------------------------------------- */

static void put_escaped(FILE *out, const char *text) {
    for (; *text; text++) {
        if (*text == '&')
            (void)fputs("&amp;", out);
        else if (*text == '<')
            (void)fputs("&lt;", out);
        else if (*text == '>')
            (void)fputs("&gt;", out);
        else if ((unsigned char)*text >= 0x20)
            (void)fputc(*text, out);
    }
}

static void put_text(FILE *out, double x, double y, int size, const char *anchor, uint32_t colour,
        const char *text) {
    (void)fprintf(out,
            "<text x=\"%.1f\" y=\"%.1f\" font-size=\"%d\" text-anchor=\"%s\" fill=\"#%06" PRIx32
            "\">",
            x, y, size, anchor, colour);
    put_escaped(out, text);
    (void)fputs("</text>\n", out);
}

static void put_box(FILE *out, double x, double y, double width, double height, uint32_t colour) {
    (void)fprintf(out,
            "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"#%06" PRIx32
            "\"/>\n",
            x, y, width, height, colour);
}

static void put_cells(FILE *out, const glm_heatmap *map, const glm_heatmap_layout *l) {
    char text[32];
    for (int64_t d = 0; d < map->n_depths; d++)
        for (int64_t i = 0; i < map->n_lengths; i++) {
            const double score = map->scores[d * map->n_lengths + i];
            const double x = l->left + l->cell_width * (double)i;
            const double y = l->top + l->cell_height * (double)d;
            put_box(out, x + 0.5, y + 0.5, l->cell_width - 1.0, l->cell_height - 1.0,
                    glm_heatmap_colour(score));
            if (l->has_cell_text)
                put_text(out, x + l->cell_width / 2, y + l->cell_height / 2 + 4, 12, "middle",
                        glm_heatmap_text_colour(score), glm_heatmap_score_text(score, text));
        }
}

static void put_axes(FILE *out, const glm_heatmap *map, const glm_heatmap_layout *l) {
    char text[32];
    const double bottom = l->top + l->cell_height * (double)map->n_depths;
    for (int64_t i = 0; i < map->n_lengths; i += l->label_step)
        put_text(out, l->left + l->cell_width * ((double)i + 0.5), bottom + 18, 12, "middle",
                0x333333, glm_heatmap_length_text(map->lengths[i], text));
    for (int64_t d = 0; d < map->n_depths; d++)
        put_text(out, l->left - 8, l->top + l->cell_height * ((double)d + 0.5) + 4, 12, "end",
                0x333333, glm_heatmap_depth_text(map->depths[d], text));
    put_text(out, l->left + l->cell_width * (double)map->n_lengths / 2, bottom + 42, 13, "middle",
            0x333333, "context length, tokens");
    (void)fprintf(out, "<g transform=\"translate(22 %.1f) rotate(-90)\">", (l->top + bottom) / 2);
    put_text(out, 0, 0, 13, "middle", 0x333333, "needle depth");
    (void)fputs("</g>\n", out);
}

static void put_legend(FILE *out, const glm_heatmap *map, const glm_heatmap_layout *l) {
    enum { STEPS = 40 };
    const double x = l->left + l->cell_width * (double)map->n_lengths + 22;
    const double height = fmax(l->cell_height * (double)map->n_depths, 100.0);
    for (int i = 0; i < STEPS; i++)
        put_box(out, x, l->top + height * i / STEPS, 16, height / STEPS + 0.5,
                glm_heatmap_colour(1.0 - (i + 0.5) / STEPS));
    put_text(out, x + 22, l->top + 10, 12, "start", 0x333333, "100 %");
    put_text(out, x + 22, l->top + height, 12, "start", 0x333333, "0 %");
}

rt_status glm_heatmap_write_svg(const glm_heatmap *map, const char *path) {
    const glm_heatmap_layout l = glm_heatmap_lay_out(map);
    char *text = NULL;
    size_t n_bytes = 0;
    FILE *out = open_memstream(&text, &n_bytes);
    if (!out) return rt_fail_errno(RT_ENOMEM, "heatmap: no memory for %s", path);
    (void)fprintf(out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" "
            "font-family=\"sans-serif\">\n",
            l.width, l.height);
    put_box(out, 0, 0, l.width, l.height, 0xffffff);
    put_text(out, 22, 32, 18, "start", 0x000000, map->title);
    put_text(out, 22, 54, 12, "start", 0x555555, map->subtitle);
    put_cells(out, map, &l);
    put_axes(out, map, &l);
    put_legend(out, map, &l);
    (void)fputs("</svg>\n", out);
    rt_status status =
            fclose(out) == 0 ? RT_OK : rt_fail_errno(RT_ENOMEM, "heatmap: no memory for %s", path);
    if (status == RT_OK) status = rt_file_replace(path, text, (int64_t)n_bytes);
    free(text);
    return status;
}
