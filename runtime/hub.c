#include "hub.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/size.h"
#include "gguf.h"

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

/* dir/name; a "~" in front of dir is the home directory, as huggingface_hub reads its variables. */
static rt_status join_expanded(const char *dir, const char *name, char **path) {
    const bool is_in_home = dir[0] == '~' && (dir[1] == '/' || dir[1] == '\0');
    if (!is_in_home) return rt_path_join(dir, name, path);
    const char *home = variable("HOME");
    char *inside = NULL;
    RT_TRY(rt_path_join(home ? home : "", dir + 1 + (dir[1] == '/'), &inside));
    const rt_status status = rt_path_join(inside, name, path);
    free(inside);
    return status;
}

/* The first of these that is set, as huggingface_hub does; the second is an old name it still
 * reads. */
static rt_status cache_directory(char **path) {
    static const struct {
        const char *variable;
        const char *below;
    } places[] = {{"HF_HUB_CACHE", ""}, {"HUGGINGFACE_HUB_CACHE", ""}, {"HF_HOME", "hub"},
            {"XDG_CACHE_HOME", "huggingface/hub"}};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if (variable(places[i].variable))
            return join_expanded(variable(places[i].variable), places[i].below, path);
    return join_expanded("~/.cache", "huggingface/hub", path);
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

/* A revision is a commit hash; checked, since it becomes part of a path. */
static bool is_revision(const char *text) {
    return text[0] != '\0' && strspn(text, "0123456789abcdef") == strlen(text);
}

/* What refs/main names. */
static rt_status read_revision(const char *path, char **revision) {
    int64_t n_bytes = 0;
    RT_TRY(rt_file_read(path, RT_KIB, revision, &n_bytes));
    (*revision)[strcspn(*revision, " \r\n")] = '\0';
    return is_revision(*revision) ? RT_OK
                                  : rt_fail(RT_EIO, "hub: %s does not name a revision", path);
}

static int is_snapshot(const struct dirent *entry) {
    return is_revision(entry->d_name);
}

/* Without refs/main, as after a download of one revision by its hash: the only snapshot there is.
 * *revision stays NULL where there is none. */
static rt_status only_snapshot(const char *repository, char **revision) {
    char *snapshots = NULL;
    struct dirent **entries = NULL;
    RT_TRY(rt_path_join(repository, "snapshots", &snapshots));
    const int n = scandir(snapshots, &entries, is_snapshot, alphasort);
    rt_status status = RT_OK;
    if (n == 1) {
        *revision = strdup(entries[0]->d_name);
        if (!*revision) status = rt_fail(RT_ENOMEM, "hub: no memory for a revision");
    } else if (n > 1) {
        status = rt_fail(RT_EUSAGE, "hub: %s has no refs/main and %d snapshots; give -m one of %s",
                repository, n, snapshots);
    }
    for (int i = 0; i < n; i++) free(entries[i]);
    free(entries);
    free(snapshots);
    return status;
}

/* *dir stays NULL where the repository has no snapshot. */
static rt_status snapshot_directory(const char *repository, char **dir) {
    char *reference = NULL;
    char *revision = NULL;
    RT_TRY(rt_path_join(repository, "refs/main", &reference));
    rt_status status = rt_file_exists(reference) ? read_revision(reference, &revision)
                                                 : only_snapshot(repository, &revision);
    if (status == RT_OK && revision && asprintf(dir, "%s/snapshots/%s", repository, revision) < 0) {
        *dir = NULL;
        status = rt_fail(RT_ENOMEM, "hub: no memory for a path under %s", repository);
    }
    free(revision);
    free(reference);
    return status;
}

static rt_status not_found(const char *model, const char *place) {
    return rt_fail(RT_EUSAGE,
            "no directory %s, and the Hugging Face cache has no %s\n"
            "to download it: hf download %s\n"
            "(with huggingface_hub before 0.34: huggingface-cli download %s)",
            model, place, model, model);
}

static rt_status no_directory(const char *model) {
    if (!model[0]) return rt_fail(RT_EUSAGE, "-m: the name is empty");
    const bool is_there = access(model, F_OK) == 0;
    if (!is_there && errno != ENOENT && errno != ENOTDIR)
        return rt_fail_errno(RT_EUSAGE, "-m %s", model);
    if (is_there && glm_is_gguf(model))
        return rt_fail(RT_EUSAGE, "-m %s: %s", model, glm_gguf_instead);
    return rt_fail(RT_EUSAGE, "-m %s: %s%s", model,
            is_there ? "a checkpoint is a directory of config.json and .safetensors files, and "
                       "this is a file"
                     : "there is no such directory",
            strcmp(model, "needle") == 0
                    ? "; glm1m make-model needle needle writes the embedded model there"
                    : "");
}

rt_status glm_hub_resolve(const char *model, char **dir) {
    *dir = NULL;
    if (is_directory(model)) {
        *dir = strdup(model);
        return *dir ? RT_OK : rt_fail(RT_ENOMEM, "hub: no memory for the path %s", model);
    }
    if (access(model, F_OK) == 0 || !is_repository_name(model)) return no_directory(model);

    char *repository = NULL;
    RT_TRY(repository_directory(model, &repository));
    rt_status status = RT_OK;
    if (is_directory(repository)) status = snapshot_directory(repository, dir);
    if (status == RT_OK && (!*dir || !is_directory(*dir)))
        status = not_found(model, *dir ? *dir : repository);
    if (status != RT_OK) {
        free(*dir);
        *dir = NULL;
    }
    free(repository);
    return status;
}

/* In /tmp, where anybody may have taken the name: a directory, no link to one, that is this user's and that nobody else may
 * look into. Removing it is for its owner alone, by /tmp's sticky bit. */
static rt_status make_own_directory(const char *dir) {
    struct stat info;
    if (mkdir(dir, 0700) != 0 && errno != EEXIST)
        return rt_fail_errno(RT_EIO, "cannot make the cache %s", dir);
    if (lstat(dir, &info) != 0) return rt_fail_errno(RT_EIO, "the cache %s", dir);
    if (S_ISDIR(info.st_mode) && info.st_uid == geteuid() && (info.st_mode & 077) == 0)
        return RT_OK;
    return rt_fail(RT_EIO,
            "the cache %s is not a directory of this user's alone (mode 700): XDG_CACHE_HOME or HOME names "
            "another place",
            dir);
}

/* A directory that the environment names; NULL: none. */
static const char *absolute(const char *name) {
    const char *value = variable(name);
    return value && value[0] == '/' ? value : NULL;
}

rt_status glm_cache_path(char **dir) {
    const char *cache = absolute("XDG_CACHE_HOME");
    const char *home = absolute("HOME");
    if (cache) return rt_path_join(cache, "glm1m", dir);
    if (home) return rt_path_join(home, ".cache/glm1m", dir);
    *dir = NULL;
    if (asprintf(dir, "/tmp/glm1m-%ju", (uintmax_t)geteuid()) >= 0) return RT_OK;
    *dir = NULL;
    return rt_fail(RT_ENOMEM, "hub: no memory for the cache's path");
}

rt_status glm_cache_directory(char **dir) {
    RT_TRY(glm_cache_path(dir));
    if (absolute("XDG_CACHE_HOME") || absolute("HOME")) return RT_OK;
    const rt_status status = make_own_directory(*dir);
    if (status == RT_OK) return RT_OK;
    free(*dir);
    *dir = NULL;
    return status;
}
