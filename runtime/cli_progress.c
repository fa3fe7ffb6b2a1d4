/* One line on stderr, redrawn in place on a terminal, repeated every few seconds elsewhere:
 *
 *   prefill [##########..............................]  24.1%  31.6k/131k tokens  812/s  ETA 2 min 10 s */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/log.h"
#include "base/size.h"
#include "cli.h"

enum { LINE_BYTES = 256, BAR_CELLS = 40, COLUMNS_DEFAULT = 80 };

static const double redraw_s = 0.1; /* terminal */
static const double repeat_s = 5.0; /* file or pipe */

static bool stderr_is_terminal(void) {
    const char *term = getenv("TERM"); /* NOLINT(concurrency-mt-unsafe): nothing here sets one */
    return isatty(STDERR_FILENO) && !(term && strcmp(term, "dumb") == 0);
}

static int terminal_columns(void) {
    struct winsize size;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return COLUMNS_DEFAULT;
    return size.ws_col;
}

void glm_progress_begin(
        glm_progress *progress, const glm_cli *cli, const char *label, const char *unit) {
    *progress = (glm_progress){.label = label,
            .unit = unit,
            .started_s = rt_now(),
            .last_drawn_s = rt_now(),
            .is_terminal = stderr_is_terminal(),
            .is_silent = cli->quiet || cli->no_progress};
}

/* 131072 -> "131k", 812 -> "812", 1.5 -> "1.5": for reading at a glance. */
static const char *format_count(double value, char text[RT_SIZE_TEXT]) {
    const char *suffix = "";
    if (value >= 999.5e3) {
        value /= 1e6;
        suffix = "M";
    } else if (value >= 999.5) {
        value /= 1e3;
        suffix = "k";
    }
    const int decimals = value >= 99.95 || (value == (double)(int64_t)value) ? 0 : 1;
    (void)snprintf(text, RT_SIZE_TEXT, "%.*f%s", decimals, value, suffix);
    return text;
}

/* "31.6k/131k tokens  812/s  ETA 2 min 10 s" */
static void format_figures(const glm_progress *progress, int64_t done, int64_t total,
        double fraction, char text[LINE_BYTES]) {
    char done_text[RT_SIZE_TEXT];
    char total_text[RT_SIZE_TEXT];
    char rate_text[RT_SIZE_TEXT];
    char eta_text[RT_SIZE_TEXT];
    const double elapsed_s = rt_now() - progress->started_s;
    const double rate = elapsed_s > 0.0 ? (double)done / elapsed_s : 0.0;
    const int n = snprintf(text, LINE_BYTES, "%5.1f%%  %s/%s %s", 100.0 * fraction,
            format_count((double)done, done_text), format_count((double)total, total_text),
            progress->unit);
    if (fraction <= 0.0) return;
    (void)snprintf(text + n, (size_t)(LINE_BYTES - n), "  %s/s  ETA %s",
            format_count(rate, rate_text),
            rt_format_seconds(elapsed_s * (1.0 - fraction) / fraction, eta_text));
}

static void draw_bar(glm_progress *progress, const char *figures, double fraction) {
    char cells[BAR_CELLS + 1];
    const int filled = (int)(fraction * BAR_CELLS);
    for (int i = 0; i < BAR_CELLS; i++) cells[i] = i < filled ? '#' : '.';
    cells[BAR_CELLS] = '\0';

    char line[2 * LINE_BYTES];
    (void)snprintf(line, sizeof line, "%s [%s] %s", progress->label, cells, figures);
    /* A narrow terminal keeps the figures and loses the bar: a wrapped line cannot be redrawn. */
    const int columns = terminal_columns();
    if ((int)strlen(line) >= columns)
        (void)snprintf(line, sizeof line, "%s %s", progress->label, figures);
    (void)fprintf(stderr, "\r\033[K%.*s", columns - 1, line);
    (void)fflush(stderr);
    progress->is_drawn = true;
}

void glm_progress_update(
        glm_progress *progress, int64_t done, int64_t total, double work_done, double work_total) {
    if (progress->is_silent) return;
    const double now = rt_now();
    /* A terminal shows 0 % at once; a log gets its first line after a few seconds. */
    const bool is_first = progress->is_terminal && !progress->is_drawn;
    const double interval_s = progress->is_terminal ? redraw_s : repeat_s;
    if (!is_first && now - progress->last_drawn_s < interval_s) return;
    progress->last_drawn_s = now;

    double fraction = 0.0;
    if (work_total > 0.0)
        fraction = work_done / work_total;
    else if (total > 0)
        fraction = (double)done / (double)total;

    char figures[LINE_BYTES];
    format_figures(progress, done, total, fraction, figures);
    if (progress->is_terminal)
        draw_bar(progress, figures, fraction);
    else
        (void)fprintf(stderr, "%s: %s\n", progress->label, figures);
}

void glm_progress_end(glm_progress *progress) {
    if (progress->is_drawn) (void)fprintf(stderr, "\r\033[K");
    progress->is_drawn = false;
}
