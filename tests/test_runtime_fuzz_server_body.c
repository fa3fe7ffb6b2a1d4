/* Whatever a client sends as a body: a request within every bound, or an error that says why.
 *
 * Method: the fuzz target of fuzz_server_body.c over its corpus and mutations of it. More:
 * `test_runtime_fuzz_server_body SEED N`. */
#include "fuzz_server_body.c"

int main(int argc, char **argv) {
    return fuzz_main(argc, argv, 200000);
}
