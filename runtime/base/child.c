#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "log.h"
#include "size.h"

enum { STDERR_KEPT = 600, PATH_BYTES = 4096, READ_BYTES = 65536, TICK_MS = 20, FD_HIGH = 10 };

typedef struct child {
    const char *name;
    const rt_child_limits *limits;
    pid_t pid;
    int out; /* our ends; -1: it has closed its own */
    int err;
    char *bytes;
    int64_t n_bytes;
    int64_t capacity;
    char said[STDERR_KEPT + 1]; /* the beginning of its standard error */
    size_t n_said;
    double deadline_s;
    sigset_t before; /* what the thread had blocked */
} child;

/* ---- the other process ----------------------------------------------------------------------- */

/* What a child starts with: all made before the fork, behind which little is allowed. */
typedef struct start {
    char program[PATH_BYTES];
    char path[PATH_BYTES]; /* "PATH=..." */
    const char *const *argv;
    int in;
    int out;
    int err;
    int file; /* -1: none */
    pid_t parent;
} start;

static void limit(int what, int64_t value) {
    const struct rlimit to = {.rlim_cur = (rlim_t)value, .rlim_max = (rlim_t)value};
    (void)setrlimit(what, &to);
}

static _Noreturn void become(start *s, const rt_child_limits *limits) {
    char locale[] = "LC_ALL=C.UTF-8";
    char *const environment[] = {s->path, locale, NULL};
    struct sigaction by_default = {.sa_handler = SIG_DFL};
    sigset_t none;
    (void)sigemptyset(&none);
    (void)sigaction(SIGPIPE, &by_default, NULL);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)setpgid(0, 0);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != s->parent || chdir("/") != 0) _exit(126);
    if (dup2(s->in, 0) < 0 || dup2(s->out, 1) < 0 || dup2(s->err, 2) < 0) _exit(126);
    if (s->file >= 0 && dup2(s->file, RT_CHILD_FD) < 0) _exit(126);
    (void)close_range(s->file >= 0 ? RT_CHILD_FD + 1 : RT_CHILD_FD, ~0U, 0);
    limit(RLIMIT_CORE, 0);
    limit(RLIMIT_AS, limits->memory_bytes);
    limit(RLIMIT_CPU, 1 + (int64_t)limits->seconds);
    (void)execve(s->program, (char *const *)s->argv, environment);
    _exit(127);
}

static bool is_program(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISREG(info.st_mode) && access(path, X_OK) == 0;
}

static rt_status find_program(const char *name, start *s) {
    const char *path = getenv("PATH"); /* NOLINT(concurrency-mt-unsafe): nothing here sets one */
    if (!path || *path == '\0') path = "/usr/local/bin:/usr/bin:/bin";
    (void)snprintf(s->path, sizeof s->path, "PATH=%s", path);
    for (const char *dir = path; *dir; dir += *dir == ':') {
        const int n = (int)strcspn(dir, ":");
        const int written = snprintf(s->program, sizeof s->program, "%.*s/%s", n, dir, name);
        if (n > 0 && dir[0] == '/' && written < PATH_BYTES && is_program(s->program)) return RT_OK;
        dir += n;
    }
    return rt_fail(RT_EUNSUPPORTED, "child: there is no program %s in PATH", name);
}

/* Above those that the child's own will be. */
static int raise_fd(int fd) {
    const int high = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, FD_HIGH);
    if (fd >= 0) (void)close(fd);
    return high;
}

static void open_pipe(int *ours, int *theirs) {
    int ends[2] = {-1, -1};
    if (pipe2(ends, O_CLOEXEC) != 0) ends[0] = ends[1] = -1;
    *ours = raise_fd(ends[0]);
    *theirs = raise_fd(ends[1]);
}

static void close_fd(int *fd) {
    if (*fd >= 0) (void)close(*fd);
    *fd = -1;
}

static rt_status spawn(child *c, const char *const *argv, int fd) {
    start s = {.argv = argv, .file = -1, .parent = getpid()};
    rt_status status = RT_OK;
    RT_TRY(find_program(argv[0], &s));
    open_pipe(&c->out, &s.out);
    open_pipe(&c->err, &s.err);
    s.in = raise_fd(open("/dev/null", O_RDONLY | O_CLOEXEC));
    if (fd >= 0) s.file = fcntl(fd, F_DUPFD_CLOEXEC, FD_HIGH);
    if (c->out < 0 || c->err < 0 || s.out < 0 || s.err < 0 || s.in < 0 || (fd >= 0 && s.file < 0))
        status = rt_fail_errno(RT_EIO, "child: no pipes to %s", c->name);
    if (status == RT_OK) c->pid = fork();
    if (status == RT_OK && c->pid == 0) become(&s, c->limits);
    if (status == RT_OK && c->pid < 0)
        status = rt_fail_errno(RT_EIO, "child: cannot start %s", c->name);
    close_fd(&s.in);
    close_fd(&s.out);
    close_fd(&s.err);
    close_fd(&s.file);
    return status;
}

/* ---- what it says ---------------------------------------------------------------------------- */

static rt_status make_room(child *c) {
    if (c->capacity - c->n_bytes > READ_BYTES) return RT_OK;
    const int64_t larger = 2 * c->capacity + 2 * READ_BYTES;
    char *bytes = realloc(c->bytes, (size_t)larger);
    if (!bytes) return rt_fail(RT_ENOMEM, "child: no memory for what %s says", c->name);
    c->bytes = bytes;
    c->capacity = larger;
    return RT_OK;
}

static rt_status take_output(child *c) {
    RT_TRY(make_room(c));
    const ssize_t n = read(c->out, c->bytes + c->n_bytes, READ_BYTES);
    if (n <= 0) close_fd(&c->out);
    if (n > 0) c->n_bytes += n;
    if (c->n_bytes <= c->limits->output_bytes) return RT_OK;
    return rt_fail(RT_EUSAGE, "child: %s writes more than %lld bytes", c->name,
            (long long)c->limits->output_bytes);
}

static void take_error(child *c) {
    char bytes[READ_BYTES];
    const ssize_t n = read(c->err, bytes, sizeof bytes);
    if (n <= 0) {
        close_fd(&c->err);
        return;
    }
    const size_t kept = (size_t)rt_min64(n, (int64_t)(STDERR_KEPT - c->n_said));
    memcpy(c->said + c->n_said, bytes, kept);
    c->n_said += kept;
}

/* Whatever is there, or for a moment nothing. */
static rt_status take_some(child *c) {
    struct pollfd ends[] = {{.fd = c->out, .events = POLLIN}, {.fd = c->err, .events = POLLIN}};
    const int n = poll(ends, 2, TICK_MS);
    if (n < 0 && errno == EINTR) return RT_OK;
    if (n < 0) return rt_fail_errno(RT_EIO, "child: cannot wait for %s", c->name);
    if (ends[1].revents) take_error(c);
    return ends[0].revents ? take_output(c) : RT_OK;
}

static bool is_over(const child *c) {
    siginfo_t info = {0};
    return waitid(P_PID, (id_t)c->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid != 0;
}

/* Signals that ask this process to end. They are blocked while it listens, so that one that comes between two looks is
 * pending at the next; what comes besides, as SIGCONT after Ctrl-Z, ends nothing. */
static const int ending[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGALRM, SIGUSR1, SIGUSR2};
enum { N_ENDING = sizeof ending / sizeof ending[0] };

static void hold_signals(child *c) {
    sigset_t held;
    (void)sigemptyset(&held);
    for (int i = 0; i < N_ENDING; i++) (void)sigaddset(&held, ending[i]);
    (void)pthread_sigmask(SIG_BLOCK, &held, &c->before);
}

/* Handlers run here. */
static void let_signals_through(const child *c) {
    (void)pthread_sigmask(SIG_SETMASK, &c->before, NULL);
}

static bool is_asked_to_end(const child *c) {
    sigset_t pending;
    struct sigaction action;
    if (sigpending(&pending) != 0) return false;
    for (int i = 0; i < N_ENDING; i++)
        if (sigismember(&pending, ending[i]) == 1 && sigismember(&c->before, ending[i]) == 0 &&
                sigaction(ending[i], NULL, &action) == 0 && action.sa_handler != SIG_IGN)
            return true;
    return false;
}

static rt_status check_time(const child *c) {
    if (c->limits->stop && atomic_load(c->limits->stop))
        return rt_fail(RT_EINTERRUPTED, "child: stopped while %s ran", c->name);
    if (is_asked_to_end(c))
        return rt_fail(RT_EINTERRUPTED, "child: interrupted while %s ran", c->name);
    if (rt_now() < c->deadline_s) return RT_OK;
    return rt_fail(RT_EIO, "child: %s takes longer than %.0f s", c->name, c->limits->seconds);
}

static rt_status listen(child *c) {
    while (!is_over(c)) {
        RT_TRY(check_time(c));
        RT_TRY(take_some(c));
    }
    (void)kill(-c->pid, SIGKILL); /* those it left behind: the pipes end with them */
    while (c->out >= 0 || c->err >= 0) {
        RT_TRY(check_time(c));
        RT_TRY(take_some(c));
    }
    return RT_OK;
}

/* ---- how it ended ---------------------------------------------------------------------------- */

/* The first line of what it said that is no mere warning, or else the first, for a message. */
static const char *said(child *c) {
    char *rest = c->said;
    for (char *line = strsep(&rest, "\r\n"); line; line = strsep(&rest, "\r\n"))
        if (line[0] && !strstr(line, "Warning")) return line;
    return c->said[0] ? c->said : "it does not say why";
}

static rt_status judge(child *c, int state) {
    if (WIFSIGNALED(state))
        return rt_fail(
                RT_EIO, "child: %s was killed by signal %d: %s", c->name, WTERMSIG(state), said(c));
    if (WEXITSTATUS(state) == 0) return RT_OK;
    return rt_fail(RT_EIO, "child: %s ended with %d: %s", c->name, WEXITSTATUS(state), said(c));
}

/* Whatever happened, nothing of it is left. */
static rt_status finish(child *c, rt_status status) {
    int state = 0;
    (void)kill(-c->pid, SIGKILL);
    (void)kill(c->pid, SIGKILL); /* not in its group yet */
    while (waitpid(c->pid, &state, 0) < 0 && errno == EINTR) {
    }
    return status == RT_OK ? judge(c, state) : status;
}

rt_status rt_child_run(const char *const *argv, int fd, const rt_child_limits *limits, char **out,
        int64_t *n_bytes) {
    child c = {.name = argv[0],
            .limits = limits,
            .out = -1,
            .err = -1,
            .deadline_s = rt_now() + limits->seconds};
    hold_signals(&c);
    rt_status status = spawn(&c, argv, fd);
    if (status == RT_OK) status = finish(&c, listen(&c));
    let_signals_through(&c);
    close_fd(&c.out);
    close_fd(&c.err);
    if (status == RT_OK) status = make_room(&c);
    if (status != RT_OK) {
        free(c.bytes);
        return status;
    }
    c.bytes[c.n_bytes] = '\0';
    *out = c.bytes;
    *n_bytes = c.n_bytes;
    return RT_OK;
}
