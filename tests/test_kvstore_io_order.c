/* What waits for what: depths hold, the urgent go first, the late give way, the silent are named.
 *
 * Method: a disk whose answers are held back, so that what is in flight can be counted, and a process
 * that looks away or is stopped; then files whose opening, reserving and syncing fails. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "help_kv_io.h"
#include "kvstore/io_blocks.h"

enum { OPS = 12 };

static kvh_faults *faults;
static kv_io *io;
static kv_file *file;
static char *memory;

static void open_all(kvh_fault fault, int64_t at, bool for_ever, double timeout_s) {
    const kv_io_config config = {.depth = {2, 3, 4}, .timeout_s = timeout_s};
    const kv_io_engine engine = kvh_inject(kvh_ramdisk(), fault, at, for_ever, &faults);
    CHECK(kv_io_create_on(engine, &config, &io) == RT_OK);
    CHECK(kv_file_open(io, "in memory", O_RDWR | O_CREAT, &file) == RT_OK);
    memory = aligned_alloc(KV_IO_ALIGN, 3 * OPS * KV_IO_ALIGN);
    CHECK(memory);
    memset(memory, 0, 3 * OPS * KV_IO_ALIGN);
}

static void close_all(void) {
    kv_file_close(file);
    CHECK(kv_io_close(io) == RT_OK);
    free(memory);
}

static kv_io_op op_of(int number, kv_io_urgency urgency) {
    return (kv_io_op){.file = file,
            .is_write = urgency == KV_IO_BEHIND,
            .urgency = urgency,
            .bytes = memory + (int64_t)number * KV_IO_ALIGN,
            .n_bytes = KV_IO_ALIGN,
            .offset = (int64_t)number * KV_IO_ALIGN};
}

static int in_flight(const kv_io_op *ops) {
    int n = 0;
    for (int i = 0; i < OPS; i++) n += ops[i].is_in_flight;
    return n;
}

static void check_depths(void) {
    kv_io_op ops[KV_IO_URGENCIES][OPS];
    open_all(KVH_LATE, 0, true, 30);
    for (int urgency = KV_IO_URGENCIES - 1; urgency >= 0; urgency--)
        for (int i = 0; i < OPS; i++) {
            ops[urgency][i] = op_of(urgency * OPS + i, (kv_io_urgency)urgency);
            kv_io_start(io, &ops[urgency][i]);
        }
    kv_io_poll(io);
    kv_io_poll(io);
    CHECK(in_flight(ops[KV_IO_NOW]) == 2 && in_flight(ops[KV_IO_AHEAD]) == 3);
    CHECK(in_flight(ops[KV_IO_BEHIND]) == 4);
    kvh_faults_release(faults);
    for (int urgency = 0; urgency < KV_IO_URGENCIES; urgency++)
        for (int i = 0; i < OPS; i++) CHECK(kv_io_wait(io, &ops[urgency][i]) == RT_OK);
    close_all();
}

/* Two silent operations fill the depth of the urgent: those behind them fail at once, the other
 * urgencies go on, and memory stays in flight until the answers come. */
static void check_late(void) {
    kv_io_op now[OPS];
    open_all(KVH_LATE, 0, true, 0.02);
    for (int i = 0; i < OPS; i++) {
        now[i] = op_of(i, KV_IO_NOW);
        kv_io_start(io, &now[i]);
    }
    for (int i = 0; i < OPS; i++) {
        CHECK(kv_io_wait(io, &now[i]) == RT_EIO);
        CHECK(strstr(rt_error_text(), "no answer for 4096 bytes"));
    }
    CHECK(in_flight(now) == 2 && now[0].is_in_flight && now[1].is_in_flight);
    CHECK(kv_io_stats_of(io).n_late == 2);
    kv_file_close(file);
    CHECK(kvh_faults_closed(faults) == 0); /* another file could get the descriptor */
    CHECK(kv_io_close(io) == RT_EIO && strstr(rt_error_text(), "never answered"));
    kvh_faults_release(faults);
    while (in_flight(now) > 0) kv_io_poll(io);
    CHECK(now[0].is_done && now[0].error == KV_IO_ELATE); /* late stays late */
    CHECK(kvh_faults_closed(faults) == 1);
    CHECK(kv_io_close(io) == RT_OK);
    free(memory);
}

/* A file's owner is gone before its last block is answered: an error, and the descriptor stays until then. */
static void check_late_block(void) {
    kv_blocks *blocks = NULL;
    open_all(KVH_LATE, 0, true, 0.02);
    CHECK(kv_blocks_create(io, &blocks) == RT_OK);
    CHECK(kv_blocks_write(blocks, file, 0, KV_IO_ALIGN, memory) == RT_EIO);
    kv_blocks_close_file(blocks, file);
    kv_blocks_free(blocks);
    CHECK(kvh_faults_closed(faults) == 0);
    CHECK(kv_io_close(io) == RT_EIO && strstr(rt_error_text(), "never answered"));
    kvh_faults_release(faults);
    while (kvh_faults_closed(faults) == 0) kv_io_poll(io);
    CHECK(kv_io_close(io) == RT_OK);
    free(memory);
}

/* Half a second during which nobody asks is no half second for a deadline. */
static void check_unwatched(void) {
    open_all(KVH_LATE, 0, true, 0.5);
    kv_io_op op = op_of(0, KV_IO_NOW);
    kv_io_start(io, &op);
    kv_io_poll(io);
    (void)usleep(600000);
    kv_io_poll(io);
    CHECK(!op.is_done);
    kvh_faults_release(faults);
    CHECK(kv_io_wait(io, &op) == RT_OK);
    close_all();
}

/* Stopped past its deadline, with the answer there: it is taken. */
static void check_stopped(void) {
    open_all(KVH_STOPPED, 0, false, 0.02);
    kv_io_op op = op_of(0, KV_IO_NOW);
    kv_io_start(io, &op);
    CHECK(kv_io_wait(io, &op) == RT_OK && kvh_faults_injected(faults) == 1);
    close_all();
}

static void check_files(void) {
    open_all(KVH_OPEN_EINTR, 0, false, 0);
    close_all();
    open_all(KVH_RESERVE_EOPNOTSUPP, 0, true, 0);
    CHECK(kv_file_reserve(file, 4096) == RT_OK);
    close_all();
    open_all(KVH_RESERVE_ENOSPC, 0, true, 0);
    CHECK(kv_file_reserve(file, 4096) == RT_ENOFIT);
    CHECK(strstr(rt_error_text(), "cannot reserve space for in memory: No space left"));
    close_all();
    open_all(KVH_OPEN_EMFILE, 1, true, 0);
    kv_file *other = NULL;
    CHECK(kv_file_open(io, "another", O_RDWR, &other) == RT_EIO && !other);
    CHECK(strstr(rt_error_text(), "cannot open another: Too many open files"));
    close_all();
}

/* The kernel forgets a failed sync and reports the next one good: a file gets one chance. */
static void check_dead_file(void) {
    open_all(KVH_SYNC_EIO, 1, false, 0);
    kv_io_op op = op_of(0, KV_IO_BEHIND);
    kv_io_start(io, &op);
    CHECK(kv_io_wait(io, &op) == RT_OK);
    CHECK(kv_file_sync(file) == RT_OK);
    CHECK(kv_file_sync(file) == RT_EIO);
    CHECK(kv_file_sync(file) == RT_EIO);
    CHECK(kvh_faults_events(faults) == 2);
    kv_io_start(io, &op);
    CHECK(kv_io_wait(io, &op) == RT_EIO);
    close_all();
}

int main(void) {
    check_depths();
    check_late();
    if (!getenv("GLM_TEST_FAST"))
        check_late_block(); /* two seconds; and the block is nobody's then */
    check_unwatched();
    check_stopped();
    check_files();
    check_dead_file();
    return 0;
}
