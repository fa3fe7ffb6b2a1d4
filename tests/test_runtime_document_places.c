/* A document is its sources' text in a fixed order, and every byte of it is found again in a file.
 *
 * Method: lay out files, directories, links and things that are no text, load them in several ways
 * and compare with the text that must come out; look up every byte of a document and compare with
 * the file on disk; go past each limit, and feed pipes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "help_check.h"
#include "help_dir.h"
#include "runtime/base/file.h"
#include "runtime/base/size.h"
#include "runtime/document.h"

static int n_failed;
static const char *root;

static void expect(bool is_true, const char *what) {
    if (is_true) return;
    printf("FAIL %s (last error: %s)\n", what, rt_error_text());
    n_failed++;
}

/* The test runs in `root`: names are as a user would write them. */
static void write_bytes(const char *name, const char *bytes, int64_t n) {
    char *dir = strdup(name);
    char *slash = strrchr(dir, '/');
    if (slash) *slash = '\0';
    if (slash) help_require(rt_mkdirs(dir), dir);
    free(dir);
    help_require(rt_file_replace(name, bytes, n), name);
}

static void write_file(const char *name, const char *text) {
    write_bytes(name, text, (int64_t)strlen(text));
}

static glm_document load(const char *first, const char *second) {
    const char *sources[] = {first, second};
    glm_document document;
    help_require(glm_document_load(sources, second ? 2 : 1, NULL, &document), first);
    return document;
}

static void expect_text(const char *first, const char *second, const char *wanted) {
    glm_document document = load(first, second);
    if (strcmp(document.text, wanted) != 0 || document.n_bytes != (int64_t)strlen(wanted)) {
        printf("FAIL %s: got \"%s\", not \"%s\"\n", first, document.text, wanted);
        n_failed++;
    }
    glm_document_free(&document);
}

static void expect_refusal(const char *first, const char *second, const glm_document_limits *limits,
        rt_status wanted, const char *says) {
    const char *sources[] = {first, second};
    glm_document document;
    const rt_status status = glm_document_load(sources, second ? 2 : 1, limits, &document);
    expect(status == wanted, first);
    expect(strstr(rt_error_text(), says) != NULL, says);
    expect(!document.text && !document.files && !document.skipped, "nothing to free");
}

/* ---- text ------------------------------------------------------------------------------------ */

static void make_tree(void) {
    write_file("tree/b.md", "# B\nno end");
    write_file("tree/a/z.c", "int z;\n");
    write_file("tree/a/B.txt", "");
    write_file("tree/a.txt", "caf\303\251\r\n");
    write_file("tree/marked", "\357\273\277first\nsecond\n");
    write_file("tree/.hidden", "hidden");
    write_file("tree/.git/config", "hidden");
    write_bytes("tree/c.bin", "ELF\0", 4);
    write_file("tree/d.txt", "caf\351\n");
    write_file("outside/secret", "outside");
    expect(symlink("../outside/secret", "tree/e.txt") == 0, "a link to a file");
    expect(symlink("../outside", "tree/f") == 0, "a link to a directory");
    expect(symlink("..", "tree/a/up") == 0, "a link in a circle");
    expect(mkfifo("tree/g", 0600) == 0, "a fifo");
}

static const char tree_text[] = "==> a/B.txt <==\n"
                                "\n==> a/z.c <==\nint z;\n"
                                "\n==> a.txt <==\ncaf\303\251\r\n"
                                "\n==> b.md <==\n# B\nno end\n"
                                "\n==> marked <==\nfirst\nsecond\n";

static void check_order(void) {
    expect_text("tree", NULL, tree_text);
    expect_text("./tree/", NULL, tree_text);
    expect(symlink("tree", "link") == 0 && chdir("tree") == 0, "chdir");
    expect_text(".", NULL, tree_text);
    expect(chdir("..") == 0, "chdir");
    expect_text("link", NULL, tree_text);
    expect_text("tree/b.md", NULL, "# B\nno end");
    expect_text("tree/marked", NULL, "first\nsecond\n");
    expect_text("tree/e.txt", NULL, "outside");
    expect_text("tree/.hidden", NULL, "hidden");
    expect_text("./tree/b.md", "outside",
            "==> tree/b.md <==\n# B\nno end\n\n==> outside/secret <==\noutside");
    write_file("empty.txt", "");
    expect_text("empty.txt", NULL, "");
}

static void check_skipped(void) {
    static const char *const wanted[][2] = {{"a/up", "a symbolic link"}, {"c.bin", "binary"},
            {"d.txt", "not UTF-8"}, {"e.txt", "a symbolic link"}, {"f", "a symbolic link"},
            {"g", "not a regular file"}};
    const int64_t n_wanted = sizeof wanted / sizeof wanted[0];
    glm_document document = load("tree", NULL);
    expect(document.n_files == 5 && document.n_skipped == n_wanted, "how many are skipped");
    for (int64_t i = 0; i < n_wanted && i < document.n_skipped; i++)
        expect(strcmp(document.skipped[i].path, wanted[i][0]) == 0 &&
                        strcmp(document.skipped[i].why, wanted[i][1]) == 0,
                wanted[i][0]);
    glm_document_free(&document);
}

/* Documents that are joined are what their sources are together, places too. */
static void check_joined(void) {
    glm_document one = load("tree/marked", NULL);
    glm_document other = load("tree/b.md", NULL);
    glm_document want = load("tree/marked", "tree/b.md");
    glm_document got;
    const glm_document *const parts[] = {&one, &other};
    help_require(glm_document_join(parts, 2, NULL, &got), "join");
    expect(got.n_files == 2 && got.n_bytes == want.n_bytes && strcmp(got.text, want.text) == 0,
            "joined");
    for (int64_t at = 0; at <= want.n_bytes && got.n_bytes == want.n_bytes; at++) {
        const glm_document_place a = glm_document_find(&want, at);
        const glm_document_place b = glm_document_find(&got, at);
        expect(strcmp(a.file->path, b.file->path) == 0 && a.line == b.line && a.offset == b.offset,
                "a place");
    }
    glm_document_free(&got);
    const glm_document_limits limits = {.n_bytes = one.n_bytes + other.n_bytes - 1};
    expect(glm_document_join(parts, 2, &limits, &got) == RT_EUSAGE && !got.text,
            "too large together");
    glm_document_free(&one);
    glm_document_free(&other);
    glm_document_free(&want);
}

/* A name cannot forge a heading. */
static void check_names(void) {
    write_file("odd/x\n==> y <==\n\377\303\251", "one");
    write_file("odd/z", "two");
    expect_text("odd", NULL, "==> x?==> y <==??\303\251 <==\none\n\n==> z <==\ntwo");
}

/* Not text only behind what is looked at first, and text whose characters straddle that border. */
static void check_late(void) {
    enum { BYTES = 65536 + 100 };
    char *bytes = malloc(BYTES);
    memset(bytes, 'x', BYTES);
    memcpy(bytes + 65535, "\303\251", 2);
    write_bytes("late/a", bytes, BYTES);
    bytes[BYTES - 1] = '\0';
    write_bytes("late/b", bytes, BYTES);
    bytes[BYTES - 1] = '\303';
    write_bytes("late/c", bytes, BYTES);
    glm_document document = load("late", NULL);
    expect(document.n_files == 1 && document.n_bytes == BYTES, "one file is text");
    expect(document.n_skipped == 2, "two are not");
    expect(document.text[document.n_bytes] == '\0', "nor is anything of them left behind the text");
    glm_document_free(&document);
    free(bytes);
}

/* ---- places ---------------------------------------------------------------------------------- */

/* Against the file on disk: its byte, and the line as counted from its beginning. */
static void check_place(const glm_document *document, int64_t at, const glm_document_file *file) {
    char path[256];
    char *bytes = NULL;
    int64_t n_bytes = 0;
    const glm_document_place place = glm_document_find(document, at);
    (void)snprintf(path, sizeof path, "tree/%s", file->path);
    help_require(rt_file_read(path, RT_MIB, &bytes, &n_bytes), path);
    int64_t line = 1;
    for (int64_t i = 0; i < place.offset && i < n_bytes; i++) line += bytes[i] == '\n';
    expect(place.file == file, "the file of a place");
    expect(place.line == line, "the line of a place");
    const bool is_inside = at >= file->text_at && at < file->text_at + file->n_bytes;
    if (is_inside)
        expect(place.offset < n_bytes && bytes[place.offset] == document->text[at], "its byte");
    else if (at < file->text_at)
        expect(place.offset == file->mark_bytes, "a heading stands for where its file begins");
    else
        expect(place.offset == n_bytes, "what is behind a file stands for its end");
    free(bytes);
}

static void check_places(void) {
    glm_document document = load("tree", NULL);
    int64_t i = 0;
    for (int64_t at = 0; at <= document.n_bytes; at++) {
        if (i + 1 < document.n_files && at == document.files[i + 1].heading_at) i++;
        check_place(&document, at, &document.files[i]);
        if (at == document.files[i].heading_at)
            expect(strncmp(document.text + at, "==> ", 4) == 0, "a heading");
    }
    expect(i == document.n_files - 1, "every file was seen");
    glm_document_free(&document);
    document = load("tree/marked", NULL);
    const glm_document_place place = glm_document_find(&document, 6);
    expect(place.offset == 9 && place.line == 2, "a place behind a mark");
    glm_document_free(&document);
}

/* ---- limits and pipes ------------------------------------------------------------------------ */

static void check_refusals(void) {
    expect_refusal("nowhere", NULL, NULL, RT_EIO, "nowhere");
    expect_refusal("tree/c.bin", NULL, NULL, RT_EUSAGE, "binary from byte 3");
    expect_refusal("tree/d.txt", NULL, NULL, RT_EUSAGE, "not UTF-8 from byte 3");
    expect_refusal("tree/b.md", "tree/c.bin", NULL, RT_EUSAGE, "tree/c.bin");
    help_require(rt_mkdirs("void/.git"), "void");
    expect_refusal("void", NULL, NULL, RT_EUSAGE, "no files");
    write_bytes("pictures/a.png", "\211PNG\0", 5);
    expect_refusal("pictures", NULL, NULL, RT_EUSAGE, "a.png: binary");

    const glm_document_limits bytes = {.n_bytes = 10};
    expect_refusal("tree/marked", NULL, &bytes, RT_EUSAGE, "tree/marked is too large: of 10 bytes");
    expect_refusal("tree", NULL, &bytes, RT_EUSAGE, "a.txt is too large");
    const glm_document_limits files = {.n_files = 3};
    expect_refusal("tree", NULL, &files, RT_EUSAGE, "more than 3");
    const glm_document_limits enough = {.n_bytes = 40, .n_files = 11};
    const char *source = "tree";
    glm_document document;
    help_require(glm_document_load(&source, 1, &enough, &document), "exactly at the limits");
    glm_document_free(&document);
}

static void pipe_in(const char *text) {
    int ends[2];
    const size_t n = strlen(text);
    expect(pipe(ends) == 0 && write(ends[1], text, n) == (ssize_t)n, "a pipe");
    expect(close(ends[1]) == 0 && dup2(ends[0], STDIN_FILENO) == 0, "standard input");
    expect(close(ends[0]) == 0, "close");
}

static void check_pipes(void) {
    pipe_in("from a pipe");
    expect_text("-", NULL, "from a pipe");
    pipe_in("again");
    expect_text("/dev/stdin", "tree/a.txt",
            "==> /dev/stdin <==\nagain\n\n==> tree/a.txt <==\ncaf\303\251\r\n");
    pipe_in("a");
    expect_text(
            "tree/a.txt", "-", "==> tree/a.txt <==\ncaf\303\251\r\n\n==> standard input <==\na");
    pipe_in("twice");
    expect_refusal("-", "-", NULL, RT_EUSAGE, "only once");
    pipe_in("too much");
    const glm_document_limits limits = {.n_bytes = 7};
    expect_refusal("-", NULL, &limits, RT_EUSAGE, "standard input is too large: of 7 bytes");
    pipe_in("caf\303");
    expect_refusal("-", NULL, NULL, RT_EUSAGE, "standard input is no text");
    expect(close(STDIN_FILENO) == 0, "close");
    expect_refusal("-", NULL, NULL, RT_EIO, "standard input");
}

/* Where there is a line feed, a carriage return is what it is: a progress bar's, or half of a line's end. */
static void check_line_ends(void) {
    write_file("mac", "one\rtwo\r\rthree");
    write_file("bar", "10%\r20%\r\nend\r");
    expect_text("mac", NULL, "one\ntwo\n\nthree");
    expect_text("bar", NULL, "10%\r20%\r\nend\r");
    glm_document document = load("mac", NULL);
    const glm_document_place place = glm_document_find(&document, 9);
    expect(place.line == 4 && place.offset == 9, "a line of an old Mac's file");
    glm_document_free(&document);
}

int main(void) {
    root = help_dir();
    if (chdir(root) != 0) return 77;
    make_tree();
    check_order();
    check_line_ends();
    check_skipped();
    check_joined();
    check_names();
    check_late();
    check_places();
    check_refusals();
    check_pipes();
    return n_failed > 0;
}
