#include "error.h"

#include <stdio.h>
#include <string.h>

#include "json_out.h"
#include "runtime/cli_json.h"

static bool fill(srv_error *error, int http, const char *code, const char *param,
        const char *format, va_list arguments) {
    *error = (srv_error){.http = http, .code = code};
    (void)snprintf(error->param, sizeof error->param, "%s", param ? param : "");
    (void)vsnprintf(error->message, sizeof error->message, format, arguments);
    return false;
}

bool srv_refuse(
        srv_error *error, int http, const char *code, const char *param, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    (void)fill(error, http, code, param, format, arguments);
    va_end(arguments);
    return false;
}

bool srv_refuse_field(srv_error *error, const char *param, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    (void)fill(error, 400, NULL, param, format, arguments);
    va_end(arguments);
    return false;
}

void srv_error_name_prompt(srv_error *error, int i) {
    char message[SRV_ERROR_TEXT];
    memcpy(message, error->message, sizeof message);
    (void)snprintf(error->message, sizeof error->message, "prompt[%d]: %.*s", i,
            (int)sizeof message - 20, message);
}

void srv_error_add(srv_error *error, const char *more) {
    const size_t n = strlen(error->message);
    (void)snprintf(error->message + n, sizeof error->message - n, "%s", more);
}

bool srv_refuse_status(srv_error *error, rt_status status, const char *param) {
    if (status == RT_EUSAGE) return srv_refuse_field(error, param, "%s", rt_error_text());
    return srv_refuse(error, status == RT_ENOMEM ? 503 : 500, rt_status_name(status), NULL, "%s",
            rt_error_text());
}

static const char *openai_type(int http) {
    if (http == 401) return "authentication_error";
    if (http == 429) return "rate_limit_error";
    return http >= 500 ? "server_error" : "invalid_request_error";
}

static const char *anthropic_type(int http) {
    switch (http) {
    case 401:
        return "authentication_error";
    case 403:
        return "permission_error";
    case 404:
        return "not_found_error";
    case 413:
        return "request_too_large";
    case 429:
        return "rate_limit_error";
    case 503:
        return "overloaded_error";
    default:
        return http >= 500 ? "api_error" : "invalid_request_error";
    }
}

json_t *srv_error_json(const srv_error *error, srv_shape shape) {
    json_t *message = glm_cli_json_text(error->message, strlen(error->message));
    if (shape == SRV_SHAPE_ANTHROPIC)
        return json_pack("{s:s, s:{s:s, s:o}}", "type", "error", "error", "type",
                anthropic_type(error->http), "message", message);
    json_t *inner = json_pack("{s:o, s:s, s:s?, s:s?}", "message", message, "type",
            openai_type(error->http), "param", error->param[0] ? error->param : NULL, "code",
            error->code);
    if (inner && error->n_context > 0) {
        inner = srv_set(inner, "n_prompt_tokens", json_integer(error->n_prompt));
        inner = srv_set(inner, "n_ctx", json_integer(error->n_context));
    }
    return json_pack("{s:o}", "error", inner);
}
