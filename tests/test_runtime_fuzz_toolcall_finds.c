/* The fuzz target of fuzz_toolcall.c can fail: a parser that does not wait for the rest of a name is
 * found out.
 *
 * Method: this program has the parser built in with that mistake, in place of the library's. The
 * corpus, which is not cut into pieces, must not show it. */
#define GLM_MUTANT_IMPATIENT 1
#include "runtime/reply.c"

#include "fuzz_toolcall.c"

int main(void) {
    return fuzz_main_finds(10000);
}
