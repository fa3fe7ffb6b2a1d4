/* glm1m_mpi.so: the only file that includes <mpi.h>. See mpi_plugin.h for why it is one by itself.
 *
 * Point-to-point only: sums are made by whoever receives, in the order of ranks, because
 * MPI_Allreduce promises no order. */
#include "mpi_plugin.h"

#include <mpi.h>
#include <stdio.h>
#include <string.h>

_Static_assert(sizeof(MPI_Request) <= sizeof(int64_t), "an MPI_Request fits into par_mpi_request");

enum { TAG = 1 };

/* A copy of MPI_COMM_WORLD: its messages and its error handler are ours alone. */
static MPI_Comm world = MPI_COMM_NULL;

static void keep(par_mpi_request *to, MPI_Request request) {
    to->handle = 0;
    memcpy(&to->handle, &request, sizeof request);
}

static void mpi_version(char *text, int64_t text_bytes) {
    char version[MPI_MAX_LIBRARY_VERSION_STRING] = "";
    int length = 0;
    if (MPI_Get_library_version(version, &length) != MPI_SUCCESS) version[0] = '\0';
    (void)snprintf(text, (size_t)text_bytes, "%.*s", (int)strcspn(version, ",\r\n"), version);
    for (char *tab = strchr(text, '\t'); tab; tab = strchr(tab, '\t')) *tab = ' '; /* MPICH's */
}

static void error_text(int error, char *text, int64_t text_bytes) {
    char message[MPI_MAX_ERROR_STRING] = "";
    int length = 0;
    if (MPI_Error_string(error, message, &length) != MPI_SUCCESS)
        (void)snprintf(message, sizeof message, "MPI error %d", error);
    (void)snprintf(text, (size_t)text_bytes, "%s", message);
}

static int open_world(par_mpi_world *out) {
    int provided = 0;
    int error = MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided);
    if (error != MPI_SUCCESS) return error;
    if ((error = MPI_Comm_dup(MPI_COMM_WORLD, &world)) != MPI_SUCCESS) return error;
    if ((error = MPI_Comm_set_errhandler(world, MPI_ERRORS_RETURN)) != MPI_SUCCESS) return error;
    int rank = 0;
    int n_ranks = 0;
    if ((error = MPI_Comm_rank(world, &rank)) != MPI_SUCCESS) return error;
    if ((error = MPI_Comm_size(world, &n_ranks)) != MPI_SUCCESS) return error;
    *out = (par_mpi_world){.rank = rank, .n_ranks = n_ranks};
    return MPI_SUCCESS;
}

static int send_bytes(int32_t to, const void *bytes, int64_t n_bytes, par_mpi_request *out) {
    MPI_Request request = MPI_REQUEST_NULL;
    const int error = MPI_Isend(bytes, (int)n_bytes, MPI_BYTE, to, TAG, world, &request);
    keep(out, request);
    return error;
}

static int receive_bytes(int32_t from, void *bytes, int64_t n_bytes, par_mpi_request *out) {
    MPI_Request request = MPI_REQUEST_NULL;
    const int error = MPI_Irecv(bytes, (int)n_bytes, MPI_BYTE, from, TAG, world, &request);
    keep(out, request);
    return error;
}

static int test_request(par_mpi_request *under_way, bool *is_done, int64_t *n_bytes) {
    MPI_Request request = MPI_REQUEST_NULL;
    memcpy(&request, &under_way->handle, sizeof request);
    MPI_Status status;
    int done = 0;
    int n = 0;
    int error = MPI_Test(&request, &done, &status);
    if (error == MPI_SUCCESS && done) error = MPI_Get_count(&status, MPI_BYTE, &n);
    keep(under_way, request);
    *is_done = done != 0;
    *n_bytes = n;
    return error;
}

static int close_world(void) {
    const int error = MPI_Comm_free(&world);
    const int finalized = MPI_Finalize();
    return error != MPI_SUCCESS ? error : finalized;
}

static void abort_world(int exit_code) {
    (void)MPI_Abort(MPI_COMM_WORLD, exit_code);
}

const par_mpi_plugin *par_mpi_plugin_get(void);
const par_mpi_plugin *par_mpi_plugin_get(void) {
#define TEXT(x)  TEXT_(x)
#define TEXT_(x) #x
    static const par_mpi_plugin plugin = {
        .abi = PAR_MPI_PLUGIN_ABI,
#if defined(OPEN_MPI)
        .built_with = "Open MPI " TEXT(OMPI_MAJOR_VERSION) "." TEXT(OMPI_MINOR_VERSION) "." TEXT(
                OMPI_RELEASE_VERSION),
#elif defined(MPICH_VERSION)
        .built_with = "MPICH " MPICH_VERSION,
#else
        .built_with = "MPI " TEXT(MPI_VERSION) "." TEXT(MPI_SUBVERSION),
#endif
        .mpi_version = mpi_version,
        .error_text = error_text,
        .open = open_world,
        .send = send_bytes,
        .receive = receive_bytes,
        .test = test_request,
        .close = close_world,
        .abort = abort_world,
    };
    return &plugin;
}
