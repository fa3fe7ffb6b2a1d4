/* Where numbers are: tiles of the page, in global and in shared memory, and lanes' addresses in
 * them.
 *
 * A tile is two halves of 64 dims; a half is rows (tokens) of 128 bytes, whose 16-byte chunks are
 * permuted by the row: chunk c of row r is at c ^ (r % 8). In shared memory a half begins at a
 * multiple of 1024 bytes, which makes that the 128-byte swizzle of the hardware. Eight rows read by
 * ldmatrix, or written by a warp, fall on all 32 banks. */
#ifndef ATTN_TILE_CUH
#define ATTN_TILE_CUH

#include "attn_cuda.h"

enum {
    WARP = 32,
    HEAD_DIM = ATTN_CUDA_HEAD_DIM,
    PAGE = ATTN_PAGE_TOKENS,
    ROW_BYTES = 128, /* of a half */
    TILE_BYTES = ATTN_CUDA_TILE_BYTES,
    TILE_HALF_BYTES = TILE_BYTES / 2,
    CHUNK_NUMBERS = 8 /* 16 bytes */
};

/* Bytes from the start of a half to chunk `chunk` (0..7) of row `row`. */
PTX_DEVICE uint32_t tile_chunk(int row, int chunk) {
    return (uint32_t)(row * ROW_BYTES + ((chunk ^ (row & 7)) << 4));
}

/* The same from the start of a tile whose halves are half_bytes long, chunk 0..15. */
PTX_DEVICE uint32_t tile_at(int row, int chunk, int half_bytes) {
    return (uint32_t)((chunk >> 3) * half_bytes) + tile_chunk(row, chunk & 7);
}

/* A lane's row and odd chunk for ldmatrix.x4, as an offset to which step k of 16 dims adds by
 * tile_step: rows (l & 15), chunk 2k + (l >> 4); or rows (l & 7) + 8 (l >> 4), chunk 2k + ((l >> 3)
 * & 1). The first gives A from rows, and B from keys under _trans; the second B from rows, A under
 * _trans. */
PTX_DEVICE uint32_t tile_lane_rows16(int lane) {
    return tile_chunk(lane & 15, lane >> 4);
}
PTX_DEVICE uint32_t tile_lane_rows8(int lane) {
    return tile_chunk((lane & 7) + 8 * (lane >> 4), (lane >> 3) & 1);
}
PTX_DEVICE uint32_t tile_step(uint32_t lane_offset, int k, int half_bytes) {
    return (lane_offset ^ (uint32_t)((k & 3) << 5)) + (uint32_t)((k >> 2) * half_bytes);
}

/* K tile of a KV head in a page; its V tile follows. */
PTX_DEVICE const char *tile_of_keys(const void *page, int kv_head) {
    return (const char *)page + (int64_t)kv_head * (2 * TILE_BYTES);
}

#endif
