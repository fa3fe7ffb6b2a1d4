/* Heartbeats: a thread of each rank, on a socket of their own, so that a rank that computes for
 * minutes is known to live and one that froze is not waited for.
 *
 * Rank 0 and every other rank send each other a byte every BEAT_MS. A socket that ends is a rank that
 * died, noticed at once; frozen_s without a byte is a rank that froze. Rank 0 sees all ranks and ends
 * the group in shared memory; the others see rank 0, and that end. A thread that was itself not
 * running for a while (the whole program stopped, the machine asleep) starts counting anew: it
 * cannot tell whose fault the silence is. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "local.h"
#include "runtime/base/log.h"
#include "runtime/base/thread.h"

enum { BEAT_MS = 500, BEATING = 'b', LEAVING = 'q' };
static const double frozen_s = 6.0;
static const double own_gap_s = 2.0;

const char *local_who(const local_comm *local, int rank, char text[128]) {
    (void)snprintf(text, 128, "rank %d on %s", rank, local->comm.hosts[rank]);
    return text;
}

/* How a child ended, where this is its parent and it is known by now. */
static void describe_end(local_peer *peer, char *text, size_t room) {
    int status = 0;
    text[0] = '\0';
    for (int i = 0; i < 20 && peer->pid > 0; i++) {
        if (waitpid(peer->pid, &status, WNOHANG) == peer->pid) {
            peer->pid = 0;
            if (WIFSIGNALED(status))
                (void)snprintf(text, room, ": ended by signal %d", WTERMSIG(status));
            else
                (void)snprintf(text, room, ": ended with exit status %d", WEXITSTATUS(status));
            return;
        }
        (void)usleep(10000); /* the socket closes a moment before the process is gone */
    }
}

static void report_gone(local_comm *local, int rank) {
    char who[128];
    char how[64];
    char why[256];
    describe_end(&local->peers[rank], how, sizeof how);
    (void)snprintf(why, sizeof why, "%s is gone%s", local_who(local, rank, who), how);
    local_end(local, why);
}

/* A child that froze has nothing more to do. Rank 0 is somebody's command: it is let go on, where it was
 * stopped, so that it finds the group over, says so, and ends by itself. */
static void end_frozen(const local_comm *local, int rank) {
    const pid_t pid = local->peers[rank].pid;
    if (local->comm.rank == 0 && pid > 0) (void)kill(pid, SIGKILL);
    if (local->comm.rank > 0 && pid == getppid()) (void)kill(pid, SIGCONT);
}

static void report_frozen(local_comm *local, int rank, double silent_s) {
    char who[128];
    char why[256];
    (void)snprintf(why, sizeof why, "%s is frozen: no sign of life for %.1f s",
            local_who(local, rank, who), silent_s);
    local_end(local, why);
    end_frozen(local, rank);
}

/* Take what came; false once the socket has ended. */
static bool drain(local_peer *peer, double now) {
    char bytes[64];
    for (;;) {
        const ssize_t n = recv(peer->beat_fd, bytes, sizeof bytes, MSG_DONTWAIT);
        if (n == 0) return false;
        if (n < 0) return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
        peer->last_seen = now;
        for (ssize_t i = 0; i < n; i++) peer->has_left |= bytes[i] == LEAVING;
    }
}

/* False once the group is over. */
static bool look_at(local_comm *local, int rank, double now) {
    local_peer *peer = &local->peers[rank];
    if (peer->beat_fd < 0 || peer->has_left) return true;
    if (!drain(peer, now)) {
        if (peer->has_left) return true;
        report_gone(local, rank);
        return false;
    }
    (void)send(peer->beat_fd, &(char){BEATING}, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (now - peer->last_seen < frozen_s) return true;
    report_frozen(local, rank, now - peer->last_seen);
    return false;
}

static void forgive(local_comm *local, double now) {
    for (int r = 0; r < local->comm.n_ranks; r++) local->peers[r].last_seen = now;
}

/* Sleep for a beat, or until a socket ends or the thread is to; false when it is to. */
static bool wait_a_beat(const local_comm *local) {
    struct pollfd fds[PAR_RANKS_MAX + 1] = {{.fd = local->wake_fd, .events = POLLIN}};
    int n = 1;
    for (int r = 0; r < local->comm.n_ranks; r++)
        if (local->peers[r].beat_fd >= 0 && !local->peers[r].has_left)
            fds[n++] = (struct pollfd){.fd = local->peers[r].beat_fd, .events = POLLRDHUP};
    (void)poll(fds, (nfds_t)n, BEAT_MS);
    return fds[0].revents == 0;
}

static void *beat(void *context) {
    local_comm *local = context;
    double last = rt_now();
    forgive(local, last);
    while (wait_a_beat(local)) {
        const double now = rt_now();
        if (now - last > own_gap_s) forgive(local, now);
        last = now;
        bool goes_on = atomic_load(&local->head->ended) == 0;
        for (int r = 0; goes_on && r < local->comm.n_ranks; r++) goes_on = look_at(local, r, now);
        if (goes_on) continue;
        local_end(local, ""); /* wakes this process where another ended the group */
        break;
    }
    return NULL;
}

rt_status local_beat_start(local_comm *local) {
    local->wake_fd = eventfd(0, EFD_CLOEXEC);
    if (local->wake_fd < 0) return rt_fail_errno(RT_ENOMEM, "parallel: no eventfd");
    RT_TRY(rt_thread_start(&local->beat, beat, local, "parallel: no heartbeat thread"));
    local->has_beat = true;
    return RT_OK;
}

void local_beat_stop(local_comm *local, bool is_orderly) {
    if (!local->has_beat) return;
    for (int r = 0; is_orderly && r < local->comm.n_ranks; r++)
        if (local->peers[r].beat_fd >= 0)
            (void)send(local->peers[r].beat_fd, &(char){LEAVING}, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    const uint64_t one = 1;
    if (write(local->wake_fd, &one, sizeof one) < 0) rt_assert(errno == EINTR);
    const int failed = pthread_join(local->beat, NULL);
    rt_assert(failed == 0);
    local->has_beat = false;
}
