/* Routes that run no model. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ask.h"
#include "json_out.h"
#include "page.h"
#include "routes.h"

void srv_route_page(srv_exchange *exchange, const json_t *body) {
    (void)body;
    srv_reply_text(exchange, 200, "text/html; charset=utf-8", srv_page);
    if (!exchange->response) return;
    (void)MHD_add_response_header(
            exchange->response, "Content-Security-Policy", exchange->server->page_policy);
    (void)MHD_add_response_header(exchange->response, "Referrer-Policy", "no-referrer");
    (void)MHD_add_response_header(exchange->response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-cache");
}

void srv_route_health(srv_exchange *exchange, const json_t *body) {
    static const char *const names[] = {"loading", "ok", "draining", "stopped"};
    srv_scheduler *scheduler = exchange->server->scheduler;
    const srv_state state = srv_scheduler_state(scheduler);
    const srv_counters counters = srv_scheduler_counters(scheduler);
    (void)body;
    if (state == SRV_LOADING) exchange->retry_after_s = 2;
    srv_reply(exchange, state == SRV_READY ? 200 : 503,
            json_pack("{s:s, s:I, s:I}", "status", names[state], "num_requests_running",
                    (json_int_t)counters.n_running, "num_requests_waiting",
                    (json_int_t)counters.n_waiting));
}

void srv_route_version(srv_exchange *exchange, const json_t *body) {
    (void)body;
    srv_reply(exchange, 200, json_pack("{s:s}", "version", GLM_VERSION));
}

static int n_names(const srv_options *options) {
    return 1 + options->n_other_names;
}

static const char *name_of(const srv_options *options, int i) {
    return i == 0 ? options->model_name : options->other_names[i - 1];
}

/* The name that `asked`, the end of a path, is: a slash within one comes as %2F. NULL: there is none. */
static const char *find_model(const srv_options *options, const char *asked) {
    char text[SRV_REST_BYTES];
    (void)snprintf(text, sizeof text, "%s", asked);
    const size_t n = MHD_http_unescape(text);
    for (int i = 0; i < n_names(options); i++) {
        const char *name = name_of(options, i);
        if (n == strlen(name) && memcmp(text, name, n) == 0) return name;
    }
    return NULL;
}

static json_t *openai_model(const srv_server *server, const char *name) {
    return json_pack("{s:s, s:s, s:I, s:s, s:I}", "id", name, "object", "model", "created",
            (json_int_t)server->started_at, "owned_by", "glm1m", "max_model_len",
            (json_int_t)srv_scheduler_context(server->scheduler));
}

static json_t *anthropic_model(const srv_server *server, const char *name) {
    char created_at[sizeof "2026-01-31T00:00:00Z"];
    const time_t seconds = (time_t)server->started_at;
    const json_int_t context = (json_int_t)srv_scheduler_context(server->scheduler);
    struct tm fields;
    (void)gmtime_r(&seconds, &fields);
    if (strftime(created_at, sizeof created_at, "%Y-%m-%dT%H:%M:%SZ", &fields) == 0) return NULL;
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:I}", "type", "model", "id", name,
            "display_name", name, "created_at", created_at, "lifecycle", "active",
            "max_input_tokens", context, "max_tokens", context);
}

static json_t *model_of(const srv_exchange *exchange, const char *name) {
    return exchange->shape == SRV_SHAPE_ANTHROPIC ? anthropic_model(exchange->server, name)
                                                  : openai_model(exchange->server, name);
}

/* NULL without memory. */
static json_t *all_models(const srv_exchange *exchange) {
    const srv_options *options = &exchange->server->options;
    json_t *list = json_array();
    for (int i = 0; list && i < n_names(options); i++)
        (void)json_array_append_new(list, model_of(exchange, name_of(options, i)));
    return list;
}

/* All are on one page: one behind or before it is empty. */
static json_t *anthropic_list(const srv_exchange *exchange) {
    const srv_options *options = &exchange->server->options;
    struct MHD_Connection *handle = exchange->handle;
    if (MHD_lookup_connection_value(handle, MHD_GET_ARGUMENT_KIND, "after_id") ||
            MHD_lookup_connection_value(handle, MHD_GET_ARGUMENT_KIND, "before_id"))
        return json_pack("{s:[], s:b, s:n, s:n}", "data", "has_more", 0, "first_id", "last_id");
    return json_pack("{s:o, s:b, s:s, s:s}", "data", all_models(exchange), "has_more", 0,
            "first_id", options->model_name, "last_id", name_of(options, options->n_other_names));
}

void srv_route_models(srv_exchange *exchange, const json_t *body) {
    const char *name = find_model(&exchange->server->options, exchange->rest);
    srv_error error;
    (void)body;
    if (!exchange->rest[0]) {
        srv_reply(exchange, 200,
                exchange->shape == SRV_SHAPE_ANTHROPIC
                        ? anthropic_list(exchange)
                        : json_pack("{s:s, s:o}", "object", "list", "data", all_models(exchange)));
    } else if (name) {
        srv_reply(exchange, 200, model_of(exchange, name));
    } else {
        (void)srv_refuse(&error, 404, "model_not_found", "model", "there is no such model here");
        srv_fail(exchange, &error);
    }
}

/* ---- text and ids ---------------------------------------------------------------------------- */

/* A special token's name by itself is that token, for clients that ask so for the id of an eos_token;
 * within a text it is text, as in every prompt. */
static bool read_special(const srv_options *options, const json_t *prompt, glm_ids *ids) {
    enum { NAME_BYTES = 64 };
    const size_t n = json_string_length(prompt); /* 0 of anything else */
    glm_ids read = {0};
    bool is_special = false;
    int64_t n_bytes = 0;
    if (n == 0 || n > NAME_BYTES) return false;
    const rt_status status = glm_tokenizer_encode(
            options->tokenizer, json_string_value(prompt), (int64_t)n, true, &read);
    if (status == RT_OK && read.n == 1)
        (void)glm_tokenizer_bytes(options->tokenizer, read.ids[0], &n_bytes, &is_special);
    if (is_special) is_special = glm_ids_push(ids, read.ids[0]) == RT_OK;
    glm_ids_free(&read);
    return is_special;
}

/* The ids of "prompt", or of a conversation. */
static bool read_any_prompt(
        const srv_exchange *exchange, const json_t *body, glm_ids *ids, srv_error *error) {
    const srv_options *options = &exchange->server->options;
    bool begins = true;
    if (!srv_check_model(body, options, error) ||
            !srv_get_bool(body, "add_special_tokens", &begins, error))
        return false;
    if (!begins && read_special(options, json_object_get(body, "prompt"), ids)) return true;
    const json_t *messages = json_object_get(body, "messages");
    if (!messages || json_is_null(messages))
        return srv_read_ids(json_object_get(body, "prompt"), "prompt", options, begins, ids, error);
    srv_conversation conversation = {0};
    const bool is_right = srv_read_chat(body, &conversation, error) &&
                          srv_conversation_render(&conversation, options, ids, error);
    srv_conversation_free(&conversation);
    return is_right;
}

static json_t *list_ids(const glm_ids *ids) {
    json_t *list = json_array();
    for (int64_t i = 0; i < ids->n; i++) list = srv_append(list, json_integer(ids->ids[i]));
    return list;
}

void srv_route_tokenize(srv_exchange *exchange, const json_t *body) {
    glm_ids ids = {0};
    srv_error error;
    if (read_any_prompt(exchange, body, &ids, &error))
        srv_reply(exchange, 200,
                json_pack("{s:I, s:I, s:o}", "count", (json_int_t)ids.n, "max_model_len",
                        (json_int_t)srv_scheduler_context(exchange->server->scheduler), "tokens",
                        list_ids(&ids)));
    else
        srv_fail(exchange, &error);
    glm_ids_free(&ids);
}

/* As vLLM names it, and lm-evaluation-harness asks for it. There is no bos_token: two tokens, "[gMASK]<sop>",
 * begin every prompt. */
void srv_route_tokenizer_info(srv_exchange *exchange, const json_t *body) {
    const glm_tokenizer *tokenizer = exchange->server->options.tokenizer;
    int64_t n_bytes = 0;
    const char *end = glm_tokenizer_bytes(
            tokenizer, glm_tokenizer_specials(tokenizer).endoftext, &n_bytes, NULL);
    json_t *name = n_bytes > 0 ? json_stringn(end, (size_t)n_bytes) : json_null();
    (void)body;
    srv_reply(exchange, 200,
            json_pack("{s:s, s:O, s:o, s:n, s:I}", "tokenizer_class", "ChatGLM4Tokenizer",
                    "eos_token", name, "pad_token", name, "bos_token", "vocab_size",
                    (json_int_t)glm_tokenizer_size(tokenizer)));
}

void srv_route_detokenize(srv_exchange *exchange, const json_t *body) {
    const srv_options *options = &exchange->server->options;
    glm_ids ids = {0};
    srv_error error;
    char *text = NULL;
    int64_t n_bytes = 0;
    const json_t *tokens = json_object_get(body, "tokens");
    bool is_right = srv_check_model(body, options, &error);
    if (is_right && !json_is_array(tokens))
        is_right = srv_refuse_field(&error, "tokens", "tokens must be an array of ids");
    is_right = is_right && srv_read_ids(tokens, "tokens", options, false, &ids, &error);
    if (is_right && glm_tokenizer_decode(
                            options->tokenizer, ids.ids, ids.n, true, &text, &n_bytes) != RT_OK)
        is_right = srv_refuse_status(&error, RT_ENOMEM, NULL);
    if (is_right)
        srv_reply(exchange, 200, json_pack("{s:o}", "prompt", json_stringn(text, (size_t)n_bytes)));
    else
        srv_fail(exchange, &error);
    free(text);
    glm_ids_free(&ids);
}

void srv_route_count_tokens(srv_exchange *exchange, const json_t *body) {
    const srv_options *options = &exchange->server->options;
    srv_conversation conversation = {0};
    glm_ids ids = {0};
    srv_error error;
    if (srv_check_model(body, options, &error) && srv_read_messages(body, &conversation, &error) &&
            srv_conversation_render(&conversation, options, &ids, &error))
        srv_reply(exchange, 200, json_pack("{s:I}", "input_tokens", (json_int_t)ids.n));
    else
        srv_fail(exchange, &error);
    srv_conversation_free(&conversation);
    glm_ids_free(&ids);
}
