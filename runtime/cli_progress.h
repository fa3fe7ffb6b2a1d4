/* How far a command is: the bar, and what watches a long text being read. */
#ifndef GLM_CLI_PROGRESS_H
#define GLM_CLI_PROGRESS_H

#include "cli.h"
#include "watch.h"

/* Progress on stderr: a bar that redraws on a terminal, otherwise a line every few seconds.
 * `done` and `total` in `unit` ("tokens", "cells"); the rate and the ETA are computed from the
 * work estimate when given (attention makes late tokens dearer), else from done. */
typedef struct glm_progress {
    const char *label;
    const char *unit;
    double started_s;
    double last_seen_s;
    double last_drawn_s;
    int64_t done_before; /* by an earlier run: no part of the rate and the ETA */
    double work_before;
    bool is_terminal;
    bool is_silent;
    bool is_drawn;
} glm_progress;
void glm_progress_begin(
        glm_progress *progress, const glm_cli *cli, const char *label, const char *unit);
/* An earlier run has done this much: it counts as done, but not for the rate and the ETA. */
void glm_progress_start_at(glm_progress *progress, int64_t done, double work_done);
void glm_progress_update(
        glm_progress *progress, int64_t done, int64_t total, double work_done, double work_total);
/* Clear the bar (terminal) so that other output starts on a clean line. */
void glm_progress_end(glm_progress *progress);

/* Of a text that is being read. */
typedef struct glm_text_progress {
    const glm_cli *cli;
    const char *what; /* is done to it now; NULL: nothing */
    glm_progress bar;
} glm_text_progress;

/* What watches the reading of a text: a signal stops it, and what takes more than a second is shown. It holds as long as
 * `cli`. */
glm_watch glm_cli_watch(const glm_cli *cli);

#endif
