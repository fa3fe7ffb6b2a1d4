/* Conversations become the text that the published templates make of them, byte for byte, and the
 * ids that the published tokenizer makes of that text.
 *
 * Method: golden/chat/goldens.json, made by golden/make_chat_goldens.py with jinja2 and tiktoken.
 * With the byte tokenizer the ids follow from the text; with the published one, where GLM_TEST_DATA
 * finds it, they are compared with tiktoken's. */
#include "help_chat.h"

#include "runtime/chat_json.h"

/* The ids of a golden's parts, control token and text in turn, when every byte is a token. */
static glm_ids byte_ids(const glm_tokenizer *tokenizer, const json_t *parts) {
    glm_ids ids = {0};
    for (size_t i = 0; i < json_array_size(parts); i++) {
        const char *part = json_string_value(json_array_get(parts, i));
        if (i % 2 == 0) CHECK(glm_ids_push(&ids, chath_special(tokenizer, part)) == RT_OK);
        for (; i % 2 == 1 && *part; part++)
            CHECK(glm_ids_push(&ids, (unsigned char)*part) == RT_OK);
    }
    return ids;
}

static glm_ids published_ids(const json_t *array) {
    glm_ids ids = {0};
    for (size_t i = 0; i < json_array_size(array); i++)
        CHECK(glm_ids_push(&ids, (int32_t)json_number_value(json_array_get(array, i))) == RT_OK);
    return ids;
}

static bool same_text(const glm_tokenizer *tokenizer, const glm_ids *got, const json_t *parts) {
    tokh_text wanted = {0};
    for (size_t i = 0; i < json_array_size(parts); i++)
        tokh_printf(&wanted, "%s", json_string_value(json_array_get(parts, i)));
    char *text = NULL;
    int64_t n_bytes = 0;
    CHECK(glm_tokenizer_decode(tokenizer, got->ids, got->n, true, &text, &n_bytes) == RT_OK);
    const bool is_same = n_bytes == wanted.n && memcmp(text, wanted.bytes, (size_t)n_bytes) == 0;
    if (!is_same) (void)printf("got:\n%s\nwanted:\n%s\n", text, wanted.bytes);
    free(text);
    free(wanted.bytes);
    return is_same;
}

typedef struct cases {
    char *text;
    json_t *values;
} cases;

static void render_case(const cases *from, const glm_tokenizer *tokenizer, const char *name,
        const glm_tools_format *format, glm_ids *out) {
    const char *place = glm_json_first(from->text + strspn(from->text, " \n"));
    for (size_t i = 0; i < json_array_size(from->values); i++, place = glm_json_next(place)) {
        const json_t *value = json_array_get(from->values, i);
        if (strcmp(json_string_value(json_object_get(value, "name")), name) != 0) continue;
        chath_render(tokenizer, place, value, format, out);
        return;
    }
    CHECK(!"a case of that name");
}

static bool check_golden(const cases *from, const json_t *golden, const glm_tokenizer *tokenizer,
        bool is_published) {
    const char *name = json_string_value(json_object_get(golden, "case"));
    const char *model = json_string_value(json_object_get(golden, "model"));
    const json_t *parts = json_object_get(golden, "parts");
    const glm_tools_format format = {
            .has_one_newline = json_is_true(json_object_get(golden, "one_newline")),
            .assistant = strcmp(model, "glm-4-9b-chat") == 0 ? "ChatGLM" : NULL};
    glm_ids got = {0};
    render_case(from, tokenizer, name, &format, &got);
    glm_ids wanted = is_published ? published_ids(json_object_get(golden, "ids"))
                                  : byte_ids(tokenizer, parts);
    const bool is_right =
            tokh_same_ids(name, &got, wanted.ids, wanted.n) && same_text(tokenizer, &got, parts);
    glm_ids_free(&got);
    glm_ids_free(&wanted);
    return is_right;
}

static bool check_all(
        const cases *from, const json_t *goldens, const glm_tokenizer *tokenizer, bool published) {
    bool is_right = true;
    for (size_t i = 0; i < json_array_size(goldens); i++)
        is_right &= check_golden(from, json_array_get(goldens, i), tokenizer, published);
    return is_right;
}

int main(void) {
    cases all = {0};
    char *goldens_text = NULL;
    all.values = chath_load("cases.json", &all.text);
    json_t *goldens = chath_load("goldens.json", &goldens_text);
    CHECK(json_array_size(goldens) == 3 * json_array_size(all.values));

    glm_tokenizer *tokenizer = chath_byte_tokenizer();
    bool is_right = check_all(&all, goldens, tokenizer, false);
    glm_tokenizer_free(tokenizer);
    if (getenv("GLM_TEST_DATA")) {
        tokenizer = tokh_load_published();
        is_right &= check_all(&all, goldens, tokenizer, true);
        glm_tokenizer_free(tokenizer);
    } else {
        (void)printf("without GLM_TEST_DATA: the byte tokenizer only\n");
    }
    json_decref(goldens);
    json_decref(all.values);
    free(goldens_text);
    free(all.text);
    return is_right ? 0 : 1;
}
