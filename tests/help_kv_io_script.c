#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "help_kv_io.h"

/* ---- the script ------------------------------------------------------------------------------ */

enum { BLOCKS_MAX = 128, SLOT_BYTES = 8192 };

typedef struct script {
    kv_io *io;
    kv_file *file;
    int n_blocks;
    char *memory; /* [n_blocks][SLOT_BYTES] */
    kv_io_op ops[BLOCKS_MAX];
    bool is_started[BLOCKS_MAX];   /* in this round */
    uint64_t contents[BLOCKS_MAX]; /* what the block was last written with; 0: unknown */
    kvh_outcome outcome;
} script;

static int64_t bytes_of(int block) {
    return (int64_t)(1 + block % 2) * KV_IO_ALIGN;
}

static char *memory_of(script *s, int block) {
    return s->memory + (int64_t)block * SLOT_BYTES;
}

static uint64_t *words_of(script *s, int block) {
    return (uint64_t *)(void *)memory_of(s, block);
}

static void start(script *s, int block, bool is_write, kv_io_urgency urgency) {
    s->ops[block] = (kv_io_op){.file = s->file,
            .is_write = is_write,
            .urgency = urgency,
            .bytes = memory_of(s, block),
            .n_bytes = bytes_of(block),
            .offset = (int64_t)block * SLOT_BYTES};
    kv_io_start(s->io, &s->ops[block]);
}

static bool wait_for(script *s, int block) {
    const rt_status status = kv_io_wait(s->io, &s->ops[block]);
    CHECK(status == RT_OK || status == RT_EIO || status == RT_ENOFIT);
    if (status == RT_OK)
        s->outcome.n_ok++;
    else if (status == RT_EIO)
        s->outcome.n_io++;
    else
        s->outcome.n_nofit++;
    return status == RT_OK;
}

/* Memory of a block that is late may not be touched: it is left out until its answer came. */
static void write_blocks(script *s, int step, uint64_t version) {
    for (int b = 0; b < s->n_blocks; b += step) {
        s->is_started[b] = !s->ops[b].is_in_flight;
        if (!s->is_started[b]) continue;
        s->contents[b] = version * 1000 + (uint64_t)b + 1;
        for (int64_t i = 0; i < bytes_of(b) / 8; i++)
            words_of(s, b)[i] = s->contents[b] * 0x9e3779b97f4a7c15u + (uint64_t)i;
    }
    for (int b = 0; b < s->n_blocks; b += step) {
        if (s->is_started[b]) start(s, b, true, KV_IO_BEHIND);
        if (b % 5 == 0) kv_io_poll(s->io);
    }
    for (int b = 0; b < s->n_blocks; b += step)
        if (s->is_started[b] && !wait_for(s, b)) s->contents[b] = 0;
}

static void check_block(script *s, int block) {
    if (!s->contents[block]) return;
    for (int64_t i = 0; i < bytes_of(block) / 8; i++)
        CHECK(words_of(s, block)[i] == s->contents[block] * 0x9e3779b97f4a7c15u + (uint64_t)i);
}

/* What is done is looked at at once: if it was said too early, the bytes are not there yet. */
static void check_done(script *s) {
    for (int b = 0; b < s->n_blocks; b++) {
        if (!s->is_started[b] || !s->ops[b].is_done) continue;
        s->is_started[b] = false;
        if (wait_for(s, b)) check_block(s, b);
    }
}

static void read_blocks(script *s) {
    for (int i = 0; i < s->n_blocks; i++) {
        const int b = (i * 37 + 11) % s->n_blocks;
        s->is_started[b] = !s->ops[b].is_in_flight;
        if (!s->is_started[b]) continue;
        memset(memory_of(s, b), 0xee, SLOT_BYTES);
        start(s, b, false, i % 3 ? KV_IO_AHEAD : KV_IO_NOW);
    }
    kv_io_poll(s->io);
    for (int b = 0; b < s->n_blocks; b++) {
        check_done(s);
        if (s->is_started[b]) (void)!kv_io_wait(s->io, &s->ops[b]);
    }
    check_done(s);
}

static void wait_for_answers(script *s) {
    for (int b = 0; b < s->n_blocks; b++)
        while (s->ops[b].is_in_flight) kv_io_poll(s->io);
}

kvh_outcome kvh_script(kv_io *io, const char *path, int n_blocks, kvh_faults *faults) {
    script s = {.io = io, .n_blocks = n_blocks};
    CHECK(n_blocks <= BLOCKS_MAX);
    s.memory = aligned_alloc(KV_IO_ALIGN, (size_t)n_blocks * SLOT_BYTES);
    CHECK(s.memory);
    /* The last lent block, an odd one, is lent in part. */
    s.outcome.is_lent = kv_io_lend(io, s.memory, (n_blocks / 2 | 1) * SLOT_BYTES + KV_IO_ALIGN);
    CHECK(kv_file_open(io, path, O_RDWR | O_CREAT | O_TRUNC, &s.file) == RT_OK);
    CHECK(kv_file_reserve(s.file, (int64_t)n_blocks * SLOT_BYTES) == RT_OK);
    write_blocks(&s, 1, 1);
    CHECK(kv_file_sync(s.file) == RT_OK);
    read_blocks(&s);
    write_blocks(&s, 3, 2);
    read_blocks(&s);
    if (faults) kvh_faults_release(faults);
    wait_for_answers(&s);
    read_blocks(&s);
    wait_for_answers(&s); /* a disk may be slower than the deadline */
    s.outcome.stats = kv_io_stats_of(io);
    s.outcome.is_direct = kv_file_is_direct(s.file);
    kv_file_close(s.file);
    free(s.memory);
    return s.outcome;
}

/* ---- a directory ----------------------------------------------------------------------------- */

static char dir[256];

const char *kvh_make_dir(void) {
    const char *base = getenv("TMPDIR");
    (void)snprintf(dir, sizeof dir, "%s/kvh.XXXXXX", base ? base : "/tmp");
    CHECK(mkdtemp(dir));
    return dir;
}

void kvh_remove_dir(void) {
    CHECK(rmdir(dir) == 0);
}
