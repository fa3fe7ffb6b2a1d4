#include "watch.h"

static bool stops(const glm_watch *watch) {
    return watch && watch->stops && watch->stops();
}

rt_status glm_watch_ask(const glm_watch *watch, const char *what) {
    if (!stops(watch)) return RT_OK;
    return rt_fail(RT_EINTERRUPTED, "stopped while the text was %s", what);
}

rt_status glm_watch_at(const glm_watch *watch, const char *what, int64_t done, int64_t total) {
    if (watch && watch->tell) watch->tell(watch->context, what, stops(watch) ? total : done, total);
    return glm_watch_ask(watch, what);
}
