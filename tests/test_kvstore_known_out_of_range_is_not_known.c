/* What is known of a segment that no segment can be like is not known, though its checksum is right: it is looked into.
 *
 * Method: briefs with one number each that cannot be, between good ones; written as the file has them, and read. */
#include <stdlib.h>

#include "help_kv.h"
#include "kvstore/segment_format.h"
#include "kvstore/vault_briefs.h"

static kv_brief brief_of(uint8_t number) {
    return (kv_brief){.chain = {{number}},
            .first_pos = 3 * KV_SEGMENT_TOKENS,
            .bytes = 1 << 20,
            .n_tokens = KV_SEGMENT_TOKENS};
}

int main(void) {
    enum { N = 12 };
    kv_brief all[N];
    kv_briefs read = {0};
    char *text = NULL;
    int64_t n_bytes = 0;
    for (int i = 0; i < N; i++) all[i] = brief_of((uint8_t)i);
    all[1].n_tokens = KV_SEGMENT_TOKENS + 1;
    all[2].n_tokens = 0;
    all[3].n_tokens = INT32_MIN;
    all[4].first_pos = -KV_SEGMENT_TOKENS;
    all[5].first_pos = 1;
    all[6].first_pos = INT64_MAX / KV_SEGMENT_TOKENS * KV_SEGMENT_TOKENS;
    all[7].bytes = INT64_MAX;
    all[8].bytes = INT64_MIN;
    all[9].n_tokens = 1;
    all[10].bytes = KV_SIZE_UNKNOWN;
    all[11].first_pos = 0;
    CHECK(kv_briefs_format(all, N, &text, &n_bytes) == RT_OK);
    CHECK(kv_briefs_parse(&read, text, n_bytes) == RT_OK);
    for (int i = 0; i < N; i++)
        CHECK((kv_briefs_find(&read, &all[i].chain, 0) != NULL) == (i == 0 || i > 8));
    kv_briefs_free(&read);
    free(text);
    return 0;
}
