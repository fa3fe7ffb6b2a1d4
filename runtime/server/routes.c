#include "routes.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

static const srv_route routes[] = {
        {"GET", "/", srv_route_page, SRV_SHAPE_OPENAI, false, true},
        {"GET", "/health", srv_route_health, SRV_SHAPE_OPENAI, true, false},
        {"GET", "/version", srv_route_version, SRV_SHAPE_OPENAI, false, false},
        {"GET", "/metrics", srv_route_metrics, SRV_SHAPE_OPENAI, false, false},
        {"GET", "/v1/models", srv_route_models, SRV_SHAPE_ASKED, false, false},
        {"GET", "/v1/models/", srv_route_models, SRV_SHAPE_ASKED, false, false},
        {"GET", "/tokenizer_info", srv_route_tokenizer_info, SRV_SHAPE_OPENAI, false, false},
        {"POST", "/tokenize", srv_route_tokenize, SRV_SHAPE_OPENAI, false, false},
        {"POST", "/detokenize", srv_route_detokenize, SRV_SHAPE_OPENAI, false, false},
        {"POST", "/v1/chat/completions", srv_route_chat, SRV_SHAPE_OPENAI, false, false},
        {"POST", "/v1/completions", srv_route_completion, SRV_SHAPE_OPENAI, false, false},
        {"POST", "/v1/responses", srv_route_responses, SRV_SHAPE_OPENAI, false, false},
        {"POST", "/v1/messages", srv_route_messages, SRV_SHAPE_ANTHROPIC, false, false},
        {"POST", "/v1/messages/count_tokens", srv_route_count_tokens, SRV_SHAPE_ANTHROPIC, false,
                false},
        {"POST", "/v1/read", srv_route_read, SRV_SHAPE_OPENAI, false, false},
        {"POST", "/v1/ask", srv_route_ask, SRV_SHAPE_OPENAI, false, false},
        {"POST", "/v1/cite", srv_route_cite, SRV_SHAPE_OPENAI, false, false},
        {"POST", "/v1/jobs", srv_route_submit_job, SRV_SHAPE_OPENAI, false, false},
        {"GET", "/v1/jobs", srv_route_list_jobs, SRV_SHAPE_OPENAI, false, false},
        {"GET", "/v1/jobs/", srv_route_poll_job, SRV_SHAPE_OPENAI, false, false},
        {"DELETE", "/v1/jobs/", srv_route_cancel_job, SRV_SHAPE_OPENAI, false, false},
};
enum {
    N_ROUTES = sizeof routes / sizeof routes[0],
    PATHS_TEXT = 256,
    PATH_BYTES = SRV_REST_BYTES + 64
};

/* Behind the scheme and the host that a target has as proxies are sent it (RFC 9112, 3.2.2); Host is looked at anyway. */
static const char *path_of(const char *target) {
    static const char scheme[] = "http://";
    if (strncasecmp(target, scheme, sizeof scheme - 1) != 0) return target;
    const char *path = strchr(target + sizeof scheme - 1, '/');
    return path ? path : "/";
}

/* Base URLs end in a slash or do not: of slashes in a row one counts, and none at the end. False: no route's path is so
 * long. */
static bool tidy(const char *target, char text[PATH_BYTES]) {
    const char *path = path_of(target);
    size_t n = 0;
    for (; path[0]; path++) {
        if (path[0] == '/' && n > 0 && text[n - 1] == '/') continue;
        if (n == PATH_BYTES - 1) return false;
        text[n++] = path[0];
    }
    if (n > 1 && text[n - 1] == '/') n--;
    text[n] = '\0';
    return true;
}

/* RFC 3986, 3.3: clients escape what is not among them. */
static const char path_characters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~!$&'()*+,;=:@%/";

/* The path is the route's, or continues it by a name, as it comes; a model's may have a slash. */
static bool is_path(const srv_route *route, const char *path, char rest[SRV_REST_BYTES]) {
    const size_t n = strlen(route->path);
    rest[0] = '\0';
    if (n == 1 || route->path[n - 1] != '/') return strcmp(path, route->path) == 0;
    const char *last = path + n;
    if (strncmp(path, route->path, n) != 0 || last[0] == '\0' || strlen(last) >= SRV_REST_BYTES)
        return false;
    if (last[strspn(last, path_characters)]) return false;
    (void)strcpy(rest, last);
    return true;
}

/* HEAD goes wherever GET does: libmicrohttpd leaves the body out. */
static bool is_method(const srv_route *route, const char *method) {
    return strcmp(method, route->method) == 0 ||
           (strcmp(method, "HEAD") == 0 && strcmp(route->method, "GET") == 0);
}

/* "POST, GET, HEAD" */
static void allow(const srv_route *route, char text[SRV_ALLOW_TEXT]) {
    const size_t n = strlen(text);
    (void)snprintf(text + n, SRV_ALLOW_TEXT - n, "%s%s%s", n ? ", " : "", route->method,
            strcmp(route->method, "GET") == 0 ? ", HEAD" : "");
}

/* "/v1/models, /v1/chat/completions, ...": what other programs ask for. */
static void list_paths(char text[PATHS_TEXT]) {
    static const char prefix[] = "/v1/";
    text[0] = '\0';
    for (int i = 0; i < N_ROUTES; i++) {
        const char *path = routes[i].path;
        const size_t n = strlen(text);
        if (strncmp(path, prefix, sizeof prefix - 1) != 0 || path[strlen(path) - 1] == '/')
            continue;
        if (i > 0 && strcmp(path, routes[i - 1].path) == 0) continue;
        (void)snprintf(text + n, PATHS_TEXT - n, "%s%s", n ? ", " : "", path);
    }
}

static void refuse_path(const char *path, srv_error *error) {
    char paths[PATHS_TEXT];
    list_paths(paths);
    (void)srv_refuse(error, 404, "not_found", NULL,
            "there is no path %.100s here; there are %s; the base URL that OpenAI's clients are given "
            "ends in /v1, Anthropic's does not",
            path, paths);
}

const srv_route *srv_route_find(
        const char *method, const char *path, char rest[SRV_REST_BYTES], srv_error *error) {
    char allowed[SRV_ALLOW_TEXT] = "";
    char tidied[PATH_BYTES];
    const bool is_short = tidy(path, tidied);
    for (int i = 0; i < N_ROUTES && is_short; i++) {
        if (!is_path(&routes[i], tidied, rest)) continue;
        if (is_method(&routes[i], method)) return &routes[i];
        allow(&routes[i], allowed);
    }
    rest[0] = '\0';
    if (allowed[0])
        (void)srv_refuse(error, 405, "method_not_allowed", NULL, "this path takes %s", allowed);
    else
        refuse_path(path, error);
    (void)strcpy(error->allow, allowed);
    return NULL;
}

srv_shape srv_route_shape(const char *path) {
    static const char anthropic[] = "/v1/messages";
    char tidied[PATH_BYTES];
    return tidy(path, tidied) && strncmp(tidied, anthropic, sizeof anthropic - 1) == 0
                   ? SRV_SHAPE_ANTHROPIC
                   : SRV_SHAPE_ASKED;
}
