/* A suspended span whose state a disk does not give is computed anew, and the log says so, and why. Where there is none, or all
 * of it is read, nothing is said.
 *
 * Method: a file system in memory, and standard error in a file. The state cannot be opened, or a block of it not be read; then
 * all can. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "help_kv_kept.h"
#include "help_kv_memfs.h"

enum { N = KV_SEGMENT_TOKENS, LAYERS = 2, TEXT = N + 900, STOPPED = 300 };

static int32_t ids[TEXT];
static kv_io_engine inner;
static bool refuses, fails; /* to open a state; to read of it what comes behind its header */
static FILE *log_file;

static int maybe_open(void *self, const char *path, int flags) {
    if (refuses && strstr(path, ".state")) return -EIO;
    return inner.table->open(self, path, flags);
}

static kvh_kept begin(kvh_memfs *fs) {
    kv_io *io = kvh_memfs_io_instead(fs, &(kv_io_table){.open = maybe_open}, &inner);
    return kvh_kept_begin(io, LAYERS, TEXT);
}

/* Whether all of it can be gone on with; it is left as it is. */
static bool finds(kvh_memfs *fs) {
    kvh_kept p = begin(fs);
    kv_suspension s = {0};
    bool is_there = false;
    char hidden[KVH_HIDDEN];
    CHECK(kv_resume_span(p.seq, ids, TEXT, &s, &is_there) == RT_OK);
    if (fails) kvh_memfs_fail(fs, kvh_memfs_n_calls(fs), EIO, false);
    for (int32_t layer = 0; layer < LAYERS && is_there; layer++) {
        CHECK(kv_resume_layer(p.seq, layer) == RT_OK);
        kv_rows rows = kv_seq_tail_rows(p.seq, layer, 0);
        if (rows.n_tokens > 0) CHECK(kv_resume_rows(p.seq, &rows, &is_there) == RT_OK);
    }
    s.hidden = hidden;
    if (is_there) CHECK(kv_resume_hidden(p.seq, &s, &is_there) == RT_OK);
    kv_resume_leave(p.seq);
    kvh_kept_end(&p);
    return is_there;
}

/* Whether these words were said since it was asked last. */
static bool is_told(const char *words) {
    char text[4096];
    rewind(log_file);
    const size_t n = fread(text, 1, sizeof text - 1, log_file);
    text[n] = '\0';
    CHECK(ftruncate(fileno(log_file), 0) == 0 && fseek(log_file, 0, SEEK_SET) == 0);
    return strstr(text, words) != NULL;
}

int main(void) {
    kvh_memfs *fs = kvh_memfs_new();
    const kv_suspension s = kvh_stopped_at(TEXT, 1, STOPPED);
    log_file = tmpfile();
    CHECK(log_file && dup2(fileno(log_file), STDERR_FILENO) >= 0);
    CHECK(!finds(fs) && !is_told("warn"));
    kvh_kept p = begin(fs);
    CHECK(kvh_kept_stop(&p, ids, &s) == RT_OK);
    refuses = true;
    CHECK(!finds(fs) && is_told("begins anew: kvstore: cannot open"));
    refuses = false;
    fails = true;
    CHECK(!finds(fs) && is_told("begins anew: kvstore: read"));
    fails = false;
    CHECK(finds(fs) && !is_told("warn"));
    kvh_memfs_free(fs);
    return 0;
}
