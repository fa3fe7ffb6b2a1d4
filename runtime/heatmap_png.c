/* The heat-map as a PNG, two pixels for one of the layout so that it is sharp on dense screens. */
#include <cairo.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#endif

#include "base/file.h"
#include "base/size.h"
#include "heatmap_canvas.h"

enum { SCALE = 2, PIXELS_MAX = 32767 /* of cairo, in either direction */ };

/* ---- canvas ---------------------------------------------------------------------------------- */

static void set_colour(cairo_t *to, uint32_t rgb) {
    cairo_set_source_rgb(
            to, (rgb >> 16 & 0xff) / 255.0, (rgb >> 8 & 0xff) / 255.0, (rgb & 0xff) / 255.0);
}

static void png_rect(
        void *to, double x, double y, double width, double height, uint32_t rgb, const char *note) {
    (void)note;
    set_colour(to, rgb);
    cairo_rectangle(to, x, y, width, height);
    cairo_fill(to);
}

static void png_line(void *to, double x0, double y0, double x1, double y1, uint32_t rgb) {
    set_colour(to, rgb);
    cairo_set_line_width(to, 1);
    cairo_move_to(to, x0, y0);
    cairo_line_to(to, x1, y1);
    cairo_stroke(to);
}

/* What a font needs stays in caches behind fontconfig's pointers, which are offsets that
 * LeakSanitizer cannot follow. */
static void overlook_leaks(bool is_on) {
#ifdef __SANITIZE_ADDRESS__
    if (is_on)
        __lsan_disable();
    else
        __lsan_enable();
#else
    (void)is_on;
#endif
}

static void png_label(void *to, const glm_label *label) {
    static const double before[] = {0, 0.5, 1}; /* part of the text left of x, by anchor */
    overlook_leaks(true);
    cairo_save(to);
    set_colour(to, label->rgb);
    cairo_select_font_face(to, "sans-serif", CAIRO_FONT_SLANT_NORMAL,
            label->is_bold ? CAIRO_FONT_WEIGHT_BOLD : CAIRO_FONT_WEIGHT_NORMAL);
    cairo_set_font_size(to, label->size);
    cairo_text_extents_t extents;
    cairo_text_extents(to, label->text, &extents);
    cairo_translate(to, label->x, label->y);
    if (label->is_upright) cairo_rotate(to, -acos(-1.0) / 2);
    cairo_move_to(to, -extents.x_advance * before[label->anchor], 0);
    cairo_show_text(to, label->text);
    cairo_restore(to);
    overlook_leaks(false);
}

/* ---- file ------------------------------------------------------------------------------------ */

typedef struct png_bytes {
    unsigned char *bytes;
    int64_t n;
    int64_t capacity;
} png_bytes;

static cairo_status_t collect(void *closure, const unsigned char *bytes, unsigned int n) {
    png_bytes *png = closure;
    if (png->n + (int64_t)n > png->capacity) {
        const int64_t capacity = 2 * (png->n + (int64_t)n);
        unsigned char *grown = realloc(png->bytes, (size_t)capacity);
        if (!grown) return CAIRO_STATUS_NO_MEMORY;
        png->bytes = grown;
        png->capacity = capacity;
    }
    memcpy(png->bytes + png->n, bytes, n);
    png->n += (int64_t)n;
    return CAIRO_STATUS_SUCCESS;
}

static cairo_status_t render(const glm_heatmap *map, cairo_surface_t *surface, png_bytes *png) {
    cairo_t *to = cairo_create(surface);
    cairo_scale(to, SCALE, SCALE);
    glm_heatmap_draw(
            map, &(glm_canvas){.to = to, .rect = png_rect, .line = png_line, .label = png_label});
    cairo_status_t status = cairo_status(to);
    cairo_destroy(to);
    if (status == CAIRO_STATUS_SUCCESS)
        status = cairo_surface_write_to_png_stream(surface, collect, png);
    return status;
}

static rt_status describe(cairo_status_t status, const char *path) {
    if (status == CAIRO_STATUS_SUCCESS) return RT_OK;
    const bool is_memory = status == CAIRO_STATUS_NO_MEMORY;
    return rt_fail(is_memory ? RT_ENOMEM : RT_EIO, "heatmap: cairo cannot draw %s: %s", path,
            cairo_status_to_string(status));
}

rt_status glm_heatmap_write_png(const glm_heatmap *map, const char *path) {
    int64_t width = 0;
    int64_t height = 0;
    glm_heatmap_size(map, &width, &height);
    const int64_t larger = rt_min64(rt_max64(width, height), PIXELS_MAX);
    if (larger * SCALE > PIXELS_MAX)
        return rt_fail(RT_EIO, "heatmap: %s would be larger than %d pixels", path, PIXELS_MAX);
    png_bytes png = {0};
    cairo_surface_t *surface = cairo_image_surface_create(
            CAIRO_FORMAT_RGB24, (int)(width * SCALE), (int)(height * SCALE));
    rt_status status = describe(render(map, surface, &png), path);
    if (status == RT_OK) status = rt_file_replace(path, png.bytes, png.n);
    cairo_surface_destroy(surface);
    free(png.bytes);
    return status;
}
