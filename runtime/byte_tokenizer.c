#include "byte_tokenizer.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

enum { N_BYTES = 256, N_SPECIALS = 10, GLM4_FIRST_SPECIAL = 151329 };

/* The id of <|endoftext|>, the first of the ten control tokens, in GLM's order: GLM-4's own where the vocabulary
 * reaches that far, else behind the bytes. -1 when it has no room for them. */
static int64_t first_special(int64_t vocab) {
    if (vocab >= GLM4_FIRST_SPECIAL + N_SPECIALS) return GLM4_FIRST_SPECIAL;
    return vocab >= N_BYTES + N_SPECIALS ? N_BYTES : -1;
}

rt_status glm_write_text(const char *dir, const char *name, const char *text) {
    char *path = NULL;
    RT_TRY(rt_path_join(dir, name, &path));
    const rt_status status = rt_file_replace(path, text, (int64_t)strlen(text));
    free(path);
    return status;
}

/* tiktoken's form: the base64 of each byte, a space, its rank. */
static rt_status write_vocabulary(const char *dir) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char text[N_BYTES * 9 + 1];
    size_t used = 0;
    for (int byte = 0; byte < N_BYTES; byte++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%c%c== %d\n", digits[byte >> 2],
                digits[(byte & 3) << 4], byte);
    return glm_write_text(dir, "tokenizer.model", text);
}

static rt_status write_specials(const char *dir, int64_t first) {
    static const char *const names[N_SPECIALS] = {"<|endoftext|>", "[MASK]", "[gMASK]", "[sMASK]",
            "<sop>", "<eop>", "<|system|>", "<|user|>", "<|assistant|>", "<|observation|>"};
    char text[4096];
    size_t used = (size_t)snprintf(text, sizeof text, "{\n  \"added_tokens_decoder\": {\n");
    for (int i = 0; i < N_SPECIALS; i++)
        used += (size_t)snprintf(text + used, sizeof text - used,
                "    \"%" PRId64 "\": {\"content\": \"%s\", \"lstrip\": false, \"normalized\": "
                "false, \"rstrip\": false, \"single_word\": false, \"special\": true}%s\n",
                first + i, names[i], i + 1 < N_SPECIALS ? "," : "");
    (void)snprintf(text + used, sizeof text - used,
            "  },\n  \"eos_token\": \"<|endoftext|>\",\n  \"pad_token\": \"<|endoftext|>\",\n"
            "  \"model_max_length\": 1048576\n}\n");
    return glm_write_text(dir, "tokenizer_config.json", text);
}

rt_status glm_byte_tokenizer_write(const char *dir, int64_t vocab) {
    const int64_t first = first_special(vocab);
    if (first < 0) return RT_OK;
    RT_TRY(write_vocabulary(dir));
    return write_specials(dir, first);
}
