/* Errors: one status, one text per thread, set where the fact is known.
 *
 * Operating errors (disk, memory, a bad file, a full budget) travel as rt_status; 0 is success,
 * everywhere. The site that knows calls rt_fail() with module, object and numbers; everything
 * above passes the status on with RT_TRY and only main.c prints. Bugs stop the program:
 * rt_assert() is on in every build. */
#ifndef RT_STATUS_H
#define RT_STATUS_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

#define RT_MUST_CHECK                    __attribute__((warn_unused_result))
#define RT_PRINTF(format_arg, first_arg) __attribute__((format(printf, format_arg, first_arg)))

#ifdef __cplusplus
extern "C" {
#endif

/* The numbers are stable; main.c maps them to exit codes. */
typedef enum rt_status {
    RT_OK = 0,
    RT_EUSAGE = 1,        /* the caller or the user asked for something that has no meaning */
    RT_ENOMEM = 2,        /* the machine refused memory that the plan had granted */
    RT_EIO = 3,           /* a file or device failed; errno's text is in the message */
    RT_ENOFIT = 4,        /* the budgets do not hold it; the message says what would fit */
    RT_EMODEL = 5,        /* a checkpoint, config or tokenizer file is not what it must be */
    RT_ECORRUPT = 6,      /* stored bytes do not match their checksum */
    RT_EPEER = 7,         /* another rank is gone or disagrees */
    RT_ENUMERIC = 8,      /* NaN or Inf where a number is needed */
    RT_EINTERRUPTED = 9,  /* the user asked to stop; what was finished is kept */
    RT_EUNSUPPORTED = 10, /* this build or machine lacks it; the message says what is needed */
    RT_EDEVICE = 11       /* a GPU or its driver refused or failed */
} rt_status;

/* Record why, as printf, and return `status`. Replaces the calling thread's previous text. Control
 * characters but the line feed are recorded as \xNN: names in messages may come from anywhere. */
RT_MUST_CHECK rt_status rt_fail(rt_status status, const char *format, ...) RT_PRINTF(2, 3);

/* The same with ": <text of errno>" appended; errno is read first. */
RT_MUST_CHECK rt_status rt_fail_errno(rt_status status, const char *format, ...) RT_PRINTF(2, 3);

/* The calling thread's last recorded text; "" when nothing failed yet. Valid until its next
 * rt_fail. */
const char *rt_error_text(void);

/* Status as a short fixed word, for logs: "io", "model". */
const char *rt_status_name(rt_status status);

/* Pass a failure up unchanged. */
#define RT_TRY(call)                                      \
    do {                                                  \
        const rt_status rt_try_status = (call);           \
        if (rt_try_status != RT_OK) return rt_try_status; \
    } while (0)

/* Pass a failure to the function's clean-up label; `status` is the function's rt_status. */
#define RT_TRY_GOTO(status, call, label)   \
    do {                                   \
        (status) = (call);                 \
        if ((status) != RT_OK) goto label; \
    } while (0)

/* A broken promise inside the program: prints file, line and condition, then aborts. */
#define rt_assert(condition) \
    ((condition) ? (void)0 : rt_assert_failed(__FILE__, __LINE__, #condition))
__attribute__((noreturn)) void rt_assert_failed(const char *file, int line, const char *condition);

#ifdef __cplusplus
}
#endif

#endif
