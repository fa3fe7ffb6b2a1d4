/* An engine and a session to ask, for tests of what a model answers on a device. */
#ifndef HELP_ENGINE_H
#define HELP_ENGINE_H

#include "runtime/runtime.h"

/* An engine on `device` with room for max_len tokens and 8 rows of logits, prefilling in chunks of `chunk` tokens,
 * 0: as planned, KV kept as `kv_dtype`, NULL: as the checkpoint; ends the program on failure. */
glm_engine *help_engine_open(
        const char *dir, const char *device, const char *kv_dtype, int64_t max_len, int64_t chunk);

/* Whether a GPU is there that runs the model of `dir`; prints why not. */
bool help_engine_has_gpu(const char *dir);

/* An engine of `options`, with one thread, that keeps what it computes in `dir`, and needs what is kept there; ends the
 * program on failure. What a CPU's keeps a GPU's finds: its products are our own, and not oneDNN's, wherever those would be taken. */
glm_engine *help_engine_open_in(const char *dir, glm_options options);

/* ids[n] into a new session of the engine, logits of positions wanted[n_wanted], then n_steps more tokens,
 * ids[n ..], one by one: rows [n_wanted + n_steps][vocab], for free(). */
float *help_engine_logits(glm_engine *engine, const int32_t *ids, int64_t n, const int64_t *wanted,
        int64_t n_wanted, int64_t n_steps);

/* The first n of ids as a book; the engine persists. */
void help_engine_keep(glm_engine *engine, const int32_t *ids, int64_t n, const char *name);

/* The text ids[n] again, and n_steps more, ids[n ..]: what is restored must be n_kept tokens, or the program ends.
 * rows[1 + n_steps][vocab]: the logits of the last of the n, and of each step; the last one is taken by
 * glm_prefill_together. */
void help_engine_go_on(glm_engine *engine, const int32_t *ids, int64_t n, int64_t n_kept,
        int64_t n_steps, float *rows);

/* --device-kv-space of which nothing is left for a sequence to stay, by the plan of an engine with n_layers that held all of it: what is
 * planned less all pages but half a MiB, and with a window of one extent. */
int64_t help_engine_little_kv(const glm_plan *plan, int32_t n_layers);

/* The session's one row of logits. */
void help_engine_row(const glm_session *session, float *row, int64_t vocab);

/* ids[n], the same for each seed. */
void help_engine_ids(int32_t *ids, int64_t n, uint64_t seed);

#endif
