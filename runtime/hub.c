#include "hub.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/size.h"

static bool is_directory(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

/* "org/name" of the characters the hub allows: nothing that could leave the cache. */
static bool is_repository_name(const char *model) {
    const char *slash = strchr(model, '/');
    if (!slash || slash == model || slash[1] == '\0' || strchr(slash + 1, '/')) return false;
    for (const char *place = model; *place; place++)
        if (!isalnum((unsigned char)*place) && !strchr("-_./", *place)) return false;
    return !strstr(model, "..") && model[0] != '.' && slash[1] != '.';
}

static const char *variable(const char *name) {
    const char *value = getenv(name); /* NOLINT(concurrency-mt-unsafe): nothing here sets one */
    return value && *value ? value : NULL;
}

/* HF_HUB_CACHE > $HF_HOME/hub > ~/.cache/huggingface/hub, as huggingface_hub does. */
static rt_status cache_directory(char **path) {
    if (variable("HF_HUB_CACHE")) return rt_path_join(variable("HF_HUB_CACHE"), "", path);
    if (variable("HF_HOME")) return rt_path_join(variable("HF_HOME"), "hub", path);
    const char *home = variable("HOME");
    return rt_path_join(home ? home : "", ".cache/huggingface/hub", path);
}

/* CACHE/models--org--name */
static rt_status repository_directory(const char *model, char **path) {
    char *name = NULL;
    const int org_bytes = (int)strcspn(model, "/");
    if (asprintf(&name, "models--%.*s--%s", org_bytes, model, model + org_bytes + 1) < 0)
        return rt_fail(RT_ENOMEM, "hub: no memory for the path of %s", model);
    char *cache = NULL;
    rt_status status = cache_directory(&cache);
    if (status == RT_OK) status = rt_path_join(cache, name, path);
    free(cache);
    free(name);
    return status;
}

/* The revision refs/main names, a commit hash; checked, since it becomes part of a path. */
static rt_status read_revision(const char *repository, char **revision) {
    char *path = NULL;
    RT_TRY(rt_path_join(repository, "refs/main", &path));
    int64_t n_bytes = 0;
    rt_status status = rt_file_read(path, RT_KIB, revision, &n_bytes);
    if (status == RT_OK) {
        (*revision)[strcspn(*revision, " \r\n")] = '\0';
        if ((*revision)[0] == '\0' || strspn(*revision, "0123456789abcdef") != strlen(*revision))
            status = rt_fail(RT_EIO, "hub: %s does not name a revision", path);
    }
    free(path);
    return status;
}

static rt_status snapshot_directory(const char *repository, char **dir) {
    char *revision = NULL;
    rt_status status = read_revision(repository, &revision);
    if (status == RT_OK && asprintf(dir, "%s/snapshots/%s", repository, revision) < 0) {
        *dir = NULL;
        status = rt_fail(RT_ENOMEM, "hub: no memory for a path under %s", repository);
    }
    free(revision);
    return status;
}

static rt_status not_found(const char *model, const char *repository) {
    return rt_fail(RT_EUSAGE,
            "no directory %s, and the Hugging Face cache has no %s\n"
            "to download it: huggingface-cli download %s",
            model, repository, model);
}

rt_status glm_hub_resolve(const char *model, char **dir) {
    *dir = NULL;
    if (is_directory(model)) {
        *dir = strdup(model);
        return *dir ? RT_OK : rt_fail(RT_ENOMEM, "hub: no memory for the path %s", model);
    }
    if (!is_repository_name(model))
        return rt_fail(RT_EUSAGE, "-m %s: there is no such directory", model);

    char *repository = NULL;
    RT_TRY(repository_directory(model, &repository));
    rt_status status = RT_OK;
    if (!is_directory(repository))
        status = not_found(model, repository);
    else
        status = snapshot_directory(repository, dir);
    if (*dir && !is_directory(*dir)) status = not_found(model, *dir);
    if (status != RT_OK) {
        free(*dir);
        *dir = NULL;
    }
    free(repository);
    return status;
}

rt_status glm_cache_directory(char **dir) {
    const char *cache = variable("XDG_CACHE_HOME");
    const char *home = variable("HOME");
    if (cache && cache[0] == '/') return rt_path_join(cache, "glm1m", dir);
    if (home && home[0] == '/') return rt_path_join(home, ".cache/glm1m", dir);
    return rt_path_join("/tmp", "glm1m", dir);
}
