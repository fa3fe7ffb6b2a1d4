/* Replies taken apart, compared with their definition in reply.h written as regular expressions. */
#ifndef HELP_REPLY_H
#define HELP_REPLY_H

#include "runtime/reply.h"

/* Feed a reply and compare after every piece: what came out must be what the definition says of the
 * bytes so far, no later and no earlier. Where it is not, stderr says how.
 *
 *   data[0]  a bit for each of six tools that the model was told of
 *   data[1]  how the reply is cut into pieces; 0: each part is one piece. 0x80: it waits for a tool
 *   data[2+] up to three parts, 0 between them; most bytes below 0x20 stand for a name, or another
 *            word that calls are made of */
bool replyh_is_right(const uint8_t *data, int64_t n_bytes);

#endif
