#include "help_identity.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "runtime/base/file.h"
#include "runtime/checkpoint_files.h"
#include "runtime/hash_cache.h"
#include "runtime/random_model.h"

static int n_failed;
static char root[] = "/tmp/glm1m-identity-XXXXXX";

static const char config_format[] =
        "{\"model_type\": \"glm\", \"attention_bias\": true, \"hidden_act\": \"silu\",\n"
        " \"hidden_size\": 256, \"intermediate_size\": 512, \"num_hidden_layers\": 2,\n"
        " \"num_attention_heads\": 8, \"num_key_value_heads\": 2, \"head_dim\": 64,\n"
        " \"partial_rotary_factor\": 0.5, \"rope_theta\": 10000.0,\n"
        " \"max_position_embeddings\": 4096, \"rms_norm_eps\": 1.5625e-07,\n"
        " \"tie_word_embeddings\": false, \"vocab_size\": %" PRId64 ",\n"
        " \"torch_dtype\": \"bfloat16\", \"pad_token_id\": 256, \"eos_token_id\": [256]}\n";

void identity_expect(bool is_true, const char *what) {
    if (is_true) return;
    printf("FAIL %s (last error: %s)\n", what, rt_error_text());
    n_failed++;
}

void identity_require(rt_status status, const char *what) {
    if (status == RT_OK) return;
    printf("FAIL %s: %s\n", what, rt_error_text());
    exit(1);
}

const char *identity_begin_test(void) {
    if (!mkdtemp(root) || setenv("XDG_CACHE_HOME", root, 1) != 0) exit(77);
    return root;
}

int identity_end_test(void) {
    identity_shell("rm -rf '%s'", root);
    return n_failed > 0;
}

const char *identity_path(const char *format, ...) {
    static char texts[32][256];
    static int next;
    char *text = texts[next++ % 32];
    const int n = snprintf(text, sizeof texts[0], "%s/", root);
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text + n, sizeof texts[0] - (size_t)n, format, arguments);
    va_end(arguments);
    return text;
}

void identity_shell(const char *format, ...) {
    char command[1024];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(command, sizeof command, format, arguments);
    va_end(arguments);
    identity_expect(system(command) == 0, command);
}

void identity_write_model(const char *name, int64_t vocab, int64_t shard_bytes) {
    char config[1024];
    const char *config_path = identity_path("%s-config.json", name);
    const int n = snprintf(config, sizeof config, config_format, vocab);
    identity_require(rt_file_replace(config_path, config, n), "a config");
    const glm_random_options options = {
            .config_path = config_path, .seed = 7, .shard_bytes_max = shard_bytes};
    glm_random_model *model = NULL;
    int64_t done = 0;
    int64_t total = 1;
    identity_require(glm_random_model_begin(identity_path("%s", name), &options, &model), name);
    while (done < total) identity_require(glm_random_model_step(model, &done, &total), name);
    glm_random_model_end(model);
}

glm_identity identity_of(const char *name, int64_t *bytes_read) {
    glm_checkpoint *checkpoint = NULL;
    glm_identity_job *job = NULL;
    glm_identity identity;
    identity_require(glm_checkpoint_open(identity_path("%s", name), &checkpoint), name);
    identity_require(glm_identity_begin(checkpoint, "bf16", NULL, &job), name);
    glm_checkpoint_close(checkpoint); /* the job needs it no longer */
    identity_require(glm_identity_wait(job, &identity), name);
    if (bytes_read) *bytes_read = glm_identity_bytes_read(job);
    glm_identity_end(job);
    return identity;
}

bool identity_is_equal(const glm_identity *a, const glm_identity *b) {
    const bool is_same_hash = memcmp(a->hash, b->hash, sizeof a->hash) == 0;
    identity_expect(is_same_hash == (strcmp(a->text, b->text) == 0), "text and hash agree");
    return is_same_hash;
}

void identity_flip(const char *path, int64_t from_end) {
    struct stat info = {0};
    uint8_t byte = 0;
    const int fd = open(path, O_RDWR | O_CLOEXEC);
    identity_expect(fd >= 0 && fstat(fd, &info) == 0, path);
    const off_t at = info.st_size - from_end;
    identity_expect(pread(fd, &byte, 1, at) == 1, path);
    byte = (uint8_t)~byte;
    identity_expect(pwrite(fd, &byte, 1, at) == 1, path);
    const struct timespec times[2] = {info.st_atim, info.st_mtim};
    identity_expect(futimens(fd, times) == 0 && close(fd) == 0, path);
}

void identity_settle(const char *name) {
    glm_checkpoint *checkpoint = NULL;
    identity_require(glm_checkpoint_open(identity_path("%s", name), &checkpoint), name);
    const glm_shards *shards = glm_checkpoint_shards(checkpoint);
    for (int32_t i = 0; i < shards->n_shards; i++) {
        struct stat info;
        const struct timespec pause = {.tv_nsec = 50000000};
        identity_expect(stat(shards->shards[i].file->path, &info) == 0, name);
        while (!glm_hash_cache_is_settled(&info)) (void)nanosleep(&pause, NULL);
    }
    glm_checkpoint_close(checkpoint);
}
