/* The fuzz target of fuzz_server_body.c can fail: an integer without an upper bound is found out.
 *
 * Method: this program has the reader built in with that mistake, in place of the library's. */
#define GLM_MUTANT_NO_MAXIMUM 1
#include "runtime/server/json_in.c"

#include "fuzz_server_body.c"

int main(void) {
    return fuzz_main_finds(1000000);
}
