/* Stop strings in a stream: nothing at or behind one comes out, and nothing else is lost or late.
 *
 * Method: feed texts cut in every possible way into two pieces, and one byte at a time, and compare
 * with the definition: the text up to the stop string that ends first. */
#include <stdio.h>
#include <string.h>

#include "runtime/stop.h"

enum { TEXT_BYTES = 256 };

static int n_failed;

static void feed(glm_stop *stop, const char *bytes, size_t n_bytes, bool is_last, char *shown) {
    const char *out = NULL;
    int64_t n_out = 0;
    rt_assert(glm_stop_feed(stop, bytes, (int64_t)n_bytes, is_last, &out, &n_out) == RT_OK);
    strncat(shown, out, (size_t)n_out);
}

static void expect(const char *what, const char *got, const char *wanted) {
    if (strcmp(got, wanted) == 0) return;
    (void)printf("%s: got \"%s\", wanted \"%s\"\n", what, got, wanted);
    n_failed++;
}

/* One text in two pieces, cut at `cut`. */
static void check_cut(
        const char *text, const char *const *stops, int n_stops, size_t cut, const char *wanted) {
    glm_stop stop = {.texts = stops, .n_texts = n_stops};
    char shown[TEXT_BYTES] = "";
    feed(&stop, text, cut, false, shown);
    feed(&stop, text + cut, strlen(text) - cut, false, shown);
    feed(&stop, "", 0, true, shown);
    expect(text, shown, wanted);
    glm_stop_free(&stop);
}

static void check_bytes(
        const char *text, const char *const *stops, int n_stops, const char *wanted) {
    glm_stop stop = {.texts = stops, .n_texts = n_stops};
    char shown[TEXT_BYTES] = "";
    for (size_t i = 0; i < strlen(text); i++) feed(&stop, text + i, 1, false, shown);
    feed(&stop, "", 0, true, shown);
    expect(text, shown, wanted);
    glm_stop_free(&stop);
}

static void check(const char *text, const char *const *stops, int n_stops, const char *wanted) {
    for (size_t cut = 0; cut <= strlen(text); cut++) check_cut(text, stops, n_stops, cut, wanted);
    check_bytes(text, stops, n_stops, wanted);
}

/* Held back only as long as needed: what can no longer become a stop string is shown at once. */
static void check_promptness(void) {
    const char *const stops[] = {"aab"};
    glm_stop stop = {.texts = stops, .n_texts = 1};
    char shown[TEXT_BYTES] = "";
    feed(&stop, "xa", 2, false, shown);
    expect("after xa", shown, "x");
    feed(&stop, "a", 1, false, shown);
    expect("after xaa", shown, "x");
    feed(&stop, "a", 1, false, shown);
    expect("after xaaa", shown, "xa");
    feed(&stop, "c", 1, false, shown);
    expect("after xaaac", shown, "xaaac");
    glm_stop_free(&stop);
}

int main(void) {
    const char *const end[] = {"END"};
    check("", end, 1, "");
    check("no such thing", end, 1, "no such thing");
    check("text END more END", end, 1, "text ");
    check("END", end, 1, "");
    check("almost EN", end, 1, "almost EN");
    check("EENEEND", end, 1, "EENE");
    check("anything", NULL, 0, "anything");

    const char *const lines[] = {"\n\n", "\nUser:"};
    check("one\ntwo\nUser: x", lines, 2, "one\ntwo");
    check("one\n\nUser: x", lines, 2, "one");
    check("one\nUse", lines, 2, "one\nUse");

    /* One stop string's beginning holds the whole of another. */
    const char *const nested[] = {"abcd", "c"};
    check("xxab", nested, 2, "xxab");
    check("xxabc", nested, 2, "xxab");
    check("xxabcd", nested, 2, "xxab");
    const char *const same_end[] = {"c", "bc"};
    check("xxabcd", same_end, 2, "xxa");
    check_promptness();
    return n_failed == 0 ? 0 : 1;
}
