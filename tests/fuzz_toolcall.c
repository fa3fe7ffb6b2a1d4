/* Fuzz target: what the model says, taken apart. However it is cut into tokens, text and calls come out
 * as reply.h defines them, each byte as soon as it is decided, and nothing beyond a piece is read.
 *
 * Input: help_reply.h's. */
#include "help_fuzz.h"

#include <string.h>

#include "help_reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes) {
    FUZZ_REQUIRE(replyh_is_right(data, (int64_t)n_bytes));
    return 0;
}

/* Uncut: cutting is left to the mutations. */
static void add(fuzz_corpus *corpus, uint8_t known, const char *program) {
    uint8_t bytes[64] = {known, 0};
    const size_t n = strlen(program);
    memcpy(bytes + 2, program, n);
    for (size_t i = 2; i < n + 2; i++)
        if (bytes[i] == '|') bytes[i] = 0; /* the next part */
    fuzz_add(corpus, bytes, n + 2);
}

void fuzz_add_seeds(fuzz_corpus *corpus) {
    static const char *const programs[] = {"", "\n", "\nHello, world.\nA second line.", "\2\n\f",
            "\n\2\n{\"city\": \"x\"}", "\1\n\7}", "\1", "\2 \n\n\7", "\3\n\7\"a\": 1}", "\4\n\7}",
            "two \16\7", "\5\nprint(1)\n\7}", "\6\nsearch(\"x\")", "\n\5\nprint(1)",
            "\nI look.|\n\2\n\7}|\1\n\7}", "\10x\n\7", "\17ilar\n", "\1\22 \n\7}", "\1\22  \n\7",
            "\2\n\23\24\7", "\2\n\23\24 \7", "\5\22  \nx", " \t\1 \r\n\t\7}", "\1\n\n|x|\7"};
    for (size_t i = 0; i < sizeof programs / sizeof *programs; i++) {
        add(corpus, 0x3f, programs[i]);
        add(corpus, 0x15, programs[i]);
    }
    add(corpus, 0, "\2\n\7}");
}

void fuzz_repair(uint8_t *bytes, size_t n_bytes) {
    (void)bytes;
    (void)n_bytes;
}
