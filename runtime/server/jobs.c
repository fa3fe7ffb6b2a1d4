#include "jobs.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "limits.h"
#include "runtime/base/log.h"
#include "runtime/base/memory.h"
#include "stream.h"

enum { JOBS_MAX = 256 };

typedef struct job {
    char id[SRV_ID_BYTES];
    srv_request *request;
} job;

struct srv_jobs {
    srv_scheduler *scheduler;
    pthread_mutex_t lock;
    job jobs[JOBS_MAX]; /* the oldest first */
    int n_jobs;
};

rt_status srv_jobs_create(srv_scheduler *scheduler, srv_jobs **out) {
    srv_jobs *jobs = NULL;
    RT_TRY(rt_calloc(1, sizeof *jobs, "jobs", &jobs));
    jobs->scheduler = scheduler;
    (void)pthread_mutex_init(&jobs->lock, NULL);
    *out = jobs;
    return RT_OK;
}

void srv_jobs_free(srv_jobs *jobs) {
    if (!jobs) return;
    for (int i = 0; i < jobs->n_jobs; i++) srv_request_drop(jobs->jobs[i].request);
    (void)pthread_mutex_destroy(&jobs->lock);
    free(jobs);
}

/* When it was done, 0: not yet. */
static double done_at(srv_request *request) {
    (void)pthread_mutex_lock(&request->lock);
    const double done_s = request->phase == SRV_DONE ? request->done_s : 0.0;
    (void)pthread_mutex_unlock(&request->lock);
    return done_s;
}

static void forget(srv_jobs *jobs, int place) {
    srv_request_drop(jobs->jobs[place].request);
    jobs->n_jobs--;
    memmove(&jobs->jobs[place], &jobs->jobs[place + 1],
            (size_t)(jobs->n_jobs - place) * sizeof jobs->jobs[0]);
}

/* Those that are old, and where there is no room the oldest that is done. */
static bool make_room(srv_jobs *jobs) {
    const int limit = (int)srv_limit_of(SRV_JOBS);
    int oldest_done = -1;
    for (int i = jobs->n_jobs - 1; i >= 0; i--) {
        const double done_s = done_at(jobs->jobs[i].request);
        if (done_s == 0.0) continue;
        oldest_done = i;
        if (rt_now() - done_s <= (double)srv_limit_of(SRV_JOB_S)) continue;
        forget(jobs, i);
        oldest_done = -1;
    }
    if (jobs->n_jobs >= limit && oldest_done >= 0) forget(jobs, oldest_done);
    return jobs->n_jobs < limit && jobs->n_jobs < JOBS_MAX;
}

bool srv_jobs_add(srv_jobs *jobs, srv_request *request, char id[SRV_ID_BYTES], srv_error *error) {
    uint64_t random[2] = {0, 0};
    (void)getrandom(random, sizeof random, 0);
    (void)snprintf(id, SRV_ID_BYTES, "job_%016" PRIx64 "%016" PRIx64, random[0], random[1]);
    (void)pthread_mutex_lock(&jobs->lock);
    bool is_added = make_room(jobs);
    if (!is_added) {
        (void)srv_refuse(error, 429, "too_many_jobs", NULL, "%d jobs are under way", jobs->n_jobs);
        error->retry_after_s = 5;
    }
    is_added = is_added && srv_scheduler_submit(jobs->scheduler, request, error);
    if (is_added) {
        job *one = &jobs->jobs[jobs->n_jobs++];
        memcpy(one->id, id, SRV_ID_BYTES);
        one->request = request;
    }
    (void)pthread_mutex_unlock(&jobs->lock);
    if (!is_added) srv_request_drop(request);
    return is_added;
}

/* With the lock; -1: there is none. */
static int place_of(const srv_jobs *jobs, const char *id) {
    int place = jobs->n_jobs - 1;
    while (place >= 0 && strcmp(jobs->jobs[place].id, id) != 0) place--;
    return place;
}

srv_request *srv_jobs_find(srv_jobs *jobs, const char *id) {
    (void)pthread_mutex_lock(&jobs->lock);
    const int place = place_of(jobs, id);
    srv_request *found = place >= 0 ? jobs->jobs[place].request : NULL;
    if (found) srv_request_hold(found);
    (void)pthread_mutex_unlock(&jobs->lock);
    return found;
}

void srv_jobs_forget(srv_jobs *jobs, const char *id) {
    (void)pthread_mutex_lock(&jobs->lock);
    const int place = place_of(jobs, id);
    if (place >= 0) forget(jobs, place);
    (void)pthread_mutex_unlock(&jobs->lock);
}

/* All prompts of a job. */
typedef struct sum {
    srv_progress progress;
    double seconds; /* of their prefills, or that the first has waited */
    int64_t n_generated;
    int n_prompts;
    bool has_begun;
} sum;

/* With the prompt's lock. What is left to do is known where no other prompt is to come: the last one says. */
static void add_prompt(const srv_request *one, sum *all) {
    const srv_progress *progress = &one->progress;
    all->progress.n_total += progress->n_total;
    all->progress.n_cached += progress->n_cached;
    all->progress.n_processed += progress->n_processed;
    all->progress.eta_s = progress->eta_s;
    all->n_generated += srv_request_generated(one);
    all->n_prompts++;
    if (progress->started_s == 0.0 && all->n_prompts > 1) return;
    all->seconds += srv_progress_seconds(one);
    all->has_begun = all->has_begun || progress->started_s > 0.0;
}

/* The prompts but the last. */
static sum sum_parts(srv_request *request) {
    sum all = {0};
    for (int i = 0; i < request->n_parts; i++) {
        srv_request *part = srv_request_prompt(request, i);
        (void)pthread_mutex_lock(&part->lock);
        add_prompt(part, &all);
        (void)pthread_mutex_unlock(&part->lock);
    }
    return all;
}

/* With the request's lock. */
static const char *status_text(const srv_request *request, bool has_begun) {
    if (request->phase != SRV_DONE) return has_begun ? "in_progress" : "queued";
    if (atomic_load(&request->is_cancelled)) return "cancelled";
    return request->error.http ? "failed" : "completed";
}

json_t *srv_job_json(srv_request *request, const char *id) {
    sum all = sum_parts(request);
    (void)pthread_mutex_lock(&request->lock);
    add_prompt(request, &all);
    json_t *value = json_pack("{s:s, s:s, s:s, s:I, s:o, s:I}", "id", id, "object", "job", "status",
            status_text(request, all.has_begun), "created_at", (json_int_t)request->created_s,
            "prompt_progress", srv_progress_json(&all.progress, all.seconds), "generated_tokens",
            (json_int_t)all.n_generated);
    (void)pthread_mutex_unlock(&request->lock);
    return value;
}

json_t *srv_jobs_json(srv_jobs *jobs) {
    json_t *list = json_array();
    (void)pthread_mutex_lock(&jobs->lock);
    for (int i = 0; i < jobs->n_jobs; i++)
        list = srv_append(list, srv_job_json(jobs->jobs[i].request, jobs->jobs[i].id));
    (void)pthread_mutex_unlock(&jobs->lock);
    return json_pack("{s:s, s:o}", "object", "list", "data", list);
}
