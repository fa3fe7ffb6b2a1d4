/* What each path does. */
#ifndef SRV_ROUTES_H
#define SRV_ROUTES_H

#include "http.h"

/* routes_info.c: no model is run */
void srv_route_page(srv_exchange *exchange, const json_t *body);
void srv_route_health(srv_exchange *exchange, const json_t *body);
void srv_route_version(srv_exchange *exchange, const json_t *body);
void srv_route_tokenizer_info(srv_exchange *exchange, const json_t *body);
void srv_route_models(srv_exchange *exchange, const json_t *body);
void srv_route_tokenize(srv_exchange *exchange, const json_t *body);
void srv_route_detokenize(srv_exchange *exchange, const json_t *body);
void srv_route_count_tokens(srv_exchange *exchange, const json_t *body);

/* routes_read.c. Of srv_read_file the body is a file, the upload, and `name` in the target is what it is called;
 * it answers, from any thread. */
void srv_read_file(srv_exchange *exchange);
void srv_route_read(srv_exchange *exchange, const json_t *body);
void srv_route_ask(srv_exchange *exchange, const json_t *body);
void srv_route_cite(srv_exchange *exchange, const json_t *body);

/* metrics.c */
void srv_route_metrics(srv_exchange *exchange, const json_t *body);

/* routes_run.c */
void srv_route_chat(srv_exchange *exchange, const json_t *body);
void srv_route_completion(srv_exchange *exchange, const json_t *body);
void srv_route_messages(srv_exchange *exchange, const json_t *body);
void srv_route_responses(srv_exchange *exchange, const json_t *body);
void srv_route_submit_job(srv_exchange *exchange, const json_t *body);
void srv_route_list_jobs(srv_exchange *exchange, const json_t *body);
void srv_route_poll_job(srv_exchange *exchange, const json_t *body);
void srv_route_cancel_job(srv_exchange *exchange, const json_t *body);

#endif
