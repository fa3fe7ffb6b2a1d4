/* A model's identity is what its files hold: any change of weights, shapes, tokenizer or KV type
 * changes it; names and places of files do not.
 *
 * Method: identify a random model in one file and in shards, compute one weights hash by its
 * definition, then change one thing at a time, flip it back, rename and move. */
#include <stdlib.h>
#include <string.h>

#include "help_identity.h"
#include "runtime/base/file.h"
#include "runtime/base/size.h"

static glm_identity whole;
static glm_identity cut;

static void expect_line(const glm_identity *identity, const char *line) {
    identity_expect(strstr(identity->text, line) != NULL, line);
}

/* One file: the hash of its hash, behind its length. */
static void check_definition(void) {
    char *bytes = NULL;
    int64_t n_bytes = 0;
    uint8_t field[8 + GLM_SHA256_BYTES] = {GLM_SHA256_BYTES};
    uint8_t digest[GLM_SHA256_BYTES];
    char line[128] = "\nweights=";
    identity_require(rt_file_read(identity_path("one/model.safetensors"), RT_GIB, &bytes, &n_bytes),
            "the weights");
    identity_require(glm_sha256_of(bytes, n_bytes, field + 8), "SHA-256");
    identity_require(glm_sha256_of(field, sizeof field, digest), "SHA-256");
    (void)glm_sha256_hex(digest, line + strlen(line));
    expect_line(&whole, line);
    expect_line(&whole, "format=1\nlayers=2\nheads=8\nkv_heads=2\nhead_dim=64\n");
    expect_line(&whole, "\nrope_base=40c3880000000000\n"); /* 10000.0 */
    expect_line(&whole, "\nrms_eps=3427c5ac\n");           /* 1.5625e-07 */
    expect_line(&whole, "\nkv_dtype=bf16\n");
    free(bytes);
}

/* The path's byte flipped is another model, flipped back it is `before`. */
static void check_flip(
        const char *name, const char *path, int64_t from_end, const glm_identity *before) {
    identity_flip(path, from_end);
    const glm_identity other = identity_of(name, NULL);
    identity_expect(!identity_is_equal(before, &other), path);
    identity_flip(path, from_end);
    const glm_identity again = identity_of(name, NULL);
    identity_expect(identity_is_equal(before, &again), path);
}

static void check_changes(void) {
    check_flip("one", identity_path("one/model.safetensors"), 1, &whole);
    check_flip("one", identity_path("one/model.safetensors"), 300000, &whole);
    check_flip("cut", identity_path("cut/model-00002-of-00003.safetensors"), 1000, &cut);
    check_flip("one", identity_path("one/tokenizer.model"), 2, &whole);
    static const char *const edits[] = {
            "s/10000.0/10000.000001/", "s/1.5625e-07/1.5626e-07/", "s/bfloat16/float32/"};
    for (size_t i = 0; i < sizeof edits / sizeof edits[0]; i++) {
        identity_shell("cp -r '%s' '%s'", identity_path("one"), identity_path("edited"));
        identity_shell("sed -i '%s' '%s'", edits[i], identity_path("edited/config.json"));
        const glm_identity other = identity_of("edited", NULL);
        identity_expect(!identity_is_equal(&whole, &other), edits[i]);
        identity_shell("rm -r '%s'", identity_path("edited"));
    }
}

static void check_kv_dtype(void) {
    glm_checkpoint *checkpoint = NULL;
    glm_identity_job *job = NULL;
    glm_identity other;
    identity_require(glm_checkpoint_open(identity_path("one"), &checkpoint), "one");
    identity_require(glm_identity_begin(checkpoint, "int8 groups of 32", NULL, &job), "one");
    identity_require(glm_identity_wait(job, &other), "one");
    identity_expect(!identity_is_equal(&whole, &other), "another KV dtype");
    glm_identity_end(job);
    glm_checkpoint_close(checkpoint);
}

/* Shards whose names sort the other way round, in another directory. */
static void check_names(void) {
    const char *moved = identity_path("moved");
    identity_shell("cp -r '%s' '%s'", identity_path("cut"), moved);
    identity_shell("cd '%s' && for i in 1 2 3; do mv model-0000$i-of-00003.safetensors "
                   "part-$((9 - i)).safetensors && sed -i "
                   "s/model-0000$i-of-00003/part-$((9 - i))/ model.safetensors.index.json "
                   "|| exit 1; done",
            moved);
    const glm_identity other = identity_of("moved", NULL);
    identity_expect(identity_is_equal(&cut, &other), "the same files by other names");
    identity_expect(!identity_is_equal(&whole, &cut), "the same tensors cut otherwise");
}

static void check_no_tokenizer(void) {
    identity_shell("cp -r '%s' '%s'", identity_path("one"), identity_path("bare"));
    identity_shell("rm '%s'/token*", identity_path("bare"));
    const glm_identity bare = identity_of("bare", NULL);
    expect_line(&bare, "\ntokenizer=none\n");
    identity_expect(!identity_is_equal(&whole, &bare), "no tokenizer");
}

int main(void) {
    (void)identity_begin_test();
    identity_write_model("one", 512, 0);
    identity_write_model("cut", 512, 1400 * RT_KIB);
    whole = identity_of("one", NULL);
    cut = identity_of("cut", NULL);
    check_definition();
    check_changes();
    check_kv_dtype();
    check_names();
    check_no_tokenizer();
    return identity_end_test();
}
