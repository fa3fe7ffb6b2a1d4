#include "help_scheduler.h"

#include "help_check.h"

static glm_config config;
static glm_variant variant;
static srv_options about; /* the model */

srv_scheduler *help_scheduler_open(const glm_options *options) {
    glm_tokenizer *tokenizer = NULL;
    srv_scheduler *scheduler = NULL;
    help_require(glm_config_load(options->model_dir, &config), "config");
    help_require(glm_tokenizer_load(options->model_dir, &tokenizer), "tokenizer");
    about = (srv_options){
            .model_name = "model", .tokenizer = tokenizer, .config = &config, .variant = &variant};
    help_require(srv_scheduler_create(tokenizer, options->max_seqs, &scheduler), "scheduler");
    help_require(glm_engine_open(options, &scheduler->engine), "engine");
    scheduler->plan = *glm_engine_plan(scheduler->engine);
    scheduler->context = options->max_len;
    scheduler->state = SRV_READY;
    return scheduler;
}

void help_scheduler_close(srv_scheduler *scheduler) {
    srv_scheduler_stop(scheduler);
    srv_forget_prefixes(scheduler);
    glm_engine_close(scheduler->engine);
    srv_scheduler_free(scheduler);
    glm_tokenizer_free((glm_tokenizer *)(uintptr_t)about.tokenizer);
}

srv_request *help_scheduler_ask(srv_scheduler *scheduler, json_t *body) {
    srv_error error = {0};
    srv_request *request = srv_ask_completion(body, &about, &error);
    CHECK(request && srv_scheduler_submit(scheduler, request, &error));
    json_decref(body);
    srv_admit(scheduler);
    return request;
}
