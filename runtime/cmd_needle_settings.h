/* What an evaluation is to be, from the command line. */
#ifndef GLM_CMD_NEEDLE_SETTINGS_H
#define GLM_CMD_NEEDLE_SETTINGS_H

#include "cli.h"
#include "needle.h"

typedef struct needle_choices {
    const glm_cli *cli;
    glm_needle_settings settings; /* all but is_completer, which the tokenizer says */
    char *own_text;               /* settings.own.text */
    char *piped_question;         /* settings.own.question, where it came from standard input */
    int64_t *lengths;
    double *depths;
} needle_choices;

/* Fill `out`, which is zero; needle_choices_free() also after a failure. The model's directory must be chosen.
 *
 * Errors: RT_EUSAGE  flags that contradict each other, or that no prompt can be made of
 *         as glm_config_load; RT_ENOMEM */
RT_MUST_CHECK rt_status needle_choose(const glm_cli *cli, needle_choices *out);
void needle_choices_free(needle_choices *choices);

#endif
