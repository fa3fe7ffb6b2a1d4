/* Running a grid of needle cells through an engine. */
#ifndef GLM_NEEDLE_RUN_H
#define GLM_NEEDLE_RUN_H

#include "cli.h"
#include "needle.h"

/* What --book says its text is from begins so. */
#define GLM_NEEDLE_SOURCE "glm1m needle"

typedef struct glm_needle_grid {
    const glm_cli *cli;
    glm_engine *engine;
    const glm_tokenizer *tokenizer;
    const glm_needle_source *source;
    glm_needle_results *results; /* cells that it holds already are not run again */
    const char *program;         /* what computes: for the records */
    const char *out_dir;         /* results are saved there after every cell; NULL: nowhere */
} glm_needle_grid;

/* Run every cell that is missing: by length in exact mode, by insertion point in fast mode. After a
 * failure or Ctrl-C (RT_EINTERRUPTED) the finished cells are in the results and saved. */
RT_MUST_CHECK rt_status glm_needle_run(const glm_needle_grid *grid);

#endif
