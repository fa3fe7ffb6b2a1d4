/* Of many segments those go that the definition chooses: again and again, of those that nothing stands on, the one of the
 * lowest cost to compute again x how lately it was used / bytes.
 *
 * Method: trees of random shape, full and short segments of random ages. Room is made in a few steps, of many segments
 * each; the definition, which looks at all of them for each that goes, tells who is left. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "help_kv_vault.h"
#include "help_random.h"
#include "kvstore/vault_space.h"

enum { N = KV_SEGMENT_TOKENS, SEGMENTS = 60, SHORT = 128, STEPS = 3, DEPTH_MAX = 4 };

typedef struct node {
    int parent; /* -1: none */
    int depth;
    bool is_short; /* nothing stands on it */
    kv_hash chain;
    char path[600];
    int64_t bytes;
    int64_t age_s;
    bool is_gone;
} node;

static double score(const node *n) {
    const double n_tokens = n->is_short ? SHORT : N;
    const double cost = n_tokens * (1 + (n->depth * (double)N + n_tokens / 2) / 25000);
    return cost / (1 + (double)n->age_s / 3600) / (double)n->bytes;
}

static bool has_child(const node *nodes, int i) {
    for (int j = 0; j < SEGMENTS; j++)
        if (nodes[j].parent == i && !nodes[j].is_gone) return true;
    return false;
}

static int64_t remove_until(node *nodes, int64_t used, int64_t bytes_max) {
    while (used > bytes_max) {
        int best = -1;
        for (int i = 0; i < SEGMENTS; i++)
            if (!nodes[i].is_gone && !has_child(nodes, i) &&
                    (best < 0 || score(&nodes[i]) < score(&nodes[best])))
                best = i;
        if (best < 0) return used;
        nodes[best].is_gone = true;
        used -= nodes[best].bytes;
    }
    return used;
}

static void make(kvh_vault *v, uint64_t *random, node *nodes) {
    for (int i = 0; i < SEGMENTS; i++) {
        node *n = &nodes[i];
        n->parent = i == 0 ? -1 : (int)random_below(random, i);
        if (n->parent >= 0 && (nodes[n->parent].is_short || nodes[n->parent].depth == DEPTH_MAX))
            n->parent = -1;
        n->depth = n->parent < 0 ? 0 : nodes[n->parent].depth + 1;
        n->is_short = i > 0 && random_below(random, 4) != 0;
        int32_t *ids = kvh_ids(100 + (uint64_t)i, N);
        CHECK(kvh_write_segment(v,
                      n->parent < 0 ? kv_vault_root(v->vault) : &nodes[n->parent].chain,
                      n->depth * (int64_t)N, ids, n->is_short ? SHORT : N, &n->chain) == RT_OK);
        free(ids);
        char hex[KV_HEX_BYTES], name[KV_HEX_BYTES + 8];
        (void)snprintf(name, sizeof name, "%s.kvs", kv_hash_hex(&n->chain, hex));
        (void)snprintf(n->path, sizeof n->path, "%s", kvh_only_file(v->dirs[0], name));
    }
}

/* Once all are there: whoever writes a child uses its parent. */
static void make_old(uint64_t *random, node *nodes) {
    const time_t now = time(NULL);
    for (int i = 0; i < SEGMENTS; i++) {
        node *n = &nodes[i];
        n->age_s = 3600 * (1 + random_below(random, 1000));
        const struct timespec then[2] = {{.tv_sec = now - n->age_s}, {.tv_sec = now - n->age_s}};
        struct stat info;
        CHECK(utimensat(AT_FDCWD, n->path, then, 0) == 0 && stat(n->path, &info) == 0);
        n->bytes = (int64_t)info.st_blocks * 512;
    }
}

static int64_t bytes_of_all(const node *nodes) {
    int64_t n_bytes = 0;
    for (int i = 0; i < SEGMENTS; i++) n_bytes += nodes[i].is_gone ? 0 : nodes[i].bytes;
    return n_bytes;
}

static void shrink(kv_io *io, const char *dir, int64_t bytes_max, kv_space_report *report) {
    kv_dirs dirs;
    CHECK(kv_dirs_open(io, &dir, 1, &dirs) == RT_OK && kv_dirs_lock(&dirs) == RT_OK);
    CHECK(kv_space_shrink(&dirs, bytes_max, report) == RT_OK);
    kv_dirs_unlock(&dirs);
    kv_dirs_close(&dirs);
}

int main(void) {
    const kv_io_config config = {.mode = KV_IO_PREAD};
    static node nodes[SEGMENTS];
    uint64_t random = 7;
    kv_io *io = NULL;
    kvh_vault v = kvh_vault_new(1);
    kvh_vault_open(&v, NULL);
    make(&v, &random, nodes);
    make_old(&random, nodes);
    kvh_vault_close(&v);
    CHECK(kv_io_create(&config, &io) == RT_OK);
    const int64_t all = bytes_of_all(nodes);
    for (int step = 1; step <= STEPS; step++) {
        kv_space_report report;
        int64_t n_gone = 0, n_before = 0;
        for (int i = 0; i < SEGMENTS; i++) n_before += nodes[i].is_gone;
        char vault[400];
        (void)snprintf(vault, sizeof vault, "%s/vault", v.dirs[0]);
        const int64_t bytes_max = step == STEPS ? 0 : all - step * all / STEPS;
        (void)remove_until(nodes, kvh_du(vault), bytes_max);
        shrink(io, v.dirs[0], bytes_max, &report);
        for (int i = 0; i < SEGMENTS; i++) {
            n_gone += nodes[i].is_gone;
            CHECK((access(nodes[i].path, F_OK) != 0) == nodes[i].is_gone);
        }
        CHECK(report.n_evicted == n_gone - n_before && n_gone > n_before);
        CHECK(step == STEPS ? n_gone == SEGMENTS : n_gone < SEGMENTS);
    }
    CHECK(kv_io_close(io) == RT_OK);
    kvh_vault_remove(&v);
    return 0;
}
