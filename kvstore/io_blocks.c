/* A transfer that was late stays in flight: its memory and its file wait in `late` until the answer
 * comes, since a number closed too early would soon be another file's. */
#include "io_blocks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "runtime/base/log.h"
#include "runtime/base/memory.h"
#include "runtime/base/size.h"

enum { TRANSFER_BYTES = 1 << 20, QUEUE_MAX = 8, AHEAD_MAX = 8, TEXT_BYTES = 512 };

typedef struct transfer {
    kv_io_op op;
    struct transfer *next; /* in `late`, or in `ready` */
    bool closes_file;      /* once answered */
    char *bytes;           /* TRANSFER_BYTES */
} transfer;

struct kv_blocks {
    kv_io *io;
    transfer *ready; /* NULL after one was late */
    transfer *late;
    transfer *queued[QUEUE_MAX]; /* writes that nobody has waited for yet, the oldest first */
    int32_t n_queued;
    rt_status
            queue_status; /* of those that were waited for since they were settled: the first failure, */
    char queue_text[TEXT_BYTES]; /* and its text */
};

static void free_transfer(transfer *t) {
    if (!t) return;
    free(t->bytes);
    free(t);
}

static rt_status new_transfer(transfer **out) {
    transfer *t = NULL;
    RT_TRY(rt_calloc(1, sizeof *t, "a transfer", &t));
    t->bytes = aligned_alloc(KV_IO_ALIGN, TRANSFER_BYTES);
    if (!t->bytes) {
        free(t);
        return rt_fail(RT_ENOMEM, "kvstore: no memory for a transfer, %d bytes", TRANSFER_BYTES);
    }
    *out = t;
    return RT_OK;
}

rt_status kv_blocks_create(kv_io *io, kv_blocks **out) {
    kv_blocks *blocks = NULL;
    RT_TRY(rt_calloc(1, sizeof *blocks, "block transfers", &blocks));
    blocks->io = io;
    const rt_status status = new_transfer(&blocks->ready);
    if (status != RT_OK) {
        free(blocks);
        return status;
    }
    *out = blocks;
    return RT_OK;
}

static bool has_other_late(const kv_blocks *blocks, const transfer *but) {
    for (const transfer *t = blocks->late; t; t = t->next)
        if (t != but && t->op.file == but->op.file) return true;
    return false;
}

/* Let go of what has been answered meanwhile. */
static void reap(kv_blocks *blocks) {
    for (transfer **link = &blocks->late; *link;) {
        transfer *t = *link;
        if (t->op.is_in_flight || (t->closes_file && has_other_late(blocks, t))) {
            link = &t->next;
            continue;
        }
        *link = t->next;
        if (t->closes_file) kv_file_close(t->op.file);
        free_transfer(t);
    }
}

void kv_blocks_free(kv_blocks *blocks) {
    if (!blocks) return;
    const rt_status ignored = kv_blocks_settle(blocks);
    (void)ignored;
    const double patience = rt_now() + 2;
    while (blocks->late && rt_now() < patience) {
        kv_io_poll(blocks->io);
        reap(blocks);
        const struct timespec pause = {.tv_nsec = 1000000};
        if (blocks->late) (void)nanosleep(&pause, NULL);
    }
    for (transfer *t = blocks->late; t; t = t->next)   /* what is still late stays the kernel's, */
        if (t->closes_file) kv_file_close(t->op.file); /* its file is closed with the answer */
    free_transfer(blocks->ready);
    free(blocks);
}

void kv_blocks_close_file(kv_blocks *blocks, kv_file *file) {
    if (!file) return;
    reap(blocks);
    for (transfer *t = blocks->late; t; t = t->next)
        if (t->op.file == file) {
            t->closes_file = true;
            return;
        }
    kv_file_close(file);
}

static rt_status ensure_ready(kv_blocks *blocks) {
    reap(blocks);
    return blocks->ready ? RT_OK : new_transfer(&blocks->ready);
}

static transfer *take_ready(kv_blocks *blocks) {
    transfer *t = blocks->ready;
    blocks->ready = t->next;
    t->next = NULL;
    return t;
}

static void start(kv_blocks *blocks, transfer *t, kv_file *file, bool is_write, int64_t offset,
        int64_t n_bytes) {
    t->op = (kv_io_op){.file = file,
            .is_write = is_write,
            .urgency = is_write ? KV_IO_BEHIND : KV_IO_NOW,
            .bytes = t->bytes,
            .n_bytes = n_bytes,
            .offset = offset};
    kv_io_start(blocks->io, &t->op);
}

/* It is ready again, unless it was late. */
static void put_back(kv_blocks *blocks, transfer *t) {
    transfer **list = t->op.is_in_flight ? &blocks->late : &blocks->ready;
    t->next = *list;
    *list = t;
}

static rt_status wait(kv_blocks *blocks, transfer *t) {
    const rt_status status = kv_io_wait(blocks->io, &t->op);
    put_back(blocks, t);
    return status;
}

/* One is kept for the next time. */
static void free_ready(kv_blocks *blocks) {
    while (blocks->ready && blocks->ready->next) free_transfer(take_ready(blocks));
}

static int64_t fill(transfer *t, const void *bytes, int64_t n_bytes) {
    const int64_t n_padded = rt_round_up(n_bytes, KV_IO_ALIGN);
    memcpy(t->bytes, bytes, (size_t)n_bytes);
    memset(t->bytes + n_bytes, 0, (size_t)(n_padded - n_bytes));
    return n_padded;
}

rt_status kv_blocks_write(
        kv_blocks *blocks, kv_file *file, int64_t offset, int64_t n_bytes, const void *bytes) {
    for (int64_t done = 0; done < n_bytes; done += TRANSFER_BYTES) {
        const int64_t n = rt_min64(n_bytes - done, TRANSFER_BYTES);
        RT_TRY(ensure_ready(blocks));
        transfer *t = take_ready(blocks);
        start(blocks, t, file, true, offset + done, fill(t, (const char *)bytes + done, n));
        RT_TRY(wait(blocks, t));
    }
    return RT_OK;
}

/* ---- reading ahead --------------------------------------------------------------------------- */

struct kv_reader {
    kv_blocks *blocks;
    kv_file *file;
    int64_t at, end;            /* in the file: what is asked for next, and what never is */
    transfer *ahead[AHEAD_MAX]; /* asked for, the oldest first */
    int32_t n_ahead;
    transfer *here; /* answered, and not all taken; NULL: none */
    int64_t n_here, n_taken;
    rt_status failed; /* then the bytes that follow are not known */
};

/* As many as may be. Where there is no memory for another, those that are on their way have to do. */
static rt_status ask_ahead(kv_reader *r) {
    bool is_more = false;
    while (r->at < r->end && r->n_ahead + (r->here != NULL) < AHEAD_MAX) {
        const rt_status status = ensure_ready(r->blocks);
        if (status != RT_OK && r->n_ahead == 0) return status;
        if (status != RT_OK) break;
        const int64_t n = rt_min64(r->end - r->at, TRANSFER_BYTES);
        transfer *t = r->ahead[r->n_ahead++] = take_ready(r->blocks);
        start(r->blocks, t, r->file, false, r->at, rt_round_up(n, KV_IO_ALIGN));
        r->at += n;
        is_more = true;
    }
    if (is_more) kv_io_poll(r->blocks->io);
    return RT_OK;
}

static transfer *take_oldest(kv_reader *r) {
    transfer *oldest = r->ahead[0];
    r->n_ahead--;
    memmove(r->ahead, r->ahead + 1, (size_t)r->n_ahead * sizeof *r->ahead);
    return oldest;
}

/* Until something is here to be taken. */
static rt_status fetch(kv_reader *r) {
    RT_TRY(ask_ahead(r));
    rt_assert(r->n_ahead > 0); /* or more is taken than there was to be */
    transfer *t = take_oldest(r);
    const rt_status status = kv_io_wait(r->blocks->io, &t->op);
    if (status != RT_OK) {
        put_back(r->blocks, t);
        return status;
    }
    r->here = t;
    r->n_here = t->op.n_bytes;
    r->n_taken = 0;
    return RT_OK;
}

static void release_here(kv_reader *r) {
    put_back(r->blocks, r->here);
    r->here = NULL;
}

static rt_status take(kv_reader *r, void *bytes, int64_t n_bytes) {
    for (int64_t done = 0, n; done < n_bytes; done += n) {
        if (!r->here) RT_TRY(fetch(r));
        n = rt_min64(n_bytes - done, r->n_here - r->n_taken);
        memcpy((char *)bytes + done, r->here->bytes + r->n_taken, (size_t)n);
        r->n_taken += n;
        if (r->n_taken == r->n_here) release_here(r);
    }
    const rt_status ignored = ask_ahead(r); /* or the next time */
    (void)ignored;
    return RT_OK;
}

static void end_reading(kv_reader *r) {
    if (r->here) release_here(r);
    while (r->n_ahead > 0) {
        transfer *t = take_oldest(r);
        kv_io_settle(r->blocks->io, &t->op);
        put_back(r->blocks, t);
    }
    free_ready(r->blocks);
}

static kv_reader reader_of(kv_blocks *blocks, kv_file *file, int64_t offset, int64_t n_bytes) {
    return (kv_reader){.blocks = blocks, .file = file, .at = offset, .end = offset + n_bytes};
}

rt_status kv_reader_open(
        kv_blocks *blocks, kv_file *file, int64_t offset, int64_t n_bytes, kv_reader **out) {
    RT_TRY(rt_calloc(1, sizeof **out, "reading ahead", out));
    **out = reader_of(blocks, file, offset, n_bytes);
    return RT_OK;
}

rt_status kv_reader_start(kv_reader *reader) {
    return ask_ahead(reader);
}

rt_status kv_reader_take(kv_reader *reader, void *bytes, int64_t n_bytes) {
    if (reader->failed != RT_OK)
        return rt_fail(reader->failed, "kvstore: what was before in %s could not be read",
                kv_file_path(reader->file));
    return reader->failed = take(reader, bytes, n_bytes);
}

void kv_reader_close(kv_reader *reader) {
    if (!reader) return;
    end_reading(reader);
    free(reader);
}

rt_status kv_blocks_read(
        kv_blocks *blocks, kv_file *file, int64_t offset, int64_t n_bytes, void *bytes) {
    kv_reader reader = reader_of(blocks, file, offset, n_bytes);
    const rt_status status = take(&reader, bytes, n_bytes);
    end_reading(&reader);
    return status;
}

/* ---- queued writes --------------------------------------------------------------------------- */

static void note(kv_blocks *blocks, rt_status status) {
    if (status == RT_OK || blocks->queue_status != RT_OK) return;
    blocks->queue_status = status;
    (void)snprintf(blocks->queue_text, sizeof blocks->queue_text, "%s", rt_error_text());
}

static void wait_for_oldest(kv_blocks *blocks) {
    transfer *oldest = blocks->queued[0];
    blocks->n_queued--;
    memmove(blocks->queued, blocks->queued + 1, (size_t)blocks->n_queued * sizeof *blocks->queued);
    note(blocks, wait(blocks, oldest));
}

/* Where there is no memory for another, those that are under way give theirs. */
static transfer *next_transfer(kv_blocks *blocks) {
    if (blocks->n_queued == QUEUE_MAX) wait_for_oldest(blocks);
    rt_status status = ensure_ready(blocks);
    while (status != RT_OK && blocks->n_queued > 0) {
        wait_for_oldest(blocks);
        if (blocks->ready) status = RT_OK;
    }
    note(blocks, status);
    return status == RT_OK ? take_ready(blocks) : NULL;
}

void kv_blocks_queue(
        kv_blocks *blocks, kv_file *file, int64_t offset, int64_t n_bytes, const void *bytes) {
    for (int64_t done = 0; done < n_bytes; done += TRANSFER_BYTES) {
        transfer *t = next_transfer(blocks);
        if (!t) return;
        const int64_t n = rt_min64(n_bytes - done, TRANSFER_BYTES);
        start(blocks, t, file, true, offset + done, fill(t, (const char *)bytes + done, n));
        blocks->queued[blocks->n_queued++] = t;
    }
}

rt_status kv_blocks_settle(kv_blocks *blocks) {
    while (blocks->n_queued > 0) wait_for_oldest(blocks);
    free_ready(blocks);
    const rt_status status = blocks->queue_status;
    blocks->queue_status = RT_OK;
    return status == RT_OK ? RT_OK : rt_fail(status, "%s", blocks->queue_text);
}
