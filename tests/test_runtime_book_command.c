/* glm1m book lists, shows, verifies and removes books, and says so by exit code, table and JSON.
 *
 * Method: write books with a vault, run the program beside this one over their directory; wrong
 * names; a flipped bit in a run and in a manifest. */
#include <jansson.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "help_dir.h"
#include "help_kv_vault.h"

enum { N = KV_SEGMENT_TOKENS, PATH_BYTES = 4096, OUTPUT_BYTES = 16384 };

typedef struct outcome {
    int exit_code;
    char text[OUTPUT_BYTES]; /* both streams; standard output alone where `is_json` */
} outcome;

/* build/tests/this -> build/glm1m */
static void find_program(char path[PATH_BYTES]) {
    const ssize_t n = readlink("/proc/self/exe", path, PATH_BYTES - 16);
    CHECK(n > 0);
    path[n] = '\0';
    for (int i = 0; i < 2; i++) *strrchr(path, '/') = '\0';
    strcat(path, "/glm1m");
}

static outcome book(const kvh_vault *v, const char *arguments, bool is_json) {
    char program[PATH_BYTES];
    char command[3 * PATH_BYTES];
    outcome result = {0};
    find_program(program);
    (void)snprintf(command, sizeof command, "'%s' book %s --kv-disk-dir '%s' %s", program,
            arguments, v->dirs[0], is_json ? "--json 2>/dev/null" : "2>&1");
    FILE *pipe = popen(command, "r");
    CHECK(pipe != NULL);
    const size_t n = fread(result.text, 1, sizeof result.text - 1, pipe);
    result.text[n] = '\0';
    const int status = pclose(pipe);
    CHECK(WIFEXITED(status));
    result.exit_code = WEXITSTATUS(status);
    return result;
}

static void check(const kvh_vault *v, const char *arguments, int exit_code, const char *says) {
    const outcome result = book(v, arguments, false);
    if (result.exit_code == exit_code && strstr(result.text, says)) return;
    printf("book %s: exit %d, wanted %d and \"%s\":\n%s\n", arguments, result.exit_code, exit_code,
            says, result.text);
    exit(1);
}

static json_t *parse(const kvh_vault *v, const char *arguments, int exit_code) {
    const outcome result = book(v, arguments, true);
    CHECK(result.exit_code == exit_code);
    json_t *value = json_loads(result.text, 0, NULL);
    CHECK(value != NULL);
    return value;
}

static bool is_text(const json_t *object, const char *key, const char *expected) {
    const char *text = json_string_value(json_object_get(object, key));
    return text && strcmp(text, expected) == 0;
}

static int64_t number(const json_t *object, const char *key) {
    CHECK(json_is_integer(json_object_get(object, key)));
    return json_integer_value(json_object_get(object, key));
}

/* "war" of three segments, "peace" of the first one of them, and a segment no book holds. The path
 * of war's second segment and the place of a run in it come back. */
static void write_books(kvh_vault *v, char path[PATH_BYTES], int64_t *run_at) {
    kv_hash chains[3];
    kv_prefix prefix;
    int32_t *ids = kvh_ids(1, 3 * N);
    int32_t *others = kvh_ids(9, N);
    kvh_vault_open(v, NULL);
    CHECK(kvh_write_prefix(v, ids, 2 * N + 100, chains) == 3);
    CHECK(kvh_write_prefix(v, others, N, NULL) == 1);
    CHECK(kv_vault_write_book(v->vault, "war", chains, 3, 2 * N + 70,
                  "source=war.txt\nsource=two.txt\nsha256=00") == RT_OK);
    CHECK(kv_vault_write_book(v->vault, "peace", chains, 1, N, NULL) == RT_OK);
    CHECK(kv_vault_find(v->vault, ids, 2 * N, &prefix) == RT_OK && prefix.n_segments == 2);
    (void)snprintf(path, PATH_BYTES, "%s", kv_file_path(kv_segment_file(prefix.segments[1])));
    *run_at = kv_segment_layer(prefix.segments[1], 1)[0].offset;
    kv_prefix_free(&prefix);
    kvh_vault_close(v);
    free(others);
    free(ids);
}

static void check_empty(const kvh_vault *v) {
    check(v, "ls", 0, "no books in ");
    check(v, "verify", 0, "no books in ");
    check(v, "show war", 2, "there is no book war, and no other, in ");
    json_t *list = parse(v, "ls", 0);
    CHECK(json_is_array(list) && json_array_size(list) == 0);
    json_decref(list);
}

static void check_usage(const kvh_vault *v) {
    check(v, "", 2, "usage: glm1m book ls");
    check(v, "lst", 2, "\"lst\" is none of ls, show, verify, rm and gc");
    check(v, "show", 2, "book show needs a name");
    check(v, "gc war", 2, "book gc takes no name");
    check(v, "show a/b", 2, "a book's name");
    check(v, "show waar", 2, "did you mean war?");
    check(v, "rm something", 2, "but: peace, war;");
    check(v, "ls", 0, "2 books; ");
}

static void check_listing(const kvh_vault *v) {
    check(v, "ls", 0, "2 x 16, bf16, weights 01234567");
    check(v, "ls", 0, "war.txt and 1 more");
    check(v, "ls --json", 0, "2 books; "); /* the total is told, too */
    check(v, "show war", 0, "3, all present");
    check(v, "show war", 0, "  source           two.txt");
    check(v, "show war", 0, "  weights          0123456789abcdef");
    json_t *list = parse(v, "ls", 0);
    CHECK(json_array_size(list) == 2);
    const json_t *war = json_array_get(list, 1);
    CHECK(is_text(json_array_get(list, 0), "name", "peace") && is_text(war, "name", "war"));
    CHECK(number(war, "n_tokens") == 2 * N + 70 && number(war, "n_segments") == 3);
    CHECK(number(war, "n_missing") == 0 && number(war, "stored_bytes") > 0);
    CHECK(is_text(json_object_get(war, "fingerprint"), "hidden", "16"));
    CHECK(json_array_size(json_object_get(war, "note")) == 3);
    json_t *shown = parse(v, "show war", 0);
    CHECK(json_equal(shown, war));
    json_decref(shown);
    json_decref(list);
}

static void check_damage(const kvh_vault *v, const char *segment, int64_t run_at) {
    check(v, "verify", 0, "peace: 1 segments, 4 runs, ");
    check(v, "verify war", 0, "war: 3 segments, 12 runs, ");
    kvh_flip(segment, run_at + 100);
    json_t *list = parse(v, "verify", 5);
    CHECK(json_array_size(list) == 2 && number(json_array_get(list, 0), "n_bad") == 0);
    const json_t *war = json_array_get(list, 1);
    CHECK(number(war, "n_bad") == 1 && number(war, "n_segments") == 3);
    CHECK(strstr(json_string_value(json_object_get(war, "first_error")), "checksum"));
    json_decref(list);
    check(v, "verify", 5, "1 of 2 books damaged: ");
    check(v, "verify war", 5, "book war: segment 2 of 3 is missing"); /* put aside by the first */
    check(v, "verify peace", 0, "all good");
    check(v, "show war", 0, "3, 1 of them missing");
    check(v, "ls", 0, "(1 of 3 segments are missing)");
}

static void check_removal(const kvh_vault *v) {
    json_t *kept = parse(v, "gc --kv-disk-space 1G", 0);
    CHECK(number(kept, "n_removed") == 1); /* the damaged one */
    json_decref(kept);
    CHECK(kvh_count_files(v->dirs[0], ".kvs") == 3);
    json_t *report = parse(v, "gc", 0);
    CHECK(number(report, "n_removed") == 1);
    CHECK(number(report, "bytes_after") < number(report, "bytes_before"));
    json_decref(report);
    check(v, "rm war", 0, "removed war");
    check(v, "rm war", 2, "there is no book war in ");
    check(v, "gc", 0, "removed 1 files");
    check(v, "verify", 0, "peace: 1 segments");
}

static void check_damaged_manifest(const kvh_vault *v) {
    kvh_flip(kvh_only_file(v->dirs[0], "peace.book"), 40);
    check(v, "ls", 0, "peace  damaged: ");
    check(v, "show peace", 5, "peace");
    check(v, "verify", 5, "1 of 1 books damaged");
    json_t *list = parse(v, "ls", 0);
    CHECK(json_is_true(json_object_get(json_array_get(list, 0), "damaged")));
    json_decref(list);
    check(v, "rm peace", 0, "removed peace");
    check_empty(v);
}

int main(void) {
    kvh_vault v = kvh_vault_new(1);
    char segment[PATH_BYTES];
    int64_t run_at = 0;
    v.model = "layers=2\nhidden=16\nkv_dtype=bf16\nweights=0123456789abcdef\n";
    check_empty(&v);
    write_books(&v, segment, &run_at);
    check_usage(&v);
    check_listing(&v);
    check_damage(&v, segment, run_at);
    check_removal(&v);
    check_damaged_manifest(&v);
    help_remove_dir(v.dirs[0]);
    return 0;
}
