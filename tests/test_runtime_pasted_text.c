/* What a terminal pastes becomes text, and a place in a line becomes the text again.
 *
 * Method: each thing that may be sent, with the text that it is; lines with places, and with what only looks like one. */
#include <stdlib.h>
#include <string.h>

#include "help_expect.h"
#include "runtime/pasted.h"

static void expect_text(const char *sent, int64_t n_bytes, const char *wanted) {
    char *text = NULL;
    int64_t n = 0;
    require(glm_pasted_text(sent, n_bytes, &text, &n), "a pasted text");
    expect(n == (int64_t)strlen(wanted) && strcmp(text, wanted) == 0, "not the text", text);
    free(text);
}

static void expect_filled(const glm_pastes *pastes, const char *line, const char *wanted) {
    char *whole = NULL;
    int64_t n = 0;
    require(glm_pastes_fill(pastes, line, (int64_t)strlen(line), &whole, &n), "a line");
    expect(n == (int64_t)strlen(wanted) && strcmp(whole, wanted) == 0, line, whole);
    free(whole);
}

static void check_texts(void) {
    expect_text("", 0, "");
    expect_text("\r", 1, "");
    expect_text("one\r", 4, "one");
    expect_text("one\r\n", 5, "one");
    expect_text("one\r\r", 5, "one\n\n");
    expect_text("a\rb\nc\r\nd\n\r", 10, "a\nb\nc\nd\n\n");
    expect_text("a\0b", 3,
            "a\xef\xbf\xbd"
            "b");
    expect_text("\xe5\xa4\xa9\xff\xe5\xa4", 6, "\xe5\xa4\xa9\xef\xbf\xbd\xef\xbf\xbd");
    expect_text("\t\x1b[2J\x07", 6, "\t\x1b[2J\x07");
}

static void check_places(void) {
    glm_pastes pastes = {.n = 0};
    expect_filled(&pastes, "[paste 1: 2 lines]", "[paste 1: 2 lines]");
    require(glm_pastes_keep(&pastes, "[paste 2: 3 characters]\nb\n", 26), "a paste");
    require(glm_pastes_keep(&pastes, "x\xe5\xa4\xa9y", 5), "another");
    expect(strcmp(pastes.pastes[0].place, "[paste 1: 2 lines]") == 0, "place", "1");
    expect(strcmp(pastes.pastes[1].place, "[paste 2: 3 characters]") == 0, "place", "2");
    expect_filled(&pastes, "", "");
    expect_filled(&pastes, "no place", "no place");
    expect_filled(&pastes, "a [paste 1: 2 lines]", "a [paste 2: 3 characters]\nb\n");
    expect_filled(&pastes, "[paste 2: 3 characters][paste 2: 3 characters]z",
            "x\xe5\xa4\xa9yx\xe5\xa4\xa9yz");
    /* One that was edited, one that there never was. */
    expect_filled(&pastes, "[paste [paste 2: 3 characters] [paste 1: 2 lines",
            "[paste x\xe5\xa4\xa9y [paste 1: 2 lines");
    expect_filled(&pastes, "[paste 0: 2 lines] [paste 3: 1 lines] [paste -1:",
            "[paste 0: 2 lines] [paste 3: 1 lines] [paste -1:");
    glm_pastes_free(&pastes);
}

int main(void) {
    check_texts();
    check_places();
    return n_failed > 0;
}
