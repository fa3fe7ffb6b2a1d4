/* One thread a job. It shares nothing with the caller but three atomics; what it found is the
 * caller's after the join. A large file is read once, in order, so that beside a load from the same
 * files the page cache serves one of the two. */
#include "identity.h"

#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/size.h"
#include "base/thread.h"
#include "checkpoint_files.h"
#include "hash_cache.h"
#include "json_file.h"

enum { KV_DTYPE_TEXT = 64, ERROR_TEXT = 1024 };

static const int64_t read_bytes = 4 * RT_MIB;
static const int64_t tokenizer_bytes_max = RT_GIB;

typedef struct weights_file {
    char *path;
    struct stat opened; /* what the checkpoint opened */
    uint8_t hash[GLM_SHA256_BYTES];
} weights_file;

struct glm_identity_job {
    char *dir;
    glm_config config;
    char kv_dtype[KV_DTYPE_TEXT];
    char linear[KV_DTYPE_TEXT]; /* "": our kernels */
    int32_t n_files;
    weights_file *files;

    pthread_t thread;
    bool is_running; /* not joined yet */
    atomic_bool is_cancelled;
    _Atomic int64_t bytes_read;

    /* The thread's until it is joined. */
    void *buffer; /* read_bytes */
    glm_sha256 *sha;
    rt_status status;
    char error[ERROR_TEXT];
    glm_identity identity;
};

/* ---- one file -------------------------------------------------------------------------------- */

static bool is_same_time(struct timespec a, struct timespec b) {
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static rt_status check_same(
        const weights_file *file, const struct stat *now, const struct stat *before) {
    if (now->st_dev == before->st_dev && now->st_ino == before->st_ino &&
            now->st_size == before->st_size && is_same_time(now->st_mtim, before->st_mtim))
        return RT_OK;
    return rt_fail(RT_EMODEL,
            "identity: IO_CHANGED: %s was written to or replaced since it was opened (%" PRId64
            " bytes then, %" PRId64 " now)",
            file->path, (int64_t)before->st_size, (int64_t)now->st_size);
}

static rt_status hash_bytes(
        glm_identity_job *job, const weights_file *file, int fd, int64_t n_bytes) {
    for (int64_t at = 0; at < n_bytes;) {
        if (atomic_load(&job->is_cancelled))
            return rt_fail(
                    RT_EINTERRUPTED, "identity: stopped at byte %" PRId64 " of %s", at, file->path);
        const int64_t n = rt_min64(read_bytes, n_bytes - at);
        RT_TRY(rt_file_pread(fd, file->path, job->buffer, n, at));
        RT_TRY(glm_sha256_add(job->sha, job->buffer, n));
        atomic_fetch_add(&job->bytes_read, n);
        at += n;
    }
    return RT_OK;
}

/* From the file as it was opened to the file as it still is afterwards. */
static rt_status hash_open_file(glm_identity_job *job, weights_file *file, int fd) {
    struct stat before;
    struct stat after;
    if (fstat(fd, &before) != 0)
        return rt_fail_errno(RT_EIO, "identity: cannot stat %s", file->path);
    RT_TRY(check_same(file, &before, &file->opened));
    const bool is_settled = glm_hash_cache_is_settled(&before);
    const rt_status status = hash_bytes(job, file, fd, before.st_size);
    if (status == RT_EINTERRUPTED) return status;
    if (fstat(fd, &after) != 0)
        return rt_fail_errno(RT_EIO, "identity: cannot stat %s", file->path);
    RT_TRY(check_same(file, &after, &before)); /* a file that was cut fails to be read, too */
    RT_TRY(status);
    RT_TRY(glm_sha256_finish(job->sha, file->hash));
    const bool is_kept = is_settled && is_same_time(before.st_ctim, after.st_ctim);
    if (is_kept) glm_hash_cache_store(&after, file->hash);
    return RT_OK;
}

static rt_status hash_file(glm_identity_job *job, weights_file *file) {
    struct stat now;
    if (stat(file->path, &now) != 0)
        return rt_fail_errno(RT_EIO, "identity: cannot stat %s", file->path);
    RT_TRY(check_same(file, &now, &file->opened));
    if (glm_hash_cache_find(&now, file->hash)) return RT_OK;
    const int fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return rt_fail_errno(RT_EIO, "identity: cannot open %s", file->path);
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    const rt_status status = hash_open_file(job, file, fd);
    (void)close(fd);
    return status;
}

/* ---- all files ------------------------------------------------------------------------------- */

static int by_hash(const void *a, const void *b) {
    return memcmp(
            ((const weights_file *)a)->hash, ((const weights_file *)b)->hash, GLM_SHA256_BYTES);
}

/* The files' hashes in ascending order: what they are called and in which order is no matter. */
static rt_status hash_weights(glm_identity_job *job, char hex[GLM_SHA256_HEX]) {
    uint8_t digest[GLM_SHA256_BYTES];
    for (int32_t i = 0; i < job->n_files; i++) RT_TRY(hash_file(job, &job->files[i]));
    qsort(job->files, (size_t)job->n_files, sizeof *job->files, by_hash);
    for (int32_t i = 0; i < job->n_files; i++)
        RT_TRY(glm_sha256_add_field(job->sha, job->files[i].hash, GLM_SHA256_BYTES));
    RT_TRY(glm_sha256_finish(job->sha, digest));
    (void)glm_sha256_hex(digest, hex);
    return RT_OK;
}

static rt_status add_tokenizer_file(glm_identity_job *job, const char *name, bool *is_there) {
    char *path = NULL;
    char *text = NULL;
    int64_t n_bytes = 0;
    RT_TRY(rt_path_join(job->dir, name, &path));
    rt_status status = RT_OK;
    *is_there = rt_file_exists(path);
    if (*is_there) {
        status = glm_model_file_read("tokenizer", path, tokenizer_bytes_max, &text, &n_bytes);
        if (status == RT_OK) status = glm_sha256_add_field(job->sha, name, (int64_t)strlen(name));
        if (status == RT_OK) status = glm_sha256_add_field(job->sha, text, n_bytes);
    }
    free(text);
    free(path);
    return status;
}

/* Every file that a tokenizer may be read from, whole: "none" without any. */
static rt_status hash_tokenizer(glm_identity_job *job, char hex[GLM_SHA256_HEX]) {
    static const char *const names[] = {
            "tokenizer.model", "tokenizer.json", "tokenizer_config.json"};
    uint8_t digest[GLM_SHA256_BYTES];
    int n_files = 0;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        bool is_there = false;
        RT_TRY(add_tokenizer_file(job, names[i], &is_there));
        n_files += is_there;
    }
    RT_TRY(glm_sha256_finish(job->sha, digest));
    if (n_files > 0)
        (void)glm_sha256_hex(digest, hex);
    else
        (void)snprintf(hex, GLM_SHA256_HEX, "none");
    return RT_OK;
}

/* ---- the identity ---------------------------------------------------------------------------- */

static void write_text(const glm_identity_job *job, const char *weights, const char *tokenizer,
        char text[GLM_IDENTITY_TEXT]) {
    const glm_config *c = &job->config;
    uint64_t rope_base = 0; /* exact: decimal digits would hide a difference */
    uint32_t rms_eps = 0;
    memcpy(&rope_base, &c->rope_base, sizeof rope_base);
    memcpy(&rms_eps, &c->rms_eps, sizeof rms_eps);
    const int n = snprintf(text, GLM_IDENTITY_TEXT,
            "format=%d\nlayers=%" PRId32 "\nheads=%" PRId32 "\nkv_heads=%" PRId32
            "\nhead_dim=%" PRId32 "\nhidden=%" PRId64 "\nffn=%" PRId64 "\nvocab=%" PRId64
            "\nqkv_bias=%d\npost_norms=%d\nrms_eps=%08" PRIx32 "\nrope_dim=%" PRId32
            "\nrope_base=%016" PRIx64 "\nrope_pairs=interleaved\npositions=from 0, keys rotated"
            "\ncheckpoint_dtype=%s\nhidden_dtype=%s\nkv_dtype=%s%s%s\nweights=%s\ntokenizer=%s\n",
            GLM_IDENTITY_FORMAT, c->n_layers, c->n_heads, c->n_kv_heads, c->head_dim, c->hidden,
            c->ffn, c->vocab, c->has_qkv_bias, c->has_post_norms, rms_eps, c->rope_dim, rope_base,
            rt_dtype_name(c->dtype), rt_dtype_name(glm_config_hidden_dtype(c)), job->kv_dtype,
            job->linear[0] ? "\nlinear=" : "", job->linear, weights, tokenizer);
    rt_assert(n > 0 && n < GLM_IDENTITY_TEXT);
}

/* Keys and values in the text's order, each a field. */
static rt_status hash_text(glm_sha256 *sha, const char *text, uint8_t hash[GLM_SHA256_BYTES]) {
    while (*text) {
        const int64_t n_key = (int64_t)strcspn(text, "=");
        const char *value = text + n_key + 1;
        const int64_t n_value = (int64_t)strcspn(value, "\n");
        RT_TRY(glm_sha256_add_field(sha, text, n_key));
        RT_TRY(glm_sha256_add_field(sha, value, n_value));
        text = value + n_value + 1;
    }
    return glm_sha256_finish(sha, hash);
}

static rt_status identify(glm_identity_job *job) {
    char weights[GLM_SHA256_HEX];
    char tokenizer[GLM_SHA256_HEX];
    RT_TRY(hash_weights(job, weights));
    RT_TRY(hash_tokenizer(job, tokenizer));
    write_text(job, weights, tokenizer, job->identity.text);
    return hash_text(job->sha, job->identity.text, job->identity.hash);
}

static void *run(void *context) {
    glm_identity_job *job = context;
    const double started = rt_now();
    job->status = identify(job);
    if (job->status == RT_OK)
        rt_log(RT_LOG_INFO, "identity", "known files=%" PRId32 " bytes_read=%" PRId64 " ms=%.1f",
                job->n_files, glm_identity_bytes_read(job), 1e3 * (rt_now() - started));
    else
        (void)snprintf(job->error, sizeof job->error, "%s", rt_error_text());
    return NULL;
}

/* ---- files, not contents --------------------------------------------------------------------- */

static rt_status add_stat(glm_sha256 *sha, const struct stat *s) {
    const int64_t numbers[] = {(int64_t)s->st_dev, (int64_t)s->st_ino, (int64_t)s->st_size,
            s->st_mtim.tv_sec, s->st_mtim.tv_nsec, s->st_ctim.tv_sec, s->st_ctim.tv_nsec};
    return glm_sha256_add(sha, numbers, sizeof numbers);
}

rt_status glm_identity_files(const glm_checkpoint *checkpoint, char hex[65]) {
    const glm_shards *shards = glm_checkpoint_shards(checkpoint);
    uint8_t digest[GLM_SHA256_BYTES];
    glm_sha256 *sha = NULL;
    rt_status status = glm_sha256_create(&sha);
    for (int32_t i = 0; i < shards->n_shards && status == RT_OK; i++)
        status = add_stat(sha, &shards->shards[i].file->opened);
    if (status == RT_OK) status = glm_sha256_finish(sha, digest);
    if (status == RT_OK) (void)glm_sha256_hex(digest, hex);
    glm_sha256_free(sha);
    return status;
}

/* ---- the job --------------------------------------------------------------------------------- */

static rt_status copy_files(glm_identity_job *job, const glm_shards *shards) {
    RT_TRY(rt_calloc(shards->n_shards, sizeof *job->files, "files to identify", &job->files));
    for (int32_t i = 0; i < shards->n_shards; i++) {
        const glm_safetensors *file = shards->shards[i].file;
        job->files[i] = (weights_file){.path = strdup(file->path), .opened = file->opened};
        job->n_files = i + 1;
        if (!job->files[i].path)
            return rt_fail(RT_ENOMEM, "identity: no memory for the path %s", file->path);
    }
    return RT_OK;
}

static rt_status start(glm_identity_job *job, const glm_checkpoint *checkpoint,
        const char *kv_dtype, const char *linear) {
    job->config = *glm_checkpoint_config(checkpoint);
    (void)snprintf(job->kv_dtype, sizeof job->kv_dtype, "%s", kv_dtype);
    (void)snprintf(job->linear, sizeof job->linear, "%s", linear ? linear : "");
    job->dir = strdup(glm_checkpoint_dir(checkpoint));
    if (!job->dir) return rt_fail(RT_ENOMEM, "identity: no memory for a path");
    RT_TRY(copy_files(job, glm_checkpoint_shards(checkpoint)));
    RT_TRY(rt_malloc(read_bytes, "reading files to identify", &job->buffer));
    RT_TRY(glm_sha256_create(&job->sha));
    RT_TRY(rt_thread_start(&job->thread, run, job, "identity: cannot start a thread"));
    job->is_running = true;
    return RT_OK;
}

rt_status glm_identity_begin(const glm_checkpoint *checkpoint, const char *kv_dtype,
        const char *linear, glm_identity_job **out) {
    rt_assert(strlen(kv_dtype) < KV_DTYPE_TEXT && !strpbrk(kv_dtype, "=\n"));
    rt_assert(!linear || (strlen(linear) < KV_DTYPE_TEXT && !strpbrk(linear, "=\n")));
    glm_identity_job *job = NULL;
    *out = NULL;
    RT_TRY(rt_calloc(1, sizeof *job, "the identity of a model", &job));
    const rt_status status = start(job, checkpoint, kv_dtype, linear);
    if (status == RT_OK)
        *out = job;
    else
        glm_identity_end(job);
    return status;
}

static void join(glm_identity_job *job) {
    if (!job->is_running) return;
    const int failed = pthread_join(job->thread, NULL);
    rt_assert(failed == 0);
    job->is_running = false;
}

rt_status glm_identity_wait(glm_identity_job *job, glm_identity *out) {
    join(job);
    if (job->status != RT_OK) return rt_fail(job->status, "%s", job->error);
    *out = job->identity;
    return RT_OK;
}

void glm_identity_cancel(glm_identity_job *job) {
    atomic_store(&job->is_cancelled, true);
}

int64_t glm_identity_bytes_read(const glm_identity_job *job) {
    return atomic_load(&job->bytes_read);
}

void glm_identity_end(glm_identity_job *job) {
    if (!job) return;
    glm_identity_cancel(job);
    join(job);
    for (int32_t i = 0; i < job->n_files; i++) free(job->files[i].path);
    free(job->files);
    glm_sha256_free(job->sha);
    free(job->buffer);
    free(job->dir);
    free(job);
}
