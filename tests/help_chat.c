#include "help_chat.h"

#include "help_dir.h"
#include "runtime/base/file.h"
#include "runtime/base/size.h"
#include "runtime/byte_tokenizer.h"
#include "runtime/chat_json.h"

enum { MESSAGES_MAX = 16, CALLS_MAX = 4, BYTE_VOCABULARY = 300 };

json_t *chath_load(const char *name, char **text) {
    char path[256];
    int64_t n_bytes = 0;
    (void)snprintf(path, sizeof path, "tests/golden/chat/%s", name);
    CHECK(rt_file_read(path, RT_MIB, text, &n_bytes) == RT_OK);
    json_t *root = json_loads(*text, JSON_DECODE_INT_AS_REAL, NULL);
    CHECK(json_is_array(root));
    return root;
}

glm_tokenizer *chath_byte_tokenizer(void) {
    const char *dir = help_dir();
    CHECK(glm_byte_tokenizer_write(dir, BYTE_VOCABULARY) == RT_OK);
    return tokh_load(dir);
}

int32_t chath_special(const glm_tokenizer *tokenizer, const char *text) {
    glm_ids ids = tokh_encode(tokenizer, text, true);
    CHECK(ids.n == 1);
    const int32_t id = ids.ids[0];
    glm_ids_free(&ids);
    return id;
}

static glm_chat_role role_named(const char *name) {
    static const char *const names[] = {"system", "user", "assistant", "observation"};
    for (int i = 0; i < 4; i++)
        if (strcmp(name, names[i]) == 0) return (glm_chat_role)i;
    CHECK(!"a role");
    return GLM_CHAT_USER;
}

static const char *text_of(const json_t *object, const char *key) {
    return json_string_value(json_object_get(object, key));
}

static glm_message message_of(const json_t *value, glm_tool_call calls[CALLS_MAX]) {
    const json_t *array = json_object_get(value, "calls");
    const size_t n_calls = json_array_size(array);
    CHECK(n_calls <= CALLS_MAX);
    for (size_t i = 0; i < n_calls; i++) {
        const json_t *call = json_array_get(array, i);
        calls[i] = (glm_tool_call){text_of(call, "name"), text_of(call, "arguments"), -1};
    }
    return (glm_message){.role = role_named(text_of(value, "role")),
            .metadata = text_of(value, "metadata"),
            .content = text_of(value, "content"),
            .content_bytes = -1,
            .calls = calls,
            .n_calls = (int64_t)n_calls};
}

/* The tools of a case or message, from its text; NULL when it has none. */
static glm_tools *tools_of(const char *text) {
    const char *json = glm_json_member(text, "tools");
    glm_tools *tools = NULL;
    if (json) CHECK(glm_tools_parse(json, glm_json_end(json) - json, &tools) == RT_OK);
    return tools;
}

/* Tools in the middle, which glm_chat_render does not take: piece by piece. */
static void render_pieces(const glm_tokenizer *tokenizer, const char *text,
        const glm_message *messages, int64_t n_messages, const glm_tools_format *format,
        glm_ids *out) {
    CHECK(glm_chat_begin(tokenizer, out) == RT_OK);
    const char *place = glm_json_first(glm_json_member(text, "messages"));
    for (int64_t i = 0; i < n_messages; i++, place = glm_json_next(place)) {
        glm_tools *tools = tools_of(place);
        if (tools) CHECK(glm_chat_append_tools(tokenizer, tools, format, out) == RT_OK);
        CHECK(glm_chat_append(tokenizer, &messages[i], out) == RT_OK);
        glm_tools_free(tools);
    }
    CHECK(glm_chat_prompt_answer(tokenizer, out) == RT_OK);
}

void chath_render(const glm_tokenizer *tokenizer, const char *text, const json_t *value,
        const glm_tools_format *format, glm_ids *out) {
    const json_t *array = json_object_get(value, "messages");
    glm_message messages[MESSAGES_MAX];
    glm_tool_call calls[MESSAGES_MAX][CALLS_MAX];
    const size_t n_messages = json_array_size(array);
    bool has_later_tools = false;
    CHECK(n_messages <= MESSAGES_MAX);
    for (size_t i = 0; i < n_messages; i++) {
        messages[i] = message_of(json_array_get(array, i), calls[i]);
        has_later_tools |= json_object_get(json_array_get(array, i), "tools") != NULL;
    }
    if (has_later_tools) {
        render_pieces(tokenizer, text, messages, (int64_t)n_messages, format, out);
        return;
    }
    glm_tools *tools = tools_of(text);
    const glm_chat chat = {.messages = messages,
            .n_messages = (int64_t)n_messages,
            .tools = tools,
            .format = *format};
    CHECK(glm_chat_render(tokenizer, &chat, out) == RT_OK);
    glm_tools_free(tools);
}
