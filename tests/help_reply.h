/* Replies taken apart, compared with their definition in reply.h written as regular expressions. */
#ifndef HELP_REPLY_H
#define HELP_REPLY_H

#include "runtime/reply.h"

/* Feed random replies, with tools and cuts by chance, and compare after every piece: what came out
 * must be what the definition says of the bytes so far, no later and no earlier. Returns how many
 * of n_replies went wrong; the first few are printed where is_loud. */
int64_t replyh_fuzz(int64_t n_replies, uint64_t seed, bool is_loud);

#endif
