#include "help_faults_ranks.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "parallel/local.h"
#include "runtime/base/log.h"

enum { SLOW_OPERATIONS = 100, SLOW_US = 10000 };

static const char *const names[HELP_N_FAULTS] = {
        "none", "kill", "stop", "exit0", "exit1", "slow", "corrupt", "duplicate", "full"};

static par_comm original; /* its function pointers */
static help_fault fault;
static char log_path[4096];
static int n_operations;
static int n_slow;
static pthread_t flipper;
static bool has_flipper;
static atomic_bool is_closing;

const char *help_fault_name(help_fault_kind kind) {
    return names[kind];
}

bool help_fault_parse(const char *text, help_fault *out) {
    char name[32];
    *out = (help_fault){0};
    if (!text || sscanf(text, "%31s %d %d", name, &out->rank, &out->at) != 3) return false;
    for (int kind = 0; kind < HELP_N_FAULTS; kind++)
        if (strcmp(name, names[kind]) == 0) out->kind = (help_fault_kind)kind;
    return true;
}

int help_fault_operations(void) {
    return n_operations;
}

static void note(const par_comm *comm) {
    FILE *file = fopen(log_path, "a");
    if (!file) _exit(99);
    (void)fprintf(file, "F %.6f %s\n", rt_now(), comm->step_name);
    (void)fclose(file);
}

/* Bytes of this rank's slot change all the time. */
static void *flip(void *context) {
    local_comm *local = context;
    _Atomic unsigned char *slot =
            (_Atomic unsigned char *)(local->slots + (size_t)local->comm.rank * LOCAL_SLOT_BYTES);
    for (unsigned i = 0; !atomic_load(&is_closing); i++)
        atomic_fetch_xor(&slot[i * 7919u % 4096u], 0x10);
    return NULL;
}

static void corrupt(par_comm *comm) {
    local_comm *local = (local_comm *)comm;
    if (comm->rank == 0) { /* and what it tells */
        const local_told wrong = {.serial = 1};
        (void)send(local->peers[comm->n_ranks - 1].control_fd, &wrong, sizeof wrong, MSG_NOSIGNAL);
    }
    has_flipper = pthread_create(&flipper, NULL, flip, local) == 0;
}

static void duplicate(par_comm *comm) {
    local_comm *local = (local_comm *)comm;
    local->serial--;
    if (comm->rank == 0) local->told--;
}

static void happen(par_comm *comm) {
    note(comm);
    switch (fault.kind) {
    case HELP_FAULT_KILL:
        (void)raise(SIGKILL);
        break;
    case HELP_FAULT_STOP:
        (void)kill(getpid(), SIGSTOP);
        break;
    case HELP_FAULT_EXIT0:
        _exit(0);
    case HELP_FAULT_EXIT1:
        _exit(1);
    case HELP_FAULT_SLOW:
        n_slow = SLOW_OPERATIONS;
        break;
    case HELP_FAULT_CORRUPT:
        corrupt(comm);
        break;
    case HELP_FAULT_DUPLICATE:
        duplicate(comm);
        break;
    default:
        break;
    }
}

static void count(par_comm *comm) {
    if (++n_operations == fault.at) happen(comm);
    if (n_slow > 0) {
        n_slow--;
        (void)usleep(SLOW_US);
    }
}

static rt_status all_reduce(par_comm *comm, float *data, int64_t n, void *stream) {
    count(comm);
    return original.all_reduce(comm, data, n, stream);
}

static rt_status all_gather(
        par_comm *comm, const void *mine, int64_t n_bytes, void *all, void *stream) {
    count(comm);
    return original.all_gather(comm, mine, n_bytes, all, stream);
}

static rt_status tell(par_comm *comm, void *bytes, int64_t n_bytes) {
    count(comm);
    return original.tell(comm, bytes, n_bytes);
}

static rt_status share(par_comm *comm, const void *mine, int64_t n_bytes, void *all) {
    count(comm);
    return original.share(comm, mine, n_bytes, all);
}

static rt_status barrier(par_comm *comm) {
    count(comm);
    return original.barrier(comm);
}

/* The memory goes with the group. */
static void close_group(par_comm *comm) {
    atomic_store(&is_closing, true);
    if (has_flipper) (void)pthread_join(flipper, NULL);
    original.close(comm);
}

void help_fault_install(par_comm *comm, const help_fault *given, const char *log) {
    if (comm->rank != given->rank) return;
    fault = *given;
    (void)snprintf(log_path, sizeof log_path, "%s", log);
    original = *comm;
    comm->all_reduce = all_reduce;
    comm->all_gather = all_gather;
    comm->tell = tell;
    comm->share = share;
    comm->barrier = barrier;
    comm->close = close_group;
    if (fault.kind == HELP_FAULT_FULL) {
        const struct rlimit limit = {.rlim_cur = 64 << 10, .rlim_max = 64 << 10};
        (void)signal(SIGXFSZ, SIG_IGN);
        if (setrlimit(RLIMIT_FSIZE, &limit) != 0) _exit(99);
    }
}
