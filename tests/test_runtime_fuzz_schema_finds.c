/* The fuzz target of fuzz_schema.c can fail: a reader that lets a comma through behind the last item that may
 * come, where nothing can follow then, is found out.
 *
 * Method: this program has the reader built in with that mistake, in place of the library's. */
#define GLM_MUTANT_ENDLESS_ITEMS 1
#include "runtime/schema_state.c"

#include "fuzz_schema.c"

int main(void) {
    return fuzz_main_finds(20000);
}
