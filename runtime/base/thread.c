#include "thread.h"

#include <errno.h>

rt_status rt_thread_start(
        pthread_t *thread, void *(*run)(void *), void *argument, const char *what) {
    const int error = pthread_create(thread, NULL, run, argument);
    if (error == 0) return RT_OK;
    errno = error;
    return rt_fail_errno(RT_ENOMEM, "%s", what);
}
