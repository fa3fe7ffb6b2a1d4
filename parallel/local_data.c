/* Payload of comm_local. A collective takes its operand in pieces of a slot. Each piece goes through
 * phases; a rank that has finished one adds 1 to its `posted` and goes on when all others have, too:
 *
 *     put     its own piece lies in its slot, labelled
 *     sum     all_reduce only: it has added up its part of the piece, over ranks in ascending order
 *     take    what it needs of the others' is copied out: slots may be written again
 *
 * The last wait is the next piece's first, so it costs nothing where ranks go at one pace. Who waits
 * spins a little (not where there are more ranks than cores) and then sleeps on the futex.
 *
 * Labels say which collective a piece belongs to and carry hashes of it: ranks that are not at the
 * same place, or bytes that are not what was put there, end the group with a message. */
#include <inttypes.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <xxhash.h>

#include "local.h"
#include "runtime/base/log.h"
#include "runtime/base/size.h"

enum { KIND_REDUCE = 1, KIND_GATHER, KIND_BROADCAST, KIND_SHARE, KIND_BARRIER, KIND_MAIL };
enum { NAP_MS = 500 };

static const char *kind_name(uint32_t kind) {
    static const char *const names[] = {
            "nothing", "a sum", "a gathering", "a broadcast", "a share", "a barrier", "a mail"};
    return kind < sizeof names / sizeof names[0] ? names[kind] : "something unknown";
}

bool local_is_at_barrier(const local_comm *local) {
    return local->last_kind == KIND_BARRIER;
}

/* ---- phases ---------------------------------------------------------------------------------- */

static void futex_wake(_Atomic uint32_t *word) {
    (void)syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

static void futex_wait(_Atomic uint32_t *word, uint32_t seen) {
    const struct timespec nap = {.tv_nsec = NAP_MS * 1000000L};
    (void)syscall(SYS_futex, word, FUTEX_WAIT, seen, &nap, NULL, 0);
}

void local_wake(local_comm *local) {
    for (int r = 0; r < local->comm.n_ranks; r++) {
        local_rank *rank = &local->head->ranks[r];
        futex_wake(&rank->posted);
        futex_wake(&rank->mailed);
        futex_wake(&rank->taken);
    }
}

static bool is_before(uint32_t a, uint32_t b) {
    return (int32_t)(a - b) < 0;
}

/* Until *word is no longer before `target`. A spin that was in vain halves the next one, a rank that comes
 * while this one spins doubles it: where cores are shared with other work the rank that is waited for
 * may need the one that spins. */
static rt_status wait_for(local_comm *local, _Atomic uint32_t *word, uint32_t target) {
    const int32_t n_spins = local->n_spins;
    for (int32_t i = 0; i < n_spins; i++) {
        if (!is_before(atomic_load_explicit(word, memory_order_acquire), target)) {
            if (i > 0) local->n_spins = (int32_t)rt_min64(2 * (int64_t)n_spins, LOCAL_SPINS_MAX);
            return RT_OK;
        }
#if defined(__x86_64__)
        __builtin_ia32_pause();
#endif
    }
    if (n_spins > 0) local->n_spins = (int32_t)rt_max64(n_spins / 2, LOCAL_SPINS_MIN);
    for (;;) {
        const uint32_t seen = atomic_load_explicit(word, memory_order_acquire);
        if (!is_before(seen, target)) return RT_OK;
        if (local_has_ended(local)) return local_ended(local);
        futex_wait(word, seen);
    }
}

static void post(local_comm *local) {
    _Atomic uint32_t *word = &local->head->ranks[local->comm.rank].posted;
    local->phase++;
    atomic_store_explicit(word, local->phase, memory_order_release);
    futex_wake(word);
}

/* Until every rank has posted as many phases as this one. */
static rt_status wait_all(local_comm *local) {
    const double started = rt_now();
    for (int r = 0; r < local->comm.n_ranks; r++)
        if (r != local->comm.rank)
            RT_TRY(wait_for(local, &local->head->ranks[r].posted, local->phase));
    local->comm.stats.wait_s += rt_now() - started;
    return RT_OK; /* what all have posted can be finished, also where one has left since */
}

/* ---- pieces ---------------------------------------------------------------------------------- */

static char *slot_of(const local_comm *local, int rank) {
    return local->slots + (int64_t)rank * LOCAL_SLOT_BYTES;
}

static local_label *label_of(const local_comm *local, int rank) {
    return &local->head->ranks[rank].label;
}

/* The part of n floats that a rank adds up. */
static int64_t part_begin(const local_comm *local, int64_t n, int rank) {
    return n * rank / local->comm.n_ranks;
}

/* Wait until the slots are free, and label what is about to lie in this rank's. */
static rt_status begin_piece(
        local_comm *local, uint32_t kind, int64_t n_bytes, int64_t n_total, int32_t root) {
    RT_TRY(wait_all(local));
    local->last_kind = kind;
    local_label *label = label_of(local, local->comm.rank);
    label->serial = ++local->serial;
    label->kind = kind;
    label->n_bytes = n_bytes;
    label->n_total = n_total;
    label->peer = (uint32_t)root;
    return RT_OK;
}

static rt_status check_label(local_comm *local, int rank) {
    const local_label *mine = label_of(local, local->comm.rank);
    const local_label *its = label_of(local, rank);
    char what[256];
    if (its->serial == mine->serial && its->kind == mine->kind && its->n_bytes == mine->n_bytes &&
            its->n_total == mine->n_total && its->peer == mine->peer)
        return RT_OK;
    (void)snprintf(what, sizeof what,
            "%s of %" PRId64 " bytes, number %" PRIu64 "; due is %s of %" PRId64
            " bytes, number %" PRIu64,
            kind_name(its->kind), its->n_total, its->serial, kind_name(mine->kind), mine->n_total,
            mine->serial);
    return local_blame(local, rank, what);
}

/* Everybody's piece is there, and is of the same collective. */
static rt_status meet(local_comm *local) {
    post(local);
    RT_TRY(wait_all(local));
    for (int r = 0; r < local->comm.n_ranks; r++) RT_TRY(check_label(local, r));
    return RT_OK;
}

rt_status local_check_hash(
        local_comm *local, int rank, const void *bytes, int64_t n_bytes, uint64_t hash) {
    if (XXH3_64bits(bytes, (size_t)n_bytes) == hash) return RT_OK;
    return local_blame(local, rank, "its bytes do not match their checksum");
}

/* ---- all_reduce ------------------------------------------------------------------------------ */

static void put_summands(local_comm *local, const float *data, int64_t n) {
    local_label *label = label_of(local, local->comm.rank);
    float *slot = (float *)(void *)slot_of(local, local->comm.rank);
    for (int r = 0; r < local->comm.n_ranks; r++) {
        const int64_t begin = part_begin(local, n, r);
        const size_t n_bytes = (size_t)(part_begin(local, n, r + 1) - begin) * sizeof *data;
        memcpy(slot + begin, data + begin, n_bytes);
        label->hash[r] = XXH3_64bits(slot + begin, n_bytes);
    }
}

/* Eight side by side, as a vector has them. */
static void add(float *restrict sum, const float *restrict more, int64_t n) {
    int64_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (int64_t k = 0; k < 8; k++) sum[i + k] += more[i + k];
    for (; i < n; i++) sum[i] += more[i];
}

/* This rank's part: the summands of rank 0, plus those of rank 1, and so on. */
static rt_status add_part(local_comm *local, int64_t n) {
    const int mine = local->comm.rank;
    const int64_t begin = part_begin(local, n, mine);
    const int64_t count = part_begin(local, n, mine + 1) - begin;
    float *sum = local->sum + begin;
    for (int r = 0; r < local->comm.n_ranks; r++) {
        const float *slot = (const float *)(const void *)slot_of(local, r) + begin;
        RT_TRY(local_check_hash(local, r, slot, count * 4, label_of(local, r)->hash[mine]));
        if (r == 0)
            memcpy(sum, slot, (size_t)count * sizeof *sum);
        else
            add(sum, slot, count);
    }
    label_of(local, mine)->result_hash = XXH3_64bits(sum, (size_t)count * sizeof *sum);
    return RT_OK;
}

static rt_status take_sum(local_comm *local, float *data, int64_t n) {
    for (int r = 0; r < local->comm.n_ranks; r++) {
        const int64_t begin = part_begin(local, n, r);
        const int64_t count = part_begin(local, n, r + 1) - begin;
        RT_TRY(local_check_hash(
                local, r, local->sum + begin, count * 4, label_of(local, r)->result_hash));
        memcpy(data + begin, local->sum + begin, (size_t)count * sizeof *data);
    }
    return RT_OK;
}

static rt_status reduce_piece(local_comm *local, float *data, int64_t n, int64_t n_total) {
    RT_TRY(begin_piece(local, KIND_REDUCE, n * 4, n_total * 4, 0));
    put_summands(local, data, n);
    RT_TRY(meet(local));
    RT_TRY(add_part(local, n));
    post(local);
    RT_TRY(wait_all(local));
    RT_TRY(take_sum(local, data, n));
    post(local);
    return RT_OK;
}

/* Count a data collective, and what of its time was not waiting. */
static void count(local_comm *local, int64_t n_bytes, double started, double waited) {
    par_stats *stats = &local->comm.stats;
    stats->n_calls++;
    stats->n_bytes += n_bytes;
    stats->move_s += rt_now() - started - (stats->wait_s - waited);
}

rt_status local_all_reduce(par_comm *comm, float *data, int64_t n, void *stream) {
    (void)stream;
    local_comm *local = local_of(comm);
    const double started = rt_now();
    const double waited = comm->stats.wait_s;
    const int64_t step = LOCAL_SLOT_BYTES / (int64_t)sizeof *data;
    for (int64_t done = 0; done < n; done += step)
        RT_TRY(reduce_piece(local, data + done, rt_min64(step, n - done), n));
    count(local, n * 4, started, waited);
    return RT_OK;
}

/* ---- the others ------------------------------------------------------------------------------ */

static void put_bytes(local_comm *local, const void *bytes, int64_t n_bytes) {
    char *slot = slot_of(local, local->comm.rank);
    if (n_bytes > 0) memcpy(slot, bytes, (size_t)n_bytes);
    label_of(local, local->comm.rank)->hash[0] = XXH3_64bits(slot, (size_t)n_bytes);
}

static rt_status take_bytes(local_comm *local, int rank, void *bytes, int64_t n_bytes) {
    RT_TRY(local_check_hash(
            local, rank, slot_of(local, rank), n_bytes, label_of(local, rank)->hash[0]));
    if (n_bytes > 0) memcpy(bytes, slot_of(local, rank), (size_t)n_bytes);
    return RT_OK;
}

static rt_status gather(
        local_comm *local, uint32_t kind, const char *mine, int64_t n_bytes, char *all) {
    int64_t done = 0;
    do {
        const int64_t n = rt_min64(LOCAL_SLOT_BYTES, n_bytes - done);
        RT_TRY(begin_piece(local, kind, n, n_bytes, 0));
        put_bytes(local, mine + done, n);
        RT_TRY(meet(local));
        for (int r = 0; r < local->comm.n_ranks; r++)
            RT_TRY(take_bytes(local, r, all + r * n_bytes + done, n));
        post(local);
        done += n;
    } while (done < n_bytes);
    return RT_OK;
}

rt_status local_all_gather(
        par_comm *comm, const void *mine, int64_t n_bytes, void *all, void *stream) {
    (void)stream;
    local_comm *local = local_of(comm);
    const double started = rt_now();
    const double waited = comm->stats.wait_s;
    RT_TRY(gather(local, KIND_GATHER, mine, n_bytes, all));
    count(local, n_bytes, started, waited);
    return RT_OK;
}

rt_status local_share(par_comm *comm, const void *mine, int64_t n_bytes, void *all) {
    rt_assert(n_bytes <= PAR_SHARE_BYTES_MAX);
    return gather(local_of(comm), KIND_SHARE, mine, n_bytes, all);
}

rt_status local_barrier(par_comm *comm) {
    return gather(local_of(comm), KIND_BARRIER, NULL, 0, NULL);
}

static rt_status broadcast_piece(
        local_comm *local, char *data, int64_t n, int64_t n_total, int32_t root) {
    RT_TRY(begin_piece(local, KIND_BROADCAST, n, n_total, root));
    if (local->comm.rank == root) put_bytes(local, data, n);
    RT_TRY(meet(local));
    if (local->comm.rank != root) RT_TRY(take_bytes(local, root, data, n));
    post(local);
    return RT_OK;
}

rt_status local_broadcast(par_comm *comm, void *data, int64_t n_bytes, int32_t root, void *stream) {
    (void)stream;
    rt_assert(root >= 0 && root < comm->n_ranks);
    local_comm *local = local_of(comm);
    const double started = rt_now();
    const double waited = comm->stats.wait_s;
    for (int64_t done = 0; done < n_bytes; done += LOCAL_SLOT_BYTES)
        RT_TRY(broadcast_piece(local, (char *)data + done,
                rt_min64(LOCAL_SLOT_BYTES, n_bytes - done), n_bytes, root));
    count(local, n_bytes, started, waited);
    return RT_OK;
}

/* ---- mails: from one rank to another --------------------------------------------------------- */

rt_status local_send(par_comm *comm, const void *data, int64_t n_bytes, int32_t to, void *stream) {
    (void)stream;
    rt_assert(to >= 0 && to < comm->n_ranks && to != comm->rank);
    local_comm *local = local_of(comm);
    local_rank *mine = &local->head->ranks[comm->rank];
    char *box = local->mails + (int64_t)comm->rank * LOCAL_MAIL_BYTES;
    for (int64_t done = 0; done < n_bytes; done += LOCAL_MAIL_BYTES) {
        const int64_t n = rt_min64(LOCAL_MAIL_BYTES, n_bytes - done);
        const uint32_t number = atomic_load(&mine->mailed) + 1;
        memcpy(box, (const char *)data + done, (size_t)n);
        mine->mail = (local_label){.serial = number,
                .kind = KIND_MAIL,
                .n_bytes = n,
                .n_total = n_bytes,
                .peer = (uint32_t)to,
                .hash = {XXH3_64bits(box, (size_t)n)}};
        atomic_store_explicit(&mine->mailed, number, memory_order_release);
        futex_wake(&mine->mailed);
        RT_TRY(wait_for(local, &mine->taken, number));
    }
    return RT_OK;
}

static rt_status check_mail(local_comm *local, int from, int64_t n, int64_t n_total) {
    const local_label *mail = &local->head->ranks[from].mail;
    const bool is_due = mail->kind == KIND_MAIL && mail->n_bytes == n && mail->n_total == n_total &&
                        mail->peer == (uint32_t)local->comm.rank;
    return is_due ? RT_OK : local_blame(local, from, "a mail of another size, or for another rank");
}

rt_status local_recv(par_comm *comm, void *data, int64_t n_bytes, int32_t from, void *stream) {
    (void)stream;
    rt_assert(from >= 0 && from < comm->n_ranks && from != comm->rank);
    local_comm *local = local_of(comm);
    local_rank *its = &local->head->ranks[from];
    const char *box = local->mails + (int64_t)from * LOCAL_MAIL_BYTES;
    for (int64_t done = 0; done < n_bytes; done += LOCAL_MAIL_BYTES) {
        const int64_t n = rt_min64(LOCAL_MAIL_BYTES, n_bytes - done);
        const uint32_t number = atomic_load(&its->taken) + 1;
        RT_TRY(wait_for(local, &its->mailed, number));
        RT_TRY(check_mail(local, from, n, n_bytes));
        RT_TRY(local_check_hash(local, from, box, n, its->mail.hash[0]));
        memcpy((char *)data + done, box, (size_t)n);
        atomic_store_explicit(&its->taken, number, memory_order_release);
        futex_wake(&its->taken);
    }
    return RT_OK;
}
