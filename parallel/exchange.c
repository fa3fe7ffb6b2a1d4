#include "exchange.h"

#include <sched.h>
#include <string.h>

#include "runtime/base/log.h"
#include "runtime/base/size.h"

/* Floats of an operand that one rank sums at a time: three of these a rank stay in its cache. */
enum { SLICE = 1 << 15 };
/* Up to here everybody sends everything to everybody. */
enum { WHOLE_MAX = 1 << 12 };

/* Waiting: look again at once for so long, then sleep, longer each time. */
static const double spin_s = 100e-6;
enum { SLEEP_US_MIN = 20, SLEEP_US_MAX = 1000 };

static rt_status wait_all(par_wire *wire, double spinning_s) {
    const double begin = rt_now();
    int64_t sleep_us = SLEEP_US_MIN;
    for (;;) {
        RT_TRY(wire->progress(wire));
        if (!wire->sending && !wire->receiving) return RT_OK;
        if (rt_now() - begin < spinning_s) {
            (void)sched_yield();
            continue;
        }
        wire->sleep(wire, sleep_us);
        sleep_us = sleep_us * 2 < SLEEP_US_MAX ? sleep_us * 2 : SLEEP_US_MAX;
    }
}

/* ---- sums ------------------------------------------------------------------------------------ */

int64_t par_exchange_scratch_bytes(int32_t n_ranks) {
    return (int64_t)n_ranks * SLICE * (int64_t)sizeof(float);
}

/* to[i] += row[i]. In steps of a fixed number, which the compiler turns into vectors. */
static void add_row(float *restrict to, const float *restrict row, int64_t n) {
    enum { STEP = 16 };
    int64_t i = 0;
    for (; i + STEP <= n; i += STEP)
        for (int k = 0; k < STEP; k++) to[i + k] += row[i + k];
    for (; i < n; i++) to[i] += row[i];
}

/* data[i] = rows[0][i] + rows[1][i] + ..., this rank's row being data itself. A block at a time, so that
 * all its rows are in the cache once. */
static void sum_rows(const par_wire *wire, float *data, float *rows, int64_t n) {
    enum { BLOCK = 1 << 11 };
    memcpy(rows + wire->rank * n, data, (size_t)n * sizeof *data);
    for (int64_t begin = 0; begin < n; begin += BLOCK) {
        const int64_t count = rt_min64(BLOCK, n - begin);
        memcpy(data + begin, rows + begin, (size_t)count * sizeof *data);
        for (int32_t r = 1; r < wire->n_ranks; r++)
            add_row(data + begin, rows + r * n + begin, count);
    }
}

static rt_status reduce_whole(par_wire *wire, float *data, int64_t n, float *rows) {
    for (int32_t r = 0; r < wire->n_ranks; r++) {
        if (r == wire->rank) continue;
        RT_TRY(wire->post_recv(wire, r, rows + r * n, n * (int64_t)sizeof(float)));
        RT_TRY(wire->post_send(wire, r, data, n * (int64_t)sizeof(float)));
    }
    RT_TRY(wait_all(wire, spin_s));
    sum_rows(wire, data, rows, n);
    return RT_OK;
}

/* Slice r of n floats begins at n r / n_ranks. */
static int64_t slice_begin(const par_wire *wire, int64_t n, int32_t r) {
    return n * r / wire->n_ranks;
}

static int64_t slice_bytes(const par_wire *wire, int64_t n, int32_t r) {
    return (slice_begin(wire, n, r + 1) - slice_begin(wire, n, r)) * (int64_t)sizeof(float);
}

/* At most n_ranks x SLICE floats. */
static rt_status reduce_slices(par_wire *wire, float *data, int64_t n, float *rows) {
    const int64_t begin = slice_begin(wire, n, wire->rank);
    const int64_t mine = slice_begin(wire, n, wire->rank + 1) - begin;
    for (int32_t r = 0; r < wire->n_ranks; r++) {
        if (r == wire->rank) continue;
        RT_TRY(wire->post_recv(wire, r, rows + r * mine, mine * (int64_t)sizeof(float)));
        RT_TRY(wire->post_send(wire, r, data + slice_begin(wire, n, r), slice_bytes(wire, n, r)));
    }
    RT_TRY(wait_all(wire, spin_s));
    sum_rows(wire, data + begin, rows, mine);
    for (int32_t r = 0; r < wire->n_ranks; r++) {
        if (r == wire->rank) continue;
        RT_TRY(wire->post_recv(wire, r, data + slice_begin(wire, n, r), slice_bytes(wire, n, r)));
        RT_TRY(wire->post_send(wire, r, data + begin, mine * (int64_t)sizeof(float)));
    }
    return wait_all(wire, spin_s);
}

rt_status par_exchange_all_reduce(par_wire *wire, float *data, int64_t n, void *scratch) {
    if (wire->n_ranks == 1) return RT_OK;
    if (n <= WHOLE_MAX) return n > 0 ? reduce_whole(wire, data, n, scratch) : RT_OK;
    const int64_t step = (int64_t)wire->n_ranks * SLICE;
    for (int64_t done = 0; done < n; done += step)
        RT_TRY(reduce_slices(wire, data + done, rt_min64(step, n - done), scratch));
    return RT_OK;
}

/* ---- copies ---------------------------------------------------------------------------------- */

rt_status par_exchange_all_gather(par_wire *wire, const void *mine, int64_t n_bytes, void *all) {
    char *const places = all;
    char *const place = places + wire->rank * n_bytes;
    if (mine != place) memcpy(place, mine, (size_t)n_bytes);
    for (int64_t done = 0; done < n_bytes; done += PAR_MESSAGE_BYTES_MAX) {
        const int64_t n = rt_min64(PAR_MESSAGE_BYTES_MAX, n_bytes - done);
        for (int32_t r = 0; r < wire->n_ranks; r++) {
            if (r == wire->rank) continue;
            RT_TRY(wire->post_recv(wire, r, places + r * n_bytes + done, n));
            RT_TRY(wire->post_send(wire, r, place + done, n));
        }
        RT_TRY(wait_all(wire, spin_s));
    }
    return RT_OK;
}

rt_status par_exchange_send(par_wire *wire, const void *data, int64_t n_bytes, int32_t to) {
    const char *bytes = data;
    for (int64_t done = 0; done < n_bytes; done += PAR_MESSAGE_BYTES_MAX) {
        RT_TRY(wire->post_send(
                wire, to, bytes + done, rt_min64(PAR_MESSAGE_BYTES_MAX, n_bytes - done)));
        RT_TRY(wait_all(wire, spin_s));
    }
    return RT_OK;
}

static rt_status recv_spinning(
        par_wire *wire, void *data, int64_t n_bytes, int32_t from, double spinning_s) {
    char *bytes = data;
    for (int64_t done = 0; done < n_bytes; done += PAR_MESSAGE_BYTES_MAX) {
        RT_TRY(wire->post_recv(
                wire, from, bytes + done, rt_min64(PAR_MESSAGE_BYTES_MAX, n_bytes - done)));
        RT_TRY(wait_all(wire, spinning_s));
    }
    return RT_OK;
}

rt_status par_exchange_recv(par_wire *wire, void *data, int64_t n_bytes, int32_t from) {
    return recv_spinning(wire, data, n_bytes, from, spin_s);
}

/* A binomial tree over ranks counted from the root: who has it at distance d hands it to d + step,
 * for step = the largest power of two below n_ranks, halving. */
rt_status par_exchange_broadcast(par_wire *wire, void *data, int64_t n_bytes, int32_t root) {
    const int32_t n = wire->n_ranks;
    const int32_t distance = (wire->rank - root + n) % n;
    int32_t step = 1;
    while (step < n) step *= 2;
    bool has_it = distance == 0;
    for (step /= 2; step >= 1; step /= 2) {
        if (has_it && distance + step < n) {
            RT_TRY(par_exchange_send(wire, data, n_bytes, (wire->rank + step) % n));
        } else if (!has_it && distance % step == 0) {
            RT_TRY(par_exchange_recv(wire, data, n_bytes, (wire->rank - step + n) % n));
            has_it = true;
        }
    }
    return RT_OK;
}

/* ---- control --------------------------------------------------------------------------------- */

rt_status par_exchange_tell(par_wire *wire, void *bytes, int64_t n_bytes) {
    if (wire->rank != 0) return recv_spinning(wire, bytes, n_bytes, 0, 0.0);
    const char *const from = bytes;
    for (int64_t done = 0; done < n_bytes; done += PAR_MESSAGE_BYTES_MAX) {
        for (int32_t r = 1; r < wire->n_ranks; r++)
            RT_TRY(wire->post_send(
                    wire, r, from + done, rt_min64(PAR_MESSAGE_BYTES_MAX, n_bytes - done)));
        RT_TRY(wait_all(wire, spin_s));
    }
    return RT_OK;
}

/* In round k everybody hears from the one 2^k before it: after the last round, of all. */
rt_status par_exchange_barrier(par_wire *wire) {
    const int32_t n = wire->n_ranks;
    for (int32_t step = 1; step < n; step *= 2) {
        const char out = 'b';
        char in = 0;
        RT_TRY(wire->post_recv(wire, (wire->rank - step + n) % n, &in, 1));
        RT_TRY(wire->post_send(wire, (wire->rank + step) % n, &out, 1));
        RT_TRY(wait_all(wire, spin_s));
    }
    return RT_OK;
}
