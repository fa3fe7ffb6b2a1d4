#include "gguf.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { NAME_BYTES = 256 };

const char glm_gguf_instead[] =
        "a GGUF file is for llama.cpp; glm1m reads the checkpoint that it was made from, a "
        "directory of config.json, the tokenizer's files and .safetensors files, such as "
        "`hf download zai-org/glm-4-9b-chat-1m` brings, for -m zai-org/glm-4-9b-chat-1m";

static bool ends_with(const char *name, const char *ending) {
    const size_t n = strlen(name);
    const size_t n_ending = strlen(ending);
    return n > n_ending && strcasecmp(name + n - n_ending, ending) == 0;
}

bool glm_is_gguf(const char *name) {
    return ends_with(name, ".gguf");
}

/* The first one by name, so that each run says the same; false: none, or there are safetensors. */
static bool find_alone(DIR *entries, char found[NAME_BYTES]) {
    found[0] = '\0';
    for (const struct dirent *one; (one = readdir(entries));) {
        if (ends_with(one->d_name, ".safetensors")) return false;
        if (!glm_is_gguf(one->d_name) || (found[0] && strcmp(found, one->d_name) < 0)) continue;
        (void)snprintf(found, NAME_BYTES, "%.*s", NAME_BYTES - 1, one->d_name);
    }
    return found[0] != '\0';
}

rt_status glm_gguf_refuse_alone(const char *dir) {
    char name[NAME_BYTES];
    DIR *entries = opendir(dir);
    if (!entries) return RT_OK; /* whoever opens a file in it says why not */
    const bool is_alone = find_alone(entries, name);
    (void)closedir(entries);
    if (!is_alone) return RT_OK;
    return rt_fail(RT_EMODEL, "%s holds %s and no checkpoint: %s", dir, name, glm_gguf_instead);
}
