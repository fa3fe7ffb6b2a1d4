/* A tokenizer file that is not exactly understood is a bad model, and the message has a code and
 * names the file and the line, the key or the byte.
 *
 * Method: the files of a small tokenizer in both forms, damaged by tables of edits, by leaving out
 * each single byte, by cutting, and by too much of everything. */
#include "help_checkpoint.h"
#include "help_dir.h"
#include "runtime/tokenizer_files.h"

#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

static int n_failed;
static int n_cases;

/* Whether the error begins "tokenizer: CODE: "; any code where none is named. */
static bool has_code(const char *code) {
    static const char module[] = "tokenizer: ";
    const char *text = rt_error_text();
    if (strncmp(text, module, sizeof module - 1) != 0) return false;
    text += sizeof module - 1;
    const size_t n = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789");
    if (n < 4 || text[n] != ':') return false;
    return !code || (strlen(code) == n && memcmp(text, code, n) == 0);
}

/* says NULL: it must load. */
static void judge_coded(
        const char *name, const char *dir, const char *file, const char *says, const char *code) {
    glm_tokenizer *tokenizer = NULL;
    const rt_status status = glm_tokenizer_load(dir, &tokenizer);
    glm_tokenizer_free(tokenizer);
    n_cases++;
    if (!says && status == RT_OK) return;
    if (says && status == RT_EMODEL && has_code(code) && strstr(rt_error_text(), says) &&
            strstr(rt_error_text(), file))
        return;
    n_failed++;
    (void)printf("FAIL %s: wanted %s \"%s\", got %s: %s\n", name, code ? code : "",
            says ? says : "no error", rt_status_name(status),
            status == RT_OK ? "" : rt_error_text());
}

static void judge(const char *name, const char *dir, const char *file, const char *says) {
    judge_coded(name, dir, file, says, NULL);
}

typedef struct edit {
    const char *name;
    const char *from;
    const char *to;
    const char *says;
    const char *code; /* NULL where says is */
} edit;

static void try_edits(const char *dir, const char *file, const edit *edits, size_t n_edits) {
    int64_t n_bytes = 0;
    char *good = ckh_read(dir, file, &n_bytes);
    for (size_t i = 0; i < n_edits; i++) {
        ckh_write(dir, file, good, n_bytes);
        ckh_edit(dir, file, edits[i].from, edits[i].to);
        judge_coded(edits[i].name, dir, file, edits[i].says, edits[i].code);
    }
    ckh_write(dir, file, good, n_bytes);
    free(good);
}

#define N_OF(table) (sizeof(table) / sizeof *(table))

/* ---- tokenizer.model ------------------------------------------------------------------------- */

/* Line 66 is the letter A, line 67 is B; line 1 is the byte 0. */
#define LINE "\nQQ== 65\n"

static const edit model_edits[] = {
        {"unchanged", LINE, LINE, NULL, NULL},
        {"a character that is no base64", LINE, "\nQ!== 65\n", ":66: the token is not base64",
                "TK_BASE64"},
        {"the other base64", LINE, "\n-_== 65\n", ":66: the token is not base64", "TK_BASE64"},
        {"no padding", LINE, "\nQQ 65\n", ":66: the token is not base64", "TK_BASE64"},
        {"half the padding", LINE, "\nQQ= 65\n", ":66: the token is not base64", "TK_BASE64"},
        {"padding inside", LINE, "\nQ=Q= 65\n", ":66: the token is not base64", "TK_BASE64"},
        {"padding in front of more", LINE, "\nQQ==QQ== 65\n", ":66: the token is not base64",
                "TK_BASE64"},
        {"only padding", LINE, "\n==== 65\n", ":66: the token is not base64", "TK_BASE64"},
        {"bits left over", LINE, "\nQR== 65\n", ":66: the token is not base64", "TK_BASE64"},
        {"a CR", LINE, "\nQQ== 65\r\n", ":66: \"65\\x0d\" is not a rank", "TK_RANK"},
        {"an empty line", LINE, LINE "\n", ":67: no space", "TK_LINE"},
        {"no rank", LINE, "\nQQ==\n", ":66: no space", "TK_LINE"},
        {"an empty rank", LINE, "\nQQ== \n", ":66: \"\" is not a rank", "TK_RANK"},
        {"a negative rank", LINE, "\nQQ== -65\n", ":66: \"-65\" is not a rank", "TK_RANK"},
        {"a rank with a sign", LINE, "\nQQ== +65\n", ":66: \"+65\" is not a rank", "TK_RANK"},
        {"a rank in hexadecimal", LINE, "\nQQ== 0x41\n", ":66: \"0x41\" is not a rank", "TK_RANK"},
        {"a rank with a zero in front", LINE, "\nQQ== 065\n", ":66: \"065\" is not a rank",
                "TK_RANK"},
        {"a rank with a space in front", LINE, "\nQQ==  65\n", ":66: \" 65\" is not a rank",
                "TK_RANK"},
        {"a rank with a space behind", LINE, "\nQQ== 65 \n", ":66: \"65 \" is not a rank",
                "TK_RANK"},
        {"a rank with a fraction", LINE, "\nQQ== 65.0\n", ":66: \"65.0\" is not a rank", "TK_RANK"},
        {"a tab", LINE, "\nQQ==\t65\n", ":66: no space", "TK_LINE"},
        {"the same rank again", LINE, "\nQQ== 64\n", ":66: rank 64 where ranks", "TK_RANK_GAP"},
        {"a rank left out", LINE, "\nQQ== 66\n", ":66: rank 66 where ranks", "TK_RANK_GAP"},
        {"a rank above 2^32", LINE, "\nQQ== 4294967361\n", ":66: rank 4294967361 where ranks",
                "TK_RANK_GAP"},
        {"a rank above 2^64", LINE, "\nQQ== 18446744073709551681\n", "is not a rank", "TK_RANK"},
        {"the same bytes again", LINE, "\nQg== 65\n", ":67: the same bytes as line 66", "TK_DUP"},
        {"an empty token", LINE, "\n 65\n", ":66: the token is empty", "TK_EMPTY"},
        {"the token of two bytes in another's place", LINE, "\nQUE= 65\n",
                "the single byte 0x41 is not among the 256 tokens", "TK_BYTE_MISSING"},
        {"a byte order mark", "AA== 0\n",
                "\xef\xbb\xbf"
                "AA== 0\n",
                ":1: the token is not base64", "TK_BASE64"},
        {"a comment", "AA== 0\n", "# tokens\nAA== 0\n", ":1: the token is not base64", "TK_BASE64"},
        {"a terminal's commands", LINE, "\nQQ== \x1b[2J\n", ":66: \"\\x1b[2J\" is not a rank",
                "TK_RANK"},
        {"no line feed at the end", "/w== 255\n", "/w== 255", ":256: the line does not end",
                "TK_CUT"},
        {"one token more", "/w== 255\n", "/w== 255\n//8= 256\n", NULL, NULL},
};

/* A tokenizer of 256 bytes; its control tokens begin behind the room for more. */
static const char *make_model(void) {
    const char *dir = help_dir_in_memory();
    tokh_text text = {0};
    tokh_put_bytes(&text);
    ckh_write(dir, "tokenizer.model", text.bytes, text.n);
    tokh_write_config(dir, 1000);
    free(text.bytes);
    return dir;
}

static void try_missing_bytes(const char *dir) {
    for (int missing = 0; missing < 256; missing++) {
        tokh_text text = {0};
        char says[32];
        for (int byte = 0; byte < 256; byte++) {
            const char token[] = {(char)byte, 'x', 'y'};
            tokh_put_line(&text, token, byte == missing ? 3 : 1, byte);
        }
        (void)snprintf(says, sizeof says, "the single byte 0x%02x", (unsigned)missing);
        ckh_write(dir, "tokenizer.model", text.bytes, text.n);
        judge("a single byte is missing", dir, "tokenizer.model", says);
        free(text.bytes);
    }
}

static void try_long_tokens(const char *dir) {
    static const struct {
        int64_t n_bytes;
        const char *says;
    } lengths[] = {{4096, NULL}, {4097, ":257: a token of more than 4096 bytes"},
            {10000000, ":257: a token of more than 4096 bytes"}};
    for (size_t i = 0; i < N_OF(lengths); i++) {
        tokh_text text = {0};
        char *token = calloc((size_t)lengths[i].n_bytes, 1);
        CHECK(token);
        tokh_put_bytes(&text);
        tokh_put_line(&text, token, lengths[i].n_bytes, 256);
        ckh_write(dir, "tokenizer.model", text.bytes, text.n);
        judge("a long token", dir, "tokenizer.model", lengths[i].says);
        free(token);
        free(text.bytes);
    }
}

static void write_empty(const char *dir, const char *file, int64_t n_bytes) {
    char *path = ckh_path(dir, file);
    CHECK(truncate(path, 0) == 0 && truncate(path, n_bytes) == 0);
    free(path);
}

static void try_files(const char *dir, const char *file, const char *too_large) {
    char *path = ckh_path(dir, file);
    write_empty(dir, file, (64 << 20) + 1);
    judge("a file of 64 MiB and a byte", dir, file, "at most 67108864 are read");
    write_empty(dir, file, 1000000);
    judge("a million NULs", dir, file, too_large);
    static const char pointer[] = "version https://git-lfs.github.com/spec/v1\nsize 2623634\n";
    ckh_write(dir, file, pointer, sizeof pointer - 1);
    judge_coded("a Git LFS pointer", dir, file, "`git lfs pull` fetches it", "IO_LFS_POINTER");
    CHECK(unlink(path) == 0 && mkdir(path, 0700) == 0);
    judge("a directory", dir, file, "is not a regular file");
    CHECK(rmdir(path) == 0 && mkfifo(path, 0600) == 0);
    judge("a pipe nobody writes to", dir, file, "is not a regular file");
    CHECK(unlink(path) == 0);
    free(path);
}

static void try_cuts(const char *dir, const char *file, int64_t step) {
    int64_t n_bytes = 0;
    char *good = ckh_read(dir, file, &n_bytes);
    for (int64_t n = 0; n < n_bytes - 1; n += step) {
        ckh_write(dir, file, good, n);
        judge("a cut file", dir, file, "");
    }
    ckh_write(dir, file, good, n_bytes);
    free(good);
}

static void try_model(void) {
    const char *dir = make_model();
    try_edits(dir, "tokenizer.model", model_edits, N_OF(model_edits));
    try_cuts(dir, "tokenizer.model", 3);
    try_missing_bytes(dir);
    try_long_tokens(dir);
    tokh_text lines = {0};
    for (int i = 0; i <= GLM_TOKENS_MAX; i++) tokh_put(&lines, "AA== 0\n", 7);
    ckh_write(dir, "tokenizer.model", lines.bytes, lines.n);
    judge("a line too many", dir, "tokenizer.model", "1048577 lines, at most 1048576 are read");
    free(lines.bytes);
    try_files(dir, "tokenizer.model", ":1: the line does not end");
}

/* ---- tokenizer_config.json ------------------------------------------------------------------- */

#define SOP "\"1004\": {\"content\": \"<sop>\", \"lstrip\": false"

static const edit config_edits[] = {
        {"unchanged", SOP, SOP, NULL, NULL},
        {"no control tokens", "added_tokens_decoder", "something_else", NULL, NULL},
        {"an id that is a rank", "\"1004\"", "\"65\"", "id 65 is the rank of an ordinary token",
                "TK_ID_TAKEN"},
        {"the last id there may be", "\"1004\"", "\"16777215\"", NULL, NULL},
        {"an id beyond every vocabulary", "\"1004\"", "\"16777216\"", "id 16777216 is not within",
                "TK_ID"},
        {"an id of 2^32 + 1004", "\"1004\"", "\"4294968300\"", "id 4294968300 is not within",
                "TK_ID"},
        {"an id of 2^64 + 1004", "\"1004\"", "\"18446744073709552620\"", "the key is not an id",
                "TK_ID"},
        {"a negative id", "\"1004\"", "\"-1\"", "the key is not an id", "TK_ID"},
        {"an id in hexadecimal", "\"1004\"", "\"0x3ec\"", "the key is not an id", "TK_ID"},
        {"an id with a space", "\"1004\"", "\" 1004\"", "the key is not an id", "TK_ID"},
        {"an id with a zero in front", "\"1004\"", "\"01004\"", "the key is not an id", "TK_ID"},
        {"an id like a number in brackets", "\"1004\"", "\"<0x-1>\"", "the key is not an id",
                "TK_ID"},
        {"an empty id", "\"1004\"", "\"\"", "the key is not an id", "TK_ID"},
        {"the same id twice", "\"1004\"", "\"1003\"", "duplicate object key", "JSON_DUP_KEY"},
        {"the same text twice", "\"<sop>\"", "\"<eop>\"", "\"<eop>\" has id 1005", "TK_CONFLICT"},
        {"no text", SOP, "\"1004\": {\"lstrip\": false", "content is not a string", "TK_TYPE"},
        {"a text that is a number", "\"<sop>\"", "7", "content is not a string", "TK_TYPE"},
        {"an empty text", "\"<sop>\"", "\"\"", "a special token of 0 bytes", "TK_LENGTH"},
        {"a text with a NUL", "\"<sop>\"", "\"<s\\u0000op>\"", "JSON at byte ", "JSON_NUL"},
        {"stripping", SOP, "\"1004\": {\"content\": \"<sop>\", \"lstrip\": true",
                "lstrip must be false", "TK_FLAG"},
        {"stripping of no kind", SOP, "\"1004\": {\"content\": \"<sop>\", \"lstrip\": 0",
                "lstrip must be false", "TK_FLAG"},
        {"single words", SOP, SOP ", \"single_word\": true", "single_word must be false",
                "TK_FLAG"},
        {"an array of tokens", "\"added_tokens_decoder\": {",
                "\"added_tokens_decoder\": [], \"x\": {", "added_tokens_decoder is not an object",
                "TK_TYPE"},
        {"a token that is a string", "{\"added_tokens_decoder\": {",
                "{\"added_tokens_decoder\": {\"999\": \"<x>\", ", "content is not a string",
                "TK_TYPE"},
        {"not an object", "{\"added_tokens_decoder\": {", "[{\"added_tokens_decoder\": {",
                "JSON at byte ", "JSON_CUT"},
        {"a trailing comma", "}}\n", "},}\n", "JSON at byte ", "JSON_SYNTAX"},
        {"bad UTF-8", "<sop>", "<s\xc3op>", "unable to decode byte", "JSON_UTF8"},
        {"a lone surrogate", "<sop>", "<s\\ud800op>", "JSON at byte ", "JSON_SYNTAX"},
};

static void try_many_specials(const char *dir) {
    tokh_text text = {0};
    tokh_printf(&text, "{\"added_tokens_decoder\": {");
    for (int i = 0; i <= GLM_SPECIALS_MAX; i++)
        tokh_printf(&text, "%s\"%d\": {\"content\": \"<%d>\"}", i ? "," : "", 1000 + i, i);
    tokh_printf(&text, "}}");
    ckh_write(dir, "tokenizer_config.json", text.bytes, text.n);
    judge("too many control tokens", dir, "tokenizer_config.json", "more than 1024 special tokens");
    free(text.bytes);
    text = (tokh_text){0};
    tokh_printf(&text, "{\"added_tokens_decoder\": {\"1000\": {\"content\": \"%0257d\"}}}", 0);
    ckh_write(dir, "tokenizer_config.json", text.bytes, text.n);
    judge("a control token of 257 bytes", dir, "tokenizer_config.json",
            "a special token of 257 bytes");
    free(text.bytes);
    text = (tokh_text){0};
    tokh_printf(&text, "{\"a\":");
    for (int i = 0; i < 100000; i++) tokh_put(&text, "[", 1);
    ckh_write(dir, "tokenizer_config.json", text.bytes, text.n);
    judge("100,000 brackets", dir, "tokenizer_config.json", "maximum parsing depth");
    free(text.bytes);
}

static void try_config(void) {
    const char *dir = make_model();
    try_edits(dir, "tokenizer_config.json", config_edits, N_OF(config_edits));
    try_cuts(dir, "tokenizer_config.json", 1);
    try_many_specials(dir);
    try_files(dir, "tokenizer_config.json", "JSON at byte ");
}

/* ---- tokenizer.json -------------------------------------------------------------------------- */

/* Tokens 256 "ab" and 257 "abc", with the merges "a b" and "ab c". */
static const char *make_json(void) {
    const char *dir = help_dir_in_memory();
    glm_vocab vocab;
    CHECK(glm_vocab_create(258, 300, &vocab) == RT_OK);
    for (int i = 0; i < 256; i++) {
        const char byte = (char)i;
        CHECK(glm_vocab_add(&vocab, &byte, 1) == GLM_NO_TOKEN);
    }
    CHECK(glm_vocab_add(&vocab, "ab", 2) == GLM_NO_TOKEN);
    CHECK(glm_vocab_add(&vocab, "abc", 3) == GLM_NO_TOKEN);
    tokh_write_json(dir, &vocab);
    glm_vocab_free(&vocab);
    return dir;
}

#define A      "\"\\u0061\":97"
#define AB     "\"\\u0061\\u0062\":256"
#define MERGES "[\"\\u0061 \\u0062\",\"\\u0061\\u0062 \\u0063\"]"

static const edit json_edits[] = {
        {"unchanged", A, A, NULL, NULL},
        {"merges as pairs", MERGES, "[[\"a\",\"b\"],[\"ab\",\"c\"]]", NULL, NULL},
        {"two tokens have an id", A, "\"\\u0061\":98", "model.vocab gives id 98 to ", "TK_ID_DUP"},
        {"an id left out", AB, "\"\\u0061\\u0062\":258", "is not an id; 258 tokens", "TK_ID"},
        {"a negative id", A, "\"\\u0061\":-1", "model.vocab[\"a\"] is not an id", "TK_ID"},
        {"an id of 2^32 + 97", A, "\"\\u0061\":4294967393", "model.vocab[\"a\"] is not an id",
                "TK_ID"},
        {"an id of 2^64", A, "\"\\u0061\":18446744073709551616", "too big integer", "JSON_NUMBER"},
        {"an id with a fraction", A, "\"\\u0061\":97.0", "model.vocab[\"a\"] is not an id",
                "TK_ID"},
        {"an id that is a string", A, "\"\\u0061\":\"97\"", "model.vocab[\"a\"] is not an id",
                "TK_ID"},
        {"a token twice", A, A "," A, "duplicate object key", "JSON_DUP_KEY"},
        {"an empty token", A, "\"\":97", "is not 1 to 4096 characters", "TK_ALPHABET"},
        {"a token outside of the alphabet", A, "\"\\u4e00\":97", "is not 1 to 4096 characters",
                "TK_ALPHABET"},
        {"a space in a token", A, "\" \":97", "is not 1 to 4096 characters", "TK_ALPHABET"},
        {"a single byte is missing", A, "\"zz\":97", "lacks the single byte 0x61",
                "TK_BYTE_MISSING"},
        {"a terminal's commands", A, "\"\\u001b[2J\":97", "\\x1b[2J", "TK_ALPHABET"},
        {"no vocabulary", "\"vocab\"", "\"vocap\"", "model.vocab is not an object", "TK_TYPE"},
        {"a list of tokens", "\"vocab\": {", "\"vocab\": [], \"x\": {",
                "model.vocab is not an object", "TK_TYPE"},
        {"no model", "\"model\"", "\"mobel\"", "model is not an object", "TK_TYPE"},
        {"another kind of model", "\"BPE\"", "\"WordPiece\"", "model.type is not BPE", "TK_KIND"},
        {"a kind that is a number", "\"BPE\"", "3", "model.type is not BPE", "TK_KIND"},
        {"a prefix of words", "\"type\": \"BPE\",",
                "\"type\": \"BPE\", \"continuing_subword_prefix\": \"##\",", "must be empty",
                "TK_KIND"},
        {"no merges", "\"merges\"", "\"merger\"", "model.merges is not an array", "TK_TYPE"},
        {"merges in another order", MERGES, "[\"\\u0061\\u0062 \\u0063\",\"\\u0061 \\u0062\"]",
                "model.merges[1] makes token 256 after token 257", "TK_MERGE_ORDER"},
        {"a merge that makes no token", MERGES, "[\"a c\"]", "model.merges[0] does not join",
                "TK_MERGE"},
        {"a merge of no tokens", MERGES, "[\"abc d\"]", "model.merges[0] does not join",
                "TK_MERGE"},
        {"a merge of one", MERGES, "[\"ab\"]", "model.merges[0] does not join", "TK_MERGE"},
        {"a merge of three", MERGES, "[[\"a\",\"b\",\"c\"]]", "model.merges[0] does not join",
                "TK_MERGE"},
        {"a merge of numbers", MERGES, "[[1,2]]", "model.merges[0] does not join", "TK_MERGE"},
        {"a merge that is null", MERGES, "[null]", "model.merges[0] does not join", "TK_MERGE"},
        {"a merge of nothing", MERGES, "[\" \"]", "model.merges[0] does not join", "TK_MERGE"},
        {"a normalizer", "{\"pre_tokenizer\"",
                "{\"normalizer\": {\"type\": \"NFC\"}, \"pre_tokenizer\"", "has no normalizer",
                "TK_KIND"},
        {"another pattern", "\\\\p{N}{1,3}", "\\\\p{N}", "the pattern is not GLM-4's",
                "TK_PATTERN"},
        {"another behaviour", "\"Isolated\"", "\"Removed\"", "Split must be Isolated",
                "TK_PATTERN"},
        {"the pattern inverted", "\"invert\": false", "\"invert\": true", "Split must be Isolated",
                "TK_PATTERN"},
        {"a space in front", "\"add_prefix_space\": false", "\"add_prefix_space\": true",
                "add_prefix_space", "TK_PATTERN"},
        {"a second pattern", "\"use_regex\": false", "\"use_regex\": true", "use_regex",
                "TK_PATTERN"},
        {"other steps", "\"ByteLevel\"", "\"Digits\"", "is not Split and ByteLevel", "TK_PATTERN"},
        {"no steps", "\"pretokenizers\"", "\"x\"", "is not Split and ByteLevel", "TK_PATTERN"},
        {"control tokens", "{\"pre_tokenizer\"",
                "{\"added_tokens\": [{\"id\": 258, \"content\": \"<x>\"}], \"pre_tokenizer\"", NULL,
                NULL},
        {"a control token's id is a rank", "{\"pre_tokenizer\"",
                "{\"added_tokens\": [{\"id\": 97, \"content\": \"<x>\"}], \"pre_tokenizer\"",
                "added_tokens[0]: id 97 is the rank of an ordinary token", "TK_ID_TAKEN"},
        {"a control token's id is negative", "{\"pre_tokenizer\"",
                "{\"added_tokens\": [{\"id\": -1, \"content\": \"<x>\"}], \"pre_tokenizer\"",
                "added_tokens[0]: id -1 is not within", "TK_ID"},
        {"a control token's id is a string", "{\"pre_tokenizer\"",
                "{\"added_tokens\": [{\"id\": \"258\", \"content\": \"<x>\"}], \"pre_tokenizer\"",
                "added_tokens[0]: id is not an integer", "TK_TYPE"},
        {"a control token is a number", "{\"pre_tokenizer\"",
                "{\"added_tokens\": [258], \"pre_tokenizer\"",
                "added_tokens[0]: id is not an integer", "TK_TYPE"},
        {"control tokens are an object", "{\"pre_tokenizer\"",
                "{\"added_tokens\": {}, \"pre_tokenizer\"", "added_tokens is not an array",
                "TK_TYPE"},
        {"not an object", "{\"pre_tokenizer\"", "[{\"pre_tokenizer\"", "JSON at byte ", "JSON_CUT"},
};

static void try_json(void) {
    const char *dir = make_json();
    try_edits(dir, "tokenizer.json", json_edits, N_OF(json_edits));
    try_cuts(dir, "tokenizer.json", 7);
    try_files(dir, "tokenizer.json", "JSON at byte ");
    const char *empty = help_dir_in_memory();
    judge("no file at all", empty, empty, "neither tokenizer.model nor tokenizer.json");
}

int main(void) {
    try_model();
    try_config();
    try_json();
    (void)printf("%d cases, %d failures\n", n_cases, n_failed);
    return n_failed > 0;
}
