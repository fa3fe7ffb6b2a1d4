/* The chat format of the 0414 models, byte for byte: tools first, then every system message, then the
 * rest as it was said; metadata only where the assistant calls a function.
 *
 * Method: expected texts written by hand, the rule named above each; with the byte tokenizer their
 * encoding, control tokens spelled out, is what must come out. Each text in GLM-4-9B's dialect, too,
 * where it must be another. */
#include "help_chat.h"

#define OPENING                                                                                           \
    "你是一个名为 ChatGLM 的人工智能助手。你是基于智谱AI训练的语言模型 GLM-4 " \
    "模型开发的，你的任务是针对用户的问题和要求提供适当的答复和支持。"
#define CLOSING "\n在调用上述函数时，请使用 Json 格式表示调用的参数。"
#define WEATHER "## get_weather\n\n{\n    \"name\": \"get_weather\"\n}" CLOSING
#define TIME    "## get_time\n\n{\n    \"name\": \"get_time\",\n    \"x\": []\n}" CLOSING

static const char tools_json[] =
        "[{\"type\": \"function\", \"function\": {\"name\": \"get_weather\"}}, "
        "{\"type\": \"function\", \"function\": {\"name\": \"get_time\", \"x\": []}}]";

static int n_failed;

static glm_message said(glm_chat_role role, const char *metadata, const char *content) {
    return (glm_message){
            .role = role, .metadata = metadata, .content = content, .content_bytes = -1};
}

static bool is_rendered(const glm_tokenizer *tokenizer, const glm_chat *chat, const char *wanted) {
    glm_ids got = {0};
    glm_ids right = tokh_encode(tokenizer, wanted, true);
    CHECK(glm_chat_render(tokenizer, chat, &got) == RT_OK);
    const bool is_same =
            got.n == right.n && memcmp(got.ids, right.ids, (size_t)got.n * sizeof *got.ids) == 0;
    glm_ids_free(&got);
    glm_ids_free(&right);
    return is_same;
}

/* `differs`: GLM-4-9B's dialect makes something else of the same conversation. */
static void expect(const glm_tokenizer *tokenizer, const char *rule, glm_chat chat, bool differs,
        const char *wanted) {
    chat.dialect = GLM_CHAT_0414;
    if (!is_rendered(tokenizer, &chat, wanted)) {
        (void)printf("not so: %s\n", rule);
        n_failed++;
    }
    chat.dialect = GLM_CHAT_GLM4;
    if (is_rendered(tokenizer, &chat, wanted) == differs) {
        (void)printf("the dialects %s: %s\n", differs ? "agree" : "differ", rule);
        n_failed++;
    }
}

static void check_plain(const glm_tokenizer *tokenizer) {
    const glm_message turns[] = {said(GLM_CHAT_SYSTEM, NULL, "Be brief."),
            said(GLM_CHAT_USER, NULL, "Hi"), said(GLM_CHAT_ASSISTANT, NULL, "Hello"),
            said(GLM_CHAT_USER, "", "Bye")};
    expect(tokenizer, "without tools, and the system first, it is GLM-4-9B's own format",
            (glm_chat){.messages = turns, .n_messages = 4}, false,
            "[gMASK]<sop><|system|>\nBe brief.<|user|>\nHi<|assistant|>\nHello<|user|>\nBye"
            "<|assistant|>");
}

static void check_hoisting(const glm_tokenizer *tokenizer) {
    const glm_message turns[] = {said(GLM_CHAT_USER, NULL, "1"), said(GLM_CHAT_SYSTEM, NULL, "A"),
            said(GLM_CHAT_ASSISTANT, NULL, "2"), said(GLM_CHAT_SYSTEM, NULL, "B"),
            said(GLM_CHAT_USER, NULL, "3")};
    expect(tokenizer, "system messages go to the front, each of its own, in their order",
            (glm_chat){.messages = turns, .n_messages = 5}, true,
            "[gMASK]<sop><|system|>\nA<|system|>\nB<|user|>\n1<|assistant|>\n2<|user|>\n3"
            "<|assistant|>");
}

static void check_tools(const glm_tokenizer *tokenizer, const glm_tools *tools) {
    const glm_message turns[] = {
            said(GLM_CHAT_USER, NULL, "?"), said(GLM_CHAT_SYSTEM, NULL, "Be brief.")};
    glm_chat chat = {.messages = turns, .n_messages = 2, .tools = tools};
    expect(tokenizer, "tools before all else, from a ChatGLM, two newlines before each", chat, true,
            "[gMASK]<sop><|system|>\n" OPENING "\n\n# 可用工具\n\n" WEATHER "\n\n" TIME
            "<|system|>\nBe brief.<|user|>\n?<|assistant|>");
    chat.format.has_one_newline = true;
    expect(tokenizer, "or one, as Hugging Face's library renders the template", chat, true,
            "[gMASK]<sop><|system|>\n" OPENING "\n\n# 可用工具\n" WEATHER "\n" TIME
            "<|system|>\nBe brief.<|user|>\n?<|assistant|>");
}

static void check_metadata(const glm_tokenizer *tokenizer) {
    const glm_tool_call call = {"get_time", "{}", -1};
    glm_message turns[] = {said(GLM_CHAT_USER, NULL, "?"),
            said(GLM_CHAT_ASSISTANT, "get_weather", "{\"x\": 1}"),
            said(GLM_CHAT_OBSERVATION, "get_weather", "21"), said(GLM_CHAT_ASSISTANT, NULL, "So."),
            said(GLM_CHAT_OBSERVATION, NULL, "12:00")};
    turns[3].calls = &call;
    turns[3].n_calls = 1;
    glm_chat chat = {.messages = turns, .n_messages = 5};
    expect(tokenizer, "an observation does not say of what; calls do", chat, true,
            "[gMASK]<sop><|user|>\n?<|assistant|>get_weather\n{\"x\": 1}<|observation|>\n21"
            "<|assistant|>\nSo.<|assistant|>get_time\n{}<|observation|>\n12:00<|assistant|>");
    chat.has_metadata_space = true;
    expect(tokenizer, "the switch puts a space behind a call's name, and nowhere else", chat, true,
            "[gMASK]<sop><|user|>\n?<|assistant|>get_weather \n{\"x\": 1}<|observation|>\n21"
            "<|assistant|>\nSo.<|assistant|>get_time \n{}<|observation|>\n12:00<|assistant|>");
}

/* Its template knows no built-in tools: to leave them out silently would be another prompt. */
static void check_refusal(const glm_tokenizer *tokenizer) {
    static const char json[] = "[{\"type\": \"function\", \"function\": {\"name\": \"f\"}}, "
                               "{\"type\": \"python\"}]";
    glm_tools *tools = NULL;
    glm_ids ids = {0};
    CHECK(glm_tools_parse(json, sizeof json - 1, &tools) == RT_OK);
    const glm_chat chat = {.dialect = GLM_CHAT_0414, .tools = tools};
    CHECK(glm_chat_render(tokenizer, &chat, &ids) == RT_EUSAGE && ids.n == 0);
    CHECK(strstr(rt_error_text(), "tools[1] is python"));
    CHECK(glm_chat_render_turns(tokenizer, &chat, &ids) == RT_EUSAGE && ids.n == 0);
    glm_tools_free(tools);
    glm_ids_free(&ids);
}

int main(void) {
    glm_tokenizer *tokenizer = chath_byte_tokenizer();
    glm_tools *tools = NULL;
    CHECK(glm_tools_parse(tools_json, sizeof tools_json - 1, &tools) == RT_OK);
    check_plain(tokenizer);
    check_hoisting(tokenizer);
    check_tools(tokenizer, tools);
    check_metadata(tokenizer);
    check_refusal(tokenizer);
    glm_tools_free(tools);
    glm_tokenizer_free(tokenizer);
    return n_failed == 0 ? 0 : 1;
}
