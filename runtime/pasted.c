#include "pasted.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/memstream.h"
#include "tokenizer.h"

/* ---- what was sent, as text ------------------------------------------------------------------ */

/* Carriage returns, with a newline or without, become newlines, NULs a byte that is no UTF-8. */
static int64_t clean_bytes(char *bytes, int64_t n_bytes) {
    int64_t n = 0;
    for (int64_t i = 0; i < n_bytes; i++) {
        if (bytes[i] == '\r' && i + 1 < n_bytes && bytes[i + 1] == '\n') continue;
        bytes[n++] = (char)(bytes[i] == '\r' ? '\n' : bytes[i] == '\0' ? '\xff' : bytes[i]);
    }
    const char *newline = memchr(bytes, '\n', (size_t)n);
    return newline == bytes + n - 1 ? n - 1 : n;
}

rt_status glm_pasted_text(const char *sent, int64_t n_bytes, char **text, int64_t *text_bytes) {
    glm_utf8_stream characters = {.n_held = 0};
    void *cleaned = NULL;
    void *whole = NULL;
    RT_TRY(rt_malloc(n_bytes + 1, "a pasted text", &cleaned));
    memcpy(cleaned, sent, (size_t)n_bytes);
    const int64_t n = clean_bytes(cleaned, n_bytes);
    const rt_status status = rt_malloc(3 * (n + 3) + 1, "a pasted text", &whole);
    if (status == RT_OK) {
        *text = whole;
        *text_bytes = glm_utf8_stream_feed(&characters, cleaned, n, true, *text);
        (*text)[*text_bytes] = '\0';
    }
    free(cleaned);
    return status;
}

/* ---- places ---------------------------------------------------------------------------------- */

static const char place_mark[] = "[paste ";

/* An end of line behind the last one begins no other. */
static int64_t count_lines(const char *text, int64_t n_bytes) {
    int64_t n = n_bytes > 0 && text[n_bytes - 1] != '\n';
    for (int64_t i = 0; i < n_bytes; i++) n += text[i] == '\n';
    return n;
}

static int64_t count_characters(const char *text, int64_t n_bytes) {
    int64_t n = 0;
    for (int64_t i = 0; i < n_bytes; i++) n += (text[i] & 0xc0) != 0x80;
    return n;
}

rt_status glm_pastes_keep(glm_pastes *pastes, const char *text, int64_t n_bytes) {
    const int64_t n_lines = count_lines(text, n_bytes);
    void *copy = NULL;
    RT_TRY(rt_make_room(&pastes->pastes, (int64_t)sizeof *pastes->pastes, pastes->n, &pastes->room,
            "pasted texts"));
    RT_TRY(rt_malloc(n_bytes + 1, "a pasted text", &copy));
    memcpy(copy, text, (size_t)n_bytes);
    glm_paste *paste = &pastes->pastes[pastes->n++];
    *paste = (glm_paste){.text = copy, .n_bytes = n_bytes};
    (void)snprintf(paste->place, sizeof paste->place, "%s%" PRId64 ": %" PRId64 " %s]", place_mark,
            pastes->n, n_lines > 1 ? n_lines : count_characters(text, n_bytes),
            n_lines > 1 ? "lines" : "characters");
    return RT_OK;
}

/* The paste whose place is at `from`; NULL: none. */
static const glm_paste *find_paste(const glm_pastes *pastes, const char *from) {
    const int64_t number = strtoll(from + sizeof place_mark - 1, NULL, 10);
    if (number < 1 || number > pastes->n) return NULL;
    const glm_paste *paste = &pastes->pastes[number - 1];
    return strncmp(from, paste->place, strlen(paste->place)) == 0 ? paste : NULL;
}

static void write_filled(const glm_pastes *pastes, const char *line, FILE *out) {
    const char *place = line;
    while ((place = strstr(place, place_mark)) != NULL) {
        const glm_paste *paste = find_paste(pastes, place);
        if (paste) {
            (void)fwrite(line, 1, (size_t)(place - line), out);
            (void)fwrite(paste->text, 1, (size_t)paste->n_bytes, out);
            line = place + strlen(paste->place);
        }
        place += paste ? strlen(paste->place) : 1;
    }
    (void)fputs(line, out);
}

rt_status glm_pastes_fill(const glm_pastes *pastes, const char *line, int64_t n_bytes, char **whole,
        int64_t *whole_bytes) {
    size_t n = 0;
    char *text = NULL;
    char *terminated = strndup(line, (size_t)n_bytes);
    FILE *out = terminated ? rt_memstream_open(&text, &n) : NULL;
    if (out) write_filled(pastes, terminated, out);
    free(terminated);
    if (!out || !rt_memstream_close(out, &text))
        return rt_fail(RT_ENOMEM, "chat: no memory for a line");
    *whole = text;
    *whole_bytes = (int64_t)n;
    return RT_OK;
}

void glm_pastes_free(glm_pastes *pastes) {
    for (int64_t i = 0; i < pastes->n; i++) free(pastes->pastes[i].text);
    free(pastes->pastes);
    *pastes = (glm_pastes){.n = 0};
}
