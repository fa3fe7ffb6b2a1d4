/* Device collectives reach NCCL as what they are, in the order its documentation allows, also where
 * every call lingers; and a library that cannot be used is refused with the reason.
 *
 * Method: a stand-in library writes calls down and watches for misuse (two threads at once, a call
 * while another is in progress, a call on a communicator that is gone). */
#include <stdio.h>
#include <string.h>

#include "help_nccl.h"

#define OK(call)    expect((call) == RT_OK, rt_error_text())
#define CHECK(fact) expect(fact, #fact)

static int n_failed;

static void expect(bool is_true, const char *what) {
    if (is_true) return;
    (void)printf("FAIL: %s\n", what);
    n_failed++;
}

static const char *const expected_calls[] = {"ncclGetUniqueId", "ncclCommInitRankConfig",
        "ncclAllReduce", "ncclAllGather", "ncclBroadcast", "ncclSend", "ncclRecv",
        "ncclCommFinalize"};
enum { N_CALLS = sizeof expected_calls / sizeof *expected_calls };

static void check_call(const standin_call *call, int64_t count, int type, int peer) {
    const bool is_right = call->count == count && call->type == type && call->peer == peer;
    if (!is_right)
        (void)printf("%s: count %lld type %d peer %d\n", call->name, (long long)call->count,
                call->type, call->peer);
    CHECK(is_right && call->stream);
}

static void check_seen(const standin_nccl *nccl) {
    CHECK(nccl->n_calls == N_CALLS);
    for (int i = 0; i < N_CALLS && i < nccl->n_calls; i++)
        expect(strcmp(nccl->calls[i].name, expected_calls[i]) == 0, expected_calls[i]);
    CHECK(nccl->config.magic == NCCL_CONFIG_MAGIC && nccl->config.blocking == 0);
    CHECK(nccl->config.size == sizeof(nccl_config) && nccl->config.version == 21400);
    CHECK(nccl->n_ranks == HELP_NCCL_RANKS && nccl->rank == HELP_NCCL_RANK);
    CHECK(nccl->id.bytes[0] == 'u' && nccl->id.bytes[NCCL_ID_BYTES - 1] == 'u');
    check_call(&nccl->calls[2], 32, NCCL_FLOAT32, 0);
    CHECK(nccl->calls[2].from == nccl->calls[2].to && nccl->calls[2].from);
    check_call(&nccl->calls[3], 64, NCCL_INT8, 0);
    CHECK((const char *)nccl->calls[3].from == (const char *)nccl->calls[3].to + 64);
    check_call(&nccl->calls[4], 256, NCCL_INT8, 2);
    check_call(&nccl->calls[5], 100, NCCL_INT8, 3);
    check_call(&nccl->calls[6], 101, NCCL_INT8, 1);
}

/* linger_at: the call that stays in progress for 40 questions, STANDIN_NEVER for none. */
static void check_life(int linger_at) {
    help_nccl help;
    par_comm *comm = NULL;
    (void)help_nccl_begin(&help);
    help.nccl->linger_at = linger_at;
    help.nccl->linger_polls = 40;
    OK(help_nccl_open(&help, 20.0, &comm));
    if (!comm) return;
    CHECK(comm->memory == PAR_DEVICE && strcmp(comm->transport, "nccl") == 0);
    CHECK(strncmp(comm->library, "NCCL 2.28.9", 11) == 0);
    OK(help_nccl_use(comm));
    OK(comm->check(comm));
    CHECK(comm->stats.n_calls == 5 && comm->stats.n_bytes == 32 * 4 + 64 + 256 + 100 + 101);
    CHECK(help.n_closed == 0);
    par_comm_close(comm);
    check_seen(help.nccl);
    CHECK(help.n_closed == 1 && help.n_aborted == 0 && help.n_told == 2);
    CHECK(help.nccl->n_aborts == 0 && help.nccl->n_destroyed == 1);
    expect(!help.nccl->misuse, help.nccl->misuse);
}

static void check_refusals(void) {
    help_nccl help;
    par_comm *comm = NULL;
    (void)help_nccl_begin(&help);
    help.nccl->version = 21304;
    CHECK(help_nccl_open(&help, 1.0, &comm) == RT_EUNSUPPORTED);
    CHECK(strstr(rt_error_text(), "NCCL 2.13.4") && strstr(rt_error_text(), "2.14"));
    (void)help_nccl_begin(&help);
    help.other_differs = 1;
    CHECK(help_nccl_open(&help, 1.0, &comm) == RT_EPEER);
    CHECK(strstr(rt_error_text(), "rank 3 on node3 has NCCL 2.18.1, rank 0 on node0 NCCL 2.28.9"));
    CHECK(help.nccl->n_calls == 0 && help.n_closed == 0);
    (void)help_nccl_begin(&help);
    const par_nccl_options nowhere = {.path = "/nowhere/libnccl.so.2"};
    CHECK(par_comm_nccl_open(&help.control, &nowhere, &comm) == RT_EUNSUPPORTED);
    CHECK(strstr(rt_error_text(), "/nowhere/libnccl.so.2"));
    const par_nccl_options another = {.path = "libm.so.6"};
    CHECK(par_comm_nccl_open(&help.control, &another, &comm) == RT_EUNSUPPORTED);
    CHECK(strstr(rt_error_text(), "ncclGetVersion"));
}

int main(void) {
    help_nccl help;
    if (!help_nccl_begin(&help)) {
        (void)printf("FAIL: the stand-in library was not built\n");
        return 1;
    }
    for (int linger_at = STANDIN_NEVER; linger_at < N_CALLS; linger_at++)
        if (linger_at != 0) check_life(linger_at);
    check_refusals();
    return n_failed ? 1 : 0;
}
