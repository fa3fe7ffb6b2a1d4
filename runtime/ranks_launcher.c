/* Groups that a launcher made: mpirun, srun. All processes got the same command line. Rank 0 runs it
 * and alone reads and writes; the others wait for its engine. A command that opens no engine needs no
 * ranks: the others end at once. */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "cli.h"
#include "ranks.h"

/* Commands that may open an engine. Whether they do is rank 0's to find out. */
static const char *const with_engine[] = {
        "needle", "ask", "chat", "complete", "prefill", "serve", "logits", "perplexity", NULL};

/* doctor opens one for its self-test. */
static bool may_open_engine(int argc, char **argv) {
    const char *command = argc > 1 ? argv[1] : "";
    for (int i = 0; with_engine[i]; i++)
        if (strcmp(command, with_engine[i]) == 0) return true;
    for (int i = 2; i < argc && strcmp(command, "doctor") == 0; i++)
        if (strcmp(argv[i], "--self-test") == 0) return true;
    return false;
}

/* One engine a process: MPI can be started once. */
static bool is_joined;

rt_status glm_launcher_find(par_world *world, char address[PAR_ADDRESS_BYTES]) {
    RT_TRY(par_world_from_environment(world, address));
    if (world->n_ranks == 1) world->transport = PAR_BY_SELF;
    return RT_OK;
}

rt_status glm_launcher_join(const par_world *world, par_comm **out) {
    if (is_joined)
        return rt_fail(RT_EUNSUPPORTED, "ranks: a second engine; mpirun and srun serve one");
    is_joined = true;
    return par_comm_open(world, out);
}

rt_status glm_launcher_set_ranks(glm_options *options) {
    par_world world;
    char address[PAR_ADDRESS_BYTES];
    RT_TRY(glm_launcher_find(&world, address));
    if (world.transport == PAR_BY_SELF) return RT_OK;
    if (options->tensor_parallel != 0 && options->tensor_parallel != world.n_ranks)
        return rt_fail(RT_EUSAGE,
                "--tensor-parallel-size %" PRId32 ", but the launcher started %" PRId32
                " processes",
                options->tensor_parallel, world.n_ranks);
    options->tensor_parallel = world.n_ranks;
    return RT_OK;
}

/* ---- the others ------------------------------------------------------------------------------ */

static int fail(rt_status status) {
    (void)fprintf(stderr, "glm1m: %s\n", rt_error_text());
    return status == RT_EPEER ? GLM_EXIT_RANK_LOST : status == RT_EUSAGE ? GLM_EXIT_USAGE : 1;
}

/* When to stop is rank 0's to decide, once there is a group; should it end, this one does. */
static int serve(const par_world *world) {
    par_comm *comm = NULL;
    rt_status status = rt_log_init();
    if (status == RT_OK) status = glm_launcher_join(world, &comm);
    if (status != RT_OK) return fail(status);
    (void)signal(SIGINT, SIG_IGN);
    (void)signal(SIGTERM, SIG_IGN);
    (void)signal(SIGHUP, SIG_IGN);
    (void)signal(SIGUSR1, SIG_IGN);
    return glm_ranks_serve(comm);
}

bool glm_launcher_is_other_rank(void) {
    par_world world;
    char address[PAR_ADDRESS_BYTES];
    return glm_launcher_find(&world, address) == RT_OK && world.rank != 0;
}

bool glm_launcher_has_served(int argc, char **argv, int *exit_code) {
    par_world world;
    char address[PAR_ADDRESS_BYTES];
    const rt_status status = glm_launcher_find(&world, address);
    if (status != RT_OK) {
        if (!may_open_engine(argc, argv)) return false;
        *exit_code = fail(status);
        return true;
    }
    if (world.rank == 0) return false;
    *exit_code = may_open_engine(argc, argv) ? serve(&world) : GLM_EXIT_OK;
    return true;
}

/* ---- rank 0 without an engine ---------------------------------------------------------------- */

void glm_launcher_dismiss(int argc, char **argv) {
    par_world world;
    char address[PAR_ADDRESS_BYTES];
    par_comm *comm = NULL;
    if (is_joined || !may_open_engine(argc, argv)) return;
    if (glm_launcher_find(&world, address) != RT_OK || world.transport == PAR_BY_SELF) return;
    rt_status status = glm_launcher_join(&world, &comm);
    if (status == RT_OK) status = glm_ranks_dismiss(comm);
    if (status != RT_OK) rt_log(RT_LOG_DEBUG, "ranks", "not dismissed: %s", rt_error_text());
    par_comm_close(comm);
}
