/* Heat-map files are what their names say, whatever the texts and the number of cells.
 *
 * Method: draw maps of many shapes with hostile titles; walk the SVG's tags with a small parser of
 * our own (and xmllint where there is one), count its cells, and read the PNG's signature, header
 * and last chunk; compare the sizes of the two. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "help_check.h"
#include "help_dir.h"
#include "runtime/base/file.h"
#include "runtime/base/size.h"
#include "runtime/heatmap.h"

enum { CELLS_MAX = 200 };

static int n_failed;
static const char *root;
static int64_t lengths[CELLS_MAX];
static double depths[CELLS_MAX];
static double scores[CELLS_MAX * CELLS_MAX];

static void expect(bool is_true, const char *what, const glm_heatmap *map) {
    if (is_true) return;
    printf("FAIL %" PRId64 " x %" PRId64 ": %s (last error: %s)\n", map->n_lengths, map->n_depths,
            what, rt_error_text());
    n_failed++;
}

static glm_heatmap make_map(int64_t n_lengths, int64_t n_depths) {
    for (int64_t i = 0; i < n_lengths; i++) lengths[i] = 1000 + 1047576 / n_lengths * (i + 1);
    for (int64_t i = 0; i < n_depths; i++) depths[i] = 100.0 * (double)i / (double)n_depths;
    for (int64_t i = 0; i < n_lengths * n_depths; i++)
        scores[i] = i % 7 == 3 ? (double)NAN : (double)(i % 11) / 10;
    return (glm_heatmap){.title = "<Needles> & \"haystacks\" \xff\x01 \xe6\xb8\xac\xe8\xa9\xa6",
            .subtitle = "model /a/very/long/path/that/goes/on/and/on/and/has/no/space/in/it/]]>/"
                        "but/\xc3\xa4\xc3\xb6\xc3\xbc\xc3\xa4\xc3\xb6\xc3\xbc\xc3\xa4\xc3\xb6/and"
                        "/a\xed\xa0\x80surrogate, KV bf16, seed 1, and so on, &c. &amp; more words",
            .n_lengths = n_lengths,
            .lengths = lengths,
            .n_depths = n_depths,
            .depths = depths,
            .scores = scores};
}

/* Not with strstr: under ASan each call measures the whole text. */
static int64_t count_tags(const char *text, const char *tag) {
    int64_t n = 0;
    for (const char *at = text; (at = strchr(at, '<')) != NULL; at++)
        n += strncmp(at, tag, strlen(tag)) == 0;
    return n;
}

/* Every "<name ...>" has its "</name>", in order; no markup in texts. */
static bool is_balanced(const char *text) {
    const char *open[16];
    int depth = 0;
    for (const char *at = text; (at = strpbrk(at, "<&")) != NULL; at++) {
        if (*at == '&') {
            if (strncmp(at, "&lt;", 4) && strncmp(at, "&gt;", 4) && strncmp(at, "&amp;", 5))
                return false;
            continue;
        }
        const char *end = strchr(at, '>');
        if (!end) return false;
        if (at[1] == '?') continue;
        if (at[1] == '/') {
            const size_t n = (size_t)(end - at - 2);
            if (depth == 0 || strncmp(open[--depth], at + 2, n) != 0) return false;
            if (open[depth][n] != ' ' && open[depth][n] != '>') return false;
        } else if (end[-1] != '/') {
            if (depth == 16) return false;
            open[depth++] = at + 1;
        }
    }
    return depth == 0;
}

static bool passes_xmllint(const char *path) {
    char command[256];
    (void)snprintf(command, sizeof command,
            "if command -v xmllint >/dev/null; then xmllint --noout '%s' 2>&1; fi", path);
    FILE *run = popen(command, "r");
    char line[256] = "";
    if (!run) return true;
    if (fgets(line, sizeof line, run)) printf("xmllint: %s", line);
    while (fgets(line, sizeof line, run)) continue;
    return pclose(run) == 0;
}

static void check_svg(const glm_heatmap *map, const char *path, int size[2]) {
    help_require(glm_heatmap_write_svg(map, path), path);
    char *text = NULL;
    int64_t n_bytes = 0;
    help_require(rt_file_read(path, RT_GIB, &text, &n_bytes), path);
    const char *svg = strstr(text, "<svg");
    expect(svg && sscanf(svg,
                          "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\"",
                          &size[0], &size[1]) == 2,
            "the SVG's size", map);
    expect(is_balanced(text), "tags are balanced", map);
    expect(passes_xmllint(path), "xmllint is content", map);
    expect(count_tags(text, "<title>") == map->n_lengths * map->n_depths, "a note for every cell",
            map);
    expect(!strstr(text, "nan") && !strstr(text, "inf\""), "every number is finite", map);
    free(text);
}

static int big_endian(const unsigned char *bytes) {
    return bytes[0] << 24 | bytes[1] << 16 | bytes[2] << 8 | bytes[3];
}

static void check_png(const glm_heatmap *map, const char *path, const int size[2]) {
    help_require(glm_heatmap_write_png(map, path), path);
    char *bytes = NULL;
    int64_t n_bytes = 0;
    help_require(rt_file_read(path, RT_GIB, &bytes, &n_bytes), path);
    const unsigned char *png = (const unsigned char *)bytes;
    expect(n_bytes > 1000 && memcmp(png, "\x89PNG\r\n\x1a\n\0\0\0\rIHDR", 16) == 0,
            "signature and header of the PNG", map);
    expect(big_endian(png + 16) == 2 * size[0] && big_endian(png + 20) == 2 * size[1],
            "the PNG is twice the SVG", map);
    expect(memcmp(png + n_bytes - 8, "IEND", 4) == 0, "the PNG is whole", map);
    free(bytes);
}

static void check(int64_t n_lengths, int64_t n_depths) {
    const glm_heatmap map = make_map(n_lengths, n_depths);
    char *svg = NULL;
    char *png = NULL;
    help_require(rt_path_join(root, "a.svg", &svg), "path");
    help_require(rt_path_join(root, "a.png", &png), "path");
    int size[2] = {0, 0};
    check_svg(&map, svg, size);
    check_png(&map, png, size);
    free(svg);
    free(png);
}

static void check_refusal(void) {
    const glm_heatmap map = make_map(2, 2);
    expect(glm_heatmap_write_svg(&map, "/dev/null/a.svg") == RT_EIO &&
                    strstr(rt_error_text(), "/dev/null/a.svg"),
            "no such directory for the SVG", &map);
    expect(glm_heatmap_write_png(&map, "/dev/null/a.png") == RT_EIO &&
                    strstr(rt_error_text(), "/dev/null/a.png"),
            "no such directory for the PNG", &map);
}

int main(void) {
    root = help_dir();
    check(1, 1);
    check(3, 5);
    check(20, 20);
    check(1, 64);
    check(64, 1);
    check(64, 64);
    check(CELLS_MAX, CELLS_MAX);
    check_refusal();
    return n_failed > 0;
}
