/* Whatever the model says, and however it is cut into tokens: text and calls come out as reply.h
 * defines them, each byte as soon as it is decided.
 *
 * Method: random replies of names, beginnings of names, white space and braces, fed in random
 * pieces and compared after each with the definition as regular expressions. */
#include "help_reply.h"
#include "help_tokenizer.h"

int main(void) {
    const int64_t n_replies = tokh_is_fast() ? 10000 : 100000;
    return replyh_fuzz(n_replies, 1, true) == 0 ? 0 : 1;
}
