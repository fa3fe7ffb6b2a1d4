#include "file_walk.h"

#include <errno.h>
#include <fts.h>
#include <stdlib.h>
#include <string.h>

static int by_name(const FTSENT **a, const FTSENT **b) {
    return strcmp((*a)->fts_name, (*b)->fts_name);
}

static glm_walk_kind kind_of(const FTSENT *found) {
    if (found->fts_info == FTS_F) return GLM_WALK_FILE;
    const bool is_link = found->fts_info == FTS_SL || found->fts_info == FTS_SLNONE;
    return is_link ? GLM_WALK_LINK : GLM_WALK_OTHER;
}

static rt_status step(
        FTS *tree, FTSENT *found, const char *dir, glm_walk_visit *visit, void *context) {
    switch (found->fts_info) {
    case FTS_DNR:
    case FTS_ERR:
    case FTS_NS:
        errno = found->fts_errno;
        return rt_fail_errno(RT_EIO, "walk: cannot read %s", found->fts_path);
    case FTS_DP:
        return RT_OK;
    default:
        break;
    }
    if (found->fts_level > FTS_ROOTLEVEL && found->fts_name[0] == '.') {
        (void)fts_set(tree, found, FTS_SKIP);
        return RT_OK;
    }
    if (found->fts_info == FTS_D || found->fts_info == FTS_DC) return RT_OK;
    const char *inside = found->fts_path + strlen(dir);
    inside += strspn(inside, "/");
    const glm_walk_entry entry = {.path = found->fts_path,
            .inside = inside,
            .name = found->fts_name,
            .kind = kind_of(found)};
    return visit(context, &entry);
}

static rt_status walk(FTS *tree, const char *dir, glm_walk_visit *visit, void *context) {
    FTSENT *found = NULL;
    for (errno = 0; (found = fts_read(tree)) != NULL; errno = 0)
        RT_TRY(step(tree, found, dir, visit, context));
    return errno ? rt_fail_errno(RT_EIO, "walk: cannot read %s", dir) : RT_OK;
}

rt_status glm_walk(const char *dir, glm_walk_visit *visit, void *context) {
    char *roots[] = {strdup(dir), NULL};
    if (!roots[0]) return rt_fail(RT_ENOMEM, "walk: no memory for the path %s", dir);
    FTS *tree = fts_open(roots, FTS_PHYSICAL | FTS_COMFOLLOW | FTS_NOCHDIR, by_name);
    rt_status status = tree ? walk(tree, dir, visit, context)
                            : rt_fail_errno(RT_EIO, "walk: cannot open %s", dir);
    if (tree) (void)fts_close(tree);
    free(roots[0]);
    return status;
}
