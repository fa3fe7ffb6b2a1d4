/* An answer that may be a call of a strict tool is bound exactly where it is one: what reply.c takes for such a
 * call has arguments of the tool's schema, and whatever else comes is let through.
 *
 * Method: texts drawn from the pieces of calls, and bytes between them, given to GLM_FORM_OPEN and to a reply.
 * More: `test_runtime_form_binds_strict_calls SEED N`. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "help_expect.h"
#include "help_random.h"
#include "runtime/form.h"
#include "runtime/reply.h"

enum { TEXT_BYTES = 1024 };

static uint64_t state;
static glm_tools *tools;

static void add_tools(void) {
    static const char json[] = "[{\"type\": \"function\", \"function\": {\"name\": \"get\"}}, "
                               "{\"type\": \"function\", \"function\": {\"name\": \"get_more\"}}, "
                               "{\"type\": \"function\", \"function\": {\"name\": \"free\"}}, "
                               "{\"type\": \"function\", \"function\": {\"name\": \"a b\"}}, "
                               "{\"type\": \"python\"}]";
    static const char *const schemas[] = {
            "{\"properties\":{\"n\":{\"enum\":[1,2]}},\"required\":[\"n\"]}",
            "{\"properties\":{\"n\":{\"type\":\"string\"}},\"required\":[\"n\"]}",
            "{\"required\":[\"m\"]}", "{\"additionalProperties\":false}"};
    require(glm_tools_parse(json, sizeof json - 1, &tools), "tools");
    for (int i = 0; i < 4; i++) {
        json_t *schema = json_loads(schemas[i], 0, NULL);
        require(glm_schema_compile(schema, &tools->tools[i].schema), schemas[i]);
        tools->tools[i].is_strict = i != 2;
        json_decref(schema);
    }
}

static const char *draw_of(const char *const *pieces, size_t n) {
    return pieces[random_below(&state, (int64_t)n)];
}

/* White space, now and then about as much as there may be. */
static void add_space(char *text) {
    static const char *const pieces[] = {"", "", "", " ", "\n", "\t", "\r"};
    const char *piece = draw_of(pieces, sizeof pieces / sizeof *pieces);
    const int64_t n = random_below(&state, 8) ? 1 : 62 + random_below(&state, 4);
    for (int64_t i = 0; i < n; i++) strcat(text, piece);
}

static void draw_text(char *text) {
    static const char *const called[] = {
            "get", "get", "get_more", "free", "a b", "python", "x", "ge", "get_"};
    static const char *const with[] = {
            "{\"n\":1}", "{\"n\":3}", "{\"n\":\"x\"}", "{}", "{", "x", "get\n{}"};
    *text = '\0';
    add_space(text);
    strcat(text, draw_of(called, sizeof called / sizeof *called));
    add_space(text);
    if (random_below(&state, 4)) strcat(text, "\n");
    add_space(text);
    strcat(text, draw_of(with, sizeof with / sizeof *with));
    if (random_below(&state, 2)) strcat(text, draw_of(with, sizeof with / sizeof *with));
}

/* How much of it an answer may be. */
static int64_t taken(glm_form form, const char *text) {
    int64_t n = 0;
    while (text[n] && glm_form_take(&form, text + n, 1)) n++;
    return n;
}

/* The strict tool that is called, and its arguments. NULL: none is. */
static const glm_tool *find_call(const char *text, const char **arguments) {
    glm_reply reply = {.tools = tools};
    glm_reply_piece piece;
    const glm_tool *found = NULL;
    require(glm_reply_feed(&reply, text, (int64_t)strlen(text), &piece), "a reply");
    for (int64_t i = 0; piece.call && i < tools->n_tools; i++)
        if (strcmp(tools->tools[i].name, piece.call) == 0 && tools->tools[i].is_strict)
            found = &tools->tools[i];
    if (found) *arguments = text + (int64_t)strlen(text) - piece.arguments_bytes;
    glm_reply_free(&reply);
    return found;
}

/* Whether it is a call. */
static int check_text(const char *text) {
    const char *arguments = "";
    const glm_tool *tool = find_call(text, &arguments);
    const int64_t n = taken((glm_form){.kind = GLM_FORM_OPEN, .tools = tools}, text);
    if (tool) {
        const int64_t n_right =
                taken((glm_form){.kind = GLM_FORM_SCHEMA, .schema = tool->schema}, arguments);
        expect(n == arguments - text + n_right, "arguments as the schema has them", text);
    } else {
        expect(n == (int64_t)strlen(text), "what is no call is free", text);
    }
    return tool != NULL;
}

/* Control tokens: a bare name is not to become a call without arguments; another part begins anew. */
static void check_control(void) {
    glm_form form = {.kind = GLM_FORM_OPEN, .tools = tools};
    expect(glm_form_allows_control(&form, true), "before anything", "");
    expect(glm_form_take(&form, "get", 3) && !glm_form_allows_control(&form, true), "bare name",
            "");
    expect(glm_form_allows_control(&form, false), "bare name, and the user's turn", "");
    expect(glm_form_take(&form, "\n", 1) && !glm_form_allows_control(&form, true), "a whole line",
            "");
    expect(glm_form_take(&form, "it", 2) && glm_form_allows_control(&form, true), "text", "");
    glm_form_begin_part(&form);
    expect(!glm_form_take(&form, "get\n{\"n\":3", 10), "a call in another part", "");
    form = (glm_form){.kind = GLM_FORM_OPEN, .tools = tools};
    expect(glm_form_take(&form, "get\n{\"n\":1", 10) && !glm_form_is_whole(&form), "a call", "");
    expect(!glm_form_allows_control(&form, false), "inside of arguments", "");
    expect(glm_form_take(&form, "}", 1) && glm_form_is_whole(&form), "a whole call", "");
}

int main(int argc, char **argv) {
    const int64_t n = argc > 2 ? strtoll(argv[2], NULL, 0) : 20000;
    int64_t n_calls = 0;
    char text[TEXT_BYTES];
    state = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
    add_tools();
    check_control();
    for (int64_t i = 0; i < n && n_failed == 0; i++) {
        draw_text(text);
        n_calls += check_text(text);
    }
    printf("%lld texts, %lld calls, %d failures\n", (long long)n, (long long)n_calls, n_failed);
    expect(n_calls > n / 10 && n_calls < n / 2, "calls among them", "");
    glm_tools_free(tools);
    return n_failed > 0;
}
