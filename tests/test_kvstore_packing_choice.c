/* Pages are packed densely, unless the disk is faster than the threads that would have to decode that;
 * and whatever a store chooses or is told, what comes back is what went in.
 *
 * Method: the rule, by numbers on both sides of where it turns. Then stores that overflow, told and
 * not told how to pack: tokens are written, streamed back and compared, and by the bytes on their way it is seen
 * that what was asked for is what happens. */
#include "help_kv.h"
#include "kvstore/packing.h"
#include "kvstore/store_impl.h"

enum { LAYERS = 2, TOKENS = 4096, VALUE = 7 };

static void check_rule(void) {
    const double gb = 1e9;
    /* Half of two threads decode 1.5 GB/s of rows; at a ratio of 0.5 a disk of 0.75 GB/s brings as much. */
    kv_packing_facts facts = {.dense_ratio = 0.5,
            .dense_s = 1 / (1.5 * gb),
            .plain_s = 1 / (10 * gb),
            .n_threads = 2};
    facts.disk_bytes_s = 0.70 * gb;
    CHECK(kv_packing_for(&facts) == KV_PACK_DENSE);
    facts.disk_bytes_s = 0.80 * gb;
    CHECK(kv_packing_for(&facts) == KV_PACK_PLAIN);
    facts.n_threads = 4;
    CHECK(kv_packing_for(&facts) == KV_PACK_DENSE);
    facts.disk_bytes_s = 1e3 * gb;
    CHECK(kv_packing_for(&facts) == KV_PACK_PLAIN);
    facts.plain_s = facts.dense_s; /* nothing to gain */
    CHECK(kv_packing_for(&facts) == KV_PACK_DENSE);
    facts.plain_s = 0.0;
    facts.disk_bytes_s = 0.0; /* not known */
    CHECK(kv_packing_for(&facts) == KV_PACK_DENSE);
}

/* Bytes written, of TOKENS tokens in each layer. What is read is no measure: reading goes ahead, and how far is chance. */
static int64_t check_store(kv_packing_choice choice) {
    kv_config config = kvh_overflow_config(LAYERS, 64, 1000);
    config.overflow.extent_tokens = TOKENS / 2; /* runs of more than the least, one block */
    config.overflow.append_tokens = TOKENS / 4;
    config.host_bytes_max = kv_overflow_bytes(&config) + 4 * TOKENS * KVH_TOKEN_BYTES / 4;
    config.overflow.bytes_max = kv_overflow_disk_bytes(&config, 8 * TOKENS);
    config.overflow.packing = choice;
    kv_store *store = NULL;
    kv_seq *seq = NULL;
    CHECK(kv_store_open(&config, &store) == RT_OK);
    CHECK(kv_seq_create(store, 4 * TOKENS, &seq) == RT_OK);
    for (int i = 0; i < 4; i++) kvh_append(store, seq, LAYERS, TOKENS / 4, VALUE);
    for (int32_t layer = 0; layer < LAYERS; layer++) {
        uint64_t values[TOKENS];
        kvh_read_all(store, seq, layer, values);
        for (int64_t pos = 0; pos < TOKENS; pos++) CHECK(values[pos] == VALUE + (uint64_t)pos);
    }
    CHECK(store->staging.chooses_packing == false);
    const kv_stats stats = kv_store_stats(store);
    kv_seq_free(seq);
    kv_store_close(store);
    CHECK(stats.bytes_read > 0);
    return stats.bytes_written;
}

int main(void) {
    check_rule();
    const int64_t dense = check_store(KV_PACKING_DENSE);
    const int64_t plain = check_store(KV_PACKING_PLAIN);
    const int64_t chosen = check_store(KV_PACKING_CHOOSE);
    (void)printf("written: dense %lld, plain %lld, chosen %lld bytes\n", (long long)dense,
            (long long)plain, (long long)chosen);
    CHECK(dense > 0 && dense < plain);
    /* One that chooses writes the first of its four extents both ways. */
    CHECK(chosen >= dense && chosen <= plain + dense / 4);
    return 0;
}
