/* Haystacks: the same seed makes the same text, files are joined in sorted order, and what cannot be
 * read is named.
 *
 * Method: built-in prose of two seeds; a directory with texts, a JSONL file and things that are no
 * text; a missing path and a bad line. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "runtime/haystack.h"

static int n_failed;

static void expect(bool is_true, const char *what) {
    if (is_true) return;
    printf("FAIL %s (last error: %s)\n", what, rt_error_text());
    n_failed++;
}

static void write_file(const char *dir, const char *name, const char *text) {
    char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "w");
    if (!file) exit(1);
    (void)fputs(text, file);
    (void)fclose(file);
}

static void check_prose(void) {
    glm_haystack a;
    glm_haystack b;
    glm_haystack c;
    expect(glm_haystack_load(NULL, 0, 1, 300000, &a) == RT_OK, "prose");
    expect(glm_haystack_load(NULL, 0, 1, 300000, &b) == RT_OK, "prose again");
    expect(glm_haystack_load(NULL, 0, 2, 300000, &c) == RT_OK, "prose of another seed");
    expect(a.is_built_in && a.n_bytes >= 300000, "long enough");
    expect(a.n_bytes == b.n_bytes && memcmp(a.text, b.text, (size_t)a.n_bytes) == 0, "same seed");
    expect(strcmp(a.sha256, b.sha256) == 0 && strlen(a.sha256) == 64, "same hash");
    expect(strcmp(a.sha256, c.sha256) != 0, "another seed, another text");
    expect(strcspn(a.text, "0123456789>") == (size_t)a.n_bytes, "no digits, no '>'");
    expect(!strstr(a.text, "magic") && !strstr(a.text, "special"), "no words of needles");
    expect(strstr(a.text, ". ") != NULL, "full stops");
    glm_haystack_free(&a);
    glm_haystack_free(&b);
    glm_haystack_free(&c);
}

static void check_files(const char *dir) {
    char sub[64];
    (void)snprintf(sub, sizeof sub, "%s/b", dir);
    if (mkdir(sub, 0755) != 0) exit(1);
    write_file(dir, "c.txt", "third");
    write_file(dir, "a.md", "first\n");
    write_file(dir, "picture.png", "not a text");
    write_file(sub, "x.jsonl", "{\"text\": \"second\"}\n\n{\"text\": \"and more\", \"id\": 1}\n");
    glm_haystack all;
    const char *paths[] = {dir};
    expect(glm_haystack_load(paths, 1, 0, 0, &all) == RT_OK, "a directory");
    expect(strcmp(all.text, "first\nsecond\n\nand more\n\nthird\n\n") == 0, "sorted, joined");
    glm_haystack_free(&all);

    write_file(sub, "y.jsonl", "{\"text\": \"fine\"}\n{\"words\": 1}\n");
    expect(glm_haystack_load(paths, 1, 0, 0, &all) == RT_EUSAGE, "a bad line");
    expect(strstr(rt_error_text(), "y.jsonl line 2") != NULL, "file and line are named");
    const char *missing[] = {"/tmp/glm1m-no-such-file.txt"};
    expect(glm_haystack_load(missing, 1, 0, 0, &all) == RT_EIO, "a missing file");
    expect(strstr(rt_error_text(), missing[0]) != NULL, "the missing file is named");
}

int main(void) {
    char dir[] = "/tmp/glm1m-test-XXXXXX";
    char command[64];
    if (!mkdtemp(dir)) return 1;
    check_prose();
    check_files(dir);
    (void)snprintf(command, sizeof command, "rm -r %s", dir);
    return system(command) != 0 || n_failed ? 1 : 0;
}
