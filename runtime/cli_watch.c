/* A long text that is read, cut up, tokenized: how far that is, once it has taken a second. */
#include "base/log.h"
#include "cli_progress.h"
#include "cli_signals.h"

static const double silent_s = 1.0;

static void tell(void *context, const char *what, int64_t done, int64_t total) {
    glm_text_progress *progress = context;
    if (progress->what != what) {
        glm_progress_end(&progress->bar);
        glm_progress_begin(&progress->bar, progress->cli, what, "bytes");
        progress->what = what;
    }
    if (done < total && rt_now() - progress->bar.started_s >= silent_s)
        glm_progress_update(&progress->bar, done, total, 0.0, 0.0);
    if (done < total) return;
    glm_progress_end(&progress->bar);
    progress->what = NULL;
}

glm_watch glm_cli_watch(const glm_cli *cli) {
    return (glm_watch){.stops = glm_cli_interrupted,
            .tell = cli->text_progress ? tell : NULL,
            .context = cli->text_progress};
}
