#include "parallel.h"

#include <inttypes.h>
#include <stdio.h>

/* KV heads are divided among the ranks, or ranks among the KV heads. */
static bool divides_heads(const par_widths *widths, int32_t n_ranks) {
    return widths->n_heads % n_ranks == 0 &&
           (widths->n_kv_heads % n_ranks == 0 || n_ranks % widths->n_kv_heads == 0);
}

static bool divides(const par_widths *widths, int32_t n_ranks) {
    return divides_heads(widths, n_ranks) && widths->ffn % n_ranks == 0 &&
           widths->vocab % n_ranks == 0;
}

/* "1, 2, 4 and 8", the rank counts this model can have. */
static void list_counts(const par_widths *widths, char *text, size_t text_bytes) {
    size_t used = 0;
    for (int32_t n = 1; n <= widths->n_heads && used < text_bytes; n++)
        if (divides(widths, n))
            used += (size_t)snprintf(
                    text + used, text_bytes - used, "%s%" PRId32, n == 1 ? "" : ", ", n);
}

static rt_status refuse(const par_widths *widths, int32_t n_ranks) {
    char counts[128] = "";
    list_counts(widths, counts, sizeof counts);
    if (n_ranks <= 0)
        return rt_fail(
                RT_EUSAGE, "parallel: %" PRId32 " ranks; possible here: %s", n_ranks, counts);
    if (!divides_heads(widths, n_ranks))
        return rt_fail(RT_EUSAGE,
                "parallel: %" PRId32 " ranks cannot share %" PRId32 " query heads over %" PRId32
                " KV heads evenly; possible here: %s",
                n_ranks, widths->n_heads, widths->n_kv_heads, counts);
    const bool is_ffn = widths->ffn % n_ranks != 0;
    return rt_fail(RT_EUSAGE,
            "parallel: %" PRId32 " ranks do not divide the %s width %" PRId64 "; possible here: %s",
            n_ranks, is_ffn ? "MLP" : "vocabulary", is_ffn ? widths->ffn : widths->vocab, counts);
}

rt_status par_shard_make(const par_widths *widths, int32_t rank, int32_t n_ranks, par_shard *out) {
    if (n_ranks <= 0 || n_ranks > widths->n_heads || !divides(widths, n_ranks))
        return refuse(widths, n_ranks);
    rt_assert(rank >= 0 && rank < n_ranks);
    const int32_t copies = n_ranks > widths->n_kv_heads ? n_ranks / widths->n_kv_heads : 1;
    const int32_t kv_parts = n_ranks / copies;
    par_shard shard = {.rank = rank, .n_ranks = n_ranks, .kv_copies = copies};
    shard.n_heads = widths->n_heads / n_ranks;
    shard.first_head = rank * shard.n_heads;
    shard.n_kv_heads = widths->n_kv_heads / kv_parts;
    shard.first_kv_head = rank / copies * shard.n_kv_heads;
    shard.n_ffn = widths->ffn / n_ranks;
    shard.first_ffn = rank * shard.n_ffn;
    shard.n_vocab = widths->vocab / n_ranks;
    shard.first_vocab = rank * shard.n_vocab;
    *out = shard;
    return RT_OK;
}
