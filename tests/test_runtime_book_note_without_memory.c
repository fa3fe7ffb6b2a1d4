/* A rank that has no memory for a book's note: every rank is told so, and none waits for one that does not come.
 *
 * Method: two ranks of a group whose only operation is to share bytes, each a thread of this process. The note is made
 * once to count the second rank's allocations, then once with each of them refused. */
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "help_check.h"
#include "help_faults.h"
#include "runtime/shard_notes.h"

enum { N_RANKS = 2, WAIT_S = 10 };

/* ---- a group of two threads ------------------------------------------------------------------ */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t met;
    int n_here;
    int64_t n_meetings;
    char bytes[2][N_RANKS][PAR_SHARE_BYTES_MAX]; /* of this meeting and of the one before it */
} group = {.lock = PTHREAD_MUTEX_INITIALIZER, .met = PTHREAD_COND_INITIALIZER};

static rt_status share(par_comm *comm, const void *mine, int64_t n_bytes, void *all) {
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += WAIT_S;
    CHECK(n_bytes <= PAR_SHARE_BYTES_MAX && pthread_mutex_lock(&group.lock) == 0);
    const int64_t meeting = group.n_meetings;
    char(*bytes)[PAR_SHARE_BYTES_MAX] = group.bytes[meeting % 2];
    memcpy(bytes[comm->rank], mine, (size_t)n_bytes);
    if (++group.n_here == N_RANKS) {
        group.n_here = 0;
        group.n_meetings++;
        (void)pthread_cond_broadcast(&group.met);
    }
    while (group.n_meetings == meeting) /* it ends, or the other rank never comes */
        CHECK(pthread_cond_timedwait(&group.met, &group.lock, &until) == 0);
    for (int r = 0; r < N_RANKS; r++) memcpy((char *)all + r * n_bytes, bytes[r], (size_t)n_bytes);
    CHECK(pthread_mutex_unlock(&group.lock) == 0);
    return RT_OK;
}

/* ---- a rank ---------------------------------------------------------------------------------- */

typedef struct rank {
    int number;
    int64_t fail_at; /* the allocation that is refused */
    int64_t n_allocations;
    rt_status status;
    char *note;
} rank;

static void *make_note(void *argument) {
    char dir[] = "/books";
    char *dirs[] = {dir};
    rank *mine = argument;
    par_comm comm = {.rank = mine->number, .n_ranks = N_RANKS, .hosts = {"a", "b"}, .share = share};
    glm_engine engine = {.comm = &comm,
            .kv_dirs = dirs,
            .n_kv_dirs = 1,
            .config.n_kv_heads = N_RANKS,
            .part.n_kv_heads = 1,
            .shard = {.rank = mine->number, .first_kv_head = mine->number, .n_kv_heads = 1}};
    if (mine->number == 1) faults_begin(mine->fail_at, NULL);
    mine->status = glm_shards_note(&engine, "source=war.txt", &mine->note);
    if (mine->number == 1) {
        faults_end();
        mine->n_allocations = atomic_load(&faults.n_allocations);
    }
    return NULL;
}

/* What came of it on both ranks, which must be the same; *n_allocations: of the second one. */
static rt_status make_notes(int64_t fail_at, int64_t *n_allocations) {
    static const char want[] = "source=war.txt\nshard=0-0of2 rank=0 host=a dir=/books\n"
                               "shard=1-1of2 rank=1 host=b dir=/books\n";
    rank ranks[N_RANKS] = {{.number = 0}, {.number = 1, .fail_at = fail_at}};
    pthread_t threads[N_RANKS];
    for (int r = 0; r < N_RANKS; r++)
        CHECK(pthread_create(&threads[r], NULL, make_note, &ranks[r]) == 0);
    for (int r = 0; r < N_RANKS; r++) CHECK(pthread_join(threads[r], NULL) == 0);
    CHECK(ranks[0].status == ranks[1].status);
    for (int r = 0; r < N_RANKS; r++) {
        CHECK(ranks[r].status == RT_OK ? strcmp(ranks[r].note, want) == 0 : !ranks[r].note);
        free(ranks[r].note);
    }
    *n_allocations = ranks[1].n_allocations;
    return ranks[0].status;
}

int main(void) {
    int64_t n = 0;
    int64_t n_failed = 0;
    int64_t ignored = 0;
    CHECK(make_notes(FAULTS_NEVER, &n) == RT_OK);
    CHECK(n >= 2); /* the lines of all ranks, and the note */
    for (int64_t i = 0; i < n; i++) {
        const rt_status status = make_notes(i, &ignored);
        CHECK(status == RT_OK || status == RT_ENOMEM);
        n_failed += status == RT_ENOMEM;
    }
    (void)printf("%lld allocations, %lld of them needed\n", (long long)n, (long long)n_failed);
    CHECK(n_failed >= 2);
    return 0;
}
