/* A rank under mpirun that dies, leaves, gives up or freezes, also rank 0, ends the group on every rank
 * with a message that names it, its host and the step; and mpirun's exit status is not 0.
 *
 * Method: this program starts itself as three ranks, which sum in a loop until one of them does the
 * thing; the others write what they were told, and after how long, to a file. mpirun, which ends all when it hears of
 * one, hears of none before: what it started is the parent of a rank, and stays until the others have written. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "help_mpi.h"
#include "parallel/parallel.h"
#include "runtime/base/log.h"

enum { N_RANKS = 3, FATAL_STEP = 20, TEXT_BYTES = 1000 };

static const double hang_s = 100.0;

static int n_failed;

static void expect(bool is_true, const char *what, const char *text) {
    if (is_true) return;
    (void)printf("FAIL, %s: %s\n", what, text);
    n_failed++;
}

/* ---- a rank ---------------------------------------------------------------------------------- */

/* Until all others have written down what they were told. */
static void wait_for_others(const char *dir, int victim) {
    char path[512];
    const double begin = rt_now();
    for (int r = 0; r < N_RANKS; r++) {
        (void)snprintf(path, sizeof path, "%s/%d", dir, r);
        while (r != victim && access(path, F_OK) != 0 && rt_now() - begin < hang_s)
            (void)usleep(10000);
    }
}

static void do_it(par_comm *comm, const char *dir, const char *deed) {
    if (strcmp(deed, "dies") == 0) (void)raise(SIGKILL);
    if (strcmp(deed, "freezes") == 0) (void)raise(SIGSTOP);
    if (strcmp(deed, "exits") == 0) _exit(0);
    if (strcmp(deed, "gives up") == 0) {
        comm->abort(comm, "no room left");
        wait_for_others(dir, comm->rank); /* who must not hear that this one is gone */
        _exit(1);
    }
    if (strcmp(deed, "closes") == 0) {
        par_comm_close(comm);
        _exit(1);
    }
}

/* "<seconds> <text>", whole once it has its name */
static void write_down(const char *dir, int rank, double took_s, const char *text) {
    char path[512], part[520];
    (void)snprintf(path, sizeof path, "%s/%d", dir, rank);
    (void)snprintf(part, sizeof part, "%s.part", path);
    FILE *file = fopen(part, "w");
    if (!file) exit(3);
    (void)fprintf(file, "%.3f %s\n", took_s, text);
    if (fclose(file) != 0 || rename(part, path) != 0) exit(3);
}

static int rank_main(const char *dir, const char *deed, int victim) {
    par_world world;
    char address[PAR_ADDRESS_BYTES];
    par_comm *comm = NULL;
    char text[TEXT_BYTES];
    if (par_world_from_environment(&world, address) != RT_OK) return 4;
    if (par_comm_open(&world, &comm) != RT_OK || par_hello(comm, "") != RT_OK) return 5;
    comm->step_name = "decode";
    double last = rt_now();
    rt_status status = RT_OK;
    while (status == RT_OK) {
        float data[100] = {1.0f};
        comm->step++;
        if (comm->step == FATAL_STEP && comm->rank == victim) do_it(comm, dir, deed);
        last = rt_now();
        status = comm->all_reduce(comm, data, 100, NULL);
    }
    const double took_s = rt_now() - last;
    (void)snprintf(text, sizeof text, "%s", rt_error_text());
    const int rank = comm->rank;
    char bytes[8] = "";
    const bool is_over = status == RT_EPEER && comm->tell(comm, bytes, 8) == RT_EPEER &&
                         comm->barrier(comm) == RT_EPEER && comm->check(comm) == RT_EPEER;
    par_comm_close(comm);
    write_down(dir, rank, took_s, is_over ? text : "its group goes on");
    return is_over ? 6 : 1;
}

/* The rank is this process's child; what mpirun is told of it. */
static int parent_main(const char *dir, const char *deed, int victim) {
    int status = 0;
    (void)signal(SIGTERM, SIG_IGN);
    const pid_t child = fork();
    if (child < 0) return 3;
    if (child == 0) exit(rank_main(dir, deed, victim));
    (void)waitpid(child, &status, WUNTRACED);
    wait_for_others(dir, victim);
    if (WIFSTOPPED(status)) (void)kill(child, SIGKILL);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

/* ---- all of them ----------------------------------------------------------------------------- */

static void check_rank(
        const char *dir, int rank, const char *deed, int victim, const char *expected) {
    char path[512];
    char text[TEXT_BYTES + 1] = "nothing";
    double took_s = -1.0;
    (void)snprintf(path, sizeof path, "%s/%d", dir, rank);
    FILE *file = fopen(path, "r");
    if (file && fscanf(file, "%lf %1000[^\n]", &took_s, text) != 2) took_s = -1.0;
    if (file) (void)fclose(file);
    (void)unlink(path);
    char what[64];
    char host[PAR_NAME_BYTES] = "";
    char who[128];
    (void)gethostname(host, sizeof host - 1);
    (void)snprintf(
            what, sizeof what, "rank %d %s, rank %d after %.1f s", victim, deed, rank, took_s);
    (void)snprintf(who, sizeof who, "rank %d on %s %s", victim, host, expected);
    (void)printf("%s: %s\n", what, text);
    expect(strstr(text, who) != NULL, what, text);
    /* A rank that is quick is a step ahead of the others. */
    expect(strstr(text, "(at step 20, decode, on rank ") ||
                    strstr(text, "(at step 19, decode, on rank "),
            what, text);
    expect(took_s >= 0.0 && took_s < hang_s, what, text);
}

static void check(const char *dir, const char *deed, int victim, const char *expected) {
    char argument[600];
    (void)snprintf(argument, sizeof argument, "%s:%s:%d", dir, deed, victim);
    const double begin = rt_now();
    const int exit_code = help_mpi_run(N_RANKS, argument);
    expect(exit_code != 0 && exit_code != 127, deed, "mpirun's exit status");
    expect(rt_now() - begin < 2.0 * hang_s, deed, "mpirun hangs");
    for (int r = 0; r < N_RANKS; r++)
        if (r != victim) check_rank(dir, r, deed, victim, expected);
}

/* Rank 1 of one run, rank 0 of another beside it: both take their time. */
static void check_frozen(const char *dir) {
    char other_dir[] = "/tmp/glm1m_mpi_XXXXXX";
    if (!mkdtemp(other_dir)) exit(1);
    (void)fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        n_failed = 0;
        check(other_dir, "freezes", 0, "is frozen: no sign of life for ");
        (void)fflush(stdout);
        _exit(n_failed);
    }
    check(dir, "freezes", 1, "is frozen: no sign of life for ");
    int status = 0;
    if (waitpid(child, &status, 0) != child || status != 0) n_failed++;
    (void)rmdir(other_dir);
}

int main(int argc, char **argv) {
    if (argc == 2) {
        char *deed = strchr(argv[1], ':');
        *deed++ = '\0';
        char *victim = strchr(deed, ':');
        *victim++ = '\0';
        return parent_main(argv[1], deed, (int)strtol(victim, NULL, 10));
    }
    char why[256];
    char dir[] = "/tmp/glm1m_mpi_XXXXXX";
    if (!help_mpi_is_there(why)) {
        (void)printf("skipped: %s\n", why);
        return 77;
    }
    if (!mkdtemp(dir)) return 1;
    (void)setenv("OMPI_MCA_odls_base_sigkill_timeout", "0", 1); /* nobody needs a second to end */
    check(dir, "dies", 1, "is gone");
    check(dir, "exits", 1, "is gone");
    check(dir, "gives up", 1, "gave up: no room left");
    check(dir, "closes", 1, "ended without the others");
    if (!getenv("GLM_TEST_FAST")) check_frozen(dir);
    (void)rmdir(dir);
    return n_failed ? 1 : 0;
}
