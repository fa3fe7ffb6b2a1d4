#include "cli.h"

bool glm_cli_asks_for_sampling(const glm_cli *cli) {
    return cli->temperature >= 0.0 || cli->top_p >= 0.0 || cli->top_k >= 0;
}

glm_sampling glm_cli_sampling(const glm_cli *cli, const glm_config *config) {
    glm_sampling sampling = {.seed = cli->seed >= 0 ? (uint64_t)cli->seed : 0};
    sampling.temperature = config->temperature >= 0.0F ? config->temperature : 1.0F;
    sampling.top_p = config->top_p > 0.0F ? config->top_p : 1.0F;
    sampling.top_k = config->top_k;
    if (cli->temperature >= 0.0) sampling.temperature = (float)cli->temperature;
    if (cli->top_p >= 0.0) sampling.top_p = (float)cli->top_p;
    if (cli->top_k >= 0) sampling.top_k = (int32_t)cli->top_k;
    return sampling;
}
