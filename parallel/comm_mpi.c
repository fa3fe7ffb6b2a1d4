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
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "mpi_plugin.h"
#include "runtime/base/memory.h"
#include "wired.h"

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
            "parallel: no glm1m_mpi.so beside the program: it is made beside it where the build finds an "
            "MPI, as `glm1m version` says, and goes where the program goes; otherwise install one "
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
    par_wired wired; /* first */
    const par_mpi_plugin *mpi;
    mpi_message sends[PAR_RANKS_MAX];
    mpi_message recvs[PAR_RANKS_MAX];
} mpi_comm;

static mpi_comm *of_wire(par_wire *wire) {
    return (mpi_comm *)(void *)par_wired_of_wire(wire);
}

static rt_status broken_by_mpi(mpi_comm *mpi, int32_t peer, const char *doing, int error) {
    char text[256];
    mpi->mpi->error_text(error, text, sizeof text);
    return par_wired_broken(&mpi->wired, peer, doing, text);
}

static rt_status post_send(par_wire *wire, int32_t to, const void *bytes, int64_t n_bytes) {
    mpi_comm *mpi = of_wire(wire);
    RT_TRY(par_wired_check(&mpi->wired));
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
    RT_TRY(par_wired_check(&mpi->wired));
    rt_assert(n_bytes <= PAR_MESSAGE_BYTES_MAX && !(wire->receiving >> from & 1));
    mpi_message *message = &mpi->recvs[from];
    message->n_bytes = n_bytes;
    const int error = mpi->mpi->receive(from, bytes, n_bytes, &message->request);
    if (error) return broken_by_mpi(mpi, from, "receiving from", error);
    wire->receiving |= UINT64_C(1) << from;
    return RT_OK;
}

static rt_status move_recv(par_wire *wire, int32_t peer) {
    mpi_comm *mpi = of_wire(wire);
    bool is_done = false;
    int64_t n_bytes = 0;
    mpi_message *message = &mpi->recvs[peer];
    const int error = mpi->mpi->test(&message->request, &is_done, &n_bytes);
    if (error) return broken_by_mpi(mpi, peer, "receiving from", error);
    if (!is_done) return RT_OK;
    wire->receiving &= ~(UINT64_C(1) << peer);
    if (n_bytes == message->n_bytes) return RT_OK;
    char text[128];
    (void)snprintf(text, sizeof text, "%lld bytes came where %lld are due: it is at another step",
            (long long)n_bytes, (long long)message->n_bytes);
    return par_wired_broken(&mpi->wired, peer, "receiving from", text);
}

static rt_status move_send(par_wire *wire, int32_t peer) {
    mpi_comm *mpi = of_wire(wire);
    bool is_done = false;
    int64_t ignored = 0;
    const int error = mpi->mpi->test(&mpi->sends[peer].request, &is_done, &ignored);
    if (error) return broken_by_mpi(mpi, peer, "sending to", error);
    if (is_done) mpi->wired.wire.sending &= ~(UINT64_C(1) << peer);
    return RT_OK;
}

static void nap(par_wire *wire, int64_t microseconds) {
    (void)wire;
    const struct timespec time = {.tv_nsec = microseconds * 1000};
    (void)nanosleep(&time, NULL);
}

/* ---- opening and closing ------------------------------------------------------------------------ */

/* MPI may still write to a group that broke: it stays, and stays reachable. */
static mpi_comm *volatile abandoned;

static void close_group(par_comm *comm) {
    mpi_comm *mpi = (mpi_comm *)(void *)comm;
    if (!par_wired_stop(&mpi->wired)) {
        abandoned = mpi;
        return;
    }
    (void)mpi->mpi->close();
    free(mpi->wired.scratch);
    free(mpi);
}

static rt_status open_world(mpi_comm *mpi, const par_world *expected) {
    par_comm *comm = &mpi->wired.comm;
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
    comm->rank = mpi->wired.wire.rank = world.rank;
    comm->n_ranks = mpi->wired.wire.n_ranks = world.n_ranks;
    return RT_OK;
}

rt_status par_comm_mpi_open(const par_world *world, par_comm **out) {
    const par_mpi_plugin *plugin = NULL;
    RT_TRY(plugin_load(&plugin));
    mpi_comm *mpi = NULL;
    RT_TRY(rt_calloc(1, sizeof *mpi, "a group of ranks", &mpi));
    mpi->mpi = plugin;
    par_comm *comm = &mpi->wired.comm;
    par_wired_init(&mpi->wired, "mpi");
    comm->close = close_group;
    mpi->wired.move_recv = move_recv;
    mpi->wired.move_send = move_send;
    mpi->wired.wire = (par_wire){.post_send = post_send,
            .post_recv = post_recv,
            .progress = par_wired_progress,
            .sleep = nap};
    plugin->mpi_version(comm->library, sizeof comm->library);
    rt_status status = open_world(mpi, world);
    if (status == RT_OK) status = par_wired_start(&mpi->wired);
    if (status != RT_OK) {
        abandoned = mpi;
        return status;
    }
    *out = comm;
    return RT_OK;
}
