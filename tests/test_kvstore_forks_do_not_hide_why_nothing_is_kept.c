/* Why a text could not be kept stays what is told when forks of it go on, of which nothing can be kept for want of what is
 * before them; also of forks of those. A fork of what is kept that meets another trouble tells that.
 *
 * Method: a file system in memory, full while a text of more than a segment begins; forks beyond its second segment, and from
 * before its first one's end. */
#include <string.h>

#include "help_kv_kept.h"
#include "help_kv_memfs.h"

enum { LAYERS = 2, N = KV_SEGMENT_TOKENS, PARENT = N + 200, TEXT = 2 * N + 100 };

static int32_t ids[TEXT];
static char why[512];

static void append(kvh_kept *p, kv_seq *seq, int64_t end) {
    const int64_t first = kv_seq_length(seq);
    CHECK(kv_span_begin(seq, ids + first, end - first) == RT_OK);
    kvh_write(p->store, seq, LAYERS, first, end - first, 1);
    kv_span_commit(seq);
}

static kv_seq *fork_at(kv_seq *seq, int64_t n_tokens) {
    kv_seq *fork = NULL;
    CHECK(kv_seq_fork(seq, n_tokens, TEXT, &fork) == RT_OK);
    return fork;
}

static bool is_told(const kvh_kept *p) {
    return strcmp(kv_store_keep_failure(p->store), why) == 0 &&
           kv_store_check_kept(p->store) == RT_ENOFIT;
}

int main(void) {
    kvh_memfs *fs = kvh_memfs_new();
    kvh_kept p = kvh_kept_begin_beyond(
            kvh_memfs_io(fs), LAYERS, TEXT, 4 * (TEXT / KVH_PAGE_TOKENS) * LAYERS);
    for (int32_t i = 0; i < TEXT; i++) ids[i] = i * 7 % 151;
    kvh_memfs_limit(fs, KV_IO_ALIGN);
    append(&p, p.seq, PARENT);
    (void)snprintf(why, sizeof why, "%s", kv_store_keep_failure(p.store));
    (void)printf("%s\n", why);
    CHECK(is_told(&p) && kv_seq_kept(p.seq) == 0);
    kvh_memfs_limit(fs, 0);

    kv_seq *fork = fork_at(p.seq, PARENT);
    kv_seq *of_fork = fork_at(fork, PARENT);
    append(&p, fork, TEXT);
    CHECK(is_told(&p));
    append(&p, of_fork, TEXT);
    CHECK(is_told(&p) && kvh_memfs_count(fs, ".kvs") == 0);
    kv_seq_free(of_fork);
    kv_seq_free(fork);

    fork = fork_at(p.seq, N / 2); /* all of it can be kept again */
    append(&p, fork, PARENT);
    CHECK(kv_seq_kept(fork) == N);
    of_fork = fork_at(fork, PARENT);
    CHECK(kvh_memfs_count(fs, ".kvs") == 1);
    kvh_memfs_read_only(fs);
    append(&p, of_fork, TEXT);
    CHECK(*kv_store_keep_failure(p.store) && !is_told(&p));
    kv_seq_free(of_fork);
    kv_seq_free(fork);
    kvh_kept_end(&p);
    kvh_memfs_free(fs);
    return 0;
}
