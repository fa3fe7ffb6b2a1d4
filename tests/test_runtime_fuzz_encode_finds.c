/* The fuzz target of fuzz_encode.c can fail: it finds a bug when there is one.
 *
 * Method: this program has the scanner built in with a piece that reaches one byte beyond a text
 * which ends in a contraction, in place of the library's. The corpus alone must not show it. */
#include "runtime/tokenizer_scan.h"

int64_t right_piece(const char *text, int64_t n_bytes, int64_t start);
#define glm_scan_piece right_piece
#include "runtime/tokenizer_scan.c"
#undef glm_scan_piece

int64_t glm_scan_piece(const char *text, int64_t n_bytes, int64_t start) {
    const int64_t end = right_piece(text, n_bytes, start);
    const bool is_contraction = text[start] == '\'' && end - start > 1 && end == n_bytes;
    return is_contraction ? end + 1 : end;
}

#include "fuzz_encode.c"

int main(void) {
    return fuzz_main_finds(60000);
}
