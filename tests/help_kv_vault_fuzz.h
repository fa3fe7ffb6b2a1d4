/* Fuzz targets for what the vault reads besides runs: a segment's header, footer and index, and a book's
 * manifest. As help_kv_codec.h has them for runs. */
#ifndef HELP_KV_VAULT_FUZZ_H
#define HELP_KV_VAULT_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* Byte 0: bit 0 seals header, index and footer with right checksums first. Then the header's block, the
 * footer's, and the index. What passes must keep what segment_format.h promises. */
int kvh_fuzz_segment(const uint8_t *data, size_t n_bytes);
/* Byte 0: bit 0 puts a right checksum line at the end. Then the text. What passes must be written
 * again as it was read. */
int kvh_fuzz_book(const uint8_t *data, size_t n_bytes);

/* The same, without libFuzzer: mutations of valid ones, the same for the same seed. */
void kvh_fuzz_segment_drive(uint64_t seed, int64_t n_inputs);
void kvh_fuzz_book_drive(uint64_t seed, int64_t n_inputs);

#endif
