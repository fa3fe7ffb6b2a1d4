/* What is left out of a source tree is what `git check-ignore` names, whatever the .gitignore files say.
 *
 * Method: directories drawn by chance in one repository, each with files and .gitignore files whose lines are
 * its paths with wildcards put in, or wildcards, brackets, escapes and blanks alone; git is asked about every
 * file. More: `test_runtime_gitignore_random SEED N_CASES`. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "help_dir.h"
#include "help_expect.h"
#include "help_random.h"
#include "runtime/base/file.h"
#include "runtime/file_walk.h"

enum { AT_ONCE = 100, FILES = 14, LINES = 5, NAME = 64, FILES_MAX = AT_ONCE * FILES };

typedef struct asked {
    char path[4 * NAME];
    bool is_found;   /* by the walk */
    bool is_ignored; /* by git */
} asked;

static asked files[FILES_MAX];
static int n_files;
static uint64_t state;

static const char *one_of(const char *const *words, int64_t n) {
    return words[random_below(&state, n)];
}

static bool is_likely(int percent) {
    return random_below(&state, 100) < percent;
}

static void add(char *text, size_t room, const char *more) {
    const size_t n = strlen(text);
    (void)snprintf(text + n, room - n, "%s", more);
}

/* ---- the tree -------------------------------------------------------------------------------- */

static void add_name(char *path, size_t room) {
    static const char *const parts[] = {"a", "b", "c", "ab", "B", "0", "-", "]", "[", "!", "#", " ",
            "\\", "*", "?", "^", "\xc3\xa9", ":", "a.o"};
    for (int64_t n = 1 + random_below(&state, 3); n > 0; n--)
        add(path, room, one_of(parts, is_likely(60) ? 4 : (int64_t)(sizeof parts / sizeof *parts)));
}

static bool write_file(const char *path, const char *text) {
    char dir[4 * NAME];
    (void)snprintf(dir, sizeof dir, "%s", path);
    *strrchr(dir, '/') = '\0';
    FILE *out = rt_mkdirs(dir) == RT_OK ? fopen(path, "we") : NULL;
    const bool is_written = out && fwrite(text, strlen(text), 1, out) == 1;
    return (!out || fclose(out) == 0) && is_written;
}

/* Where a file stands no directory can, and the other way round: there are fewer then. */
static void make_files(int number) {
    for (int i = 0; i < FILES; i++) {
        char *path = files[n_files].path;
        (void)snprintf(path, sizeof files[0].path, "%d", number);
        for (int64_t depth = 1 + random_below(&state, 3); depth > 0; depth--) {
            add(path, sizeof files[0].path, "/");
            add_name(path, sizeof files[0].path);
        }
        bool is_new = !rt_file_exists(path);
        if (is_new && write_file(path, "x")) n_files++;
    }
}

/* ---- .gitignore files ------------------------------------------------------------------------ */

static void add_wild(char *line, size_t room, char c) {
    static const char *const forms[] = {"?", "*", "**", "[%c]", "[!%c]", "[^%c]", "\\%c", "[a-%c]",
            "[%c-z]", "[[:alpha:]%c]", "[]%c]", "*%c", "%c*", "%c**", "***"};
    char text[16];
    const char *form = one_of(forms, (int64_t)(sizeof forms / sizeof *forms));
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    (void)snprintf(text, sizeof text, form, c);
#pragma GCC diagnostic pop
    add(line, room, text);
}

/* A path of the tree, from its middle on, perhaps, with wildcards in it. */
static void add_path(char *line, size_t room, int first) {
    const char *path = files[first + random_below(&state, n_files - first)].path;
    path = strchr(path, '/') + 1;
    if (is_likely(40) && strchr(path, '/')) path = strchr(path, '/') + 1;
    for (; *path; path++) {
        if (*path == '/' && is_likely(50)) return;
        if (*path == '/' && is_likely(25))
            add(line, room, one_of((const char *const[]){"/**/", "/*/", "**/", "/**", "/***/"}, 5));
        else if (*path != '/' && is_likely(25))
            add_wild(line, room, *path);
        else
            add(line, room, (char[]){*path, '\0'});
    }
}

static void add_tokens(char *line, size_t room) {
    static const char *const tokens[] = {"a", "b", "c", "*", "?", "/", "**", "**/", "/**", "[ab]",
            "[!a]", "[a-c]", "[", "]", "\\", "[[:alnum:]]", "[[:nope:]]", "[[:", "[a-", "[\\]]",
            "-", "!", "#", " ", "\\ ", "[]-a]", "[^]]", "[a/b]", "[--0]", "\xc3\xa9"};
    for (int64_t n = 1 + random_below(&state, 5); n > 0; n--)
        add(line, room, one_of(tokens, (int64_t)(sizeof tokens / sizeof *tokens)));
}

static void add_line(char *text, size_t room, int first) {
    char line[8 * NAME] = "";
    if (is_likely(20)) add(line, sizeof line, "!");
    if (is_likely(20)) add(line, sizeof line, is_likely(70) ? "/" : "**/");
    if (is_likely(70))
        add_path(line, sizeof line, first);
    else
        add_tokens(line, sizeof line);
    if (is_likely(30))
        add(line, sizeof line,
                one_of((const char *const[]){"/", "/", "/*", "/**", " ", "  ", "\\ ", "\\  ", "\r",
                               "\t", "//"},
                        11));
    add(text, room, line);
    add(text, room, "\n");
}

static void make_ignores(int number, int first) {
    for (int64_t n = 1 + random_below(&state, 2); n > 0; n--) {
        char text[LINES * 8 * NAME] = "";
        char path[5 * NAME];
        (void)snprintf(path, sizeof path, "%d/", number);
        if (n > 1) (void)snprintf(path, sizeof path, "%s", files[first].path);
        (void)snprintf(strrchr(path, '/'), 16, "/.gitignore");
        for (int64_t lines = 1 + random_below(&state, LINES); lines > 0; lines--)
            add_line(text, sizeof text, first);
        if (is_likely(10)) text[strlen(text) - 1] = '\0';
        expect(write_file(path, text), path, "cannot be written");
    }
}

/* ---- both answers ---------------------------------------------------------------------------- */

static asked *find(const char *path) {
    for (int i = 0; i < n_files; i++)
        if (strcmp(files[i].path, path) == 0) return &files[i];
    return NULL;
}

static rt_status visit(void *context, const glm_walk_entry *entry) {
    (void)context;
    asked *one = entry->kind == GLM_WALK_FILE ? find(entry->inside) : NULL;
    if (one) one->is_found = true;
    return RT_OK;
}

static void ask_git(void) {
    char path[4 * NAME];
    FILE *out = fopen("../asked", "we");
    for (int i = 0; i < n_files; i++)
        (void)fwrite(files[i].path, strlen(files[i].path) + 1, 1, out);
    (void)fclose(out);
    FILE *in = popen("git check-ignore --no-index -z --stdin <../asked", "re");
    size_t n = 0;
    for (int c = fgetc(in); c != EOF; c = fgetc(in)) {
        path[n++] = (char)c;
        if (c != '\0') continue;
        asked *one = find(path);
        expect(one != NULL, "git answers", path);
        if (one) one->is_ignored = true;
        n = 0;
    }
    const int ended = pclose(in);
    expect(ended == 0 || ended == 1 << 8, "git check-ignore", "its exit code");
}

static void show(const char *path) {
    char command[160];
    const int number = atoi(path);
    (void)snprintf(command, sizeof command,
            "cd %d && find . -name .gitignore -exec cat -A {} + -print", number);
    if (system(command) != 0) printf("no .gitignore can be shown\n");
}

static int compare(void) {
    int n_ignored = 0;
    for (int i = 0; i < n_files; i++) {
        n_ignored += files[i].is_ignored;
        if (files[i].is_found != files[i].is_ignored) continue;
        printf("FAIL '%s' is %s, and git says otherwise\n", files[i].path,
                files[i].is_found ? "taken" : "ignored");
        show(files[i].path);
        n_failed++;
    }
    return n_ignored;
}

static void run_cases(uint64_t seed, int64_t n_cases, int64_t *n_ignored, int64_t *n_all) {
    state = seed;
    n_files = 0;
    memset(files, 0, sizeof files);
    expect(system("rm -rf tree && git init -q tree") == 0 && chdir("tree") == 0, "git", "init");
    for (int number = 0; number < n_cases; number++) {
        const int first = n_files;
        make_files(number);
        if (n_files > first) make_ignores(number, first);
    }
    require(glm_walk(".", GLM_WALK_OF_SOURCES, visit, NULL), "walk");
    ask_git();
    *n_ignored += compare();
    *n_all += n_files;
    expect(chdir("..") == 0, "chdir", "..");
}

int main(int argc, char **argv) {
    const uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
    const int64_t n_cases = argc > 2 ? strtoll(argv[2], NULL, 0) : 60;
    int64_t n_ignored = 0;
    int64_t n_all = 0;
    if (system("command -v git >/dev/null") != 0) return 77;
    const char *root = help_dir();
    if (chdir(root) != 0) return 77;
    (void)setenv("HOME", root, 1);
    (void)setenv("GIT_CONFIG_NOSYSTEM", "1", 1);
    (void)unsetenv("GIT_DIR");
    (void)unsetenv("XDG_CONFIG_HOME");
    for (int64_t i = 0; i < n_cases && n_failed == 0; i += AT_ONCE)
        run_cases(seed + (uint64_t)(i / AT_ONCE), n_cases - i < AT_ONCE ? n_cases - i : AT_ONCE,
                &n_ignored, &n_all);
    printf("%lld of %lld files are ignored\n", (long long)n_ignored, (long long)n_all);
    expect(n_ignored > n_all / 10 && n_ignored < n_all * 9 / 10, "the cases", "say little");
    return n_failed > 0;
}
