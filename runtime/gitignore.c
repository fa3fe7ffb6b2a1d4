#include "gitignore.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/size.h"
#include "wildcard.h"

typedef struct pattern {
    const char *glob; /* in the list's text */
    bool is_negated;
    bool is_directory; /* only */
    bool is_anchored;  /* to the directory of its file, otherwise to none */
} pattern;

/* One file's, the deepest one last. */
typedef struct pattern_list {
    bool is_top; /* of a repository that is inside another: what is outside it has no say in it */
    bool is_second;    /* of its directory: the list outside it goes with it */
    size_t base_bytes; /* of the path in front of what its patterns are matched with, its / included */
    char *text;
    pattern *patterns;
    int64_t n_patterns;
    struct pattern_list *outer;
} pattern_list;

struct glm_gitignore {
    char *root; /* absolute, without links */
    pattern_list *lists;
};

/* ---- reading --------------------------------------------------------------------------------- */

/* Blanks at the end do not count, unless a \ stands in front of one that is not itself behind one. */
static void trim(char *line) {
    const size_t n = strlen(line);
    char *end = line;
    if (n > 0 && line[n - 1] == '\r') line[n - 1] = '\0';
    for (char *at = line; *at; at++) {
        const bool is_blank = *at == ' ';
        if (*at == '\\' && at[1]) at++;
        if (!is_blank) end = at + 1;
    }
    *end = '\0';
}

static void parse_line(pattern_list *list, char *line) {
    pattern p = {.is_negated = line[0] == '!'};
    trim(line);
    if (line[0] == '#') return;
    if (p.is_negated) line++;
    size_t n = strlen(line);
    p.is_directory = n > 0 && line[n - 1] == '/';
    if (p.is_directory) line[--n] = '\0';
    p.is_anchored = strchr(line, '/') != NULL;
    if (line[0] == '/') line++;
    if (line[0] == '\0') return;
    p.glob = line;
    list->patterns[list->n_patterns++] = p;
}

static int64_t count_lines(const char *text) {
    int64_t n = 1;
    for (; *text; text++) n += *text == '\n';
    return n;
}

static rt_status parse(pattern_list *list) {
    char *rest = list->text;
    RT_TRY(rt_calloc(count_lines(rest), sizeof *list->patterns, "a .gitignore", &list->patterns));
    if (strncmp(rest, "\xef\xbb\xbf", 3) == 0) rest += 3;
    for (char *line = strsep(&rest, "\n"); line; line = strsep(&rest, "\n")) parse_line(list, line);
    return RT_OK;
}

static void free_list(pattern_list *list) {
    free(list->text);
    free(list->patterns);
    free(list);
}

static bool is_regular(const char *path) {
    struct stat info;
    return lstat(path, &info) == 0 && S_ISREG(info.st_mode);
}

/* dir/name as the innermost list, empty where there is no such file; its patterns are relative to
 * dir. */
static rt_status push(glm_gitignore *ignore, const char *dir, const char *name) {
    pattern_list *list = NULL;
    char *path = NULL;
    int64_t n_bytes = 0;
    RT_TRY(rt_path_join(dir, name, &path));
    rt_status status = rt_calloc(1, sizeof *list, "a .gitignore", &list);
    if (status == RT_OK) {
        list->base_bytes = strcmp(dir, "/") == 0 ? 1 : strlen(dir) + 1;
        if (is_regular(path)) status = rt_file_read(path, RT_MIB, &list->text, &n_bytes);
        if (status == RT_OK && list->text) status = parse(list);
    }
    free(path);
    if (status != RT_OK) {
        if (list) free_list(list);
        return status;
    }
    list->outer = ignore->lists;
    ignore->lists = list;
    return RT_OK;
}

/* ---- the directories above ------------------------------------------------------------------- */

/* How much of the root's path is the repository's; 0: it is in none. */
static size_t repository_bytes(const char *root) {
    char path[PATH_MAX + 8];
    for (size_t n = strlen(root); n > 0;) {
        struct stat info;
        (void)snprintf(path, sizeof path, "%.*s/.git", (int)n, root);
        if (stat(path, &info) == 0) return n;
        while (n > 0 && root[n - 1] != '/') n--;
        n -= n > 0;
    }
    return 0;
}

static rt_status push_above(glm_gitignore *ignore) {
    char dir[PATH_MAX];
    const size_t n_root = strlen(ignore->root);
    size_t n = repository_bytes(ignore->root);
    if (n == 0) return RT_OK;
    (void)snprintf(dir, sizeof dir, "%.*s", (int)n, ignore->root);
    RT_TRY(push(ignore, dir, ".git/info/exclude"));
    while (n < n_root) {
        (void)snprintf(dir, sizeof dir, "%.*s", (int)n, ignore->root);
        RT_TRY(push(ignore, dir, ".gitignore"));
        n += 1 + strcspn(ignore->root + n + 1, "/");
    }
    return RT_OK;
}

rt_status glm_gitignore_open(const char *dir, glm_gitignore **out) {
    glm_gitignore *ignore = NULL;
    *out = NULL;
    RT_TRY(rt_calloc(1, sizeof *ignore, "the .gitignore files", &ignore));
    ignore->root = realpath(dir, NULL);
    rt_status status = ignore->root ? push_above(ignore)
                                    : rt_fail_errno(RT_EIO, "gitignore: cannot read %s", dir);
    if (status == RT_OK)
        *out = ignore;
    else
        glm_gitignore_close(ignore);
    return status;
}

void glm_gitignore_close(glm_gitignore *ignore) {
    if (!ignore) return;
    while (ignore->lists) glm_gitignore_leave(ignore);
    free(ignore->root);
    free(ignore);
}

/* ---- the walk -------------------------------------------------------------------------------- */

static bool is_repository(const char *dir) {
    char path[2 * PATH_MAX];
    struct stat info;
    const int n = snprintf(path, sizeof path, "%s/.git", dir);
    return n > 0 && n < (int)sizeof path && stat(path, &info) == 0;
}

/* A submodule, or any repository in another. */
static rt_status push_inner_repository(glm_gitignore *ignore, const char *dir) {
    RT_TRY(push(ignore, dir, ".git/info/exclude"));
    ignore->lists->is_top = true;
    const rt_status status = push(ignore, dir, ".gitignore");
    if (status != RT_OK) glm_gitignore_leave(ignore);
    if (status == RT_OK) ignore->lists->is_second = true;
    return status;
}

rt_status glm_gitignore_enter(glm_gitignore *ignore, const char *inside) {
    char *dir = NULL;
    if (*inside == '\0') return push(ignore, ignore->root, ".gitignore");
    RT_TRY(rt_path_join(ignore->root, inside, &dir));
    const rt_status status = is_repository(dir) ? push_inner_repository(ignore, dir)
                                                : push(ignore, dir, ".gitignore");
    free(dir);
    return status;
}

void glm_gitignore_leave(glm_gitignore *ignore) {
    bool has_another = true;
    while (has_another) {
        pattern_list *list = ignore->lists;
        has_another = list->is_second;
        ignore->lists = list->outer;
        free_list(list);
    }
}

/* ---- matching -------------------------------------------------------------------------------- */

static bool is_match(const pattern *p, const char *path, bool is_directory) {
    if (p->is_directory && !is_directory) return false;
    const char *slash = p->is_anchored ? NULL : strrchr(path, '/');
    return glm_wildcard_match(p->glob, slash ? slash + 1 : path, p->is_anchored);
}

bool glm_gitignore_has(const glm_gitignore *ignore, const char *inside, bool is_directory) {
    char path[2 * PATH_MAX];
    const bool is_top = strcmp(ignore->root, "/") == 0;
    const int n = snprintf(path, sizeof path, "%s/%s", is_top ? "" : ignore->root, inside);
    if (n < 0 || n >= (int)sizeof path) return false;
    for (const pattern_list *list = ignore->lists; list; list = list->is_top ? NULL : list->outer)
        for (int64_t i = list->n_patterns - 1; i >= 0; i--)
            if (is_match(&list->patterns[i], path + list->base_bytes, is_directory))
                return !list->patterns[i].is_negated;
    return false;
}
