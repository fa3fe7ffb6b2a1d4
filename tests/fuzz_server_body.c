/* Fuzz target: bodies of serve's routes. Whatever comes, there is a request within every bound, or an
 * error with a status and a text; and the JSON that was taken is no deeper than it may be.
 *
 * Input: a byte that says which API, then the body. */
#include "help_fuzz.h"

#include <string.h>

#include "help_tokenizer.h"
#include "runtime/base/size.h"
#include "runtime/byte_tokenizer.h"
#include "runtime/server/ask.h"
#include "runtime/server/limits.h"

typedef srv_request *(*asker)(const json_t *body, const srv_options *options, srv_error *error);

static const srv_options *options_of_the_test(void) {
    static glm_config config;
    static glm_variant variant;
    static srv_options options;
    if (options.tokenizer) return &options;
    const char *dir = tokh_make_dir();
    glm_tokenizer *tokenizer = NULL;
    CHECK(glm_byte_tokenizer_write(dir, 272) == RT_OK);
    CHECK(glm_tokenizer_load(dir, &tokenizer) == RT_OK);
    config = (glm_config){.vocab = 272, .temperature = -1.0F};
    options = (srv_options){
            .model_name = "model", .tokenizer = tokenizer, .config = &config, .variant = &variant};
    return &options;
}

static int64_t depth_of(const json_t *value) {
    int64_t most = 0;
    size_t i;
    const char *key;
    json_t *item;
    if (json_is_array(value)) {
        json_array_foreach(value, i, item) most = rt_max64(most, depth_of(item));
    } else if (json_is_object(value)) {
        json_object_foreach((json_t *)(uintptr_t)value, key, item) most =
                rt_max64(most, depth_of(item));
    } else {
        return 0;
    }
    return most + 1;
}

static void check_error(const srv_error *error) {
    FUZZ_REQUIRE(error->http == 400 || error->http == 404);
    FUZZ_REQUIRE(error->message[0] != '\0');
    for (int shape = SRV_SHAPE_OPENAI; shape <= SRV_SHAPE_ANTHROPIC; shape++) {
        json_t *value = srv_error_json(error, (srv_shape)shape);
        FUZZ_REQUIRE(value != NULL);
        json_decref(value);
    }
}

static void check_request(const srv_request *request, int64_t vocab) {
    const srv_settings *settings = &request->settings;
    FUZZ_REQUIRE(request->prompt.n > 0);
    for (int64_t i = 0; i < request->prompt.n; i++)
        FUZZ_REQUIRE(request->prompt.ids[i] >= 0 && request->prompt.ids[i] < vocab);
    FUZZ_REQUIRE(settings->max_tokens == -1 ||
                 (settings->max_tokens >= 1 && settings->max_tokens <= INT32_MAX));
    FUZZ_REQUIRE(settings->sampling.temperature >= 0.0F && settings->sampling.temperature <= 2.0F);
    FUZZ_REQUIRE(settings->sampling.top_p > 0.0F && settings->sampling.top_p <= 1.0F);
    FUZZ_REQUIRE(settings->sampling.top_k >= 0);
    FUZZ_REQUIRE(settings->n_top >= 0 && settings->n_top <= SRV_TOP_MAX);
    FUZZ_REQUIRE(settings->n_stop <= srv_limit_of(SRV_STOP_TEXTS));
    for (int i = 0; i < settings->n_stop; i++) FUZZ_REQUIRE(settings->stop[i][0] != '\0');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes) {
    static const asker askers[] = {srv_ask_chat, srv_ask_completion, srv_ask_messages};
    const srv_options *options = options_of_the_test();
    srv_error error = {0};
    if (n_bytes == 0) return 0;
    const char *text = (const char *)fuzz_at_the_end(data + 1, n_bytes - 1);
    json_t *body = srv_json_read(text, (int64_t)n_bytes - 1, &error);
    if (!body) {
        check_error(&error);
        return 0;
    }
    FUZZ_REQUIRE(depth_of(body) <= srv_limit_of(SRV_JSON_DEPTH));
    srv_request *request = askers[data[0] % 3](body, options, &error);
    if (request)
        check_request(request, options->config->vocab);
    else
        check_error(&error);
    srv_request_drop(request);
    json_decref(body);
    return 0;
}

void fuzz_add_seeds(fuzz_corpus *corpus) {
    static const char *const bodies[] = {
            "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"max_tokens\":2147483647}",
            "{\"messages\":[{\"role\":\"system\",\"content\":[{\"type\":\"text\",\"text\":\"a\"}]},"
            "{\"role\":\"user\",\"content\":\"\\u00e9\"}],\"temperature\":0.5,\"top_p\":0.9,"
            "\"top_k\":3,\"seed\":7,\"stop\":[\"a\",\"b\"],\"stream\":true,\"logprobs\":true,"
            "\"top_logprobs\":20,\"stream_options\":{\"include_usage\":true}}",
            "{\"messages\":[{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"x\","
            "\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]},"
            "{\"role\":\"tool\",\"tool_call_id\":\"x\",\"content\":\"1\"}],\"tools\":[{\"type\":"
            "\"function\",\"function\":{\"name\":\"f\",\"parameters\":{}}}],\"tool_choice\":"
            "{\"type\":\"function\",\"function\":{\"name\":\"f\"}}}",
            "{\"prompt\":\"abc\",\"max_tokens\":5,\"logprobs\":2,\"echo\":false}",
            "{\"prompt\":[258,260,97,98],\"stop_token_ids\":[271],\"ignore_eos\":true}",
            "{\"prompt\":[\"abc\"],\"add_special_tokens\":false,\"n\":1}",
            "{\"max_tokens\":9,\"system\":\"s\",\"messages\":[{\"role\":\"user\",\"content\":"
            "[{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"text\",\"text\":\"b\"}]},"
            "{\"role\":\"assistant\",\"content\":[{\"type\":\"tool_use\",\"id\":\"t\",\"name\":"
            "\"f\","
            "\"input\":{\"a\":1}}]},{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\","
            "\"tool_use_id\":\"t\",\"content\":\"ok\"}]}],\"tools\":[{\"name\":\"f\","
            "\"input_schema\":{\"type\":\"object\"}}],\"stop_sequences\":[\"x\"]}",
            "{\"x\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}"};
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++)
        for (uint8_t api = 0; api < 3; api++) fuzz_add_text(corpus, api, bodies[i]);
}

void fuzz_repair(uint8_t *bytes, size_t n_bytes) {
    (void)bytes;
    (void)n_bytes;
}
