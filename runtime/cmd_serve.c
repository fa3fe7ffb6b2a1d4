/* glm1m serve: the model behind HTTP. The main thread is the engine's. */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/size.h"
#include "checkpoint.h"
#include "cli.h"
#include "cli_prefill.h"
#include "cli_signals.h"
#include "server/limits.h"
#include "server/server.h"
#include "utf8.h"

/* ECHO_ROWS: logits of a prompt that are made at once, where echo asks for logprobs. */
enum { PORT_DEFAULT = 8000, SEQS_DEFAULT = 8, PAGE_TOKENS = 128, ECHO_ROWS = 32 };

typedef struct service {
    const glm_cli *cli;
    glm_tokenizer *tokenizer;
    glm_config config;
    glm_variant variant;
    glm_engine *engine;
    srv_scheduler *scheduler;
    srv_server *server;
    glm_signal_pipe signals;
    bool has_signals;
    int32_t max_seqs;
    const char *const *names; /* [n_names] of the model */
    int n_names;
    char own_name[SRV_MODEL_NAME_BYTES];
    const char *own[1];
} service;

/* Answers are JSON, and hold it as it is. */
static rt_status check_name(const char *source, const char *name, size_t n) {
    const size_t most = SRV_MODEL_NAME_BYTES - 1;
    if (n == 0) return rt_fail(RT_EUSAGE, "%s: the name is empty", source);
    if (n > most) return rt_fail(RT_EUSAGE, "%s: the name is longer than %zu bytes", source, most);
    return glm_utf8_check(source, name);
}

static rt_status name_by_path(service *s) {
    const char *path = s->cli->model_name;
    size_t end = strlen(path);
    while (end > 0 && path[end - 1] == '/') end--;
    size_t begin = end;
    while (begin > 0 && path[begin - 1] != '/') begin--;
    (void)snprintf(s->own_name, sizeof s->own_name, "%.*s", (int)(end - begin), path + begin);
    s->own[0] = s->own_name;
    s->names = s->own;
    s->n_names = 1;
    return check_name("-m without --served-model-name", s->own_name, end - begin);
}

/* What clients call the model: each --served-model-name, or the last part of -m. */
static rt_status name_model(service *s) {
    const glm_cli *cli = s->cli;
    if (cli->n_served_names == 0) return name_by_path(s);
    s->names = (const char *const *)cli->served_names;
    s->n_names = cli->n_served_names;
    for (int i = 0; i < s->n_names; i++)
        RT_TRY(check_name("--served-model-name", s->names[i], strlen(s->names[i])));
    return RT_OK;
}

static rt_status listen_for_requests(service *s) {
    const glm_cli *cli = s->cli;
    const srv_options options = {.host = cli->host ? cli->host : "127.0.0.1",
            .port = cli->port >= 0 ? (int32_t)cli->port : PORT_DEFAULT,
            .api_key = cli->api_key,
            .origins = {(const char *const *)cli->allow_origins, cli->n_allow_origins},
            .model_name = s->names[0],
            .other_names = s->names + 1,
            .n_other_names = s->n_names - 1,
            .tokenizer = s->tokenizer,
            .config = &s->config,
            .variant = &s->variant};
    if (cli->api_key && !cli->api_key[0]) return rt_fail(RT_EUSAGE, "--api-key: the key is empty");
    RT_TRY(srv_origins_check(&options.origins, cli->api_key != NULL));
    RT_TRY(srv_server_start(&options, s->scheduler, &s->server));
    if (!cli->quiet) (void)fprintf(stderr, "listening on %s\n", srv_server_url(s->server));
    return RT_OK;
}

/* Room for max_seqs contexts of -c tokens, as far as memory has it; where -c is not given one context
 * takes all of it. Forks copy partial pages: that much at least. */
static rt_status choose_room(const service *s, glm_options *options) {
    const int64_t least = (int64_t)2 * s->max_seqs * PAGE_TOKENS;
    glm_checkpoint *checkpoint = NULL;
    glm_plan plan = {0};
    rt_status status = RT_OK;
    options->extra_kv_tokens = least + (s->max_seqs - 1) * options->max_len;
    if (options->max_len == 0) return RT_OK;
    RT_TRY(glm_checkpoint_open(options->model_dir, &checkpoint));
    for (;;) {
        status = glm_plan_make(checkpoint, options, &plan);
        const bool streams = plan.kv_overflows && plan.kv_pinned_tokens < plan.max_len;
        if (status != RT_OK || (plan.fits && !streams) || options->extra_kv_tokens == least) break;
        options->extra_kv_tokens = rt_max64(options->extra_kv_tokens / 2, least);
    }
    glm_checkpoint_close(checkpoint);
    return status;
}

/* What requests under way may need of the disk is not there for what they leave behind: of a small disk that is all. */
static void warn_of_little_kept(const service *s) {
    const glm_plan *plan = glm_engine_plan(s->engine);
    char kept[RT_SIZE_TEXT], whole[RT_SIZE_TEXT], running[RT_SIZE_TEXT];
    if (!plan->kv_persists || plan->kv_keep_max >= plan->kv_keep_bytes) return;
    rt_log(RT_LOG_WARN, "serve",
            "%s of the disk are for what is kept, where a text of %" PRId64
            " tokens takes up to %s, and %s for requests under way: more room on it, fewer requests "
            "(--max-num-seqs) or shorter ones (-c) leave more",
            rt_format_bytes(plan->kv_keep_max, kept), plan->max_len,
            rt_format_bytes(plan->kv_keep_bytes, whole),
            rt_format_bytes(rt_min64(plan->kv_overflow_max, plan->kv_disk_limit_bytes), running));
}

/* The time is behind it: programs look for "ready" at the beginning of a line. */
static void say_ready(const service *s) {
    char stamp[RT_LOG_TIME_BYTES];
    const char *before = rt_log_time(stamp)[0] ? ", " : "";
    if (s->cli->quiet) return;
    stamp[strcspn(stamp, " ")] = '\0';
    (void)fprintf(stderr,
            "ready: %s, a context of %" PRId64 " tokens, %" PRId32 " requests at once%s%s\n",
            s->names[0], glm_engine_plan(s->engine)->max_len, s->max_seqs, before, stamp);
}

static rt_status open_model(service *s) {
    glm_options options = s->cli->engine;
    options.persists = options.keeps_forks = glm_cli_persists(s->cli);
    options.max_seqs = s->max_seqs;
    options.max_logits = ECHO_ROWS;
    RT_TRY(choose_room(s, &options));
    RT_TRY(glm_engine_open(&options, &s->engine));
    glm_cli_say_kv(s->cli, s->engine);
    warn_of_little_kept(s);
    say_ready(s);
    return RT_OK;
}

/* The port answers ("loading") while the weights are read. */
static rt_status serve(service *s) {
    const char *dir = s->cli->engine.model_dir;
    RT_TRY(name_model(s));
    RT_TRY(glm_tokenizer_load(dir, &s->tokenizer));
    RT_TRY(glm_config_load(dir, &s->config));
    glm_variant_recognise(&s->config, dir, &s->variant);
    RT_TRY(srv_scheduler_create(s->tokenizer, s->max_seqs, &s->scheduler));
    RT_TRY(listen_for_requests(s));
    RT_TRY(open_model(s));
    RT_TRY(glm_signal_pipe_open(&s->signals));
    s->has_signals = true;
    glm_signal_pipe_begin(&s->signals);
    return srv_scheduler_run(s->scheduler, s->engine, s->signals.ends[0]);
}

static void release(service *s) {
    if (s->scheduler) srv_scheduler_stop(s->scheduler);
    srv_server_stop(s->server);
    srv_scheduler_free(s->scheduler);
    if (s->has_signals) {
        glm_signal_pipe_end(&s->signals);
        glm_signal_pipe_close(&s->signals);
    }
    glm_engine_close(s->engine);
    glm_tokenizer_free(s->tokenizer);
}

static int run_serve(glm_cli *cli) {
    char text[1024];
    if (cli->limits) {
        srv_limits_print(stdout);
        return GLM_EXIT_OK;
    }
    if (!cli->engine.model_dir) return glm_cli_fail(rt_fail(RT_EUSAGE, "serve needs -m DIR"));
    rt_log_tell_time();
    service s = {.cli = cli, .max_seqs = cli->max_seqs > 0 ? (int32_t)cli->max_seqs : SEQS_DEFAULT};
    (void)signal(SIGPIPE, SIG_IGN);
    const rt_status status = serve(&s);
    (void)snprintf(text, sizeof text, "%s", rt_error_text()); /* closing may write over it */
    release(&s);
    return status == RT_OK ? GLM_EXIT_OK : glm_cli_fail(rt_fail(status, "%s", text));
}

const glm_command glm_cmd_serve = {
        .name = "serve",
        .usage = "serve -m DIR [--host H] [--port P] [--api-key K] [--max-num-seqs N] [--limits]",
        .summary = "answer over HTTP, as OpenAI's and Anthropic's APIs do",
        .details =
                "At / there is a web page: drop a text there, see its tokens and the plan, ask, "
                "and\n"
                "follow each citation to its line; or see the heat map of a needle evaluation.\n"
                "Routes: /v1/chat/completions, /v1/completions, /v1/responses, /v1/models, /v1/messages,\n"
                "/v1/messages/count_tokens, /v1/jobs, /tokenize, /detokenize, /health, /version\n"
                "and /metrics; /v1/read, /v1/ask and /v1/cite for the page. Where there is an\n"
                "--api-key every route but /health asks for it: Authorization: Bearer KEY, or X-Api-Key:\n"
                "KEY; a browser asks whoever opens the page (any name, the key as password). An\n"
                "address that is not a loopback's needs one. Pages of other origins are refused, but\n"
                "for those of --allow-origin.\n"
                "\n"
                "Answers under way are decoded together; a long prompt is prefilled in pieces,\n"
                "between which others have their turn. What is computed is kept for prompts that\n"
                "begin alike, in memory as long as there is room, and with --kv-disk-dir on disk,\n"
                "also for the next server: each conversation in whole segments of 4096 tokens,\n"
                "the system text or book that many begin with only once, and what is behind those\n"
                "when the server ends.\n"
                "With -c N there is room for --max-num-seqs texts of N tokens where memory has "
                "it,\n"
                "without it one text may take all.\n"
                "A stream that asks for return_progress is told how far its prefill is.\n"
                "\n"
                "The first SIGTERM or Ctrl-C takes nothing new and ends when all is answered (or\n"
                "after 30 s), with exit code 0; the second one ends what is under way at once.\n"
                "systemd is told when the model is loaded, and when that begins (Type=notify).\n"
                "--limits prints every bound and what happens beyond it.\n"
                "\n"
                "Examples:\n"
                "  glm1m serve -m glm-4-9b-chat-1m\n"
                "  GLM_API_KEY=... glm1m serve -m glm-4-9b-chat-1m --host 0.0.0.0 --port 8080\n"
                "  curl localhost:8000/v1/chat/completions -d '{\"messages\":\n"
                "      [{\"role\": \"user\", \"content\": \"Who is Lucia?\"}]}'\n",
        .flags = "@engine host port api-key allow-origin served-model-name max-num-seqs "
                 "num-speculative-tokens limits",
        .run = run_serve,
};
