#include "cli_flags.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "draft.h"
#include "gpu_names.h"
#include "parallel/parallel.h"

#define AT(field)        offsetof(glm_cli, field), 0
#define ALL_AT(field, n) offsetof(glm_cli, field), offsetof(glm_cli, n)
#define NO_LIMITS        0.0, 0.0
#define TOKENS_MAX       1e15

const cli_flag cli_flags[] = {
        /* The engine: what goes into glm_options. */
        {"model", "m", CLI_TEXT, AT(engine.model_dir), "DIR", NULL, NO_LIMITS,
                "checkpoint directory, or a Hugging Face name (zai-org/glm-4-9b-chat-1m) that is "
                "in "
                "its local cache"},
        {"device", NULL, CLI_CHOICE, AT(engine.device), "NAME", "auto|cpu|cuda", NO_LIMITS,
                "where to compute (default auto)"},
        {"max-model-len", "c", CLI_COUNT, AT(engine.max_len), "N", NULL, 1.0, TOKENS_MAX,
                "tokens of one sequence, prompt and answer (default: what is needed or fits)"},
        {"max-num-batched-tokens", "b", CLI_COUNT, AT(engine.chunk), "N", NULL, 1.0, TOKENS_MAX,
                "prefill chunk, tokens per kernel call; also --chunk (default: chosen by the "
                "plan)"},
        {"span", NULL, CLI_COUNT, AT(engine.span), "N", NULL, 1.0, TOKENS_MAX,
                "tokens that go through all layers together, a multiple of 4096 (default: chosen "
                "by "
                "the plan)"},
        {"kv-cache-dtype", NULL, CLI_CHOICE, AT(engine.kv_dtype), "TYPE", "bf16|f32|fp8|int8|int4",
                NO_LIMITS,
                "how keys and values are kept (default: bf16, or f32 for an f32 checkpoint); fp8, "
                "int8 and int4 change answers"},
        {"host-kv-space", NULL, CLI_BYTES, AT(engine.host_kv_bytes), "SIZE", NULL, 1.0, 9e18,
                "hard cap of the KV cache in host memory, beside a GPU of what its memory does not hold (default: what "
                "the machine grants, half of that beside a GPU)"},
        {"device-kv-space", NULL, CLI_BYTES, AT(engine.device_kv_bytes), "SIZE", NULL, 1.0, 9e18,
                "hard cap of the KV cache in device memory (GPU only; the CPU has "
                "--host-kv-space)"},
        {"device-weights-space", NULL, CLI_BYTES, AT(engine.device_weights_bytes), "SIZE", NULL,
                1.0, 9e18,
                "hard cap of the weights in device memory (GPU only; default: what it grants); what is beyond it "
                "comes from pinned memory, layer by layer"},
        {"kv-disk-dir", NULL, CLI_TEXTS, ALL_AT(engine.kv_disk_dirs, engine.n_kv_disk_dirs), "DIR",
                NULL, NO_LIMITS,
                "where the KV cache overflows to and books are kept; repeatable, one per drive "
                "(default: our directory under ~/.cache)"},
        {"kv-disk-space", NULL, CLI_BYTES, AT(engine.kv_disk_bytes), "SIZE", NULL, 1.0, 9e18,
                "hard cap of the KV cache and the books on disk, all drives together"},
        {"kv-io", NULL, CLI_CHOICE, AT(engine.kv_io), "NAME", "auto|uring|pread", NO_LIMITS,
                "how the disk is read and written: io_uring, or pread and pwrite by threads "
                "(default auto: io_uring where the kernel allows it)"},
        {"kv-packing", NULL, CLI_CHOICE, AT(engine.kv_packing), "NAME", "auto|dense|plain",
                NO_LIMITS,
                "how the KV cache is compressed on disk, always without loss: with zstd or without "
                "(default auto: without where the disk is faster than zstd on these threads)"},
        {"linear", NULL, CLI_CHOICE, AT(engine.linear), "NAME", "auto|own|onednn", NO_LIMITS,
                "who multiplies bf16 weights on the CPU: our kernels, or oneDNN, which rounds activations "
                "to bf16 (default auto: our kernels; oneDNN where it uses AMX and they were built without)"},
        {"tensor-parallel-size", "tp", CLI_INT32, AT(engine.tensor_parallel), "N", NULL, 1.0,
                PAR_RANKS_MAX,
                "processes that share the model; plan computes the bill of each (default 1)"},
        {"nccl", NULL, CLI_SWITCH, AT(engine.nccl), NULL, NULL, NO_LIMITS,
                "one GPU, too, sums and gathers by NCCL, as several do: to try it"},
        {"gpu", NULL, CLI_NAME, AT(engine.gpu_name), "NAME", GLM_GPU_NAMES, NO_LIMITS,
                "plan for such a GPU, or for as many as -tp says, by its data sheet: none need be here"},
        {"host-memory", NULL, CLI_BYTES, AT(engine.host_memory_bytes), "SIZE", NULL, 1.0, 9e18,
                "plan for a machine, or a job, that grants so much memory (default: what this machine does)"},
        {"threads", NULL, CLI_INT32, AT(engine.threads), "N", NULL, 1.0, 1024.0,
                "threads (default: every core we may use)"},

        /* Input */
        {"prompt", "p", CLI_INPUT, AT(prompt), "TEXT", NULL, NO_LIMITS, "the text itself"},
        {"file", "f", CLI_INPUT, AT(file), "FILE", NULL, NO_LIMITS,
                "a file with the text; - is standard input"},
        {"tokens-file", NULL, CLI_INPUT, AT(tokens_file), "FILE", NULL, NO_LIMITS,
                "a file of token ids, separated by white space or commas, a JSON array, or a .npy file; - is standard input"},
        {"special-in-text", NULL, CLI_SWITCH, AT(special_in_text), NULL, NULL, NO_LIMITS,
                "special tokens spelled out in the text, such as <|user|>, become their ids"},
        {"add-special", NULL, CLI_SWITCH, AT(add_special), NULL, NULL, NO_LIMITS,
                "put [gMASK]<sop> first"},
        {"system", NULL, CLI_TEXT, AT(system), "TEXT", NULL, NO_LIMITS,
                "what the model is told before the conversation"},
        {"question", "q", CLI_INPUT, AT(question), "TEXT", NULL, NO_LIMITS, "what to ask"},
        {"questions", NULL, CLI_INPUT, AT(questions), "FILE", NULL, NO_LIMITS,
                "a question a line, JSON: {\"id\": ..., \"question\": ...}; - is standard input"},
        {"truncate", NULL, CLI_CHOICE, AT(truncate), "RULE", "middle", NO_LIMITS,
                "where a text is too long, leave out its middle, as LongBench does"},
        {"config", NULL, CLI_TEXT, AT(config_file), "FILE", NULL, NO_LIMITS,
                "a config.json with the shapes"},

        {"tools", NULL, CLI_TEXT, AT(tools), "FILE", NULL, NO_LIMITS,
                "tools the model may call, a JSON array as OpenAI's API has it"},

        /* Books */
        {"book", NULL, CLI_TEXT, AT(book), "NAME", NULL, NO_LIMITS,
                "a prefilled text that is kept on disk, by name"},

        /* Generation */
        {"max-tokens", "n", CLI_COUNT, AT(max_tokens), "N", NULL, 0.0, TOKENS_MAX,
                "generate at most so many tokens"},
        {"stop", NULL, CLI_TEXTS, ALL_AT(stop, n_stop), "TEXT", NULL, NO_LIMITS,
                "end before this text; repeatable"},
        {"temperature", NULL, CLI_REAL, AT(temperature), "T", NULL, 0.0, 100.0,
                "sampling temperature; 0 is greedy"},
        {"top-p", NULL, CLI_REAL, AT(top_p), "P", NULL, 0.0, 1.0,
                "sample among the likeliest tokens that hold this much probability"},
        {"top-k", NULL, CLI_COUNT, AT(top_k), "K", NULL, 0.0, 2147483647.0,
                "sample among the K likeliest tokens; 0 is off"},
        {"min-p", NULL, CLI_REAL, AT(min_p), "P", NULL, 0.0, 1.0,
                "sample no token that has less than this share of the likeliest one's probability"},
        {"seed", NULL, CLI_COUNT, AT(seed), "S", NULL, 0.0, 9e18,
                "the same seed gives the same result"},
        {"num-speculative-tokens", NULL, CLI_INT32, AT(engine.n_speculative), "N", NULL, 0.0,
                GLM_DRAFT_MAX,
                "tokens that may follow, looked up in the text, judged in one pass with the next one; answers stay "
                "the same to the bit (default 15; 0: one token after another)"},

        /* The needle evaluation */
        {"protocol", NULL, CLI_INPUT, AT(protocol), "NAME", NULL, NO_LIMITS,
                "lwm, gkamradt, or a task of RULER such as ruler:vt"},
        {"lengths", NULL, CLI_INPUT, AT(lengths), "LIST", NULL, NO_LIMITS,
                "context lengths in tokens, as 4k,64k"},
        {"depths", NULL, CLI_INPUT, AT(depths), "LIST", NULL, NO_LIMITS,
                "where the needle is, in percent of the length, as 0,12.5,100"},
        {"rounds", NULL, CLI_COUNT, AT(rounds), "N", NULL, 1.0, 1e6, "samples per cell"},
        {"haystack", NULL, CLI_PATHS, ALL_AT(haystacks, n_haystacks), "FILE|DIR...", NULL,
                NO_LIMITS, "text to hide the needle in; repeatable"},
        {"needle", NULL, CLI_TEXTS, ALL_AT(needles, n_needles), "TEXT", NULL, NO_LIMITS,
                "a needle of your own; the first is at the depth, further ones at drawn depths"},
        {"answer", NULL, CLI_TEXTS, ALL_AT(answers, n_answers), "TEXT", NULL, NO_LIMITS,
                "what a right answer to your own --question holds; repeatable"},
        {"answer-prefix", NULL, CLI_TEXT, AT(answer_prefix), "auto|none|TEXT", NULL, NO_LIMITS,
                "how the answer begins"},
        {"template", NULL, CLI_CHOICE, AT(chat_template), "NAME", "chat|none", NO_LIMITS,
                "put the prompt as a chat's message (default), or as a text to continue"},
        {"save-prompts", NULL, CLI_SWITCH, AT(save_prompts), NULL, NULL, NO_LIMITS,
                "write each prompt as the model gets it to DIR/prompts of --out"},
        {"compare", NULL, CLI_PATHS, ALL_AT(compared, n_compared), "A B", NULL, NO_LIMITS,
                "run nothing: print where the results of two --out directories differ"},
        {"mode", NULL, CLI_CHOICE, AT(mode), "NAME", "exact|fast", NO_LIMITS,
                "rebuild every prompt, or share the prefilled beginning between cells"},
        {"min-accuracy", NULL, CLI_REAL, AT(min_accuracy), "F", NULL, 0.0, 100.0,
                "exit 7 when the accuracy is lower"},

        /* serve */
        {"host", NULL, CLI_TEXT, AT(host), "H", NULL, NO_LIMITS,
                "address to listen on (default 127.0.0.1); another one needs --api-key"},
        {"port", NULL, CLI_COUNT, AT(port), "P", NULL, 0.0, 65535.0,
                "port to listen on (default 8000); 0 takes one that is free"},
        {"api-key", NULL, CLI_TEXT, AT(api_key), "K", NULL, NO_LIMITS,
                "what clients must send; GLM_API_KEY keeps it out of process lists"},
        {"allow-origin", NULL, CLI_TEXTS, ALL_AT(allow_origins, n_allow_origins), "ORIGIN", NULL,
                NO_LIMITS,
                "let pages of this origin ask, such as http://localhost:3000; repeatable; * is any, with --api-key"},
        {"served-model-name", NULL, CLI_TEXTS, ALL_AT(served_names, n_served_names), "NAME", NULL,
                NO_LIMITS,
                "what clients call the model (default: the last part of -m); repeatable, answers have the first"},
        {"max-num-seqs", NULL, CLI_COUNT, AT(max_seqs), "N", NULL, 1.0, 256.0,
                "requests worked at together (default 8)"},
        {"limits", NULL, CLI_SWITCH, AT(limits), NULL, NULL, NO_LIMITS,
                "print every bound of the server, and stop"},

        /* doctor */
        {"self-test", NULL, CLI_SWITCH, AT(self_test), NULL, NULL, NO_LIMITS,
                "compare six tokens' logits with those published for GLM-4-9B-Chat-1M"},

        /* Output */
        {"out", NULL, CLI_TEXT, AT(out), "PATH", NULL, NO_LIMITS, "where the result goes"},
        {"positions", NULL, CLI_INPUT, AT(positions), "WHICH", NULL, NO_LIMITS,
                "all, last, or positions counted from 0, as 0,17,4095"},
        {"json", NULL, CLI_SWITCH, AT(json), NULL, NULL, NO_LIMITS, "print JSON instead of text"},
        {"quiet", NULL, CLI_SWITCH, AT(quiet), NULL, NULL, NO_LIMITS,
                "no progress and no summary on stderr"},
        {"no-progress", NULL, CLI_SWITCH, AT(no_progress), NULL, NULL, NO_LIMITS,
                "no progress on stderr"},
};
const int cli_n_flags = sizeof cli_flags / sizeof cli_flags[0];

/* What the names with an @ stand for. */
static const char engine_flags[] =
        "model device max-model-len max-num-batched-tokens span "
        "kv-cache-dtype host-kv-space device-kv-space device-weights-space "
        "kv-disk-dir kv-disk-space kv-io kv-packing linear "
        "tensor-parallel-size nccl threads";
static const char sampling_flags[] = "temperature top-p top-k min-p seed";
static const char common_flags[] = "quiet no-progress";

const cli_flag *cli_find_flag(const char *name, size_t n_bytes, bool is_long) {
    if (is_long && n_bytes == strlen("chunk") && memcmp(name, "chunk", n_bytes) == 0)
        return cli_find_flag("max-num-batched-tokens", strlen("max-num-batched-tokens"), true);
    for (int i = 0; i < cli_n_flags; i++) {
        const char *candidate = is_long ? cli_flags[i].name : cli_flags[i].shorthand;
        if (candidate && strlen(candidate) == n_bytes && memcmp(candidate, name, n_bytes) == 0)
            return &cli_flags[i];
    }
    return NULL;
}

const char *cli_variable_name(const cli_flag *flag, char text[CLI_NAME_BYTES]) {
    (void)snprintf(text, CLI_NAME_BYTES, "GLM_%s", flag->name);
    for (char *place = text; *place; place++)
        *place = (char)(*place == '-' ? '_' : toupper((unsigned char)*place));
    return text;
}

const cli_flag *cli_find_variable(const char *name, size_t n_bytes) {
    for (int i = 0; i < cli_n_flags; i++) {
        char variable[CLI_NAME_BYTES];
        cli_variable_name(&cli_flags[i], variable);
        if (strlen(variable) == n_bytes && memcmp(variable, name, n_bytes) == 0)
            return &cli_flags[i];
    }
    return NULL;
}

/* Whether `words`, separated by spaces, hold `name`. */
static bool has_word(const char *words, const char *name) {
    const size_t length = strlen(name);
    for (const char *word = words; *word; word += strspn(word, " ")) {
        const size_t n = strcspn(word, " ");
        if (n == length && memcmp(word, name, n) == 0) return true;
        word += n;
    }
    return false;
}

bool cli_lists(const char *list, const cli_flag *flag) {
    if (!list) return false;
    return has_word(list, flag->name) ||
           (has_word(list, "@engine") && has_word(engine_flags, flag->name)) ||
           (has_word(list, "@sampling") && has_word(sampling_flags, flag->name));
}

bool cli_takes(const glm_command *command, const cli_flag *flag) {
    return has_word(common_flags, flag->name) || cli_lists(command->flags, flag);
}

static int min3(int a, int b, int c) {
    const int smaller = a < b ? a : b;
    return smaller < c ? smaller : c;
}

int cli_distance(const char *a, const char *b) {
    enum { LENGTH_MAX = 63 };
    const int n = (int)strnlen(a, LENGTH_MAX);
    const int m = (int)strnlen(b, LENGTH_MAX);
    /* cost[i][j]: the first i bytes of a against the first j of b. */
    int cost[LENGTH_MAX + 1][LENGTH_MAX + 1];
    for (int i = 0; i <= n; i++) cost[i][0] = i;
    for (int j = 0; j <= m; j++) cost[0][j] = j;
    for (int i = 1; i <= n; i++) {
        for (int j = 1; j <= m; j++) {
            const int replace = cost[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            cost[i][j] = min3(replace, cost[i - 1][j] + 1, cost[i][j - 1] + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                cost[i][j] = min3(cost[i][j], cost[i - 2][j - 2] + 1, cost[i][j]);
        }
    }
    return cost[n][m];
}

bool cli_is_near(const char *typed, int distance) {
    const int length = (int)strnlen(typed, 64);
    return distance <= (length < 6 ? 2 : length / 3) && distance < length;
}
