/* State that is being read makes way for nothing: what goes on with it may need room, and has nothing else to come back to
 * where it finds none. It makes way once it is read.
 *
 * Method: everything that may go is asked to while its records are open, and afterwards. */
#include "help_kv_memfs.h"
#include "help_kv_vault.h"
#include "kvstore/vault_inside.h"
#include "kvstore/vault_space.h"

static void shrink(kv_vault *vault) {
    kv_space_report report;
    CHECK(kv_dirs_lock(&vault->dirs) == RT_OK);
    CHECK(kv_space_shrink(&vault->dirs, 0, &report) == RT_OK);
    kv_dirs_unlock(&vault->dirs);
}

int main(void) {
    static const kv_hash key = {.bytes = {7}};
    kvh_vault v = kvh_vault_in_memory();
    kvh_memfs *fs = kvh_memfs_new();
    kv_records *records = NULL;
    const int64_t value = 5;
    int64_t read = 0, note = 0;
    bool is_there = false;
    kvh_vault_open(&v, kvh_memfs_io(fs));
    CHECK(kv_records_begin(v.vault, &key, kv_record_bytes(sizeof value), &records) == RT_OK);
    kv_records_add(records, &value, sizeof value);
    CHECK(kv_records_finish(records, &value, sizeof value) == RT_OK);
    CHECK(kv_records_open(v.vault, &key, &note, sizeof note, &records) == RT_OK && records);
    shrink(v.vault);
    CHECK(kvh_memfs_count(fs, ".state") == 1);
    CHECK(kv_records_read(records, &read, sizeof read, &is_there) == RT_OK);
    CHECK(is_there && read == value && note == value);
    kv_records_end(records);
    shrink(v.vault);
    CHECK(kvh_memfs_count(fs, ".state") == 0);
    kvh_vault_close(&v);
    kvh_memfs_free(fs);
    return 0;
}
