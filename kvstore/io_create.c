/* Which engine a kv_io is over. */
#include <stdio.h>
#include <unistd.h>

#include "io_inside.h"
#include "runtime/base/log.h"
#include "runtime/base/memory.h"

static void set_depths(kv_io *io, const kv_io_config *config) {
    static const int32_t usual[KV_IO_URGENCIES] = {16, 8, 8};
    int32_t sum = 0;
    for (int urgency = 0; urgency < KV_IO_URGENCIES; urgency++) {
        io->depth[urgency] = config->depth[urgency] ? config->depth[urgency] : usual[urgency];
        rt_assert(io->depth[urgency] > 0);
        sum += io->depth[urgency];
    }
    rt_assert(sum <= KV_IO_DEPTH_MAX);
}

rt_status kv_io_create_on(kv_io_engine engine, const kv_io_config *config, kv_io **out) {
    kv_io *io = NULL;
    const rt_status status = rt_calloc(1, sizeof *io, "disk I/O", &io);
    if (status != RT_OK) {
        engine.table->free(engine.self);
        return status;
    }
    io->engine = engine;
    io->owner = getpid();
    io->looked_at = rt_now();
    io->timeout_s = config->timeout_s;
    set_depths(io, config);
    *out = io;
    return RT_OK;
}

static rt_status create_pread(const kv_io_config *config, const char *reason, kv_io **out) {
    kv_io_engine engine;
    RT_TRY(kv_io_pread_create(KV_IO_DEPTH_MAX, &engine));
    RT_TRY(kv_io_create_on(engine, config, out));
    (void)snprintf((*out)->description, KV_IO_DESCRIPTION, "pread%s%s", *reason ? ", because " : "",
            reason);
    return RT_OK;
}

rt_status kv_io_create(const kv_io_config *config, kv_io **out) {
    if (config->mode == KV_IO_PREAD) return create_pread(config, "", out);
    kv_io_engine engine;
    const rt_status status = kv_io_uring_create(KV_IO_DEPTH_MAX, &engine);
    if (status == RT_EUNSUPPORTED && config->mode == KV_IO_AUTO) {
        char reason[KV_IO_DESCRIPTION];
        (void)snprintf(reason, sizeof reason, "%s", rt_error_text());
        return create_pread(config, reason, out);
    }
    if (status != RT_OK) return status;
    RT_TRY(kv_io_create_on(engine, config, out));
    (void)snprintf((*out)->description, KV_IO_DESCRIPTION, "io_uring");
    return RT_OK;
}

const char *kv_io_describe(const kv_io *io) {
    return io->description;
}

bool kv_io_lend(kv_io *io, void *base, int64_t n_bytes) {
    return io->engine.table->lend(io->engine.self, base, n_bytes) == 0;
}
