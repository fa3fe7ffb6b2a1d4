#include "file_walk.h"

#include <errno.h>
#include <fts.h>
#include <stdlib.h>
#include <string.h>

#include "gitignore.h"

typedef struct walk {
    FTS *tree;
    const char *dir;
    glm_gitignore *ignore; /* NULL: not honoured */
    glm_walk_visit *visit;
    void *context;
} walk;

static int by_name(const FTSENT **a, const FTSENT **b) {
    return strcmp((*a)->fts_name, (*b)->fts_name);
}

static bool is_unreadable(const FTSENT *found) {
    return found->fts_info == FTS_DNR || found->fts_info == FTS_ERR || found->fts_info == FTS_NS;
}

static glm_walk_kind kind_of(const FTSENT *found) {
    if (is_unreadable(found)) return GLM_WALK_UNREADABLE;
    if (found->fts_info == FTS_F) return GLM_WALK_FILE;
    const bool is_link = found->fts_info == FTS_SL || found->fts_info == FTS_SLNONE;
    return is_link ? GLM_WALK_LINK : GLM_WALK_OTHER;
}

static const char *path_inside(const walk *w, const FTSENT *found) {
    const char *inside = found->fts_path + strlen(w->dir);
    return inside + strspn(inside, "/");
}

static rt_status show(const walk *w, const FTSENT *found, glm_walk_kind kind) {
    const glm_walk_entry entry = {.path = found->fts_path,
            .inside = path_inside(w, found),
            .name = found->fts_name,
            .kind = kind};
    errno = kind == GLM_WALK_UNREADABLE ? found->fts_errno : 0;
    return w->visit(w->context, &entry);
}

static bool is_ignored(const walk *w, const FTSENT *found) {
    return w->ignore &&
           glm_gitignore_has(w->ignore, path_inside(w, found), found->fts_info == FTS_D);
}

/* fts_number says whether its .gitignore counts. */
static rt_status enter(const walk *w, FTSENT *found) {
    if (!w->ignore) return RT_OK;
    found->fts_number = 1;
    return glm_gitignore_enter(w->ignore, path_inside(w, found));
}

static void leave(const walk *w, FTSENT *found) {
    if (found->fts_number) glm_gitignore_leave(w->ignore);
    found->fts_number = 0;
}

/* A directory is met twice, before what it holds and behind it; also one that is skipped. */
static rt_status step(const walk *w, FTSENT *found) {
    const bool is_root = found->fts_level == FTS_ROOTLEVEL;
    if (found->fts_info == FTS_DP || found->fts_info == FTS_DNR) leave(w, found);
    if (found->fts_info == FTS_DP) return RT_OK;
    if (is_root && is_unreadable(found)) {
        errno = found->fts_errno;
        return rt_fail_errno(RT_EIO, "walk: cannot read %s", found->fts_path);
    }
    if (!is_root && found->fts_name[0] == '.') {
        (void)fts_set(w->tree, found, FTS_SKIP);
        return RT_OK;
    }
    if (!is_root && is_ignored(w, found)) {
        (void)fts_set(w->tree, found, FTS_SKIP);
        return show(w, found, GLM_WALK_IGNORED);
    }
    if (found->fts_info == FTS_D) return enter(w, found);
    return found->fts_info == FTS_DC ? RT_OK : show(w, found, kind_of(found));
}

static rt_status walk_tree(const walk *w) {
    FTSENT *found = NULL;
    for (errno = 0; (found = fts_read(w->tree)) != NULL; errno = 0) RT_TRY(step(w, found));
    return errno ? rt_fail_errno(RT_EIO, "walk: cannot read %s", w->dir) : RT_OK;
}

rt_status glm_walk(const char *dir, glm_walk_of of, glm_walk_visit *visit, void *context) {
    walk w = {.dir = dir, .visit = visit, .context = context};
    char *roots[] = {strdup(dir), NULL};
    if (!roots[0]) return rt_fail(RT_ENOMEM, "walk: no memory for the path %s", dir);
    rt_status status = of == GLM_WALK_OF_SOURCES ? glm_gitignore_open(dir, &w.ignore) : RT_OK;
    if (status == RT_OK) {
        w.tree = fts_open(roots, FTS_PHYSICAL | FTS_COMFOLLOW | FTS_NOCHDIR, by_name);
        status = w.tree ? walk_tree(&w) : rt_fail_errno(RT_EIO, "walk: cannot open %s", dir);
    }
    if (w.tree) (void)fts_close(w.tree);
    glm_gitignore_close(w.ignore);
    free(roots[0]);
    return status;
}
