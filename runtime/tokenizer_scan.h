/* Text -> the pieces that byte-pair merging never crosses. One pattern, written by hand:
 *
 *   1  (?i:'s|'t|'re|'ve|'m|'ll|'d)
 *   2  [^\r\n\p{L}\p{N}]?\p{L}+
 *   3  \p{N}{1,3}
 *   4   ?[^\s\p{L}\p{N}]+[\r\n]*        (begins with an optional space)
 *   5  \s*[\r\n]+
 *   6  \s+(?!\S)
 *   7  \s+
 *
 * Leftmost match, alternatives in that order, greedy, Unicode classes. Every text is covered: each
 * character is a letter, a number, white space, or something else. A byte that is not part of
 * well-formed UTF-8 counts as something else, one character per byte: the pattern is silent about
 * it, and so it joins symbols and never letters. */
#ifndef GLM_TOKENIZER_SCAN_H
#define GLM_TOKENIZER_SCAN_H

#include <stdint.h>

/* The end of the piece that begins at `start` < n_bytes; start < end <= n_bytes.
 *
 * Looks at the piece, the character after it, and, where the piece is white space, at the rest of
 * that run. No run is looked at more than twice, so a whole text takes linear time. */
int64_t glm_scan_piece(const char *text, int64_t n_bytes, int64_t start);

#endif
