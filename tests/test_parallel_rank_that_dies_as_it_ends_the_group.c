/* A rank may be killed while it says, in shared memory, why the group is over: the others end all the same, and with what
 * there is of its words.
 *
 * Method: the memory as such a rank leaves it, before a word and behind some. Without an end of it the alarm ends the test. */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "help_check.h"
#include "parallel/local.h"

enum { PATIENCE_S = 120 };

static local_comm *new_rank(void) {
    local_comm *local = NULL;
    const int memory_fd = memfd_create("ranks", MFD_CLOEXEC);
    CHECK(memory_fd >= 0 && ftruncate(memory_fd, par_local_bytes(2)) == 0);
    CHECK(local_create(0, 2, memory_fd, &local) == RT_OK);
    CHECK(close(memory_fd) == 0);
    return local;
}

static void check_end(const char *said, const char *told) {
    int number = 1;
    local_comm *local = new_rank();
    CHECK(local->comm.check(&local->comm) == RT_OK);
    (void)snprintf(local->head->why, sizeof local->head->why, "%s", said);
    atomic_store(&local->head->ended, 1);
    CHECK(local->comm.check(&local->comm) == RT_EPEER && strstr(rt_error_text(), told));
    atomic_store(&local->head->ended, 1);
    CHECK(local->comm.tell(&local->comm, &number, sizeof number) == RT_EPEER);
    CHECK(strstr(rt_error_text(), told) && strstr(rt_error_text(), "on rank 0"));
    local->comm.close(&local->comm);
}

int main(void) {
    (void)alarm(PATIENCE_S);
    check_end("", "before it could say why");
    check_end("rank 1 on a machine ga", "rank 1 on a machine ga");
    return 0;
}
