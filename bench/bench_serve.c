/* How evenly tokens come to the clients of `glm1m serve` while many others only hold connections.
 *
 *   bench_serve [--program FILE] [--streams N] [--idle N] [--drips N] [--seconds S] and what
 *               help_measure.h lists
 *
 * A server of the embedded model (FILE, default: glm1m beside this directory's parent) answers 8 streams,
 * that never end within a round; first alone, then beside 1,000 idle connections (half of them have been
 * answered once, half have said nothing) and 100 that send a byte of a request every half second. Whoever
 * is cut off by the server's limits comes again. Rounds of S seconds (3) take turns, as many as the repeats.
 * A figure is the time from one read of a stream that had a token to the next such read, of all streams;
 * the last line is the ratio of the two 99th percentiles, of all rounds together. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "help_runs.h"
#include "runtime/base/log.h"

enum {
    ADDRESS_CONNECTIONS = 200, /* of one source address; the server takes 256 */
    STREAM_TOKENS = 30000,
    REQUEST_BYTES = 512,
    EVENTS = 256,
    SETTLE_MS = 700 /* of each round, before it counts */
};

static const double drip_s = 0.5;

typedef enum kind { STREAM, IDLE, DRIP } kind;

typedef struct client {
    kind kind;
    int fd; /* -1: none */
    int number;
    bool asks_first; /* IDLE: has one answer, then nothing */
    double token_s;  /* the last read with a token; 0: none yet */
    double drip_s;   /* when the next byte goes out */
    size_t n_sent;
    int64_t n_cut; /* how often the server has ended it */
} client;

typedef struct load {
    const char *program;
    int n_streams;
    int n_idle;
    int n_drips;
    double seconds;

    pid_t pid;
    uint16_t port;
    int epoll_fd;
    client *clients; /* streams, idle ones, drips */
    int n_clients;
    char request[REQUEST_BYTES];
} load;

/* Times between tokens of one condition. */
typedef struct gaps {
    double *values;
    int64_t n;
    int64_t capacity;
} gaps;

static void add_gap(gaps *to, double seconds) {
    if (to->n == to->capacity) {
        to->capacity = 2 * to->capacity + 4096;
        to->values = realloc(to->values, (size_t)to->capacity * sizeof *to->values);
        if (!to->values) bench_must(rt_fail(RT_ENOMEM, "no memory for times"));
    }
    to->values[to->n++] = seconds;
}

static int by_size(const void *left, const void *right) {
    const double a = *(const double *)left;
    const double b = *(const double *)right;
    return a < b ? -1 : a > b;
}

/* ---- the server ------------------------------------------------------------------------------ */

static void exec_server(const load *l, int err, const char *model) {
    char seqs[16];
    (void)snprintf(seqs, sizeof seqs, "%d", l->n_streams);
    (void)dup2(err, STDERR_FILENO);
    (void)execl(l->program, l->program, "serve", "--port", "0", "-m", model, "-c", "32k",
            "--max-num-seqs", seqs, (char *)NULL);
    _exit(127);
}

static void start_server(load *l) {
    const char *model = runs_directory("/dev/shm", "needle");
    int ends[2];
    char line[512];
    unsigned port = 0;
    if (pipe2(ends, O_CLOEXEC) != 0) bench_must(rt_fail_errno(RT_EIO, "cannot make a pipe"));
    l->pid = fork();
    if (l->pid == 0) exec_server(l, ends[1], model);
    (void)close(ends[1]);
    FILE *err = fdopen(ends[0], "r");
    bool is_ready = false;
    while (err && !is_ready && fgets(line, sizeof line, err)) {
        (void)sscanf(line, "listening on http://127.0.0.1:%u", &port);
        is_ready = strncmp(line, "ready", 5) == 0;
    }
    if (!is_ready) bench_must(rt_fail(RT_EIO, "%s serve does not start", l->program));
    l->port = (uint16_t)port; /* the pipe stays open: the server may write more */
}

static void stop_server(const load *l) {
    int status = 0;
    (void)kill(l->pid, SIGTERM);
    (void)kill(l->pid, SIGTERM); /* streams that never end are not awaited */
    (void)waitpid(l->pid, &status, 0);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        bench_must(rt_fail(RT_EIO, "the server ends with status %d", status));
}

/* Kilobytes and descriptors of the server. */
static int64_t resident_kb(const load *l) {
    char path[64];
    char line[128];
    long kb = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/status", (int)l->pid);
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "VmRSS: %ld", &kb) == 1) break;
    if (file) (void)fclose(file);
    return kb;
}

static int n_descriptors(const load *l) {
    char command[64];
    int n = 0;
    (void)snprintf(command, sizeof command, "ls /proc/%d/fd | wc -l", (int)l->pid);
    FILE *out = popen(command, "r");
    if (!out || fscanf(out, "%d", &n) != 1) n = -1;
    if (out) (void)pclose(out);
    return n;
}

/* ---- clients --------------------------------------------------------------------------------- */

static void send_text(const client *one, const char *text, size_t n) {
    const ssize_t ignored = send(one->fd, text, n, MSG_NOSIGNAL);
    (void)ignored;
}

static void ask(load *l, client *one) {
    static const char health[] = "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";
    char body[REQUEST_BYTES / 2];
    if (one->kind == IDLE && one->asks_first) send_text(one, health, sizeof health - 1);
    if (one->kind != STREAM) return;
    const int n = snprintf(body, sizeof body,
            "{\"prompt\":\"client %d\",\"max_tokens\":%d,\"ignore_eos\":true,\"temperature\":0,"
            "\"stream\":true}",
            one->number, STREAM_TOKENS);
    const int n_all = snprintf(l->request, sizeof l->request,
            "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", n,
            body);
    send_text(one, l->request, (size_t)n_all);
}

static void open_client(load *l, client *one) {
    const int place = one->number / ADDRESS_CONNECTIONS;
    struct sockaddr_in from = {
            .sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000002u + (uint32_t)place)};
    struct sockaddr_in to = {.sin_family = AF_INET,
            .sin_port = htons(l->port),
            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = one};
    one->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (one->fd < 0 || bind(one->fd, (struct sockaddr *)&from, sizeof from) != 0 ||
            connect(one->fd, (struct sockaddr *)&to, sizeof to) != 0 ||
            epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, one->fd, &event) != 0)
        bench_must(rt_fail_errno(RT_EIO, "cannot connect to port %u", (unsigned)l->port));
    one->token_s = 0.0;
    one->n_sent = 0;
    one->drip_s = rt_now() + drip_s * (double)(one->number % 50) / 50.0;
    ask(l, one);
}

static void close_client(client *one) {
    if (one->fd >= 0) (void)close(one->fd);
    one->fd = -1;
}

/* A byte of a request that will never be whole. */
static void drip(client *one, double now) {
    static const char head[] =
            "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{";
    const char byte = one->n_sent < sizeof head - 1 ? head[one->n_sent] : ' ';
    one->n_sent++;
    one->drip_s = now + drip_s;
    send_text(one, &byte, 1);
}

/* What came on a connection; a token's time goes to `out` unless that is NULL. */
static void hear(load *l, client *one, gaps *out) {
    char bytes[1 << 14];
    const ssize_t n = recv(one->fd, bytes, sizeof bytes - 1, MSG_DONTWAIT);
    const double now = rt_now();
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) {
        if (one->kind == STREAM && out)
            bench_must(rt_fail(RT_EIO, "stream %d has ended", one->number));
        one->n_cut++;
        close_client(one);
        open_client(l, one);
        return;
    }
    bytes[n] = '\0';
    if (one->kind != STREAM || !strstr(bytes, "data: {")) return;
    if (out && one->token_s > 0.0) add_gap(out, now - one->token_s);
    one->token_s = now;
}

static void run_for(load *l, double seconds, gaps *out) {
    struct epoll_event events[EVENTS];
    const double end = rt_now() + seconds;
    for (double now = rt_now(); now < end; now = rt_now()) {
        const int n = epoll_wait(l->epoll_fd, events, EVENTS, 10);
        for (int i = 0; i < n; i++) hear(l, events[i].data.ptr, out);
        for (int i = l->n_streams + l->n_idle; i < l->n_clients; i++)
            if (l->clients[i].fd >= 0 && l->clients[i].drip_s <= now) drip(&l->clients[i], now);
    }
}

/* ---- rounds ---------------------------------------------------------------------------------- */

static void make_clients(load *l) {
    l->n_clients = l->n_streams + l->n_idle + l->n_drips;
    l->clients = bench_memory(l->n_clients * (int64_t)sizeof *l->clients);
    for (int i = 0; i < l->n_clients; i++)
        l->clients[i] = (client){.kind = i < l->n_streams               ? STREAM
                                         : i < l->n_streams + l->n_idle ? IDLE
                                                                        : DRIP,
                .fd = -1,
                .number = i,
                .asks_first = i % 2 == 0};
    l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
}

/* Streams begin anew, so that all rounds decode at the same depths. */
static void run_round(load *l, bool is_crowded, gaps *out) {
    const int n = is_crowded ? l->n_clients : l->n_streams;
    for (int i = 0; i < n; i++) open_client(l, &l->clients[i]);
    run_for(l, SETTLE_MS * 1e-3, NULL);
    run_for(l, l->seconds, out);
    (void)printf("# %s: the server has %" PRId64 " KiB resident, %d descriptors\n",
            is_crowded ? "beside" : "alone", resident_kb(l), n_descriptors(l));
    for (int i = 0; i < n; i++) close_client(&l->clients[i]);
    run_for(l, 0.3, NULL);
}

static double percentile(const gaps *of, double share) {
    return of->values[(int64_t)((double)(of->n - 1) * share)];
}

static void report(const char *what, const gaps *of) {
    qsort(of->values, (size_t)of->n, sizeof *of->values, by_size);
    (void)printf("%-8s %8" PRId64 " times between tokens: median %.2f ms, p99 %.2f, p99.9 %.2f, "
                 "longest %.2f\n",
            what, of->n, 1e3 * percentile(of, 0.5), 1e3 * percentile(of, 0.99),
            1e3 * percentile(of, 0.999), 1e3 * of->values[of->n - 1]);
}

static void measure(load *l, int n_rounds) {
    gaps alone = {0};
    gaps crowded = {0};
    int64_t n_cut = 0;
    (void)printf("# %d streams, then beside %d idle and %d dripping connections; server at rest: "
                 "%" PRId64 " KiB resident, %d descriptors\n",
            l->n_streams, l->n_idle, l->n_drips, resident_kb(l), n_descriptors(l));
    for (int i = 0; i < n_rounds; i++) {
        run_round(l, false, &alone);
        run_round(l, true, &crowded);
    }
    for (int i = 0; i < l->n_clients; i++) n_cut += l->clients[i].n_cut;
    (void)printf("# at rest again: %" PRId64 " KiB resident, %d descriptors; %" PRId64
                 " connections were cut off by the limits and came again\n",
            resident_kb(l), n_descriptors(l), n_cut);
    if (alone.n < 100 || crowded.n < 100)
        bench_must(rt_fail(RT_EIO, "only %" PRId64 " and %" PRId64 " times", alone.n, crowded.n));
    report("alone", &alone);
    report("beside", &crowded);
    (void)printf("p99 beside / alone: %.3f (at most 1.2 is wanted)\n",
            percentile(&crowded, 0.99) / percentile(&alone, 0.99));
    free(alone.values);
    free(crowded.values);
}

/* Take our options out of argv; the others are help_measure's. */
static int parse(int argc, char **argv, load *l) {
    static const char usage[] = "bench_serve: a number of 1 or more is missing\n";
    int n = 1;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--program") == 0)
            l->program = runs_value(argc, argv, &i, usage);
        else if (strcmp(argv[i], "--streams") == 0)
            l->n_streams = (int)runs_count(argc, argv, &i, usage);
        else if (strcmp(argv[i], "--idle") == 0)
            l->n_idle = (int)runs_count(argc, argv, &i, usage);
        else if (strcmp(argv[i], "--drips") == 0)
            l->n_drips = (int)runs_count(argc, argv, &i, usage);
        else if (strcmp(argv[i], "--seconds") == 0)
            l->seconds = (double)runs_count(argc, argv, &i, usage);
        else
            argv[n++] = argv[i];
    }
    argv[n] = NULL;
    return n;
}

int main(int argc, char **argv) {
    char program[1024];
    const char *slash = strrchr(argv[0], '/');
    (void)snprintf(program, sizeof program, "%.*s/../glm1m", slash ? (int)(slash - argv[0]) : 1,
            slash ? argv[0] : ".");
    load l = {.program = program, .n_streams = 8, .n_idle = 1000, .n_drips = 100, .seconds = 3.0};
    argc = parse(argc, argv, &l);
    const bench_options options = bench_parse(argc, argv);
    (void)signal(SIGPIPE, SIG_IGN);
    start_server(&l);
    make_clients(&l);
    measure(&l, options.is_quick ? 1 : options.n_repeats);
    stop_server(&l);
    return bench_end(&options);
}
