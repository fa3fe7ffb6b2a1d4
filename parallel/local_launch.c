/* The processes of comm_local: rank 0 starts the others.
 *
 * A child is `program rank FD`: FD is its control socket. The first message there is a welcome: its
 * number, and with it (SCM_RIGHTS) the shared memory and the socket for heartbeats. A child dies with
 * its parent: the kernel kills it then (PR_SET_PDEATHSIG), and should that fail its sockets end. The
 * terminal's Ctrl-C, and SIGTERM and others to the whole process group, are rank 0's alone to answer. */
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "local.h"
#include "runtime/base/log.h"

enum { REAP_GRACE_MS = 2000, WELCOME_MAGIC = 0x676c6d77 };

typedef struct welcome {
    uint32_t magic;
    int32_t rank;
    int32_t n_ranks;
    int32_t mapping_bytes; /* of this build: another one's memory would be laid out otherwise */
} welcome;

/* ---- the parent ------------------------------------------------------------------------------ */

/* Between fork and exec: nothing that takes a lock. */
static _Noreturn void become(const char *program, int control_fd, pid_t parent) {
    char number[16];
    char *const argv[] = {(char *)(uintptr_t) "glm1m", (char *)(uintptr_t) "rank", number, NULL};
    (void)snprintf(number, sizeof number, "%d", control_fd);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);
    (void)signal(SIGINT, SIG_IGN);
    (void)signal(SIGTERM, SIG_IGN);
    (void)signal(SIGHUP, SIG_IGN);
    (void)signal(SIGUSR1, SIG_IGN);
    const int null_fd = open("/dev/null", O_RDWR);
    if (null_fd >= 0) {
        (void)dup2(null_fd, STDIN_FILENO);
        (void)dup2(null_fd, STDOUT_FILENO);
    }
    if (null_fd > STDERR_FILENO) (void)close(null_fd);
    (void)fcntl(control_fd, F_SETFD, 0);
    (void)execv(program, argv);
    _exit(127);
}

static rt_status send_welcome(local_comm *local, int rank, int memory_fd, int beat_fd) {
    const welcome text = {.magic = WELCOME_MAGIC,
            .rank = rank,
            .n_ranks = local->comm.n_ranks,
            .mapping_bytes = (int32_t)par_local_bytes(local->comm.n_ranks)};
    const int fds[2] = {memory_fd, beat_fd};
    _Alignas(struct cmsghdr) char space[CMSG_SPACE(sizeof fds)] = {0};
    struct iovec iov = {.iov_base = (void *)(uintptr_t)&text, .iov_len = sizeof text};
    struct msghdr message = {
            .msg_iov = &iov, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
    struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof fds);
    memcpy(CMSG_DATA(rights), fds, sizeof fds);
    if (sendmsg(local->peers[rank].control_fd, &message, MSG_NOSIGNAL) == (ssize_t)sizeof text)
        return RT_OK;
    return rt_fail_errno(RT_EPEER, "parallel: rank %d cannot be greeted", rank);
}

static rt_status start_rank(local_comm *local, int rank, int memory_fd, const char *program) {
    int control[2];
    int beat[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, control) != 0)
        return rt_fail_errno(RT_ENOMEM, "parallel: no socket for rank %d", rank);
    local->peers[rank].control_fd = control[0];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, beat) != 0) {
        (void)close(control[1]);
        return rt_fail_errno(RT_ENOMEM, "parallel: no socket for rank %d", rank);
    }
    local->peers[rank].beat_fd = beat[0];
    const pid_t parent = getpid();
    const pid_t pid = fork();
    if (pid == 0) become(program, control[1], parent);
    (void)close(control[1]);
    rt_status status = RT_OK;
    if (pid < 0)
        status = rt_fail_errno(RT_ENOMEM, "parallel: cannot start rank %d", rank);
    else
        local->peers[rank].pid = pid;
    if (status == RT_OK) status = send_welcome(local, rank, memory_fd, beat[1]);
    (void)close(beat[1]);
    return status;
}

static rt_status make_memory(int32_t n_ranks, int *out) {
    const int fd = memfd_create("glm1m ranks", MFD_CLOEXEC);
    if (fd < 0) return rt_fail_errno(RT_ENOMEM, "parallel: no shared memory");
    if (ftruncate(fd, par_local_bytes(n_ranks)) != 0) {
        (void)close(fd);
        return rt_fail_errno(RT_ENOMEM, "parallel: no %" PRId64 " bytes of shared memory",
                par_local_bytes(n_ranks));
    }
    *out = fd;
    return RT_OK;
}

rt_status par_local_launch(int32_t n_ranks, const char *program, par_comm **out) {
    int memory_fd = -1;
    local_comm *local = NULL;
    if (n_ranks < 2 || n_ranks > PAR_RANKS_MAX)
        return rt_fail(RT_EUSAGE, "parallel: %" PRId32 " ranks; 2 to %d can be started here",
                n_ranks, PAR_RANKS_MAX);
    RT_TRY(make_memory(n_ranks, &memory_fd));
    rt_status status = local_create(0, n_ranks, memory_fd, &local);
    for (int r = 1; r < n_ranks && status == RT_OK; r++)
        status = start_rank(local, r, memory_fd, program);
    (void)close(memory_fd);
    if (status == RT_OK) status = local_beat_start(local);
    if (status != RT_OK) {
        if (local) local->comm.close(&local->comm);
        return status;
    }
    *out = &local->comm;
    return RT_OK;
}

/* Children end when their sockets do; one that is frozen is killed. */
void local_reap(local_comm *local) {
    if (local->is_over) local_end(local, "");
    for (int r = 1; r < local->comm.n_ranks; r++) {
        local_peer *peer = &local->peers[r];
        if (peer->control_fd >= 0) (void)shutdown(peer->control_fd, SHUT_RDWR);
        if (peer->beat_fd >= 0) (void)shutdown(peer->beat_fd, SHUT_RDWR);
    }
    const double deadline = rt_now() + REAP_GRACE_MS * 1e-3;
    for (int r = 1; r < local->comm.n_ranks; r++) {
        local_peer *peer = &local->peers[r];
        while (peer->pid > 0 && waitpid(peer->pid, NULL, WNOHANG) == 0) {
            if (rt_now() > deadline) (void)kill(peer->pid, SIGKILL);
            (void)usleep(1000);
        }
        peer->pid = 0;
    }
}

/* ---- the child ------------------------------------------------------------------------------- */

static rt_status receive_welcome(int control_fd, welcome *out, int fds[2]) {
    _Alignas(struct cmsghdr) char space[CMSG_SPACE(2 * sizeof(int))] = {0};
    struct iovec iov = {.iov_base = out, .iov_len = sizeof *out};
    struct msghdr message = {
            .msg_iov = &iov, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
    const ssize_t n = recvmsg(control_fd, &message, MSG_CMSG_CLOEXEC | MSG_WAITALL);
    const struct cmsghdr *rights = n > 0 ? CMSG_FIRSTHDR(&message) : NULL;
    if (n != (ssize_t)sizeof *out || !rights || rights->cmsg_len != CMSG_LEN(2 * sizeof(int)))
        return rt_fail(RT_EUSAGE,
                "parallel: descriptor %d is not the socket of a rank that glm1m "
                "started; `rank` is for -tp to call",
                control_fd);
    memcpy(fds, CMSG_DATA(rights), 2 * sizeof(int));
    return RT_OK;
}

static rt_status check_welcome(const welcome *w) {
    const bool is_ours = w->magic == WELCOME_MAGIC && w->n_ranks >= 2 &&
                         w->n_ranks <= PAR_RANKS_MAX && w->rank > 0 && w->rank < w->n_ranks &&
                         w->mapping_bytes == (int32_t)par_local_bytes(w->n_ranks);
    return is_ours ? RT_OK
                   : rt_fail(RT_EPEER, "parallel: rank 0 is of another build: it lays shared "
                                       "memory out otherwise");
}

rt_status par_local_join(int control_fd, par_comm **out) {
    welcome hello;
    int fds[2] = {-1, -1};
    local_comm *local = NULL;
    RT_TRY(receive_welcome(control_fd, &hello, fds));
    rt_status status = check_welcome(&hello);
    if (status == RT_OK) status = local_create(hello.rank, hello.n_ranks, fds[0], &local);
    (void)close(fds[0]);
    if (status != RT_OK) {
        (void)close(fds[1]);
        return status;
    }
    (void)fcntl(control_fd, F_SETFD, FD_CLOEXEC);
    local->peers[0].control_fd = control_fd;
    local->peers[0].beat_fd = fds[1];
    local->peers[0].pid = getppid();
    status = local_beat_start(local);
    if (status == RT_OK)
        *out = &local->comm;
    else
        local->comm.close(&local->comm);
    return status;
}
