/* More cells in memory than there is memory to list them: an error, not the end of the program.
 *
 * Method: ask for 2^60 of them, whose list no address space holds. */
#include "help_kv.h"
#include "help_kv_memfs.h"
#include "kvstore/scratch.h"

/* Sanitizers else end a program that asks for too much. */
const char *__asan_default_options(void);
const char *__tsan_default_options(void);

const char *__asan_default_options(void) {
    return "allocator_may_return_null=1";
}

const char *__tsan_default_options(void) {
    return "allocator_may_return_null=1";
}

int main(void) {
    const char *const dirs[] = {"/"};
    const kv_host_cells host = {.bytes = KV_IO_ALIGN, .n = INT64_C(1) << 60};
    kvh_memfs *fs = kvh_memfs_new();
    kv_io *io = kvh_memfs_io(fs);
    kv_scratch *scratch = NULL;
    CHECK(kv_scratch_open(io, dirs, 1, KV_IO_ALIGN, KV_IO_ALIGN, &host, &scratch) == RT_ENOMEM);
    CHECK(!scratch && kv_io_close(io) == RT_OK);
    kvh_memfs_free(fs);
    return 0;
}
