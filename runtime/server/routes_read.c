/* Questions about a text: what the web page does, one route a step.
 *
 *   POST /v1/read?name=war.pdf  a file, also PDF, .docx, .odt
 *   POST /v1/read  {"name", "text"}            its tokens, passages and plan, and an id for
 *   POST /v1/read  {"readings": [ids]}         several of them, as one
 *   POST /v1/ask   {"reading", "question"...}  an answer, as /v1/chat/completions gives it
 *   POST /v1/cite  {"reading", "answer"}       where in the text each of its quotations is
 *
 * The name stands in citations; it is never a path. Of several files each stands behind its name, as `glm1m ask` has
 * them. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "ask.h"
#include "limits.h"
#include "routes.h"
#include "runtime/base/size.h"
#include "runtime/citations_json.h"
#include "runtime/cli_json.h"
#include "runtime/document_kind.h"
#include "runtime/engine.h"
#include "runtime/text.h"

/* A string that must be there, and not be empty. */
static const char *need_text(const json_t *body, const char *name, srv_error *error) {
    const char *text = "";
    if (!srv_get_text(body, name, &text, error)) return NULL;
    if (text[0]) return text;
    (void)srv_refuse_field(error, name, "%s must be a string, and not empty", name);
    return NULL;
}

/* ---- reading --------------------------------------------------------------------------------- */

/* What a program has to make text of comes as a file. */
static bool is_text(const char *name, const char *text, int64_t n_bytes, srv_error *error) {
    const int64_t n = rt_min64(n_bytes, GLM_KIND_BYTES);
    const glm_kind kind = glm_kind_of(name, text, n, n < n_bytes);
    if (!kind.format && !kind.not_text) return true;
    return srv_refuse(error, 415, "not_text", "text",
            "%.200s is no plain text: PDF and Office files are sent as they are, to "
            "/v1/read?name=...",
            name);
}

/* Takes the document over. */
static rt_status make_reading(
        const srv_exchange *exchange, glm_document *document, glm_reading *reading) {
    const srv_options *options = &exchange->server->options;
    bool has_text = false;
    for (int64_t i = 0; i < document->n_files && !has_text; i++)
        has_text = glm_document_has_text(document, i);
    if (has_text)
        return glm_reading_make(options->tokenizer, options->variant, NULL, document, reading);
    const rt_status status = rt_fail(RT_EUSAGE, "document: %s holds nothing%s",
            document->files[0].path, document->n_bytes > 0 ? " but white space" : "");
    glm_document_free(document);
    return status;
}

static bool read_text(
        const srv_exchange *exchange, const json_t *body, glm_reading *reading, srv_error *error) {
    const char *name = need_text(body, "name", error);
    const char *text = name ? need_text(body, "text", error) : NULL;
    const int64_t n_bytes = (int64_t)json_string_length(json_object_get(body, "text"));
    glm_document document;
    if (!text || !is_text(name, text, n_bytes, error)) return false;
    rt_status status = glm_document_from_bytes(name, text, n_bytes, &document);
    if (status == RT_OK) status = make_reading(exchange, &document, reading);
    return status == RT_OK || srv_refuse_status(error, status, "text");
}

/* ---- several --------------------------------------------------------------------------------- */

enum { PARTS_MAX = 16 };

typedef struct parts {
    srv_reading *readings[PARTS_MAX]; /* with references */
    const glm_document *documents[PARTS_MAX];
    int n_parts;
} parts;

/* Each of its own name, by which a citation tells them apart. */
static bool add_part(const srv_exchange *exchange, parts *all, const json_t *id, srv_error *error) {
    const char *text = json_string_value(id);
    srv_reading *one = text ? srv_readings_find(exchange->server->readings, text) : NULL;
    if (!one)
        return srv_refuse(error, 404, "reading_not_found", "readings",
                "there is no text number %d here, or no longer: read it again", all->n_parts + 1);
    const glm_document *document = &one->reading.document;
    all->documents[all->n_parts] = document;
    all->readings[all->n_parts++] = one;
    if (document->n_files > 1)
        return srv_refuse_field(error, "readings", "readings: one of them is of several files");
    for (int i = 0; i + 1 < all->n_parts; i++)
        if (strcmp(all->documents[i]->files[0].path, document->files[0].path) == 0)
            return srv_refuse_field(
                    error, "readings", "two texts are called %.200s", document->files[0].path);
    return true;
}

static bool join_parts(
        const srv_exchange *exchange, const parts *all, glm_reading *reading, srv_error *error) {
    const glm_document_limits limits = {.n_bytes = srv_limit_of(SRV_READING_BYTES)};
    glm_document document;
    rt_status status = glm_document_join(all->documents, all->n_parts, &limits, &document);
    if (status == RT_OK) status = make_reading(exchange, &document, reading);
    return status == RT_OK || srv_refuse_status(error, status, "readings");
}

static bool read_several(
        const srv_exchange *exchange, const json_t *ids, glm_reading *reading, srv_error *error) {
    const size_t n = json_array_size(ids);
    parts all = {.n_parts = 0};
    if (n < 2 || n > PARTS_MAX)
        return srv_refuse_field(
                error, "readings", "readings must be an array of 2 to %d ids", PARTS_MAX);
    bool is_right = true;
    for (size_t i = 0; i < n && is_right; i++)
        is_right = add_part(exchange, &all, json_array_get(ids, i), error);
    is_right = is_right && join_parts(exchange, &all, reading, error);
    for (int i = 0; i < all.n_parts; i++) srv_reading_drop(all.readings[i]);
    return is_right;
}

/* ---- a file ---------------------------------------------------------------------------------- */

/* What the file is called, of the target; for free(). */
static char *name_of(const srv_exchange *exchange, srv_error *error) {
    const char *escaped =
            MHD_lookup_connection_value(exchange->handle, MHD_GET_ARGUMENT_KIND, "name");
    char *name = escaped ? strdup(escaped) : NULL;
    if (!name) {
        (void)srv_refuse_status(error, RT_ENOMEM, NULL);
        return NULL;
    }
    const size_t n_bytes = MHD_http_unescape(name);
    if (n_bytes > 0 && strlen(name) == n_bytes) return name;
    free(name);
    (void)srv_refuse_field(error, "name", "name must hold characters, and no NUL");
    return NULL;
}

/* Whose fault it is that there is no text, and what can be done. */
static bool refuse_file(srv_error *error, rt_status status) {
    static const char module[] = "document: ";
    const char *why = rt_error_text();
    if (strncmp(why, module, sizeof module - 1) == 0) why += sizeof module - 1;
    switch (status) {
    case RT_EUSAGE:
    case RT_EIO: /* of the program that reads it: the file is broken */
        return srv_refuse(error, 415, "not_text", NULL, "%s", why);
    case RT_EUNSUPPORTED:
        return srv_refuse(error, 501, "no_program", NULL, "%s", why);
    case RT_EINTERRUPTED:
        return srv_refuse(error, 503, "stopped", NULL, "%s", why);
    default:
        return srv_refuse_status(error, status, NULL);
    }
}

static bool read_file(const srv_exchange *exchange, glm_reading *reading, srv_error *error) {
    const glm_document_limits limits = {.n_bytes = srv_limit_of(SRV_UPLOAD_TEXT_BYTES),
            .convert_s = (double)srv_limit_of(SRV_CONVERT_S),
            .convert_bytes = srv_limit_of(SRV_CONVERT_BYTES),
            .stop = srv_upload_stop(exchange->upload)};
    glm_document document;
    char *name = name_of(exchange, error);
    if (!name) return false;
    rt_status status =
            glm_document_from_file(name, srv_upload_file(exchange->upload), &limits, &document);
    free(name);
    if (status == RT_OK) status = make_reading(exchange, &document, reading);
    return status == RT_OK || refuse_file(error, status);
}

static bool fits(int64_t n_tokens, int64_t n_context, srv_error *error) {
    if (n_tokens < n_context) return true;
    (void)srv_refuse(error, 400, "context_length_exceeded", "text",
            "the text has %" PRId64 " tokens, and the context of %" PRId64
            " is to hold a question and an answer besides: at least %" PRId64 " too many",
            n_tokens, n_context, n_tokens + 1 - n_context);
    error->n_prompt = n_tokens;
    error->n_context = n_context;
    return false;
}

/* As `glm1m plan` has it, of that many tokens. */
static double prefill_s(const glm_config *config, const glm_plan *plan, int64_t n_tokens) {
    par_shard shard;
    glm_config part;
    if (glm_plan_share(config, 0, plan->n_ranks, &shard, &part) != RT_OK) return 0.0;
    return glm_plan_prefill_work(plan, &part, 0, n_tokens) / plan->machine_flops;
}

static json_t *plan_json(const glm_config *config, const glm_plan *plan, int64_t n_tokens) {
    const int64_t n_pages = rt_div_up(n_tokens, ATTN_PAGE_TOKENS);
    return json_pack("{s:I, s:I, s:I, s:s, s:I, s:I, s:f}", "context", (json_int_t)plan->max_len,
            "span", (json_int_t)plan->span, "chunk", (json_int_t)plan->chunk, "kv_cache_dtype",
            rt_dtype_name(plan->kv_dtype), "kv_bytes",
            (json_int_t)(plan->kv_page_bytes * config->n_layers * n_pages), "threads",
            (json_int_t)plan->threads, "prefill_s", prefill_s(config, plan, n_tokens));
}

/* The text itself, where the client has only the file that it was made of; NULL otherwise. */
static json_t *converted(const glm_document *document) {
    if (document->n_files > 1 || !document->files[0].is_converted) return json_null();
    return glm_cli_json_text(document->text, (size_t)document->n_bytes);
}

/* The last one may lack its end. */
static json_int_t count_lines(const glm_document *document) {
    json_int_t n = 0;
    for (int64_t i = 0; i < document->n_bytes; i++) n += document->text[i] == '\n';
    return n + (document->text[document->n_bytes - 1] != '\n');
}

/* "a.txt, b.pdf" */
static json_t *names(const glm_document *document) {
    glm_text text = {0};
    rt_status status = RT_OK;
    for (int64_t i = 0; i < document->n_files && status == RT_OK; i++) {
        const char *path = document->files[i].path;
        if (i > 0) status = glm_text_add(&text, ", ", 2);
        if (status == RT_OK) status = glm_text_add(&text, path, (int64_t)strlen(path));
    }
    json_t *value = status == RT_OK ? glm_cli_json_text(text.bytes, (size_t)text.n) : NULL;
    free(text.bytes);
    return value;
}

static json_t *reading_json(
        const srv_reading *one, const glm_config *config, const glm_plan *plan) {
    const glm_reading *reading = &one->reading;
    const glm_document *document = &reading->document;
    int64_t n_pages = 0;
    int64_t n_blank = 0;
    for (int64_t i = 0; i < document->n_files; i++) {
        n_pages += document->files[i].n_pages;
        n_blank += document->files[i].n_blank;
    }
    return json_pack("{s:s, s:s, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o}", "id", one->id,
            "object", "reading", "name", names(document), "n_files", (json_int_t)document->n_files,
            "n_bytes", (json_int_t)document->n_bytes, "n_pages", (json_int_t)n_pages,
            "n_blank_pages", (json_int_t)n_blank, "n_lines", count_lines(document), "n_passages",
            (json_int_t)reading->passages.n_passages, "n_tokens", (json_int_t)reading->prefix.n,
            "plan", plan_json(config, plan, reading->prefix.n), "text", converted(document));
}

static bool read_body(
        const srv_exchange *exchange, const json_t *body, glm_reading *reading, srv_error *error) {
    const json_t *ids = json_object_get(body, "readings");
    return ids ? read_several(exchange, ids, reading, error)
               : read_text(exchange, body, reading, error);
}

/* `body` NULL: the upload. */
static void read_any(srv_exchange *exchange, const json_t *body) {
    srv_server *server = exchange->server;
    srv_reading *one = NULL;
    glm_reading reading = {0};
    glm_plan plan;
    srv_error error;
    bool is_right = srv_scheduler_plan(server->scheduler, &plan, &error) &&
                    (body ? read_body(exchange, body, &reading, &error)
                          : read_file(exchange, &reading, &error));
    if (is_right && !fits(reading.prefix.n, plan.max_len, &error)) {
        glm_reading_free(&reading);
        is_right = false;
    }
    if (is_right) {
        const rt_status status = srv_readings_add(server->readings, &reading, &one);
        is_right = status == RT_OK || srv_refuse_status(&error, status, NULL);
    }
    if (is_right)
        srv_reply(exchange, 200, reading_json(one, server->options.config, &plan));
    else
        srv_fail(exchange, &error);
    srv_reading_drop(one);
}

void srv_route_read(srv_exchange *exchange, const json_t *body) {
    read_any(exchange, body);
}

void srv_read_file(srv_exchange *exchange) {
    read_any(exchange, NULL);
}

/* ---- asking ---------------------------------------------------------------------------------- */

/* The text that "reading" names, with a reference. NULL: `error` says why not. */
static srv_reading *find(const srv_exchange *exchange, const json_t *body, srv_error *error) {
    const char *id = need_text(body, "reading", error);
    if (!id) return NULL;
    srv_reading *one = srv_readings_find(exchange->server->readings, id);
    if (!one)
        (void)srv_refuse(error, 404, "reading_not_found", "reading",
                "there is no such text here, or no longer: read it again");
    return one;
}

/* What would change the answer, and the prompt has no place for. */
static bool check_absent(const json_t *body, srv_error *error) {
    static const char chat[] = "/v1/chat/completions has them";
    return srv_check_no(body, "tools", chat, error) &&
           srv_check_no(body, "messages", chat, error) &&
           srv_check_no(body, "system", "the question may say it", error);
}

static bool fill(const srv_exchange *exchange, const json_t *body, const glm_reading *reading,
        srv_request *request, srv_error *error) {
    const srv_options *options = &exchange->server->options;
    const char *question = need_text(body, "question", error);
    if (!question || !check_absent(body, error) || !srv_check_model(body, options, error) ||
            !srv_read_settings(body, options, &request->settings, error))
        return false;
    rt_status status = glm_ids_append(&request->prompt, reading->prefix.ids, reading->prefix.n);
    if (status == RT_OK)
        status = glm_reading_question(
                reading, question, (int64_t)strlen(question), &request->prompt);
    return status == RT_OK || srv_refuse_status(error, status, "question");
}

void srv_route_ask(srv_exchange *exchange, const json_t *body) {
    srv_error error;
    srv_request *request = NULL;
    srv_reading *one = find(exchange, body, &error);
    bool is_right = one != NULL;
    if (is_right && srv_request_create(SRV_CHAT, &request) != RT_OK)
        is_right = srv_refuse_status(&error, RT_ENOMEM, NULL);
    is_right = is_right && fill(exchange, body, &one->reading, request, &error);
    srv_reading_drop(one);
    if (is_right) {
        srv_generate(exchange, request);
        return;
    }
    srv_request_drop(request);
    srv_fail(exchange, &error);
}

/* ---- citing ---------------------------------------------------------------------------------- */

void srv_route_cite(srv_exchange *exchange, const json_t *body) {
    srv_error error;
    glm_citations citations = {0};
    srv_reading *one = find(exchange, body, &error);
    const char *answer = one ? need_text(body, "answer", &error) : NULL;
    const int64_t n_bytes = answer ? (int64_t)strlen(answer) : 0;
    bool is_right = answer != NULL;
    if (n_bytes > srv_limit_of(SRV_CITED_BYTES))
        is_right = srv_refuse_field(&error, "answer",
                "the answer has %" PRId64 " bytes, at most %" PRId64 " are looked through", n_bytes,
                srv_limit_of(SRV_CITED_BYTES));
    if (is_right) {
        const rt_status status = glm_reading_cite(&one->reading, answer, n_bytes, &citations);
        is_right = status == RT_OK || srv_refuse_status(&error, status, "answer");
    }
    if (is_right)
        srv_reply(exchange, 200,
                json_pack("{s:o, s:I}", "citations", glm_citations_json(answer, &citations),
                        "n_unverified", (json_int_t)citations.n_unverified));
    else
        srv_fail(exchange, &error);
    glm_citations_free(&citations);
    srv_reading_drop(one);
}
