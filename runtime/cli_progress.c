/* One line on stderr, redrawn in place on a terminal, repeated every few seconds elsewhere, in a long run every
 * minute:
 *
 *   prefill [##########..............................]  24.1%  31.6k/131k tokens  812/s  ETA 2 min 10 s */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/log.h"
#include "base/size.h"
#include "cli_progress.h"
#include "cli_signals.h"

enum { LINE_BYTES = 256, BAR_CELLS = 40, BAR_CELLS_MIN = 8, FIGURES = 52, COLUMNS_DEFAULT = 80 };

static const double redraw_s = 0.1; /* terminal */
static const double repeat_s = 5.0; /* file or pipe, and when that has taken long: */
static const double repeat_most_s = 60.0;

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
            .last_seen_s = rt_now(),
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

/* How far it is. */
typedef struct extent {
    int64_t done;
    int64_t total;
    double fraction; /* of the work */
    double before;   /* the fraction that earlier runs did */
} extent;

static extent extent_of(const glm_progress *progress, int64_t done, int64_t total, double work_done,
        double work_total) {
    const bool has_work = work_total > 0.0;
    const double all = has_work ? work_total : (double)rt_max64(total, 1);
    return (extent){.done = done,
            .total = total,
            .fraction = (has_work ? work_done : (double)done) / all,
            .before = (has_work ? progress->work_before : (double)progress->done_before) / all};
}

/* "31.6k/131k tokens  812/s  ETA 2 min 10 s" */
static void format_figures(const glm_progress *progress, const extent *at, char text[LINE_BYTES]) {
    char done_text[RT_SIZE_TEXT];
    char total_text[RT_SIZE_TEXT];
    char rate_text[RT_SIZE_TEXT];
    char eta_text[RT_SIZE_TEXT];
    const double elapsed_s = rt_now() - progress->started_s;
    const double here = at->fraction - at->before; /* in this time */
    const double rate =
            elapsed_s > 0.0 ? (double)(at->done - progress->done_before) / elapsed_s : 0.0;
    const int n = snprintf(text, LINE_BYTES, "%5.1f%%  %s/%s %s", 100.0 * at->fraction,
            format_count((double)at->done, done_text), format_count((double)at->total, total_text),
            progress->unit);
    if (here <= 0.0) return;
    (void)snprintf(text + n, (size_t)(LINE_BYTES - n), "  %s/s  ETA %s",
            format_count(rate, rate_text),
            rt_format_seconds(elapsed_s * (1.0 - at->fraction) / here, eta_text));
}

/* A narrow terminal keeps the figures, and of the bar what there is room for: a wrapped line cannot be redrawn. */
static void draw_bar(glm_progress *progress, const char *figures, double fraction) {
    const int columns = terminal_columns();
    /* Figures grow and shrink; the bar does not for that. */
    const int taken = (int)strlen(progress->label) +
                      (int)rt_max64((int64_t)strlen(figures), FIGURES) + (int)strlen(" [] ");
    const int n_cells = (int)rt_min64(BAR_CELLS, columns - 1 - taken);
    char bar[BAR_CELLS + 1] = "";
    for (int i = 0; i < n_cells; i++) bar[i] = i < (int)(fraction * n_cells) ? '#' : '.';

    char line[2 * LINE_BYTES];
    const bool has_bar = n_cells >= BAR_CELLS_MIN;
    (void)snprintf(line, sizeof line, "%s %s%s%s%s", progress->label, has_bar ? "[" : "",
            has_bar ? bar : "", has_bar ? "] " : "", figures);
    (void)fprintf(stderr, "\r\033[K%.*s", columns - 1, line);
    (void)fflush(stderr);
    progress->is_drawn = true;
}

/* Of a file the lines of a long run come once in a hundredth of what it took so far, and once in a minute. */
static double interval_of(const glm_progress *progress, double now) {
    if (progress->is_terminal) return redraw_s;
    return fmin(fmax((now - progress->started_s) / 100.0, repeat_s), repeat_most_s);
}

void glm_progress_start_at(glm_progress *progress, int64_t done, double work_done) {
    progress->done_before = done;
    progress->work_before = work_done;
}

/* Time in which the program was stopped does not count, with what it had run since the update before. */
static void leave_out_pause(glm_progress *progress, double now) {
    const double continued_s = glm_cli_continued_at();
    if (continued_s > progress->last_seen_s)
        progress->started_s += continued_s - progress->last_seen_s;
    progress->last_seen_s = now;
}

void glm_progress_update(
        glm_progress *progress, int64_t done, int64_t total, double work_done, double work_total) {
    if (progress->is_silent) return;
    const double now = rt_now();
    leave_out_pause(progress, now);
    /* A terminal shows 0 % at once; a log gets its first line after a few seconds. */
    const bool is_first = progress->is_terminal && !progress->is_drawn;
    if (!is_first && now - progress->last_drawn_s < interval_of(progress, now)) return;
    progress->last_drawn_s = now;

    const extent at = extent_of(progress, done, total, work_done, work_total);
    char figures[LINE_BYTES];
    format_figures(progress, &at, figures);
    if (progress->is_terminal)
        draw_bar(progress, figures, at.fraction);
    else
        (void)fprintf(stderr, "%s: %s\n", progress->label, figures);
}

void glm_progress_end(glm_progress *progress) {
    if (progress->is_drawn) (void)fprintf(stderr, "\r\033[K");
    progress->is_drawn = false;
}
