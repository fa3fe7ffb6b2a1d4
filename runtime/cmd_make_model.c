/* glm1m make-model: the embedded demo checkpoint, or a random one of any configuration. */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/size.h"
#include "byte_tokenizer.h"
#include "cli.h"
#include "cli_progress.h"
#include "cli_signals.h"
#include "needle_model.h"
#include "random_model.h"

/* What stands in a directory that this command wrote: which model, so that the same command may be
 * run again (a killed one is finished that way) and nothing else is ever written over. */
static const char label_name[] = "made-by-glm1m.json";

typedef struct request {
    const char *dir;
    const char *config_path; /* random: --config, NULL for the small one */
    uint64_t seed;
    bool is_needle;
    char label[96];
} request;

static void set_label(request *wanted) {
    if (wanted->is_needle)
        (void)snprintf(wanted->label, sizeof wanted->label, "{\"model\": \"needle\"}\n");
    else
        (void)snprintf(wanted->label, sizeof wanted->label,
                "{\"model\": \"random\", \"seed\": %" PRIu64 "}\n", wanted->seed);
}

static int is_not_dot(const struct dirent *entry) {
    return strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
}

static rt_status check_is_empty(const char *dir, bool *is_empty) {
    struct dirent **entries = NULL;
    const int n = scandir(dir, &entries, is_not_dot, NULL);
    if (n < 0 && errno != ENOENT) return rt_fail_errno(RT_EIO, "make-model: cannot open %s", dir);
    for (int i = 0; i < n; i++) free(entries[i]);
    free(entries);
    *is_empty = n <= 0;
    return RT_OK;
}

/* Does DIR/NAME hold exactly this text? */
static rt_status check_holds(const char *dir, const char *name, const char *text, bool *holds) {
    char *path = NULL;
    char *found = NULL;
    int64_t n_bytes = 0;
    *holds = false;
    RT_TRY(rt_path_join(dir, name, &path));
    rt_status status = RT_OK;
    if (rt_file_exists(path)) {
        status = rt_file_read(path, RT_MIB, &found, &n_bytes);
        *holds = status == RT_OK && strcmp(found, text) == 0;
    }
    free(found);
    free(path);
    return status;
}

static rt_status check_is_same(const request *wanted, bool *is_same) {
    RT_TRY(check_holds(wanted->dir, label_name, wanted->label, is_same));
    if (!*is_same || wanted->is_needle) return RT_OK;
    char *config = NULL;
    RT_TRY(glm_random_model_config(wanted->config_path, &config));
    const rt_status status = check_holds(wanted->dir, "config.json", config, is_same);
    free(config);
    return status;
}

/* A model is only written where nothing is, or over itself. */
static rt_status check_target(const request *wanted) {
    bool is_empty = false;
    bool is_same = false;
    RT_TRY(check_is_empty(wanted->dir, &is_empty));
    if (is_empty) return RT_OK;
    RT_TRY(check_is_same(wanted, &is_same));
    if (is_same) return RT_OK;
    return rt_fail(RT_EUSAGE,
            "make-model: %s holds something else than this very model; name a new directory",
            wanted->dir);
}

static rt_status write_needle(const request *wanted) {
    RT_TRY(rt_mkdirs(wanted->dir));
    RT_TRY(glm_write_text(wanted->dir, label_name, wanted->label));
    return glm_needle_model_write(wanted->dir);
}

static rt_status write_steps(const glm_cli *cli, glm_random_model *model) {
    glm_progress progress;
    glm_progress_begin(&progress, cli, "writing", "bytes");
    int64_t done = 0;
    int64_t total = 1;
    rt_status status = RT_OK;
    while (status == RT_OK && done < total) {
        status = glm_random_model_step(model, &done, &total);
        if (status != RT_OK) break;
        glm_progress_update(&progress, done, total, (double)done, (double)total);
        if (done < total) status = glm_cli_check_interrupted();
    }
    glm_progress_end(&progress);
    return status;
}

static rt_status write_random(const glm_cli *cli, const request *wanted) {
    const glm_random_options options = {.config_path = wanted->config_path, .seed = wanted->seed};
    glm_random_model *model = NULL;
    rt_status status = glm_random_model_begin(wanted->dir, &options, &model);
    if (status == RT_EMODEL && wanted->config_path) /* it names the copy, which is gone */
        return rt_fail(status, "make-model: --config %s, as it would be written: %s",
                wanted->config_path, rt_error_text());
    RT_TRY(status);
    status = glm_write_text(wanted->dir, label_name, wanted->label);
    if (status == RT_OK) status = write_steps(cli, model);
    glm_random_model_end(model);
    return status;
}

static rt_status read_request(const glm_cli *cli, request *wanted) {
    const char *kind = cli->operands[0];
    wanted->dir = cli->operands[1];
    wanted->is_needle = strcmp(kind, "needle") == 0;
    wanted->config_path = cli->config_file;
    wanted->seed = cli->seed >= 0 ? (uint64_t)cli->seed : 0;
    if (!wanted->is_needle && strcmp(kind, "random") != 0)
        return rt_fail(RT_EUSAGE, "make-model: \"%s\" is neither needle nor random", kind);
    if (wanted->is_needle && (cli->config_file || cli->seed >= 0))
        return rt_fail(RT_EUSAGE,
                "make-model: needle is one fixed model; --config and --seed are for random");
    set_label(wanted);
    return RT_OK;
}

static rt_status make(const glm_cli *cli) {
    request wanted = {0};
    RT_TRY(read_request(cli, &wanted));
    RT_TRY(check_target(&wanted));
    RT_TRY(wanted.is_needle ? write_needle(&wanted) : write_random(cli, &wanted));
    if (!cli->quiet) (void)fprintf(stderr, "wrote %s\n", wanted.dir);
    return RT_OK;
}

static int run(glm_cli *cli) {
    const rt_status status = make(cli);
    return status == RT_OK ? GLM_EXIT_OK : glm_cli_fail(status);
}

const glm_command glm_cmd_make_model = {
        .name = "make-model",
        .usage = "make-model needle|random DIR [--config FILE] [--seed S]",
        .summary = "write the demo checkpoint, or a random one of any configuration",
        .details =
                "needle writes the embedded demo checkpoint: a GLM-4 model of 1.6 million compiled "
                "weights that retrieves exactly at any length up to a million tokens.\n"
                "\n"
                "random writes random weights for a config.json, native or Hugging Face, in "
                "constant memory: rehearse the 9B's memory and speed without its weights. The same "
                "seed gives the same bytes. Without --config: hidden 256, 4 layers, 8 query heads "
                "over 2 KV heads.\n"
                "\n"
                "DIR must be new or empty, or hold this very model: the same command may be run "
                "again.\n"
                "\n"
                "Examples:\n"
                "  glm1m make-model needle /tmp/needle\n"
                "  glm1m make-model random /data/9b-random --config glm-4-9b-chat-1m/config.json\n",
        .flags = "config seed",
        .operand_words = "needle|random",
        .operands_min = 2,
        .operands_max = 2,
        .run = run,
};
