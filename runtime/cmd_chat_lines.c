#include "cmd_chat_lines.h"

#include <errno.h>
#include <inttypes.h>
#include <locale.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/size.h"
#include "cli_signals.h"
#include "cmd_chat_keys.h"
#include "pasted.h"
#include "utf8.h"

enum { READ_BYTES = 1 << 16, HISTORY_LINES = 1000, QUIET_MS = 300 };

static const char prompt_text[] = "> ";

struct chat_lines {
    glm_signal_pipe signals;
    bool is_typed;
    chat_line_kind kind; /* why the last wait ended */
    int error;           /* errno of a read that failed, else 0 */

    char *buffer; /* [place, n_bytes) is read and not yet given out */
    int64_t place;
    int64_t n_bytes;
    int64_t capacity;
#ifdef GLM_HAVE_EDIT
    EditLine *edit; /* NULL: lines as the terminal gives them */
    History *history;
    char *line; /* the last one, with what was pasted into it */
    glm_pastes pastes;
    rt_status paste_status; /* why a paste is not in the line */
    bool was_stopped;       /* by Ctrl-Z, while a paste was read */
#endif
};

bool chat_lines_are_typed(const chat_lines *lines) {
    return lines->is_typed;
}

void chat_lines_drop_typed(chat_lines *lines) {
    if (lines->is_typed) lines->place = lines->n_bytes = 0;
}

static void leave_terminal(chat_lines *lines);
static void note_stop(chat_lines *lines);
static void set_up_terminal(chat_lines *lines);
static void fit_terminal(chat_lines *lines);

/* While Ctrl-Z has stopped us the terminal is as the shell wants it; when we go on it is ours, and shows what was typed. */
static void follow_terminal(chat_lines *lines) {
    int what = glm_signal_pipe_take(&lines->signals);
    while (what & GLM_PROMPT_STOP) {
        leave_terminal(lines);
        note_stop(lines);
        glm_signal_pipe_stop_here();
        what = GLM_PROMPT_CONTINUED | glm_signal_pipe_take(&lines->signals);
    }
    if (what & GLM_PROMPT_CONTINUED) {
        leave_terminal(lines);
        set_up_terminal(lines);
    } else if (what & GLM_PROMPT_RESIZED) {
        fit_terminal(lines);
    }
}

/* Up to n bytes of standard input as soon as there are any; 0 at its end, after a failure or a
 * signal: lines->kind and lines->error say which. */
static int64_t wait_for_bytes(chat_lines *lines, char *bytes, int64_t n) {
    lines->kind = CHAT_LINES_END;
    lines->error = 0;
    for (;;) {
        struct pollfd waited[] = {{.fd = lines->signals.ends[0], .events = POLLIN},
                {.fd = STDIN_FILENO, .events = POLLIN}};
        if (glm_cli_interrupted()) {
            lines->kind = CHAT_LINES_INTERRUPTED;
            return 0;
        }
        if (poll(waited, 2, -1) < 0) {
            if (errno == EINTR) continue;
            break;
        }
        if (waited[0].revents) {
            follow_terminal(lines); /* Ctrl-Z may have thrown away what was to be read */
            continue;
        }
        if (!waited[1].revents) continue;
        const ssize_t n_read = read(STDIN_FILENO, bytes, (size_t)n);
        if (n_read >= 0) return n_read;
        if (errno != EINTR && errno != EAGAIN) break;
    }
    lines->error = errno;
    return 0;
}

/* ---- plain lines ----------------------------------------------------------------------------- */

/* Room for READ_BYTES more, and a NUL, behind what is not yet given out. */
static rt_status make_room(chat_lines *lines) {
    const int64_t n_left = lines->n_bytes - lines->place;
    if (lines->place > 0) memmove(lines->buffer, lines->buffer + lines->place, (size_t)n_left);
    lines->place = 0;
    lines->n_bytes = n_left;
    if (n_left + READ_BYTES < lines->capacity) return RT_OK;
    if (n_left > RT_GIB)
        return rt_fail(RT_EUSAGE, "chat: a line has more than %" PRId64 " bytes", RT_GIB);
    const int64_t capacity = 2 * lines->capacity + READ_BYTES + 1;
    char *larger = realloc(lines->buffer, (size_t)capacity);
    if (!larger) return rt_fail(RT_ENOMEM, "chat: no memory for a line");
    lines->buffer = larger;
    lines->capacity = capacity;
    return RT_OK;
}

/* n_line bytes, and the newline behind them, are given out; a carriage return goes with it. */
static void give_line(
        chat_lines *lines, int64_t n_line, bool has_newline, const char **line, int64_t *n_bytes) {
    char *begin = lines->buffer + lines->place;
    lines->place += n_line + has_newline;
    if (n_line > 0 && begin[n_line - 1] == '\r') n_line--;
    begin[n_line] = '\0';
    lines->kind = CHAT_LINE;
    *line = begin;
    *n_bytes = n_line;
}

static void show_plain_prompt(const chat_lines *lines) {
    if (lines->is_typed) (void)fputs(prompt_text, stderr);
}

/* The last line needs no newline. */
static rt_status read_plain(chat_lines *lines, const char **line, int64_t *n_bytes) {
    int64_t n_searched = 0; /* so many bytes are known to hold no newline */
    if (!lines->buffer) RT_TRY(make_room(lines));
    rt_assert(lines->buffer);
    for (;;) {
        const char *begin = lines->buffer + lines->place;
        const int64_t n_left = lines->n_bytes - lines->place;
        const char *newline = memchr(begin + n_searched, '\n', (size_t)(n_left - n_searched));
        if (newline) {
            give_line(lines, newline - begin, true, line, n_bytes);
            return RT_OK;
        }
        n_searched = n_left;
        RT_TRY(make_room(lines));
        const int64_t n_read = wait_for_bytes(lines, lines->buffer + n_left, READ_BYTES);
        lines->n_bytes += n_read;
        if (n_read > 0) continue;
        if (lines->kind == CHAT_LINES_END && !lines->error && n_left > 0)
            give_line(lines, n_left, false, line, n_bytes);
        return RT_OK;
    }
}

/* ---- edited lines ---------------------------------------------------------------------------- */

#ifdef GLM_HAVE_EDIT

static char *show_prompt(EditLine *edit) {
    (void)edit;
    return (char *)prompt_text; /* only read */
}

/* The next byte typed: what came behind a paste, else what comes. */
static int64_t next_byte(chat_lines *lines, char *byte) {
    if (lines->place == lines->n_bytes) return wait_for_bytes(lines, byte, 1);
    *byte = lines->buffer[lines->place++];
    return 1;
}

/* The next character typed, for libedit: 1, or -1 when there is none. What is not UTF-8 becomes
 * U+FFFD. */
static int read_character(EditLine *edit, wchar_t *out) {
    chat_lines *lines = NULL;
    (void)el_get(edit, EL_CLIENTDATA, &lines);
    char bytes[GLM_UTF8_BYTES_MAX];
    int n = 0;
    do {
        if (next_byte(lines, bytes + n) == 0) return -1;
        n++;
    } while (glm_utf8_unfinished(bytes, n) > 0);
    uint32_t code_point = 0xfffd;
    (void)glm_utf8_decode(bytes, n, &code_point);
    *out = (wchar_t)code_point;
    lines->kind = CHAT_LINE;
    return 1;
}

/* ---- pastes: what the terminal sends between two marks, while a line is awaited --------------- */

static const char paste_begins[] = "\033[200~";
static const char paste_ends[] = "\033[201~";
enum { END_BYTES = sizeof paste_ends - 1 };

static void mark_pastes(bool is_on) {
    (void)fputs(is_on ? "\033[?2004h" : "\033[?2004l", stderr);
}

/* The rest of a paste that Ctrl-C cut off, and the terminal goes on with, would be taken for lines: until nothing comes. */
static void drop_rest(void) {
    struct pollfd waited = {.fd = STDIN_FILENO, .events = POLLIN};
    char bytes[4096];
    while (poll(&waited, 1, QUIET_MS) > 0 && read(STDIN_FILENO, bytes, sizeof bytes) > 0) {
    }
}

/* Read to the mark that ends a paste: the bytes before it, n of them, are lines->buffer's at lines->place. Ctrl-Z, which throws
 * away what was to be read, ends it too: n_mark is 0 then. False: it has no end, and lines->kind, error and paste_status say
 * why. */
static bool read_paste(chat_lines *lines, int64_t *n, int64_t *n_mark) {
    int64_t n_searched = 0;
    *n = *n_mark = 0;
    lines->was_stopped = false;
    for (;;) {
        lines->paste_status = make_room(lines);
        if (lines->paste_status != RT_OK) return false;
        char *begin = lines->buffer + lines->place;
        const int64_t n_left = lines->n_bytes - lines->place;
        const char *end =
                memmem(begin + n_searched, (size_t)(n_left - n_searched), paste_ends, END_BYTES);
        if (!end && lines->was_stopped) return true;
        *n = end ? end - begin : n_left;
        *n_mark = end ? END_BYTES : 0;
        if (end) return true;
        n_searched = rt_max64(0, n_left - END_BYTES + 1);
        const int64_t n_read = wait_for_bytes(lines, begin + n_left, READ_BYTES);
        lines->n_bytes += n_read;
        if (n_read == 0) return false;
    }
}

static rt_status put_paste(chat_lines *lines, int64_t n_bytes) {
    char *text = NULL;
    int64_t text_bytes = 0;
    RT_TRY(glm_pasted_text(lines->buffer + lines->place, n_bytes, &text, &text_bytes));
    const rt_status status = chat_keys_paste(lines->edit, &lines->pastes, text, text_bytes);
    free(text);
    return status;
}

/* For libedit: the mark that begins a paste is a key. */
static unsigned char on_paste(EditLine *edit, wint_t key) {
    chat_lines *lines = NULL;
    int64_t n = 0;
    int64_t n_mark = 0;
    (void)key;
    (void)el_get(edit, EL_CLIENTDATA, &lines);
    if (!read_paste(lines, &n, &n_mark)) {
        if (lines->kind == CHAT_LINES_INTERRUPTED) drop_rest();
        return CC_EOF;
    }
    lines->paste_status = put_paste(lines, n);
    lines->place += n + n_mark;
    lines->kind = CHAT_LINE;
    return lines->paste_status == RT_OK ? CC_REFRESH : CC_EOF;
}

/* What a paste holds reaches us as it is, but for Ctrl-C and Ctrl-Z, which the terminal's driver obeys: carriage returns, too,
 * and what would stop the screen or end the program. (el_set() would forget copies of the names.) */
static void take_pastes(EditLine *edit) {
    (void)el_set(edit, EL_SETTY, "-d", "-icrnl", "-inlcr", "-ixon", "-quit", "quit=", NULL);
    (void)el_wset(edit, EL_ADDFN, L"take-paste", L"Take a pasted text", on_paste);
    (void)el_set(edit, EL_BIND, paste_begins, "take-paste", NULL);
}

/* ---- lines that libedit edits ---------------------------------------------------------------- */

/* libedit shows and returns characters as the locale writes them: UTF-8, as the model does. */
static void choose_locale(void) {
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): before the engine's threads */
    if (!setlocale(LC_CTYPE, "") || MB_CUR_MAX == 1) (void)setlocale(LC_CTYPE, "C.UTF-8");
}

/* Without a history or an editor lines still come, unedited. */
static void open_editor(chat_lines *lines) {
    const char *term = getenv("TERM"); /* NOLINT(concurrency-mt-unsafe): nothing here sets one */
    if (!isatty(STDERR_FILENO) || !term || strcmp(term, "dumb") == 0) return;
    choose_locale();
    HistEvent event;
    lines->history = history_init();
    lines->edit = el_init("glm1m", stdin, stderr, stderr);
    if (!lines->history || !lines->edit) return;
    (void)history(lines->history, &event, H_SETSIZE, HISTORY_LINES);
    (void)history(lines->history, &event, H_SETUNIQUE, 1);
    (void)el_set(lines->edit, EL_CLIENTDATA, lines);
    (void)el_set(lines->edit, EL_PROMPT, show_prompt);
    (void)el_set(lines->edit, EL_EDITOR, "emacs");
    (void)el_set(lines->edit, EL_HIST, history, lines->history);
    (void)el_set(lines->edit, EL_GETCFN, read_character);
    take_pastes(lines->edit);
    chat_keys_bind_tab(lines->edit);
}

static void close_editor(chat_lines *lines) {
    if (lines->edit) el_end(lines->edit);
    if (lines->history) history_end(lines->history);
    free(lines->line);
    glm_pastes_free(&lines->pastes);
}

/* What was typed ahead, during an answer, while the terminal's driver made lines of it: a Ctrl-D there is a line without a
 * character, and would reach the editor, which takes characters one by one, as a NUL. */
static rt_status take_typed_ahead(chat_lines *lines) {
    struct termios mode;
    struct pollfd waited = {.fd = STDIN_FILENO, .events = POLLIN};
    ssize_t n_read = 1;
    while (n_read > 0 && tcgetattr(STDIN_FILENO, &mode) == 0 && (mode.c_lflag & ICANON) &&
            poll(&waited, 1, 0) > 0) {
        RT_TRY(make_room(lines));
        n_read = read(STDIN_FILENO, lines->buffer + lines->n_bytes, READ_BYTES);
        if (n_read == 0) lines->buffer[lines->n_bytes++] = (char)mode.c_cc[VEOF];
        lines->n_bytes += rt_max64(0, n_read);
    }
    return RT_OK;
}

/* No line: Ctrl-D is a character that ends the input. What came behind a paste is gone as well. */
static rt_status end_edited(chat_lines *lines) {
    lines->place = lines->n_bytes = 0;
    if (lines->kind == CHAT_LINE) lines->kind = CHAT_LINES_END;
    return lines->paste_status;
}

static rt_status read_edited(chat_lines *lines, const char **line, int64_t *n_bytes) {
    int n = 0;
    lines->paste_status = RT_OK;
    RT_TRY(take_typed_ahead(lines));
    el_resize(lines->edit); /* the window may have changed during an answer */
    mark_pastes(true);
    const char *text = el_gets(lines->edit, &n);
    mark_pastes(false);
    if (!text || n <= 0) return end_edited(lines);
    HistEvent event;
    if (n > 1) (void)history(lines->history, &event, H_ENTER, text);
    free(lines->line);
    lines->line = NULL;
    RT_TRY(glm_pastes_fill(&lines->pastes, text, n - (text[n - 1] == '\n'), &lines->line, n_bytes));
    *line = lines->line;
    lines->kind = CHAT_LINE;
    return RT_OK;
}

static bool is_edited(const chat_lines *lines) {
    return lines->edit && lines->history;
}

/* libedit sets up nothing that it believes set up: it is told to give its settings up before. */
static void leave_terminal(chat_lines *lines) {
    if (!is_edited(lines)) return;
    mark_pastes(false);
    (void)el_set(lines->edit, EL_PREP_TERM, 0);
}

static void set_up_terminal(chat_lines *lines) {
    if (!is_edited(lines)) {
        show_plain_prompt(lines);
        return;
    }
    (void)el_set(lines->edit, EL_PREP_TERM, 1);
    mark_pastes(true);
    fit_terminal(lines);
}

static void note_stop(chat_lines *lines) {
    lines->was_stopped = true;
}

/* The line is shown from the left edge on, as long as the window is now. */
static void fit_terminal(chat_lines *lines) {
    if (!is_edited(lines)) return;
    el_resize(lines->edit);
    (void)fputs("\r", stderr);
    (void)el_set(lines->edit, EL_REFRESH);
}

#else

static void open_editor(chat_lines *lines) {
    (void)lines;
}

static void close_editor(chat_lines *lines) {
    (void)lines;
}

static rt_status read_edited(chat_lines *lines, const char **line, int64_t *n_bytes) {
    (void)lines, (void)line, (void)n_bytes;
    return rt_fail(RT_EUNSUPPORTED, "chat: this build has no line editor");
}

static bool is_edited(const chat_lines *lines) {
    (void)lines;
    return false;
}

static void leave_terminal(chat_lines *lines) {
    (void)lines;
}

static void note_stop(chat_lines *lines) {
    (void)lines;
}

static void set_up_terminal(chat_lines *lines) {
    show_plain_prompt(lines);
}

static void fit_terminal(chat_lines *lines) {
    (void)lines;
}

#endif

/* ---- either ---------------------------------------------------------------------------------- */

rt_status chat_lines_open(chat_lines **out) {
    chat_lines *lines = NULL;
    RT_TRY(rt_calloc(1, (int64_t)sizeof *lines, "the lines typed", &lines));
    const rt_status status = glm_signal_pipe_open(&lines->signals);
    if (status != RT_OK) {
        free(lines);
        return status;
    }
    lines->is_typed = isatty(STDIN_FILENO);
    if (lines->is_typed) open_editor(lines);
    *out = lines;
    return RT_OK;
}

void chat_lines_close(chat_lines *lines) {
    if (!lines) return;
    close_editor(lines);
    glm_signal_pipe_close(&lines->signals);
    free(lines->buffer);
    free(lines);
}

rt_status chat_lines_next(
        chat_lines *lines, const char **line, int64_t *n_bytes, chat_line_kind *kind) {
    rt_status status = RT_OK;
    *line = "";
    *n_bytes = 0;
    lines->error = 0;
    glm_signal_pipe_begin(&lines->signals);
    glm_signal_pipe_watch_terminal();
    if (is_edited(lines)) {
        status = read_edited(lines, line, n_bytes);
    } else {
        show_plain_prompt(lines);
        status = read_plain(lines, line, n_bytes);
    }
    glm_signal_pipe_unwatch_terminal();
    glm_signal_pipe_end(&lines->signals);
    if (status != RT_OK) return status;
    errno = lines->error;
    if (lines->error) return rt_fail_errno(RT_EIO, "chat: cannot read standard input");
    *kind = lines->kind;
    return RT_OK;
}
