/* What systemd is told of a service with Type=notify. */
#ifndef SRV_NOTIFY_H
#define SRV_NOTIFY_H

/* One state, "READY=1", to the socket that NOTIFY_SOCKET names; nothing where it names none, or nobody listens. */
void srv_notify(const char *state);

#endif
