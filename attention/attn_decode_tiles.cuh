/* Decode: which tiles there are, and whose rows they have.
 *
 * A tile is one KV head, one split and the query rows that a block takes at a time: of one sequence, or of several that
 * hold the same pages there, a pass (attn_cuda.h): those are read once for all of them. Passes are listed, and read by
 * the device when it gets there; a tile's number counts through all of them, its rows' blocks side by side, then KV
 * heads, then splits. The state of a row's split lies where it would if the sequence were alone, so that whoever
 * merges knows nothing of passes. */
#ifndef ATTN_DECODE_TILES_CUH
#define ATTN_DECODE_TILES_CUH

#include "ptx.cuh"

#include "attn_decode_rows.h"
#include "attn_tile.cuh"

#include <math.h>

enum { SPLIT = ATTN_SPLIT_TOKENS };

struct decode_params {
    attn_cuda_decode_args a;
    int32_t n_passes; /* 0: each sequence is one */
    int32_t n_heads;
    int32_t n_kv_heads;
    int32_t group;
    int32_t n_rows;       /* of a sequence, of a KV head: n_queries x group */
    int32_t tile_rows;    /* that a block takes at a time; */
    int32_t tile_seqs;    /* sequences, all of their rows; 1 where a sequence has more, in */
    int32_t tile_blocks;  /* so many tiles */
    int32_t n_row_blocks; /* of a sequence in scratch, */
    int32_t n_block_rows; /* of so many states each */
    int32_t n_splits_max; /* of a sequence */
    int32_t n_blocks;
    int32_t n_merge_blocks;
    /* [n_seqs][n_kv_heads][n_row_blocks][n_splits_max]: */
    float *part_out; /* [n_block_rows][128] */
    float *part_max; /* [n_block_rows] */
    float *part_sum;
    uint32_t *tickets;
    float scale;
};

PTX_DEVICE int32_t splits_of_length(int64_t length) {
    return (int32_t)((length + SPLIT - 1) / SPLIT);
}

/* A number of keys, or a place among them, counted from the start of a split: what lies far outside of it needs no 64 bits. */
PTX_DEVICE int32_t clip_to_split(int64_t n_keys) {
    return n_keys < -SPLIT ? -SPLIT : n_keys < 2 * SPLIT ? (int32_t)n_keys : 2 * SPLIT;
}

/* ---- tiles ----------------------------------------------------------------------------------- */

/* A place among tiles, found by going forward. */
struct tile_cursor {
    int32_t number; /* of the tile, through all passes */
    int32_t pass;
    int32_t first; /* of the pass's */
};

struct tile_place {
    int32_t first; /* of its sequences, counted in the order of passes */
    int32_t n_seqs;
    int32_t row_block; /* of the sequence, where it has several */
    int32_t kv_head;
    int32_t split;
};

PTX_DEVICE tile_cursor first_tile() {
    return {(int32_t)ptx_block_x(), 0, 0};
}

/* A block's next tile, for pages of bf16 on Hopper. Blocks take a round of tiles in their order, and the next one in the reverse: the first behind a
 * round that ended with short tiles, the last on the list, are taken by those who had one. */
PTX_EITHER int32_t next_tile(int32_t number, int32_t n_blocks) {
    return number + 2 * (n_blocks - number % n_blocks) - 1;
}

/* The same cursor, so that what it tells is found out anew. */
PTX_DEVICE tile_cursor here_again(const tile_cursor &c) {
    return {(int32_t)ptx_here((uint32_t)c.number), c.pass, c.first};
}

PTX_DEVICE attn_cuda_pass pass_of(const decode_params &p, int32_t i) {
    if (p.n_passes == 0) return {i, 1, 0, splits_of_length(p.a.lengths[i])};
    return p.a.passes[i];
}

PTX_DEVICE int32_t seq_of(const decode_params &p, int32_t place) {
    return p.n_passes == 0 ? place : p.a.order[place];
}

/* Blocks of rows of a pass. */
PTX_DEVICE int32_t blocks_of(const decode_params &p, const attn_cuda_pass &pass) {
    return (pass.n + p.tile_seqs - 1) / p.tile_seqs * p.tile_blocks;
}

/* To the pass that has the tile; whether one has. */
PTX_DEVICE bool find_tile(const decode_params &p, tile_cursor &c) {
    const int32_t n_passes = p.n_passes == 0 ? p.a.n_seqs : p.n_passes;
    for (; c.pass < n_passes; c.pass++) {
        const attn_cuda_pass pass = pass_of(p, c.pass);
        const int32_t n_splits = pass.end_split - pass.first_split;
        const int32_t end = c.first + n_splits * p.n_kv_heads * blocks_of(p, pass);
        if (c.number < end) return true;
        c.first = end;
    }
    return false;
}

PTX_DEVICE tile_place place_of_tile(const decode_params &p, const tile_cursor &c) {
    const attn_cuda_pass pass = pass_of(p, c.pass);
    const int32_t n_blocks = blocks_of(p, pass), number = c.number - c.first;
    const int32_t block = number % n_blocks, of_head = number / n_blocks;
    const int32_t at = block / p.tile_blocks * p.tile_seqs;
    tile_place t;
    t.first = pass.first + at;
    t.n_seqs = pass.n - at < p.tile_seqs ? pass.n - at : p.tile_seqs;
    t.row_block = block % p.tile_blocks;
    t.kv_head = of_head % p.n_kv_heads;
    t.split = pass.first_split + of_head / p.n_kv_heads;
    return t;
}

/* ---- rows ------------------------------------------------------------------------------------ */

/* A row of a tile, that is one of a KV head's of a sequence. */
struct row_place {
    int32_t seq;
    int32_t row;
};

PTX_DEVICE int32_t rows_of_tile(const decode_params &p, const tile_place &t) {
    const int32_t left = t.n_seqs * p.n_rows - t.row_block * p.tile_rows;
    return left < p.tile_rows ? left : p.tile_rows;
}

PTX_DEVICE row_place place_of_row(const decode_params &p, const tile_place &t, int32_t row) {
    const int32_t member = t.n_seqs == 1 ? 0 : row / p.n_rows;
    return {seq_of(p, t.first + member), t.row_block * p.tile_rows + row - member * p.n_rows};
}

/* Its (token, head), counted through all sequences'. */
PTX_DEVICE int64_t token_head_of(const decode_params &p, const row_place &r, int32_t kv_head) {
    const int64_t token = (int64_t)r.seq * p.a.n_queries + r.row / p.group;
    return token * p.n_heads + kv_head * p.group + r.row % p.group;
}

/* Where the state of its split lies. */
PTX_DEVICE int64_t state_of(
        const decode_params &p, const row_place &r, int32_t kv_head, int32_t split) {
    const int64_t head = (int64_t)r.seq * p.n_kv_heads + kv_head;
    const int64_t block = head * p.n_row_blocks + r.row / p.n_block_rows;
    return (block * p.n_splits_max + split) * p.n_block_rows + r.row % p.n_block_rows;
}

PTX_DEVICE const uint16_t *query_of(const decode_params &p, const row_place &r, int32_t kv_head) {
    const int64_t token = (int64_t)r.seq * p.a.n_queries + r.row / p.group;
    return p.a.q + token * p.a.q_stride + (kv_head * p.group + r.row % p.group) * HEAD_DIM;
}

/* ---- what a launch says ---------------------------------------------------------------------- */

/* Of a sequence in this call, at most. */
static inline int64_t n_splits_of(const decode_params &p) {
    return p.a.n_splits > 0 ? p.a.n_splits : p.n_splits_max;
}

static inline int64_t tiles_max(const decode_params &p) {
    return (int64_t)p.a.n_seqs * p.n_kv_heads * p.tile_blocks * n_splits_of(p);
}

/* For tiles of so many rows, and states in so many blocks of so many a sequence; `params` is zero. */
static inline void set_params(const attn_shape *shape, const attn_cuda_decode_args *args,
        int32_t tile_rows, int32_t n_row_blocks, int32_t n_block_rows, decode_params *params) {
    params->a = *args;
    params->n_passes = args->passes ? args->n_passes : 0;
    params->n_heads = shape->n_heads;
    params->n_kv_heads = shape->n_kv_heads;
    params->group = shape->n_heads / shape->n_kv_heads;
    params->n_rows = args->n_queries * params->group;
    params->tile_rows = tile_rows;
    params->tile_seqs = params->n_rows < tile_rows ? tile_rows / params->n_rows : 1;
    params->tile_blocks = (params->n_rows + tile_rows - 1) / tile_rows;
    params->n_row_blocks = n_row_blocks;
    params->n_block_rows = n_block_rows;
    params->n_splits_max = (int32_t)attn_n_splits(args->max_tokens);
    params->tickets = args->tickets;
    const int64_t n_states = (int64_t)args->n_seqs * shape->n_kv_heads * n_row_blocks *
                             params->n_splits_max * n_block_rows;
    params->part_out = (float *)args->scratch;
    params->part_max = params->part_out + n_states * HEAD_DIM;
    params->part_sum = params->part_max + n_states;
    params->scale = (float)(1.4426950408889634 / sqrt((double)HEAD_DIM));
    rt_assert(params->n_rows > 0 && params->n_rows <= ATTN_CUDA_DECODE_ROWS_MAX &&
              args->max_tokens > 0);
    rt_assert(!args->open_pages || args->n_queries <= PAGE);
    rt_assert(!args->passes || (args->order && args->n_passes > 0));
    rt_assert(tiles_max(*params) <= INT32_MAX / 2);
}

/* Rows of a KV head that the sequences of a pass have, at most. */
static inline int32_t rows_together(const attn_shape *shape, const attn_cuda_decode_args *args) {
    const int64_t n_seqs = args->passes && args->n_together > 1 ? args->n_together : 1;
    const int64_t n = n_seqs * args->n_queries * (shape->n_heads / shape->n_kv_heads);
    return (int32_t)(n < 1024 ? n : 1024);
}

#endif
