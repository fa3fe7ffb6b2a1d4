/* tokenizer.model, the form of tiktoken:
 *
 *   IQ== 0
 *   Ig== 1
 *   ...
 *
 * Nothing in the file says how many tokens there are: it is read line by line, and a cut-off file
 * shows by its last line, which has no LF. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/size.h"
#include "json_file.h"
#include "tokenizer_files.h"

/* A test builds this file with one check missing, to see that its fuzz target notices. */
#ifndef GLM_MUTANT_BITS
#define GLM_MUTANT_BITS 0
#endif

static const int64_t file_bytes_max = 64 * RT_MIB;

/* One line of the file. */
typedef struct model_line {
    const char *path;
    int64_t number; /* from 1 */
    const char *text;
    int64_t n_bytes; /* without the LF */
} model_line;

#define FAIL_LINE(line, code, format, ...)                                           \
    rt_fail(RT_EMODEL, "tokenizer: " code ": %s:%" PRId64 ": " format, (line)->path, \
            (line)->number, __VA_ARGS__)

static int base64_value(char c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Four characters to 1..3 bytes; 0 unless they are canonical base64. Padding may only end the
 * text, and the bits that padding leaves over must be zero. */
static int decode_quad(const char *quad, bool is_last, char *bytes) {
    const int n_padding = !is_last || quad[3] != '=' ? 0 : quad[2] != '=' ? 1 : 2;
    uint32_t bits = 0;
    for (int i = 0; i < 4; i++) {
        const int value = i < 4 - n_padding ? base64_value(quad[i]) : 0;
        if (value < 0) return 0;
        bits = bits << 6 | (uint32_t)value;
    }
    if (n_padding > 0 && (bits & ((1u << (8 * n_padding)) - 1)) != 0 && !GLM_MUTANT_BITS) return 0;
    for (int i = 0; i < 3 - n_padding; i++) bytes[i] = (char)(bits >> (16 - 8 * i) & 0xff);
    return 3 - n_padding;
}

/* Returns the number of bytes, or -1. */
static int64_t decode_base64(const char *text, int64_t n_chars, char *bytes) {
    if (n_chars % 4 != 0) return -1;
    int64_t n_bytes = 0;
    for (int64_t i = 0; i < n_chars; i += 4) {
        const int n = decode_quad(text + i, i + 4 == n_chars, bytes + n_bytes);
        if (n == 0) return -1;
        n_bytes += n;
    }
    return n_bytes;
}

static rt_status check_rank(const model_line *line, const char *text, int64_t n_chars) {
    const int64_t expected = line->number - 1;
    int64_t rank = 0;
    bool is_number = n_chars >= 1 && n_chars <= 10 && (n_chars == 1 || text[0] != '0');
    for (int64_t i = 0; is_number && i < n_chars; i++) {
        is_number = text[i] >= '0' && text[i] <= '9';
        rank = 10 * rank + (text[i] - '0');
    }
    if (!is_number)
        return FAIL_LINE(
                line, "TK_RANK", "\"%.*s\" is not a rank", (int)rt_min64(n_chars, 32), text);
    if (rank != expected)
        return FAIL_LINE(line, "TK_RANK_GAP",
                "rank %" PRId64 " where ranks without gaps need %" PRId64, rank, expected);
    return RT_OK;
}

static rt_status read_line(const model_line *line, glm_vocab *vocab) {
    enum { BASE64_MAX = (GLM_TOKEN_BYTES_MAX + 2) / 3 * 4 };
    char bytes[BASE64_MAX / 4 * 3];

    const char *space = memchr(line->text, ' ', (size_t)line->n_bytes);
    if (!space) return FAIL_LINE(line, "TK_LINE", "no space between token and rank%s", "");
    const int64_t n_chars = space - line->text;
    if (n_chars == 0) return FAIL_LINE(line, "TK_EMPTY", "the token is empty%s", "");
    if (n_chars > BASE64_MAX)
        return FAIL_LINE(line, "TK_LONG", "a token of more than %d bytes", GLM_TOKEN_BYTES_MAX);
    const int64_t n_bytes = decode_base64(line->text, n_chars, bytes);
    if (n_bytes < 0)
        return FAIL_LINE(line, "TK_BASE64", "the token is not base64 with padding%s", "");
    if (n_bytes > GLM_TOKEN_BYTES_MAX)
        return FAIL_LINE(line, "TK_LONG", "a token of more than %d bytes", GLM_TOKEN_BYTES_MAX);
    RT_TRY(check_rank(line, space + 1, line->n_bytes - n_chars - 1));

    const int32_t earlier = glm_vocab_add(vocab, bytes, n_bytes);
    if (earlier != GLM_NO_TOKEN)
        return FAIL_LINE(line, "TK_DUP", "the same bytes as line %" PRId32, earlier + 1);
    return RT_OK;
}

static rt_status read_lines(const char *path, const char *text, int64_t n_bytes, glm_vocab *vocab) {
    model_line line = {.path = path};
    const char *end = text + n_bytes;
    for (const char *at = text; at < end; at = line.text + line.n_bytes + 1) {
        const char *line_feed = memchr(at, '\n', (size_t)(end - at));
        line.text = at;
        line.number++;
        if (!line_feed)
            return FAIL_LINE(&line, "TK_CUT", "the line does not end: the file is cut off%s", "");
        line.n_bytes = line_feed - at;
        RT_TRY(read_line(&line, vocab));
    }
    const int missing = glm_vocab_missing_byte(vocab);
    if (missing >= 0)
        return rt_fail(RT_EMODEL,
                "tokenizer: TK_BYTE_MISSING: %s: the single byte 0x%02x is not among the %" PRId32
                " tokens",
                path, (unsigned)missing, vocab->n_tokens);
    return RT_OK;
}

static int64_t count_lines(const char *text, int64_t n_bytes) {
    int64_t n = 0;
    for (int64_t i = 0; i < n_bytes; i++) n += text[i] == '\n';
    return n;
}

/* Whose first field, in front of all others, is the piece for what is unknown. */
static bool is_sentencepiece(const char *text, int64_t n_bytes) {
    static const char piece[] = "<unk>";
    return n_bytes > 0 && text[0] == '\n' &&
           memmem(text, (size_t)rt_min64(n_bytes, 64), piece, sizeof piece - 1);
}

static rt_status read_text(const char *path, const char *text, int64_t n_bytes, glm_vocab *vocab) {
    const int64_t n_lines = count_lines(text, n_bytes);
    if (is_sentencepiece(text, n_bytes))
        return rt_fail(RT_EMODEL,
                "tokenizer: TK_SENTENCEPIECE: %s is a SentencePiece model, as ChatGLM2 and others "
                "have; GLM-4's holds a token in base64 and its rank in each line",
                path);
    if (n_lines > GLM_TOKENS_MAX)
        return rt_fail(RT_EMODEL,
                "tokenizer: TK_TOO_MANY: %s has %" PRId64 " lines, at most %d are read", path,
                n_lines, GLM_TOKENS_MAX);
    RT_TRY(glm_vocab_create((int32_t)n_lines, n_bytes, vocab));
    return read_lines(path, text, n_bytes, vocab);
}

rt_status glm_read_tokenizer_model(const char *path, glm_vocab *vocab) {
    char *text = NULL;
    int64_t n_bytes = 0;
    memset(vocab, 0, sizeof *vocab);
    rt_status status = glm_model_file_read("tokenizer", path, file_bytes_max, &text, &n_bytes);
    if (status == RT_OK) status = read_text(path, text, n_bytes, vocab);
    free(text);
    return status;
}
