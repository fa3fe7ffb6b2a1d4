/* --temperature and its like, --stop. */
#ifndef GLM_CLI_SAMPLING_H
#define GLM_CLI_SAMPLING_H

#include "cli.h"

/* As --temperature, --top-p, --top-k, --min-p and --seed say; what they leave open comes from the model's
 * generation_config.json. */
glm_sampling glm_cli_sampling(const glm_cli *cli, const glm_config *config);
/* The same where one of --temperature, --top-p, --top-k and --min-p is given; greedy otherwise. */
glm_sampling glm_cli_sampling_or_greedy(const glm_cli *cli, const glm_config *config);
/* RT_EUSAGE where a --stop text is empty. */
RT_MUST_CHECK rt_status glm_cli_check_stop(const glm_cli *cli);

#endif
