/* What tests of damaged payloads share: a checksum that is wrong at one call, and two ranks that use every collective.
 *
 * Whoever includes this defines XXH3_64bits as checksum_of afterwards, and includes what sends and receives. */
#ifndef HELP_PAYLOADS_H
#define HELP_PAYLOADS_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "parallel/parallel.h"

enum { N_FLOATS = 1000, N_RANKS = 2, CALLS_MAX = 100 };
enum { OUTCOME_GOOD, OUTCOME_WRONG, OUTCOME_ERROR, OUTCOME_CHECKSUM /* an error that says so */ };

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

/* Of this rank, which leaves the group. */
static int outcome_of(par_comm *comm) {
    bool is_right = false;
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

/* Groups in which one rank's checksum is wrong at its first call, its second and so on until a run has fewer; each rank
 * makes more than calls_least. */
static void check_every_checksum(int (*outcome_of_group)(int liar, int call), int calls_least) {
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
        require(call > calls_least, "checksums that are wrong pass", liar, call);
    }
    require(n_named >= calls_least, "nobody said why", 0, n_named);
}

#endif
