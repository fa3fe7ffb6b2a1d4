/* A segment a run of which could not be written says why, and not only that it was not written whole: which tokens, what
 * failed, and the disk's own words.
 *
 * Method: a file system in memory that finds a quota used up from the first write of a run on, before the commit. */
#include <errno.h>
#include <string.h>

#include "help_kv_kept.h"
#include "help_kv_memfs.h"

enum { N = KV_SEGMENT_TOKENS, LAYERS = 1 };

static int32_t ids[N];
static kv_io_engine inner;
static bool fails;
static kv_io_answer due;
static bool is_due;
static int n_written, n_failed;

static int submit(void *self, const kv_io_request *requests, int n_requests) {
    if (!fails || n_requests == 0 || !requests->is_write)
        return inner.table->submit(self, requests, n_requests > 1 ? 1 : n_requests);
    if (is_due) return 0;
    if (n_written++ == 0) return inner.table->submit(self, requests, 1); /* the fingerprint */
    due = (kv_io_answer){.tag = requests->tag, .result = -EDQUOT};
    is_due = true;
    n_failed++;
    return 1;
}

static int complete(void *self, kv_io_answer *answers, int n_max, int timeout_ms) {
    if (!is_due) return inner.table->complete(self, answers, n_max, timeout_ms);
    *answers = due;
    is_due = false;
    return 1;
}

int main(void) {
    static const kv_io_table failing = {.submit = submit, .complete = complete};
    const kv_suspension all = {.end = N, .layer = LAYERS};
    for (int32_t i = 0; i < N; i++) ids[i] = i;
    kvh_memfs *fs = kvh_memfs_new();
    kvh_kept p = kvh_kept_begin(kvh_memfs_io_instead(fs, &failing, &inner), LAYERS, N);
    fails = true;
    kvh_kept_write(&p, ids, &all);
    kv_staging_settle_file(&p.store->staging, NULL);
    fails = false;
    kv_span_commit(p.seq);
    const char *why = kv_store_keep_failure(p.store);
    if (n_failed == 0 || !strstr(why, strerror(EDQUOT))) (void)printf("FAIL: %s\n", why);
    CHECK(n_failed > 0 && strstr(why, "tokens from 0 ") && strstr(why, strerror(EDQUOT)));
    kvh_kept_end(&p);
    kvh_memfs_free(fs);
    return 0;
}
