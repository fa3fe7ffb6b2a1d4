/* What is counted, for /metrics and /health. */
#ifndef SRV_COUNTERS_H
#define SRV_COUNTERS_H

#include "kvstore/kvstore.h"
#include "runtime/runtime.h"

enum { SRV_BUCKETS = 24, SRV_SHOWN_MAX = 64 };

/* Seconds, in buckets whose upper bounds double from 1 ms on, to the two hours that a million tokens may take; the last
 * one has none. */
typedef struct srv_histogram {
    int64_t counts[SRV_BUCKETS + 1];
    double sum;
} srv_histogram;

/* One more event, of so many seconds. */
void srv_histogram_add(srv_histogram *histogram, double seconds);
/* The upper bound of a bucket, in seconds. */
double srv_histogram_bound(int bucket);

/* A prefill under way. */
typedef struct srv_shown_prefill {
    char id[40];
    int64_t n_done;
    int64_t n_total;
} srv_shown_prefill;

typedef struct srv_counters {
    int64_t n_running;
    int64_t n_waiting;
    int64_t n_prefixes; /* finished texts whose KV is kept */
    int64_t n_succeeded;
    int64_t n_failed;
    int64_t n_cancelled;
    int64_t n_prompt_tokens; /* of finished and running requests, the reused ones included */
    int64_t n_cached_tokens; /* of them, reused */
    int64_t n_generated_tokens;
    glm_drafts drafts;
    int64_t n_joined;
    int64_t n_evicted;
    int64_t n_pieces; /* of prompts, begun */
    srv_histogram first_token;
    srv_histogram next_token;
    srv_histogram whole;
    kv_stats kv;
    int n_shown;
    srv_shown_prefill shown[SRV_SHOWN_MAX];
} srv_counters;

#endif
