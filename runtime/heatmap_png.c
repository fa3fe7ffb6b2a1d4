/* The PNG, drawn by cairo at twice the SVG's size. */
#include <cairo.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "heatmap_layout.h"

static const double scale = 2.0;

static void set_colour(cairo_t *cr, uint32_t colour) {
    cairo_set_source_rgb(cr, (double)(colour >> 16 & 0xff) / 255.0,
            (double)(colour >> 8 & 0xff) / 255.0, (double)(colour & 0xff) / 255.0);
}

static void box(cairo_t *cr, double x, double y, double width, double height, uint32_t colour) {
    set_colour(cr, colour);
    cairo_rectangle(cr, x, y, width, height);
    cairo_fill(cr);
}

/* `anchor`: 0 start, 0.5 middle, 1 end. */
static void text_at(cairo_t *cr, double x, double y, double size, double anchor, uint32_t colour,
        const char *text) {
    cairo_text_extents_t extents;
    set_colour(cr, colour);
    cairo_set_font_size(cr, size);
    cairo_text_extents(cr, text, &extents);
    cairo_move_to(cr, x - anchor * extents.x_advance, y);
    cairo_show_text(cr, text);
}

static void draw_cells(cairo_t *cr, const glm_heatmap *map, const glm_heatmap_layout *l) {
    char text[32];
    for (int64_t d = 0; d < map->n_depths; d++)
        for (int64_t i = 0; i < map->n_lengths; i++) {
            const double score = map->scores[d * map->n_lengths + i];
            const double x = l->left + l->cell_width * (double)i;
            const double y = l->top + l->cell_height * (double)d;
            box(cr, x + 0.5, y + 0.5, l->cell_width - 1.0, l->cell_height - 1.0,
                    glm_heatmap_colour(score));
            if (l->has_cell_text)
                text_at(cr, x + l->cell_width / 2, y + l->cell_height / 2 + 4, 12, 0.5,
                        glm_heatmap_text_colour(score), glm_heatmap_score_text(score, text));
        }
}

static void draw_axes(cairo_t *cr, const glm_heatmap *map, const glm_heatmap_layout *l) {
    char text[32];
    const double bottom = l->top + l->cell_height * (double)map->n_depths;
    for (int64_t i = 0; i < map->n_lengths; i += l->label_step)
        text_at(cr, l->left + l->cell_width * ((double)i + 0.5), bottom + 18, 12, 0.5, 0x333333,
                glm_heatmap_length_text(map->lengths[i], text));
    for (int64_t d = 0; d < map->n_depths; d++)
        text_at(cr, l->left - 8, l->top + l->cell_height * ((double)d + 0.5) + 4, 12, 1.0, 0x333333,
                glm_heatmap_depth_text(map->depths[d], text));
    text_at(cr, l->left + l->cell_width * (double)map->n_lengths / 2, bottom + 42, 13, 0.5,
            0x333333, "context length, tokens");
    cairo_save(cr);
    cairo_translate(cr, 22, (l->top + bottom) / 2);
    cairo_rotate(cr, -acos(-1.0) / 2);
    text_at(cr, 0, 0, 13, 0.5, 0x333333, "needle depth");
    cairo_restore(cr);
}

static void draw_legend(cairo_t *cr, const glm_heatmap *map, const glm_heatmap_layout *l) {
    enum { STEPS = 40 };
    const double x = l->left + l->cell_width * (double)map->n_lengths + 22;
    const double height = fmax(l->cell_height * (double)map->n_depths, 100.0);
    for (int i = 0; i < STEPS; i++)
        box(cr, x, l->top + height * i / STEPS, 16, height / STEPS + 0.5,
                glm_heatmap_colour(1.0 - (i + 0.5) / STEPS));
    text_at(cr, x + 22, l->top + 10, 12, 0.0, 0x333333, "100 %");
    text_at(cr, x + 22, l->top + height, 12, 0.0, 0x333333, "0 %");
}

static cairo_status_t keep(void *context, const unsigned char *data, unsigned int n) {
    return fwrite(data, 1, n, context) == n ? CAIRO_STATUS_SUCCESS : CAIRO_STATUS_WRITE_ERROR;
}

static rt_status encode(cairo_surface_t *surface, const char *path) {
    char *text = NULL;
    size_t n_bytes = 0;
    FILE *out = open_memstream(&text, &n_bytes);
    if (!out) return rt_fail_errno(RT_ENOMEM, "heatmap: no memory for %s", path);
    const cairo_status_t drawn = cairo_surface_write_to_png_stream(surface, keep, out);
    rt_status status = RT_OK;
    if (fclose(out) != 0 || drawn != CAIRO_STATUS_SUCCESS)
        status = rt_fail(
                RT_ENOMEM, "heatmap: cannot draw %s: %s", path, cairo_status_to_string(drawn));
    if (status == RT_OK) status = rt_file_replace(path, text, (int64_t)n_bytes);
    free(text);
    return status;
}

rt_status glm_heatmap_write_png(const glm_heatmap *map, const char *path) {
    const glm_heatmap_layout l = glm_heatmap_lay_out(map);
    cairo_surface_t *surface = cairo_image_surface_create(
            CAIRO_FORMAT_RGB24, (int)ceil(l.width * scale), (int)ceil(l.height * scale));
    cairo_t *cr = cairo_create(surface);
    cairo_scale(cr, scale, scale);
    cairo_select_font_face(cr, "sans-serif", CAIRO_FONT_SLANT_NORMAL, CAIRO_FONT_WEIGHT_NORMAL);
    box(cr, 0, 0, l.width, l.height, 0xffffff);
    text_at(cr, 22, 32, 18, 0.0, 0x000000, map->title);
    text_at(cr, 22, 54, 12, 0.0, 0x555555, map->subtitle);
    draw_cells(cr, map, &l);
    draw_axes(cr, map, &l);
    draw_legend(cr, map, &l);
    const rt_status status = encode(surface, path);
    cairo_destroy(cr);
    cairo_surface_destroy(surface);
    return status;
}
