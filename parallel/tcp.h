/* TCP between ranks. Private to parallel. */
#ifndef PAR_TCP_H
#define PAR_TCP_H

#include <netinet/in.h>

#include "parallel.h"

enum { TCP_TOKEN_BYTES = 16, TCP_ADDRESSES_MAX = 8 };

/* Where somebody listens, and what proves that it is he: random bytes that only the group knows. */
typedef struct tcp_invitation {
    unsigned char token[TCP_TOKEN_BYTES];
    int32_t n_ranks; /* of the group, to be compared with each guest's; 0: it is known to be alike */
    int32_t n_addresses;
    int32_t port;
    char addresses[TCP_ADDRESSES_MAX][INET6_ADDRSTRLEN];
} tcp_invitation;

/* Listen on a free port: on this machine's addresses, or, is_local, for this machine alone.
 * Errors: RT_EIO */
RT_MUST_CHECK rt_status tcp_listen(bool is_local, tcp_invitation *out, int *fd);

/* Where rank 0 listens, as the launcher says: "host:port". The token is made of what all ranks of one
 * job have in common. Errors: RT_EUSAGE  no such host */
RT_MUST_CHECK rt_status tcp_resolve(const char *address, int32_t n_ranks, tcp_invitation *out);
/* Rank 0's end of that. Errors: RT_EIO  the port is taken */
RT_MUST_CHECK rt_status tcp_listen_at(const tcp_invitation *invitation, int *fd);
/* Whether it says that all ranks are on this machine. */
bool tcp_is_local(const tcp_invitation *invitation);

/* Take one connection of each rank from `first` on into fds[rank]; strangers are turned away, and keep nobody
 * waiting: of those that say nothing 64 at a time may be there, each for 2 s.
 * joined[n_ranks]: connections of those that are there already, -1 for others; it may be fds.
 * Errors: RT_EPEER  not all came within timeout_s: who is missing; or one of those that were there left: its number; or
 *                   one has another size of the group: its number, its host and the two sizes. What came stays in
 *                   fds. */
RT_MUST_CHECK rt_status tcp_accept_all(int fd, const tcp_invitation *invitation, int32_t first,
        int32_t n_ranks, double timeout_s, const int *joined, int fds[PAR_RANKS_MAX]);

/* Connect as `rank`, trying one address after the other until timeout_s.
 * joined: as for tcp_accept_all.
 * Errors: RT_EPEER  nobody is there; or one of those that were there left: its number; or the group has another size
 *                   there */
RT_MUST_CHECK rt_status tcp_connect(const tcp_invitation *invitation, int32_t rank,
        double timeout_s, const int joined[PAR_RANKS_MAX], int *fd);

#endif
