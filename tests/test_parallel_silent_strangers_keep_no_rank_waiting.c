/* Whoever connects to where ranks are let in and says nothing, or only the beginning of something, keeps no rank waiting: all
 * that come are in the group at once, and he is turned away.
 *
 * Method: strangers connect, then two ranks, before anybody is let in. The group is made in less time than one stranger is given
 * to say who he is. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "help_check.h"
#include "parallel/tcp.h"

enum { N_STRANGERS = 5, N_RANKS = 3 };
static const double within_s = 1.9; /* a stranger has 2 s */

/* He says so many bytes. */
static int connect_stranger(int32_t port, size_t n_bytes) {
    static const char words[64] = "GET / HTTP/1.0";
    const struct sockaddr_in name = {.sin_family = AF_INET,
            .sin_port = htons((uint16_t)port),
            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0);
    CHECK(connect(fd, (const struct sockaddr *)(const void *)&name, sizeof name) == 0);
    CHECK(n_bytes == 0 || send(fd, words, n_bytes, MSG_NOSIGNAL) == (ssize_t)n_bytes);
    return fd;
}

static bool is_turned_away(int fd) {
    char byte;
    return recv(fd, &byte, 1, 0) <= 0;
}

static bool is_connected(int from, int to) {
    char byte = 0;
    while (send(from, "x", 1, MSG_NOSIGNAL) != 1) {
    }
    while (recv(to, &byte, 1, MSG_PEEK) != 1) {
    }
    return byte == 'x';
}

int main(void) {
    tcp_invitation invitation;
    int listener = -1;
    int strangers[N_STRANGERS];
    int ranks[N_RANKS], fds[PAR_RANKS_MAX], none[PAR_RANKS_MAX];
    for (int r = 0; r < PAR_RANKS_MAX; r++) fds[r] = none[r] = -1;
    CHECK(tcp_listen(true, &invitation, &listener) == RT_OK);
    for (int i = 0; i < N_STRANGERS; i++)
        strangers[i] = connect_stranger(invitation.port, i % 2 ? 20 : 0);
    for (int32_t r = 1; r < N_RANKS; r++)
        CHECK(tcp_connect(&invitation, r, 60.0, none, &ranks[r]) == RT_OK);
    CHECK(tcp_accept_all(listener, &invitation, 1, N_RANKS, within_s, none, fds) == RT_OK);
    for (int i = 0; i < N_STRANGERS; i++) {
        CHECK(is_turned_away(strangers[i]));
        (void)close(strangers[i]);
    }
    for (int r = 1; r < N_RANKS; r++) {
        CHECK(is_connected(ranks[r], fds[r]));
        (void)close(ranks[r]);
        (void)close(fds[r]);
    }
    (void)close(listener);
    return 0;
}
