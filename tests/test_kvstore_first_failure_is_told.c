/* Of several writes of a commit that fail, each for a reason of its own, the first one's is told, and not that the
 * half-written file could not be removed either.
 *
 * Method: a file system in memory; of the writes of a commit the first finds the disk full, and the rest fail, as does
 * removing a file. */
#include <errno.h>
#include <string.h>

#include "help_kv_kept.h"
#include "help_kv_memfs.h"

enum { N = KV_SEGMENT_TOKENS, LAYERS = 1, ANSWERS_MAX = 64 };

static int32_t ids[N];
static kv_io_engine inner;
static bool fails;
static kv_io_answer answers_due[ANSWERS_MAX];
static int n_due, n_failed;

static int submit(void *self, const kv_io_request *requests, int n_requests) {
    if (!fails || n_requests == 0 || !requests->is_write)
        return inner.table->submit(self, requests, n_requests > 1 ? 1 : n_requests);
    CHECK(n_due < ANSWERS_MAX);
    answers_due[n_due++] =
            (kv_io_answer){.tag = requests->tag, .result = n_failed++ == 0 ? -ENOSPC : -EIO};
    return 1;
}

static int complete(void *self, kv_io_answer *answers, int n_max, int timeout_ms) {
    if (n_due == 0) return inner.table->complete(self, answers, n_max, timeout_ms);
    const int n = n_due < n_max ? n_due : n_max;
    memcpy(answers, answers_due, (size_t)n * sizeof *answers);
    n_due -= n;
    memmove(answers_due, answers_due + n, (size_t)n_due * sizeof *answers);
    return n;
}

static int keep_file(void *self, const char *path) {
    return fails ? -EACCES : inner.table->unlink(self, path);
}

int main(void) {
    static const kv_io_table failing = {
            .submit = submit, .complete = complete, .unlink = keep_file};
    const kv_suspension all = {.end = N, .layer = LAYERS};
    for (int32_t i = 0; i < N; i++) ids[i] = i;
    kvh_memfs *fs = kvh_memfs_new();
    kvh_kept p = kvh_kept_begin(kvh_memfs_io_instead(fs, &failing, &inner), LAYERS, N);
    kvh_kept_write(&p, ids, &all);
    kv_staging_settle_file(&p.store->staging, NULL);
    fails = true;
    kv_span_commit(p.seq);
    fails = false;
    const char *why = kv_store_keep_failure(p.store);
    if (n_failed < 2 || !strstr(why, strerror(ENOSPC))) (void)printf("FAIL: %s\n", why);
    CHECK(n_failed > 1 && strstr(why, strerror(ENOSPC)));
    kvh_kept_end(&p);
    kvh_memfs_free(fs);
    return 0;
}
