#include "limits.h"

#include <inttypes.h>

#include "request.h"

typedef struct row {
    const char *name;
    int64_t bound;
    const char *unit;
    const char *beyond;
} row;

static const row table[SRV_N_LIMITS] = {
        [SRV_REQUEST_LINE_BYTES] = {"request line", 8192, "bytes", "414"},
        [SRV_HEADER_BYTES] = {"header", 32768, "bytes", "431"},
        [SRV_HEADER_FIELDS] = {"header fields", 64, "", "431"},
        [SRV_HEADER_S] = {"a new connection's whole header", 10, "s", "closed"},
        [SRV_BODY_BYTES] = {"body", 16 << 20, "bytes", "413"},
        [SRV_BODY_S] = {"the whole body", 30, "s, and for what came of it:", "closed"},
        [SRV_BODY_BYTES_PER_S] = {"  a second more for each", 256 << 10, "bytes", "closed"},
        [SRV_BODY_RATE_MIN] = {"body, slowest", 1024, "bytes/s", "closed"},
        [SRV_STALL_S] = {"a client that reads nothing", 30, "s", "closed"},
        [SRV_SEND_BYTES] = {"  of its answer the kernel keeps", 256 << 10, "bytes", "waits"},
        [SRV_IDLE_S] = {"an answered connection's next header", 30, "s", "closed"},
        [SRV_CONNECTION_REQUESTS] = {"requests of a connection", 1000, "", "closed"},
        [SRV_CONNECTIONS] = {"connections", 10000, "or what RLIMIT_NOFILE leaves", "503"},
        [SRV_CONNECTIONS_PER_ADDRESS] = {"connections of an address", 256,
                "IPv4, or of an IPv6 /64", "429"},
        [SRV_JSON_DEPTH] = {"JSON nesting", 32, "", "400"},
        [SRV_JSON_VALUES] = {"JSON values but numbers", 65536, "", "400"},
        [SRV_JSON_NUMBERS] = {"JSON numbers (token ids)", 2 << 20, "", "400"},
        [SRV_NUMBER_CHARACTERS] = {"a JSON number", 32, "characters", "400"},
        [SRV_MESSAGES_MAX] = {"messages", 4096, "", "400"},
        [SRV_TOOLS] = {"tools", 128, "", "400"},
        [SRV_STOP_TEXTS] = {"stop texts", 16, "", "400"},
        [SRV_STOP_BYTES] = {"a stop text", 1024, "bytes", "400"},
        [SRV_TOP_LOGPROBS] = {"top_logprobs", 20, "", "400"},
        [SRV_BIASED_IDS] = {"ids of logit_bias", 1024, "", "400"},
        [SRV_PROMPTS] = {"prompts of a request", 256, "", "400"},
        [SRV_ECHO_TOKENS] = {"a prompt's tokens where echo asks for their logprobs", 131072, "",
                "400"},
        [SRV_ANSWER_TOKENS] = {"an answer's tokens where max_tokens is not given", 4096, "",
                "finish_reason length"},
        [SRV_CHOICES] = {"n, answers to one prompt", SRV_CHOICES_MAX, "and --max-num-seqs", "400"},
        [SRV_QUEUE_REQUESTS] = {"requests that wait", 64, "", "429"},
        [SRV_QUEUE_CONTEXTS] = {"tokens that wait, in --max-model-len", 4, "", "429"},
        [SRV_JOBS] = {"jobs, finished ones included", 256, "", "the oldest finished one goes; 429"},
        [SRV_JOB_S] = {"a finished job", 86400, "s", "forgotten"},
        [SRV_READINGS] = {"texts of /v1/read", 16, "", "the oldest goes"},
        [SRV_READING_BYTES] = {"  together", 64 << 20, "bytes", "the oldest goes"},
        [SRV_UPLOAD_BYTES] = {"a file of /v1/read", 64 << 20, "bytes", "413"},
        [SRV_UPLOADS] = {"  at once", 4, "", "429"},
        [SRV_UPLOAD_TEXT_BYTES] = {"  its text", 16 << 20, "bytes", "415"},
        [SRV_CONVERT_S] = {"  the program that makes text of it", 60, "s", "killed; 415"},
        [SRV_CONVERT_BYTES] = {"  its memory", 1 << 30, "bytes", "415"},
        [SRV_CITED_BYTES] = {"an answer of /v1/cite", 64 << 10, "bytes", "400"},
        [SRV_HEARTBEAT_S] = {"silence of a stream", 5, "s", "a heartbeat"},
        [SRV_PREFIXES] = {"finished texts whose KV is kept", 64, "", "the oldest goes"},
        [SRV_DRAIN_S] = {"what runs after SIGTERM", 30, "s", "suspended, or ended with an error"},
};

int64_t srv_limit_of(srv_limit limit) {
    return table[limit].bound;
}

void srv_limits_print(FILE *out) {
    (void)fprintf(out, "%-50s %10s  %-30s %s\n", "what", "at most", "unit", "beyond it");
    for (int i = 0; i < SRV_N_LIMITS; i++)
        (void)fprintf(out, "%-50s %10" PRId64 "  %-30s %s\n", table[i].name, table[i].bound,
                table[i].unit, table[i].beyond);
}
