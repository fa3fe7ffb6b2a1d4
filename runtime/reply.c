#include "reply.h"

#include <stdlib.h>
#include <string.h>

#include "base/size.h"

/* A test builds this file so that names which come in pieces are not waited for. */
#ifndef GLM_MUTANT_IMPATIENT
#define GLM_MUTANT_IMPATIENT 0
#endif

/* Blanks after a name and white space before a brace: more of either is no call. */
enum { SPACE_MAX = 64 };

/* The buffer begins with a newline, for a text that follows another; behind it, what is held. */
static char *held(const glm_reply *reply) {
    return reply->buffer + 1;
}

static bool is_space(char byte) {
    return byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n';
}

/* Behind the white space at `at`; only blanks where !with_newlines. */
static int64_t skip_space(const char *bytes, int64_t n_bytes, int64_t at, bool with_newlines) {
    while (at < n_bytes && is_space(bytes[at]) && (with_newlines || bytes[at] != '\n')) at++;
    return at;
}

/* How what was fed since the part began stands to calls of one tool. */
typedef struct match {
    glm_reply_state state; /* of the part if there were only this tool */
    bool is_named;         /* the name is complete: all that is missing is what follows */
    int64_t arguments;     /* GLM_REPLY_CALL: where they begin */
} match;

/* What follows the name: blanks, a newline, and for a function white space and a brace. */
static match match_behind_name(const glm_reply *reply, const glm_tool *tool, int64_t name_end) {
    const match text = {GLM_REPLY_TEXT, false, 0};
    const match undecided = {GLM_REPLY_UNDECIDED, true, 0};
    const char *bytes = held(reply);
    const int64_t line_end = skip_space(bytes, reply->n_bytes, name_end, false);
    if (line_end - name_end > SPACE_MAX) return text;
    if (line_end == reply->n_bytes) return undecided;
    if (bytes[line_end] != '\n') return text;
    if (tool->kind != GLM_TOOL_FUNCTION) return (match){GLM_REPLY_CALL, true, line_end + 1};

    const int64_t brace = skip_space(bytes, reply->n_bytes, line_end, true);
    if (brace - line_end > SPACE_MAX) return text;
    if (brace == reply->n_bytes) return undecided;
    return bytes[brace] == '{' ? (match){GLM_REPLY_CALL, true, brace} : text;
}

static match match_tool(const glm_reply *reply, const glm_tool *tool) {
    const match text = {GLM_REPLY_TEXT, false, 0};
    const int64_t length = (int64_t)strlen(tool->name);
    const int64_t n_common = rt_min64(length, reply->n_bytes);
    if (reply->has_begun_late && tool->kind != GLM_TOOL_FUNCTION) return text;
    if (memcmp(held(reply), tool->name, (size_t)n_common) != 0) return text;
    if (n_common == length) return match_behind_name(reply, tool, length);
    return GLM_MUTANT_IMPATIENT ? text : (match){GLM_REPLY_UNDECIDED, false, 0};
}

static void show_text(glm_reply *reply, glm_reply_piece *piece) {
    piece->text = reply->buffer + !reply->has_text;
    piece->text_bytes = reply->n_bytes + reply->has_text;
    reply->has_text = true;
    reply->state = GLM_REPLY_TEXT;
}

static void show_call(
        glm_reply *reply, const glm_tool *tool, int64_t arguments, glm_reply_piece *piece) {
    piece->call = tool->name;
    piece->arguments = held(reply) + arguments;
    piece->arguments_bytes = reply->n_bytes - arguments;
    reply->state = GLM_REPLY_CALL;
}

/* One tool that is called decides; text it is when none can be called any more. */
static void decide(glm_reply *reply, glm_reply_piece *piece) {
    bool is_open = false;
    for (int64_t i = 0; reply->tools && i < reply->tools->n_tools; i++) {
        const glm_tool *tool = &reply->tools->tools[i];
        const match found = match_tool(reply, tool);
        if (found.state == GLM_REPLY_CALL) {
            show_call(reply, tool, found.arguments, piece);
            return;
        }
        is_open |= found.state == GLM_REPLY_UNDECIDED;
    }
    if (!is_open) show_text(reply, piece);
}

static rt_status append(glm_reply *reply, const char *bytes, int64_t n_bytes) {
    const int64_t needed = 1 + reply->n_bytes + n_bytes;
    if (needed > reply->capacity) {
        const int64_t capacity = rt_max64(needed, 2 * reply->capacity);
        char *larger = realloc(reply->buffer, (size_t)capacity);
        if (!larger) return rt_fail(RT_ENOMEM, "chat: no memory for the reply's text");
        reply->buffer = larger;
        reply->capacity = capacity;
        reply->buffer[0] = '\n';
    }
    memcpy(held(reply) + reply->n_bytes, bytes, (size_t)n_bytes);
    reply->n_bytes += n_bytes;
    return RT_OK;
}

/* White space before everything else is dropped as it comes; how many bytes it is. */
static int64_t drop_first_space(glm_reply *reply, const char *bytes, int64_t n_bytes) {
    if (reply->n_bytes > 0) return 0;
    const int64_t n_space = skip_space(bytes, n_bytes, 0, true);
    if (n_space > 0 && memchr(bytes, '\n', (size_t)n_space)) reply->has_begun_late = true;
    return n_space;
}

static rt_status feed_undecided(
        glm_reply *reply, const char *bytes, int64_t n_bytes, glm_reply_piece *piece) {
    const int64_t n_space = drop_first_space(reply, bytes, n_bytes);
    if (n_space == n_bytes) return RT_OK;
    RT_TRY(append(reply, bytes + n_space, n_bytes - n_space));
    decide(reply, piece);
    return RT_OK;
}

rt_status glm_reply_feed(
        glm_reply *reply, const char *bytes, int64_t n_bytes, glm_reply_piece *piece) {
    *piece = (glm_reply_piece){.text = "", .arguments = ""};
    if (n_bytes == 0) return RT_OK;
    switch (reply->state) {
    case GLM_REPLY_UNDECIDED:
        return feed_undecided(reply, bytes, n_bytes, piece);
    case GLM_REPLY_TEXT:
        piece->text = bytes;
        piece->text_bytes = n_bytes;
        break;
    case GLM_REPLY_CALL:
        piece->arguments = bytes;
        piece->arguments_bytes = n_bytes;
        break;
    }
    return RT_OK;
}

/* The tool whose name is all that was said, NULL when there is none. */
static const glm_tool *find_named(const glm_reply *reply) {
    for (int64_t i = 0; reply->tools && i < reply->tools->n_tools; i++) {
        const match found = match_tool(reply, &reply->tools->tools[i]);
        if (found.state == GLM_REPLY_UNDECIDED && found.is_named) return &reply->tools->tools[i];
    }
    return NULL;
}

void glm_reply_end_part(glm_reply *reply, bool waits_for_tool, glm_reply_piece *piece) {
    *piece = (glm_reply_piece){.text = "", .arguments = ""};
    if (reply->state == GLM_REPLY_UNDECIDED && reply->n_bytes > 0) {
        const glm_tool *named = waits_for_tool ? find_named(reply) : NULL;
        if (named)
            show_call(reply, named, reply->n_bytes, piece);
        else
            show_text(reply, piece);
    }
    reply->state = GLM_REPLY_UNDECIDED;
    reply->has_begun_late = false;
    reply->n_bytes = 0;
}

void glm_reply_free(glm_reply *reply) {
    free(reply->buffer);
    *reply = (glm_reply){0};
}
