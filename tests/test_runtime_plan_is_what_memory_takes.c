/* The plan's total is the memory that the engine then takes: the peak resident size is near it, and never beyond.
 *
 * Method: two models of different make-up (one mostly KV and hidden states, one mostly weights), a
 * prompt that fills the planned length and one decoded token, each in a process of its own; likewise with a few more
 * threads than there are cores, and with many: of their tiles only those of threads that get work are touched. Skipped
 * under sanitizers, whose own memory is several times the program's. The program's argument, if any, is who
 * multiplies (--linear). */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/base/machine.h"
#include "runtime/needle_model.h"
#include "runtime/random_model.h"
#include "runtime/runtime.h"
#include "runtime/tokenizer.h"

static const char *linear; /* NULL: as the machine has it */

static void require(rt_status status, const char *what) {
    if (status == RT_OK) return;
    printf("FAIL %s: %s\n", what, rt_error_text());
    (void)fflush(stdout);
    _exit(1);
}

/* In a child: its peak is this model's alone. */
static int measure(const char *dir, int64_t n_tokens, int32_t n_threads, double least) {
    const glm_options options = {
            .model_dir = dir, .max_len = n_tokens, .threads = n_threads, .linear = linear};
    glm_engine *engine = NULL;
    glm_session *session = NULL;
    require(glm_engine_open(&options, &engine), "open");
    require(glm_session_create(engine, n_tokens, &session), "session");
    int32_t *ids = calloc((size_t)n_tokens, sizeof *ids);
    for (int64_t i = 0; i < n_tokens; i++) ids[i] = (int32_t)(i * 7 % 200);
    require(glm_prefill(session, ids, n_tokens - 1), "prefill");
    require(glm_decode(&session, ids, 1), "decode");
    free(ids);
    const int64_t planned = glm_engine_plan(engine)->total_bytes;
    const int64_t peak = rt_machine_peak_rss();
    const double ratio = (double)peak / (double)planned;
    printf("%" PRId64 " tokens, %" PRId32 " threads: planned %" PRId64 " bytes, peak %" PRId64
           ", ratio %.3f\n",
            n_tokens, glm_engine_plan(engine)->threads, planned, peak, ratio);
    glm_session_free(session);
    glm_engine_close(engine);
    return ratio < least || ratio > 1.0;
}

/* The tokenizer's part, of GLM-4's own: above half of what is planned for it, and not beyond. */
static int measure_tokenizer(const char *dir) {
    enum { N_TOKENS = 151552 };
    glm_tokenizer *tokenizer = NULL;
    const int64_t before = rt_machine_peak_rss();
    require(glm_tokenizer_load(dir, &tokenizer), "load the tokenizer");
    const int64_t taken = rt_machine_peak_rss() - before;
    const double ratio = (double)taken / ((double)N_TOKENS * GLM_TOKENIZER_TOKEN_BYTES);
    printf("tokenizer: %" PRId64 " bytes, ratio %.3f\n", taken, ratio);
    glm_tokenizer_free(tokenizer);
    return ratio < 0.5 || ratio > 1.0;
}

/* n_tokens 0: the tokenizer alone; n_threads 0: one a core. */
static bool passes(const char *dir, int64_t n_tokens, int32_t n_threads, double least) {
    (void)fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        const int failed =
                n_tokens ? measure(dir, n_tokens, n_threads, least) : measure_tokenizer(dir);
        (void)fflush(stdout);
        _exit(failed);
    }
    int result = 1;
    return child > 0 && waitpid(child, &result, 0) == child && result == 0;
}

static void write_wide_model(const char *dir) {
    char config[80];
    (void)snprintf(config, sizeof config, "%s.json", dir);
    FILE *file = fopen(config, "w");
    if (!file) exit(1);
    (void)fputs("{\"model_type\": \"glm\", \"hidden_size\": 1024, \"num_hidden_layers\": 2, "
                "\"num_attention_heads\": 8, \"num_key_value_heads\": 2, \"head_dim\": 64, "
                "\"intermediate_size\": 8192, \"vocab_size\": 4096, "
                "\"max_position_embeddings\": 16384, \"rope_theta\": 5000000, "
                "\"partial_rotary_factor\": 0.5, \"rms_norm_eps\": 1.5625e-07, "
                "\"attention_bias\": true, \"tie_word_embeddings\": false, "
                "\"torch_dtype\": \"bfloat16\", \"hidden_act\": \"silu\", \"eos_token_id\": [256], "
                "\"pad_token_id\": 256}",
            file);
    (void)fclose(file);
    require(glm_random_model_write(dir, config, 1), "make-model");
}

static bool tokenizer_passes(void) {
    char dir[4096];
    const char *data = getenv("GLM_TEST_DATA");
    if (!data) {
        printf("skipped: the tokenizer's memory: GLM_TEST_DATA is not set\n");
        return true;
    }
    (void)snprintf(dir, sizeof dir, "%s/glm-4-9b-chat-1m", data);
    return passes(dir, 0, 0, 0.0);
}

int main(int argc, char **argv) {
    if (argc > 1) linear = argv[1];
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    printf("skipped: the sanitizer's memory is not the program's\n");
    return 77;
#endif
    char dir[] = "/tmp/glm1m-test-XXXXXX";
    char needle[64];
    char wide[64];
    char command[64];
    if (!mkdtemp(dir)) return 1;
    (void)snprintf(needle, sizeof needle, "%s/needle", dir);
    (void)snprintf(wide, sizeof wide, "%s/wide", dir);
    require(glm_needle_model_write(needle), "make-model");
    write_wide_model(wide);
    const bool is_good = tokenizer_passes() & passes(needle, 16000, 0, 0.85) &
                         passes(wide, 800, 0, 0.85) & passes(needle, 2000, 8, 0.7) &
                         passes(wide, 800, 8, 0.8) & passes(needle, 2000, 64, 0.5);
    (void)snprintf(command, sizeof command, "rm -r %s", dir);
    return system(command) != 0 || !is_good ? 1 : 0;
}
