/* Shards: every head, column and row belongs to exactly one rank, except KV heads that more ranks
 * than there are heads must copy; each rank holds the KV heads its query heads read.
 *
 * Method: all rank counts from 0 to 40 on the three GLM-4 geometries; those that divide are checked
 * index by index, the others must be refused with the counts that would do. The published table
 * (G = 4 over 8 ranks: rank r owns heads 4r.. and group r / 2) is checked literally. */
#include <stdio.h>
#include <string.h>

#include "parallel/parallel.h"

static int n_failed;

static void expect(bool is_true, const char *what, int n_ranks) {
    if (is_true) return;
    printf("FAIL with %d ranks: %s\n", n_ranks, what);
    n_failed++;
}

static void check_all_ranks(const par_widths *widths, int n_ranks) {
    int64_t heads = 0;
    int64_t ffn = 0;
    int64_t vocab = 0;
    const int group = widths->n_heads / widths->n_kv_heads;
    for (int rank = 0; rank < n_ranks; rank++) {
        par_shard s;
        expect(par_shard_make(widths, rank, n_ranks, &s) == RT_OK, rt_error_text(), n_ranks);
        expect(s.first_head == heads && s.first_ffn == ffn && s.first_vocab == vocab,
                "parts follow one another", n_ranks);
        heads += s.n_heads;
        ffn += s.n_ffn;
        vocab += s.n_vocab;
        for (int h = s.first_head; h < s.first_head + s.n_heads; h++)
            expect(h / group >= s.first_kv_head && h / group < s.first_kv_head + s.n_kv_heads,
                    "a query head's KV head is on its rank", n_ranks);
        expect(s.n_kv_heads * n_ranks == widths->n_kv_heads * s.kv_copies,
                "KV heads are held by kv_copies ranks each", n_ranks);
    }
    expect(heads == widths->n_heads && ffn == widths->ffn && vocab == widths->vocab,
            "the parts are the whole", n_ranks);
}

int main(void) {
    static const par_widths models[] = {
            {32, 2, 13696, 151552}, {32, 4, 13696, 151552}, {4, 2, 128, 272}};
    static const bool is_possible[3][9] = {
            {0, 1, 1, 0, 1, 0, 0, 0, 1}, {0, 1, 1, 0, 1, 0, 0, 0, 1}, {0, 1, 1, 0, 1, 0, 0, 0, 0}};
    for (int m = 0; m < 3; m++)
        for (int n = 0; n <= 40; n++) {
            par_shard s;
            const rt_status status = par_shard_make(&models[m], 0, n, &s);
            if (n <= 8) expect((status == RT_OK) == is_possible[m][n], "accepted or refused", n);
            if (status == RT_OK)
                check_all_ranks(&models[m], n);
            else
                expect(strstr(rt_error_text(), "possible here: 1, 2, 4") != NULL,
                        "the refusal lists what would do", n);
        }
    for (int rank = 0; rank < 8; rank++) {
        par_shard s;
        expect(par_shard_make(&models[1], rank, 8, &s) == RT_OK && s.first_head == 4 * rank &&
                        s.n_heads == 4 && s.first_kv_head == rank / 2 && s.n_kv_heads == 1 &&
                        s.kv_copies == 2,
                "8 ranks over 4 groups as published", 8);
    }
    return n_failed ? 1 : 0;
}
