/* Layout of the heat-map, and the SVG.
 *
 *     title
 *     subtitle, wrapped to the width
 *      100 +---------------------+  +-+ 100%
 *          | cells               |  | |        colour bar
 *          +---------------------+  +-+ 0%
 *            4k    8k    16k                   labels as there is room
 *
 * The size of the cells follows from their number, whole pixels each so that edges are sharp;
 * everything else has a fixed size around them. */
#include "heatmap.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memstream.h"
#include "base/size.h"
#include "heatmap_canvas.h"
#include "utf8.h"

enum {
    MARGIN = 24,
    PLOT_LEFT = 92,    /* depth labels and their title */
    SUBTITLE_TOP = 68, /* baseline of its first line */
    SUBTITLE_STEP = 18,
    SUBTITLE_LINES = 4,
    BELOW_PLOT = 66, /* length labels and their title */
    BAR_GAP = 28,
    BAR_WIDTH = 16,
    BAR_RIGHT = 84, /* its labels and the margin */
    LABEL_BYTES = 160,
    N_BAR_SLICES = 128,
    N_BAR_LABELS = 5
};

/* Widths of sans-serif glyphs in ems: fonts differ, these are of a wide one. */
static const double glyph_em = 0.62;
static const double digit_em = 0.6;

static const uint32_t ink = 0x222222;
static const uint32_t soft_ink = 0x5f5f5f;
static const uint32_t missing_rgb = 0xcfcfcf;
static const uint32_t missing_line_rgb = 0xa6a6a6;

/* ---- colours --------------------------------------------------------------------------------- */

/* From plum over coral to a calm green. Lightness grows all the way (CIE L* 13, 34, 56, 77, 90):
 * the order survives red-green blindness and a grey print. */
static const uint32_t stops[] = {0x3b0f4a, 0x8c2a63, 0xd4605a, 0xf2b277, 0xd3ebb0};
enum { N_STOPS = sizeof stops / sizeof *stops };

static uint32_t mix_channel(uint32_t from, uint32_t to, int shift, double part) {
    const double a = (double)(from >> shift & 0xff);
    const double b = (double)(to >> shift & 0xff);
    return (uint32_t)lround(a + (b - a) * part) << shift;
}

static uint32_t colour_of(double score) {
    if (isnan(score)) return missing_rgb;
    const double at = fmin(fmax(score, 0.0), 1.0) * (N_STOPS - 1);
    const int i = (int)fmin(floor(at), N_STOPS - 2);
    uint32_t rgb = 0;
    for (int shift = 0; shift <= 16; shift += 8)
        rgb |= mix_channel(stops[i], stops[i + 1], shift, at - i);
    return rgb;
}

/* White on dark colours: Rec. 601 luma. */
static uint32_t ink_on(uint32_t rgb) {
    const uint32_t luma = 299 * (rgb >> 16 & 0xff) + 587 * (rgb >> 8 & 0xff) + 114 * (rgb & 0xff);
    return luma < 140000 ? 0xffffff : ink;
}

/* ---- texts ----------------------------------------------------------------------------------- */

/* As typed where that is short; otherwise thousands, with a decimal below a hundred of them. */
static void format_tokens(int64_t n, char text[RT_SIZE_TEXT]) {
    if (n < 1000 || n % 1000 == 0 || n % RT_KIB == 0)
        (void)rt_format_tokens(n, text);
    else
        (void)snprintf(text, RT_SIZE_TEXT, n >= 99950 ? "%.0fk" : "%.1fk", (double)n / 1e3);
}

/* Only a whole score is 100, and only none is 0. */
static int per_cent(double score) {
    const double whole = fmin(fmax(score, 0.0), 1.0) * 100;
    if (whole > 0 && whole < 100) return (int)fmin(fmax(round(whole), 1), 99);
    return (int)whole;
}

/* Characters that neither XML nor cairo takes become '?'. */
static bool is_drawable(uint32_t code_point) {
    return code_point >= 0x20 && code_point != 0x7f && (code_point & 0xfffe) != 0xfffe;
}

/* `text` from *at on, as many whole characters as fit; *at moves behind them. Breaks behind a space
 * if there is one. */
static void take_line(const char *text, size_t *at, size_t n_max, char line[LABEL_BYTES]) {
    const size_t n_text = strlen(text);
    size_t used = 0;
    size_t space = 0;
    size_t behind_space = 0;
    size_t from = *at;
    for (size_t n = 0; n < n_max && from < n_text && used + GLM_UTF8_BYTES_MAX < LABEL_BYTES; n++) {
        uint32_t code_point = 0;
        const int length = glm_utf8_decode(text + from, (int64_t)(n_text - from), &code_point);
        const bool is_kept = length > 0 && is_drawable(code_point);
        if (is_kept)
            memcpy(line + used, text + from, (size_t)length);
        else
            line[used] = '?';
        from += length > 0 ? (size_t)length : 1;
        if (line[used] == ' ') space = used, behind_space = from;
        used += is_kept ? (size_t)length : 1;
    }
    const bool breaks_at_space = from < n_text && space > 0;
    line[breaks_at_space ? space : used] = '\0';
    *at = breaks_at_space ? behind_space : from;
}

/* ---- layout ---------------------------------------------------------------------------------- */

typedef struct layout {
    double cell_width;
    double cell_height;
    double plot_top;
    double plot_right;
    double plot_bottom;
    double bar_left;
    double width;
    double height;
    int n_lines;
    char lines[SUBTITLE_LINES][LABEL_BYTES];
    bool has_missing;
} layout;

/* Pixels for one of n cells: `wanted`, but all together at least `low` and at most `high`, unless
 * that makes them smaller than `least`; never together more than 64 of those. */
static double cell_size(int64_t n, double wanted, double low, double high, double least) {
    double size = fmin(fmax(wanted, low / (double)n), high / (double)n);
    size = fmin(fmax(size, least), 64 * least / (double)n);
    if (n <= 64) size = fmax(size, least);
    return size >= 4 ? floor(size) : size;
}

static void wrap_subtitle(const glm_heatmap *map, layout *at) {
    const size_t n_max = (size_t)((at->width - PLOT_LEFT - MARGIN) / (13 * glyph_em));
    size_t from = 0;
    const size_t n = strlen(map->subtitle);
    while (from < n && at->n_lines < SUBTITLE_LINES)
        take_line(map->subtitle, &from, n_max, at->lines[at->n_lines++]);
}

static layout make_layout(const glm_heatmap *map) {
    layout at = {.cell_width = cell_size(map->n_lengths, 88, 352, 960, 22),
            .cell_height = cell_size(map->n_depths, 40, 160, 560, 16)};
    at.plot_right = PLOT_LEFT + at.cell_width * (double)map->n_lengths;
    at.bar_left = at.plot_right + BAR_GAP;
    at.width = ceil(at.bar_left + BAR_WIDTH + BAR_RIGHT);
    wrap_subtitle(map, &at);
    at.plot_top = SUBTITLE_TOP + SUBTITLE_STEP * at.n_lines;
    at.plot_bottom = at.plot_top + at.cell_height * (double)map->n_depths;
    at.height = ceil(at.plot_bottom + BELOW_PLOT);
    for (int64_t i = 0; i < map->n_depths * map->n_lengths; i++)
        at.has_missing |= isnan(map->scores[i]);
    return at;
}

void glm_heatmap_size(const glm_heatmap *map, int64_t *width, int64_t *height) {
    const layout at = make_layout(map);
    *width = (int64_t)at.width;
    *height = (int64_t)at.height;
}

/* ---- drawing --------------------------------------------------------------------------------- */

static void draw_titles(const glm_heatmap *map, const glm_canvas *canvas, const layout *at) {
    char title[LABEL_BYTES];
    size_t from = 0;
    take_line(map->title, &from, (size_t)((at->width - PLOT_LEFT) / (20 * glyph_em)), title);
    canvas->label(
            canvas->to, &(glm_label){PLOT_LEFT, 44, 20, ink, GLM_ANCHOR_START, true, false, title});
    for (int i = 0; i < at->n_lines; i++)
        canvas->label(canvas->to, &(glm_label){PLOT_LEFT, SUBTITLE_TOP + SUBTITLE_STEP * i, 13,
                                          soft_ink, GLM_ANCHOR_START, false, false, at->lines[i]});
}

static void draw_score(
        const glm_canvas *canvas, const layout *at, double x, double y, double score) {
    const double size = fmin(13, at->cell_height - 5);
    char text[16];
    (void)snprintf(text, sizeof text, "%d%%", per_cent(score));
    if (at->cell_width < 6 + size * digit_em * 4.5) text[strlen(text) - 1] = '\0';
    if (at->cell_width < 4 + size * digit_em * 3 || size < 9) return;
    canvas->label(canvas->to,
            &(glm_label){x + at->cell_width / 2, y + at->cell_height / 2 + size * 0.36, size,
                    ink_on(colour_of(score)), GLM_ANCHOR_MIDDLE, false, false, text});
}

static void draw_cell(const glm_heatmap *map, const glm_canvas *canvas, const layout *at,
        int64_t depth, int64_t length) {
    const double score = map->scores[depth * map->n_lengths + length];
    const double x = PLOT_LEFT + at->cell_width * (double)length;
    const double y = at->plot_top + at->cell_height * (double)depth;
    const double gap = fmin(at->cell_width, at->cell_height) >= 8 ? 1 : 0;
    char result[32] = "not run";
    if (!isnan(score)) (void)snprintf(result, sizeof result, "%d%%", per_cent(score));
    char note[LABEL_BYTES];
    char where[32] = "";
    if (!isnan(map->depths[depth]))
        (void)snprintf(where, sizeof where, ", depth %g%%", map->depths[depth]);
    (void)snprintf(
            note, sizeof note, "%" PRId64 " tokens%s: %s", map->lengths[length], where, result);
    canvas->rect(
            canvas->to, x, y, at->cell_width - gap, at->cell_height - gap, colour_of(score), note);
    if (isnan(score))
        canvas->line(canvas->to, x, y + at->cell_height - gap, x + at->cell_width - gap, y,
                missing_line_rgb);
    else
        draw_score(canvas, at, x, y, score);
}

static void draw_cells(const glm_heatmap *map, const glm_canvas *canvas, const layout *at) {
    for (int64_t depth = 0; depth < map->n_depths; depth++)
        for (int64_t length = 0; length < map->n_lengths; length++)
            draw_cell(map, canvas, at, depth, length);
}

/* Every how many-th label there is room for. */
static int64_t label_step(double label_size, double cell_size_) {
    return (int64_t)fmax(1, ceil(label_size / cell_size_));
}

/* Counted from the end: the longest context always has its label. */
static void draw_lengths(const glm_heatmap *map, const glm_canvas *canvas, const layout *at) {
    char text[RT_SIZE_TEXT];
    size_t n_chars = 0;
    for (int64_t i = 0; i < map->n_lengths; i++) {
        format_tokens(map->lengths[i], text);
        n_chars = strlen(text) > n_chars ? strlen(text) : n_chars;
    }
    const int64_t step = label_step((double)n_chars * 12 * digit_em + 8, at->cell_width);
    for (int64_t i = map->n_lengths - 1; i >= 0; i -= step) {
        format_tokens(map->lengths[i], text);
        canvas->label(canvas->to,
                &(glm_label){PLOT_LEFT + at->cell_width * ((double)i + 0.5), at->plot_bottom + 18,
                        12, ink, GLM_ANCHOR_MIDDLE, false, false, text});
    }
    canvas->label(canvas->to,
            &(glm_label){(PLOT_LEFT + at->plot_right) / 2, at->plot_bottom + 44, 13, soft_ink,
                    GLM_ANCHOR_MIDDLE, false, false, "Context length (tokens)"});
}

static void draw_depths(const glm_heatmap *map, const glm_canvas *canvas, const layout *at) {
    const int64_t step = label_step(15, at->cell_height);
    for (int64_t i = 0; i < map->n_depths; i += step) {
        char text[RT_SIZE_TEXT];
        if (isnan(map->depths[i])) continue;
        (void)snprintf(text, sizeof text, "%.3g", map->depths[i]);
        canvas->label(canvas->to,
                &(glm_label){PLOT_LEFT - 8, at->plot_top + at->cell_height * ((double)i + 0.5) + 4,
                        12, ink, GLM_ANCHOR_END, false, false, text});
    }
    if (isnan(map->depths[0])) return;
    canvas->label(
            canvas->to, &(glm_label){MARGIN + 13, (at->plot_top + at->plot_bottom) / 2, 13,
                                soft_ink, GLM_ANCHOR_MIDDLE, false, true, "Needle depth (%)"});
}

/* Slices reach down to the end, so that no seam shows between them. */
static void draw_bar(const glm_canvas *canvas, const layout *at) {
    const double height = at->plot_bottom - at->plot_top;
    for (int i = 0; i < N_BAR_SLICES; i++) {
        const double top = at->plot_top + height * i / N_BAR_SLICES;
        canvas->rect(canvas->to, at->bar_left, top, BAR_WIDTH, at->plot_bottom - top,
                colour_of(1 - (i + 0.5) / N_BAR_SLICES), NULL);
    }
    for (int i = 0; i < N_BAR_LABELS; i++) {
        const double part = (double)i / (N_BAR_LABELS - 1);
        char text[16];
        (void)snprintf(text, sizeof text, "%.0f%%", 100 * part);
        const double y = at->plot_bottom - height * part + 8.5 * part;
        canvas->label(canvas->to, &(glm_label){at->bar_left + BAR_WIDTH + 8, y, 12, ink,
                                          GLM_ANCHOR_START, false, false, text});
    }
    if (!at->has_missing) return;
    canvas->rect(canvas->to, at->bar_left, at->plot_bottom + 34, BAR_WIDTH, 12, missing_rgb, NULL);
    canvas->line(canvas->to, at->bar_left, at->plot_bottom + 46, at->bar_left + BAR_WIDTH,
            at->plot_bottom + 34, missing_line_rgb);
    canvas->label(canvas->to, &(glm_label){at->bar_left + BAR_WIDTH + 8, at->plot_bottom + 44, 12,
                                      ink, GLM_ANCHOR_START, false, false, "not run"});
}

void glm_heatmap_draw(const glm_heatmap *map, const glm_canvas *canvas) {
    const layout at = make_layout(map);
    canvas->rect(canvas->to, 0, 0, at.width, at.height, 0xffffff, NULL);
    draw_titles(map, canvas, &at);
    draw_cells(map, canvas, &at);
    draw_lengths(map, canvas, &at);
    draw_depths(map, canvas, &at);
    draw_bar(canvas, &at);
}

/* ---- SVG ------------------------------------------------------------------------------------- */

static void svg_escaped(FILE *to, const char *text) {
    for (; *text; text++) {
        switch (*text) {
        case '&':
            (void)fputs("&amp;", to);
            break;
        case '<':
            (void)fputs("&lt;", to);
            break;
        case '>':
            (void)fputs("&gt;", to);
            break;
        default:
            (void)fputc(*text, to);
        }
    }
}

static void svg_rect(
        void *to, double x, double y, double width, double height, uint32_t rgb, const char *note) {
    (void)fprintf(to,
            "<rect x=\"%.6g\" y=\"%.6g\" width=\"%.6g\" height=\"%.6g\" fill=\"#%06" PRIx32 "\"", x,
            y, width, height, rgb);
    if (note) {
        (void)fputs("><title>", to);
        svg_escaped(to, note);
        (void)fputs("</title></rect>\n", to);
    } else {
        (void)fputs("/>\n", to);
    }
}

static void svg_line(void *to, double x0, double y0, double x1, double y1, uint32_t rgb) {
    (void)fprintf(to,
            "<line x1=\"%.6g\" y1=\"%.6g\" x2=\"%.6g\" y2=\"%.6g\" stroke=\"#%06" PRIx32 "\"/>\n",
            x0, y0, x1, y1, rgb);
}

/* Labels let the pointer through, so that a cell's note shows also over its score. */
static void svg_label(void *to, const glm_label *label) {
    static const char *const anchors[] = {"start", "middle", "end"};
    (void)fprintf(to,
            "<text x=\"%.6g\" y=\"%.6g\" font-size=\"%.6g\" fill=\"#%06" PRIx32
            "\" text-anchor=\"%s\" pointer-events=\"none\"",
            label->x, label->y, label->size, label->rgb, anchors[label->anchor]);
    if (label->is_bold) (void)fputs(" font-weight=\"bold\"", to);
    if (label->is_upright)
        (void)fprintf(to, " transform=\"rotate(-90 %.6g %.6g)\"", label->x, label->y);
    (void)fputc('>', to);
    svg_escaped(to, label->text);
    (void)fputs("</text>\n", to);
}

static void print_svg(const glm_heatmap *map, FILE *to) {
    int64_t width = 0;
    int64_t height = 0;
    glm_heatmap_size(map, &width, &height);
    (void)fprintf(to,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%" PRId64 "\" height=\"%" PRId64
            "\" viewBox=\"0 0 %" PRId64 " %" PRId64
            "\" font-family=\"Helvetica, Arial, sans-serif\">\n",
            width, height, width, height);
    glm_heatmap_draw(
            map, &(glm_canvas){.to = to, .rect = svg_rect, .line = svg_line, .label = svg_label});
    (void)fputs("</svg>\n", to);
}

rt_status glm_heatmap_write_svg(const glm_heatmap *map, const char *path) {
    char *text = NULL;
    size_t n_bytes = 0;
    FILE *memory = rt_memstream_open(&text, &n_bytes);
    if (!memory) return rt_fail(RT_ENOMEM, "heatmap: no memory for %s", path);
    print_svg(map, memory);
    const rt_status status = rt_memstream_close(memory, &text)
                                     ? rt_file_replace(path, text, (int64_t)n_bytes)
                                     : rt_fail(RT_ENOMEM, "heatmap: no memory for %s", path);
    free(text);
    return status;
}
