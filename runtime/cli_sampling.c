/* How tokens are drawn, and the texts that end an answer. */
#include "cli_sampling.h"

static bool asks_for_sampling(const glm_cli *cli) {
    return cli->temperature >= 0.0 || cli->top_p >= 0.0 || cli->top_k >= 0 || cli->min_p >= 0.0;
}

glm_sampling glm_cli_sampling(const glm_cli *cli, const glm_config *config) {
    glm_sampling sampling = {.seed = cli->seed >= 0 ? (uint64_t)cli->seed : 0};
    sampling.temperature = config->temperature >= 0.0F ? config->temperature : 1.0F;
    sampling.top_p = config->top_p > 0.0F ? config->top_p : 1.0F;
    sampling.top_k = config->top_k;
    sampling.min_p = config->min_p;
    if (cli->temperature >= 0.0) sampling.temperature = (float)cli->temperature;
    if (cli->top_p >= 0.0) sampling.top_p = (float)cli->top_p;
    if (cli->top_k >= 0) sampling.top_k = (int32_t)cli->top_k;
    if (cli->min_p >= 0.0) sampling.min_p = (float)cli->min_p;
    return sampling;
}

glm_sampling glm_cli_sampling_or_greedy(const glm_cli *cli, const glm_config *config) {
    const glm_sampling greedy = {.temperature = 0.0F, .top_p = 1.0F};
    return asks_for_sampling(cli) ? glm_cli_sampling(cli, config) : greedy;
}

rt_status glm_cli_check_stop(const glm_cli *cli) {
    for (int i = 0; i < cli->n_stop; i++)
        if (cli->stop[i][0] == '\0') return rt_fail(RT_EUSAGE, "--stop: the text is empty");
    return RT_OK;
}
