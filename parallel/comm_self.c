/* A group of one: every collective is what it is with one rank. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "parallel.h"
#include "runtime/base/memory.h"

static rt_status all_reduce(par_comm *comm, float *data, int64_t n, void *stream) {
    (void)comm, (void)data, (void)n, (void)stream;
    return RT_OK;
}

static rt_status all_gather(
        par_comm *comm, const void *mine, int64_t n_bytes, void *all, void *stream) {
    (void)comm, (void)stream;
    if (mine != all) memcpy(all, mine, (size_t)n_bytes);
    return RT_OK;
}

static rt_status broadcast(
        par_comm *comm, void *data, int64_t n_bytes, int32_t root, void *stream) {
    (void)comm, (void)data, (void)n_bytes, (void)stream;
    rt_assert(root == 0);
    return RT_OK;
}

static rt_status send_to_self(
        par_comm *comm, const void *data, int64_t n_bytes, int32_t to, void *stream) {
    (void)comm, (void)data, (void)stream;
    return rt_fail(RT_EUSAGE, "parallel: %lld bytes for rank %d of a group of one",
            (long long)n_bytes, to);
}

static rt_status recv_from_self(
        par_comm *comm, void *data, int64_t n_bytes, int32_t from, void *stream) {
    (void)comm, (void)data, (void)stream;
    return rt_fail(RT_EUSAGE, "parallel: %lld bytes from rank %d of a group of one",
            (long long)n_bytes, from);
}

static rt_status tell(par_comm *comm, void *bytes, int64_t n_bytes) {
    (void)comm, (void)bytes, (void)n_bytes;
    return RT_OK;
}

static rt_status share(par_comm *comm, const void *mine, int64_t n_bytes, void *all) {
    return all_gather(comm, mine, n_bytes, all, NULL);
}

static rt_status barrier(par_comm *comm) {
    (void)comm;
    return RT_OK;
}

static rt_status check(par_comm *comm) {
    (void)comm;
    return RT_OK;
}

static void abort_self(par_comm *comm, const char *why) {
    (void)comm, (void)why;
}

static void close_self(par_comm *comm) {
    free(comm);
}

rt_status par_comm_self_open(par_comm **out) {
    par_comm *comm = NULL;
    RT_TRY(rt_calloc(1, sizeof *comm, "a group of one", &comm));
    *comm = (par_comm){.transport = "self",
            .n_ranks = 1,
            .memory = PAR_HOST,
            .step_name = "",
            .all_reduce = all_reduce,
            .all_gather = all_gather,
            .broadcast = broadcast,
            .send = send_to_self,
            .recv = recv_from_self,
            .tell = tell,
            .share = share,
            .barrier = barrier,
            .check = check,
            .abort = abort_self,
            .close = close_self};
    (void)gethostname(comm->hosts[0], sizeof comm->hosts[0] - 1);
    *out = comm;
    return RT_OK;
}
