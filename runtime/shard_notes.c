#include "shard_notes.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memstream.h"
#include "ranks.h"

enum { LINE_BYTES = 1024 };
static const char key[] = "shard=";

static bool is_split(const glm_engine *engine) {
    return engine->part.n_kv_heads < engine->config.n_kv_heads;
}

static void write_line(const glm_engine *engine, char line[LINE_BYTES]) {
    const par_shard *s = &engine->shard;
    (void)snprintf(line, LINE_BYTES,
            "%s%" PRId32 "-%" PRId32 "of%" PRId32 " rank=%d host=%s dir=%s", key, s->first_kv_head,
            s->first_kv_head + s->n_kv_heads - 1, engine->config.n_kv_heads, s->rank,
            engine->comm->hosts[s->rank], engine->kv_dirs[0]);
    for (char *c = line; *c; c++)
        if ((unsigned char)*c < 0x20) *c = '?';
}

static bool is_shard_line(const char *line) {
    return strncmp(line, key, sizeof key - 1) == 0;
}

static void copy_other_lines(FILE *to, const char *note) {
    for (const char *line = note; *line; line += *line == '\n') {
        const size_t n = strcspn(line, "\n");
        if (n > 0 && !is_shard_line(line)) (void)fprintf(to, "%.*s\n", (int)n, line);
        line += n;
    }
}

/* *out, for free(): the note, with the lines all[n_ranks][LINE_BYTES] instead of those that it has. */
static rt_status write_note(
        const glm_engine *engine, const char *note, const char *all, char **out) {
    size_t n_bytes = 0;
    FILE *to = rt_memstream_open(out, &n_bytes);
    if (to) {
        copy_other_lines(to, note ? note : "");
        for (int32_t r = 0; r < engine->comm->n_ranks && is_split(engine); r++)
            (void)fprintf(to, "%.*s\n", LINE_BYTES - 1, all + (size_t)r * LINE_BYTES);
    }
    return rt_memstream_close(to, out) ? RT_OK
                                       : rt_fail(RT_ENOMEM, "keep: no memory for a book's note");
}

/* Before and after ranks share their lines they agree: one without memory must not leave the others waiting. */
rt_status glm_shards_note(glm_engine *engine, const char *note, char **out) {
    char mine[LINE_BYTES] = "";
    char *all = NULL;
    par_comm *comm = engine->comm;
    *out = NULL;
    if (!is_split(engine) && !(note && strstr(note, key))) return RT_OK;
    if (is_split(engine)) write_line(engine, mine);
    rt_status status = rt_calloc(comm->n_ranks, LINE_BYTES, "where shards are", &all);
    status = glm_step_agree(engine, status);
    if (status == RT_OK) status = comm->share(comm, mine, LINE_BYTES, all);
    if (status == RT_OK) status = glm_step_agree(engine, write_note(engine, note, all, out));
    if (status != RT_OK) {
        free(*out);
        *out = NULL;
    }
    free(all);
    return status;
}

/* ---- reading --------------------------------------------------------------------------------- */

typedef struct shard_line {
    int first, last, all; /* KV heads */
    int rank;
    char host[PAR_NAME_BYTES];
    char dir[LINE_BYTES];
} shard_line;

/* The line of a note that tells where a KV head is. */
static bool find_line(const char *note, int32_t head, shard_line *out) {
    for (const char *line = note; line && *line;
            line += strcspn(line, "\n"), line += *line == '\n') {
        *out = (shard_line){0};
        if (is_shard_line(line) &&
                sscanf(line, "shard=%d-%dof%d rank=%d host=%63s dir=%1023[^\n]", &out->first,
                        &out->last, &out->all, &out->rank, out->host, out->dir) == 6 &&
                head >= out->first && head <= out->last)
            return true;
    }
    return false;
}

static const char advice[] = "which is not readable here or not in --kv-disk-dir";

rt_status glm_shards_require(
        glm_engine *engine, const int32_t *ids, int64_t n_ids, const char *note, const char *dir) {
    const int32_t n_all = engine->config.n_kv_heads;
    int32_t head = -1;
    bool is_seen = false;
    shard_line at;
    RT_TRY(kv_store_lacks(engine->store, ids, n_ids, &head));
    if (head < 0) return RT_OK;
    if (!find_line(note, head, &at)) { /* written by ranks that hold all: rank 0's is one */
        at = (shard_line){.last = n_all - 1, .all = n_all};
        (void)snprintf(at.host, sizeof at.host, "%s", engine->comm->hosts[0]);
        (void)snprintf(at.dir, sizeof at.dir, "%s", dir ? dir : "");
    }
    RT_TRY(kv_store_sees(engine->store, ids, n_ids, at.first, at.last - at.first + 1, &is_seen));
    if (is_seen) return RT_OK;
    return rt_fail(RT_ECORRUPT,
            "the book's KV heads %d to %d of %d are with rank %d on %s in %s, %s", at.first,
            at.last, at.all, at.rank, at.host, at.dir, advice);
}

rt_status glm_shards_explain(const char *note) {
    char text[LINE_BYTES];
    int head = -1;
    shard_line at;
    (void)snprintf(text, sizeof text, "%s", rt_error_text());
    const char *found = strstr(text, "KV head ");
    if (!found || sscanf(found, "KV head %d", &head) != 1 || !find_line(note, head, &at))
        return rt_fail(RT_ECORRUPT, "%s", text);
    return rt_fail(RT_ECORRUPT, "%s; its KV heads %d to %d of %d are with rank %d on %s in %s, %s",
            text, at.first, at.last, at.all, at.rank, at.host, at.dir, advice);
}
