/* Locks between processes that share a directory, on one machine or on several. The system takes them back from who dies. */
#ifndef RT_LOCK_H
#define RT_LOCK_H

#include <stdbool.h>
#include <stdint.h>

/* DIR/NAME, for locks and for close(). It is made where it is not there, for whoever may write into DIR. Another user's may be
 * open for reading only: enough for a lock of the whole on one machine. -1: it can be neither made nor opened. */
int rt_lock_file_open(const char *dir, const char *name);

/* A lock of a directory that is there, for close(), taken from other processes that ask for it here. A signal
 * (base/interrupt.h) lets us wait for a second at most. -1: there is none, as the file system knows no locks, DIR may not be
 * written, or, *is_held, another holds it. */
int rt_directory_lock(const char *dir, double patience_s, bool *is_held);

enum { RT_HOLDER_TEXT = 160 };
/* Who holds another's flock() lock, for messages. The system tells of processes of its own machine, and not of every one. */
typedef struct rt_lock_holder {
    char who[RT_HOLDER_TEXT]; /* "process 12 on HOST"; "another process" */
    char how[RT_HOLDER_TEXT]; /* "; it is stopped: kill -CONT 12 lets it go on"; "" */
} rt_lock_holder;
/* Of the file with these numbers, as stat() has them. */
void rt_lock_find_holder(uint64_t device, uint64_t inode, rt_lock_holder *out);

typedef enum rt_byte_lock {
    RT_BYTE_OURS,
    RT_BYTE_OTHERS,
    RT_BYTE_UNKNOWN /* there are no locks here, or the file is open for reading only; of fd -1, too */
} rt_byte_lock;

/* A byte of an open lock file, without waiting; nothing needs to be in the file. Ours until it is given back or fd closed. */
rt_byte_lock rt_byte_lock_take(int fd, int64_t at);
void rt_byte_lock_give_back(int fd, int64_t at);

#endif
