/* Decisions of the whole group, from small messages that every rank sees. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "parallel.h"
#include "runtime/base/memory.h"

/* ---- hello ----------------------------------------------------------------------------------- */

enum { FACTS_BYTES = 3072 };

typedef struct hello {
    char host[PAR_NAME_BYTES];
    char facts[FACTS_BYTES]; /* lines */
} hello;

static_assert(sizeof(hello) <= PAR_SHARE_BYTES_MAX, "one share");

static rt_status write_hello(const par_comm *comm, const char *facts, hello *mine) {
    *mine = (hello){0};
    (void)gethostname(mine->host, sizeof mine->host - 1);
    const int n = snprintf(mine->facts, sizeof mine->facts, "%sranks=%d\ntransport=%s %s\n", facts,
            comm->n_ranks, comm->transport, comm->library);
    if (n < (int)sizeof mine->facts) return RT_OK;
    return rt_fail(RT_EUSAGE, "parallel: %d bytes of facts to compare, at most %d", n, FACTS_BYTES);
}

/* RT_EPEER with the first line in which a rank's facts differ from rank 0's. */
static rt_status compare(const hello *first, const hello *other, int rank) {
    const char *a = first->facts;
    const char *b = other->facts;
    while (*a || *b) {
        const int n_a = (int)strcspn(a, "\n");
        const int n_b = (int)strcspn(b, "\n");
        if (n_a != n_b || memcmp(a, b, (size_t)n_a) != 0)
            return rt_fail(RT_EPEER,
                    "parallel: the ranks differ: rank %d on %s has %.*s, rank 0 on %s has %.*s",
                    rank, other->host, n_b, b, first->host, n_a, a);
        a += n_a + (a[n_a] == '\n');
        b += n_b + (b[n_b] == '\n');
    }
    return RT_OK;
}

/* All have found the same difference: nobody leaves before everybody has, as who leaves ends the group. */
static rt_status part(par_comm *comm) {
    char text[2 * FACTS_BYTES];
    (void)snprintf(text, sizeof text, "%s", rt_error_text());
    const rt_status ignored = comm->barrier(comm);
    (void)ignored;
    return rt_fail(RT_EPEER, "%s", text);
}

static rt_status hello_of_all(par_comm *comm, const hello *mine, hello *all) {
    RT_TRY(comm->share(comm, mine, sizeof *mine, all));
    for (int r = 0; r < comm->n_ranks; r++) {
        all[r].host[PAR_NAME_BYTES - 1] = '\0';
        all[r].facts[FACTS_BYTES - 1] = '\0';
        memcpy(comm->hosts[r], all[r].host, PAR_NAME_BYTES);
    }
    for (int r = 1; r < comm->n_ranks; r++)
        if (compare(&all[0], &all[r], r) != RT_OK) return part(comm);
    return RT_OK;
}

rt_status par_hello(par_comm *comm, const char *facts) {
    hello mine;
    hello *all = NULL;
    RT_TRY(write_hello(comm, facts, &mine));
    RT_TRY(rt_calloc(comm->n_ranks, sizeof *all, "the ranks' greetings", &all));
    const rt_status status = hello_of_all(comm, &mine, all);
    free(all);
    return status;
}

/* ---- agreement ------------------------------------------------------------------------------- */

typedef struct vote {
    int64_t value;
    int32_t status;
    char text[500];
} vote;

rt_status par_agree(par_comm *comm, rt_status mine, int64_t *smallest) {
    if (comm->n_ranks == 1) return mine;
    vote own = {.value = smallest ? *smallest : 0, .status = (int32_t)mine};
    if (mine != RT_OK) (void)snprintf(own.text, sizeof own.text, "%s", rt_error_text());
    vote all[PAR_RANKS_MAX];
    RT_TRY(comm->share(comm, &own, sizeof own, all));
    for (int r = 0; smallest && r < comm->n_ranks; r++)
        if (all[r].value < *smallest) *smallest = all[r].value;
    for (int r = 0; r < comm->n_ranks; r++) {
        if (all[r].status == RT_OK) continue;
        all[r].text[sizeof all[r].text - 1] = '\0';
        if (r == 0) return rt_fail((rt_status)all[r].status, "%s", all[r].text);
        return rt_fail(
                (rt_status)all[r].status, "rank %d on %s: %s", r, comm->hosts[r], all[r].text);
    }
    return RT_OK;
}
