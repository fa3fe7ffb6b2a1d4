/* Generated ids become text as they come: whole characters only, each as soon as it is decided, and
 * nothing at or behind a stop text, wherever tokens cut characters and stop texts.
 *
 * Method: texts through the byte tokenizer, which cuts every character, and through the published
 * one where GLM_TEST_DATA finds it; every piece of a text, from character to character, is a stop
 * text once. After each id the text so far is compared with the definition. */
#include "help_chat.h"

#include "runtime/answer.h"
#include "runtime/utf8.h"

enum { TEXT_BYTES = 1024 };

static const char *const texts[] = {
        "plain words, twice: plain words",
        "aaab aab ab",
        "天气 in 北京: 21°C, naïve Москва́ 🇮🇹👨‍👩‍👧.\n\n\n北北京",
        "🦙🦙 😶‍🌫️🦙\n🦙",
};

/* How many bytes at the front of `text` are whole characters, and no beginning of `stop`. */
static int64_t n_showable(const char *text, int64_t n_bytes, const char *stop) {
    int64_t n_whole = 0;
    while (n_whole < n_bytes) {
        uint32_t code_point;
        const int n = glm_utf8_decode(text + n_whole, n_bytes - n_whole, &code_point);
        if (n == 0) break;
        n_whole += n;
    }
    for (int64_t from = 0; from < n_whole; from++)
        if (stop[0] && strncmp(text + from, stop, (size_t)(n_whole - from)) == 0) return from;
    return n_whole;
}

static void check_stop(const glm_tokenizer *tokenizer, const char *text, const char *stop) {
    glm_ids ids = tokh_encode(tokenizer, text, false);
    glm_answer answer = {.tokenizer = tokenizer};
    answer.stop = (glm_stop){.texts = &stop, .n_texts = stop[0] ? 1 : 0};
    const char *found = stop[0] ? strstr(text, stop) : NULL;
    char shown[TEXT_BYTES] = "";
    int64_t n_fed = 0;
    for (int64_t i = 0; i <= ids.n; i++) {
        const char *piece = NULL;
        int64_t n_piece = 0;
        int64_t n_token = 0;
        const int32_t id = i < ids.n ? ids.ids[i] : -1;
        if (id >= 0) (void)glm_tokenizer_bytes(tokenizer, id, &n_token, NULL);
        n_fed += n_token;
        CHECK(glm_answer_put(&answer, id, &piece, &n_piece) == RT_OK);
        strncat(shown, piece, (size_t)n_piece);

        const int64_t n_shown = (int64_t)strlen(shown);
        CHECK(memcmp(shown, text, (size_t)n_shown) == 0);
        const bool is_found = found && n_fed >= found - text + (int64_t)strlen(stop);
        CHECK(answer.stop.is_found == is_found);
        if (is_found)
            CHECK(n_shown == found - text);
        else
            CHECK(n_shown == (id < 0 ? (int64_t)strlen(text) : n_showable(text, n_fed, stop)));
    }
    glm_answer_free(&answer);
    glm_ids_free(&ids);
}

/* Every stop text from one character's beginning to another's. */
static void check_text(const glm_tokenizer *tokenizer, const char *text) {
    const int64_t n = (int64_t)strlen(text);
    check_stop(tokenizer, text, "");
    check_stop(tokenizer, text, "nowhere");
    for (int64_t from = 0; from < n; from++) {
        if ((text[from] & 0xc0) == 0x80) continue;
        for (int64_t to = from + 1; to <= n && to - from <= 24; to++) {
            if ((text[to] & 0xc0) == 0x80) continue;
            char stop[32] = "";
            memcpy(stop, text + from, (size_t)(to - from));
            check_stop(tokenizer, text, stop);
        }
    }
}

static void put(glm_answer *answer, int32_t id, const char *wanted) {
    const char *piece = NULL;
    int64_t n_piece = 0;
    CHECK(glm_answer_put(answer, id, &piece, &n_piece) == RT_OK);
    CHECK(n_piece == (int64_t)strlen(wanted) && memcmp(piece, wanted, strlen(wanted)) == 0);
}

/* Control tokens have no text and cut none; bytes that are no character are one U+FFFD. */
static void check_odd_ids(const glm_tokenizer *tokenizer) {
    glm_answer answer = {.tokenizer = tokenizer};
    put(&answer, 'a', "a");
    put(&answer, 0xe5, "");
    put(&answer, chath_special(tokenizer, "<|assistant|>"), "");
    put(&answer, 0xa4, "");
    put(&answer, 0xa9, "天");
    put(&answer, 0xff, "\xef\xbf\xbd");
    put(&answer, 0xe5, "");
    put(&answer, 'b',
            "\xef\xbf\xbd"
            "b");
    put(&answer, 0xf0, "");
    put(&answer, 100000, "");
    put(&answer, -1, "\xef\xbf\xbd");
    glm_answer_free(&answer);
}

int main(void) {
    enum { N_TEXTS = sizeof texts / sizeof texts[0] };
    glm_tokenizer *tokenizer = chath_byte_tokenizer();
    for (int i = 0; i < N_TEXTS; i++) check_text(tokenizer, texts[i]);
    check_odd_ids(tokenizer);
    glm_tokenizer_free(tokenizer);
    if (!getenv("GLM_TEST_DATA")) {
        (void)printf("without GLM_TEST_DATA: the byte tokenizer only\n");
        return 0;
    }
    tokenizer = tokh_load_published();
    for (int i = 0; i < N_TEXTS; i++) check_text(tokenizer, texts[i]);
    glm_tokenizer_free(tokenizer);
    return 0;
}
