/* A haystack is a function of its seed, or of the files it is read from, and of nothing else.
 *
 * Method: make prose twice from one seed and once from another and look at its letters; lay out a
 * directory whose names, creation order and links could mislead, and files of JSON lines, and
 * compare with the text that must come out; break each kind of source and read the message. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "help_check.h"
#include "help_dir.h"
#include "runtime/base/file.h"
#include "runtime/haystack.h"

static int n_failed;
static const char *root;

static void expect(bool is_true, const char *what) {
    if (is_true) return;
    printf("FAIL %s (last error: %s)\n", what, rt_error_text());
    n_failed++;
}

/* ---- prose ----------------------------------------------------------------------------------- */

static glm_haystack made(uint64_t seed, int64_t bytes_min) {
    glm_haystack haystack;
    help_require(glm_haystack_load(NULL, 0, seed, bytes_min, &haystack), "made-up prose");
    return haystack;
}

static void check_seeds(void) {
    glm_haystack a = made(7, 1000000);
    glm_haystack b = made(7, 1000000);
    glm_haystack other = made(8, 1000000);
    glm_haystack shorter = made(7, 5000);
    expect(a.is_built_in, "prose says that it is built in");
    expect(a.n_bytes == b.n_bytes && memcmp(a.text, b.text, (size_t)a.n_bytes) == 0,
            "one seed, one text");
    expect(strcmp(a.sha256, b.sha256) == 0 && strlen(a.sha256) == 64, "one seed, one checksum");
    expect(strncmp(a.text, other.text, 100) != 0, "another seed, another text");
    expect(strcmp(a.sha256, other.sha256) != 0, "another seed, another checksum");
    expect(strncmp(a.text, shorter.text, (size_t)shorter.n_bytes) == 0,
            "a longer text begins with the shorter one");
    glm_haystack_free(&a);
    glm_haystack_free(&b);
    glm_haystack_free(&other);
    glm_haystack_free(&shorter);
}

static bool begins_like_a_needle(const char *line) {
    static const char *const begins[] = {"T", "O", "W", "A ", "Some ", ">"};
    for (size_t i = 0; i < sizeof begins / sizeof *begins; i++)
        if (strncmp(line, begins[i], strlen(begins[i])) == 0) return true;
    return false;
}

static void check_lines(const glm_haystack *haystack) {
    int64_t n_bad = 0;
    int64_t n_stops = 0;
    int64_t longest = 0;
    int64_t sentence = 0;
    for (const char *c = haystack->text; *c; c++) {
        const bool is_letter = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z');
        n_bad += !is_letter && !strchr(" ,.'\n", *c);
        if (c == haystack->text || c[-1] == '\n') n_bad += begins_like_a_needle(c);
        sentence = *c == '.' ? 0 : sentence + 1;
        longest = sentence > longest ? sentence : longest;
        n_stops += *c == '.' && (c[1] == ' ' || c[1] == '\n');
    }
    expect(n_bad == 0, "letters and lines of prose");
    expect(longest < 448, "sentences are not too long");
    expect(n_stops > haystack->n_bytes / 120, "full stops are frequent");
}

static void check_prose(void) {
    static const char *const words[] = {"magic", "special", "sandwich", " best ", " is: "};
    for (uint64_t seed = 0; seed < 3; seed++) {
        glm_haystack haystack = made(seed, 6000000);
        expect(haystack.n_bytes >= 6000000 && haystack.n_bytes < 6010000, "as long as asked for");
        expect((int64_t)strlen(haystack.text) == haystack.n_bytes, "NUL where the text ends");
        check_lines(&haystack);
        for (size_t i = 0; i < sizeof words / sizeof *words; i++)
            expect(!strcasestr(haystack.text, words[i]), words[i]);
        glm_haystack_free(&haystack);
    }
}

/* 64 bytes from each of a hundred places must not stand anywhere behind them. */
static void check_repeats(void) {
    glm_haystack haystack = made(3, 1000000);
    int64_t n_repeated = 0;
    for (int64_t at = 1000; at + 200 < haystack.n_bytes; at += 9973) {
        const char *piece = haystack.text + at;
        const void *again = memmem(piece + 1, (size_t)(haystack.n_bytes - at - 1), piece, 64);
        n_repeated += again != NULL;
    }
    expect(n_repeated == 0, "no stretch of 64 bytes comes back");
    glm_haystack_free(&haystack);
}

/* ---- files ----------------------------------------------------------------------------------- */

static char *inside(const char *name) {
    char *path = NULL;
    help_require(rt_path_join(root, name, &path), name);
    return path;
}

static void write_file(const char *name, const char *text) {
    char *path = inside(name);
    char *slash = strrchr(path, '/');
    *slash = '\0';
    help_require(rt_mkdirs(path), path);
    *slash = '/';
    help_require(rt_file_replace(path, text, (int64_t)strlen(text)), path);
    free(path);
}

static void link_to(const char *target, const char *name) {
    char *path = inside(name);
    expect(symlink(target, path) == 0, name);
    free(path);
}

static void expect_text(const char *name, const char *second, const char *want) {
    char *paths[2] = {inside(name), second ? inside(second) : NULL};
    glm_haystack haystack;
    help_require(
            glm_haystack_load((const char *const *)paths, second ? 2 : 1, 1, 100000, &haystack),
            name);
    expect(!haystack.is_built_in, "files are not built in");
    if (strcmp(haystack.text, want) != 0) {
        printf("FAIL %s: got \"%s\", not \"%s\"\n", name, haystack.text, want);
        n_failed++;
    }
    glm_haystack_free(&haystack);
    free(paths[0]);
    free(paths[1]);
}

static void expect_refusal(const char *name, rt_status want, const char *named) {
    char *path = inside(name);
    glm_haystack haystack;
    const rt_status got = glm_haystack_load((const char *const *)&path, 1, 1, 1, &haystack);
    expect(got == want, name);
    expect(strstr(rt_error_text(), named) != NULL, named);
    expect(!haystack.text, "nothing to free after a failure");
    glm_haystack_free(&haystack);
    free(path);
}

static void check_directory(void) {
    write_file("books/b.txt", "Second.");
    write_file("books/a.md", "First.\n");
    write_file("books/c/z.txt", "Fourth.");
    write_file("books/c/y.txt", "Third.");
    write_file("books/d.txt", "");
    write_file("books/picture.png", "no text");
    write_file("books/c/zz.jsonl", "{\"text\": \"Fourth, too.\"}\n");
    write_file("books/.hidden.txt", "hidden");
    write_file("elsewhere/far", "Fifth.");
    link_to("..", "books/c/up");
    link_to("../elsewhere/far", "books/e.txt");
    expect_text("books", NULL, "First.\nSecond.\n\nThird.\n\nFourth.\n\nFourth, too.\n\nFifth.");
    expect_text("elsewhere/far", "books/c", "Fifth.\n\nThird.\n\nFourth.\n\nFourth, too.");
    link_to("nowhere", "books/c/x.txt");
    expect_refusal("books", RT_EIO, "c/x.txt");
}

static void check_jsonl(void) {
    write_file("lines.jsonl",
            "{\"text\": \"Caf\\u00e9.\"}\r\n\n{\"id\": 1, \"text\": \"Next.\\n\"}\n"
            "{\"text\": \"\"}\n{\"text\": \"Last.\"}");
    expect_text("lines.jsonl", NULL, "Caf\303\251.\n\nNext.\nLast.");
    write_file("context.jsonl",
            "{\"input\": \"Who?\", \"context\": \"A passage.\", \"answers\": [\"a\"]}\n"
            "{\"text\": \"b\", \"context\": \"c\"}\n{\"text\": null, \"context\": \"d\"}\n");
    expect_text("context.jsonl", NULL, "A passage.\n\nb\n\nd");
    write_file("neither.jsonl", "{\"input\": \"Who?\"}\n");
    expect_refusal("neither.jsonl", RT_EUSAGE, "\"text\" or \"context\"");
    write_file("number.jsonl", "{\"text\": \"a\"}\n\n{\"text\": 1}\n");
    expect_refusal("number.jsonl", RT_EUSAGE, "number.jsonl:3");
    write_file("list.jsonl", "[1]\n");
    expect_refusal("list.jsonl", RT_EUSAGE, "list.jsonl:1");
    write_file("cut.jsonl", "{\"text\": \"a\"}\n{\"text\": \"b");
    expect_refusal("cut.jsonl", RT_EUSAGE, "cut.jsonl:2");
}

static void check_missing(void) {
    expect_refusal("missing.txt", RT_EIO, "missing.txt");
    write_file("pictures/a.png", "no text");
    expect_refusal("pictures", RT_EIO, "pictures");
    write_file("empty.txt", "");
    expect_text("empty.txt", NULL, "");
}

int main(void) {
    root = help_dir();
    check_seeds();
    check_prose();
    check_repeats();
    check_directory();
    check_jsonl();
    check_missing();
    return n_failed > 0;
}
