/* A source tree's files are those that git would take: nested .gitignore files, negation, directories
 * only, anchors, **, escapes; and hostile trees end.
 *
 * Method: trees with the files that are expected written beside them; where git is installed, it is
 * asked as well. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "help_dir.h"
#include "help_expect.h"
#include "runtime/base/file.h"
#include "runtime/base/log.h"
#include "runtime/base/size.h"
#include "runtime/file_walk.h"

static bool has_git;

static void shell(const char *command) {
    if (system(command) != 0) expect(false, "a command", command);
}

static void write_file(const char *name, const char *text) {
    char *dir = strdup(name);
    char *slash = strrchr(dir, '/');
    if (slash) *slash = '\0';
    if (slash) require(rt_mkdirs(dir), dir);
    free(dir);
    require(rt_file_replace(name, text, (int64_t)strlen(text)), name);
}

/* ---- lists of names, one a line, sorted ------------------------------------------------------ */

typedef struct names {
    char text[8192];
    size_t n;
} names;

static rt_status visit(void *context, const glm_walk_entry *entry) {
    names *found = context;
    if (entry->kind != GLM_WALK_FILE) return RT_OK;
    found->n += (size_t)snprintf(
            found->text + found->n, sizeof found->text - found->n, "%s\n", entry->inside);
    return RT_OK;
}

static void read_names(FILE *in, names *out) {
    out->n = fread(out->text, 1, sizeof out->text - 1, in);
    out->text[out->n] = '\0';
}

static void sort_names(names *list) {
    FILE *out = fopen("../names", "we");
    (void)fwrite(list->text, 1, list->n, out);
    (void)fclose(out);
    FILE *in = popen("LC_ALL=C sort ../names", "re");
    read_names(in, list);
    (void)pclose(in);
}

static void ask_git(names *out) {
    FILE *in = popen(
            "git ls-files -o --exclude-standard -z | tr '\\0' '\\n' | grep -v '^\\.\\|/\\.' | "
            "LC_ALL=C sort",
            "re");
    read_names(in, out);
    (void)pclose(in);
}

typedef struct tree {
    const char *name;
    const char *const *ignores; /* .gitignore files and their texts, in turn */
    const char *const *files;
    const char *wanted; /* sorted */
} tree;

/* The test runs in the tree. */
static void check(const tree *t) {
    names found = {.n = 0};
    names git = {.n = 0};
    require(rt_mkdirs("tree"), "tree");
    expect(chdir("tree") == 0, "chdir", t->name);
    if (has_git) shell("git init -q .");
    if (!has_git) require(rt_mkdirs(".git"), ".git");
    for (const char *const *at = t->ignores; *at; at += 2) write_file(at[0], at[1]);
    for (const char *const *at = t->files; *at; at++) write_file(*at, "x\n");
    require(glm_walk(".", GLM_WALK_OF_SOURCES, visit, &found), t->name);
    sort_names(&found);
    if (strcmp(found.text, t->wanted) != 0) {
        printf("FAIL %s: found\n%snot\n%s", t->name, found.text, t->wanted);
        n_failed++;
    }
    if (has_git) ask_git(&git);
    if (has_git && strcmp(git.text, t->wanted) != 0) {
        printf("FAIL %s: git finds\n%snot\n%s", t->name, git.text, t->wanted);
        n_failed++;
    }
    expect(chdir("..") == 0, "chdir", t->name);
    shell("rm -rf tree");
}

#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})

static void check_trees(void) {
    const tree trees[] = {
            {"names", LIST(".gitignore", "# a comment\n\n*.o\nbuild/\n/top\nnotes.txt\n[ab]?\n"),
                    LIST("a.o", "src/b.o", "b.oo", "build/x", "src/build/y", "src/top", "top",
                            "build.c", "src/notes.txt", "a1", "src/b2", "c3", "a12"),
                    "a12\nb.oo\nbuild.c\nc3\nsrc/top\n"},
            {"a file called as a directory", LIST(".gitignore", "build/\n"),
                    LIST("build", "src/build/x"), "build\n"},
            {"negation",
                    LIST(".gitignore", "*.log\n!keep.log\nout/\n!out/keep.log\ndir/*\n!dir/keep\n"),
                    LIST("a.log", "keep.log", "sub/keep.log", "out/keep.log", "dir/keep",
                            "dir/not"),
                    "dir/keep\nkeep.log\nsub/keep.log\n"},
            {"nested",
                    LIST(".gitignore", "*.txt\n", "sub/.gitignore", "!*.txt\n/own\n",
                            "sub/deep/.gitignore", "b.txt\n"),
                    LIST("a.txt", "own", "sub/a.txt", "sub/own", "sub/x/own", "sub/deep/a.txt",
                            "sub/deep/b.txt", "sub/after.txt", "z.txt"),
                    "own\nsub/a.txt\nsub/after.txt\nsub/deep/a.txt\nsub/x/own\n"},
            {"any depth", LIST(".gitignore", "**/foo\na/**/z\nb/**\nc/d\n**/e/f\n"),
                    LIST("foo", "x/y/foo", "a/z", "a/1/z", "a/1/2/z", "a/1/2/y", "b/1", "b/2/3",
                            "c/d", "x/c/d", "e/f", "x/e/f", "x/f"),
                    "a/1/2/y\nx/c/d\nx/f\n"},
            {"escapes and blanks",
                    LIST(".gitignore", "\\#a\n\\!b\nblank  \nkept\\ \ncr\r\nx\\*y\n"),
                    LIST("#a", "!b", "blank", "kept", "kept ", "cr", "x*y", "xzy"), "kept\nxzy\n"},
            {"not of the walk itself", LIST(".gitignore", "/tree\ntree/\n"), LIST("a", "tree/b"),
                    "a\n"},
    };
    for (size_t i = 0; i < sizeof trees / sizeof *trees; i++) check(&trees[i]);
}

/* Below the repository's root, what stands above counts; beside a repository it does not. */
static void check_above(void) {
    names found = {.n = 0};
    write_file(".gitignore", "*\n"); /* outside */
    write_file("repo/.git/info/exclude", "excluded\n");
    write_file("repo/.gitignore", "*.o\n/src/gen\nsrc/\n");
    write_file("repo/src/a.o", "");
    write_file("repo/src/a.c", "");
    write_file("repo/src/gen/b.c", "");
    write_file("repo/src/excluded", "");
    require(glm_walk("repo/src", GLM_WALK_OF_SOURCES, visit, &found), "repo/src");
    expect(strcmp(found.text, "a.c\n") == 0, "below a root", found.text);
    found.n = 0;
    require(glm_walk("repo/src", GLM_WALK_OF_FILES, visit, &found), "repo/src");
    expect(strcmp(found.text, "a.c\na.o\nexcluded\ngen/b.c\n") == 0, "all files", found.text);
    shell("rm -rf repo .gitignore");
}

/* As git finds it when it is asked in each: a submodule's .git is a file. */
static void check_inner_repositories(void) {
    names found = {.n = 0};
    require(rt_mkdirs("outer/.git"), "outer");
    write_file("outer/.gitignore", "*.c\nignored/\n");
    write_file("outer/a.c", "");
    write_file("outer/ignored/.git/config", "");
    write_file("outer/ignored/b.c", "");
    write_file("outer/inner/.git/info/exclude", "excluded\n*.h\n");
    write_file("outer/inner/.gitignore", "*.o\n!kept.h\n");
    write_file("outer/inner/c.c", "");
    write_file("outer/inner/c.o", "");
    write_file("outer/inner/excluded", "");
    write_file("outer/inner/deep/c.c", "");
    write_file("outer/inner/deep/c.h", "");
    write_file("outer/inner/deep/kept.h", "");
    write_file("outer/module/.git", "gitdir: ../.git/modules/module\n");
    write_file("outer/module/d.c", "");
    write_file("outer/z.c", "");
    write_file("outer/z.o", "");
    require(glm_walk("outer", GLM_WALK_OF_SOURCES, visit, &found), "outer");
    expect(strcmp(found.text, "inner/c.c\ninner/deep/c.c\ninner/deep/kept.h\nmodule/d.c\nz.o\n") ==
                    0,
            "repositories in another", found.text);
    shell("rm -rf outer");
}

/* Names and patterns that cost, a .gitignore that is none, links in a circle. */
static void check_hostile(void) {
    names found = {.n = 0};
    char text[4096];
    int n = 0;
    for (int i = 0; i < 60; i++) n += snprintf(text + n, sizeof text - (size_t)n, "**/a/");
    (void)snprintf(text + n, sizeof text - (size_t)n, "b\n%s\n", "*a*a*a*a*a*a*a*a*a*a*a*a*a*b");
    write_file("evil/.gitignore", text);
    char path[512] = "evil";
    for (int i = 0; i < 60; i++) (void)snprintf(path + strlen(path), 8, "/a");
    (void)snprintf(path + strlen(path), 8, "/c");
    write_file(path, "x");
    write_file("evil/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "x");
    expect(symlink("..", "evil/up") == 0 && symlink("evil", "evil/evil") == 0, "links", "");
    expect(mkfifo("evil/a/.gitignore", 0600) == 0, "a fifo", "");
    const double started_s = rt_now();
    require(glm_walk("evil", GLM_WALK_OF_SOURCES, visit, &found), "evil");
    expect(rt_now() - started_s < 10.0, "it ends", "evil");
    expect(strstr(found.text, "/c\n") != NULL, "what is not named is found", found.text);

    char *huge = calloc(1, RT_MIB + 2);
    memset(huge, 'x', RT_MIB + 1);
    write_file("evil/.gitignore", huge);
    free(huge);
    expect(glm_walk("evil", GLM_WALK_OF_SOURCES, visit, &found) == RT_EUSAGE, "too large a file",
            "its status");
    expect(strstr(rt_error_text(), ".gitignore") != NULL, "too large a file", "its name");
    shell("rm -rf evil");
}

int main(void) {
    const char *root = help_dir();
    if (chdir(root) != 0) return 77;
    has_git = system("command -v git >/dev/null") == 0;
    /* Only what a tree itself says. */
    (void)setenv("HOME", root, 1);
    (void)setenv("GIT_CONFIG_NOSYSTEM", "1", 1);
    (void)unsetenv("GIT_DIR");
    (void)unsetenv("XDG_CONFIG_HOME");
    if (!has_git) printf("git is not installed: not compared with it\n");
    check_trees();
    check_above();
    check_inner_repositories();
    check_hostile();
    return n_failed > 0;
}
