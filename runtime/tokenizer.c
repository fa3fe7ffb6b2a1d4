/* The tokenizer as the rest of the program sees it; what it is made of:
 *
 *   tokenizer_model.c tokenizer_json.c tokenizer_specials.c   the files it is read from
 *   tokenizer_vocab.c   id <-> bytes
 *   tokenizer_scan.c    text -> pieces (unicode_classes.c, utf8.c)
 *   tokenizer_bpe.c     piece -> ids */
#include "tokenizer.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "adapter.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/size.h"
#include "gguf.h"
#include "tokenizer_bpe.h"
#include "tokenizer_files.h"
#include "tokenizer_scan.h"
#include "tokenizer_vocab.h"

struct glm_tokenizer {
    glm_vocab vocab;
    glm_special_list specials;
    glm_special_ids named;
    bool begins_special[256]; /* whether a special token's text begins with the byte */
    glm_watch watch;
};

/* ---- lists of ids ---------------------------------------------------------------------------- */

void glm_ids_free(glm_ids *ids) {
    free(ids->ids);
    *ids = (glm_ids){0};
}

static rt_status ids_reserve(glm_ids *ids, int64_t n_more) {
    int64_t needed;
    if (!rt_checked_add(ids->n, n_more, &needed) || needed > INT64_MAX / 8)
        return rt_fail(RT_ENOMEM, "tokenizer: no memory for %" PRId64 " more ids", n_more);
    if (needed <= ids->capacity) return RT_OK;
    const int64_t capacity = rt_max64(needed, rt_max64(64, ids->capacity + ids->capacity / 2));
    int32_t *moved = realloc(ids->ids, (size_t)capacity * sizeof *moved);
    if (!moved) return rt_fail(RT_ENOMEM, "tokenizer: no memory for %" PRId64 " ids", capacity);
    ids->ids = moved;
    ids->capacity = capacity;
    return RT_OK;
}

rt_status glm_ids_push(glm_ids *ids, int32_t id) {
    if (ids->n == ids->capacity) RT_TRY(ids_reserve(ids, 1));
    ids->ids[ids->n++] = id;
    return RT_OK;
}

rt_status glm_ids_append(glm_ids *ids, const int32_t *more, int64_t n) {
    RT_TRY(ids_reserve(ids, n));
    if (n > 0) memcpy(ids->ids + ids->n, more, (size_t)n * sizeof *more);
    ids->n += n;
    return RT_OK;
}

/* ---- loading --------------------------------------------------------------------------------- */

/* Ranks in the published tokenizer.model, and the special tokens that belong behind them, for a
 * directory that has nothing but that file. */
enum { PUBLISHED_TOKENS = 151329 };
static const char *const published_specials[] = {"<|endoftext|>", "[MASK]", "[gMASK]", "[sMASK]",
        "<sop>", "<eop>", "<|system|>", "<|user|>", "<|assistant|>", "<|observation|>",
        "<|begin_of_image|>", "<|end_of_image|>", "<|begin_of_video|>", "<|end_of_video|>"};

static rt_status add_published_specials(glm_tokenizer *tokenizer, const char *path) {
    const int32_t n = (int32_t)(sizeof published_specials / sizeof *published_specials);
    for (int32_t i = 0; i < n; i++)
        RT_TRY(glm_specials_add(&tokenizer->specials, path, tokenizer->vocab.n_tokens,
                PUBLISHED_TOKENS + i, published_specials[i],
                (int64_t)strlen(published_specials[i])));
    return RT_OK;
}

typedef struct tokenizer_paths {
    char *model;
    char *json;
    char *config;
} tokenizer_paths;

static void free_paths(tokenizer_paths *paths) {
    free(paths->model);
    free(paths->json);
    free(paths->config);
}

static rt_status join_paths(const char *dir, tokenizer_paths *paths) {
    RT_TRY(rt_path_join(dir, "tokenizer.model", &paths->model));
    RT_TRY(rt_path_join(dir, "tokenizer.json", &paths->json));
    return rt_path_join(dir, "tokenizer_config.json", &paths->config);
}

/* Tokens from tokenizer.model where it exists, else from tokenizer.json. Special tokens from
 * tokenizer_config.json and, where the tokens come from there or nothing else tells them, from
 * tokenizer.json; files that disagree about one are refused. */
static rt_status read_files(
        const char *dir, const tokenizer_paths *paths, glm_tokenizer *tokenizer) {
    glm_special_list *specials = &tokenizer->specials;
    const bool has_model = rt_file_exists(paths->model);
    const bool has_json = rt_file_exists(paths->json);
    if (!has_model && !has_json) RT_TRY(glm_adapter_refuse_alone(dir));
    if (!has_model && !has_json) RT_TRY(glm_gguf_refuse_alone(dir));
    if (!has_model && !has_json)
        return rt_fail(RT_EMODEL,
                "tokenizer: TK_NONE: %s has neither tokenizer.model nor tokenizer.json", dir);
    if (has_model)
        RT_TRY(glm_read_tokenizer_model(paths->model, &tokenizer->vocab));
    else
        RT_TRY(glm_read_tokenizer_json(paths->json, &tokenizer->vocab, 0, specials));
    const int32_t n_tokens = tokenizer->vocab.n_tokens;
    if (rt_file_exists(paths->config))
        RT_TRY(glm_read_tokenizer_config(paths->config, n_tokens, specials));
    if (specials->n == 0 && has_model && has_json)
        RT_TRY(glm_read_tokenizer_json(paths->json, NULL, n_tokens, specials));
    if (specials->n == 0 && n_tokens == PUBLISHED_TOKENS)
        RT_TRY(add_published_specials(tokenizer, paths->model));
    return RT_OK;
}

static int32_t special_id(const glm_tokenizer *tokenizer, const char *text) {
    for (int32_t i = 0; i < tokenizer->specials.n; i++)
        if (strcmp(tokenizer->specials.items[i].text, text) == 0)
            return tokenizer->specials.items[i].id;
    return -1;
}

static void index_specials(glm_tokenizer *tokenizer) {
    for (int32_t i = 0; i < tokenizer->specials.n; i++)
        tokenizer->begins_special[(uint8_t)tokenizer->specials.items[i].text[0]] = true;
    tokenizer->named = (glm_special_ids){
            .endoftext = special_id(tokenizer, "<|endoftext|>"),
            .gmask = special_id(tokenizer, "[gMASK]"),
            .sop = special_id(tokenizer, "<sop>"),
            .system = special_id(tokenizer, "<|system|>"),
            .user = special_id(tokenizer, "<|user|>"),
            .assistant = special_id(tokenizer, "<|assistant|>"),
            .observation = special_id(tokenizer, "<|observation|>"),
    };
}

rt_status glm_tokenizer_load(const char *dir, glm_tokenizer **out) {
    glm_tokenizer *tokenizer = NULL;
    tokenizer_paths paths = {0};
    *out = NULL;
    RT_TRY(rt_calloc(1, sizeof *tokenizer, "the tokenizer", &tokenizer));
    rt_status status = join_paths(dir, &paths);
    if (status == RT_OK) status = read_files(dir, &paths, tokenizer);
    free_paths(&paths);
    if (status != RT_OK) {
        glm_tokenizer_free(tokenizer);
        return status;
    }
    index_specials(tokenizer);
    *out = tokenizer;
    return RT_OK;
}

void glm_tokenizer_free(glm_tokenizer *tokenizer) {
    if (!tokenizer) return;
    glm_vocab_free(&tokenizer->vocab);
    glm_specials_free(&tokenizer->specials);
    free(tokenizer);
}

void glm_tokenizer_watch(glm_tokenizer *tokenizer, const glm_watch *watch) {
    tokenizer->watch = *watch;
}

const glm_watch *glm_tokenizer_watched_by(const glm_tokenizer *tokenizer) {
    return &tokenizer->watch;
}

glm_special_ids glm_tokenizer_specials(const glm_tokenizer *tokenizer) {
    return tokenizer->named;
}

int64_t glm_tokenizer_size(const glm_tokenizer *tokenizer) {
    int64_t size = tokenizer->vocab.n_tokens;
    for (int32_t i = 0; i < tokenizer->specials.n; i++)
        size = rt_max64(size, (int64_t)tokenizer->specials.items[i].id + 1);
    return size;
}

/* ---- encoding -------------------------------------------------------------------------------- */

/* A text being encoded. */
typedef struct text_encoder {
    const glm_tokenizer *tokenizer;
    glm_bpe_scratch scratch;
    int64_t n_bytes;   /* of it */
    int64_t n_done;    /* of them */
    int64_t n_unasked; /* of these, since check_stop asked */
    glm_ids *out;
} text_encoder;

/* Behind n_bytes more. */
static rt_status check_stop(text_encoder *encoder, int64_t n_bytes) {
    encoder->n_done += n_bytes;
    encoder->n_unasked += n_bytes;
    if (encoder->n_unasked < GLM_WATCH_BYTES) return RT_OK;
    encoder->n_unasked = 0;
    return glm_watch_at(&encoder->tokenizer->watch, "tokenized", encoder->n_done, encoder->n_bytes);
}

/* All of it, or up to the end of the piece with which `out` has n_wanted ids. */
static rt_status encode_pieces(
        text_encoder *encoder, const char *text, int64_t n_bytes, int64_t n_wanted) {
    for (int64_t start = 0; start < n_bytes && encoder->out->n < n_wanted;) {
        const int64_t end = glm_scan_piece(text, n_bytes, start);
        RT_TRY(glm_bpe_encode(&encoder->tokenizer->vocab, &encoder->scratch, text + start,
                end - start, encoder->out));
        RT_TRY(check_stop(encoder, end - start));
        start = end;
    }
    return RT_OK;
}

static rt_status encode_plain(text_encoder *encoder, const char *text, int64_t n_bytes) {
    return encode_pieces(encoder, text, n_bytes, INT64_MAX);
}

/* The longest special token at the front of `text`, or NULL. */
static const glm_special *special_at(
        const glm_tokenizer *tokenizer, const char *text, int64_t n_bytes) {
    const glm_special *longest = NULL;
    if (!tokenizer->begins_special[(uint8_t)text[0]]) return NULL;
    for (int32_t i = 0; i < tokenizer->specials.n; i++) {
        const glm_special *item = &tokenizer->specials.items[i];
        if (item->n_bytes > n_bytes || memcmp(item->text, text, (size_t)item->n_bytes) != 0)
            continue;
        if (!longest || item->n_bytes > longest->n_bytes) longest = item;
    }
    return longest;
}

/* Between special tokens each stretch is a text of its own: the pattern does not see past them. */
static rt_status encode_with_specials(text_encoder *encoder, const char *text, int64_t n_bytes) {
    int64_t start = 0;
    for (int64_t at = 0; at < n_bytes;) {
        const glm_special *special = special_at(encoder->tokenizer, text + at, n_bytes - at);
        if (!special) {
            at++;
            continue;
        }
        RT_TRY(encode_plain(encoder, text + start, at - start));
        RT_TRY(glm_ids_push(encoder->out, special->id));
        at += special->n_bytes;
        start = at;
    }
    return encode_plain(encoder, text + start, n_bytes - start);
}

/* Without special tokens up to where `out` has n_wanted ids. */
static rt_status encode(const glm_tokenizer *tokenizer, const char *text, int64_t n_bytes,
        bool with_special, int64_t n_wanted, glm_ids *out) {
    text_encoder encoder = {.tokenizer = tokenizer, .n_bytes = n_bytes, .out = out};
    const int64_t n_before = out->n;
    rt_status status = glm_bpe_scratch_create(&tokenizer->vocab, &encoder.scratch);
    if (status == RT_OK)
        status = with_special ? encode_with_specials(&encoder, text, n_bytes)
                              : encode_pieces(&encoder, text, n_bytes, n_wanted);
    glm_bpe_scratch_free(&encoder.scratch);
    if (status == RT_OK && n_bytes >= GLM_WATCH_BYTES)
        status = glm_watch_at(&tokenizer->watch, "tokenized", n_bytes, n_bytes);
    if (status != RT_OK) out->n = n_before;
    return status;
}

rt_status glm_tokenizer_encode(const glm_tokenizer *tokenizer, const char *text, int64_t n_bytes,
        bool with_special, glm_ids *out) {
    return encode(tokenizer, text, n_bytes, with_special, INT64_MAX, out);
}

rt_status glm_tokenizer_encode_beginning(const glm_tokenizer *tokenizer, const char *text,
        int64_t n_bytes, int64_t n_ids, glm_ids *out) {
    return encode(tokenizer, text, n_bytes, false, out->n + n_ids, out);
}

/* ---- decoding -------------------------------------------------------------------------------- */

const char *glm_tokenizer_bytes(
        const glm_tokenizer *tokenizer, int32_t id, int64_t *n_bytes, bool *is_special) {
    const glm_vocab *vocab = &tokenizer->vocab;
    if (is_special) *is_special = false;
    if (id >= 0 && id < vocab->n_tokens) {
        *n_bytes = vocab->starts[id + 1] - vocab->starts[id];
        return vocab->bytes + vocab->starts[id];
    }
    for (int32_t i = 0; i < tokenizer->specials.n; i++) {
        if (tokenizer->specials.items[i].id != id) continue;
        if (is_special) *is_special = true;
        *n_bytes = tokenizer->specials.items[i].n_bytes;
        return tokenizer->specials.items[i].text;
    }
    *n_bytes = 0;
    return "";
}

/* The bytes of one id as decode shows them. */
static const char *shown_bytes(
        const glm_tokenizer *tokenizer, int32_t id, bool with_special, int64_t *n_bytes) {
    bool is_special;
    const char *bytes = glm_tokenizer_bytes(tokenizer, id, n_bytes, &is_special);
    if (is_special && !with_special) *n_bytes = 0;
    return bytes;
}

rt_status glm_tokenizer_decode(const glm_tokenizer *tokenizer, const int32_t *ids, int64_t n_ids,
        bool with_special, char **text, int64_t *n_bytes) {
    int64_t n_raw = 0;
    for (int64_t i = 0; i < n_ids; i++) {
        int64_t n;
        (void)shown_bytes(tokenizer, ids[i], with_special, &n);
        n_raw += n;
    }
    /* A replaced byte becomes three. */
    void *decoded = NULL;
    RT_TRY(rt_malloc(3 * (n_raw + 3) + 1, "decoded text", &decoded));
    *text = decoded;
    *n_bytes = 0;
    glm_utf8_stream stream = {0};
    for (int64_t i = 0; i < n_ids; i++) {
        int64_t n;
        const char *bytes = shown_bytes(tokenizer, ids[i], with_special, &n);
        *n_bytes += glm_utf8_stream_feed(&stream, bytes, n, false, *text + *n_bytes);
    }
    *n_bytes += glm_utf8_stream_feed(&stream, "", 0, true, *text + *n_bytes);
    (*text)[*n_bytes] = '\0';
    return RT_OK;
}
