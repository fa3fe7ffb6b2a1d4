#include "uploads.h"

#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "limits.h"
#include "runtime/base/file.h"
#include "runtime/base/memory.h"

struct srv_upload {
    srv_uploads *uploads;
    srv_upload *next;
    int fd;
    atomic_bool stop;
    atomic_bool is_read;

    void (*work)(void *context);
    void (*awake)(void *context);
    void *context;
};

struct srv_uploads {
    pthread_mutex_t lock;
    pthread_cond_t rested; /* a thread has ended */
    srv_upload *first;
    int64_t n_uploads;
    int64_t n_threads;
    bool is_stopping;
};

rt_status srv_uploads_create(srv_uploads **out) {
    srv_uploads *uploads = NULL;
    RT_TRY(rt_calloc(1, sizeof *uploads, "uploads", &uploads));
    (void)pthread_mutex_init(&uploads->lock, NULL);
    (void)pthread_cond_init(&uploads->rested, NULL);
    *out = uploads;
    return RT_OK;
}

void srv_uploads_stop(srv_uploads *uploads) {
    if (!uploads) return;
    (void)pthread_mutex_lock(&uploads->lock);
    uploads->is_stopping = true;
    for (srv_upload *one = uploads->first; one; one = one->next) atomic_store(&one->stop, true);
    while (uploads->n_threads > 0) (void)pthread_cond_wait(&uploads->rested, &uploads->lock);
    (void)pthread_mutex_unlock(&uploads->lock);
}

void srv_uploads_free(srv_uploads *uploads) {
    if (!uploads) return;
    rt_assert(!uploads->first && uploads->n_threads == 0);
    (void)pthread_cond_destroy(&uploads->rested);
    (void)pthread_mutex_destroy(&uploads->lock);
    free(uploads);
}

/* ---- one ------------------------------------------------------------------------------------- */

/* On a disk where there is one for such things, else in memory. */
static int open_nameless(void) {
    const int fd = open(rt_temporary_dir(), O_TMPFILE | O_RDWR | O_EXCL | O_CLOEXEC, 0600);
    return fd >= 0 ? fd : memfd_create("upload", MFD_CLOEXEC);
}

/* Room is taken before there is a file to fill. */
static bool take_place(srv_uploads *uploads, srv_upload *one, srv_error *error) {
    (void)pthread_mutex_lock(&uploads->lock);
    const bool has_room = !uploads->is_stopping && uploads->n_uploads < srv_limit_of(SRV_UPLOADS);
    if (has_room) {
        one->next = uploads->first;
        uploads->first = one;
        uploads->n_uploads++;
    }
    (void)pthread_mutex_unlock(&uploads->lock);
    if (has_room) return true;
    (void)srv_refuse(error, 429, "reading_others", NULL,
            "%" PRId64 " files are being read, which is as many as are taken at once",
            srv_limit_of(SRV_UPLOADS));
    error->retry_after_s = 2;
    return false;
}

srv_upload *srv_upload_begin(srv_uploads *uploads, srv_error *error) {
    srv_upload *one = NULL;
    if (rt_calloc(1, sizeof *one, "an upload", &one) != RT_OK) {
        (void)srv_refuse_status(error, RT_ENOMEM, NULL);
        return NULL;
    }
    one->fd = -1;
    one->uploads = uploads;
    atomic_init(&one->stop, false);
    atomic_init(&one->is_read, false);
    if (!take_place(uploads, one, error)) {
        free(one);
        return NULL;
    }
    one->fd = open_nameless();
    if (one->fd >= 0) return one;
    (void)srv_refuse(error, 503, "no_room", NULL, "there is no room for a file here");
    srv_upload_end(one);
    return NULL;
}

rt_status srv_upload_add(srv_upload *upload, const char *bytes, int64_t n_bytes) {
    return rt_file_write(upload->fd, "the upload's file", bytes, n_bytes);
}

int srv_upload_file(const srv_upload *upload) {
    return upload->fd;
}

atomic_bool *srv_upload_stop(srv_upload *upload) {
    return &upload->stop;
}

bool srv_upload_is_read(const srv_upload *upload) {
    return atomic_load(&upload->is_read);
}

void srv_upload_end(srv_upload *upload) {
    if (!upload) return;
    srv_uploads *uploads = upload->uploads;
    (void)pthread_mutex_lock(&uploads->lock);
    srv_upload **link = &uploads->first;
    while (*link != upload) link = &(*link)->next;
    *link = upload->next;
    uploads->n_uploads--;
    (void)pthread_mutex_unlock(&uploads->lock);
    if (upload->fd >= 0) (void)close(upload->fd);
    free(upload);
}

/* ---- its thread ------------------------------------------------------------------------------ */

static void *run(void *argument) {
    srv_upload *upload = argument;
    srv_uploads *uploads = upload->uploads;
    void (*const awake)(void *context) = upload->awake;
    void *context = upload->context;
    upload->work(context);
    atomic_store(&upload->is_read, true);
    awake(context); /* the upload may be gone behind this line, the others are not before the next */
    (void)pthread_mutex_lock(&uploads->lock);
    uploads->n_threads--;
    (void)pthread_cond_signal(&uploads->rested);
    (void)pthread_mutex_unlock(&uploads->lock);
    return NULL;
}

bool srv_upload_read(srv_upload *upload, void (*work)(void *context), void (*awake)(void *context),
        void *context) {
    srv_uploads *uploads = upload->uploads;
    pthread_attr_t detached;
    pthread_t thread;
    upload->work = work;
    upload->awake = awake;
    upload->context = context;
    (void)pthread_attr_init(&detached);
    (void)pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    (void)pthread_mutex_lock(&uploads->lock);
    const bool is_begun =
            !uploads->is_stopping && pthread_create(&thread, &detached, run, upload) == 0;
    uploads->n_threads += is_begun;
    (void)pthread_mutex_unlock(&uploads->lock);
    (void)pthread_attr_destroy(&detached);
    if (!is_begun) atomic_store(&upload->is_read, true);
    return is_begun;
}
