/* Work over a long text, watched: it says how far it is, and can be stopped. */
#ifndef GLM_WATCH_H
#define GLM_WATCH_H

#include "base/status.h"

typedef struct glm_watch {
    int (*stops)(void); /* takes no time; anything but 0: stop. NULL: never */
    /* Once in some milliseconds, in the thread that works: `done` of `total` bytes have been "read", "tokenized" and
     * the like. Equal: that is over, or was stopped. NULL: nobody listens. */
    void (*tell)(void *context, const char *what, int64_t done, int64_t total);
    void *context;
} glm_watch;

/* What lies between two questions at most, in bytes of text: some milliseconds. */
enum { GLM_WATCH_BYTES = 1 << 18 };

/* Tell, and ask whether to stop. `watch` may be NULL. RT_EINTERRUPTED: "stopped while the text was `what`". */
RT_MUST_CHECK rt_status glm_watch_at(
        const glm_watch *watch, const char *what, int64_t done, int64_t total);

/* Only ask. */
RT_MUST_CHECK rt_status glm_watch_ask(const glm_watch *watch, const char *what);

#endif
