/* Whether somebody asked this process to stop: what signal handlers set and whoever waits asks. */
#ifndef RT_INTERRUPT_H
#define RT_INTERRUPT_H

#include <poll.h>
#include <stdatomic.h>

/* The number of the signal that asked; 0: nobody did. */
extern atomic_int rt_interrupted_by;

/* poll() without a limit of time that a signal of those ends also where it came before: -1 with EINTR. */
int rt_poll_interruptible(struct pollfd *fds, nfds_t n);

#endif
