/* Ranks on any machines, host memory, by MPI.
 *
 * The program links no MPI. A plug-in that does, glm1m_mpi.so (mpi_plugin.h says why), is looked for
 * beside the program, one folder up, and in ../lib/glm1m, and opened only by a process that an MPI
 * launcher started, or by doctor.
 *
 * Who waits sleeps: MPI's own waits and collectives spin at 100 % of a core for as long as another
 * rank computes or a user thinks, so that only MPI_Test is called, with naps between.
 *
 * Beside MPI every rank has a TCP connection with rank 0 for heartbeats (watch.h): MPI notices a rank
 * that died, by ending all the others without a word, and never one that froze.
 *
 * After a failure MPI is neither called again nor finalized: buffers may still be written to, and a
 * process that ends without MPI_Finalize is what makes mpirun and srun end the other ranks. */
#include <dlfcn.h>
#include <inttypes.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "exchange.h"
#include "mpi_plugin.h"
#include "parallel.h"
#include "runtime/base/log.h"
#include "runtime/base/memory.h"
#include "tcp.h"
#include "watch.h"

/* ---- the plug-in ----------------------------------------------------------------------------- */

static const char *const plugin_places[] = {
        "glm1m_mpi.so", "../glm1m_mpi.so", "../lib/glm1m/glm1m_mpi.so"};

/* "<folder of the program>/<place>", or false where that is no file. */
static bool plugin_path(const char *place, char path[PATH_MAX]) {
    char program[PATH_MAX];
    const ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    if (n <= 0) return false;
    program[n] = '\0';
    char *slash = strrchr(program, '/');
    if (!slash) return false;
    *slash = '\0';
    const int length = snprintf(path, PATH_MAX, "%s/%s", program, place);
    return length < PATH_MAX && access(path, R_OK) == 0;
}

static rt_status plugin_check(const char *path, void *library, const par_mpi_plugin **out) {
    const par_mpi_plugin *(*get)(void) = NULL;
    void *address = dlsym(library, PAR_MPI_PLUGIN_SYMBOL);
    memcpy(&get, &address, sizeof get); /* POSIX lets a data pointer hold a function's address */
    if (!get) return rt_fail(RT_EUNSUPPORTED, "parallel: %s is not glm1m's MPI plug-in", path);
    const par_mpi_plugin *plugin = get();
    if (plugin->abi != PAR_MPI_PLUGIN_ABI)
        return rt_fail(RT_EUNSUPPORTED,
                "parallel: %s is of another build: its interface is %d, this program's %d", path,
                plugin->abi, PAR_MPI_PLUGIN_ABI);
    *out = plugin;
    return RT_OK;
}

/* Never closed again: Open MPI's libraries do not survive being unloaded. Global, since Open MPI's
 * own components look for its symbols there. */
static rt_status plugin_load(const par_mpi_plugin **out) {
    char path[PATH_MAX];
    for (size_t i = 0; i < sizeof plugin_places / sizeof *plugin_places; i++) {
        if (!plugin_path(plugin_places[i], path)) continue;
        void *library = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
        if (library) return plugin_check(path, library, out);
        return rt_fail(RT_EUNSUPPORTED,
                "parallel: the MPI plug-in cannot be loaded: %s; build it here against this "
                "machine's MPI (cmake finds the mpicc in PATH)",
                dlerror());
    }
    return rt_fail(RT_EUNSUPPORTED,
            "parallel: no glm1m_mpi.so beside the program: this build found no MPI; install one "
            "(libopenmpi-dev) and build again");
}

rt_status par_mpi_describe(char *text, int64_t text_bytes) {
    const par_mpi_plugin *plugin = NULL;
    RT_TRY(plugin_load(&plugin));
    char version[PAR_NAME_BYTES];
    plugin->mpi_version(version, sizeof version);
    (void)snprintf(
            text, (size_t)text_bytes, "%s, plug-in built with %s", version, plugin->built_with);
    return RT_OK;
}

/* ---- the wire -------------------------------------------------------------------------------- */

typedef struct mpi_message {
    par_mpi_request request;
    int64_t n_bytes;
} mpi_message;

typedef struct mpi_comm {
    par_comm comm;
    par_wire wire;
    const par_mpi_plugin *mpi;
    mpi_message sends[PAR_RANKS_MAX];
    mpi_message recvs[PAR_RANKS_MAX];
    void *scratch;
    par_watch *watch; /* NULL while the group is being made */
    bool is_broken;
    bool is_at_barrier; /* the last thing that all did */
} mpi_comm;

static const double connect_s = 30.0;

static mpi_comm *of_wire(par_wire *wire) {
    return (mpi_comm *)(void *)((char *)wire - offsetof(mpi_comm, wire));
}

static mpi_comm *of(par_comm *comm) {
    return (mpi_comm *)(void *)comm;
}

/* The group is over, for a reason that the others are told. */
static rt_status broken(mpi_comm *mpi, int32_t peer, const char *doing, const char *why) {
    const par_comm *comm = &mpi->comm;
    char text[512];
    mpi->is_broken = true;
    (void)snprintf(text, sizeof text, "%s rank %" PRId32 " on %s failed: %s", doing, peer,
            comm->hosts[peer], why);
    if (mpi->watch) par_watch_end(mpi->watch, text);
    return rt_fail(RT_EPEER, "parallel: %s (at step %" PRId64 ", %s, on rank %" PRId32 ")", text,
            comm->step, comm->step_name, comm->rank);
}

/* RT_EPEER, with the reason and the step, once the group is over. */
static rt_status check_group(mpi_comm *mpi) {
    const par_comm *comm = &mpi->comm;
    if (!mpi->watch || par_watch_check(mpi->watch) == RT_OK)
        return mpi->is_broken ? rt_fail(RT_EPEER, "parallel: the group of ranks is over") : RT_OK;
    char text[700];
    (void)snprintf(text, sizeof text, "%s", rt_error_text());
    mpi->is_broken = true;
    return rt_fail(RT_EPEER, "%s (at step %" PRId64 ", %s, on rank %" PRId32 ")", text, comm->step,
            comm->step_name, comm->rank);
}

static rt_status broken_by_mpi(mpi_comm *mpi, int32_t peer, const char *doing, int error) {
    char text[256];
    mpi->mpi->error_text(error, text, sizeof text);
    return broken(mpi, peer, doing, text);
}

static rt_status post_send(par_wire *wire, int32_t to, const void *bytes, int64_t n_bytes) {
    mpi_comm *mpi = of_wire(wire);
    RT_TRY(check_group(mpi));
    rt_assert(n_bytes <= PAR_MESSAGE_BYTES_MAX && !(wire->sending >> to & 1));
    mpi_message *message = &mpi->sends[to];
    message->n_bytes = n_bytes;
    const int error = mpi->mpi->send(to, bytes, n_bytes, &message->request);
    if (error) return broken_by_mpi(mpi, to, "sending to", error);
    wire->sending |= UINT64_C(1) << to;
    return RT_OK;
}

static rt_status post_recv(par_wire *wire, int32_t from, void *bytes, int64_t n_bytes) {
    mpi_comm *mpi = of_wire(wire);
    RT_TRY(check_group(mpi));
    rt_assert(n_bytes <= PAR_MESSAGE_BYTES_MAX && !(wire->receiving >> from & 1));
    mpi_message *message = &mpi->recvs[from];
    message->n_bytes = n_bytes;
    const int error = mpi->mpi->receive(from, bytes, n_bytes, &message->request);
    if (error) return broken_by_mpi(mpi, from, "receiving from", error);
    wire->receiving |= UINT64_C(1) << from;
    return RT_OK;
}

static rt_status progress_recv(mpi_comm *mpi, int32_t peer) {
    bool is_done = false;
    int64_t n_bytes = 0;
    mpi_message *message = &mpi->recvs[peer];
    const int error = mpi->mpi->test(&message->request, &is_done, &n_bytes);
    if (error) return broken_by_mpi(mpi, peer, "receiving from", error);
    if (!is_done) return RT_OK;
    mpi->wire.receiving &= ~(UINT64_C(1) << peer);
    if (n_bytes == message->n_bytes) return RT_OK;
    char text[128];
    (void)snprintf(text, sizeof text, "%lld bytes came where %lld are due: it is at another step",
            (long long)n_bytes, (long long)message->n_bytes);
    return broken(mpi, peer, "receiving from", text);
}

static rt_status progress_send(mpi_comm *mpi, int32_t peer) {
    bool is_done = false;
    int64_t ignored = 0;
    const int error = mpi->mpi->test(&mpi->sends[peer].request, &is_done, &ignored);
    if (error) return broken_by_mpi(mpi, peer, "sending to", error);
    if (is_done) mpi->wire.sending &= ~(UINT64_C(1) << peer);
    return RT_OK;
}

static rt_status progress(par_wire *wire) {
    mpi_comm *mpi = of_wire(wire);
    RT_TRY(check_group(mpi));
    for (uint64_t left = wire->receiving; left; left &= left - 1)
        RT_TRY(progress_recv(mpi, __builtin_ctzll(left)));
    for (uint64_t left = wire->sending; left; left &= left - 1)
        RT_TRY(progress_send(mpi, __builtin_ctzll(left)));
    return RT_OK;
}

static void nap(par_wire *wire, int64_t microseconds) {
    (void)wire;
    const struct timespec time = {.tv_nsec = microseconds * 1000};
    (void)nanosleep(&time, NULL);
}

/* ---- the operations -------------------------------------------------------------------------- */

static rt_status counted(par_comm *comm, int64_t n_bytes, double begin, rt_status status) {
    of(comm)->is_at_barrier = false;
    comm->stats.n_calls++;
    comm->stats.n_bytes += n_bytes;
    comm->stats.move_s += rt_now() - begin;
    return status;
}

static rt_status all_reduce(par_comm *comm, float *data, int64_t n, void *stream) {
    (void)stream;
    const double begin = rt_now();
    return counted(comm, n * (int64_t)sizeof *data, begin,
            par_exchange_all_reduce(&of(comm)->wire, data, n, of(comm)->scratch));
}

static rt_status all_gather(
        par_comm *comm, const void *mine, int64_t n_bytes, void *all, void *stream) {
    (void)stream;
    const double begin = rt_now();
    return counted(
            comm, n_bytes, begin, par_exchange_all_gather(&of(comm)->wire, mine, n_bytes, all));
}

static rt_status broadcast(
        par_comm *comm, void *data, int64_t n_bytes, int32_t root, void *stream) {
    (void)stream;
    const double begin = rt_now();
    return counted(
            comm, n_bytes, begin, par_exchange_broadcast(&of(comm)->wire, data, n_bytes, root));
}

static rt_status send_data(
        par_comm *comm, const void *data, int64_t n_bytes, int32_t to, void *stream) {
    (void)stream;
    const double begin = rt_now();
    return counted(comm, n_bytes, begin, par_exchange_send(&of(comm)->wire, data, n_bytes, to));
}

static rt_status recv_data(
        par_comm *comm, void *data, int64_t n_bytes, int32_t from, void *stream) {
    (void)stream;
    const double begin = rt_now();
    return counted(comm, n_bytes, begin, par_exchange_recv(&of(comm)->wire, data, n_bytes, from));
}

static rt_status tell(par_comm *comm, void *bytes, int64_t n_bytes) {
    of(comm)->is_at_barrier = false;
    return par_exchange_tell(&of(comm)->wire, bytes, n_bytes);
}

static rt_status share(par_comm *comm, const void *mine, int64_t n_bytes, void *all) {
    rt_assert(n_bytes <= PAR_SHARE_BYTES_MAX);
    of(comm)->is_at_barrier = false;
    return par_exchange_all_gather(&of(comm)->wire, mine, n_bytes, all);
}

static rt_status barrier(par_comm *comm) {
    RT_TRY(par_exchange_barrier(&of(comm)->wire));
    of(comm)->is_at_barrier = true;
    return RT_OK;
}

static rt_status check(par_comm *comm) {
    return par_watch_check(of(comm)->watch);
}

static void abort_group(par_comm *comm, const char *why) {
    char text[512];
    (void)snprintf(text, sizeof text, "rank %" PRId32 " on %s gave up: %s", comm->rank,
            comm->hosts[comm->rank], why);
    par_watch_end(of(comm)->watch, text);
}

/* MPI may still write to a group that broke: it stays, and stays reachable. */
static mpi_comm *volatile abandoned;

static void close_group(par_comm *comm) {
    mpi_comm *mpi = of(comm);
    const bool is_orderly = mpi->is_at_barrier && check_group(mpi) == RT_OK;
    par_watch_stop(mpi->watch, is_orderly);
    if (!is_orderly) {
        abandoned = mpi;
        return;
    }
    (void)mpi->mpi->close();
    free(mpi->scratch);
    free(mpi);
}

/* ---- opening --------------------------------------------------------------------------------- */

static rt_status open_world(mpi_comm *mpi, const par_world *expected) {
    par_comm *comm = &mpi->comm;
    par_mpi_world world;
    const int error = mpi->mpi->open(&world);
    if (error) {
        char text[256];
        mpi->mpi->error_text(error, text, sizeof text);
        return rt_fail(RT_EPEER, "parallel: MPI_Init failed: %s", text);
    }
    if (world.n_ranks != expected->n_ranks || world.rank != expected->rank)
        return rt_fail(RT_EUSAGE,
                "parallel: the launcher made this rank %d of %d, but %s sees rank %d of %d: they "
                "do "
                "not know each other (srun needs --mpi=pmix; mpirun and the plug-in, built with "
                "%s, must be of one MPI)",
                expected->rank, expected->n_ranks, comm->library, world.rank, world.n_ranks,
                mpi->mpi->built_with);
    comm->rank = mpi->wire.rank = world.rank;
    comm->n_ranks = mpi->wire.n_ranks = world.n_ranks;
    return rt_malloc(par_exchange_scratch_bytes(world.n_ranks), "sums over ranks", &mpi->scratch);
}

/* ---- heartbeats ------------------------------------------------------------------------------ */

static bool is_one_machine(const par_comm *comm) {
    for (int32_t r = 1; r < comm->n_ranks; r++)
        if (strncmp(comm->hosts[r], comm->hosts[0], PAR_NAME_BYTES) != 0) return false;
    return true;
}

static rt_status find_hosts(mpi_comm *mpi) {
    char name[PAR_NAME_BYTES] = "";
    (void)gethostname(name, sizeof name - 1);
    return par_exchange_all_gather(&mpi->wire, name, sizeof name, mpi->comm.hosts);
}

/* What rank 0 made of it, told to all, so that nobody waits for a rank 0 that cannot listen. */
typedef struct invitation_message {
    tcp_invitation invitation;
    int32_t status;
    char text[200];
} invitation_message;

static rt_status connect_all(mpi_comm *mpi, int listener, invitation_message *message) {
    const par_comm *comm = &mpi->comm;
    int fds[PAR_RANKS_MAX];
    RT_TRY(par_exchange_tell(&mpi->wire, message, sizeof *message));
    if (message->status != RT_OK) return rt_fail((rt_status)message->status, "%s", message->text);
    for (int r = 0; r < PAR_RANKS_MAX; r++) fds[r] = -1;
    if (comm->rank == 0)
        RT_TRY(tcp_accept_all(listener, &message->invitation, 0, comm->n_ranks, connect_s, fds));
    else
        RT_TRY(tcp_connect(&message->invitation, comm->rank, connect_s, &fds[0]));
    return par_watch_start(comm->rank, comm->n_ranks, comm->hosts, fds, &mpi->watch);
}

static rt_status start_watch(mpi_comm *mpi) {
    invitation_message message = {.status = RT_OK};
    int listener = -1;
    RT_TRY(find_hosts(mpi));
    if (mpi->comm.rank == 0) {
        const bool is_local = is_one_machine(&mpi->comm);
        message.status = (int32_t)tcp_listen(is_local, &message.invitation, &listener);
        if (message.status != RT_OK)
            (void)snprintf(message.text, sizeof message.text, "%s", rt_error_text());
    }
    const rt_status status = connect_all(mpi, listener, &message);
    if (listener >= 0) (void)close(listener);
    return status;
}

rt_status par_comm_mpi_open(const par_world *world, par_comm **out) {
    const par_mpi_plugin *plugin = NULL;
    RT_TRY(plugin_load(&plugin));
    mpi_comm *mpi = NULL;
    RT_TRY(rt_calloc(1, sizeof *mpi, "a group of ranks", &mpi));
    mpi->mpi = plugin;
    par_comm *comm = &mpi->comm;
    *comm = (par_comm){.transport = "mpi",
            .memory = PAR_HOST,
            .step_name = "",
            .all_reduce = all_reduce,
            .all_gather = all_gather,
            .broadcast = broadcast,
            .send = send_data,
            .recv = recv_data,
            .tell = tell,
            .share = share,
            .barrier = barrier,
            .check = check,
            .abort = abort_group,
            .close = close_group};
    mpi->wire = (par_wire){
            .post_send = post_send, .post_recv = post_recv, .progress = progress, .sleep = nap};
    plugin->mpi_version(comm->library, sizeof comm->library);
    rt_status status = open_world(mpi, world);
    if (status == RT_OK) status = start_watch(mpi);
    if (status != RT_OK) {
        abandoned = mpi;
        return status;
    }
    *out = comm;
    return RT_OK;
}
