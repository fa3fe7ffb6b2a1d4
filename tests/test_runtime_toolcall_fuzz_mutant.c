/* The fuzz test can fail: a parser that does not wait for the rest of a name is found out.
 *
 * Method: this program has the parser built in with that mistake, in place of the library's. */
#define GLM_MUTANT_IMPATIENT 1
#include "runtime/reply.c"

#include "help_reply.h"
#include "help_tokenizer.h"

int main(void) {
    CHECK(replyh_fuzz(1000, 1, false) > 100);
    return 0;
}
