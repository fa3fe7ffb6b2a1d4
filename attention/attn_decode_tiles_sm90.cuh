/* Decode for Hopper: which tiles there are, who has them, and what pages they walk over.
 *
 * A tile is one KV head, one split of 4096 keys and up to ROWS query rows of the KV head, the (8 or 16) query
 * heads of each query token. Tiles are dealt to the blocks in turn, those that share pages side by side. */
#ifndef ATTN_DECODE_TILES_SM90_CUH
#define ATTN_DECODE_TILES_SM90_CUH

#include "attn_merge_sm90.cuh"
#include "attn_sm90.cuh"

enum { SPLIT_PAGES = SPLIT / PAGE };
static_assert(SPLIT % PAGE == 0, "a split is whole pages");

/* What a tile is. Keys are counted from the start of the split. */
struct decode_tile {
    int32_t seq;
    int32_t row_block;
    int32_t split;
    int32_t n_splits; /* of the sequence */
    int32_t n_rows;   /* of the tile */
    int32_t first_seen; /* keys that query token 0 sees, clipped to 2 SPLIT; each later one sees one more */
    int64_t tile; /* the place of its states in scratch, where ATTN_SM90_ROWS rows share one */
    page_walk walk;
};

PTX_DEVICE int32_t clip(int64_t n_keys) {
    return n_keys < -SPLIT ? -SPLIT : n_keys < 2 * SPLIT ? (int32_t)n_keys : 2 * SPLIT;
}

PTX_DEVICE int clip_pages(int64_t n_pages, int n_max) {
    return n_pages < 0 ? 0 : n_pages < n_max ? (int)n_pages : n_max;
}

/* Of n_pages pages of a split: e4m3 ones, those before the last query token's, and the one or two in which the
 * query tokens lie. */
PTX_DEVICE void open_pages_of(const decode_params &p, int64_t length, decode_tile &t, int n_pages) {
    const int64_t split_page = (int64_t)t.split * SPLIT_PAGES;
    const int64_t first = (length - p.a.n_queries) / PAGE - split_page;
    const int64_t last = (length - 1) / PAGE - split_page;
    t.walk.n_closed = clip_pages(last, n_pages);
    t.walk.first_open = clip_pages(first, n_pages);
    t.walk.open_pages = p.a.open_pages[t.seq] + (t.walk.first_open - first);
    t.walk.n_steps = t.walk.n_closed + clip_pages(last + 1, n_pages) - t.walk.first_open;
}

/* Tiles of a block, those that there are: a sequence has as many as it has splits, whatever there is room for. */
struct tile_cursor {
    int32_t number; /* of the tile, through all sequences */
    int32_t seq;
    int32_t first; /* of the sequence's */
};

PTX_DEVICE tile_cursor first_tile() {
    return {(int32_t)ptx_block_x(), 0, 0};
}

/* The same, so that what it tells is found out anew. */
PTX_DEVICE tile_cursor here_again(const tile_cursor &c) {
    return {(int32_t)ptx_here((uint32_t)c.number), c.seq, c.first};
}

/* Tiles that share a split of a KV head. */
template <int ROWS> PTX_DEVICE int row_blocks_of(const decode_params &p) {
    return ROWS == ATTN_SM90_ROWS ? p.n_row_blocks : (p.n_rows + ROWS - 1) / ROWS;
}

/* To the sequence that has the tile; whether one has. */
template <int ROWS> PTX_DEVICE bool find_tile(const decode_params &p, tile_cursor &c) {
    for (; c.seq < p.a.n_seqs; c.seq++) {
        const int32_t left = splits_of_length(p.a.lengths[c.seq]) - p.first_split;
        const int32_t n_splits = left < 0 ? 0 : left < p.n_splits ? left : p.n_splits;
        const int32_t end = c.first + n_splits * p.n_kv_heads * row_blocks_of<ROWS>(p);
        if (c.number < end) return true;
        c.first = end;
    }
    return false;
}

template <int ROWS, bool HAS_OPEN_PAGES>
PTX_DEVICE decode_tile tile_of(const decode_params &p, tile_cursor c) {
    decode_tile t;
    const int number = c.number - c.first;
    t.row_block = number % row_blocks_of<ROWS>(p);
    const int of_head = number / row_blocks_of<ROWS>(p);
    const int kv_head = of_head % p.n_kv_heads;
    t.split = p.first_split + of_head / p.n_kv_heads;
    t.seq = c.seq;
    const int64_t head = (int64_t)t.seq * p.n_kv_heads + kv_head;
    const int first_row = t.row_block * ROWS;
    t.tile = (head * p.n_row_blocks + first_row / ATTN_SM90_ROWS) * p.n_splits_max + t.split;
    const int left = p.n_rows - first_row;
    t.n_rows = left < ROWS ? left : ROWS;
    const int64_t length = p.a.lengths[t.seq];
    const int64_t first = (int64_t)t.split * SPLIT;
    t.n_splits = splits_of_length(length);
    t.first_seen = clip(length - p.a.n_queries + 1 - first);
    const int32_t n_keys = length <= first          ? 0
                           : length - first < SPLIT ? (int32_t)(length - first)
                                                    : SPLIT;
    const int n_pages = (n_keys + PAGE - 1) / PAGE;
    t.walk = {p.a.pages[t.seq] + (int64_t)t.split * SPLIT_PAGES, NULL, kv_head, n_keys, n_pages,
            n_pages, n_pages};
    if (HAS_OPEN_PAGES) open_pages_of(p, length, t, n_pages);
    return t;
}

/* Query token of a row of the tile; past the last row, the last one. */
template <int ROWS> PTX_DEVICE int token_of(const decode_params &p, const decode_tile &t, int row) {
    const int token = (t.row_block * ROWS + row) / p.group;
    return token < p.a.n_queries ? token : p.a.n_queries - 1;
}

/* (token, head) of a row, counted through all sequences'. */
template <int ROWS> PTX_DEVICE int64_t place_of(const decode_params &p, const decode_tile &t, int row) {
    return place_of_row(p, t.seq, t.walk.kv_head, t.row_block * ROWS + row);
}

/* A row's state in scratch. */
template <int ROWS> PTX_DEVICE int64_t state_of(const decode_params &p, const decode_tile &t, int row) {
    return t.tile * p.n_block_rows + t.row_block * ROWS % ATTN_SM90_ROWS + row;
}

#endif
