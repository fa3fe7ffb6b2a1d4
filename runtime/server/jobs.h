/* Requests that outlive their client: submitted, polled, cancelled by an id that is only looked up. */
#ifndef SRV_JOBS_H
#define SRV_JOBS_H

#include "scheduler.h"

typedef struct srv_jobs srv_jobs;

/* RT_ENOMEM */
RT_MUST_CHECK rt_status srv_jobs_create(srv_scheduler *scheduler, srv_jobs **out);
void srv_jobs_free(srv_jobs *jobs);

/* Submit the request as a job, which takes over the caller's reference, also on failure. `id` gets its id, "job_...".
 * False: as srv_scheduler_submit, or 429 where there are too many jobs. */
bool srv_jobs_add(srv_jobs *jobs, srv_request *request, char id[SRV_ID_BYTES], srv_error *error);
/* A job's request, with a reference for the caller; NULL: there is no such job. */
srv_request *srv_jobs_find(srv_jobs *jobs, const char *id);

/* There is no such job from now on, if there was one. */
void srv_jobs_forget(srv_jobs *jobs, const char *id);

/* How a job stands, without its answer; and a list of all jobs. New, NULL without memory. */
json_t *srv_job_json(srv_request *request, const char *id);
json_t *srv_jobs_json(srv_jobs *jobs);

#endif
