/* Ranks of one machine: bytes that are not what their checksum says end the group, whichever piece of whichever
 * collective it is; nobody is given them.
 *
 * Method: this program has parallel/local_data.c built in with a checksum that is wrong at one call, on one of two ranks,
 * the first, the second and so on until a run has fewer. */
#include <xxhash.h>

#include <stdint.h>
#include <stdlib.h>

static uint64_t checksum_of(const void *bytes, size_t n_bytes);
#define XXH3_64bits checksum_of
#include "parallel/local_data.c"
#undef XXH3_64bits

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    N_FLOATS = 1000,
    N_RANKS = 2,
    OUTCOME_GOOD = 0,
    OUTCOME_WRONG = 1,
    OUTCOME_ERROR = 3,
    OUTCOME_CHECKSUM = 4
};

static int64_t n_left = -1; /* calls until the one that is wrong; below 0: none is */

static uint64_t checksum_of(const void *bytes, size_t n_bytes) {
    const uint64_t checksum = XXH3_64bits(bytes, n_bytes);
    return n_left >= 0 && n_left-- == 0 ? checksum ^ 1 : checksum;
}

static void fill(int rank, float *out) {
    for (int i = 0; i < N_FLOATS; i++) out[i] = (float)(rank * 31 + i % 97);
}

/* The collectives, the last one told whether its bytes are right. */
static rt_status take_part(par_comm *comm, bool *is_right) {
    static float mine[N_FLOATS], all[N_RANKS * N_FLOATS], due[N_RANKS * N_FLOATS];
    const int other = 1 - comm->rank;
    *is_right = false;
    for (int r = 0; r < N_RANKS; r++) fill(r, due + r * N_FLOATS);
    fill(comm->rank, mine);
    RT_TRY(comm->all_gather(comm, mine, sizeof mine, all, NULL));
    if (memcmp(all, due, sizeof due) != 0) return RT_OK;
    RT_TRY(comm->all_reduce(comm, mine, N_FLOATS, NULL));
    for (int i = 0; i < N_FLOATS; i++)
        if (mine[i] != due[i] + due[N_FLOATS + i]) return RT_OK;
    fill(comm->rank, mine);
    RT_TRY(comm->broadcast(comm, mine, sizeof mine, 1, NULL));
    if (memcmp(mine, due + N_FLOATS, sizeof mine) != 0) return RT_OK;
    fill(comm->rank, mine);
    if (comm->rank == 0) RT_TRY(comm->send(comm, mine, sizeof mine, other, NULL));
    RT_TRY(comm->recv(comm, all, sizeof mine, other, NULL));
    if (comm->rank == 1) RT_TRY(comm->send(comm, mine, sizeof mine, other, NULL));
    if (memcmp(all, due + other * N_FLOATS, sizeof mine) != 0) return RT_OK;
    *is_right = true;
    return comm->barrier(comm);
}

static int outcome_of(par_comm *comm) {
    bool is_right = false;
    const char *liar = getenv("TEST_LIAR");
    if (liar && atoi(liar) == comm->rank) n_left = atoi(getenv("TEST_CALL"));
    const rt_status status = take_part(comm, &is_right);
    const bool is_named = status != RT_OK && strstr(rt_error_text(), "do not match their checksum");
    par_comm_close(comm);
    if (status == RT_OK) return is_right ? OUTCOME_GOOD : OUTCOME_WRONG;
    return is_named ? OUTCOME_CHECKSUM : OUTCOME_ERROR;
}

static void require(bool is_so, const char *what, int liar, int call) {
    if (is_so) return;
    printf("FAIL call %d of rank %d: %s (last error: %s)\n", call, liar, what, rt_error_text());
    exit(1);
}

static int outcome_of_group(int liar, int call) {
    char text[16];
    par_comm *comm = NULL;
    int status = 0;
    const pid_t pid = fork();
    if (pid == 0) {
        (void)snprintf(text, sizeof text, "%d", liar);
        (void)setenv("TEST_LIAR", text, 1);
        (void)snprintf(text, sizeof text, "%d", call);
        (void)setenv("TEST_CALL", text, 1);
        require(par_local_launch(N_RANKS, "/proc/self/exe", &comm) == RT_OK, "launch", liar, call);
        _exit(outcome_of(comm));
    }
    require(pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status), "no exit", liar, call);
    return WEXITSTATUS(status);
}

int main(int argc, char **argv) {
    enum { CALLS_LEAST = 8, CALLS_MAX = 100 };
    par_comm *comm = NULL;
    if (argc == 3 && strcmp(argv[1], "rank") == 0)
        return par_local_join(atoi(argv[2]), &comm) == RT_OK ? outcome_of(comm) : 1;
    int n_named = 0;
    for (int liar = 0; liar < N_RANKS; liar++) {
        int call = 0;
        for (int outcome = OUTCOME_ERROR; outcome != OUTCOME_GOOD; call++) {
            outcome = outcome_of_group(liar, call);
            require(outcome != OUTCOME_WRONG && call < CALLS_MAX, "wrong bytes, or no end", liar,
                    call);
            n_named += outcome == OUTCOME_CHECKSUM;
        }
        printf("rank %d: %d checksums\n", liar, call - 1);
        require(call > CALLS_LEAST, "checksums that are wrong pass", liar, call);
    }
    require(n_named >= CALLS_LEAST, "rank 0 did not say why", 0, n_named);
    return 0;
}
