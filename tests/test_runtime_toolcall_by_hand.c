/* Replies of GLM-4's own forms: what is shown, what is called, and what is held back until when.
 *
 * Method: pieces by hand; after each, what came out of it. */
#include "help_chat.h"
#include "runtime/reply.h"

static const char tools_json[] =
        "[{\"type\": \"function\", \"function\": {\"name\": \"get_weather\"}}, {\"type\": "
        "\"function\", \"function\": {\"name\": \"get_time\"}}, {\"type\": \"python\"}]";

static void expect(
        const glm_reply_piece *piece, const char *text, const char *call, const char *arguments) {
    CHECK(piece->text_bytes == (int64_t)strlen(text));
    CHECK(memcmp(piece->text, text, strlen(text)) == 0);
    CHECK((piece->call == NULL) == (call == NULL));
    if (call) CHECK(strcmp(piece->call, call) == 0);
    CHECK(piece->arguments_bytes == (int64_t)strlen(arguments));
    CHECK(memcmp(piece->arguments, arguments, strlen(arguments)) == 0);
}

static void feed(glm_reply *reply, const char *bytes, const char *text, const char *call,
        const char *arguments) {
    glm_reply_piece piece;
    CHECK(glm_reply_feed(reply, bytes, (int64_t)strlen(bytes), &piece) == RT_OK);
    expect(&piece, text, call, arguments);
}

static void end(glm_reply *reply, bool waits, const char *text, const char *call) {
    glm_reply_piece piece;
    glm_reply_end_part(reply, waits, &piece);
    expect(&piece, text, call, "");
}

static void check_answers(const glm_tools *tools) {
    glm_reply reply = {.tools = tools};
    feed(&reply, "\n", "", NULL, "");
    feed(&reply, "It is", "It is", NULL, "");
    feed(&reply, " 21 degrees.\nget_weather\n{}", " 21 degrees.\nget_weather\n{}", NULL, "");
    end(&reply, false, "", NULL);
    glm_reply_free(&reply);

    /* As far as it could be a name, and no further. */
    reply.tools = tools;
    feed(&reply, "get", "", NULL, "");
    feed(&reply, "_w", "", NULL, "");
    feed(&reply, "et", "get_wet", NULL, "");
    end(&reply, false, "", NULL);
    glm_reply_free(&reply);

    /* A name and a newline, but no object. */
    reply.tools = tools;
    feed(&reply, "get_time\n\n", "", NULL, "");
    feed(&reply, "is a function", "get_time\n\nis a function", NULL, "");
    end(&reply, false, "", NULL);
    glm_reply_free(&reply);

    /* Cut off by a limit: a name alone is text, unless the model waits for the tool. */
    reply.tools = tools;
    feed(&reply, "get_time", "", NULL, "");
    end(&reply, false, "get_time", NULL);
    feed(&reply, "get_time\n", "", NULL, "");
    end(&reply, true, "", "get_time");
    glm_reply_free(&reply);
}

static void check_calls(const glm_tools *tools) {
    glm_reply reply = {.tools = tools};
    feed(&reply, "get_weather", "", NULL, "");
    feed(&reply, " \n ", "", NULL, "");
    feed(&reply, "{\"city", "", "get_weather", "{\"city");
    feed(&reply, "\": \"北京\"}", "", NULL, "\": \"北京\"}");
    end(&reply, true, "", NULL);
    glm_reply_free(&reply);

    /* Text and two calls in one reply, <|assistant|> between them. */
    reply.tools = tools;
    feed(&reply, "\nI look.", "I look.", NULL, "");
    end(&reply, false, "", NULL);
    feed(&reply, "\nget_time\n{}", "", "get_time", "{}");
    end(&reply, false, "", NULL);
    feed(&reply, "python\nprint(1)\n", "", "python", "print(1)\n");
    end(&reply, false, "", NULL);
    feed(&reply, "Done.", "\nDone.", NULL, "");
    end(&reply, false, "", NULL);
    glm_reply_free(&reply);

    /* A built-in tool takes any text: only on the first line is its name a call. */
    reply.tools = tools;
    feed(&reply, "\npython\n", "python\n", NULL, "");
    end(&reply, true, "", NULL);
    glm_reply_free(&reply);

    /* Without tools nothing is held back and nothing is called. */
    reply.tools = NULL;
    feed(&reply, "g", "g", NULL, "");
    feed(&reply, "et_time\n{}", "et_time\n{}", NULL, "");
    end(&reply, true, "", NULL);
    glm_reply_free(&reply);
}

/* What the parser takes out of a reply is, as a message, the same reply again. */
static void check_round_trip(const glm_tools *tools) {
    glm_tokenizer *tokenizer = chath_byte_tokenizer();
    const glm_tool_call call = {"get_time", "{\"zone\": 1}", -1};
    const glm_message message = {.role = GLM_CHAT_ASSISTANT, .calls = &call, .n_calls = 1};
    glm_ids history = {0};
    glm_ids forced = {0};
    CHECK(glm_chat_append(tokenizer, &message, &history) == RT_OK);
    CHECK(glm_chat_prompt_call(tokenizer, "get_time", &forced) == RT_OK);
    CHECK(glm_chat_prompt_call(tokenizer, "get\ntime", &forced) == RT_EUSAGE);
    CHECK(tokh_same_ids("a forced call", &forced, history.ids, history.n - 11));

    char *text = NULL;
    int64_t n_bytes = 0;
    CHECK(glm_tokenizer_decode(tokenizer, history.ids + 1, history.n - 1, true, &text, &n_bytes) ==
            RT_OK);
    glm_reply reply = {.tools = tools};
    feed(&reply, text, "", call.name, call.arguments);
    glm_reply_free(&reply);
    free(text);
    glm_ids_free(&history);
    glm_ids_free(&forced);
    glm_tokenizer_free(tokenizer);
}

int main(void) {
    glm_tools *tools = NULL;
    CHECK(glm_tools_parse(tools_json, sizeof tools_json - 1, &tools) == RT_OK);
    check_answers(tools);
    check_calls(tools);
    check_round_trip(tools);
    glm_tools_free(tools);
    return 0;
}
