/* What glm1m_mpi.so, the plug-in built from mpi_plugin.c, offers: one table of functions in plain C
 * types. The program itself knows no MPI: Open MPI's and MPICH's handles differ in size and their
 * libraries in name, so whatever includes <mpi.h> belongs to one of them. The plug-in does, is a
 * hundred lines, and is rebuilt for a cluster's MPI by building here with its mpicc in PATH; the
 * program runs where no MPI is installed, and the same program with any of them.
 *
 * All functions are called from one thread. Those that return int return 0, or MPI's error code. */
#ifndef PAR_MPI_PLUGIN_H
#define PAR_MPI_PLUGIN_H

#include <stdbool.h>
#include <stdint.h>

/* Raised with any change of the table below; the two sides must agree. */
#define PAR_MPI_PLUGIN_ABI 2

/* The plug-in's one symbol: const par_mpi_plugin *par_mpi_plugin_get(void). */
#define PAR_MPI_PLUGIN_SYMBOL "par_mpi_plugin_get"

/* A message under way; holds an MPI_Request, whichever it is. */
typedef struct par_mpi_request {
    int64_t handle;
} par_mpi_request;

typedef struct par_mpi_world {
    int32_t rank;
    int32_t n_ranks;
} par_mpi_world;

typedef struct par_mpi_plugin {
    int32_t abi;
    const char *built_with; /* MPI of the header: "Open MPI 4.1.4" */

    /* First line of what the loaded library calls itself. Callable before open. */
    void (*mpi_version)(char *text, int64_t text_bytes);
    void (*error_text)(int error, char *text, int64_t text_bytes);

    int (*open)(par_mpi_world *out);
    /* At most INT32_MAX bytes, which stay alive until test() says done. In order between two ranks. */
    int (*send)(int32_t to, const void *bytes, int64_t n_bytes, par_mpi_request *out);
    int (*receive)(int32_t from, void *bytes, int64_t n_bytes, par_mpi_request *out);
    /* n_bytes: how many came, of a receive that is done. */
    int (*test)(par_mpi_request *request, bool *is_done, int64_t *n_bytes);
    int (*close)(void);
    /* Ends every rank; returns only where MPI does not obey. */
    void (*abort)(int exit_code);
} par_mpi_plugin;

#endif
