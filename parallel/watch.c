/* On each socket, in both directions, frames of one byte, 'e' with a text behind it:
 *
 *   'b'                  alive, every BEAT_MS
 *   'q'                  leaving in an orderly way: the end of the socket that follows means nothing
 *   'e' u16 n, text[n]   the group is over, and why
 *
 * Rank 0 sees all ranks and passes an end on to all of them; the others see rank 0, and where that is
 * what froze each finds it out by itself. A socket that ends
 * without 'q' is a rank that died, noticed at once; frozen_s without a byte is a rank that froze. A
 * thread that was itself not running for a while (the whole program stopped, the machine asleep)
 * starts counting anew: it cannot tell whose fault the silence is. */
#include "watch.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "runtime/base/log.h"
#include "runtime/base/memory.h"
#include "runtime/base/thread.h"

enum { BEAT_MS = 500, WHY_BYTES = 600, FAREWELL_MS = 200 };
static const double frozen_s = 6.0;
static const double own_gap_s = 2.0;
static const double doubt_s = 1.5; /* three beats */

typedef struct watch_peer {
    int fd; /* -1: none, or gone in peace */
    double last_seen;
    int n_held; /* bytes of a frame that is not whole yet */
    unsigned char held[3 + WHY_BYTES];
} watch_peer;

struct par_watch {
    int32_t rank;
    int32_t n_ranks;
    char hosts[PAR_RANKS_MAX][PAR_NAME_BYTES];
    watch_peer peers[PAR_RANKS_MAX]; /* of the thread alone, until it is joined */
    pthread_t thread;
    bool has_thread;
    int wake_fd;
    atomic_bool is_stopping;
    atomic_bool is_in_doubt;
    atomic_bool is_over; /* `why` is there */
    pthread_mutex_t lock;
    char why[WHY_BYTES];
};

/* ---- the end --------------------------------------------------------------------------------- */

static void wake(par_watch *watch) {
    const uint64_t one = 1;
    const ssize_t ignored = write(watch->wake_fd, &one, sizeof one);
    (void)ignored;
}

void par_watch_end(par_watch *watch, const char *why) {
    (void)pthread_mutex_lock(&watch->lock);
    if (!atomic_load(&watch->is_over)) {
        (void)snprintf(watch->why, sizeof watch->why, "%s", why);
        atomic_store(&watch->is_over, true);
    }
    (void)pthread_mutex_unlock(&watch->lock);
    wake(watch);
}

rt_status par_watch_check(par_watch *watch) {
    if (!atomic_load(&watch->is_over)) return RT_OK;
    return rt_fail(RT_EPEER, "parallel: %s", watch->why);
}

bool par_watch_is_in_doubt(par_watch *watch) {
    return atomic_load(&watch->is_in_doubt) && !atomic_load(&watch->is_over);
}

static void end_for(par_watch *watch, int32_t rank, const char *what) {
    char why[WHY_BYTES];
    (void)snprintf(why, sizeof why, "rank %" PRId32 " on %s %s", rank, watch->hosts[rank], what);
    par_watch_end(watch, why);
}

/* ---- what comes ------------------------------------------------------------------------------ */

/* Bytes of the frame that begins here, 0 while that is not known. */
static int frame_bytes(const unsigned char *at, int n) {
    if (n < 1) return 0;
    if (at[0] != 'e') return 1;
    return n < 3 ? 0 : 3 + (at[1] | at[2] << 8);
}

/* False where it is none of ours. */
static bool take_frame(par_watch *watch, watch_peer *peer, const unsigned char *at, int n) {
    char why[WHY_BYTES];
    switch (at[0]) {
    case 'b':
        return true;
    case 'q':
        (void)close(peer->fd);
        peer->fd = -1;
        return true;
    case 'e':
        (void)snprintf(why, sizeof why, "%.*s", n - 3, (const char *)at + 3);
        par_watch_end(watch, why);
        return true;
    default:
        return false;
    }
}

static bool take_frames(par_watch *watch, watch_peer *peer) {
    int done = 0;
    while (peer->fd >= 0) {
        const int n = frame_bytes(peer->held + done, peer->n_held - done);
        if (n > (int)sizeof peer->held) return false;
        if (n == 0 || n > peer->n_held - done) break;
        if (!take_frame(watch, peer, peer->held + done, n)) return false;
        done += n;
    }
    peer->n_held -= done;
    memmove(peer->held, peer->held + done, (size_t)peer->n_held);
    return true;
}

/* False once the socket has ended, or speaks another language. */
static bool drain(par_watch *watch, watch_peer *peer, double now) {
    while (peer->fd >= 0) {
        const ssize_t n = recv(peer->fd, peer->held + peer->n_held,
                sizeof peer->held - (size_t)peer->n_held, MSG_DONTWAIT);
        if (n == 0) return false;
        if (n < 0) return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
        peer->last_seen = now;
        peer->n_held += (int)n;
        if (!take_frames(watch, peer)) return false;
    }
    return true;
}

static void look_at(par_watch *watch, int32_t rank, double now) {
    watch_peer *peer = &watch->peers[rank];
    char what[64];
    if (!drain(watch, peer, now)) {
        end_for(watch, rank, "is gone");
        return;
    }
    if (peer->fd < 0) return;
    if (now - peer->last_seen < frozen_s) return;
    (void)snprintf(
            what, sizeof what, "is frozen: no sign of life for %.1f s", now - peer->last_seen);
    end_for(watch, rank, what);
}

/* ---- the thread ------------------------------------------------------------------------------ */

static void forgive(par_watch *watch, double now) {
    for (int32_t r = 0; r < watch->n_ranks; r++) watch->peers[r].last_seen = now;
}

/* Sleep for a beat, or until something comes or the thread is woken. */
static void wait_a_beat(const par_watch *watch) {
    struct pollfd fds[PAR_RANKS_MAX + 1] = {{.fd = watch->wake_fd, .events = POLLIN}};
    int n = 1;
    for (int32_t r = 0; r < watch->n_ranks; r++)
        if (watch->peers[r].fd >= 0)
            fds[n++] = (struct pollfd){.fd = watch->peers[r].fd, .events = POLLIN | POLLRDHUP};
    (void)poll(fds, (nfds_t)n, BEAT_MS);
}

static void send_all(par_watch *watch, const void *bytes, size_t n_bytes) {
    for (int32_t r = 0; r < watch->n_ranks; r++)
        if (watch->peers[r].fd >= 0)
            (void)send(watch->peers[r].fd, bytes, n_bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void send_end(par_watch *watch) {
    unsigned char frame[3 + WHY_BYTES] = {'e'};
    const size_t n = strlen(watch->why);
    frame[1] = (unsigned char)(n & 255);
    frame[2] = (unsigned char)(n >> 8);
    memcpy(frame + 3, watch->why, n);
    send_all(watch, frame, 3 + n);
}

static void *beat(void *context) {
    par_watch *watch = context;
    double last = rt_now();
    double last_beat = 0.0;
    forgive(watch, last);
    while (!atomic_load(&watch->is_stopping) && !atomic_load(&watch->is_over)) {
        wait_a_beat(watch);
        const double now = rt_now();
        if (now - last > own_gap_s) forgive(watch, now);
        last = now;
        if (now - last_beat >= BEAT_MS * 0.9e-3) {
            send_all(watch, "b", 1);
            last_beat = now;
        }
        bool is_in_doubt = false;
        for (int32_t r = 0; r < watch->n_ranks; r++) {
            if (watch->peers[r].fd < 0) continue;
            look_at(watch, r, now);
            is_in_doubt |= now - watch->peers[r].last_seen > doubt_s;
        }
        atomic_store(&watch->is_in_doubt, is_in_doubt);
    }
    if (atomic_load(&watch->is_over)) send_end(watch);
    return NULL;
}

/* ---- begin and end --------------------------------------------------------------------------- */

static void free_watch(par_watch *watch) {
    for (int32_t r = 0; r < PAR_RANKS_MAX; r++)
        if (watch->peers[r].fd >= 0) (void)close(watch->peers[r].fd);
    if (watch->wake_fd >= 0) (void)close(watch->wake_fd);
    (void)pthread_mutex_destroy(&watch->lock);
    free(watch);
}

static rt_status start_thread(par_watch *watch) {
    watch->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (watch->wake_fd < 0) return rt_fail_errno(RT_ENOMEM, "parallel: no eventfd");
    RT_TRY(rt_thread_start(&watch->thread, beat, watch, "parallel: no heartbeat thread"));
    watch->has_thread = true;
    return RT_OK;
}

rt_status par_watch_start(int32_t rank, int32_t n_ranks,
        const char hosts[PAR_RANKS_MAX][PAR_NAME_BYTES], const int fds[PAR_RANKS_MAX],
        par_watch **out) {
    par_watch *watch = NULL;
    const rt_status status = rt_calloc(1, sizeof *watch, "heartbeats", &watch);
    if (status != RT_OK) {
        for (int32_t r = 0; r < n_ranks; r++)
            if (fds[r] >= 0) (void)close(fds[r]);
        return status;
    }
    watch->rank = rank;
    watch->n_ranks = n_ranks;
    watch->wake_fd = -1;
    memcpy(watch->hosts, hosts, sizeof watch->hosts);
    for (int32_t r = 0; r < PAR_RANKS_MAX; r++) watch->peers[r].fd = r < n_ranks ? fds[r] : -1;
    (void)pthread_mutex_init(&watch->lock, NULL);
    *out = watch;
    return start_thread(watch);
}

/* Until the others have heard, so that closing does not take the last words back. */
static void linger(par_watch *watch) {
    const double deadline = rt_now() + FAREWELL_MS * 1e-3;
    for (int32_t r = 0; r < watch->n_ranks; r++) {
        watch_peer *peer = &watch->peers[r];
        if (peer->fd < 0) continue;
        (void)shutdown(peer->fd, SHUT_WR);
        for (ssize_t n = 1; n > 0 && rt_now() < deadline;) {
            struct pollfd one = {.fd = peer->fd, .events = POLLIN};
            const int left_ms = (int)((deadline - rt_now()) * 1e3);
            if (poll(&one, 1, left_ms > 0 ? left_ms : 0) <= 0) break;
            n = recv(peer->fd, peer->held, sizeof peer->held, MSG_DONTWAIT);
        }
    }
}

void par_watch_stop(par_watch *watch, bool is_orderly) {
    if (!watch) return;
    if (!is_orderly) end_for(watch, watch->rank, "ended without the others");
    atomic_store(&watch->is_stopping, true);
    wake(watch);
    if (watch->has_thread) (void)pthread_join(watch->thread, NULL);
    if (is_orderly) send_all(watch, "q", 1);
    linger(watch);
    free_watch(watch);
}
