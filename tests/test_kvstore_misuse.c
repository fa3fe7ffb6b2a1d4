/* Bugs of the caller stop the program, in every build: they are never carried on with.
 *
 * Method: each misuse in a child process, which must die by SIGABRT. */
#include <sys/wait.h>

#include "help_kv.h"
#include "help_kv_codec.h"

static kv_store *store;
static kv_seq *seq;
static kv_walk *walk;

static void fork_open(void) {
    kv_seq *child = NULL;
    CHECK(kv_span_begin(seq, NULL, 1) == RT_OK);
    (void)!kv_seq_fork(seq, 4, 8, &child);
}

static void fork_past_the_end(void) {
    kv_seq *child = NULL;
    (void)!kv_seq_fork(seq, 9, 16, &child);
}

static void begin_twice(void) {
    CHECK(kv_span_begin(seq, NULL, 1) == RT_OK);
    (void)!kv_span_begin(seq, NULL, 1);
}

static void commit_idle(void) {
    kv_span_commit(seq);
}

static void truncate_open(void) {
    CHECK(kv_span_begin(seq, NULL, 1) == RT_OK);
    kv_seq_truncate(seq, 4);
}

static void walk_past_the_span(void) {
    CHECK(kv_span_begin(seq, NULL, 2) == RT_OK);
    const int64_t end = 11;
    (void)!kv_walk_begin(store, 0, &seq, &end, 1, KV_WALK_ALL, &walk);
}

static void walk_of_no_layer(void) {
    const int64_t end = 4;
    (void)!kv_walk_begin(store, 2, &seq, &end, 1, KV_WALK_ALL, &walk);
}

static void commit_without_walks(void) {
    CHECK(kv_span_begin(seq, NULL, 1) == RT_OK);
    kv_span_commit(seq);
}

static void begin_walk(void) {
    static const int64_t end = 8;
    CHECK(kv_walk_begin(store, 0, &seq, &end, 1, KV_WALK_ALL, &walk) == RT_OK);
}

static void truncate_in_a_walk(void) {
    begin_walk();
    kv_seq_truncate(seq, 4);
}

static void walk_twice(void) {
    begin_walk();
    begin_walk();
}

static void end_twice(void) {
    begin_walk();
    kv_walk_end(walk);
    kv_walk_end(walk);
}

static void close_in_use(void) {
    kv_store_close(store);
}

static void check_stops(const char *name, void (*misuse)(void)) {
    const int how = kvh_end_of(misuse);
    if (WIFSIGNALED(how) && WTERMSIG(how) == SIGABRT) return;
    (void)fprintf(stderr, "%s: was carried on with (status %d)\n", name, how);
    exit(1);
}

int main(void) {
    store = kvh_open(2, 20);
    seq = kvh_seq(store, 16);
    kvh_append(store, seq, 2, 8, 100);
    check_stops("fork of an open sequence", fork_open);
    check_stops("fork past the end", fork_past_the_end);
    check_stops("begin twice", begin_twice);
    check_stops("commit of an idle sequence", commit_idle);
    check_stops("truncate of an open sequence", truncate_open);
    check_stops("a walk past the span", walk_past_the_span);
    check_stops("a walk of a layer that is not", walk_of_no_layer);
    check_stops("commit of a span no layer has", commit_without_walks);
    check_stops("truncate in a walk", truncate_in_a_walk);
    check_stops("two walks at once", walk_twice);
    check_stops("end twice", end_twice);
    check_stops("close with a sequence left", close_in_use);
    kv_seq_free(seq);
    kv_store_close(store);
    return 0;
}
