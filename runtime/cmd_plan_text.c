/* What glm1m plan is asked about: a text, as glm1m ask would read it. */
#include "cmd_plan_text.h"

#include <inttypes.h>

#include "base/size.h"
#include "cli_input.h"
#include "cli_sources.h"
#include "cmd_ask.h"
#include "reading.h"

/* QUESTION_TOKENS: of one, with the words around it. */
enum { QUESTION_TOKENS = 512, ANSWER_TOKENS = 1024 };

/* As glm1m ask takes it: *n_tokens in front of the question. */
static rt_status measure(
        const glm_cli *cli, const glm_config *config, glm_tokenizer *tokenizer, int64_t *n_tokens) {
    glm_variant variant;
    glm_document document;
    glm_reading reading = {0};
    glm_variant_recognise(config, cli->engine.model_dir, &variant);
    RT_TRY(glm_cli_load_document(cli, cli->operands, cli->n_operands, &document));
    glm_cli_say_skipped(cli, &document);
    const rt_status status = glm_reading_make(tokenizer, &variant, NULL, &document, &reading);
    *n_tokens = reading.prefix.n;
    if (status == RT_OK) glm_cli_say_text(cli, &reading.document, *n_tokens);
    glm_reading_free(&reading);
    return status;
}

rt_status plan_take_text(glm_cli *cli, const glm_config *config, int64_t *n_tokens) {
    glm_tokenizer *tokenizer = NULL;
    if (cli->engine.max_len > 0)
        return rt_fail(RT_EUSAGE, "plan takes SOURCE... or --max-model-len, not both");
    RT_TRY(glm_cli_load_tokenizer(cli, &tokenizer));
    const rt_status status = measure(cli, config, tokenizer, n_tokens);
    glm_tokenizer_free(tokenizer);
    RT_TRY(status);
    const int64_t least = *n_tokens + QUESTION_TOKENS;
    if (least > config->model_len)
        return rt_fail(RT_ENOFIT,
                "the text has %" PRId64 " tokens, and a question needs %d: %" PRId64
                " more than the model's own limit, %" PRId64,
                *n_tokens, QUESTION_TOKENS, least - config->model_len, config->model_len);
    cli->keeps = true;
    cli->engine.max_len = rt_min64(least + ANSWER_TOKENS, config->model_len);
    cli->engine.extra_kv_tokens = QUESTION_TOKENS + ANSWER_TOKENS + ASK_FORK_TOKENS;
    return RT_OK;
}
