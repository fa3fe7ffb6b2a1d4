/* Log lines on stderr: `info kvstore: spilled pages=512 bytes=1073741824 ms=81.4`.
 *
 * Fields are key=value with the unit in the key. Leaves count, the runtime logs; never inside a
 * loop over tokens or layers. GLM_LOG picks the level and, optionally, modules:
 * GLM_LOG=debug,engine. Default: warn. stdout belongs to the model. */
#ifndef RT_LOG_H
#define RT_LOG_H

#include "status.h"

typedef enum rt_log_level { RT_LOG_ERROR, RT_LOG_WARN, RT_LOG_INFO, RT_LOG_DEBUG } rt_log_level;

/* Read GLM_LOG. RT_EUSAGE for an unknown level. Call once, before any thread. */
RT_MUST_CHECK rt_status rt_log_init(void);
/* A warning for each module in GLM_LOG that has no line beyond warnings. */
void rt_log_tell_unknown(void);

/* Who is speaking, where several processes share stderr: "rank 1" in front of every line. Once, before
 * any thread; at most 31 bytes. */
void rt_log_name(const char *who);

/* Every line begins with the time of day from now on, for who runs for weeks; not where stderr is systemd's journal, which
 * has it by itself. Once, before any thread. */
void rt_log_tell_time(void);
/* "2026-01-31T12:00:00.250Z ", of UTC, for lines that are printed otherwise; "" where lines are without it. */
enum { RT_LOG_TIME_BYTES = 40 };
const char *rt_log_time(char text[RT_LOG_TIME_BYTES]);

/* Whether a line would be printed, for what is dear to find out. */
bool rt_log_enabled(rt_log_level level, const char *module);

/* One line, as printf. `module` is a room or a part of one: "kvstore", "engine". */
void rt_log(rt_log_level level, const char *module, const char *format, ...) RT_PRINTF(3, 4);

/* Monotonic seconds, for measuring. */
double rt_now(void);

#endif
