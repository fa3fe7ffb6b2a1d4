/* /metrics, for Prometheus: vLLM's names behind our own prefix, and what is ours besides. */
#include <inttypes.h>
#include <stdlib.h>

#include "routes.h"
#include "runtime/base/memstream.h"

static void put(FILE *out, const char *name, const char *type, const char *help, double value) {
    (void)fprintf(out, "# HELP glm1m:%s %s\n# TYPE glm1m:%s %s\nglm1m:%s %.15g\n", name, help, name,
            type, name, value);
}

static void put_gauge(FILE *out, const char *name, const char *help, double value) {
    put(out, name, "gauge", help, value);
}

static void put_counter(FILE *out, const char *name, const char *help, double value) {
    put(out, name, "counter", help, value);
}

static void put_histogram(
        FILE *out, const char *name, const char *help, const srv_histogram *histogram) {
    int64_t n = 0;
    (void)fprintf(out, "# HELP glm1m:%s %s\n# TYPE glm1m:%s histogram\n", name, help, name);
    for (int i = 0; i < SRV_BUCKETS; i++) {
        n += histogram->counts[i];
        (void)fprintf(
                out, "glm1m:%s_bucket{le=\"%g\"} %" PRId64 "\n", name, srv_histogram_bound(i), n);
    }
    n += histogram->counts[SRV_BUCKETS];
    (void)fprintf(out,
            "glm1m:%s_bucket{le=\"+Inf\"} %" PRId64 "\nglm1m:%s_sum %.9g\nglm1m:%s_count %" PRId64
            "\n",
            name, n, name, histogram->sum, name, n);
}

static void put_requests(FILE *out, const srv_counters *c) {
    put_gauge(out, "num_requests_running", "Requests in prefill or decode.", (double)c->n_running);
    put_gauge(out, "num_requests_waiting", "Requests in the queue.", (double)c->n_waiting);
    put_counter(out, "request_success_total", "Requests answered.", (double)c->n_succeeded);
    put_counter(out, "request_failure_total", "Requests that failed.", (double)c->n_failed);
    put_counter(out, "request_cancelled_total", "Requests whose client went away.",
            (double)c->n_cancelled);
    put_counter(out, "request_joined_total", "Requests that waited for another's prefill.",
            (double)c->n_joined);
    put_counter(out, "prompt_tokens_total", "Tokens of prompts, reused ones included.",
            (double)c->n_prompt_tokens);
    put_counter(out, "generation_tokens_total", "Tokens generated.", (double)c->n_generated_tokens);
    put_counter(out, "spec_decode_num_draft_tokens_total",
            "Tokens drafted, and judged beside others.", (double)c->drafts.n_drafted);
    put_counter(out, "spec_decode_num_accepted_tokens_total", "Of them right.",
            (double)c->drafts.n_taken);
    put_counter(out, "prefix_cache_queries", "Tokens looked for among what is kept.",
            (double)c->n_prompt_tokens);
    put_counter(out, "prefix_cache_hits", "Tokens found there.", (double)c->n_cached_tokens);
    put_gauge(out, "prefix_cache_texts", "Finished texts whose KV is kept.", (double)c->n_prefixes);
    put_counter(out, "prefix_cache_evicted_total", "Kept texts given up for pages.",
            (double)c->n_evicted);
    put_counter(out, "prefill_pieces_total", "Pieces of prompts whose prefill began.",
            (double)c->n_pieces);
    put_histogram(out, "time_to_first_token_seconds", "From the request to its first token.",
            &c->first_token);
    put_histogram(out, "time_per_output_token_seconds", "Between two tokens of an answer.",
            &c->next_token);
    put_histogram(
            out, "e2e_request_latency_seconds", "From the request to its last token.", &c->whole);
}

static void put_kv(FILE *out, const kv_stats *kv) {
    const double pages = kv->pages_total > 0 ? (double)kv->pages_total : 1.0;
    put_gauge(out, "kv_cache_usage_perc", "Share of KV pages in use, 0 to 1.",
            (double)kv->pages_used / pages);
    put_gauge(out, "kv_cache_reserved_perc", "Share of KV pages promised to sequences, 0 to 1.",
            (double)kv->pages_reserved / pages);
    put_gauge(out, "kv_disk_bytes",
            "KV of requests under way that is on disk now; what is kept there is not counted.",
            (double)kv->disk_bytes);
    put_counter(
            out, "kv_disk_written_bytes_total", "KV written to disk.", (double)kv->bytes_written);
    put_counter(out, "kv_disk_read_bytes_total", "KV read from disk.", (double)kv->bytes_read);
    put_counter(out, "kv_disk_stall_seconds_total", "Waited for the disk.", kv->stall_s);
    put_gauge(out, "kv_compression_ratio", "KV bytes on disk over their raw size; 1: none yet.",
            kv->raw_bytes_written > 0 ? (double)kv->bytes_written / (double)kv->raw_bytes_written
                                      : 1.0);
}

static void put_prefills(FILE *out, const srv_counters *c) {
    (void)fprintf(out, "# HELP glm1m:prefill_tokens_done Tokens of a running prefill by now.\n"
                       "# TYPE glm1m:prefill_tokens_done gauge\n");
    for (int i = 0; i < c->n_shown; i++)
        (void)fprintf(out, "glm1m:prefill_tokens_done{request=\"%s\"} %" PRId64 "\n",
                c->shown[i].id, c->shown[i].n_done);
    (void)fprintf(out, "# HELP glm1m:prefill_tokens_total Tokens of a running prefill in all.\n"
                       "# TYPE glm1m:prefill_tokens_total gauge\n");
    for (int i = 0; i < c->n_shown; i++)
        (void)fprintf(out, "glm1m:prefill_tokens_total{request=\"%s\"} %" PRId64 "\n",
                c->shown[i].id, c->shown[i].n_total);
}

void srv_route_metrics(srv_exchange *exchange, const json_t *body) {
    const srv_counters counters = srv_scheduler_counters(exchange->server->scheduler);
    char *text = NULL;
    size_t n_bytes = 0;
    FILE *out = rt_memstream_open(&text, &n_bytes);
    (void)body;
    if (out) {
        put_requests(out, &counters);
        put_kv(out, &counters.kv);
        put_prefills(out, &counters);
    }
    if (!rt_memstream_close(out, &text)) n_bytes = 0;
    srv_reply_text(exchange, text ? 200 : 503, "text/plain; version=0.0.4; charset=utf-8",
            text ? text : "");
    free(text);
}
