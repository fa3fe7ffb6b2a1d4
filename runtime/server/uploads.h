/* Files that clients upload to be made into texts: POST /v1/read?name=war.pdf, whose body is the file.
 *
 *   begin    open a file that has no name; nothing in the request chooses where
 *   add      append a part of the body
 *   read     a thread makes a text of the file, which may run a program for a minute; the connection is
 *            suspended until it is done
 *   end      the file is gone */
#ifndef SRV_UPLOADS_H
#define SRV_UPLOADS_H

#include <stdatomic.h>

#include "error.h"

typedef struct srv_uploads srv_uploads;
typedef struct srv_upload srv_upload;

/* RT_ENOMEM */
RT_MUST_CHECK rt_status srv_uploads_create(srv_uploads **out);
/* Stop whatever reads uploads, take no more, and return when all their threads have ended, so that no connection is
 * suspended for one. Accepts NULL. */
void srv_uploads_stop(srv_uploads *uploads);
/* After srv_uploads_stop, and when every upload has ended. Accepts NULL. */
void srv_uploads_free(srv_uploads *uploads);

/* NULL: `error` says why: SRV_UPLOADS are under way already, or no file can be opened. */
srv_upload *srv_upload_begin(srv_uploads *uploads, srv_error *error);
/* RT_EIO */
RT_MUST_CHECK rt_status srv_upload_add(srv_upload *upload, const char *bytes, int64_t n_bytes);
/* Call work(context), then awake(context), in a new thread. False: no thread could be started, or the uploads are stopped;
 * then neither is called. */
bool srv_upload_read(srv_upload *upload, void (*work)(void *context), void (*awake)(void *context),
        void *context);
/* Whether work() has returned. */
bool srv_upload_is_read(const srv_upload *upload);
/* The descriptor to read the file from; and a flag that, once set, stops the reading. */
int srv_upload_file(const srv_upload *upload);
atomic_bool *srv_upload_stop(srv_upload *upload);
/* Close the file and free the upload; not while it is being read. Accepts NULL. */
void srv_upload_end(srv_upload *upload);

#endif
