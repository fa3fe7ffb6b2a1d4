/* A rank that is started here has nothing open but the three standard descriptors, two of them at /dev/null, and the one that
 * it joins by; and what this process was given itself.
 *
 * Method: this program starts itself, and each rank says what it has, by number. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "help_check.h"
#include "parallel/parallel.h"

enum { N_RANKS = 3, FDS_MAX = 64 };

typedef struct opened {
    bool is[FDS_MAX];
} opened;

/* Descriptors that an exec leaves open. */
static opened look(void) {
    opened all = {{false}};
    for (int fd = 0; fd < FDS_MAX; fd++) {
        const int flags = fcntl(fd, F_GETFD);
        all.is[fd] = flags >= 0 && !(flags & FD_CLOEXEC);
    }
    return all;
}

static int rank_main(const char *number, const opened *mine) {
    opened all[N_RANKS];
    par_comm *comm = NULL;
    opened others = *mine;
    const int joined_by = (int)strtol(number, NULL, 10);
    CHECK(joined_by > STDERR_FILENO && joined_by < FDS_MAX && others.is[joined_by]);
    others.is[joined_by] = false;
    CHECK(par_local_join(joined_by, &comm) == RT_OK);
    CHECK(comm->share(comm, &others, sizeof others, all) == RT_OK);
    par_comm_close(comm);
    return 0;
}

int main(int argc, char **argv) {
    const opened mine = look();
    if (argc == 3 && strcmp(argv[1], "rank") == 0) return rank_main(argv[2], &mine);
    opened all[N_RANKS];
    par_comm *comm = NULL;
    char self[4096] = "";
    CHECK(readlink("/proc/self/exe", self, sizeof self - 1) > 0);
    CHECK(par_local_launch(N_RANKS, self, &comm) == RT_OK);
    CHECK(comm->share(comm, &mine, sizeof mine, all) == RT_OK);
    for (int r = 1; r < N_RANKS; r++)
        for (int fd = 0; fd < FDS_MAX; fd++) CHECK(all[r].is[fd] == mine.is[fd]);
    par_comm_close(comm);
    return 0;
}
