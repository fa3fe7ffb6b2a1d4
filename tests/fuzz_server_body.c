/* Fuzz target: bodies of serve's routes, all that take one. Whatever comes, there is a request within every
 * bound, or an answer, which where it is an error has a status and a text; and the JSON that was taken is no
 * deeper than it may be. The scheduler takes requests, and runs none of them.
 *
 * Input: a byte that says which route, then the body. "read_1" is the text that /v1/read was given before. */
#include "help_fuzz.h"

#include <math.h>
#include <string.h>

#include "help_dir.h"
#include "help_tokenizer.h"
#include "runtime/base/size.h"
#include "runtime/byte_tokenizer.h"
#include "runtime/server/ask.h"
#include "runtime/server/limits.h"
#include "runtime/server/routes.h"
#include "runtime/server/schedule.h"

enum { CONTEXT = 4096, VOCAB = 272 };

static const char *const paths[] = {"/v1/chat/completions", "/v1/completions", "/v1/messages",
        "/tokenize", "/detokenize", "/v1/messages/count_tokens", "/v1/read", "/v1/ask", "/v1/cite",
        "/v1/jobs", "/v1/responses"};
enum { N_PATHS = sizeof paths / sizeof *paths };

static char reading_id[SRV_ID_BYTES];

static srv_options options_of_the_test(void) {
    static glm_config config;
    static glm_variant variant;
    const char *dir = help_dir();
    glm_tokenizer *tokenizer = NULL;
    CHECK(glm_byte_tokenizer_write(dir, VOCAB) == RT_OK);
    CHECK(glm_tokenizer_load(dir, &tokenizer) == RT_OK);
    config = (glm_config){.vocab = VOCAB,
            .temperature = -1.0F,
            .n_layers = 1,
            .n_heads = 8,
            .n_kv_heads = 4,
            .head_dim = 32,
            .hidden = 128,
            .ffn = 192};
    return (srv_options){
            .model_name = "model", .tokenizer = tokenizer, .config = &config, .variant = &variant};
}

static void read_one(srv_server *server) {
    static const char text[] =
            "Lucia lives in Rome.\nThe special magic number for Rome is: 1234567.\n";
    glm_document document;
    glm_reading reading = {0};
    srv_reading *one = NULL;
    CHECK(glm_document_from_bytes("a.txt", text, sizeof text - 1, &document) == RT_OK);
    CHECK(glm_reading_make(server->options.tokenizer, server->options.variant, NULL, &document,
                  &reading) == RT_OK);
    CHECK(srv_readings_add(server->readings, &reading, &one) == RT_OK);
    memcpy(reading_id, one->id, sizeof reading_id);
    srv_reading_drop(one);
}

/* Loaded, as far as routes can see. */
static srv_server *server_of_the_test(void) {
    static srv_server server;
    if (server.scheduler) return &server;
    server.options = options_of_the_test();
    CHECK(srv_scheduler_create(server.options.tokenizer, 4, &server.scheduler) == RT_OK);
    CHECK(srv_jobs_create(server.scheduler, &server.jobs) == RT_OK);
    CHECK(srv_readings_create(&server.readings) == RT_OK);
    server.scheduler->plan = (glm_plan){
            .max_len = CONTEXT, .n_ranks = 1, .machine_flops = 1e12, .attention_flops = 1e12};
    server.scheduler->context = CONTEXT;
    server.scheduler->state = SRV_READY;
    read_one(&server);
    return &server;
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
    FUZZ_REQUIRE(error->http == 400);
    FUZZ_REQUIRE(error->message[0] != '\0');
    for (int shape = SRV_SHAPE_OPENAI; shape <= SRV_SHAPE_ANTHROPIC; shape++) {
        json_t *value = srv_error_json(error, (srv_shape)shape);
        FUZZ_REQUIRE(value != NULL);
        json_decref(value);
    }
}

/* What it makes of a row are numbers, and of ids of the vocabulary. */
static void check_bias(const glm_bias *given, const glm_ids *prompt) {
    static const float logits[VOCAB] = {-3.0F, 0.0F, 80.0F};
    const float *row = NULL;
    glm_bias bias = {0};
    for (int64_t i = 0; i < given->n_entries; i++)
        FUZZ_REQUIRE(given->entries[i].id >= 0 && given->entries[i].id < VOCAB &&
                     (i == 0 || given->entries[i - 1].id < given->entries[i].id));
    CHECK(glm_bias_copy(&bias, given) == RT_OK);
    CHECK(glm_bias_begin(&bias, prompt->ids, prompt->n, VOCAB) == RT_OK);
    CHECK(glm_bias_count(&bias, VOCAB - 1) == RT_OK);
    CHECK(glm_bias_apply(&bias, logits, VOCAB, &row) == RT_OK);
    for (int64_t i = 0; i < VOCAB; i++) FUZZ_REQUIRE(isfinite(row[i]));
    glm_bias_free(&bias);
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
    FUZZ_REQUIRE(settings->sampling.min_p >= 0.0F && settings->sampling.min_p <= 1.0F);
    check_bias(&settings->bias, &request->prompt);
    FUZZ_REQUIRE(settings->n_top >= 0 && settings->n_top <= SRV_TOP_MAX);
    FUZZ_REQUIRE(settings->n_stop <= srv_limit_of(SRV_STOP_TEXTS));
    for (int i = 0; i < settings->n_stop; i++) FUZZ_REQUIRE(settings->stop[i][0] != '\0');
}

/* The table says where the texts are; a client was told. */
static void name_reading(json_t *body) {
    const char *name = json_string_value(json_object_get(body, "reading"));
    if (name && strcmp(name, "read_1") == 0)
        FUZZ_REQUIRE(json_object_set_new(body, "reading", json_string(reading_id)) == 0);
}

static void check_answer(const srv_exchange *exchange) {
    static const int known[] = {200, 202, 400, 404, 415, 429, 503};
    bool is_known = false;
    FUZZ_REQUIRE(exchange->response || exchange->request);
    FUZZ_REQUIRE(!exchange->response || !exchange->request);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        is_known = is_known || exchange->http == known[i];
    FUZZ_REQUIRE(exchange->request || is_known);
}

static void run_route(srv_server *server, const char *path, json_t *body) {
    srv_error error = {0};
    srv_exchange exchange = {.server = server};
    exchange.route = srv_route_find("POST", path, exchange.rest, &error);
    name_reading(body);
    exchange.route->handler(&exchange, body);
    check_answer(&exchange);
    if (exchange.request) check_request(exchange.request, server->options.config->vocab);
    if (exchange.response) MHD_destroy_response(exchange.response);
    srv_fail_all(server->scheduler); /* whatever waits */
    srv_request_drop(exchange.request);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes) {
    srv_server *server = server_of_the_test();
    srv_error error = {0};
    if (n_bytes == 0) return 0;
    const char *text = (const char *)fuzz_at_the_end(data + 1, n_bytes - 1);
    json_t *body = srv_json_read(text, (int64_t)n_bytes - 1, &error);
    if (!body) {
        check_error(&error);
        return 0;
    }
    FUZZ_REQUIRE(depth_of(body) <= srv_limit_of(SRV_JSON_DEPTH));
    run_route(server, paths[data[0] % N_PATHS], body);
    json_decref(body);
    return 0;
}

void fuzz_add_seeds(fuzz_corpus *corpus) {
    static const char *const bodies[] = {
            "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"max_tokens\":2147483647}",
            "{\"messages\":[{\"role\":\"system\",\"content\":[{\"type\":\"text\",\"text\":\"a\"}]},"
            "{\"role\":\"user\",\"content\":\"\\u00e9\"}],\"temperature\":0.5,\"top_p\":0.9,"
            "\"top_k\":3,\"min_p\":0.1,\"min_tokens\":2,\"seed\":7,\"stop\":[\"a\",\"b\"],\"stream\":true,\"logprobs\":true,"
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
            "{\"prompt\":\"abc\",\"response_format\":{\"type\":\"json_object\"},\"max_tokens\":5}",
            "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],\"response_format\":{\"type\":"
            "\"json_schema\",\"json_schema\":{\"schema\":{\"type\":\"object\",\"properties\":{\"a\":{\"enum\":"
            "[1,0.5,\"b\",null,{\"c\":[]}]},\"n\":{\"anyOf\":[{\"$ref\":\"#\"},{\"type\":[\"null\",\"integer\"]}]},"
            "\"d\":{\"$ref\":\"#/$defs/d\"}},\"required\":[\"a\",\"x\"],\"additionalProperties\":{},\"$defs\":{"
            "\"d\":{\"type\":\"array\",\"items\":{\"const\":\"k\"}}}}}}}",
            "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],\"max_tokens\":4,\"tool_choice\":\"auto\","
            "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"strict\":true,\"parameters\":{"
            "\"properties\":{\"n\":{\"type\":\"integer\",\"minimum\":1}}}}}]}",
            "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],\"max_tokens\":4,\"tool_choice\":{\"type\":"
            "\"any\"},\"tools\":[{\"name\":\"f\",\"strict\":true,\"input_schema\":{\"type\":\"object\"}},"
            "{\"name\":\"g\",\"input_schema\":{\"oneOf\":[]}}]}",
            "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],\"max_tokens\":4,\"parallel_tool_calls\":false,"
            "\"modalities\":[\"text\"],\"output_config\":{\"format\":{\"type\":\"json_schema\",\"schema\":{\"type\":"
            "\"object\"}}},\"output_format\":null}",
            "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":null,"
            "\"function_call\":{\"name\":\"f\",\"arguments\":{\"a\":[1]}},\"tool_calls\":[]},{\"role\":\"tool\"},"
            "{\"role\":\"assistant\",\"content\":[{\"type\":\"refusal\",\"refusal\":\"b\"}]}],\"max_tokens\":-1,"
            "\"seed\":-1,\"top_p\":0,\"top_k\":4.0,\"stop\":[\"\"],\"thinking\":{\"type\":\"disabled\"},"
            "\"reasoning_effort\":\"none\",\"stream\":true,\"stream_options\":{\"include_usage\":true,"
            "\"continuous_usage_stats\":true},\"tool_choice\":{\"type\":\"none\"}}",
            "{\"prompt\":\"abc\",\"model\":\"model\",\"logit_bias\":{\"5\":-100,\"271\":2.5,\"05\":1},"
            "\"presence_penalty\":2,\"frequency_penalty\":-2.0,\"repetition_penalty\":0.01,\"max_tokens\":2147483647}",
            "{\"tokens\":[258,260,97,98]}", "{\"name\":\"a.txt\",\"text\":\"Anna is here.\\n\"}",
            "{\"reading\":\"read_1\",\"question\":\"Who?\",\"max_tokens\":9}",
            "{\"reading\":\"read_1\",\"answer\":\"\\\"lives in Rome\\\" [1], and \\\"no\\\"\"}",
            "{\"endpoint\":\"/v1/messages\",\"body\":{\"max_tokens\":3,\"messages\":[{\"role\":"
            "\"user\",\"content\":\"a\"}]}}",
            "{\"x\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}"};
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++)
        for (uint8_t path = 0; path < N_PATHS; path++) fuzz_add_text(corpus, path, bodies[i]);
}

void fuzz_repair(uint8_t *bytes, size_t n_bytes) {
    (void)bytes;
    (void)n_bytes;
}
