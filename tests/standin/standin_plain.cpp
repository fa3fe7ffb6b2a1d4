#include "standin_plain.h"

#include <stdlib.h>

#include "tests/emu/ptx.h"

#include "attention/attn_decode_tiles.cuh"
#include "attention/attn_fp8.h"

namespace {

int64_t n_lists;
bool is_used = getenv("STANDIN_CUDA_PLAIN") && atoi(getenv("STANDIN_CUDA_PLAIN"));

/* ---- pages ----------------------------------------------------------------------------------- */

/* A KV head's keys and values of a page, as numbers. */
struct numbers {
    float k[PAGE][HEAD_DIM];
    float v[PAGE][HEAD_DIM];
};
numbers here;

float number_of(uint16_t bf16) {
    return ptx_bits_float((uint32_t)bf16 << 16);
}

void read_rows(const char *tile, int n, float (*to)[HEAD_DIM]) {
    for (int t = 0; t < n; t++)
        for (int chunk = 0; chunk < HEAD_DIM / CHUNK_NUMBERS; chunk++) {
            const uint16_t *from = (const uint16_t *)(tile + tile_at(t, chunk, TILE_HALF_BYTES));
            for (int i = 0; i < CHUNK_NUMBERS; i++)
                to[t][chunk * CHUNK_NUMBERS + i] = number_of(from[i]);
        }
}

/* The first n tokens of a bf16 page: what is behind them nobody has written. */
void read_page(const void *page, int kv_head, int n) {
    const char *keys = tile_of_keys(page, kv_head);
    emu_count_copied((int64_t)n * 2 * HEAD_DIM * 2);
    read_rows(keys, n, here.k);
    read_rows(keys + TILE_BYTES, n, here.v);
}

/* A page of e4m3. */
void read_codes(const void *page, int kv_head) {
    static float of_code[256];
    const uint8_t *head = (const uint8_t *)page + (int64_t)kv_head * ATTN_FP8_PLACE_BYTES;
    float scales[2];
    memcpy(scales, head + ATTN_FP8_SCALES_AT, sizeof scales);
    emu_count_copied(ATTN_FP8_HEAD_BYTES);
    for (int i = 0; i < 256 && of_code[1] == 0; i++)
        of_code[255 - i] = (float)attn_fp8_number((uint8_t)(255 - i));
    for (int t = 0; t < PAGE; t++)
        for (int d = 0; d < HEAD_DIM; d++) {
            const uint8_t *values = head + ATTN_FP8_TILE_BYTES + t / 16 * 2048 + t % 16;
            here.k[t][d] =
                    scales[0] * of_code[head[t * 128 + (((d / 16) ^ (t % 8)) * 16) + d % 16]];
            here.v[t][d] = scales[1] * of_code[values[d * 16]];
        }
}

/* ---- a row ----------------------------------------------------------------------------------- */

struct row_state {
    float max;
    float sum;
    float *out; /* [HEAD_DIM] */
};

/* As wide as this CPU's vectors are; nothing is fused, so that its bits are those of any. */
#define AS_WIDE_AS_MAY_BE __attribute__((target_clones("avx512f", "avx2", "default")))

inline __attribute__((always_inline)) float dot(const float *q, const float *k) {
    float part[16] = {0};
    float sum = 0;
    for (int d = 0; d < HEAD_DIM; d += 16)
        for (int i = 0; i < 16; i++) part[i] += q[d + i] * k[d + i];
    for (int i = 0; i < 16; i++) sum += part[i];
    return sum;
}

/* The page's first n keys and values. */
AS_WIDE_AS_MAY_BE void fold(const uint16_t *q_bf16, int n, row_state *row) {
    float weights[PAGE], q[HEAD_DIM], out[HEAD_DIM];
    float max = row->max;
    if (n <= 0) return;
    for (int d = 0; d < HEAD_DIM; d++) q[d] = number_of(q_bf16[d]);
    for (int t = 0; t < n; t++) {
        weights[t] = dot(q, here.k[t]) * 0.08838834764831845f;
        max = fmaxf(max, weights[t]);
    }
    const float factor = expf(row->max - max);
    row->max = max;
    row->sum *= factor;
    for (int d = 0; d < HEAD_DIM; d++) out[d] = row->out[d] * factor;
    for (int t = 0; t < n; t++) {
        const float weight = expf(weights[t] - max);
        row->sum += weight;
        for (int d = 0; d < HEAD_DIM; d++) out[d] += weight * here.v[t][d];
    }
    memcpy(row->out, out, sizeof out);
}

void clear(row_state *row) {
    row->max = -INFINITY;
    row->sum = 0;
    for (int d = 0; d < HEAD_DIM; d++) row->out[d] = 0;
}

void write_row(const row_state &row, uint16_t *attended) {
    for (int d = 0; d < HEAD_DIM; d++)
        attended[d] = (uint16_t)emu_bf16(row.sum > 0 ? row.out[d] / row.sum : 0);
}

/* ---- prefill --------------------------------------------------------------------------------- */

struct prefill_params {
    attn_cuda_prefill_args a;
    int32_t n_heads;
    int32_t group;
};

/* Of page `number`, counted from position 0, the first n keys, as query token t sees them. */
void fold_into_token(const prefill_params &p, int kv_head, int64_t t, int64_t number, int n) {
    const attn_cuda_prefill_args &a = p.a;
    const int64_t n_seen = a.pos + t + 1 - number * PAGE;
    for (int i = 0; i < p.group; i++) {
        const int64_t at = t * p.n_heads + kv_head * p.group + i;
        row_state row = {a.max[at], a.sum[at], a.out + at * HEAD_DIM};
        fold(a.q + t * a.q_stride + (kv_head * p.group + i) * HEAD_DIM,
                n_seen < n ? (int)n_seen : n, &row);
        a.max[at] = row.max;
        a.sum[at] = row.sum;
    }
}

/* Queries that lie in the page read its open form, where there is one, and those behind it the other. */
void prefill_page(const prefill_params &p, int kv_head, int64_t number, int n) {
    const attn_cuda_prefill_args &a = p.a;
    const int64_t first = number * PAGE - a.pos, end = first + PAGE; /* tokens that lie in it */
    const int64_t behind = a.open_pages ? end : first;
    if (a.open_pages && end > 0 && first < a.n_tokens) {
        read_page(a.open_pages[number - a.pos / PAGE], kv_head, n);
        for (int64_t t = first > 0 ? first : 0; t < end && t < a.n_tokens; t++)
            fold_into_token(p, kv_head, t, number, n);
    }
    if (behind >= a.n_tokens) return;
    read_page(a.pages[number - a.first_pos / PAGE], kv_head, n);
    for (int64_t t = behind > 0 ? behind : 0; t < a.n_tokens; t++)
        fold_into_token(p, kv_head, t, number, n);
}

void prefill_kernel(const prefill_params p) {
    const attn_cuda_prefill_args &a = p.a;
    if (ptx_thread() > 0) return;
    for (int64_t at = 0; a.is_first && at < a.n_tokens * p.n_heads; at++) {
        row_state row = {0, 0, a.out + at * HEAD_DIM};
        clear(&row);
        a.max[at] = row.max;
        a.sum[at] = row.sum;
    }
    for (int kv_head = 0; kv_head < p.n_heads / p.group; kv_head++)
        for (int64_t key = 0; key < a.n_keys; key += PAGE)
            prefill_page(p, kv_head, (a.first_pos + key) / PAGE,
                    a.n_keys - key < PAGE ? (int)(a.n_keys - key) : PAGE);
    for (int64_t at = 0; a.is_last && at < a.n_tokens * p.n_heads; at++) {
        write_row({a.max[at], a.sum[at], a.out + at * HEAD_DIM}, a.attended + at * HEAD_DIM);
        a.max[at] = a.sum[at] = NAN; /* there is no state then */
    }
}

/* ---- decode ---------------------------------------------------------------------------------- */

/* Of a tile (attn_decode_tiles.cuh) the sequences' rows share a KV head and the first one's pages. */
struct tile_rows {
    float out[ATTN_CUDA_DECODE_ROWS_MAX][HEAD_DIM];
    row_state row[ATTN_CUDA_DECODE_ROWS_MAX];
};
tile_rows tile;

/* Keys, up to its query token. */
int64_t n_seen_by(const decode_params &p, const row_place &place) {
    return p.a.lengths[place.seq] - p.a.n_queries + place.row / p.group + 1;
}

void attend_to_split(const decode_params &p, const tile_place &t) {
    const int32_t seq = seq_of(p, t.first);
    const int64_t length = p.a.lengths[seq];
    const int64_t open_page = (length - 1) / PAGE;
    const int n_rows = rows_of_tile(p, t);
    rt_assert(!p.a.open_pages || (length - p.a.n_queries) / PAGE == open_page);
    for (int r = 0; r < n_rows; r++) {
        tile.row[r].out = tile.out[r];
        clear(&tile.row[r]);
    }
    for (int64_t i = t.split * (SPLIT / PAGE);
            i < (t.split + 1) * (SPLIT / PAGE) && i * PAGE < length; i++) {
        const int n = length - i * PAGE < PAGE ? (int)(length - i * PAGE) : PAGE;
        if (p.a.open_pages && i == open_page)
            read_page(p.a.open_pages[seq][0], t.kv_head, n);
        else if (p.a.open_pages)
            read_codes(p.a.pages[seq][i], t.kv_head);
        else
            read_page(p.a.pages[seq][i], t.kv_head, n);
        for (int r = 0; r < n_rows; r++) {
            const row_place place = place_of_row(p, t, r);
            const int64_t n_seen = n_seen_by(p, place) - i * PAGE;
            fold(query_of(p, place, t.kv_head), n_seen < n ? (int)n_seen : n, &tile.row[r]);
        }
    }
}

void store_split(const decode_params &p, const tile_place &t) {
    for (int r = 0; r < rows_of_tile(p, t); r++) {
        const row_state &row = tile.row[r];
        const int64_t at = state_of(p, place_of_row(p, t, r), t.kv_head, t.split);
        p.part_max[at] = row.max;
        p.part_sum[at] = row.sum;
        memcpy(p.part_out + at * HEAD_DIM, row.out, HEAD_DIM * sizeof *row.out);
    }
}

/* A row's splits, in order. */
void merge(const decode_params &p, const row_place &place, int kv_head, int n_splits) {
    float out[HEAD_DIM];
    row_state all = {0, 0, out};
    clear(&all);
    for (int split = 0; split < n_splits; split++) {
        const int64_t at = state_of(p, place, kv_head, split);
        const float max = fmaxf(all.max, p.part_max[at]);
        const float old = expf(all.max - max), added = expf(p.part_max[at] - max);
        all.max = max;
        all.sum = all.sum * old + p.part_sum[at] * added;
        for (int d = 0; d < HEAD_DIM; d++)
            out[d] = out[d] * old + p.part_out[at * HEAD_DIM + d] * added;
    }
    write_row(all, p.a.attended + token_head_of(p, place, kv_head) * HEAD_DIM);
}

/* Each of the tile's sequences takes a ticket: the last tile of its splits merges them all. */
void take_tickets(const decode_params &p, const tile_place &t) {
    for (int i = 0; i < t.n_seqs; i++) {
        const int32_t seq = seq_of(p, t.first + i);
        const int n_splits = splits_of_length(p.a.lengths[seq]);
        uint32_t *ticket = p.tickets + (int64_t)seq * p.n_kv_heads + t.kv_head;
        if (++*ticket < (uint32_t)(n_splits * p.tile_blocks)) continue;
        *ticket = 0;
        for (int row = 0; row < p.n_rows; row++) merge(p, {seq, row}, t.kv_head, n_splits);
    }
}

/* A GPU takes tiles in the order that it likes: here from the last to the first. */
void decode_kernel(const decode_params p) {
    if (ptx_thread() > 0) return;
    for (int64_t number = tiles_max(p) - 1; number >= 0; number--) {
        tile_cursor c = {(int32_t)number, 0, 0};
        if (!find_tile(p, c)) continue;
        const tile_place t = place_of_tile(p, c);
        attend_to_split(p, t);
        store_split(p, t);
        take_tickets(p, t);
    }
}

/* ---- launches -------------------------------------------------------------------------------- */

template <typename PARAMS>
rt_status launch(void (*kernel)(const PARAMS), const PARAMS &params, rt_stream stream) {
    const char *why = ptx_launch(kernel, {1, 1, WARP, 0}, (cudaStream_t)stream, params);
    return why ? rt_fail(RT_EDEVICE, "attention: %s", why) : RT_OK;
}

rt_status prefill(const attn_shape *shape, const attn_cuda_prefill_args *args, rt_stream stream) {
    return launch(
            prefill_kernel, {*args, shape->n_heads, shape->n_heads / shape->n_kv_heads}, stream);
}

rt_status decode(const attn_shape *shape, const attn_cuda_decode_args *args, rt_stream stream) {
    decode_params params = {};
    if (args->n_seqs == 0) return RT_OK;
    n_lists += args->passes != NULL;
    const int32_t n_rows = args->n_queries * (shape->n_heads / shape->n_kv_heads);
    set_params(shape, args, attn_sm80_block_rows(rows_together(shape, args), false),
            attn_sm80_row_blocks(n_rows, false), attn_sm80_block_rows(n_rows, false), &params);
    return launch(decode_kernel, params, stream);
}

} // namespace

extern "C" {

void standin_plain_use(bool is_plain) {
    is_used = is_plain;
}

int64_t standin_plain_lists(void) {
    return n_lists;
}

/* The linker's names: __wrap_x is called for x, which __real_x is then. */
#define PLAINLY(name, args_type, plain)                                                         \
    rt_status __real_##name(const attn_shape *shape, const args_type *args, rt_stream stream);  \
    rt_status __wrap_##name(const attn_shape *shape, const args_type *args, rt_stream stream) { \
        return is_used ? plain(shape, args, stream) : __real_##name(shape, args, stream);       \
    }
PLAINLY(attn_cuda_prefill_sm80, attn_cuda_prefill_args, prefill)
PLAINLY(attn_cuda_prefill_sm90, attn_cuda_prefill_args, prefill)
PLAINLY(attn_cuda_decode_sm80, attn_cuda_decode_args, decode)
PLAINLY(attn_cuda_decode_sm90, attn_cuda_decode_args, decode)

} // extern "C"
