/* What every API's body has: settings, ids, and the parts of a conversation. */
#include "ask.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "limits.h"
#include "runtime/base/memory.h"
#include "runtime/base/size.h"
#include "runtime/cli_input.h"

bool srv_check_model(const json_t *body, const srv_options *options, srv_error *error) {
    const char *name = options->model_name;
    if (!srv_get_text(body, "model", &name, error)) return false;
    if (strcmp(name, options->model_name) == 0) return true;
    for (int i = 0; i < options->n_other_names; i++)
        if (strcmp(name, options->other_names[i]) == 0) return true;
    return srv_refuse(error, 404, "model_not_found", "model",
            "there is no model %.100s here; GET /v1/models lists what there is", name);
}

/* ---- settings -------------------------------------------------------------------------------- */

/* An empty text, as a form's empty field gives it, stops nothing. */
static bool add_stop(
        const json_t *value, const char *name, srv_settings *settings, srv_error *error) {
    if (!json_is_string(value) || (int64_t)json_string_length(value) > srv_limit_of(SRV_STOP_BYTES))
        return srv_refuse_field(error, name,
                "%s: a stop text is a string of at most %" PRId64 " bytes", name,
                srv_limit_of(SRV_STOP_BYTES));
    if (json_string_length(value) == 0) return true;
    settings->stop[settings->n_stop] = strdup(json_string_value(value));
    if (!settings->stop[settings->n_stop])
        return srv_refuse(error, 503, "out_of_memory", NULL, "no memory for stop texts");
    settings->n_stop++;
    return true;
}

bool srv_read_stop(const json_t *body, const char *name, srv_settings *settings, srv_error *error) {
    const json_t *value = json_object_get(body, name);
    if (!value || json_is_null(value)) return true;
    const size_t n = json_is_array(value) ? json_array_size(value) : 1;
    if (settings->n_stop > 0)
        return srv_refuse_field(error, name, "%s: stop texts are given twice", name);
    free(settings->stop); /* an empty list came before */
    settings->stop = NULL;
    if ((int64_t)n > srv_limit_of(SRV_STOP_TEXTS))
        return srv_refuse_field(error, name, "%s has %zu texts, at most %" PRId64 " are taken",
                name, n, srv_limit_of(SRV_STOP_TEXTS));
    if (rt_calloc((int64_t)n + 1, sizeof *settings->stop, "stop texts", &settings->stop) != RT_OK)
        return srv_refuse_status(error, RT_ENOMEM, NULL);
    if (!json_is_array(value)) return add_stop(value, name, settings, error);
    for (size_t i = 0; i < n; i++)
        if (!add_stop(json_array_get(value, i), name, settings, error)) return false;
    return true;
}

static bool read_stop_ids(
        const json_t *body, const srv_options *options, srv_settings *settings, srv_error *error) {
    const json_t *list = json_object_get(body, "stop_token_ids");
    if (!list || json_is_null(list)) return true;
    if (!json_is_array(list) || json_array_size(list) > SRV_STOP_IDS_MAX)
        return srv_refuse_field(error, "stop_token_ids",
                "stop_token_ids must be an array of at most %d ids", SRV_STOP_IDS_MAX);
    for (size_t i = 0; i < json_array_size(list); i++) {
        int64_t id = -1;
        if (!srv_is_whole(json_array_get(list, i), &id) || id < 0 || id >= options->config->vocab)
            return srv_refuse_field(error, "stop_token_ids",
                    "stop_token_ids[%zu] is no id of the vocabulary of %" PRId64, i,
                    options->config->vocab);
        settings->stop_ids[settings->n_stop_ids++] = (int32_t)id;
    }
    return true;
}

/* What the client leaves open is the checkpoint's own choice. */
static bool read_sampling(
        const json_t *body, const glm_config *config, glm_sampling *sampling, srv_error *error) {
    double temperature = config->temperature >= 0.0F ? (double)config->temperature : 1.0;
    double top_p = config->top_p > 0.0F ? (double)config->top_p : 1.0;
    double min_p = (double)config->min_p;
    int64_t top_k = config->top_k;
    int64_t seed = -1;
    bool samples = true; /* do_sample, of Zhipu's API */
    if (!srv_get_bool(body, "do_sample", &samples, error) ||
            !srv_get_real(body, "temperature", 0.0, 2.0, &temperature, error) ||
            !srv_get_real(body, "top_p", 0.0, 1.0, &top_p, error) ||
            !srv_get_int(body, "top_k", -1, INT32_MAX, &top_k, error) ||
            !srv_get_real(body, "min_p", 0.0, 1.0, &min_p, error) ||
            !srv_get_int(body, "seed", INT64_MIN, INT64_MAX, &seed, error))
        return false;
    uint64_t random = (uint64_t)seed;
    if (seed == -1) (void)getrandom(&random, sizeof random, 0);
    /* The fewest tokens that reach top_p are one where that is 0: the most probable. */
    const bool is_greedy = !samples || (float)top_p == 0.0F;
    *sampling = (glm_sampling){.temperature = is_greedy ? 0.0F : (float)temperature,
            .top_p = is_greedy ? 1.0F : (float)top_p,
            .top_k = (int32_t)rt_max64(top_k, 0),
            .min_p = (float)min_p,
            .seed = random};
    return true;
}

/* {"5": -100}: an id as a text, and what is added to its logit. */
static bool read_bias_of(const char *text, const json_t *value, const glm_config *config,
        glm_bias *bias, srv_error *error) {
    const double most = 100.0;
    char *end = NULL;
    const bool is_number = text[0] >= '0' && text[0] <= '9' && strlen(text) <= 10;
    const long long id = is_number ? strtoll(text, &end, 10) : -1;
    const double amount = json_number_value(value);
    if (id < 0 || *end || id >= config->vocab)
        return srv_refuse_field(error, "logit_bias",
                "logit_bias: %.40s is no id of the vocabulary of %" PRId64
                "; /tokenize has a text's",
                text, config->vocab);
    if (!json_is_number(value) || !(amount >= -most && amount <= most))
        return srv_refuse_field(error, "logit_bias",
                "logit_bias of %.40s must be a number from %g to %g", text, -most, most);
    if (glm_bias_set(bias, (int32_t)id, (float)amount) == RT_OK) return true;
    return srv_refuse_status(error, RT_ENOMEM, NULL);
}

static bool read_logit_bias(
        const json_t *body, const glm_config *config, glm_bias *bias, srv_error *error) {
    const json_t *given = json_object_get(body, "logit_bias");
    const int64_t most = srv_limit_of(SRV_BIASED_IDS);
    if (!given || json_is_null(given)) return true;
    if (json_is_array(given) && json_array_size(given) == 0) return true;
    if (!json_is_object(given) || (int64_t)json_object_size(given) > most)
        return srv_refuse_field(error, "logit_bias",
                "logit_bias must be an object of at most %" PRId64 " ids, such as {\"5\": -100}",
                most);
    const char *id;
    json_t *value;
    json_object_foreach((json_t *)given, id, value) {
        if (!read_bias_of(id, value, config, bias, error)) return false;
    }
    return true;
}

/* What changes logits. */
static bool read_bias(
        const json_t *body, const glm_config *config, glm_bias *bias, srv_error *error) {
    double presence = 0.0;
    double frequency = 0.0;
    double repetition = 1.0;
    if (!srv_get_real(body, "presence_penalty", -2.0, 2.0, &presence, error) ||
            !srv_get_real(body, "frequency_penalty", -2.0, 2.0, &frequency, error) ||
            !srv_get_real(body, "repetition_penalty", 0.01, 100.0, &repetition, error))
        return false;
    bias->presence_penalty = (float)presence;
    bias->frequency_penalty = (float)frequency;
    bias->repetition_penalty = (float)repetition;
    return read_logit_bias(body, config, bias, error);
}

bool srv_bind_schema(
        const json_t *schema, const char *field, srv_settings *settings, srv_error *error) {
    if (settings->form != GLM_FORM_FREE)
        return srv_refuse_field(error, field, "%s: the answer's form is given twice", field);
    settings->form = GLM_FORM_SCHEMA;
    const rt_status status = glm_schema_compile(schema, &settings->schema);
    return status == RT_OK || srv_refuse_status(error, status, field);
}

/* {"name", "schema", "strict"}: it is always kept to. */
static bool read_schema(const json_t *form, srv_settings *settings, srv_error *error) {
    static const char field[] = "response_format";
    const json_t *holder = json_object_get(form, "json_schema");
    const json_t *schema = json_object_get(holder, "schema");
    const char *name = "";
    bool is_strict = true;
    if (!json_is_object(schema))
        return srv_refuse_field(
                error, field, "response_format.json_schema.schema must be an object");
    return srv_get_text(holder, "name", &name, error) &&
           srv_get_bool(holder, "strict", &is_strict, error) &&
           srv_bind_schema(schema, field, settings, error);
}

/* {"type": "text" | "json_object" | "json_schema"} */
static bool read_format(const json_t *body, srv_settings *settings, srv_error *error) {
    const json_t *form = json_object_get(body, "response_format");
    const char *type = "text";
    if (form && !json_is_null(form) && !json_is_object(form))
        return srv_refuse_field(error, "response_format", "response_format must be an object");
    if (!srv_get_text(form, "type", &type, error)) return false;
    if (strcmp(type, "json_schema") == 0) return read_schema(form, settings, error);
    if (json_object_size(json_object_get(form, "schema")) > 0)
        return srv_refuse_field(error, "response_format",
                "response_format.schema is not supported: type json_schema binds an answer to one");
    if (strcmp(type, "json_object") == 0) settings->form = GLM_FORM_JSON;
    if (strcmp(type, "text") == 0 || strcmp(type, "json_object") == 0) return true;
    return srv_refuse_field(error, "response_format",
            "response_format %.40s is not supported: text, json_object and json_schema are", type);
}

/* n; best_of, which would have to choose, is n or absent. */
static bool read_choices(const json_t *body, srv_settings *settings, srv_error *error) {
    int64_t n = 1;
    if (!srv_get_int(body, "n", 1, srv_limit_of(SRV_CHOICES), &n, error)) return false;
    settings->n_choices = (int)n;
    return srv_require_neutral(body, "best_of", (double)n, error);
}

static bool read_streaming(const json_t *body, srv_settings *settings, srv_error *error) {
    const json_t *options = json_object_get(body, "stream_options");
    if (!srv_get_bool(body, "stream", &settings->streams, error) ||
            !srv_get_bool(body, "return_progress", &settings->has_progress, error))
        return false;
    if (!options || json_is_null(options)) return true;
    if (!json_is_object(options))
        return srv_refuse_field(error, "stream_options", "stream_options must be an object");
    bool runs = false; /* vLLM's; without include_usage it changes nothing */
    if (!srv_get_bool(options, "include_usage", &settings->has_usage, error) ||
            !srv_get_bool(options, "continuous_usage_stats", &runs, error))
        return false;
    settings->has_running_usage = settings->has_usage && runs;
    return true;
}

/* -1 is no bound of the client's, as if there were none. */
static bool read_bound(
        const json_t *body, const char *name, srv_settings *settings, srv_error *error) {
    const int64_t least = settings->echoes ? 0 : 1;
    int64_t number = 0;
    if (srv_is_whole(json_object_get(body, name), &number) && number == -1) return true;
    if (srv_get_int(body, name, least, INT32_MAX, &settings->max_tokens, error)) return true;
    srv_error_add(error, "; -1, or to leave it out, is no bound");
    return false;
}

bool srv_read_least(
        const json_t *body, const char *bound, srv_settings *settings, srv_error *error) {
    if (!srv_get_int(body, "min_tokens", 0, INT32_MAX, &settings->min_tokens, error)) return false;
    if (settings->max_tokens < 0 || settings->min_tokens <= settings->max_tokens) return true;
    return srv_refuse_field(error, "min_tokens",
            "min_tokens is %" PRId64 ", more than %s, %" PRId64, settings->min_tokens, bound,
            settings->max_tokens);
}

bool srv_read_settings(
        const json_t *body, const srv_options *options, srv_settings *settings, srv_error *error) {
    return read_bound(body, "max_tokens", settings, error) &&
           read_bound(body, "max_completion_tokens", settings, error) &&
           srv_read_least(body, "max_tokens", settings, error) && srv_check_absent(body, error) &&
           read_format(body, settings, error) && read_choices(body, settings, error) &&
           read_sampling(body, options->config, &settings->sampling, error) &&
           read_bias(body, options->config, &settings->bias, error) &&
           srv_read_stop(body, "stop", settings, error) &&
           read_stop_ids(body, options, settings, error) &&
           srv_get_bool(body, "ignore_eos", &settings->ignores_stop_ids, error) &&
           read_streaming(body, settings, error);
}

/* ---- ids ------------------------------------------------------------------------------------- */

static bool read_id_list(const json_t *list, const char *name, const srv_options *options,
        glm_ids *out, srv_error *error) {
    size_t i;
    const json_t *id;
    json_array_foreach(list, i, id) {
        int64_t number = -1;
        if (!srv_is_whole(id, &number) || number < 0 || number >= options->config->vocab)
            return srv_refuse_field(error, name, "%s[%zu] is no id of the vocabulary of %" PRId64,
                    name, i, options->config->vocab);
        if (glm_ids_push(out, (int32_t)number) != RT_OK)
            return srv_refuse_status(error, RT_ENOMEM, NULL);
    }
    return true;
}

bool srv_read_ids(const json_t *value, const char *name, const srv_options *options, bool begins,
        glm_ids *out, srv_error *error) {
    rt_status status = RT_OK;
    if (json_is_string(value))
        status = glm_tokenizer_encode(options->tokenizer, json_string_value(value),
                (int64_t)json_string_length(value), false, out);
    else if (!json_is_array(value))
        return srv_refuse_field(error, name, "%s must be a string, or an array of ids", name);
    else if (!read_id_list(value, name, options, out, error))
        return false;
    if (status == RT_OK && begins) status = glm_cli_begin_ids(options->tokenizer, out);
    if (status != RT_OK) return srv_refuse_status(error, status, name);
    return true;
}

/* ---- parts of a conversation ----------------------------------------------------------------- */

void srv_conversation_free(srv_conversation *conversation) {
    for (int64_t i = 0; i < conversation->n_owned; i++) free(conversation->owned[i]);
    free(conversation->owned);
    free(conversation->messages);
    glm_tools_free(conversation->tools);
    free(conversation->forced_call);
    *conversation = (srv_conversation){0};
}

const json_t *srv_messages_of(const json_t *body, srv_error *error) {
    const json_t *messages = json_object_get(body, "messages");
    const size_t n = json_array_size(messages); /* 0 of anything else */
    if (n == 0) {
        (void)srv_refuse_field(error, "messages", "messages must be an array, and not empty");
        return NULL;
    }
    if ((int64_t)n > srv_limit_of(SRV_MESSAGES_MAX)) {
        (void)srv_refuse_field(error, "messages",
                "there are %zu messages, at most %" PRId64 " are taken", n,
                srv_limit_of(SRV_MESSAGES_MAX));
        return NULL;
    }
    return messages;
}

glm_message *srv_conversation_add(srv_conversation *conversation, glm_chat_role role) {
    if (rt_make_room(&conversation->messages, sizeof *conversation->messages,
                conversation->n_messages, &conversation->room, "messages") != RT_OK)
        return NULL;
    glm_message *message = &conversation->messages[conversation->n_messages++];
    *message = (glm_message){.role = role};
    return message;
}

bool srv_message_says(const glm_message *message) {
    return message->content_bytes > 0 || message->n_calls > 0;
}

void *srv_conversation_own(srv_conversation *conversation, void *memory) {
    if (!memory) return NULL;
    if (rt_make_room(&conversation->owned, sizeof *conversation->owned, conversation->n_owned,
                &conversation->owned_room, "what messages are made of") != RT_OK) {
        free(memory);
        return NULL;
    }
    conversation->owned[conversation->n_owned++] = memory;
    return memory;
}

/* {"type": "text", "text": ...}, in /v1/responses of type input_text or output_text; or {"type": "refusal",
 * "refusal": ...}, which is what an assistant said. */
static bool add_part(const json_t *part, const char *where, glm_text *text, srv_error *error) {
    const char *type = "";
    if (!json_is_object(part))
        return srv_refuse_field(error, where, "%s: a part is an object", where);
    if (!srv_get_text(part, "type", &type, error)) return false;
    const bool is_text = strcmp(type, "text") == 0 || strcmp(type, "input_text") == 0 ||
                         strcmp(type, "output_text") == 0;
    const json_t *bytes = json_object_get(part, is_text ? "text" : type);
    if (!is_text && strcmp(type, "refusal") != 0)
        return srv_refuse_field(error, where,
                "%s: parts of type \"%.40s\" are not read here, only text", where, type);
    if (!json_is_string(bytes))
        return srv_refuse_field(error, where, "%s: a %s part has a string, %s", where, type, type);
    if (glm_text_add(text, json_string_value(bytes), (int64_t)json_string_length(bytes)) == RT_OK)
        return true;
    return srv_refuse_status(error, RT_ENOMEM, NULL);
}

bool srv_conversation_content(srv_conversation *conversation, const json_t *value,
        const char *where, glm_message *message, srv_error *error) {
    if (!value || json_is_null(value)) return true;
    if (json_is_string(value)) {
        message->content = json_string_value(value);
        message->content_bytes = (int64_t)json_string_length(value);
        return true;
    }
    if (!json_is_array(value))
        return srv_refuse_field(error, where, "%s must be a string or an array of parts", where);
    glm_text text = {0};
    for (size_t i = 0; i < json_array_size(value); i++)
        if (!add_part(json_array_get(value, i), where, &text, error)) {
            free(text.bytes);
            return false;
        }
    if (text.n == 0) {
        free(text.bytes);
        return true;
    }
    message->content = srv_conversation_own(conversation, text.bytes);
    message->content_bytes = text.n;
    return message->content || srv_refuse_status(error, RT_ENOMEM, NULL);
}

bool srv_conversation_render(const srv_conversation *conversation, const srv_options *options,
        glm_ids *out, srv_error *error) {
    const glm_chat chat = {.dialect = options->variant->is_0414 ? GLM_CHAT_0414 : GLM_CHAT_GLM4,
            .messages = conversation->messages,
            .n_messages = conversation->n_messages,
            .tools = conversation->tools};
    rt_status status = conversation->goes_on || conversation->forced_call
                               ? glm_chat_render_turns(options->tokenizer, &chat, out)
                               : glm_chat_render(options->tokenizer, &chat, out);
    if (status == RT_OK && conversation->forced_call)
        status = glm_chat_prompt_call(options->tokenizer, conversation->forced_call, out);
    return status == RT_OK || srv_refuse_status(error, status, "messages");
}

bool srv_conversation_hand_over(srv_conversation *conversation, const srv_options *options,
        srv_request *request, srv_error *error) {
    srv_settings *settings = &request->settings;
    if (!srv_conversation_render(conversation, options, &request->prompt, error)) return false;
    settings->form = srv_conversation_form(conversation, settings->form);
    settings->tools = conversation->tools;
    settings->forced_call = conversation->forced_call;
    settings->calls_once = conversation->calls_once;
    conversation->tools = NULL;
    conversation->forced_call = NULL;
    return true;
}

srv_request *srv_ask(srv_api api, srv_fill *fill, const json_t *body, const srv_options *options,
        srv_error *error) {
    srv_request *request = NULL;
    if (srv_request_create(api, &request) != RT_OK) {
        (void)srv_refuse_status(error, RT_ENOMEM, NULL);
        return NULL;
    }
    if (fill(request, body, options, error)) return request;
    srv_request_drop(request);
    return NULL;
}
