/* What is folded many bytes at a time is what the definition, one character at a time, makes of the same text.
 *
 * Method: random texts of characters that fold in every way there is. The way back, from a folded byte to the character that
 * let it out, goes by single characters from a mark on: each byte must be one that its character gives alone. */
#include <inttypes.h>
#include <string.h>

#include "help_expect.h"
#include "runtime/base/random.h"
#include "runtime/fold.h"

enum { TEXTS = 12, CHARACTERS = 3000 };

static const char *const characters[] = {"a", "Q", "z", "Z", "7", ".", "'", "\"", "`", "-", "--",
        "- ", "-\n", " ", "  ", "\n", "\t", "\f", "\x7f", "\x01", "@", "[", "{", "_", "a_b", "_c_",
        "\u00e9", "\u00c9", "\u00ad", "\u00a0", "\u2014", "\u2019", "\ufb01", "\uff21", "\u4eca",
        "\u5929", "\u3000", "\u200b", "\xff", "the", "Word", "e\u0301"};

static int64_t make_text(uint64_t *random, char *text, size_t room) {
    size_t n = 0;
    const uint64_t n_kinds = sizeof characters / sizeof *characters;
    const uint64_t plain = rt_random_next(random) % 16; /* texts with long plain runs, too */
    for (int i = 0; i < CHARACTERS && n + 16 < room; i++) {
        const bool is_plain = rt_random_next(random) % 16 < plain;
        const char *c = is_plain ? "Plain words, " : characters[rt_random_next(random) % n_kinds];
        memcpy(text + n, c, strlen(c));
        n += strlen(c);
    }
    return (int64_t)n;
}

/* Spaces and dashes come from several characters; an underscore goes by what is around it. */
static void check_byte(const char *text, const glm_folded *folded, int64_t at) {
    int64_t begin = 0;
    int64_t end = 0;
    glm_folded alone;
    if (strchr(" -_", folded->bytes[at])) return;
    glm_folded_source(folded, at, at + 1, &begin, &end);
    require(glm_fold(text + begin, end - begin, NULL, &alone), "fold a character");
    char here[32];
    (void)snprintf(here, sizeof here, "%s", folded->bytes + at);
    expect(alone.n_bytes > 0 && memchr(alone.bytes, folded->bytes[at], (size_t)alone.n_bytes),
            "a byte is what its character gives", here);
    glm_folded_free(&alone);
}

static void check_spaces(const glm_folded *folded) {
    expect(folded->n_bytes == 0 ||
                    (folded->bytes[0] != ' ' && folded->bytes[folded->n_bytes - 1] != ' '),
            "no space at either end", "");
    expect(!strstr(folded->bytes, "  "), "never two spaces", "");
    expect((int64_t)strlen(folded->bytes) == folded->n_bytes, "a NUL behind it", "");
}

int main(void) {
    static char text[CHARACTERS * 16];
    uint64_t random = 20261127;
    for (int i = 0; i < TEXTS && n_failed == 0; i++) {
        glm_folded folded;
        const int64_t n = make_text(&random, text, sizeof text);
        require(glm_fold(text, n, NULL, &folded), "fold");
        check_spaces(&folded);
        for (int64_t at = i % 7; at < folded.n_bytes && n_failed < 5; at += 7)
            check_byte(text, &folded, at);
        glm_folded_free(&folded);
    }
    return n_failed > 0;
}
