/* Whatever schema comes, it is refused with a reason, or a text of it can always go on until it is whole, and is
 * JSON then.
 *
 * Method: the fuzz target of fuzz_schema.c over its corpus and mutations of it. More:
 * `test_runtime_fuzz_schema SEED N`. */
#include "fuzz_schema.c"

int main(int argc, char **argv) {
    return fuzz_main(argc, argv, 10000);
}
