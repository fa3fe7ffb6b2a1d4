/* One datagram a state, as systemd's library sends it; without the library, of which the program would need no more than
 * this. Source: sd_notify(3) */
#include "notify.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

/* Of a path, or with @ of a name in the abstract space; 0: of neither. */
static socklen_t address_of(const char *path, struct sockaddr_un *out) {
    *out = (struct sockaddr_un){.sun_family = AF_UNIX};
    const size_t n = path ? strlen(path) : 0;
    if (n < 2 || n >= sizeof out->sun_path || (path[0] != '/' && path[0] != '@')) return 0;
    memcpy(out->sun_path, path, n);
    if (path[0] == '@') out->sun_path[0] = '\0';
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
}

void srv_notify(const char *state) {
    struct sockaddr_un address;
    const struct timeval at_most = {
            .tv_sec = 1}; /* where the queue is full: answers do not wait for long */
    const char *path =
            getenv("NOTIFY_SOCKET"); /* NOLINT(concurrency-mt-unsafe): nothing here sets one */
    const socklen_t n_address = address_of(path, &address);
    const int fd = n_address > 0 ? socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0) : -1;
    if (fd < 0) return;
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &at_most, sizeof at_most);
    (void)sendto(
            fd, state, strlen(state), MSG_NOSIGNAL, (const struct sockaddr *)&address, n_address);
    (void)close(fd);
}
