#include "chat_tools.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/memstream.h"
#include "chat_json.h"
#include "json_file.h"

/* Protocol text: the model was trained on these bytes.
 * Source: the published code and chat template of GLM-4-9B-Chat. */
static const char opening_format[] =
        "你是一个名为 %s 的人工智能助手。你是基于智谱AI训练的语言模型 GLM-4 "
        "模型开发的，你的任务是针对用户的问题和要求提供适当的答复和支持。";
static const char date_format[] = "\n\n当前日期: %s";
static const char tools_heading[] = "\n\n# 可用工具";
static const char function_closing[] = "\n在调用上述函数时，请使用 Json 格式表示调用的参数。";

static const char python_text[] =
        "当你向 `python` 发送包含 Python 代码的消息时，该代码将会在一个有状态的 Jupyter "
        "notebook 环境中执行。\n"
        "`python` 返回代码执行的输出，或在执行 60 秒后返回超时。\n"
        "`/mnt/data` 将会持久化存储你的文件。在此会话中，`python` 无法访问互联网。不要使用 "
        "`python` 进行任何网络请求或者在线 API 调用，这些在线内容的访问将不会成功。";
static const char browser_text[] =
        "你可以使用 `simple_browser` 工具。该工具支持以下函数：\n"
        "`search(query: str, recency_days: int)`：使用搜索引擎进行查询并显示结果，可以使用 "
        "`recency_days` 参数控制搜索内容的时效性。\n"
        "`mclick(ids: list[int])`：获取一系列指定 id 的页面内容。每次调用时，"
        "须选择3-10个页面。选择多个角度的页面，同时尽可能选择可信任的信息来源。"
        "考虑到部分页面是无法加载的，你也可以多打开一些可能有用的页面而不用担心内容过多。\n"
        "`open_url(url: str)`：打开指定的 URL。\n"
        "\n"
        "使用 `【{引用 id}†{引用文本}】` 来引用内容。\n"
        "\n"
        "操作步骤：1. 使用 `search` 来获得信息列表; 2. 使用 `mclick` 来获取指定 ID "
        "页面的内容; 3. 根据获得的内容进行回复。在回复中应当引用信息来源。\n"
        " 如果用户提供了 URL，也可以用 `open_url` 直接打开页面。\n"
        "如果初次搜索结果没有找到合适的信息，也可以再次使用 `search` 进行搜索。";
static const char cogview_text[] =
        "如果用户的请求中包含了对图像的描述，你可以使用 `cogview` 来生成图像并展示给用户。"
        "你需要向 `cogview` 发送图像描述，规则：\n"
        "- 发送给 `cogview` 的消息必须使用英语。用户的中文描述必须完全翻译为英语。\n"
        "- 应当尽可能详细地描述图像生成的需求，需求描述约 100 英文单词。\n"
        "- 保持用户原始描述的意图。不要虚构内容或者没见过的人物。\n"
        "- 如无特殊说明，所在地为中国，持有中国立场并遵循中国社会主义价值观。";

typedef struct builtin {
    const char *name; /* its type, and what a call begins with */
    const char *text;
} builtin;

/* By kind; functions have none. */
static const builtin builtins[] = {
        [GLM_TOOL_FUNCTION] = {"function", NULL},
        [GLM_TOOL_PYTHON] = {"python", python_text},
        [GLM_TOOL_BROWSER] = {"simple_browser", browser_text},
        [GLM_TOOL_COGVIEW] = {"cogview", cogview_text},
};
enum { N_KINDS = sizeof builtins / sizeof builtins[0] };

/* ---- reading --------------------------------------------------------------------------------- */

static rt_status find_kind(int64_t index, const json_t *tool, glm_tool_kind *kind) {
    const json_t *type = json_object_get(tool, "type");
    if (!json_is_string(type))
        return rt_fail(RT_EUSAGE,
                "tools[%" PRId64 "]: must be an object whose \"type\" is a string", index);
    for (int i = 0; i < N_KINDS; i++) {
        if (strcmp(json_string_value(type), builtins[i].name) != 0) continue;
        *kind = (glm_tool_kind)i;
        return RT_OK;
    }
    return rt_fail(RT_EUSAGE,
            "tools[%" PRId64 "].type is \"%.64s\": must be function, python, simple_browser or "
            "cogview",
            index, json_string_value(type));
}

/* One line without space around it: a call could not be told from text otherwise. */
static bool is_callable(const char *name) {
    const size_t n = strlen(name);
    if (n == 0 || n > GLM_TOOL_NAME_MAX || name[0] == ' ' || name[n - 1] == ' ') return false;
    for (const char *at = name; *at; at++)
        if ((unsigned char)*at < 0x20 || *at == 0x7f) return false;
    return true;
}

static rt_status print_function(const char *function, char **text) {
    size_t n_bytes = 0;
    FILE *out = rt_memstream_open(text, &n_bytes);
    if (out) glm_json_print(function, out);
    return rt_memstream_close(out, text) ? RT_OK
                                         : rt_fail(RT_ENOMEM, "chat: no memory for a tool's text");
}

/* `place` is where the tool stands in the text. */
static rt_status read_function(
        int64_t index, const json_t *value, const char *place, glm_tool *tool) {
    const json_t *name = json_object_get(json_object_get(value, "function"), "name");
    if (!json_is_string(name) || !is_callable(json_string_value(name)))
        return rt_fail(RT_EUSAGE,
                "tools[%" PRId64 "].function.name: must be a string of 1 to %d bytes, without "
                "control characters or space around it",
                index, GLM_TOOL_NAME_MAX);
    const char *function = glm_json_member(place, "function");
    if (glm_json_depth(function) > GLM_TOOL_DEPTH_MAX)
        return rt_fail(RT_EUSAGE,
                "tools[%" PRId64 "].function: nested %" PRId64 " deep, at most %d", index,
                glm_json_depth(function), GLM_TOOL_DEPTH_MAX);
    tool->owned_name = strdup(json_string_value(name));
    if (!tool->owned_name) return rt_fail(RT_ENOMEM, "chat: no memory for a tool's name");
    tool->name = tool->owned_name;
    return print_function(function, &tool->text);
}

static rt_status read_tool(int64_t index, const json_t *value, const char *place, glm_tool *tool) {
    RT_TRY(find_kind(index, value, &tool->kind));
    tool->name = builtins[tool->kind].name;
    return tool->kind == GLM_TOOL_FUNCTION ? read_function(index, value, place, tool) : RT_OK;
}

static rt_status read_tools(const json_t *array, const char *text, glm_tools *tools) {
    const int64_t n = (int64_t)json_array_size(array);
    RT_TRY(rt_calloc(n, (int64_t)sizeof *tools->tools, "tools", &tools->tools));
    const char *place = glm_json_first(text);
    for (; tools->n_tools < n; place = glm_json_next(place)) {
        const int64_t index = tools->n_tools++;
        RT_TRY(read_tool(index, json_array_get(array, (size_t)index), place, &tools->tools[index]));
    }
    return RT_OK;
}

/* Integers beyond 64 bits are legal in a schema; only their text is used. jansson reads on behind a
 * NUL, where the walk over the text would end. */
static rt_status load_array(const char *json, int64_t n_bytes, json_t **array) {
    json_error_t error;
    const char *nul = n_bytes > 0 ? memchr(json, '\0', (size_t)n_bytes) : NULL;
    if (nul) return rt_fail(RT_EUSAGE, "tools: not JSON: a NUL at byte %td", nul - json);
    bool lacks_memory = false;
    *array = glm_json_parse_wide(json, n_bytes, &error, &lacks_memory);
    if (lacks_memory) return rt_fail(RT_ENOMEM, "chat: no memory for tools");
    if (!*array)
        return rt_fail(
                RT_EUSAGE, "tools: line %d column %d: %s", error.line, error.column, error.text);
    if (json_array_size(*array) > 0) return RT_OK;
    json_decref(*array);
    return rt_fail(RT_EUSAGE, "tools: must be an array of at least one tool");
}

static rt_status parse(const json_t *array, const char *text, glm_tools **out) {
    glm_tools *tools = NULL;
    RT_TRY(rt_calloc(1, (int64_t)sizeof *tools, "tools", &tools));
    const rt_status status = read_tools(array, text + strspn(text, " \t\r\n"), tools);
    if (status == RT_OK)
        *out = tools;
    else
        glm_tools_free(tools);
    return status;
}

rt_status glm_tools_parse(const char *json, int64_t n_bytes, glm_tools **out) {
    *out = NULL;
    json_t *array = NULL;
    RT_TRY(load_array(json, n_bytes, &array));
    /* The walk over the text needs its NUL. */
    char *text = strndup(json, (size_t)n_bytes);
    const rt_status status =
            text ? parse(array, text, out) : rt_fail(RT_ENOMEM, "chat: no memory for tools");
    free(text);
    json_decref(array);
    return status;
}

void glm_tools_free(glm_tools *tools) {
    if (!tools) return;
    for (int64_t i = 0; i < tools->n_tools; i++) {
        free(tools->tools[i].text);
        free(tools->tools[i].owned_name);
        glm_schema_free(tools->tools[i].schema);
    }
    free(tools->tools);
    free(tools);
}

/* ---- printing -------------------------------------------------------------------------------- */

static void print_tool(const glm_tool *tool, const char *newlines, FILE *out) {
    (void)fprintf(out, "%s## %s\n\n", newlines, tool->name);
    if (tool->kind == GLM_TOOL_FUNCTION)
        (void)fprintf(out, "%s%s", tool->text, function_closing);
    else
        (void)fputs(builtins[tool->kind].text, out);
}

static void print_all(const glm_tools *tools, const glm_tools_format *format, FILE *out) {
    (void)fprintf(out, opening_format, format->assistant ? format->assistant : "GLM-4");
    if (format->date) (void)fprintf(out, date_format, format->date);
    (void)fputs(tools_heading, out);
    for (int64_t i = 0; i < tools->n_tools; i++)
        print_tool(&tools->tools[i], format->has_one_newline ? "\n" : "\n\n", out);
}

rt_status glm_tools_text(
        const glm_tools *tools, const glm_tools_format *format, char **text, int64_t *n_bytes) {
    size_t n = 0;
    FILE *out = rt_memstream_open(text, &n);
    if (out) print_all(tools, format, out);
    if (!rt_memstream_close(out, text))
        return rt_fail(RT_ENOMEM, "chat: no memory for the tools' text");
    *n_bytes = (int64_t)n;
    return RT_OK;
}
