/* Ranks that are GPUs: a thread that asks whether the GPU still works.
 *
 * What fails on a device is told by the next call to CUDA. A rank that makes none, as it waits for the others to agree, does
 * not hear of it; and one of those may wait for a sum that is queued on that device, and never runs: for ever, as all of them
 * are alive. So each rank's GPU is asked ten times a second, by a stream of the thread's own, and one that has failed ends the group. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/memory.h"
#include "base/thread.h"
#include "engine_cuda.h"

enum { EVERY_MS = 100 };

struct glm_cuda_watch {
    const glm_cuda_device *device;
    par_comm *comm;
    rt_stream stream;
    glm_cuda_event event;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake; /* with lock: is_closing was set */
    bool is_closing;
};

/* False: it is to end. */
static bool sleep_a_while(glm_cuda_watch *watch) {
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += EVERY_MS * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    (void)pthread_mutex_lock(&watch->lock);
    if (!watch->is_closing) (void)pthread_cond_timedwait(&watch->wake, &watch->lock, &until);
    const bool goes_on = !watch->is_closing;
    (void)pthread_mutex_unlock(&watch->lock);
    return goes_on;
}

static void *look(void *context) {
    glm_cuda_watch *watch = context;
    rt_status status = glm_cuda_use(watch->device);
    while (status == RT_OK && sleep_a_while(watch))
        status = glm_cuda_ask(watch->stream, watch->event);
    if (status != RT_OK) watch->comm->abort(watch->comm, rt_error_text());
    return NULL;
}

static void begin_lock(glm_cuda_watch *watch) {
    pthread_condattr_t monotonic;
    (void)pthread_mutex_init(&watch->lock, NULL);
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&watch->wake, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
}

/* Whose thread is over, or was never begun. */
static void release(glm_cuda_watch *watch) {
    glm_cuda_event_free(watch->event);
    glm_cuda_stream_free(watch->stream);
    (void)pthread_cond_destroy(&watch->wake);
    (void)pthread_mutex_destroy(&watch->lock);
    free(watch);
}

static rt_status begin(glm_cuda_watch *watch) {
    RT_TRY(glm_cuda_stream_create(&watch->stream));
    RT_TRY(glm_cuda_event_create(&watch->event));
    return rt_thread_start(&watch->thread, look, watch, "engine: no thread to watch the GPU");
}

rt_status glm_cuda_watch_open(glm_engine *engine) {
    glm_cuda_watch *watch = NULL;
    RT_TRY(rt_calloc(1, sizeof *watch, "a thread that watches the GPU", &watch));
    watch->device = &engine->cuda->device;
    watch->comm = engine->comm;
    begin_lock(watch);
    const rt_status status = begin(watch);
    if (status == RT_OK)
        engine->cuda->watch = watch;
    else
        release(watch);
    return status;
}

rt_status glm_cuda_watch_look(const glm_cuda *cuda, rt_status mine) {
    const glm_cuda_watch *watch = cuda->watch;
    char why[1024];
    if (mine != RT_EDEVICE || !watch) return mine;
    (void)snprintf(why, sizeof why, "%s", rt_error_text());
    rt_status status = glm_cuda_event_record(watch->event, watch->stream);
    if (status == RT_OK) status = glm_cuda_wait(watch->stream, "asking the GPU");
    if (status != RT_OK) watch->comm->abort(watch->comm, why);
    return rt_fail(mine, "%s", why);
}

void glm_cuda_watch_close(glm_cuda *cuda) {
    glm_cuda_watch *watch = cuda->watch;
    if (!watch) return;
    (void)pthread_mutex_lock(&watch->lock);
    watch->is_closing = true;
    (void)pthread_cond_signal(&watch->wake);
    (void)pthread_mutex_unlock(&watch->lock);
    (void)pthread_join(watch->thread, NULL);
    release(watch);
    cuda->watch = NULL;
}
