/* glm1m make-model: the embedded demo checkpoint, or a random one of any configuration. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "cli.h"
#include "needle_model.h"
#include "random_model.h"

/* A model is only written where nothing is, or over a model: never over somebody's files. */
static rt_status check_target(const char *dir) {
    DIR *entries = opendir(dir);
    if (!entries && errno == ENOENT) return RT_OK;
    if (!entries) return rt_fail_errno(RT_EIO, "make-model: cannot open %s", dir);
    bool is_empty = true;
    for (const struct dirent *entry = readdir(entries); entry; entry = readdir(entries))
        is_empty &= strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
    (void)closedir(entries);
    char *config = NULL;
    RT_TRY(rt_path_join(dir, "config.json", &config));
    const bool is_model = rt_file_exists(config);
    free(config);
    if (is_empty || is_model) return RT_OK;
    return rt_fail(RT_EUSAGE,
            "make-model: %s is not empty and holds no config.json; name a new directory", dir);
}

static rt_status write_random(const glm_cli *cli, const char *dir) {
    glm_random_model *model = NULL;
    const uint64_t seed = cli->seed >= 0 ? (uint64_t)cli->seed : 0;
    RT_TRY(glm_random_model_begin(dir, cli->config_file, seed, &model));
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
    glm_random_model_end(model);
    return status;
}

static int run(glm_cli *cli) {
    const char *kind = cli->operands[0];
    const char *dir = cli->operands[1];
    rt_status status = RT_OK;
    const bool is_needle = strcmp(kind, "needle") == 0;
    if (!is_needle && strcmp(kind, "random") != 0)
        status = rt_fail(RT_EUSAGE, "make-model: \"%s\" is neither needle nor random", kind);
    else if (is_needle && (cli->config_file || cli->seed >= 0))
        status = rt_fail(RT_EUSAGE, "make-model: needle is one fixed model; --config and --seed "
                                    "are for random");
    if (status == RT_OK) status = check_target(dir);
    if (status == RT_OK) status = is_needle ? glm_needle_model_write(dir) : write_random(cli, dir);
    if (status != RT_OK) return glm_cli_fail(status);
    if (!cli->quiet) (void)fprintf(stderr, "wrote %s\n", dir);
    return GLM_EXIT_OK;
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
                "Examples:\n"
                "  glm1m make-model needle /tmp/needle\n"
                "  glm1m make-model random /data/9b-random --config glm-4-9b-chat-1m/config.json\n",
        .flags = "config seed",
        .operands_min = 2,
        .operands_max = 2,
        .run = run,
};
