/* One prompt that grows, and an answer behind each of its lengths: the job that bench_one_prompt (glm1m) and
 * llama_cpp_one_prompt (llama.cpp) do alike, for beside_llama_cpp.sh.
 *
 *   --model PATH       a checkpoint directory, or a GGUF file
 *   --lengths A,B,...  prompt lengths in tokens, ascending: the prompt is prefilled up to A, answered, cut back
 *                      to A, prefilled up to B, and so on
 *   --answer N         tokens decoded behind each length (default 32)
 *   --threads N        default 2
 *   --kv TYPE          how keys and values are kept, as the runtime names it; default: its own choice
 *   --chunk N          tokens per kernel call in prefill; default: its own choice
 *   --variant NAME     what else there is to choose, as the program says
 *   --logits FILE      the logits behind each length and each token of its answer, float32 as they come
 *   --kept N --in PATH the first N tokens' keys and values are read from PATH, a file or directory of the
 *                      runtime's own; where they are not there yet they are computed, and kept there
 *
 * Ids are made up, the same for everybody: prompt and answer are given, not drawn. For each length a line,
 * JSON: length; ready_s, until weights were there, and first_s, until the first token could be drawn, both since the
 * program began; prefill_s since the length before; decode_s of the answer; rss_mib, the peak so far. With
 * --kept a line before: kept, tokens found; restored_s, until they were there.
 *
 * Needs libc only, so that no runtime is measured with another one beside it. */
#ifndef HELP_ONE_PROMPT_H
#define HELP_ONE_PROMPT_H

#include <stdint.h>

enum { ONE_PROMPT_LENGTHS_MAX = 8 };

typedef struct one_prompt {
    double begun; /* when the program began */
    const char *model;
    int64_t lengths[ONE_PROMPT_LENGTHS_MAX];
    int n_lengths;
    int64_t n_answer;
    int n_threads;
    const char *kv;      /* NULL: not said */
    int64_t chunk;       /* 0: not said */
    const char *variant; /* NULL: not said */
    const char *logits;  /* NULL: not wanted */
    int64_t n_kept;      /* 0: nothing is kept */
    const char *kept_in;
} one_prompt;

/* What a runtime does. Each ends the program when it fails. */
typedef struct one_prompt_runtime {
    void (*open)(const one_prompt *job,
            int64_t n_tokens_max);                  /* weights there, room for so many tokens */
    void (*prefill)(const int32_t *ids, int64_t n); /* behind what is held */
    void (*decode)(int32_t id);
    void (*cut)(int64_t n_tokens);                                 /* forget what is behind them */
    const float *(*logits)(void);                                  /* of the last token */
    int64_t (*restore)(const one_prompt *job, const int32_t *ids); /* n_kept, or 0: not there */
    void (*keep)(const one_prompt *job, const int32_t *ids);       /* the n_kept that are held */
    int32_t (*vocab)(void);
} one_prompt_runtime;

/* Ends the program with what is wrong. */
one_prompt one_prompt_parse(int argc, char **argv, const char *program);

void one_prompt_run(const one_prompt *job, const one_prompt_runtime *runtime);

#endif
