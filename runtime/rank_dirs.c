#include "rank_dirs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memstream.h"
#include "parallel/parallel.h"

static const char sign[] = "%r";

bool glm_has_rank_sign(const char *dir) {
    return strstr(dir, sign) != NULL;
}

rt_status glm_rank_dir(const char *dir, int32_t rank, char **out) {
    size_t n_bytes = 0;
    FILE *to = rt_memstream_open(out, &n_bytes);
    if (!to) return rt_fail_errno(RT_ENOMEM, "ranks: no memory for the name of a directory");
    for (const char *at = dir; *at;) {
        const bool is_sign = strncmp(at, sign, sizeof sign - 1) == 0;
        (void)(is_sign ? fprintf(to, "%d", rank) : fputc(*at, to));
        at += is_sign ? (int)sizeof sign - 1 : 1;
    }
    return rt_memstream_close(to, out)
                   ? RT_OK
                   : rt_fail(RT_ENOMEM, "ranks: no memory for the name of a directory");
}

static rt_status add(char ***names, int32_t *n_names, char *name) {
    char **more = realloc(*names, (size_t)(*n_names + 1) * sizeof *more);
    if (!more) {
        free(name);
        return rt_fail(RT_ENOMEM, "ranks: no memory for the names of directories");
    }
    *names = more;
    more[(*n_names)++] = name;
    return RT_OK;
}

static rt_status look_for(
        const char *dir, int32_t but, int32_t n_ranks, char ***names, int32_t *n_names) {
    for (int32_t rank = 0; rank < PAR_RANKS_MAX; rank++) {
        char *name = NULL;
        if (rank == but) continue;
        RT_TRY(glm_rank_dir(dir, rank, &name));
        if (rank < n_ranks || access(name, R_OK | X_OK) == 0)
            RT_TRY(add(names, n_names, name));
        else
            free(name);
    }
    return RT_OK;
}

rt_status glm_rank_dirs_found(const char *const *dirs, int n_dirs, int32_t but, int32_t n_ranks,
        char ***names, int32_t *n_names) {
    *names = NULL;
    *n_names = 0;
    rt_status status = RT_OK;
    for (int i = 0; i < n_dirs && status == RT_OK; i++)
        if (glm_has_rank_sign(dirs[i])) status = look_for(dirs[i], but, n_ranks, names, n_names);
    if (status == RT_OK) return RT_OK;
    glm_rank_dirs_free(*names, *n_names);
    *names = NULL;
    *n_names = 0;
    return status;
}

void glm_rank_dirs_free(char **names, int32_t n_names) {
    for (int32_t i = 0; i < n_names; i++) free(names[i]);
    free(names);
}
