/* Decode with drafts beside decode without, for the tests that say they come to the same: the same calls once by
 * glm_decode and once by glm_decode_ahead, on a text of passages that come again, some of them changed. Over pages, the end
 * of an extent and up to the session's, with forks, cuts, prefills and those of another session between. After each the
 * length, and the row of logits or, for a while, the token that is drawn from it. */
#ifndef HELP_DRAFTS_H
#define HELP_DRAFTS_H

#include "runtime/runtime.h"

enum { HELP_DRAFTS_TEXT = 4260, HELP_DRAFTS_STEPS = 400, HELP_DRAFTS_IDS = 256 };

typedef struct help_drafts_case {
    const char *what;
    glm_options options; /* n_speculative and lengths are set here */
    int64_t n_prompt;    /* prefilled first, or found where options.persists, and */
    int64_t n_text;      /* at most HELP_DRAFTS_TEXT: the session's end is reached */
    bool must_overflow;  /* KV; or must not */
} help_drafts_case;

/* The text's ids, all below HELP_DRAFTS_IDS: [HELP_DRAFTS_TEXT]. */
const int32_t *help_drafts_text(void);
/* Prints what each comes to. 0: every length, row and token is the same to the bit, and some drafts were right, some
 * wrong. Ends the program where a call fails. */
int help_drafts_differ(const help_drafts_case *one);

#endif
