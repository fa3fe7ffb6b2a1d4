/* Decode for Hopper: what pages a tile walks over (attn_decode_tiles.cuh). Tiles are dealt to the blocks in turn, of
 * bf16 pages there and back (next_tile()), those that share pages side by side. */
#ifndef ATTN_DECODE_TILES_SM90_CUH
#define ATTN_DECODE_TILES_SM90_CUH

#include "attn_merge_sm90.cuh"
#include "attn_sm90.cuh"

enum { SPLIT_PAGES = SPLIT / PAGE };
static_assert(SPLIT % PAGE == 0, "a split is whole pages");

/* What a tile is. Keys are counted from the start of the split, and as its first sequence sees them: where there are
 * others, all see all of them. */
struct decode_tile : tile_place {
    int32_t n_splits; /* of that sequence */
    int32_t n_rows;
    int32_t first_seen; /* keys that query token 0 sees, clipped to 2 SPLIT; each later one sees one more */
    page_walk walk;
};

PTX_DEVICE int clip_pages(int64_t n_pages, int n_max) {
    return n_pages < 0 ? 0 : n_pages < n_max ? (int)n_pages : n_max;
}

/* Of n_pages pages of a split: e4m3 ones, those before the last query token's, and the one or two in which the
 * query tokens lie. */
PTX_DEVICE void open_pages_of(
        const decode_params &p, int32_t seq, int64_t length, decode_tile &t, int n_pages) {
    const int64_t split_page = (int64_t)t.split * SPLIT_PAGES;
    const int64_t first = (length - p.a.n_queries) / PAGE - split_page;
    const int64_t last = (length - 1) / PAGE - split_page;
    t.walk.n_closed = clip_pages(last, n_pages);
    t.walk.first_open = clip_pages(first, n_pages);
    t.walk.open_pages = p.a.open_pages[seq] + (t.walk.first_open - first);
    t.walk.n_steps = t.walk.n_closed + clip_pages(last + 1, n_pages) - t.walk.first_open;
}

template <bool HAS_OPEN_PAGES>
PTX_DEVICE decode_tile tile_of(const decode_params &p, const tile_cursor &c) {
    decode_tile t;
    static_cast<tile_place &>(t) = place_of_tile(p, c);
    const int32_t seq = seq_of(p, t.first);
    const int64_t length = p.a.lengths[seq];
    const int64_t first = (int64_t)t.split * SPLIT;
    t.n_rows = rows_of_tile(p, t);
    t.n_splits = splits_of_length(length);
    t.first_seen = clip_to_split(length - p.a.n_queries + 1 - first);
    const int32_t n_keys = length <= first          ? 0
                           : length - first < SPLIT ? (int32_t)(length - first)
                                                    : SPLIT;
    const int n_pages = (n_keys + PAGE - 1) / PAGE;
    t.walk = {p.a.pages[seq] + (int64_t)t.split * SPLIT_PAGES, NULL, t.kv_head, n_keys, n_pages,
            n_pages, n_pages};
    if (HAS_OPEN_PAGES) open_pages_of(p, seq, length, t, n_pages);
    return t;
}

/* Query token of a row of the tile; past the last row, the last one. */
PTX_DEVICE int token_of(const decode_params &p, const tile_place &t, int row) {
    const int token = (t.row_block * p.tile_rows + row) / p.group;
    return token < p.a.n_queries ? token : p.a.n_queries - 1;
}

/* A row of the tile: its (token, head), counted through all sequences'. */
PTX_DEVICE int64_t place_of(const decode_params &p, const tile_place &t, int row) {
    return token_head_of(p, place_of_row(p, t, row), t.kv_head);
}

/* A row's ticket, on which its splits are counted. */
PTX_DEVICE int32_t ticket_of(const decode_params &p, const row_place &row, int32_t kv_head) {
    return (row.seq * p.n_kv_heads + kv_head) * p.n_rows + row.row;
}

#endif
