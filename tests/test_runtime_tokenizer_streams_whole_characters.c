/* A stream of bytes comes out as whole characters, wherever it is cut, and never later than it must.
 *
 * Method: texts with their replacement written down (one U+FFFD for each longest beginning of a
 * character that broke off, as Unicode recommends), fed in two pieces at every cut and byte by byte.
 * After each feed the output is well-formed, and at most three bytes are missing from it. */
#include "help_tokenizer.h"
#include "runtime/utf8.h"

#define R "\xef\xbf\xbd"

typedef struct stream_case {
    const char *text;
    const char *wanted;
} stream_case;

static const stream_case cases[] = {
        {"", ""}, {"plain", "plain"},
        {"é中🚀\u07ff\u0800\uffff\U00010000\U0010ffff",
                "é中🚀\u07ff\u0800\uffff\U00010000\U0010ffff"},
        {"\x80", R}, {"\xff\xfe", R R}, {"a\xc3", "a" R}, {"\xc3\x28", R "("}, {"\xe4\xb8", R},
        {"\xe4\xb8x", R "x"}, {"\xf0\x9f\x9a", R}, {"\xf0\x9f\x9a\xe4\xb8\xad", R "中"},
        {"\xc0\xaf", R R},             /* overlong "/" */
        {"\xe0\x80\xaf", R R R},       /* overlong */
        {"\xf0\x80\x80\xaf", R R R R}, /* overlong */
        {"\xed\xa0\x80", R R R},       /* a surrogate */
        {"\xf4\x90\x80\x80", R R R R}, /* above U+10FFFF */
        {"\xf5\x80\x80\x80", R R R R},
        {"\xe1\x80\xe2\xf0\x91\x92\xf1\xbf\x41", R R R R "A"}, /* Unicode 16.0, table 3-11 */
};

/* n_bytes of what came out so far are whole characters. */
static void check_whole(const char *out, int64_t n_bytes) {
    uint32_t code_point;
    for (int64_t at = 0; at < n_bytes;) {
        const int n = glm_utf8_decode(out + at, n_bytes - at, &code_point);
        CHECK(n > 0);
        at += n;
    }
}

static int64_t feed(glm_utf8_stream *stream, const char *bytes, int64_t n_bytes, char *out) {
    const int64_t n = glm_utf8_stream_feed(stream, bytes, n_bytes, false, out);
    CHECK(n <= 3 * (n_bytes + 3));
    CHECK(stream->n_held <= 3);
    check_whole(out, n);
    return n;
}

static void check_end(const stream_case *test, glm_utf8_stream *stream, char *out, int64_t n) {
    n += glm_utf8_stream_feed(stream, "", 0, true, out + n);
    CHECK(stream->n_held == 0);
    CHECK(n == (int64_t)strlen(test->wanted));
    CHECK(memcmp(out, test->wanted, (size_t)n) == 0);
}

static void check_case(const stream_case *test) {
    const int64_t n_bytes = (int64_t)strlen(test->text);
    char out[256];
    for (int64_t cut = 0; cut <= n_bytes; cut++) {
        glm_utf8_stream stream = {0};
        int64_t n = feed(&stream, test->text, cut, out);
        n += feed(&stream, test->text + cut, n_bytes - cut, out + n);
        check_end(test, &stream, out, n);
    }
    glm_utf8_stream stream = {0};
    int64_t n = 0;
    for (int64_t i = 0; i < n_bytes; i++) n += feed(&stream, test->text + i, 1, out + n);
    check_end(test, &stream, out, n);
}

/* What is whole is out at once. */
static void check_prompt(void) {
    glm_utf8_stream stream = {0};
    char out[64];
    CHECK(feed(&stream, "ab", 2, out) == 2);
    CHECK(feed(&stream, "\xe4\xb8", 2, out) == 0);
    CHECK(feed(&stream, "\xad", 1, out) == 3);
    CHECK(feed(&stream, "\xe4\xff", 2, out) == 6);
}

int main(void) {
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) check_case(&cases[i]);
    check_prompt();
    return 0;
}
