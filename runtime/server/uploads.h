/* Files on their way into a text: POST /v1/read?name=war.pdf, the file is the body.
 *
 *   begin    a file without a name, which nothing in the request chooses
 *   add      the body, as it comes
 *   read     a thread makes a text of it, for that may run a program for minutes; the connection sleeps
 *   end      it is gone */
#ifndef SRV_UPLOADS_H
#define SRV_UPLOADS_H

#include <stdatomic.h>

#include "error.h"

typedef struct srv_uploads srv_uploads;
typedef struct srv_upload srv_upload;

/* RT_ENOMEM */
RT_MUST_CHECK rt_status srv_uploads_create(srv_uploads **out);
/* Kill what reads them, and return when every connection is awake again. Accepts NULL. */
void srv_uploads_stop(srv_uploads *uploads);
/* Stopped, and none left. Accepts NULL. */
void srv_uploads_free(srv_uploads *uploads);

/* NULL: `error` says why: there are SRV_UPLOADS, or no file can be had. */
srv_upload *srv_upload_begin(srv_uploads *uploads, srv_error *error);
/* RT_EIO */
RT_MUST_CHECK rt_status srv_upload_add(srv_upload *upload, const char *bytes, int64_t n_bytes);
/* In a thread of its own: work(context), then awake(context). False: there is none to be had. */
bool srv_upload_read(srv_upload *upload, void (*work)(void *context), void (*awake)(void *context),
        void *context);
/* Whether that is over. */
bool srv_upload_is_read(const srv_upload *upload);
/* To read it from; and what ends the reading early once it is set. */
int srv_upload_file(const srv_upload *upload);
atomic_bool *srv_upload_stop(srv_upload *upload);
/* Not while it is being read. Accepts NULL. */
void srv_upload_end(srv_upload *upload);

#endif
