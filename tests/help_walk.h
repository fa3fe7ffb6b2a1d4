/* Random walks over the engine's calls: sequences are made, prefilled in pieces, decoded side by side, forked, cut,
 * kept, found again and freed in any order, in engines of any options that are opened one after another over the same
 * directories, and whatever came before, a sequence's logits are those that a plain engine has for its tokens.
 *
 * A walk is its seed and the numbers of its steps. Each step draws from numbers of its own, and does what it can with
 * whatever sequences there are: so steps can be left out, and what fails is shrunk to the steps that it takes. */
#ifndef HELP_WALK_H
#define HELP_WALK_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/runtime.h"

enum {
    WALK_VOCAB = 272,
    WALK_PAGE = 128,
    WALK_TOKENS = 9216, /* of a sequence, at most */
    WALK_SEQS = 6,
    WALK_KEPT = 4, /* token lists to come back to, */
    WALK_BOOKS = 3,
    WALK_ROWS = 4, /* of logits that one prefill is asked for */
    WALK_MODELS = 3
};

/* A small config.json. */
#define WALK_CONFIG(arch, type, layers, hidden, ffn, heads, kv_heads, dim, dtype)                  \
    "{\"architectures\": [\"" arch "\"], \"model_type\": \"" type "\", \"attention_bias\": true, " \
    "\"hidden_act\": \"silu\", \"hidden_size\": " hidden ", \"intermediate_size\": " ffn ", "      \
    "\"num_hidden_layers\": " layers ", \"num_attention_heads\": " heads ", "                      \
    "\"num_key_value_heads\": " kv_heads ", \"head_dim\": " dim                                    \
    ", \"partial_rotary_factor\": 0.5, "                                                           \
    "\"rope_theta\": 10000.0, \"max_position_embeddings\": 131072, \"rms_norm_eps\": 1e-05, "      \
    "\"tie_word_embeddings\": false, \"vocab_size\": 272, \"torch_dtype\": \"" dtype "\", "        \
    "\"pad_token_id\": 256, \"eos_token_id\": [256, 263, 265]}"

/* Tokens, and how each was computed: in a prefill, decoded, or by a CPU, in the first text's book. Where a CPU walks that
 * makes no difference. */
enum { WALK_PREFILLED, WALK_DECODED, WALK_OF_BOOK };
typedef struct walk_tokens {
    int64_t n;
    int32_t ids[WALK_TOKENS];
    uint8_t hows[WALK_TOKENS];
} walk_tokens;

/* What walks are of. */
typedef struct walk_kind {
    const char *device;
    const char *
            configs[WALK_MODELS]; /* of random models: texts of config.json; NULL behind the last */
    const char *const *kv_dtypes; /* NULL at the end */
    bool tells_how; /* a token's bits depend on how it was computed. Long texts then begin with the CPU's book */
    int64_t longest; /* of others */
    int32_t ranks_max;
    /* Before a walk, and before an engine is opened; NULL: nothing. */
    void (*begin)(uint64_t *random);
    void (*unsettle)(uint64_t *random);
    /* The device's n-th call from here on fails, none if n is 0. Whether one has that was to; NULL: none ever does. */
    bool (*fail_at)(int64_t n);
} walk_kind;

/* ---- what logits ought to be: help_walk_reference.c ---------------------------------------------------------- */

typedef struct walk_reference walk_reference;
/* `dir`: where the book is that it may restore, or NULL. */
walk_reference *walk_reference_open(const walk_kind *kind, const char *model, const char *kv_dtype,
        int32_t n_ranks, const char *dir);
void walk_reference_close(walk_reference *reference);
/* Of keys and values of a token, in memory. */
int64_t walk_reference_token_bytes(const walk_reference *reference);
/* The logits that follow the first n > 0 tokens; borrowed until closed. Computed in sessions that were never cut
 * nor forked, in memory, in an engine of its own; now and then from the first token on. */
const float *walk_reference_row(walk_reference *reference, const walk_tokens *tokens, int64_t n);

/* ---- a walk under way: help_walk_engine.c, help_walk_steps.c ---------------------------------------------------- */

typedef struct walk_seq {
    glm_session *session; /* NULL: not there */
    walk_tokens tokens;
    int64_t n_held; /* tokens it remembers, the ones cut off included */
    int64_t max_tokens;
    int32_t text; /* that it mostly goes on with */
    bool is_fork; /* is not kept on disk */
} walk_seq;

typedef struct walk_counts {
    int64_t n_steps; /* taken */
    int64_t n_rows;  /* of logits compared */
    int64_t n_refused;
    int64_t n_opened;
    int64_t step;   /* the last */
    bool is_whole;  /* it came to its end */
    char text[512]; /* what was wrong */
} walk_counts;

typedef struct walk {
    const walk_kind *kind;
    walk_counts *counts;
    uint64_t random; /* of the step */
    /* The same from the first step to the last: */
    const char *model;
    const char *kv_dtype;
    bool is_lossy;
    bool persists;
    bool is_damaged; /* bytes of what is kept are flipped: it may be gone, or computed again */
    bool has_failed; /* a call of the device's, in the step */
    int32_t n_ranks;
    char dirs[2][128];
    int32_t n_dirs;
    int64_t longest;
    int64_t n_book; /* tokens of the CPU's book; 0: there is none */
    walk_reference *reference;

    glm_engine *engine;
    glm_options options;
    int64_t pages_used; /* when it was opened */
    walk_seq seqs[WALK_SEQS];
    walk_seq *running;         /* whose prefill is on its way, or NULL */
    walk_tokens aim;           /* what it holds then */
    int64_t wanted[WALK_ROWS]; /* absolute positions */
    int64_t n_wanted;
    walk_tokens kept[WALK_KEPT];
    walk_tokens books[WALK_BOOKS]; /* n 0: no such book */
} walk;

/* A number of the step: in [0, n). */
int64_t walk_below(walk *w, int64_t n);
/* What is so is printed; the process ends with it, if it ought not to be so. */
void walk_say(walk *w, const char *format, ...) RT_PRINTF(2, 3);
_Noreturn void walk_fail(walk *w, const char *format, ...) RT_PRINTF(2, 3);
/* Statuses other than RT_OK that a call may have come to: others end the walk. */
bool walk_went(walk *w, rt_status status, const char *what, rt_status may, rt_status may_too);

/* Open an engine of random options; give back all sequences in any order, and close it. */
void walk_open(walk *w);
void walk_close(walk *w);
/* The first text's first tokens, computed by a CPU, as a book in these directories. */
void walk_write_book(const walk *w, const char *const *dirs, int32_t n_dirs);
/* Now and then the next calls are told to stop, or one of the device's fails; until all goes well again. */
void walk_stop_soon(walk *w);
void walk_fail_soon(walk *w);
void walk_go_well(walk *w);

/* The next step, whatever it is; and a token more of every sequence, by itself, compared. */
void walk_step(walk *w);
void walk_look_at_all(walk *w);
/* help_walk_given_up.c: a prefill is stopped inside a layer; forks, most of them with room for little, are decoded
 * together. */
void walk_give_up(walk *w);
void walk_fan(walk *w);
/* help_walk_together.c: of several at once, whichever, or these. */
void walk_decode_some(walk *w);
void walk_decode_ahead(walk *w);
void walk_together(walk *w);
void walk_decode(walk *w, walk_seq *const *some, int32_t n);
/* After RT_EUSAGE of a decode that met what was lost beside a prefill, which gives way, as it does in a server. */
rt_status walk_decode_again(walk *w, walk_seq *const *some, glm_session *const *sessions,
        const int32_t *ids, int32_t n);
/* A step of several did not come to its end: each holds what it held, and maybe some of what it was to. */
void walk_note_failed(walk *w, walk_seq *s, int64_t before);
/* help_walk_books.c: of what is kept. */
void walk_restore(walk *w);
void walk_keep(walk *w);
void walk_open_book(walk *w);
void walk_forget(walk *w);
void walk_suspend(walk *w);
void walk_damage(walk *w);
/* A CPU reads what is kept, about the same: no engine is open. */
void walk_read_on_cpu(walk *w);
void walk_remember(walk *w, const walk_tokens *tokens);
/* What these have in common with other steps. */
walk_seq *walk_place(walk *w);
walk_seq *walk_some(walk *w, bool may_be_full);
int64_t walk_pick_end(walk *w, int64_t from, int64_t most);
int32_t walk_token(int32_t text, int64_t pos);
bool walk_begin(walk *w, walk_seq *s, const walk_tokens *aim);
void walk_go_on(walk *w, int64_t n_items);
bool walk_begin_any(walk *w);
int64_t walk_pick_cut(walk *w, int64_t length);
/* The least that may be left where n tokens were and something went wrong. */
int64_t walk_least(const walk *w, int64_t n);
int walk_number(const walk *w, const walk_seq *s);
/* `out`: what s holds, and on to `end`, computed so. */
void walk_write_on(walk *w, const walk_seq *s, int64_t end, uint8_t how, walk_tokens *out);
/* Its logits, and now and then its choice, with what they ought to be. */
void walk_compare_last(walk *w, const walk_seq *s, const char *what);
/* NULL: there is no room for one. */
walk_seq *walk_fork(walk *w, const walk_seq *parent, int64_t n, int64_t max_tokens);
void walk_note_length(walk *w, walk_seq *s, int64_t least, int64_t most, const char *what);

/* ---- programs: help_walk_main.c --------------------------------------------------------------------------------- */

/* PROGRAM [SEED STEPS [SEEDS | =STEP,STEP...]]: walks of n_seeds seeds from `seed` on, of n_steps each, unless the arguments say
 * otherwise. 0: all was right. */
int walk_main(const walk_kind *kind, uint64_t seed, int64_t n_seeds, int64_t n_steps, int argc,
        char **argv);

#endif
